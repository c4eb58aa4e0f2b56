"""The steps of a group: all but the last in a plain loop, the last as the Trainer takes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor

from linreg_lightning.tight_loop.buffered_loggers import BufferedLoggers
from linreg_lightning.tight_loop.lightning_internals import EpochState
from linreg_lightning.tight_loop.step_function import hooks_of_each_step, step_function
from linreg_lightning.tight_loop.step_log import StepLog

TRANSFER_HOOKS = (
    "on_before_batch_transfer",
    "transfer_batch_to_device",
    "on_after_batch_transfer",
)


@final
class StepGroup:
    """Takes groups of steps, and leaves everything as if the Trainer had taken them.

    Args:
        trainer: within a fit; its class does not declare all of its attributes.
        state: its epoch.

    Attributes:
        loggers: the Trainer's loggers of TensorBoard, which write later than they are told to.
    """

    def __init__(self, trainer: Any, state: EpochState) -> None:
        self._trainer, self._module, self._state = trainer, trainer.lightning_module, state
        self._log = StepLog(trainer, state)
        self._to_device = to_device(trainer, state)
        self.loggers = BufferedLoggers(trainer.loggers)

    def take(self, fetcher: Any, count: int, advance: Callable[[Any], None]) -> None:
        """Take the next steps of an epoch; not beyond its end.

        Args:
            fetcher: the Trainer's iterator over batches.
            count: how many steps.
            advance: what the Trainer itself takes a step with.
        """
        self._begin()
        with self._log:
            stopped = self._state.call_as("training_step", self._plain_steps, fetcher, count - 1)
        if not stopped:
            advance(fetcher)

    def _begin(self) -> None:
        trainer, state = self._trainer, self._state
        state.begin_group()
        self._take_step = step_function(trainer, state)
        self._has_schedule = any(each.interval == "step" for each in trainer.lr_scheduler_configs)
        self._write_interval = trainer.log_every_n_steps if trainer.loggers else 0
        self._start_hooks = hooks_of_each_step(trainer, state, "on_train_batch_start")
        self._end_hooks = hooks_of_each_step(trainer, state, "on_train_batch_end")
        self._rate_monitors = [c for c in trainer.callbacks if isinstance(c, LearningRateMonitor)]

    def _plain_steps(self, fetcher: Any, count: int) -> bool:
        """Take steps; returns whether one of them had to be the last of the group."""
        batches, stopped = self._state.batches.current, False
        begun = batches.ready
        try:
            while count > 0 and not stopped:
                stopped = self._step(fetcher)
                count -= 1
        finally:
            if batches.ready > begun:
                self._log.log_kept_values()
                self._state.update_metrics()
        return stopped

    def _step(self, fetcher: Any) -> bool:
        """Take one step; returns whether it must be the last of the group."""
        trainer, module, state = self._trainer, self._module, self._state
        batch, outputs, is_last = self._to_device(next(fetcher)[0]), None, False
        index = state.begin_batch(batch)
        interval = self._write_interval
        is_written = interval > 0 and (state.logged_steps() + 1) % interval == 0
        if batch is None:
            state.warn_of_missing_batch()
        else:
            if is_written:
                for monitor in self._rate_monitors:
                    monitor.on_train_batch_start(trainer)
            for hook in self._start_hooks:
                hook(trainer, module, batch, index)
            state.batches.increment_started()
            outputs = self._take_step(batch, index)
            is_last = trainer.should_stop or self._took_more_steps_than_batches()
        state.batches.increment_processed()
        if self._has_schedule:
            state.step_lr_schedulers()
        if is_last:
            self._log.log_kept_values()
            self._call_all_end_hooks(outputs, batch, index)
        for hook in [] if is_last else self._end_hooks:
            hook(trainer, module, outputs, batch, index)
        if is_written or is_last:
            self._log.log_kept_values()
            state.update_metrics()
        state.batches.increment_completed()
        if is_written or is_last:
            state.write_metrics()
        if not is_last:
            state.count_logged_step()  # after the last, the Trainer does
        return is_last

    def _took_more_steps_than_batches(self) -> bool:
        if self._module.automatic_optimization:
            return False
        return bool(self._trainer.global_step > self._state.batches.total.ready)

    def _call_all_end_hooks(self, outputs: Any, batch: Any, index: int) -> None:
        trainer, module, name = self._trainer, self._module, "on_train_batch_end"
        for callback in trainer.callbacks:
            hook = getattr(callback, name)
            self._state.call_as(name, hook, trainer, module, outputs, batch, index)
        self._state.call_as(name, module.on_train_batch_end, outputs, batch, index)


def to_device(trainer: Any, state: EpochState) -> Callable[[Any], Any]:
    """Return what converts a batch and moves it to the device, if it is not there yet."""
    precision, device = trainer.precision_plugin, trainer.strategy.root_device
    owners = [each for each in (trainer.lightning_module, trainer.datamodule) if each is not None]
    overridden = any(is_overridden(hook, owner) for hook in TRANSFER_HOOKS for owner in owners)
    may_stay = type(precision) is Precision and not overridden

    def is_there(part: Any) -> bool:
        return part is None or (isinstance(part, Tensor) and part.device == device)

    def move(batch: Any) -> Any:
        if may_stay and (isinstance(batch, tuple) or type(batch) is list):
            for part in batch:
                if not is_there(part):
                    break
            else:
                # A step may change its list; the loader's own stays as it is.
                return batch[:] if type(batch) is list else batch
        batch = state.prepare_batch(precision.convert_input(batch))
        return trainer.strategy.batch_to_device(batch, dataloader_idx=0)

    return move
