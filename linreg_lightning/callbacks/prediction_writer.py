"""Predictions as a CSV or Parquet file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, final, runtime_checkable

import pyarrow as pa
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from linreg_lightning.atomic_file import remove_orphans
from linreg_lightning.errors import InputError
from linreg_lightning.protocols import (
    IntervalModel,
    KeepsColumns,
    NamedColumns,
    OrderedPredictions,
    prediction_columns_of,
)
from linreg_lightning.tables.prediction_file import FORMATS, Format, PredictionFile


@runtime_checkable
class PredictsOriginalUnits(Protocol):
    """A model that can turn predictions of transformed targets, such as log(price), back."""

    def original_units(self, center: Any) -> Any:
        """Return an object whose `columns(prediction)` are named, and whose text explains them."""


@final
class PredictionWriter(Callback):
    """Writes the predictions to `predictions.csv` in the run's folder, in the order of the rows.

    The columns are the kept columns of the input, then one for each target, named `<target>`, or
    `<target>_predicted` where a column of that name is kept. Intervals add `<target>_std_error` (of
    the mean of y at x), `_mean_low` and `_mean_high` (the confidence interval of that mean), `_low`
    and `_high` (the prediction interval of one y). A model with `prediction_columns(prediction)`
    names the columns itself, unless it returns none, or intervals are written: it receives what
    `predict_step` returns for a batch, and returns columns by name, each a tensor (rows,) or a list
    of texts. Without it a model that predicts anything but a tensor of (rows,) or (rows, targets)
    gets no file. The file appears when it is complete. While one run writes the file, a second one
    is refused.

    Args:
        intervals: whether to write standard errors and intervals; needs `model.prediction(x)`.
        keep: columns of the input to write beside the predictions.
        format: csv or parquet.
        original_units: median or mean: that of price, after a formula such as `log(price) ~ area`,
            whose predictions are of log(price); null leaves them so. The median is exp(prediction),
            and ends of intervals likewise; the mean is exp(prediction + residual_sd^2 / 2), if
            errors are normal and of equal variance. The columns are named after price.

    Raises:
        InputError: the format is unknown; the data do not say in which order several processes
            predict; the model has no intervals; the data keep no columns; `prediction_columns`
            returns columns of different lengths or shapes; the disk is full; the target has no
            inverse that is known, or no mean.
    """

    file_label: ClassVar[str] = "predictions"
    path: Path | None = None  # the file, once it is complete

    def __init__(
        self,
        intervals: bool = False,
        keep: Sequence[str] = (),
        format: Format = "csv",
        original_units: Literal["median", "mean"] | None = None,
    ) -> None:
        if format not in FORMATS:
            raise InputError(f"format: {format!r} was given; type {' or '.join(FORMATS)}")
        self.intervals = intervals
        self.keep = list(keep)
        self.format = format
        self.center = original_units
        self.units: Any = None  # what turns predictions into original units; its text says how
        self._file: Any = None  # a PredictionFile, while predictions are made

    def setup(self, trainer: Any, pl_module: LightningModule, stage: str) -> None:
        if stage != "predict":
            return
        if self.intervals and not isinstance(pl_module, IntervalModel):
            raise InputError(
                f"intervals: {type(pl_module).__name__} has none; leave it out, or fit a model "
                "that knows its standard errors"
            )
        if self.center is not None and not isinstance(pl_module, PredictsOriginalUnits):
            name = type(pl_module).__name__
            raise InputError(f"original_units: {name} predicts none; leave it out")
        if self.keep:
            data = trainer.datamodule
            if not isinstance(data, KeepsColumns):
                name = type(data).__name__
                raise InputError(f"keep: {name} has no columns to keep; leave it out")
            data.keep(self.keep)

    def on_predict_start(self, trainer: Any, pl_module: LightningModule) -> None:
        if len(trainer.num_predict_batches) > 1:
            raise InputError("predict: the data have several loaders; give them one at a time")
        data = trainer.datamodule
        ordered = isinstance(data, OrderedPredictions) and data.predicts_in_order
        if trainer.world_size > 1 and not ordered:
            raise InputError(
                f"devices: {trainer.world_size} were given, and {type(data).__name__} does not say "
                "which of them has which rows; give the Trainer devices=1"
            )
        if self.center is not None:
            model: Any = pl_module  # a PredictsOriginalUnits, as checked above
            self.units = model.original_units(self.center)
        path = Path(trainer.log_dir or trainer.default_root_dir) / f"predictions.{self.format}"
        # The first process decides which of two runs writes the table.
        if trainer.is_global_zero:
            remove_orphans(path.parent)
            self._file = PredictionFile(path, 0)
        trainer.strategy.barrier("the table is ours")
        if not trainer.is_global_zero:
            self._file = PredictionFile(path, trainer.global_rank)

    def on_predict_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, *_: Any
    ) -> None:
        predicted = self._predicted_columns(pl_module, outputs, batch)
        if not predicted:
            return
        columns = {}
        for name in self.keep:
            column = batch.kept.column(name)
            # The dictionaries of two batches may differ, so that the file holds none.
            is_dictionary = pa.types.is_dictionary(column.type)
            columns[name] = column.dictionary_decode() if is_dictionary else column
        for name, array in predicted.items():
            name = f"{name}_predicted" if name in self.keep else name
            if name in columns:
                raise InputError(
                    f"keep: {name!r} is also the name of a column of predictions; rename the "
                    "column of the input or leave it out"
                )
            columns[name] = array
        self._file.write(pa.table(columns))

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._file.close()
        trainer.strategy.barrier("predictions of all processes")
        written = trainer.is_global_zero and self._file.merge(trainer.world_size)
        if trainer.strategy.broadcast(written):
            self.path = self._file.path
        self._file.discard()
        self._file = None

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        if self._file is not None:
            self._file.discard()
            self._file = None

    def _predicted_columns(self, model: Any, outputs: Any, batch: Any) -> dict[str, pa.Array]:
        """Return the columns of a batch's predictions by name; none for outputs of other kinds."""
        x = batch[0] if isinstance(batch, list | tuple) else batch
        if self.units is not None:
            prediction = model.prediction(x) if self.intervals else outputs
            columns = self.units.columns(prediction)
            return {name: _array(column) for name, column in columns.items()}
        if not self.intervals and (own := prediction_columns_of(model, outputs)):
            rows = len(x) if isinstance(x, Tensor) else None
            return _named_columns(own, rows)
        if not isinstance(outputs, Tensor) or outputs.ndim not in (1, 2):
            return {}
        values = outputs.reshape(len(outputs), -1)
        names = model.target_names if isinstance(model, NamedColumns) else []
        if len(names) != values.shape[1]:
            names = [f"y{k}" for k in range(1, values.shape[1] + 1)]
        if self.intervals:
            columns = model.prediction(x).columns(names)
        else:
            columns = dict(zip(names, values.unbind(1), strict=True))
        return {name: _array(column) for name, column in columns.items()}


