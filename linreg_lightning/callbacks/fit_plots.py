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
from linreg_lightning.callbacks.trajectory import Trajectory
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
        self._paths: dict[str, Trajectory] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record where the descent starts.

        Raises:
            InputError: the model has no coefficient of a name in `coefficients`.
        """
        self._pair, self._paths = None, {}
        # All processes ask, because the first one broadcasts its answer.
        self._folder = Path(trainer.log_dir or trainer.default_root_dir)
        if _may_draw(trainer) and not is_single_pass(pl_module):
            self._pair = self._choose_pair(pl_module)
            self._record(trainer, pl_module)

    @per_step
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Record the coefficients; in a long descent not at each step."""
        if self._pair is not None and self._is_due(trainer.global_step):
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
        if not names or not isinstance(model, NamedColumns):
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

    def _is_due(self, step: int) -> bool:
        return next(iter(self._paths.values())).is_due(step)

    def _record(self, trainer: Trainer, model: Any) -> None:
        """Add the two coefficients of each target to its path."""
        if self._pair is None:
            return
        estimates: dict[str, dict[str, float]] = {}
        for row in model.coefficients():
            if row["name"] in self._pair:
                estimates.setdefault(row["target"], {})[row["name"]] = row["estimate"]
        for target, values in estimates.items():
            path = self._paths.setdefault(target, Trajectory())
            path.add(trainer.global_step, [values[name] for name in self._pair])

    def _draw(self, trainer: Trainer, model: LightningModule) -> None:
        self._record(trainer, model)
        try:
            for name, tag, figure in self._figures(trainer, model):
                self._write(trainer, name, tag, figure)
        except Exception as error:  # the fit has succeeded, whatever went wrong here
            _warn("not all plots could be drawn and written", error)

    def _write(self, trainer: Trainer, name: str, tag: str, figure: Any) -> None:
        from linreg_lightning.plots import png

        content = png(figure)
        with atomic_path(self._folder / f"{name}.png") as unfinished:
            unfinished.write_bytes(content)
        self.path = self._folder / "*.png"
        add_png(trainer, tag, content)

    def _figures(self, trainer: Trainer, model: LightningModule) -> Iterator[tuple[str, str, Any]]:
        """Yield file name, TensorBoard tag and Figure of each plot."""
        samples = self._samples(trainer, model)
        tables = _tables_by_target(model)
        targets = _target_names(model, samples, tables)
        for k, target in enumerate(targets[:_MAX_TARGETS]):
            table = tables.get(target, [])
            for name, figure in self._figures_of(targets, k, samples, table, trainer, model):
                if len(targets) == 1:
                    yield name, name, figure
                else:
                    yield f"{name}-{k + 1}", f"{name}/{target}", figure

    def _figures_of(
        self,
        targets: list[str],
        k: int,
        samples: dict[str, RowSample],
        table: Rows,
        trainer: Trainer,
        model: LightningModule,
    ) -> Iterator[tuple[str, Any]]:
        """Yield name and Figure of each plot of the target with index k; add new plots here."""
        from linreg_lightning.plots import SplitPredictions, coefficients, predicted, residuals

        target, step = targets[k], f"Step {trainer.global_step}"
        number = f" Target {k + 1} of {len(targets)}." if len(targets) > 1 else ""
        splits = [
            SplitPredictions(label, sample.y[:, k], sample.predicted[:, k])
            for label, sample in samples.items()
            if sample.y.shape[1] == len(targets)
        ]
        if splits:
            rows = " and ".join(sample.describe(label) for label, sample in samples.items())
            caption = f"{step}: {rows}.{_processes(trainer)}{number}"
            yield "predicted", predicted(splits, target, caption)
            yield "residuals", residuals(splits, target, caption)
        if table:
            caption = f"{step}.{_confidence(model, table)}{number}"
            yield "coefficients", coefficients(table, target, caption)
        if table and "training" in samples and self._pair is not None:
            sample = samples["training"]
            figure = self._descent(self._pair, table, sample, sample.y[:, k], trainer, model)
            if figure is not None:
                yield "descent", figure

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
        self,
        pair: tuple[str, str],
        table: Rows,
        sample: RowSample,
        y: torch.Tensor,
        trainer: Trainer,
        model: Any,
    ) -> Any:
        """Return the Figure of one target's path; None without a path, or if x has no names."""
        from linreg_lightning.plots import LossSurface, descent

        target = table[0]["target"]
        path = self._paths[target]
        x, names = sample.x, list(model.feature_names)
        if len(path.steps) < 2 or x.ndim != 2 or x.shape[1] != len(names):
            return None
        rows = {row["name"]: row for row in table}
        if "intercept" in rows and "intercept" not in names:
            x, names = torch.cat([torch.ones_like(x[:, :1]), x], dim=1), ["intercept", *names]
        chosen = [names.index(name) for name in pair]
        others = [j for j in range(len(names)) if j not in chosen]
        surface = LossSurface.of(x[:, chosen], y, x[:, others], sample.weight)
        true = tuple(rows[name]["true"] for name in pair if "true" in rows[name])
        resumed = ", where the run was resumed," if path.steps[0] else ""
        rest = " All other coefficients have their best values given these two." if others else ""
        caption = (
            f"The path from step {path.steps[0]}{resumed} to {path.steps[-1]}. The loss is the "
            f"mean squared error of {sample.describe('training')}.{rest}{_processes(trainer)}"
        )
        known = true if len(true) == 2 else None
        return descent(surface, path.points, pair, known, target, caption)


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
