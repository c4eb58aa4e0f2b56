"""Predictions, from the Trainer to a file."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import IO, Any, final

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from linreg_lightning.errors import InputError


@final
class PredictionWriter(Callback):
    """Writes `predictions.csv` into the run's folder: a row for each row, in their order.

    Its columns are the model's targets. It is written batch by batch under another name, and gets
    its own only when it is complete. Models that predict anything but a tensor of (rows,) or
    (rows, targets) are left alone.

    Raises:
        InputError: several processes, each of which would have some of the rows.
    """

    path: Path | None = None
    """The file, once it is complete."""

    def __init__(self) -> None:
        self._file: IO[str] | None = None
        self._path = Path()

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the folder."""
        if trainer.world_size > 1:
            raise InputError(
                f"devices: {trainer.world_size} were given; predictions are written by one: "
                "type --trainer.devices 1"
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
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._unfinished.open("w", newline="", encoding="utf-8")
            names = getattr(pl_module, "target_names", [])
            if len(names) != values.shape[1]:
                names = [f"y{k}" for k in range(1, values.shape[1] + 1)]
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