def _named_columns(columns: Any, rows: int | None) -> dict[str, pa.Array]:
    """Return the columns of `prediction_columns`, or raise an InputError if they are none."""
    try:
        return {name: _named_column(name, each, rows) for name, each in columns.items()}
    except (TypeError, AttributeError, pa.ArrowException) as error:
        raise InputError(
            f"prediction_columns: it returned what cannot be written ({error}); return a dict of "
            "tensors (rows,) or lists of texts"
        ) from None


def _named_column(name: str, values: Any, rows: int | None) -> pa.Array:
    """Return a column of `prediction_columns`, or raise an InputError if it has another shape."""
    shape = tuple(values.shape) if isinstance(values, Tensor) else (len(values),)
    if len(shape) != 1 or shape[0] != (shape[0] if rows is None else rows):
        needed = "rows" if rows is None else rows
        raise InputError(
            f"prediction_columns: {name!r} of shape {shape} was returned; ({needed},) is needed"
        )
    if isinstance(values, Tensor):
        return _array(values)
    array = pa.array(list(values), from_pandas=True)
    # A batch in which all texts are missing has the type of the others.
    return array.cast(pa.string()) if pa.types.is_null(array.type) else array


def _array(values: Tensor) -> pa.Array:
    """Return numbers or truth values as a column; NaN is missing."""
    if values.is_floating_point() and values.dtype not in (torch.float32, torch.float64):
        values = values.float()
    return pa.array(values.detach().cpu().contiguous().numpy(), from_pandas=True)
