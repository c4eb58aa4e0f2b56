"""The base of models of tables: columns by name, parameters made for them, frames predicted."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from linreg_lightning.batch import Batch
from linreg_lightning.design_matrix.design import Design
from linreg_lightning.design_matrix.frame_reader import FrameReader
from linreg_lightning.errors import InputError
from linreg_lightning.frames import column_names, frame_like, is_frame, is_series
from linreg_lightning.models.columns import ModelColumns, check_width
from linreg_lightning.models.supervised import SupervisedModule
from linreg_lightning.protocols import KeptArguments, NamedColumns, prediction_columns_of
from linreg_lightning.validation import to_tensor


class TableModule(SupervisedModule):
    """A model that predicts named columns y, or a column of classes, from named columns x.

    The columns come from the data module when the Trainer sets the model up, and travel in the
    checkpoint. If the data do not name their columns, give `in_features` and `out_features`.

    A subclass makes its parameters in `build`, not in `__init__`. If the data have classes, y is
    the number of each row's class, (rows,), and `out_features` is the number of classes.

    Args:
        in_features: the number of columns of x, 0 or above; None takes it from the data.
        out_features: the number of columns of y, 1 or above; None takes it from the data.
    """

    frame_reader: FrameReader | None = None
    """Computes x from a table, as in the fit; None after a fit to rows that were x itself."""

    def __init__(self, in_features: int | None = None, out_features: int | None = None) -> None:
        super().__init__()
        self.columns = ModelColumns([], [], named=False)
        if columns := ModelColumns.from_counts(in_features, out_features):
            self._assign_columns(columns)

    @abstractmethod
    def build(self, in_features: int, out_features: int) -> None:
        """Make the parameters."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """The prediction for x, (rows, features): (rows, targets) in the user's units, or logits.

        Logits of classes are (rows, classes).
        """

    @property
    def feature_names(self) -> list[str]:
        """The columns of x; empty before the model has seen data."""
        return self.columns.features

    @property
    def target_names(self) -> list[str]:
        """The columns of y; empty before the model has seen data."""
        return self.columns.targets

    @property
    def can_predict(self) -> bool:
        """Whether there are parameters: from a fit, a checkpoint, or drawn for `in_features`."""
        return bool(self.columns)

    def predict(self, x: Any) -> Any:
        """Return predictions of y, in the user's units.

        A data frame (pandas, polars, pyarrow, DuckDB, lazy or not) needs the columns of the table
        to which the model was fitted. They are found by name: their order does not matter, and
        other columns are ignored. Text, missing values and unknown levels are treated as in the
        fit, by the arguments of `TabularData`. The columns of an array or a tensor are taken by
        position.

        Args:
            x: the rows: a data frame, or an array or tensor, (rows, features).

        Returns:
            For a frame, a frame of the same library with the columns of the model's
            `prediction_columns`, or without these one for each target; a row without a prediction
            has missing values. A pandas frame keeps its index, and a lazy frame is collected. For
            an array or a tensor, what `forward` returns.

        Raises:
            InputError: the model has not been fitted; a column is missing or of another kind than
                in the fit; x has another number of columns.
        """
        self._refuse_unfitted("predict")
        rows = self.read_rows(x)
        prediction = self._predict_rows(rows)
        if not is_frame(x):
            return prediction
        columns = prediction_columns_of(self, prediction)
        if not columns:
            values = prediction.T if prediction.ndim > 1 else prediction.unsqueeze(0)
            if len(values) != len(self.target_names):
                raise InputError(
                    f"predict: {type(self).__name__} predicts {len(values)} columns for "
                    f"{', '.join(self.target_names)}; define prediction_columns, which names them"
                )
            columns = dict(zip(self.target_names, values, strict=True))
        return frame_of(x, columns)

    def read_rows(self, x: Any) -> Tensor:
        """Return x, (rows, features), from a data frame by name, from an array by position.

        Raises:
            InputError: as in `predict`.
        """
        if not is_frame(x):
            if isinstance(x, Mapping) or is_series(x):
                raise InputError(
                    f"x: a {type(x).__name__} was given; give a data frame, also for one row, such "
                    "as frame.iloc[[0]]"
                )
            rows = to_tensor("x", x)
            check_width("x", rows, self.feature_names)
            return rows
        reader = self.frame_reader
        if reader is None:
            # A model without names of columns takes those of a frame by position too.
            names = self.feature_names if self.columns.named else column_names(x)
            reader = FrameReader(Design(names))
        rows, counts = reader.read(x)
        check_width("x", rows, self.feature_names)
        for message in counts.messages():
            rank_zero_warn(message)
        return rows

    def validate_batch(self, batch: Batch | tuple[Tensor, ...]) -> Batch:
        """Return (x, y) or (x, y, weight) as a `Batch`, or raise if it has other columns.

        Unlike those of `SupervisedModule`, x and y stay in their own precision.
        """
        batch = self.columns.validate_batch(batch, classes=bool(self.class_names))
        self._get_metrics().check_weight(batch.weight)
        return batch

    def setup(self, stage: str) -> None:
        """Take the columns from the data, or check that they are those of the fit."""
        super().setup(stage)
        trainer: Any = self.trainer  # Lightning does not declare datamodule
        data = trainer.datamodule
        if isinstance(data, NamedColumns):
            keep_targets = stage == "predict" and self.columns.named  # rows to predict need none
            targets = self.target_names if keep_targets else data.target_names
            self.set_columns(data.feature_names, targets)
        elif not self.target_names:
            raise InputError(
                f"in_features: the data do not say how many columns they have; give "
                f"{type(self).__name__}(in_features=...), or data with feature_names"
            )
        if stage == "fit":
            arguments = data.hparams if isinstance(data, KeptArguments) else {}
            self.frame_reader = FrameReader.from_arguments(arguments, self.feature_names)

    def set_columns(self, features: Sequence[str], targets: Sequence[str]) -> None:
        """Make parameters for these columns, or check that they are the model's."""
        self._take_class_names()
        targets = targets or self.target_names or ["y"]  # rows to predict may have none
        columns = ModelColumns(list(features), list(targets))
        self.columns.check_same(columns.features, columns.targets)
        self._assign_columns(columns)

    def set_class_names(self, names: Sequence[str]) -> None:
        """As in `SupervisedModule`; parameters made for numbers cannot predict classes."""
        if names and self.columns and not self.class_names:
            raise InputError(
                f"class_names: the model was made to predict numbers, and the data have the "
                f"classes {', '.join(names)}; make a new model, without in_features"
            )
        super().set_class_names(names)

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The prediction of one batch, (rows, targets or classes); a batch may be x alone."""
        x = batch if isinstance(batch, Tensor) else batch[0]
        check_width("x", x, self.feature_names)
        prediction: Tensor = self(x)
        return prediction

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["columns"] = {"features": self.feature_names, "targets": self.target_names}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the checkpoint's columns; refuse one of another class, columns or arguments."""
        had_classes = bool(self.class_names)
        super().on_load_checkpoint(checkpoint)
        fitted = ModelColumns(checkpoint["columns"]["features"], checkpoint["columns"]["targets"])
        if checkpoint["state_dict"] and not fitted.targets:
            raise InputError(
                "ckpt_path: the checkpoint does not name the columns of y; use another checkpoint"
            )
        if self.columns.named:
            predicts = self.trainer.state.fn == TrainerFn.PREDICTING  # which needs no targets
            targets = fitted.targets if predicts else self.target_names
            fitted.check_same(self.feature_names, targets)
        else:
            self.columns.check_same(fitted.features, fitted.targets)
        if self.class_names and not had_classes:  # so far, the outputs were made for numbers
            self.columns = ModelColumns([], [], named=False)
        self._assign_columns(fitted)
        if self.frame_reader is None:
            arguments = checkpoint.get("datamodule_hyper_parameters", {})
            self.frame_reader = FrameReader.from_arguments(arguments, self.feature_names)

    def _predict_rows(self, x: Tensor) -> Tensor:
        training = self.training
        self.eval()
        with torch.no_grad():
            prediction: Tensor = self(x.to(self.device))
        self.train(training)
        return prediction

    def _assign_columns(self, columns: ModelColumns) -> None:
        """Take these columns, and make parameters for them if the model has none."""
        if not self.columns:
            self.build(len(columns.features), len(self.class_names) or len(columns.targets))
        self.columns = columns

    def _refuse_unfitted(self, what: str) -> None:
        if not self.can_predict:
            raise InputError(f"{what}: the model has not been fitted; fit it first")


def frame_of(frame: Any, columns: Mapping[str, Any]) -> Any:
    """Return columns, tensors or lists of texts, as a frame of the same library as another one."""
    arrays = {}
    for name, values in columns.items():
        if isinstance(values, Tensor):
            is_half = values.dtype in (torch.bfloat16, torch.float16)  # NumPy has no bfloat16
            values = (values.float() if is_half else values).detach().cpu().numpy()
        arrays[name] = values
    return frame_like(frame, arrays)
