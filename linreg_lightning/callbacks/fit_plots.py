"""Plots of a fit as PNG files and as images in TensorBoard."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, final

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.seed import isolate_rng

from linreg_lightning.atomic_file import atomic_path
from linreg_lightning.callbacks.row_sampler import RowSample, sample_rows
from linreg_lightning.callbacks.tensorboard import log_picture
from linreg_lightning.errors import InputError
from linreg_lightning.hook_markers import per_step
from linreg_lightning.protocols import (
    Fitted,
    IntervalModel,
    NamedColumns,
    coefficient_rows,
    is_single_pass,
)
from linreg_lightning.validation import check_argument

_MAX_TARGETS = 4
_LINE_POINTS = 101  # enough for smooth bands, whose edges are curves
_MAX_FEATURES = 1000  # reading more coefficients than this at each step would slow a fit


@final
class FitPlots(Callback):
    """Draws predictions, residuals, coefficients and the descent at the end of a fit.

    Each plot is a PNG file in the run's folder, and a picture in its loggers (`log_picture`). With
    one feature there is also a plot of y over it, with the fitted line and the bands of
    `prediction`. Plots that do not apply are left out: coefficients of a model without
    `coefficients()`, the descent of a model that took a single step, predictions of a model that is
    no regression. Of several targets the first four have plots. An error in drawing, in the model's
    own code or from a full disk, becomes a warning, because the fit has succeeded.

    Args:
        epochs: after how many epochs to draw as well, such as [1, 10]; TensorBoard keeps all plots.
        rows: how many rows of each split to draw; of more rows a random sample is drawn.
        coefficients: the two coefficients of the loss surface; None means the first two columns,
            or the intercept and the only column.

    Raises:
        InputError: numbers below 1; other than two coefficients; when fitting, a coefficient that
            the model does not have.
    """

    file_label: ClassVar[str] = "figures"
    path: Path | None = None  # the files as a pattern, once they are written

    def __init__(
        self,
        epochs: list[int] | None = None,
        rows: int = 5000,
        coefficients: list[str] | None = None,
    ) -> None:
        self.epochs = epochs or []
        self.rows = rows
        self.coefficients = coefficients
        first = min(self.epochs, default=1)
        check_argument("epochs", epochs, first >= 1, "whole numbers above 0")
        check_argument("rows", rows, rows >= 1, "a whole number above 0")
        two = coefficients is None or len(set(coefficients)) == 2
        check_argument("coefficients", coefficients, two, "the names of two")
        self._folder: Path | None = None

    def on_train_start(self, trainer: Any, pl_module: LightningModule) -> None:
        self._pair: list[str] = []
        self._estimates: dict[int, dict[tuple[str, str], float]] = {}
        self._next_step = math.inf
        # All processes ask, because the first one broadcasts its answer.
        folder = trainer.log_dir or trainer.default_root_dir
        draws = trainer.is_global_zero and not trainer.fast_dev_run
        self._folder = Path(folder) if draws else None
        if draws and not is_single_pass(pl_module):
            self._pair = self._choose_pair(pl_module)
            self._record(trainer, pl_module)

    @per_step
    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if trainer.global_step >= self._next_step:
            self._record(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch + 1 in self.epochs:
            self._draw(trainer, pl_module)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._draw(trainer, pl_module)

    def _choose_pair(self, model: LightningModule) -> list[str]:
        """Return the names of the two coefficients of the loss surface, or none."""
        names = list(dict.fromkeys(row["name"] for row in coefficient_rows(model)))
        features = len(model.feature_names) if isinstance(model, NamedColumns) else 0
        if not names or not 0 < features <= _MAX_FEATURES:
            return []
        unknown = [name for name in self.coefficients or [] if name not in names]
        if unknown:
            raise InputError(
                f"coefficients: the model has no {unknown[0]!r}; it has {', '.join(names[:20])}"
            )
        columns = [name for name in names if name != "intercept"]
        pair = self.coefficients or (columns if len(columns) > 1 else names)[:2]
        return pair if len(pair) == 2 else []

    def _record(self, trainer: Trainer, model: Any) -> None:
        """Record the two coefficients of each target, less often in long runs."""
        step = trainer.global_step
        if self._pair and step not in self._estimates:
            rows = [row for row in model.coefficients() if row["name"] in self._pair]
            self._estimates[step] = {(row["target"], row["name"]): row["estimate"] for row in rows}
            self._next_step = step + 1 + (step - min(self._estimates)) // 100

    def _draw(self, trainer: Trainer, model: LightningModule) -> None:
        if self._folder is None or (isinstance(model, Fitted) and not model.fitted):
            return
        self._record(trainer, model)
        try:
            from linreg_lightning.plots import png

            for name, tag, figure in self._figures(trainer, model):
                file = self._folder / f"{name}.png"
                with atomic_path(file) as unfinished:
                    unfinished.write_bytes(png(figure))
                self.path = self._folder / "*.png"
                log_picture(trainer, tag, file)
        except Exception as error:  # the fit has succeeded, whatever went wrong here
            _warn("not all plots could be drawn and written", error)

    def _figures(self, trainer: Trainer, model: LightningModule) -> Iterator[tuple[str, str, Any]]:
        """Yield file name, TensorBoard tag and Figure of each plot; add new plots here."""
        from linreg_lightning.plots import SplitPredictions, coefficients, predicted, residuals

        samples = self._samples(trainer, model)
        tables: dict[str, list[dict[str, Any]]] = {}
        for row in coefficient_rows(model):
            tables.setdefault(row["target"], []).append(row)
        targets = (list(model.target_names) if isinstance(model, NamedColumns) else []) or [*tables]
        count = samples["training"].y.shape[1] if "training" in samples else len(targets)
        if len(targets) != count:
            targets = ["y"] if count == 1 else [f"y{k}" for k in range(1, count + 1)]
        described = " and ".join(sample.describe(split) for split, sample in samples.items())
        described = f"{described[:1].upper()}{described[1:]}.{_processes(trainer)}"
        # An exact fit has one step, whose number tells nothing.
        step = "" if is_single_pass(model) else f"Step {trainer.global_step}. "
        several = len(targets) > 1
        shown = {
            name: sample for name, sample in samples.items() if sample.y.shape[1] == len(targets)
        }
        for k, target in enumerate(targets[:_MAX_TARGETS]):
            file, tag = (f"-{k + 1}", f"/{target}") if several else ("", "")
            number = f" Target {k + 1} of {len(targets)}." if several else ""
            splits = [
                SplitPredictions(split, sample.y[:, k], sample.predicted[:, k])
                for split, sample in shown.items()
            ]
            if splits:
                caption = f"{step}{described}{number}"
                if figure := self._line(model, shown, target, k, caption):
                    yield f"line{file}", f"line{tag}", figure
                uncentered = getattr(model, "r2_uncentered", False) is True
                figure = predicted(splits, target, caption, uncentered=uncentered)
                yield f"predicted{file}", f"predicted{tag}", figure
                yield f"residuals{file}", f"residuals{tag}", residuals(splits, target, caption)
            if table := tables.get(target):
                known = [row for row in table if math.isfinite(row.get("ci_low", math.nan))]
                confidence = getattr(model, "confidence", None) if known else None
                intervals = (
                    "" if confidence is None else f"{100 * confidence:g}% confidence intervals."
                )
                figure = coefficients(table, target, f"{step}{intervals}{number}".strip())
                yield f"coefficients{file}", f"coefficients{tag}", figure
                if figure := self._descent(trainer, model, samples.get("training"), table, k):
                    yield f"descent{file}", f"descent{tag}", figure

    def _samples(self, trainer: Trainer, model: LightningModule) -> dict[str, RowSample]:
        """Return rows of each split that has some; of none if the model cannot predict them."""
        loaders = {"training": (trainer.train_dataloader, trainer.num_training_batches)}
        if len(trainer.num_val_batches) == 1:
            loaders["validation"] = trainer.val_dataloaders, trainer.num_val_batches[0]
        samples = {}
        with isolate_rng(include_cuda=False):
            try:
                for split, (loader, batches) in loaders.items():
                    if sample := sample_rows(loader, batches, trainer, model, self.rows):
                        samples[split] = sample
            except Exception as error:  # the model and the loader may be anybody's
                _warn("left out all plots of predictions, because predicting rows failed", error)
                return {}
        return samples

    def _line(
        self, model: Any, samples: dict[str, RowSample], target: str, k: int, caption: str
    ) -> Any:
        """Return the Figure of y over the only feature; None for another number of features."""
        from linreg_lightning.plots import FittedLine, SplitRows, line

        names = model.feature_names if isinstance(model, NamedColumns) else []
        features = [j for j, name in enumerate(names) if name != "intercept"]
        shape = (len(names),)
        if len(features) != 1 or any(sample.x.shape[1:] != shape for sample in samples.values()):
            return None
        j, device = features[0], model.device
        splits = [
            SplitRows(split, sample.x[:, j], sample.y[:, k]) for split, sample in samples.items()
        ]
        x = torch.cat([split.x for split in splits])
        if isinstance(model, IntervalModel):
            points = torch.ones(_LINE_POINTS, len(names), dtype=torch.float64)
            points[:, j] = torch.linspace(x.min(), x.max(), _LINE_POINTS, dtype=torch.float64)
            fit = model.prediction(points.to(device))
            intervals = (fit.mean_low, fit.mean_high), (fit.row_low, fit.row_high)
            bands = [(low[:, k], high[:, k]) for low, high in intervals]
            fitted = FittedLine(points[:, j], fit.mean[:, k], *bands)
            if bands[0][0].isfinite().all():
                caption += f" {100 * getattr(model, 'confidence', 0.95):g}% bands."
                weighted = any(sample.weight is not None for sample in samples.values())
                caption += " The prediction band is for rows of weight 1." if weighted else ""
        else:
            order = x.argsort()
            predicted = torch.cat([sample.predicted[:, k] for sample in samples.values()])
            fitted = FittedLine(x[order], predicted[order])
        return line(splits, fitted, names[j], target, caption)

    def _descent(
        self, trainer: Trainer, model: Any, sample: RowSample | None, table: list[Any], k: int
    ) -> Any:
        """Return the Figure of the path of target k; None without a path or named columns of x."""
        from linreg_lightning.plots import LossSurface, descent

        if sample is None or len(self._estimates) < 2:
            return None
        x, names = sample.x, list(model.feature_names)
        if x.shape[1:] != (len(names),):
            return None
        rows = {row["name"]: row for row in table}
        if "intercept" in rows and "intercept" not in names:
            x, names = torch.cat([torch.ones_like(x[:, :1]), x], dim=1), ["intercept", *names]
        chosen = [names.index(name) for name in self._pair]
        others = [j for j in range(len(names)) if j not in chosen]
        surface = LossSurface.of(x[:, chosen], sample.y[:, k], x[:, others], sample.weight)
        true = [rows[name].get("true") for name in self._pair]
        first, last, target = min(self._estimates), max(self._estimates), table[0]["target"]
        resumed = ", where the run was resumed," if first else ""
        rest = " All other coefficients have their best values given these two." if others else ""
        caption = (
            f"The path from step {first}{resumed} to {last}. The loss is the mean squared error of "
            f"{sample.describe('training')}.{rest}{_processes(trainer)}"
        )
        keys = [(target, name) for name in self._pair]
        points = [[estimates[key] for key in keys] for estimates in self._estimates.values()]
        path = torch.tensor(points, dtype=torch.float64)
        return descent(surface, path, self._pair, true, target, caption)


def _warn(what: str, error: Exception) -> None:
    rank_zero_warn(f"FitPlots: {what}: {type(error).__name__}: {' '.join(str(error).split())}")


def _processes(trainer: Trainer) -> str:
    count = trainer.world_size
    return f" Only rows of the first of {count} processes." if count > 1 else ""
