"""Plots of a fit as PNG files and as images in TensorBoard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, final

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn

from linreg_lightning.atomic_file import atomic_path
from linreg_lightning.callbacks.row_sampler import RowSample, sample_rows
from linreg_lightning.callbacks.tensorboard import add_png
from linreg_lightning.errors import InputError
from linreg_lightning.hook_markers import per_step
from linreg_lightning.protocols import (
    ConfidenceLevel,
    NamedColumns,
    coefficient_rows,
    is_single_pass,
)

_MAX_TARGETS = 4
_MAX_FEATURES = 1000
"""Reading more coefficients than this at each step would slow a fit."""

Rows = list[dict[str, Any]]
"""A table of coefficients."""


@final
class FitPlots(Callback):
    """Draws predictions, residuals, coefficients and the descent at the end of a fit.

    Each plot is a PNG file in the run's folder and an image in its TensorBoard. Plots that do not
    apply are left out: coefficients of a model without `coefficients()`, the descent of a model
    that took a single step, predictions of a model that is no regression. With several targets
    there are plots for each of the first four. An error in drawing, in the model's own code or from
    a full disk, becomes a warning, because the fit has succeeded.

    Args:
        epochs: after how many epochs to draw as well, such as [1, 10]. The files are then replaced;
            TensorBoard keeps all.
        rows: the number of rows drawn of each split; of more rows a random sample is drawn, and the
            caption says so.
        coefficients: the two coefficients of the loss surface; None means the first two columns,
            or the intercept and the only column.

    Raises:
        InputError: numbers below 1; other than two coefficients; when fitting, a coefficient that
            the model does not have.
    """

    content: ClassVar[str] = "figures"
    path: Path | None = None
    """The files as a pattern, once they are written."""

    def __init__(
        self,
        epochs: list[int] | None = None,
        rows: int = 5000,
        coefficients: list[str] | None = None,
    ) -> None:
        if any(epoch < 1 for epoch in epochs or []):
            raise InputError(f"epochs: {epochs} was given; type whole numbers above 0")
        if rows < 1:
            raise InputError(f"rows: {rows} was given; type a whole number above 0")
        if coefficients is not None and len(set(coefficients)) != 2:
            raise InputError(f"coefficients: {coefficients} was given; type the names of two")
        self.epochs = epochs or []
        self.rows = rows
        self.coefficients = coefficients
        self._folder = Path()
        self._pair: tuple[str, str] | None = None
        self._steps: list[int] = []
        self._paths: dict[str, list[list[float]]] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record where the descent starts.

        Raises:
            InputError: the model has no coefficient of a name in `coefficients`.
        """
        self._pair, self._steps, self._paths = None, [], {}
        # All processes ask, because the first one broadcasts its answer.
        self._folder = Path(trainer.log_dir or trainer.default_root_dir)
        if _may_draw(trainer) and not is_single_pass(pl_module):
            self._pair = self._choose_pair(pl_module)
            self._record(trainer, pl_module)

    @per_step
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Record the coefficients; after more steps less often, so that paths stay short."""
        if self._pair is not None:
            first, last = self._steps[0], self._steps[-1]
            if trainer.global_step > last + (last - first) // 100:
                self._record(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw if this epoch is in `epochs`."""
        if trainer.current_epoch + 1 in self.epochs and _may_draw(trainer):
            self._draw(trainer, pl_module)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw."""
        if _may_draw(trainer):
            self._draw(trainer, pl_module)

    def _choose_pair(self, model: LightningModule) -> tuple[str, str] | None:
        """Return the names of the two coefficients of the loss surface."""
        names = list(dict.fromkeys(row["name"] for row in coefficient_rows(model)))
        if not isinstance(model, NamedColumns) or not names:
            return None
        if not 0 < len(model.feature_names) <= _MAX_FEATURES:
            return None
        unknown = [name for name in self.coefficients or [] if name not in names]
        if unknown:
            raise InputError(
                f"coefficients: the model has no {unknown[0]!r}; it has {', '.join(names[:20])}"
            )
        columns = [name for name in names if name != "intercept"]
        pair = self.coefficients or (columns if len(columns) > 1 else names)[:2]
        return (pair[0], pair[1]) if len(pair) == 2 else None

    def _record(self, trainer: Trainer, model: Any) -> None:
        """Add the two coefficients of each target to its path."""
        if self._pair is None or trainer.global_step in self._steps[-1:]:
            return
        self._steps.append(trainer.global_step)
        estimates: dict[str, dict[str, float]] = {}
        for row in model.coefficients():
            if row["name"] in self._pair:
                estimates.setdefault(row["target"], {})[row["name"]] = row["estimate"]
        for target, values in estimates.items():
            self._paths.setdefault(target, []).append([values[name] for name in self._pair])

    def _draw(self, trainer: Trainer, model: LightningModule) -> None:
        self._record(trainer, model)
        try:
            from linreg_lightning.plots import png

            for name, tag, figure in self._figures(trainer, model):
                content = png(figure)
                with atomic_path(self._folder / f"{name}.png") as unfinished:
                    unfinished.write_bytes(content)
                self.path = self._folder / "*.png"
                add_png(trainer, tag, content)
        except Exception as error:  # the fit has succeeded, whatever went wrong here
            _warn("not all plots could be drawn and written", error)

    def _figures(self, trainer: Trainer, model: LightningModule) -> Iterator[tuple[str, str, Any]]:
        """Yield file name, TensorBoard tag and Figure of each plot; add new plots here."""
        from linreg_lightning.plots import SplitPredictions, coefficients, predicted, residuals

        samples = self._samples(trainer, model)
        tables = _tables_by_target(model)
        targets = _target_names(model, samples, tables)
        described = " and ".join(sample.describe(split) for split, sample in samples.items())
        step, described = f"Step {trainer.global_step}", f"{described}.{_processes(trainer)}"
        file, tag, number = "", "", ""
        for k, target in enumerate(targets[:_MAX_TARGETS]):
            if len(targets) > 1:
                file, tag = f"-{k + 1}", f"/{target}"
                number = f" Target {k + 1} of {len(targets)}."
            splits = [
                SplitPredictions(split, sample.y[:, k], sample.predicted[:, k])
                for split, sample in samples.items()
                if sample.y.shape[1] == len(targets)
            ]
            if splits:
                caption = f"{step}: {described}{number}"
                yield f"predicted{file}", f"predicted{tag}", predicted(splits, target, caption)
                yield f"residuals{file}", f"residuals{tag}", residuals(splits, target, caption)
            if table := tables.get(target):
                caption = f"{step}.{_confidence(model, table)}{number}"
                figure = coefficients(table, target, caption)
                yield f"coefficients{file}", f"coefficients{tag}", figure
                if figure := self._descent(trainer, model, samples.get("training"), table, k):
                    yield f"descent{file}", f"descent{tag}", figure

    def _samples(self, trainer: Trainer, model: LightningModule) -> dict[str, RowSample]:
        """Return rows of each split that has some; of none if the model cannot predict them."""
        loaders = {"training": (trainer.train_dataloader, trainer.num_training_batches)}
        if len(trainer.num_val_batches) == 1:
            loaders["validation"] = trainer.val_dataloaders, trainer.num_val_batches[0]
        samples = {}
        try:
            for split, (loader, batches) in loaders.items():
                sample = sample_rows(loader, batches, trainer, model, self.rows)
                if sample is not None:
                    samples[split] = sample
        except Exception as error:  # the model and the loader may be anybody's
            _warn("left out all plots of predictions, because predicting rows failed", error)
            return {}
        return samples

    def _descent(
        self, trainer: Trainer, model: Any, sample: RowSample | None, table: Rows, k: int
    ) -> Any:
        """Return the Figure of the path of target k; None without a path or named columns of x."""
        from linreg_lightning.plots import LossSurface, descent

        if self._pair is None or sample is None or len(self._steps) < 2:
            return None
        x, names = sample.x, list(model.feature_names)
        if x.ndim != 2 or x.shape[1] != len(names):
            return None
        rows = {row["name"]: row for row in table}
        if "intercept" in rows and "intercept" not in names:
            x, names = torch.cat([torch.ones_like(x[:, :1]), x], dim=1), ["intercept", *names]
        chosen = [names.index(name) for name in self._pair]
        others = [j for j in range(len(names)) if j not in chosen]
        surface = LossSurface.of(x[:, chosen], sample.y[:, k], x[:, others], sample.weight)
        a, b = (rows[name].get("true") for name in self._pair)
        true = None if a is None or b is None else (a, b)
        first, last, target = self._steps[0], self._steps[-1], table[0]["target"]
        resumed = ", where the run was resumed," if first else ""
        rest = " All other coefficients have their best values given these two." if others else ""
        caption = (
            f"The path from step {first}{resumed} to {last}. The loss is the mean squared error of "
            f"{sample.describe('training')}.{rest}{_processes(trainer)}"
        )
        path = torch.tensor(self._paths[target], dtype=torch.float64)
        return descent(surface, path, self._pair, true, target, caption)


def _may_draw(trainer: Any) -> bool:
    return trainer.is_global_zero and not trainer.fast_dev_run


def _warn(what: str, error: Exception) -> None:
    text = " ".join(str(error).split())
    rank_zero_warn(f"FitPlots: {what}: {type(error).__name__}: {text}")


def _processes(trainer: Trainer) -> str:
    count = trainer.world_size
    return f" Only rows of the first of {count} processes." if count > 1 else ""


def _tables_by_target(model: LightningModule) -> dict[str, Rows]:
    tables: dict[str, Rows] = {}
    for row in coefficient_rows(model):
        tables.setdefault(row["target"], []).append(row)
    return tables


def _target_names(
    model: LightningModule, samples: dict[str, RowSample], tables: dict[str, Rows]
) -> list[str]:
    """Return the model's names where there is one for each column of y, else y1, y2 and so on."""
    names = list(model.target_names) if isinstance(model, NamedColumns) else []
    names = names or list(tables)
    if "training" in samples and len(names) != (count := samples["training"].y.shape[1]):
        return ["y"] if count == 1 else [f"y{k}" for k in range(1, count + 1)]
    return names


def _confidence(model: LightningModule, table: Rows) -> str:
    if not isinstance(model, ConfidenceLevel) or "ci_low" not in table[0]:
        return ""
    return f" {100 * model.confidence:g}% confidence intervals."
