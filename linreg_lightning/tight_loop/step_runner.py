"""Steps as the Trainer takes them, most of them without what surrounds them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, final

from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.trainer.call import _call_callback_hooks, _call_lightning_module_hook
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor

from linreg_lightning.tight_loop.buffered_loggers import BufferedLoggers
from linreg_lightning.tight_loop.captured_step import CapturedStep
from linreg_lightning.tight_loop.fusion_rules import BATCH_HOOKS
from linreg_lightning.tight_loop.progress import GroupProgress
from linreg_lightning.tight_loop.step_function import (
    automatic_step,
    called,
    manual_step,
    training_step_of,
)
from linreg_lightning.tight_loop.step_log import StepLog

Taken = tuple[Any, Any, int]
"""Of a step that was taken: its outputs, its batch, and the batch's index."""

TRANSFERS = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")


@final
class Steps:
    """The next steps of an epoch, which leave everything as if the Trainer had taken them.

    Only the last of them is surrounded by all that the Trainer does at a step.

    Args:
        trainer: within a fit; much of it is not declared by its class.
        capture: whether to replay recorded steps on a GPU.

    Attributes:
        loggers: which are called late.
        progress: of a group of steps, as long as it is counted here and not by the Trainer.
    """

    def __init__(self, trainer: Any, capture: bool) -> None:
        self._trainer, self._log = trainer, StepLog(trainer)
        self._captured = CapturedStep(trainer, self._log) if capture else None
        self._module, self._loop = trainer.lightning_module, trainer.fit_loop.epoch_loop
        self._place = _placement(trainer)
        self.loggers = BufferedLoggers(trainer.loggers)
        self.progress: GroupProgress | None = None

    def take(self, fetcher: Any, count: int) -> None:
        """Take so many steps; not beyond the end of the epoch.

        Args:
            fetcher: the Trainer's source of batches.
            count: how many.
        """
        self._begin(fetcher)
        module, begun = self._module, self._loop.batch_progress.current
        before, outer = begun.ready, module._current_fx_name
        with self._log:
            module._current_fx_name = "training_step"
            try:
                self._finish(*(self._bare(count - 1) or self._surrounded()))
            except BaseException:
                if begun.ready > before:
                    self._log.end_batch()
                raise
            finally:
                module._current_fx_name = outer
                self._settle()
                self._log.flush()

    def end(self) -> None:
        """Leave nothing to be done."""
        try:
            self.loggers.end()
        finally:
            if self._captured is not None:
                self._captured.end()

    def _begin(self, fetcher: Any) -> None:
        trainer, self._fetcher = self._trainer, fetcher
        self._loop.val_loop.restarting = False  # as the Trainer says before each batch
        take = automatic_step if self._module.automatic_optimization else manual_step
        self._take = take(trainer, training_step_of(trainer))
        self._scheduled = any(each.interval == "step" for each in trainer.lr_scheduler_configs)
        self._interval = trainer.log_every_n_steps if trainer.loggers else 0
        self._starts = called(trainer, "on_train_batch_start")
        self._ends = called(trainer, "on_train_batch_end")
        self._at_logs = [c for c in trainer.callbacks if isinstance(c, LearningRateMonitor)]
        self._others_write = self._at_logs or any(called(trainer, name) for name in BATCH_HOOKS)
        # The Trainer's way to a batch, by all loaders that there might be, costs as much as zeroing
        # the gradients.
        single = _single_loader(fetcher)
        self._next: Callable[[], Any]
        self._next = (lambda: next(fetcher)[0]) if single is None else single.__next__
        self.progress = GroupProgress(trainer, fetcher, behind=single is not None)

    def _bare(self, count: int) -> Taken | None:
        """Take steps with nothing around them, up to one, if there is, that must be the last."""
        trainer, module, loop, log = self._trainer, self._module, self._loop, self._log
        current, total = loop.batch_progress.current, loop.batch_progress.total
        by_hand = None if module.automatic_optimization else loop.manual_optimization
        connector, results = trainer._logger_connector, loop._results
        interval, place, following, take = self._interval, self._place, self._next, self._take
        if self._captured is not None:
            take = self._captured.begin(take)
        first = connector._first_loop_iter is None
        for _ in range(count):
            batch, index, outputs = place(following()), current.ready, None
            # As at the start of each batch, for averages to weigh it by.
            results.batch, results.batch_size = batch, None
            connector._first_loop_iter, first = first, False
            current.ready += 1
            total.ready += 1
            writes = interval and (loop._batches_that_stepped + 1) % interval == 0
            if batch is None:
                self._warn()
            else:
                if writes:
                    for callback in self._at_logs:
                        callback.on_train_batch_start(trainer)
                for hook in self._starts:
                    hook(trainer, module, batch, index)
                current.started += 1
                outputs = take(batch, index)
                # `group_size` has counted on one step a batch.
                if trainer.should_stop or (by_hand and _steps(by_hand) > total.ready):
                    return outputs, batch, index
            current.processed += 1
            if self._scheduled:
                loop.update_lr_schedulers("step", update_plateau_schedulers=False)
            for hook in self._ends:
                hook(trainer, module, outputs, batch, index)
            current.completed += 1
            if writes:
                log.write()
                if self._others_write:
                    log.flush()  # before their next rows
            loop._batches_that_stepped += 1
        return None

    def _surrounded(self) -> Taken:
        trainer, progress = self._trainer, self._loop.batch_progress
        self._log.flush()
        batch, index = self._place(self._next()), progress.current.ready
        progress.increment_ready()
        if self.progress is not None:
            self.progress.settle()
        progress.is_last_batch = self._fetcher.done
        trainer._logger_connector.on_batch_start(batch)
        if batch is None:
            self._warn()
            return None, batch, index
        _call_callback_hooks(trainer, "on_train_batch_start", batch, index)
        _call_lightning_module_hook(trainer, "on_train_batch_start", batch, index)
        progress.increment_started()
        return self._take(batch, index), batch, index

    def _finish(self, outputs: Any, batch: Any, index: int) -> None:
        """Do all that the Trainer does after a step."""
        trainer, loop = self._trainer, self._loop
        connector, progress = trainer._logger_connector, loop.batch_progress
        self._settle()
        self._log.pass_on()
        self._log.flush()
        progress.increment_processed()
        loop.update_lr_schedulers("step", update_plateau_schedulers=False)
        if loop._num_ready_batches_reached():
            loop.update_lr_schedulers("epoch", update_plateau_schedulers=False)
        _call_callback_hooks(trainer, "on_train_batch_end", outputs, batch, index)
        _call_lightning_module_hook(trainer, "on_train_batch_end", outputs, batch, index)
        connector.on_batch_end()
        progress.increment_completed()
        connector.update_train_step_metrics()

    def _settle(self) -> None:
        """Leave it to the Trainer to count."""
        progress, self.progress = self.progress, None
        if progress is not None:
            progress.settle()

    def _warn(self) -> None:
        self._loop._warning_cache.warn(
            "train_dataloader yielded None. If this was on purpose, ignore this warning..."
        )


