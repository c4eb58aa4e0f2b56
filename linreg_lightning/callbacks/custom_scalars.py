"""TensorBoard's page of custom scalars: what belongs together, in one chart."""

from __future__ import annotations

import math
import re
from typing import Any, final

from lightning.pytorch import Callback, LightningModule, Trainer

from linreg_lightning.callbacks.tensorboard import tags_of, writers
from linreg_lightning.errors import InputError
from linreg_lightning.protocols import coefficient_rows

Layout = dict[str, dict[str, list[Any]]]


@final
class CustomScalars(Callback):
    """Lays out the loss of training and validation in one chart, each coefficient in another.

    A coefficient's chart has its true value beside it, where that is known; where the model knows
    its confidence interval, the chart is a line within a band.

    Args:
        most: the largest number of coefficients that still get charts.

    Raises:
        InputError: that number is below 0.
    """

    def __init__(self, most: int = 50) -> None:
        if most < 0:
            raise InputError(f"most: {most} was given; type a whole number, 0 or above")
        self.most = most
        self._done = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lay out what is known by now."""
        self._done = False
        self._lay_out(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lay out what was not known before: the intervals of a model that had not been fitted."""
        self._lay_out(trainer, pl_module)

    def _lay_out(self, trainer: Trainer, model: Any) -> None:
        # TensorBoard reads one layout of a run.
        if self._done or getattr(model, "fitted", True) is False:
            return
        rows = coefficient_rows(model)
        for writer in writers(trainer):
            validates = sum(trainer.num_val_batches) > 0
            writer.add_custom_scalars(layout(rows if len(rows) <= self.most else [], validates))
        self._done = True


def layout(rows: list[dict[str, Any]], validates: bool) -> Layout:
    """Category to chart to its kind and tags, as SummaryWriter has it.

    Args:
        rows: of the table of coefficients.
        validates: whether there are metrics of validation.

    >>> layout([{"target": "y", "name": "x1", "estimate": 2.0}], True)["coefficients"]
    {'x1': ['Multiline', ['^coefficient/x1$', '^truth/x1$']]}
    """
    fit = {"loss": ["Multiline", ["^train/loss$", "^val/loss$"]]}
    for name in ("rmse", "mae", "r2") if validates else ():
        fit[name] = ["Multiline", [f"^val/{name}$"]]
    coefficients: dict[str, list[Any]] = {}
    for tag, row in tags_of(rows).items():
        if math.isfinite(row.get("ci_low", math.nan)):
            kinds = ("coefficient", "interval_low", "interval_high")
            coefficients[tag] = ["Margin", [f"{kind}/{tag}" for kind in kinds]]
        else:
            patterns = [f"^{kind}/{re.escape(tag)}$" for kind in ("coefficient", "truth")]
            coefficients[tag] = ["Multiline", patterns]
    return {"fit": fit, **({"coefficients": coefficients} if coefficients else {})}
