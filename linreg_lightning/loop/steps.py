"""Steps as the Trainer takes them, most of them without what surrounds them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, final

from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.trainer.call import _call_callback_hooks, _call_lightning_module_hook
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor

from linreg_lightning.loop.captured_step import CapturedStep
from linreg_lightning.loop.late_loggers import LateLoggers
from linreg_lightning.loop.one_step import automatic_step, called, manual_step, training_step_of
from linreg_lightning.loop.step_log import StepLog

TRANSFERS = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")


@final
class Steps:
    """The next steps of an epoch, which leave everything as if the Trainer had taken them.

    Only the last of them is surrounded by all that the Trainer does at a step.

    Args:
        trainer: within a fit; much of it is not declared by its class.
        capture: whether to replay recorded steps on a GPU.
    """

    def __init__(self, trainer: Any, capture: bool) -> None:
        self._trainer, self._log = trainer, StepLog(trainer)
        self._captured = CapturedStep(trainer, self._log) if capture else None
        module, loop = trainer.lightning_module, trainer.fit_loop.epoch_loop
        self._module, self._loop = module, loop
        self._place = _placement(trainer)
        self._current, self._total = loop.batch_progress.current, loop.batch_progress.total
        self._updates = loop.automatic_optimization.optim_progress.optimizer
        self.loggers = LateLoggers(trainer.loggers)

    def take(self, fetcher: Any, count: int) -> None:
        """Take so many steps; not beyond the end of the epoch.

        Args:
            fetcher: the Trainer's source of batches.
            count: how many.
        """
        self._begin(fetcher)
        with self._log:
            outer, self._module._current_fx_name = self._module._current_fx_name, "training_step"
            try:
                self._bare(count - 1)
                if self._trainer.should_stop:
                    self._log.end_batch()
            finally:
                self._module._current_fx_name = outer
                self._settle()
                self._log.flush()
            if self._trainer.should_stop:
                # A step has asked for it. It was the last one, which the Trainer itself counts.
                self._loop._batches_that_stepped -= 1
            else:
                self._surrounded()

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
        # The Trainer's way to a batch, by all loaders that there might be, costs as much as zeroing
        # the gradients.
        self._single = _single_loader(fetcher)
        self._batches = _batches(fetcher) if self._single is None else self._single
        self._ready, self._stepped = self._current.ready, self._loop._batches_that_stepped
        self._zeroed = self._updates.zero_grad.total.completed

    def _bare(self, count: int) -> None:
        """Take steps with nothing around them; only what somebody could read is counted at once."""
        trainer, module, loop, log = self._trainer, self._module, self._loop, self._log
        current, total, interval = self._current, self._total, self._interval
        batches, place, take = self._batches, self._place, self._take
        if self._captured is not None:
            take = self._captured.begin(take)
        for _ in range(count):
            batch, index = place(next(batches)), current.ready
            log.batch = batch
            current.ready += 1
            total.ready += 1
            writes = interval and (loop._batches_that_stepped + 1) % interval == 0
            if writes and self._at_logs:
                log.flush()
                for callback in self._at_logs:
                    callback.on_train_batch_start(trainer)
            for hook in self._starts:
                hook(trainer, module, batch, index)
            outputs = take(batch, index)
            if self._scheduled:
                loop.update_lr_schedulers("step", update_plateau_schedulers=False)
            for hook in self._ends:
                hook(trainer, module, outputs, batch, index)
            stops = trainer.should_stop
            if writes or (stops and interval):
                log.write()
            loop._batches_that_stepped += 1
            if stops:
                return

    def _settle(self) -> None:
        """Count the rest of what the Trainer counts of the steps that were taken."""
        done = self._loop._batches_that_stepped - self._stepped
        begun = self._current.ready - self._ready
        for progress in (self._current, self._total):
            progress.started += begun
            progress.processed += done
            progress.completed += done
        self._count_updates(begun, done)
        self._count_batches(begun)

    def _surrounded(self) -> None:
        trainer, module, loop = self._trainer, self._module, self._loop
        connector, progress = trainer._logger_connector, loop.batch_progress
        batch, index = self._place(next(self._batches)), self._current.ready
        self._count_batches(1)
        progress.is_last_batch = self._fetcher.done
        progress.increment_ready()
        connector.on_batch_start(batch)
        self._log.batch = batch
        _call_callback_hooks(trainer, "on_train_batch_start", batch, index)
        _call_lightning_module_hook(trainer, "on_train_batch_start", batch, index)
        progress.increment_started()
        outer, module._current_fx_name = module._current_fx_name, "training_step"
        outputs = self._take(batch, index)
        self._count_updates(1, 1)
        self._log.pass_on()
        module._current_fx_name = outer
        progress.increment_processed()
        loop.update_lr_schedulers("step", update_plateau_schedulers=False)
        if loop._num_ready_batches_reached():
            loop.update_lr_schedulers("epoch", update_plateau_schedulers=False)
        _call_callback_hooks(trainer, "on_train_batch_end", outputs, batch, index)
        _call_lightning_module_hook(trainer, "on_train_batch_end", outputs, batch, index)
        connector.on_batch_end()
        progress.increment_completed()
        connector.update_train_step_metrics()

    def _count_batches(self, taken: int) -> None:
        """Count those that were taken from the single loader behind the fetcher's back."""
        if self._single is not None:
            fetcher = self._fetcher
            fetcher.combined_loader._iterator._idx += taken
            fetcher.fetched += taken
            fetcher.done = fetcher.fetched >= fetcher.length

    def _count_updates(self, begun: int, done: int) -> None:
        """Count the rest of the optimiser's steps, and of the times that gradients were zeroed."""
        if not self._module.automatic_optimization:
            return
        step, zeroed = self._updates.step, self._updates.zero_grad
        step.current.ready += begun
        step.total.ready += begun
        step.current.completed += done
        times = zeroed.total.completed - self._zeroed
        self._zeroed += times
        zeroed.total.ready += times
        zeroed.total.started += times
        zeroed.current.increment_by(times)


def _placement(trainer: Any) -> Callable[[Any], Any]:
    """What converts a batch and moves it to the device, where it is not there already."""
    module, precision = trainer.lightning_module, trainer.precision_plugin
    device = trainer.strategy.root_device
    owners = [owner for owner in (module, trainer.datamodule) if owner is not None]
    overridden = any(is_overridden(hook, owner) for hook in TRANSFERS for owner in owners)
    stays = type(precision) is Precision and not overridden

    def place(batch: Any) -> Any:
        if stays and isinstance(batch, tuple | list):
            for part in batch:
                if part is not None and not (isinstance(part, Tensor) and part.device == device):
                    break
            else:
                return batch
        batch = precision.convert_input(batch)
        batch = module._on_before_batch_transfer(batch, dataloader_idx=0)
        return trainer.strategy.batch_to_device(batch, dataloader_idx=0)

    return place


def _batches(fetcher: Any) -> Iterator[Any]:
    while True:
        yield next(fetcher)[0]


def _single_loader(fetcher: Any) -> Iterator[Any] | None:
    """The iterator of the only loader, if it is the only one."""
    combined = fetcher.combined_loader
    if combined.iterables is not combined.flattened[0] or fetcher.batches:
        return None
    batches: Iterator[Any] = combined._iterator.iterators[0]
    return batches
