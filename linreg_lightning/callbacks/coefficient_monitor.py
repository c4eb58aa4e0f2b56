"""Each coefficient over time."""

from __future__ import annotations

from typing import final

from lightning.pytorch import Callback, LightningModule, Trainer

from linreg_lightning.errors import InputError


@final
class CoefficientMonitor(Callback):
    """Logs `coefficient/<name>` at the start and after each epoch, in the user's units.

    With several targets the name is `coefficient/<target>/<name>`. The step is the number of
    optimiser steps behind the coefficient. A model without `coefficients()`, or not yet `fitted`,
    is left alone.

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

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log where the descent starts."""
        self._log(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log where it has come to."""
        self._log(trainer, pl_module)

    def _log(self, trainer: Trainer, model: LightningModule) -> None:
        coefficients = getattr(model, "coefficients", None)
        if not trainer.loggers or coefficients is None or not getattr(model, "fitted", True):
            return
        rows = coefficients()
        if len(rows) > self.most:
            return
        several = len({row["target"] for row in rows}) > 1
        values = {
            "/".join(["coefficient", *([row["target"]] if several else []), row["name"]]): row[
                "estimate"
            ]
            for row in rows
        }
        for logger in trainer.loggers:
            logger.log_metrics(values, step=trainer.global_step)
