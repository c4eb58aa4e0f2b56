"""Each coefficient over time."""

from __future__ import annotations

import math
from typing import final

from lightning.pytorch import Callback, LightningModule, Trainer

from linreg_lightning.callbacks.tensorboard import tags_of
from linreg_lightning.errors import InputError
from linreg_lightning.protocols import coefficient_rows


@final
class CoefficientMonitor(Callback):
    """Logs `coefficient/<name>` at the start and after each epoch, in the user's units.

    Beside it `truth/<name>` where the truth is known, at the start and at the end, and
    `interval_low/<name>` and `interval_high/<name>` where the model knows them. With several
    targets `<name>` is `<target>/<name>`. The step is the number of optimiser steps behind the
    coefficient; what a model finds all at once, at its end, is a line from the start to there. A
    model without `coefficients()`, or not yet `fitted`, is left alone.

    Args:
        most: the largest number of coefficients that is still logged; a model that has more is
            not, since nobody could read them and writing them would slow the fit.

    Raises:
        InputError: most is below 0.
    """

    def __init__(self, most: int = 50) -> None:
        if most < 0:
            raise InputError(f"most: {most} was given; type a whole number, 0 or above")
        self.most = most
        self._too_many = False
        self._start: int | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log where the descent starts."""
        self._too_many = False
        self._start = trainer.global_step
        self._log(trainer, pl_module, with_truth=True)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log where it has come to."""
        self._log(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the line of the truth to its end."""
        self._log(trainer, pl_module, with_truth=True, with_estimate=False)

    def _log(
        self,
        trainer: Trainer,
        model: LightningModule,
        with_truth: bool = False,
        with_estimate: bool = True,
    ) -> None:
        if not trainer.loggers or self._too_many:
            return
        rows = coefficient_rows(model)
        self._too_many = len(rows) > self.most  # known by then: no table is made at each epoch
        if not rows or self._too_many:
            return
        kinds = {"truth": "true"} if with_truth else {}
        if with_estimate:
            kinds |= {
                "coefficient": "estimate",
                "interval_low": "ci_low",
                "interval_high": "ci_high",
            }
        values = {
            f"{kind}/{tag}": row[column]
            for tag, row in tags_of(rows).items()
            for kind, column in kinds.items()
            if math.isfinite(row.get(column, math.nan))
        }
        # What is found all at once has been on its way from the start: one point is no band.
        start, self._start = self._start, None
        steps = {trainer.global_step} if start is None else {start, trainer.global_step}
        for logger in trainer.loggers:
            for step in sorted(steps):
                logger.log_metrics(values, step=step)
