"""Pictures of a fit: in TensorBoard and beside its other files."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, final

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn

from linreg_lightning.callbacks.row_sampler import Sample
from linreg_lightning.callbacks.tensorboard import add_png
from linreg_lightning.callbacks.trajectory import Trajectory
from linreg_lightning.errors import InputError
from linreg_lightning.hook_markers import per_step
from linreg_lightning.protocols import coefficient_rows

_TARGETS = 4
_WIDE = 1000
"""Coefficients from which on reading them all at each step would slow a fit."""


@final
class FitPlots(Callback):
    """Draws predictions, residuals, coefficients and the descent when a fit has ended.

    Each picture is a PNG file in the run's folder, and an image in its TensorBoard. What does not
    apply is left out: coefficients of a model without `coefficients()`, the descent of one that
    took a single step, predictions of what is no regression. Of several targets the first four are
    drawn, each on its own. What goes wrong while drawing, in the model's own code or on a full
    disk, ends in a warning, never in the loss of the fit.

    Args:
        epochs: after how many epochs to draw as well, such as [1, 10]; the files are then replaced,
            TensorBoard keeps all.
        rows: how many rows of each split are drawn; where there are more, a random sample is, and
            the caption says so.
        coefficients: the two whose loss surface is drawn; None: the first two columns, or the
            intercept and the only one.

    Raises:
        InputError: numbers below 1; other than two coefficients; when fitting, a coefficient that
            the model does not have.
    """

    content: ClassVar[str] = "figures"
    path: Path | None = None
    """The files, as a pattern, once they have been written."""

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
        self._paths: list[Trajectory] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note where the descent starts.

        Raises:
            InputError: the model lacks a coefficient that was asked for.
        """
        self._pair, self._paths = None, []
        # Asked for by all processes: it is the first one's.
        self._folder = Path(trainer.log_dir or trainer.default_root_dir)
        if _draws(trainer) and not getattr(pl_module, "one_pass", False):
            self._pair = self._choose(pl_module)
            if self._pair is not None:
                self._note(trainer, pl_module, self._pair)

    @per_step
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note where it is; less and less often in a long descent."""
        if self._pair is not None and self._paths[0].is_due(trainer.global_step):
            self._note(trainer, pl_module, self._pair)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw if this epoch was chosen."""
        if trainer.current_epoch + 1 in self.epochs and _draws(trainer):
            self._draw(trainer, pl_module)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw."""
        if _draws(trainer):
            self._draw(trainer, pl_module)

    def _choose(self, model: Any) -> tuple[str, str] | None:
        own = list(dict.fromkeys(row["name"] for row in coefficient_rows(model)))
        if not own or not 0 < len(getattr(model, "feature_names", [])) <= _WIDE:
            return None
        unknown = [name for name in self.coefficients or [] if name not in own]
        if unknown:
            raise InputError(
                f"coefficients: the model has no {unknown[0]!r}; it has {', '.join(own[:20])}"
            )
        columns = [name for name in own if name != "intercept"]
        pair = self.coefficients or (columns[:2] if len(columns) > 1 else own[:2])
        return (pair[0], pair[1]) if len(pair) == 2 else None

    def _note(self, trainer: Trainer, model: Any, pair: tuple[str, str]) -> None:
        values: dict[str, dict[str, float]] = {}
        for row in model.coefficients():
            if row["name"] in pair:
                values.setdefault(row["target"], {})[row["name"]] = row["estimate"]
        self._paths = self._paths or [Trajectory() for _ in values]
        for path, of_target in zip(self._paths, values.values(), strict=True):
            path.add(trainer.global_step, [of_target[name] for name in pair])

    def _draw(self, trainer: Trainer, model: LightningModule) -> None:
        if self._pair is not None:
            self._note(trainer, model, self._pair)
        try:
            with _uncollected():
                self._write(trainer, model)
        except Exception as error:  # of whatever kind: the fit has succeeded
            _warn("not all pictures could be drawn and written", error)

    def _write(self, trainer: Trainer, model: LightningModule) -> None:
        from linreg_lightning.plots import png

        for name, number, target, figure in self._pictures(trainer, model):
            content = png(figure)
            several = number is not None
            self._folder.mkdir(parents=True, exist_ok=True)
            self.path = self._folder / "*.png"
            file = self._folder / (f"{name}-{number}.png" if several else f"{name}.png")
            unfinished = file.with_suffix(".png.part")
            try:
                unfinished.write_bytes(content)
                unfinished.replace(file)
            finally:
                unfinished.unlink(missing_ok=True)
            add_png(trainer, f"{name}/{target}" if several else name, content)

    def _pictures(self, trainer: Trainer, model: Any) -> Iterator[tuple[str, int | None, str, Any]]:
        """Name, number and name of the target, Figure; no number where there is one target."""
        from linreg_lightning.plots import Points, coefficients, predicted, residuals

        splits = self._splits(trainer, model)
        training = splits["training"]
        samples = {label: sample for label, sample in splits.items() if sample is not None}
        when = f"Step {trainer.global_step}"
        says = " and ".join(sample.says(label) for label, sample in samples.items())
        rows = _coefficients(model)
        names = list(getattr(model, "target_names", [])) or list(rows)
        if training is not None and len(names) != training.y.shape[1]:
            count = training.y.shape[1]
            names = ["y"] if count == 1 else [f"y{k}" for k in range(1, count + 1)]
        more = f" Target {{}} of {len(names)}." if len(names) > 1 else ""
        for k, target in enumerate(names[:_TARGETS]):
            number = k + 1 if len(names) > 1 else None
            caption = f"{when}: {says}.{_some_of(trainer)}{more.format(k + 1)}"
            points = [
                Points(label, sample.y[:, k], sample.predicted[:, k])
                for label, sample in samples.items()
                if sample.y.shape[1] == len(names)
            ]
            if points:
                yield "predicted", number, target, predicted(points, target, caption)
                yield "residuals", number, target, residuals(points, target, caption)
            if target in rows:
                text = f"{when}.{_interval(model, rows[target])}{more.format(k + 1)}"
                yield "coefficients", number, target, coefficients(rows[target], target, text)
            descent = self._descent(trainer, model, training, k)
            if descent is not None:
                yield "descent", number, target, descent

    def _splits(self, trainer: Trainer, model: LightningModule) -> dict[str, Sample | None]:
        """Some rows of each split; none at all where the model cannot predict them."""
        batches = {"training": trainer.num_training_batches, "validation": 0.0}
        if len(trainer.num_val_batches) == 1:
            batches["validation"] = trainer.num_val_batches[0]
        loaders = {"training": trainer.train_dataloader, "validation": trainer.val_dataloaders}
        try:
            return {
                label: Sample.of(loader, batches[label], trainer, model, self.rows)
                for label, loader in loaders.items()
            }
        except Exception as error:  # of code that may be anybody's
            _warn("left out all that shows predictions, since predicting rows failed", error)
            return dict.fromkeys(loaders)

    def _descent(self, trainer: Trainer, model: Any, training: Sample | None, k: int) -> Any:
        """The Figure of the k-th target's path; None without one, or if the rows are not x."""
        from linreg_lightning.plots import LossSurface, descent

        if self._pair is None or training is None or len(self._paths[k].steps) < 2:
            return None
        x, names = training.x, list(model.feature_names)
        if x.ndim != 2 or x.shape[1] != len(names):
            return None
        if getattr(model, "has_intercept", False):
            x, names = torch.cat([torch.ones_like(x[:, :1]), x], dim=1), ["intercept", *names]
        chosen = [names.index(name) for name in self._pair]
        others = [j for j in range(len(names)) if j not in chosen]
        surface = LossSurface.of(x[:, chosen], training.y[:, k], x[:, others], training.weight)
        target = model.target_names[k]
        truth = getattr(model, "true_coefficients", {}).get(target, {})
        known = all(name in truth for name in self._pair)
        path = self._paths[k]
        rest = " Each other coefficient is at its best for these two." if others else ""
        start = path.steps[0]
        resumed = ", where the run was resumed," if start else ""
        caption = (
            f"The path from step {start}{resumed} to {path.steps[-1]}; the mean squared error of "
            f"{training.says('training')}.{rest}{_some_of(trainer)}"
        )
        pair = (truth[self._pair[0]], truth[self._pair[1]]) if known else None
        return descent(surface, path.points, self._pair, pair, target, caption)


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the garbage collector from a walk through all of torch, as long as two pictures take."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _draws(trainer: Trainer) -> bool:
    return trainer.is_global_zero and not getattr(trainer, "fast_dev_run", False)


def _warn(what: str, error: Exception) -> None:
    text = " ".join(str(error).split())
    rank_zero_warn(f"Figures: {what}: {type(error).__name__}: {text}")


def _some_of(trainer: Trainer) -> str:
    processes = trainer.world_size
    return f" Rows of the first of {processes} processes." if processes > 1 else ""


def _coefficients(model: Any) -> dict[str, list[dict[str, Any]]]:
    """Target to table, where there is one."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in coefficient_rows(model):
        rows.setdefault(row["target"], []).append(row)
    return rows


def _interval(model: Any, rows: list[dict[str, Any]]) -> str:
    confidence = getattr(model, "hparams", {}).get("confidence")
    if confidence is None or "ci_low" not in rows[0]:
        return ""
    return f" Intervals that cover the truth in {100 * confidence:g} of 100 samples."