def _placement(trainer: Any) -> Callable[[Any], Any]:
    """What converts a batch and moves it to the device, where it is not there already."""
    module, precision = trainer.lightning_module, trainer.precision_plugin
    device = trainer.strategy.root_device
    owners = [owner for owner in (module, trainer.datamodule) if owner is not None]
    overridden = any(is_overridden(hook, owner) for hook in TRANSFERS for owner in owners)
    stays = type(precision) is Precision and not overridden

    def place(batch: Any) -> Any:
        if stays and (isinstance(batch, tuple) or type(batch) is list):
            for part in batch:
                if part is not None and not (isinstance(part, Tensor) and part.device == device):
                    break
            else:
                # What a step changes of a list must not be the loader's.
                return batch[:] if type(batch) is list else batch
        batch = precision.convert_input(batch)
        batch = module._on_before_batch_transfer(batch, dataloader_idx=0)
        return trainer.strategy.batch_to_device(batch, dataloader_idx=0)

    return place


def _steps(manual: Any) -> int:
    return int(manual.optim_step_progress.total.completed)


def _single_loader(fetcher: Any) -> Iterator[Any] | None:
    """The iterator of the only loader, if it is the only one."""
    combined = fetcher.combined_loader
    if combined.iterables is not combined.flattened[0] or fetcher.batches:
        return None
    batches: Iterator[Any] = combined._iterator.iterators[0]
    return batches
