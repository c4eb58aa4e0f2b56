"""Plots of a fit as PNG files and as images in TensorBoard."""

import inspect
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, final

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.seed import isolate_rng

from linreg_lightning.atomic_file import atomic_path
from linreg_lightning.callbacks.regression_figures import CoefficientPath, regression_figures
from linreg_lightning.callbacks.row_sampler import RowSample, sample_caption, sample_rows
from linreg_lightning.callbacks.tensorboard import log_picture
from linreg_lightning.errors import InputError
from linreg_lightning.hook_markers import per_step
from linreg_lightning.protocols import (
    DrawsFigures,
    Fitted,
    HasKeys,
    NamedClasses,
    NamedColumns,
    coefficient_rows,
    is_single_pass,
)
from linreg_lightning.validation import check_argument

_MAX_FEATURES = 1000  # reading more coefficients than this at each step would slow a fit


@final
class FitPlots(Callback):
    """Draws the model's own figures, and those of a regression, at the end of a fit.

    Each plot is a PNG file in the run's folder, and a picture in its loggers (`log_picture`).

    A model with `figures(x, y, prediction, caption)` draws the plots of its task. It receives a
    sample of the validation rows, or of the training rows where there is no validation, on the CPU,
    with their predictions, and a caption that says which rows these are. It returns matplotlib
    Figures by name, such as `{"confusion": plots.confusion_matrix(...)}`.

    A regression also has plots of predictions, residuals, coefficients and the descent, unless the
    model draws others of these names. With one feature there is a plot of y over it, with the
    fitted line and the bands of `prediction`. A model with a `selection` has plots of its path of
    penalties and of the errors of held-out folds. Plots that do not apply are left out:
    coefficients of a model without `coefficients()`, the descent of a model that took a single
    step, predictions of a fit that absorbed effects, or where y is not float of shape (rows,) or
    (rows, targets), or is the number of a class. Of several targets the first four have plots.

    An error in drawing, in the model's own code or from a full disk, becomes a warning, because the
    fit has succeeded.

    Args:
        epochs: after how many epochs to draw as well, such as [1, 10]; TensorBoard keeps all plots.
        rows: how many rows of each split to draw; of more rows a random sample is drawn. There are
            fewer where these have more than 2^24 numbers in x, such as large images.
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
        self._path = CoefficientPath([], {})
        self._next_step = math.inf
        # All processes ask, because the first one broadcasts its answer.
        folder = trainer.log_dir or trainer.default_root_dir
        draws = trainer.is_global_zero and not trainer.fast_dev_run
        self._folder = Path(folder) if draws else None
        if draws and not is_single_pass(pl_module):
            self._path = CoefficientPath(self._choose_pair(pl_module), {})
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
        step, (pair, estimates) = trainer.global_step, self._path
        if pair and step not in estimates:
            rows = [row for row in model.coefficients() if row["name"] in pair]
            estimates[step] = {(row["target"], row["name"]): row["estimate"] for row in rows}
            self._next_step = step + 1 + (step - min(estimates)) // 100

    def _draw(self, trainer: Trainer, model: LightningModule) -> None:
        folder = self._folder
        if folder is None or (isinstance(model, Fitted) and not model.fitted):
            return
        self._record(trainer, model)
        samples = self._samples(trainer, model)
        regression = {k: s.with_targets() for k, s in samples.items() if is_regression(s, model)}
        drawn = set()
        for figures in (
            own_figures(trainer, model, samples),
            regression_figures(trainer, model, regression, self._path),
        ):
            try:
                for name, tag, figure in figures:
                    if name not in drawn:
                        self._write(trainer, folder / f"{name}.png", tag, figure)
                        drawn.add(name)
            except Exception as error:  # the fit has succeeded, whatever went wrong here
                _warn("not all plots could be drawn and written", error)

    def _write(self, trainer: Trainer, file: Path, tag: str, figure: Any) -> None:
        from linreg_lightning.plots import png

        with atomic_path(file) as unfinished:
            unfinished.write_bytes(png(figure))
        self.path = file.with_name("*.png")
        log_picture(trainer, tag, file)

    def _samples(self, trainer: Any, model: LightningModule) -> dict[str, RowSample]:
        """Return rows of each split to draw; of none if the model cannot predict them."""
        data = trainer.datamodule
        if isinstance(data, HasKeys) and data.absorbed_names:
            return {}  # a fit keeps no effects to predict with
        loaders: dict[str, tuple[Any, float]] = {}
        if len(trainer.num_val_batches) == 1:
            loaders["validation"] = trainer.val_dataloaders, trainer.num_val_batches[0]
        loaders["training"] = trainer.train_dataloader, trainer.num_training_batches
        samples: dict[str, RowSample] = {}
        if isinstance(model, HasKeys) and model.absorbed_names:
            return samples  # it keeps no effects, which a prediction needs
        any_y = draws_figures(model)
        with isolate_rng(include_cuda=False):
            try:
                for split, (loader, batches) in loaders.items():
                    sample = sample_rows(loader, batches, trainer, model, self.rows, any_y)
                    if sample is not None:
                        samples = {split: sample, **samples}
                        if not is_regression(sample, model):
                            break  # a model's own figures show one split
            except Exception as error:  # the model and the loader may be anybody's
                _warn("left out all plots of predictions, because predicting rows failed", error)
                return {}
        return samples


def draws_figures(model: object) -> bool:
    """Whether `figures` is a method; other classes may have an attribute of this name."""
    return isinstance(model, DrawsFigures) and inspect.ismethod(model.figures)


def is_regression(sample: RowSample, model: object) -> bool:
    """Whether y are measured values with a prediction each, and not the numbers of classes."""
    y, predicted = sample.y, sample.predicted
    fits = y.is_floating_point() and y.ndim <= 2 and predicted.numel() == y.numel()
    return fits and not (isinstance(model, NamedClasses) and model.class_names)


def own_figures(
    trainer: Trainer, model: Any, samples: dict[str, RowSample]
) -> Iterator[tuple[str, str, Any]]:
    """Yield file name, TensorBoard tag and Figure of each plot that the model draws itself."""
    split = "validation" if "validation" in samples else "training"
    if split not in samples or not draws_figures(model):
        return
    sample = samples[split]
    caption = sample_caption(trainer, model, {split: sample})
    with isolate_rng(include_cuda=False):
        figures = model.figures(sample.x, sample.y, sample.predicted, caption)
    for name, figure in figures.items():
        yield name.replace("/", "-"), name, figure


def _warn(what: str, error: Exception) -> None:
    rank_zero_warn(f"FitPlots: {what}: {type(error).__name__}: {' '.join(str(error).split())}")
