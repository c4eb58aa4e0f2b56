"""The steps of a group: all but the last in a plain loop, the last as the Trainer takes it."""

from collections.abc import Callable
from typing import Any, final

from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor

from linreg_lightning.tight_loop.buffered_loggers import BufferedLoggers
from linreg_lightning.tight_loop.fusion_rules import BATCH_HOOKS
from linreg_lightning.tight_loop.lightning_internals import EpochState, batch_source
from linreg_lightning.tight_loop.step_function import automatic_step, manual_step, per_step_hooks
from linreg_lightning.tight_loop.step_log import StepLog


@final
class StepGroup:
    """Takes groups of steps, and leaves everything as if the Trainer had taken them."""

    def __init__(self, trainer: Any, state: EpochState) -> None:
        self._trainer, self._module, self._state = trainer, trainer.lightning_module, state
        self._log = StepLog(trainer, state)
        self._to_device = to_device(trainer, state)
        self.loggers = BufferedLoggers(trainer.loggers)

    def take(self, fetcher: Any, count: int) -> None:
        """Take the next `count` steps of an epoch, not beyond its end."""
        self._state.loop.val_loop.restarting = False  # as the Trainer does before each batch
        self._choose_hooks()
        self._take_batch = batch_source(fetcher)
        with self._log:
            self._state.call("training_step", self._take_steps, fetcher, count)

    def _take_steps(self, fetcher: Any, count: int) -> None:
        batches = self._state.batches.current
        begun = batches.ready
        try:
            while count > 1 and not self._step(fetcher):
                count -= 1
            if count == 1:
                self._step(fetcher, is_last=True)
        except BaseException:
            if batches.ready > begun:
                self._log.log_kept_values()
                self._state.update_metrics()
            raise

    def _choose_hooks(self) -> None:
        """Look up what each step calls; a step may change it for the next group."""
        trainer, state = self._trainer, self._state
        self._is_manual = not self._module.automatic_optimization
        make_step = manual_step if self._is_manual else automatic_step
        self._take_step = make_step(trainer, state)
        self._has_schedule = any(each.interval == "step" for each in trainer.lr_scheduler_configs)
        self._write_interval = trainer.log_every_n_steps if trainer.loggers else 0
        self._start_hooks = per_step_hooks(trainer, state, "on_train_batch_start")
        self._end_hooks = per_step_hooks(trainer, state, "on_train_batch_end")
        monitors = [each for each in trainer.callbacks if isinstance(each, LearningRateMonitor)]
        self._write_hooks = [each.on_train_batch_start for each in monitors] + self._start_hooks
        self._hooks_may_write = bool(monitors) or any(
            per_step_hooks(trainer, state, name) for name in BATCH_HOOKS
        )

    def _step(self, fetcher: Any, is_last: bool = False) -> bool:
        """Take one step; returns whether it is the last, or must be, as one that stops the run."""
        trainer, module, state = self._trainer, self._module, self._state
        batches = state.batches
        batch = self._to_device(self._take_batch())
        index = state.begin_batch(batch)
        if is_last:
            batches.is_last_batch = fetcher.done
        interval = self._write_interval
        is_written = interval and (state.logged_steps() + 1) % interval == 0
        outputs = None
        if batch is None:
            state.warn_of_missing_batch()
        else:
            if is_last:
                self._log.flush()
                self._call_all_hooks("on_train_batch_start", batch, index)
            else:
                for hook in self._write_hooks if is_written else self._start_hooks:
                    hook(trainer, module, batch, index)
            batches.increment_started()
            outputs = self._take_step(batch, index)
            is_last = is_last or trainer.should_stop
            if self._is_manual:  # it may have taken more steps than batches
                is_last = is_last or trainer.global_step > batches.total.ready
        batches.increment_processed()
        if is_last:
            self._log.log_kept_values()
            state.step_lr_schedulers(fetcher.done)
            self._call_all_hooks("on_train_batch_end", outputs, batch, index)
        else:
            if self._has_schedule:
                state.step_lr_schedulers(False)
            for hook in self._end_hooks:
                hook(trainer, module, outputs, batch, index)
        if is_last:
            state.update_metrics()
        batches.increment_completed()
        if is_last:
            state.write_metrics()
            return True  # the Trainer counts it as a logged step
        if is_written:
            self._log.write()
            if self._hooks_may_write:
                self._log.flush()
        state.count_logged_step()
        return False

    def _call_all_hooks(self, name: str, *args: Any) -> None:
        for callback in self._trainer.callbacks:
            self._state.call(name, getattr(callback, name), self._trainer, self._module, *args)
        self._state.call(name, getattr(self._module, name), *args)


def to_device(trainer: Any, state: EpochState) -> Callable[[Any], Any]:
    """Return what converts a batch and moves it to the device, if it is not there yet."""
    precision, device = trainer.precision_plugin, trainer.strategy.root_device
    hooks = "on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer"
    owners = [each for each in (trainer.lightning_module, trainer.datamodule) if each is not None]
    overridden = any(is_overridden(hook, owner) for hook in hooks for owner in owners)
    may_stay = type(precision) is Precision and not overridden

    def move(batch: Any) -> Any:
        may_be_there = may_stay and (isinstance(batch, tuple) or type(batch) is list)
        if may_be_there and all(
            part is None or (isinstance(part, Tensor) and part.device == device) for part in batch
        ):
            # A step may change its list; the loader's own stays as it is.
            return batch[:] if type(batch) is list else batch
        batch = state.prepare_batch(precision.convert_input(batch))
        return trainer.strategy.batch_to_device(batch, dataloader_idx=0)

    return move
