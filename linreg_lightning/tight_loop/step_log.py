"""What training steps log while the Trainer does not look."""

from __future__ import annotations

from inspect import signature
from typing import Any, NamedTuple, final

from lightning.pytorch import LightningModule
from torch import Tensor
from torchmetrics import Metric

RESERVED = {"step", "epoch"}
"""Names by which the Trainer is told where in a run a row belongs."""

OPTIONS = list(signature(LightningModule.log).parameters)[7:]
"""What may come behind on_epoch, by position too."""


class Logged(NamedTuple):
    """The arguments of one call of `module.log`."""

    value: Any
    prog_bar: bool
    logger: bool | None
    on_step: bool | None
    on_epoch: bool | None
    options: dict[str, Any]

    @property
    def plain(self) -> bool:
        """Whether it is one number of this step alone."""
        value, each = self.value, self.on_step is not False and not self.on_epoch
        scalar = isinstance(value, Tensor) and value.is_floating_point() and value.dim() == 0
        return scalar and each and not self.options.keys() - {"batch_size"}

    def repeats(self, meta: Any) -> bool:
        """Whether a plain call has the flags of an earlier one, of which Lightning keeps `meta`."""
        flags = self.prog_bar, self.logger is not False, False
        return self.plain and flags == (meta.prog_bar, meta.logger, meta.on_epoch)


@final
class StepLog:
    """Stands in for `module.log` within a tight loop.

    Of a value that is logged at each step only every so many are written, and only the last before
    that is ever seen: keeping it costs next to nothing, `module.log` as much as two steps. What is
    written is kept too, and written when the loop is left: until then nobody waits for a GPU. What
    is to be averaged over the epoch, or comes from a hook, is passed on at once.

    Args:
        trainer: whose module's `log` it replaces, while it is entered as a context.
    """

    def __init__(self, trainer: Any) -> None:
        self._trainer, self._module = trainer, trainer.lightning_module
        self._log = self._module.log
        self._last: dict[str, tuple[Any, ...]] = {}
        self._written: list[tuple[int, dict[str, Tensor]]] = []
        self._passed_on = False
        self.recorded: list[tuple[str, Logged]] | None = None
        """Takes all that is logged while a step is recorded and not taken."""

    def __enter__(self) -> StepLog:
        self._last.clear()
        self._passed_on = False
        self._module.__dict__["log"] = self
        return self

    def __exit__(self, *_: object) -> None:
        del self._module.__dict__["log"]

    def __reduce__(self) -> tuple[Any, ...]:
        # A module may be copied within its step; a copy has its own `log`.
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
        """Keep a value for later, or pass it on."""
        if others:
            options.update(zip(OPTIONS, others, strict=False))
        if isinstance(value, Tensor):
            value = value.detach().clone()  # the rest of the step may change it
        if self.recorded is None:
            self.keep(name, value, prog_bar, logger, on_step, on_epoch, options)
        else:
            call = Logged(value, prog_bar, logger, on_step, on_epoch, options)
            self.recorded.append((name, call))

    def keep(
        self,
        name: str,
        value: Any,
        prog_bar: bool,
        logger: bool | None,
        on_step: bool | None,
        on_epoch: bool | None,
        options: dict[str, Any],
    ) -> None:
        """Keep a value that no step changes, or that is read before it does; or pass it on."""
        hook = self._module._current_fx_name != "training_step"
        if hook or on_epoch or isinstance(value, Metric):
            self._passed_on = True
            self._log(name, value, prog_bar, logger, on_step, on_epoch, **options)
            return
        # No more than a tuple: at most steps the next one takes its place unread.
        self._last[name] = (value, prog_bar, logger, on_step, on_epoch, options)

    def write(self) -> None:
        """Write what the Trainer would write at this step, sooner or later."""
        results = self._trainer.fit_loop.epoch_loop._results
        known = {metric.meta.name for _, metric in results.valid_items()}
        calls = {name: Logged(*call) for name, call in self._last.items()}
        plain = all(call.plain for call in calls.values()) and not RESERVED & calls.keys()
        if plain and known <= self._last.keys() and not self._passed_on:
            step = self._trainer.fit_loop.epoch_loop._batches_that_stepped
            # A step that is replayed has its values in the same place each time.
            values = {n: c.value.clone() for n, c in calls.items() if c.logger is not False}
            if values:
                self._written.append((step, values))
            return
        self.end_batch()
        self.flush()  # rows come in the order of their steps
        self._trainer._logger_connector.update_train_step_metrics()

    def end_batch(self) -> None:
        """Log what has been kept, as the Trainer does in the course of a batch."""
        self.pass_on()
        self._trainer._logger_connector.on_batch_end()

    def flush(self) -> None:
        """Hand over to the loggers what has been written."""
        for step, values in self._written:
            scalars = {name: value.item() for name, value in values.items()}
            for logger in self._trainer.loggers:
                metrics = {**scalars, "epoch": self._trainer.current_epoch}
                logger.log_metrics(metrics=metrics, step=step)
        if self._written:
            self._written.clear()
            for logger in self._trainer.loggers:
                logger.save()

    def pass_on(self) -> None:
        """Log what has been kept."""
        connector = self._trainer._logger_connector
        results = self._trainer.fit_loop.epoch_loop._results
        calls, self._last = self._last, {}
        # Numbers become tensors of the precision that the step has.
        with self._trainer.precision_plugin.train_step_context():
            for name, last in calls.items():
                call = Logged(*last)
                key = f"training_step.{name}"
                if key in results and call.repeats(results[key].meta):
                    # All that `module.log` comes to for what it has seen before.
                    results.update_metrics(key, call.value, batch_size=1)
                    connector._current_fx = "training_step"
                else:
                    value, *flags, options = call
                    self._log(name, value, *flags, **options)
