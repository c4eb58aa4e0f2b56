"""Predictions, from the Trainer to a file."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import IO, Any, ClassVar, final

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from linreg_lightning.errors import InputError


@final
class PredictionWriter(Callback):
    """Writes `predictions.csv` into the run's folder: a row for each row, in their order.

    Its columns are the model's targets; with intervals, each target's are `<target>`, its
    `_std_error` (of the mean of y at x), `_mean_low` and `_mean_high` (the confidence interval of
    that mean), `_low` and `_high` (the prediction interval of one y). The file is written batch by
    batch under another name, and gets its own only when it is complete. Models that predict
    anything but a tensor of (rows,) or (rows, targets) are left alone.

    Args:
        intervals: whether to write standard errors and intervals, of a model that has
            `prediction(x)`, as LeastSquares has.

    Raises:
        InputError: several processes, each of which would have some of the rows; intervals of a
            model that has none.
    """

    content: ClassVar[str] = "predictions"
    path: Path | None = None
    """The file, once it is complete."""

    def __init__(self, intervals: bool = False) -> None:
        self.intervals = intervals
        self._file: IO[str] | None = None
        self._path = Path()

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the folder."""
        if trainer.world_size > 1:
            raise InputError(
                f"devices: {trainer.world_size} were given; predictions are written by one: "
                "type --trainer.devices 1"
            )
        if self.intervals and not hasattr(pl_module, "prediction"):
            raise InputError(
                f"--intervals: {type(pl_module).__name__} has none; fit with --model LeastSquares"
            )
        self._path = Path(trainer.log_dir or trainer.default_root_dir) / "predictions.csv"

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Append the predictions of one batch."""
        if dataloader_idx:
            raise InputError("predict: the data have several loaders; give them one at a time")
        if not isinstance(outputs, torch.Tensor) or outputs.ndim not in (1, 2):
            return
        values = outputs.reshape(len(outputs), -1)
        names = getattr(pl_module, "target_names", [])
        if len(names) != values.shape[1]:
            names = [f"y{k}" for k in range(1, values.shape[1] + 1)]
        if self.intervals:
            x = batch if isinstance(batch, torch.Tensor) else batch[0]
            names, values = _with_intervals(names, pl_module, x)
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._unfinished.open("w", newline="", encoding="utf-8")
            csv.writer(self._file).writerow(names)
        csv.writer(self._file).writerows(values.tolist())

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the complete file its name."""
        if self._file is not None:
            self._file.close()
            self._file = None
            self._unfinished.replace(self._path)
            self.path = self._path

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Leave nothing half-written."""
        if self._file is not None:
            self._file.close()
            self._file = None
            self._unfinished.unlink(missing_ok=True)

    @property
    def _unfinished(self) -> Path:
        return self._path.with_suffix(".csv.part")


def _with_intervals(
    targets: list[str], model: Any, x: torch.Tensor
) -> tuple[list[str], torch.Tensor]:
    """Names and values of a prediction with all that belongs to it, target by target."""
    found = model.prediction(x)
    columns = {
        "": found.mean,
        "_std_error": found.mean_error,
        "_mean_low": found.mean_low,
        "_mean_high": found.mean_high,
        "_low": found.row_low,
        "_high": found.row_high,
    }
    names = [f"{target}{suffix}" for target in targets for suffix in columns]
    return names, torch.stack(list(columns.values()), dim=2).flatten(1)
