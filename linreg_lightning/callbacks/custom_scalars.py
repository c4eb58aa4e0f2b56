"""The layout of TensorBoard's page of custom scalars."""

import re
from collections.abc import Sequence
from typing import Any, final

from lightning.pytorch import Callback, LightningModule, Trainer

from linreg_lightning.callbacks.penalty_path import path_tags
from linreg_lightning.callbacks.tensorboard import rows_by_tag, tensorboard_writers
from linreg_lightning.protocols import Fitted, HasSelection, coefficient_rows, selection_of
from linreg_lightning.validation import check_argument


@final
class CustomScalars(Callback):
    """Lays out charts of the training loss, each validation metric and each coefficient.

    A chart of TensorBoard gives each run one colour, whatever the number of its curves. Training
    and validation, which often lie close together, therefore have charts of their own. The chart of
    a coefficient shows the estimate and, where they are known, its true value and the ends of its
    confidence interval. It is the same for all models, so that TensorBoard shows the runs of a
    folder in one chart. A model with more coefficients than `max_coefficients` gets no charts of
    them. A model that has chosen a penalty gets a chart of the errors of held-out folds with their
    band, from the largest penalty to the smallest.

    Raises:
        InputError: max_coefficients is below 0.
    """

    def __init__(self, max_coefficients: int = 50) -> None:
        expected = "a whole number, 0 or above"
        check_argument("max_coefficients", max_coefficients, max_coefficients >= 0, expected)
        self.max_coefficients = max_coefficients
        self._written = False
        self._metrics: list[str] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._metrics = []

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember the names of the metrics; Lightning's sanity check comes before the fit."""
        names = [name for name in trainer.callback_metrics if name.startswith("val_")]
        self._metrics = [name.removeprefix("val_") for name in names]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._written = False
        self._write(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the layout of a model that is fitted, or validated, only now."""
        self._write(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write(trainer, pl_module, is_last=True)

    def _write(self, trainer: Trainer, model: LightningModule, is_last: bool = False) -> None:
        # Once: TensorBoard reads one layout of a run.
        if self._written or (isinstance(model, Fitted) and not model.fitted):
            return
        awaits_metrics = not self._metrics and trainer.enable_validation
        awaits_choice = isinstance(model, HasSelection) and model.selection is None
        if (awaits_metrics or awaits_choice) and not is_last:
            return
        rows = coefficient_rows(model)
        shown = rows if len(rows) <= self.max_coefficients else []
        selection = selection_of(model)
        tags = path_tags(selection) if selection is not None else []
        for writer in tensorboard_writers(trainer):
            writer.add_custom_scalars(layout(shown, self._metrics, tags))
        self._written = True


def layout(
    rows: list[dict[str, Any]], metrics: list[str], paths: Sequence[str] = ()
) -> dict[str, dict[str, list[Any]]]:
    """Return category to chart to its kind and tags, as SummaryWriter takes it.

    `paths` are the `path_tags` of a model that has chosen a penalty.

    >>> layout([], ["accuracy"])["fit"]["validation accuracy"]
    ['Multiline', ['^val/accuracy$']]
    >>> layout([{"target": "y", "name": "x1", "estimate": 2.0}], [])["coefficients"]
    {'x1': ['Multiline', ['^(coefficient|interval_low|interval_high|truth)/x1$']]}
    >>> layout([], [], ["path/{}"])["penalty"]
    {'error of held-out folds': ['Margin', ['path/mean_error', 'path/low', 'path/high']]}
    """
    fit = {"training loss": ["Multiline", ["^train/loss$"]]}
    for name in metrics:
        # Runs with and without a constant in the model share a chart.
        is_r2, name = name in ("r2", "r2_uncentered"), name.removesuffix("_uncentered")
        end = "(_uncentered)?" if is_r2 else ""
        fit[f"validation {name}"] = ["Multiline", [f"^val/{re.escape(name)}{end}$"]]
    # TensorBoard repeats the chart of a coefficient unless all runs lay it out in the same way.
    curves = "coefficient|interval_low|interval_high|truth"
    coefficients = {
        tag: ["Multiline", [f"^({curves})/{re.escape(tag)}$"]] for tag in rows_by_tag(rows)
    }
    names, penalty = ("mean_error", "low", "high"), {}
    for tag in paths:
        target = tag.partition("{}/")[2]
        chart = f"error of held-out folds, {target}" if target else "error of held-out folds"
        penalty[chart] = ["Margin", [tag.format(name) for name in names]]
    categories = {"fit": fit, "penalty": penalty, "coefficients": coefficients}
    return {name: charts for name, charts in categories.items() if charts}
