"""Curves of the coefficients."""

import math
from typing import final

from lightning.pytorch import Callback, LightningModule, Trainer

from linreg_lightning.callbacks.tensorboard import rows_by_tag
from linreg_lightning.protocols import coefficient_rows
from linreg_lightning.validation import check_argument

# Name in the log to column of the table.
_TRUTH = {"truth": "true"}
_ESTIMATE = {"coefficient": "estimate", "interval_low": "ci_low", "interval_high": "ci_high"}


@final
class CoefficientMonitor(Callback):
    """Logs `coefficient/<name>` at the start and after each epoch, in the user's units.

    Where the model knows them it also logs `interval_low/<name>` and `interval_high/<name>`, and
    `truth/<name>` at the start and the end. With several targets `<name>` is `<target>/<name>`. The
    step is the number of optimiser steps taken. A model whose first estimate comes at the end of
    its fit gets a line from the start to there. A model without `coefficients()` is ignored, as is
    one with more than `max_coefficients`: nobody could read the curves, which would slow the fit.

    Raises:
        InputError: max_coefficients is below 0.
    """

    def __init__(self, max_coefficients: int = 50) -> None:
        expected = "a whole number, 0 or above"
        check_argument("max_coefficients", max_coefficients, max_coefficients >= 0, expected)
        self.max_coefficients = max_coefficients
        self._too_many = False
        self._unlogged_steps: list[int] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._too_many = False
        self._unlogged_steps = [trainer.global_step]
        self._log(trainer, pl_module, _TRUTH | _ESTIMATE)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._log(trainer, pl_module, _ESTIMATE)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the truth again, so that its line spans the run."""
        self._log(trainer, pl_module, _TRUTH)

    def _log(self, trainer: Trainer, model: LightningModule, columns: dict[str, str]) -> None:
        if not trainer.loggers or self._too_many:
            return
        rows = coefficient_rows(model)
        self._too_many = len(rows) > self.max_coefficients
        if not rows or self._too_many:
            return
        values = {
            f"{name}/{tag}": row[column]
            for tag, row in rows_by_tag(rows).items()
            for name, column in columns.items()
            if math.isfinite(row.get(column, math.nan))
        }
        # TensorBoard shows no line for a single point: the first estimates count from the start.
        steps = sorted({*self._unlogged_steps, trainer.global_step})
        self._unlogged_steps = []
        for logger in trainer.loggers:
            for step in steps:
                logger.log_metrics(values, step=step)
