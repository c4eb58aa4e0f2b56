"""What stands in for `module.log` within a group of steps."""

from __future__ import annotations

from inspect import signature
from typing import Any, final

from lightning.pytorch import LightningModule
from torch import Tensor
from torchmetrics import Metric

from linreg_lightning.tight_loop.lightning_internals import EpochState

LATER_ARGUMENTS = list(signature(LightningModule.log).parameters)[7:]
"""The arguments of `log` after on_epoch, which may be given by position too."""


@final
class StepLog:
    """Stands in for `module.log` within a group of steps, and logs each value as late as possible.

    A call of `module.log` is slow beside a small step, and at most steps nobody reads what
    it logs before the next step replaces it. So the last value of each name is kept, and logged
    when the loggers write or the group ends. Values to average over the epoch, and values that a
    hook logs, go to `module.log` at once.

    Args:
        trainer: within a fit; the log of its module is replaced while this context is open.
        state: the Trainer's epoch.
    """

    def __init__(self, trainer: Any, state: EpochState) -> None:
        self._trainer, self._module, self._state = trainer, trainer.lightning_module, state
        self._log = self._module.log
        self._kept: dict[str, tuple[Any, ...]] = {}

    def __enter__(self) -> StepLog:
        self._kept.clear()
        vars(self._module)["log"] = self
        return self

    def __exit__(self, *_: object) -> None:
        del vars(self._module)["log"]

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
        *others: Any,
        **options: Any,
    ) -> None:
        """Keep a value of this step, or log it at once."""
        if others:
            options.update(zip(LATER_ARGUMENTS, others, strict=False))
        if isinstance(value, Tensor):
            value = value.detach().clone()  # the rest of the step may change it
        call = (value, prog_bar, logger, on_step, on_epoch, options)
        in_hook = self._state.hook_name() != "training_step"
        if in_hook or on_epoch or isinstance(value, Metric):
            self._log(name, *call[:-1], **options)
        else:
            self._kept[name] = call

    def log_kept_values(self) -> None:
        """Log the values that have been kept."""
        kept, self._kept = self._kept, {}
        # Numbers become tensors of the precision that the step has.
        with self._trainer.precision_plugin.train_step_context():
            for name, call in kept.items():
                self._log_now(name, *call)

    def _log_now(
        self,
        name: str,
        value: Any,
        prog_bar: bool,
        logger: Any,
        on_step: Any,
        on_epoch: Any,
        options: Any,
    ) -> None:
        is_number = isinstance(value, Tensor) and value.is_floating_point() and value.dim() == 0
        is_plain = is_number and on_step is not False and not options.keys() - {"batch_size"}
        if not (is_plain and self._state.log_again(name, value, prog_bar, logger is not False)):
            self._log(name, value, prog_bar, logger, on_step, on_epoch, **options)
