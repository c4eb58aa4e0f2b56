"""Predictions, from the Trainer to a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, final

import pyarrow as pa
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from linreg_lightning.errors import InputError
from linreg_lightning.tables.prediction_file import FORMATS, Format, PredictionFile, merge_parts


@final
class PredictionWriter(Callback):
    """Writes `predictions.csv` into the run's folder: a row for each row, in their order.

    Its columns are those of the input that are kept, then the model's targets (`<target>_predicted`
    where a column of that name is kept); with intervals, each target's are `<target>`, its
    `_std_error` (of the mean of y at x), `_mean_low` and `_mean_high` (the confidence interval of
    that mean), `_low` and `_high` (the prediction interval of one y). The file is written batch by
    batch, by each process its own part, under other names, and gets its own only when it is
    complete. Models that predict anything but a tensor of (rows,) or (rows, targets) are left
    alone.

    Args:
        intervals: whether to write standard errors and intervals, of a model that has
            `prediction(x)`.
        keep: columns of the input to write beside the predictions, of data that have them.
        format: csv or parquet.

    Raises:
        InputError: several processes, and data that do not say who has which rows; intervals of a
            model that has none; columns to keep of data that have none; a disk that is full.
    """

    content: ClassVar[str] = "predictions"
    path: Path | None = None
    """The file, once it is complete."""

    def __init__(
        self, intervals: bool = False, keep: Sequence[str] = (), format: Format = "csv"
    ) -> None:
        if format not in FORMATS:
            raise InputError(f"format: {format!r} was given; type {' or '.join(FORMATS)}")
        self.intervals = intervals
        self.keep = list(keep)
        self.format = format
        self._file: PredictionFile | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Ask the data for the columns to keep, and the model for intervals."""
        if stage == "predict" and self.intervals and not hasattr(pl_module, "prediction"):
            raise InputError(
                f"--intervals: {type(pl_module).__name__} has none; leave it out, or fit a model "
                "that knows its standard errors"
            )
        if stage != "predict" or not self.keep:
            return
        data = getattr(trainer, "datamodule", None)
        if data is None or not hasattr(data, "keep"):
            raise InputError(f"--keep: {type(data).__name__} has no columns to keep; leave it out")
        data.keep(self.keep)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the folder."""
        data = getattr(trainer, "datamodule", None)
        if trainer.world_size > 1 and not getattr(data, "predicts_in_order", False):
            raise InputError(
                f"devices: {trainer.world_size} were given, and {type(data).__name__} does not say "
                "which of them has which rows: type --trainer.devices 1"
            )
        folder = Path(trainer.log_dir or trainer.default_root_dir)
        self._file = PredictionFile(folder / f"predictions.{self.format}", trainer.global_rank)

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
        columns: dict[str, Any] = {}
        if self.keep:
            kept = batch.kept
            columns = {name: _plain(kept.column(name)) for name in self.keep}
        for name, column in zip(names, _columns(values), strict=True):
            name = f"{name}_predicted" if name in self.keep else name
            if name in columns:
                raise InputError(
                    f"--keep: a column of predictions is named {name!r}, as one that is kept; "
                    "rename that one or leave it out"
                )
            columns[name] = column
        assert self._file is not None
        self._file.write(pa.table(columns))

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the complete file its name."""
        assert self._file is not None
        path = self._file.path
        self._file.close()
        trainer.strategy.barrier("predictions of all processes")
        found = merge_parts(path, trainer.world_size) if trainer.is_global_zero else False
        if trainer.strategy.broadcast(found):
            self.path = path
        self._file = None

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Leave nothing half-written."""
        if self._file is not None:
            self._file.discard()
            self._file = None


def _columns(values: torch.Tensor) -> list[Any]:
    """Each column as a pyarrow array, NaN as missing."""
    if values.dtype not in (torch.float32, torch.float64):
        values = values.float()
    columns = values.detach().cpu().T.contiguous().numpy()
    return [pa.array(column, from_pandas=True) for column in columns]


def _plain(column: Any) -> Any:
    """A column without a dictionary of its own, of which each batch may have another."""
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


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
