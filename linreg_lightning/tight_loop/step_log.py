"""What stands in for `module.log` within a group of steps."""

from __future__ import annotations

from typing import Any, final

from torch import Tensor
from torchmetrics import Metric

from linreg_lightning.tight_loop.lightning_internals import EpochState


@final
class StepLog:
    """Stands in for `module.log` within a group of steps, and logs each value as late as possible.

    A call of `module.log` is slow beside a small step, and at most steps nobody reads what
    it logs before the next step replaces it. So the last value of each name is kept, and logged
    when the loggers write or the group ends. Values to average over the epoch, and values that a
    hook logs, go to `module.log` at once. It replaces `module.log` while it is open as a context.
    """

    def __init__(self, trainer: Any, state: EpochState) -> None:
        self._trainer, self._module, self._state = trainer, trainer.lightning_module, state
        self._log = self._module.log
        self._kept: dict[str, tuple[Any, ...]] = {}
        self._waiting: list[tuple[int, dict[str, Tensor]]] = []  # steps and values to write
        self._flags: dict[str, tuple[bool, bool]] = {}  # of plain values that Lightning knows
        self._has_logged = False  # something other than the kept values, within this group

    def __enter__(self) -> StepLog:
        self._kept.clear()
        self._has_logged = False
        vars(self._module)["log"] = self
        return self

    def __exit__(self, *_: object) -> None:
        del vars(self._module)["log"]
        self.flush()

    def __reduce__(self) -> tuple[Any, ...]:
        # A step may copy its module; the copy has a `log` of its own.
        return getattr, (self._module, "log")

    def __call__(
        self,
        name: str,
        value: Any,
        prog_bar: bool = False,
        logger: bool | None = None,
        on_step: bool | None = None,
        on_epoch: bool | None = None,
        *more: Any,  # few callers give these by position
        **options: Any,
    ) -> None:
        """Keep a value of this step, or log it at once."""
        if isinstance(value, Tensor):
            value = value.detach().clone()  # the rest of the step may change it
        call = (value, prog_bar, logger, on_step, on_epoch)
        in_hook = self._state.hook_name() != "training_step"
        if in_hook or on_epoch or isinstance(value, Metric) or more:
            self._has_logged = True
            self._log(name, *call, *more, **options)
        else:
            self._kept[name] = *call, options

    def write(self) -> None:
        """Write the values of this step: at the end of the group, if the loggers get just those."""
        kept = self._kept
        # By `step` and `epoch` a module tells the Trainer where in the run its values belong.
        is_plain = all(map(_is_plain, kept.values())) and kept.keys().isdisjoint({"step", "epoch"})
        if self._has_logged or not is_plain or not self._state.logged_names() <= kept.keys():
            self.log_kept_values()
            self._state.update_metrics()
            self._state.write_metrics()
            return
        values = {name: call[0] for name, call in kept.items() if call[2] is not False}
        if values:
            self._waiting.append((self._state.logged_steps(), values))

    def log_kept_values(self) -> None:
        """Log the values that have been kept, after writing those of earlier steps."""
        self.flush()
        kept, self._kept = self._kept, {}
        # Numbers become tensors of the precision that the step has.
        with self._trainer.precision_plugin.train_step_context():
            for name, call in kept.items():
                flags = call[1], call[2] is not False
                if _is_plain(call) and self._flags.get(name) == flags:
                    self._state.log_again(name, call[0])
                    continue
                self._log(name, *call[:-1], **call[-1])
                if _is_plain(call) and not self._trainer.barebones:  # which logs nothing
                    self._flags[name] = flags

    def flush(self) -> None:
        """Write the values that wait; until then no step waits for a GPU to have computed them."""
        loggers, epoch = self._trainer.loggers, self._trainer.current_epoch
        waiting, self._waiting = self._waiting, []
        for step, values in waiting:
            metrics = {name: value.item() for name, value in values.items()} | {"epoch": epoch}
            for logger in loggers:
                logger.log_metrics(metrics=dict(metrics), step=step)
        if waiting:
            for logger in loggers:
                logger.save()


def _is_plain(call: tuple[Any, ...]) -> bool:
    """Whether a call that has been kept logs one number of its step alone."""
    value, _, _, on_step, _, options = call
    is_number = isinstance(value, Tensor) and value.is_floating_point() and value.dim() == 0
    return is_number and on_step is not False and not options.keys() - {"batch_size"}
