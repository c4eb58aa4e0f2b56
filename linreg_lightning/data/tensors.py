"""Rows already in memory: tensors, NumPy arrays, data frames."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar, Literal, final

import numpy as np
import torch
from torch import Tensor

from linreg_lightning.batch import Batch
from linreg_lightning.data.base import RegressionDataModule, check_values
from linreg_lightning.data.split import split
from linreg_lightning.errors import InputError
from linreg_lightning.validation import check_fractions


@final
class TensorData(RegressionDataModule):
    """Rows already in memory, used as they are: not copied, and in their own precision.

    Columns are named by a data frame's column names, a series' name, or x1, x2, ... and y.

    Args:
        x: the features, (rows, features): a tensor, a NumPy array, a data frame, nested lists.
        y: the targets, (rows,) for one or (rows, targets); None if rows are only to be predicted.
        weight: how much each row counts, (rows,), 0 or above; None means 1 for every row. A row of
            weight 0 is as good as absent: its values may be missing.
        val_fraction: the fraction of rows for validation, 0 for none.
        test_fraction: the fraction of rows for the test, 0 for none.
        batch_size: rows in a batch; None for all at once.
        shuffle: whether batches are cut from another order of the rows each epoch; `blocks`: of the
            batches, which is faster (BatchLoader says what it means).
        seed: of the split.
        feature_names: names for the columns of x, instead of its own.
        target_names: names for the columns of y, instead of its own.

    Raises:
        InputError: shapes that do not belong together; a negative weight; names that do not fit;
            when a run begins, a value that is no finite number, with its column and row.

    >>> data = TensorData(x=torch.randn(10, 3), y=torch.randn(10), val_fraction=0.2)
    >>> data.setup("fit")
    >>> data.splits["train"].x.shape, data.splits["train"].y.shape
    (torch.Size([8, 3]), torch.Size([8, 1]))
    """

    split_option: ClassVar[str] = "{split}_fraction 0.2"

    def __init__(
        self,
        x: Any,
        y: Any = None,
        weight: Any = None,
        val_fraction: float = 0.0,
        test_fraction: float = 0.0,
        batch_size: int | None = None,
        shuffle: bool | Literal["blocks"] = True,
        seed: int = 0,
        feature_names: list[str] | None = None,
        target_names: list[str] | None = None,
    ) -> None:
        super().__init__(batch_size, shuffle, seed)
        check_fractions(val_fraction, test_fraction)
        self._fractions, self._seed = (val_fraction, test_fraction), seed
        features, targets = _tensor("x", x), _tensor("y", [] if y is None else y)
        if y is None:
            targets = features.new_empty(len(features), 0)
        if targets.ndim == 1:
            targets = targets.unsqueeze(1)
        self._given = Batch(
            features, targets, None if weight is None else _tensor("weight", weight)
        ).validate()
        self._feature_names = _names("feature_names", feature_names, x, "x", features.shape[1])
        self._target_names = _names("target_names", target_names, y, "y", targets.shape[1])
        if weight is not None or "intercept" in self._feature_names:
            _ = self._rows
        self.save_hyperparameters(ignore=["x", "y", "weight"])

    @property
    def feature_names(self) -> list[str]:
        """The names of the columns of x."""
        return self._feature_names

    @property
    def target_names(self) -> list[str]:
        """The names of the columns of y."""
        return self._target_names

    def load(self, stage: str) -> None:
        """Split the rows."""
        rows = self._given if self._are_looked_at(stage, *self._fractions) else self._rows
        parts = split(rows, *self._fractions, self._seed)
        self.splits["train"], self.splits["val"], self.splits["test"] = parts
        # With what is not finite in rows of weight 0: no number is predicted from none.
        self.splits["predict"] = self._given

    @cached_property
    def _rows(self) -> Batch:
        return check_values(self._given, self._feature_names, self._target_names)

    def _are_looked_at(self, stage: str, *fractions: float) -> bool:
        """Whether the model would find a value that is no number, and know its row."""
        if self.trainer is None or stage != "fit" or "_rows" in vars(self):
            return False
        finds = getattr(self.trainer.lightning_module, "checks_values", False)
        return finds and self.trainer.world_size == 1 and not any(fractions)


def _tensor(name: str, values: Any) -> Tensor:
    """The values as a floating-point tensor, without a copy where they are one already."""
    if not isinstance(values, Tensor):
        try:
            if isinstance(values, np.ma.MaskedArray):
                values = np.ma.filled(values.astype(np.float64), np.nan)
            array = np.asarray(values)
            wide = array.dtype.kind == "f" and array.dtype.itemsize > 8
            if array.dtype == object or wide or not array.dtype.isnative:
                array = array.astype(np.float64)
            if not array.flags.writeable or min(array.strides, default=0) < 0:
                # Such memory, as a data frame's or a reversed array's, torch makes no tensor of.
                array = array.copy()
            values = torch.from_numpy(array)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"{name}: not all of it is numbers ({error}); give numbers only"
            ) from None
    values = values.detach()
    if values.layout is not torch.strided or values.is_meta:
        raise InputError(f"{name}: a sparse or empty tensor was given; give a dense one")
    if values.is_complex():
        raise InputError(f"{name}: complex numbers were given; give real ones")
    tensor: Tensor = values if values.is_floating_point() else values.double()
    return tensor


def _names(
    argument: str, given: list[str] | None, source: Any, prefix: str, columns: int
) -> list[str]:
    if given is None:
        own = getattr(source, "column_names", getattr(source, "columns", None))
        if own is None and getattr(source, "name", None) is not None:
            own = [source.name]
        if own is not None:
            given = [str(name) for name in own]
        else:
            alone = prefix == "y" and columns == 1
            given = ["y"] if alone else [f"{prefix}{j}" for j in range(1, columns + 1)]
    if len(given) != columns or len(set(given)) != columns:
        raise InputError(f"{argument}: {given} was given; {columns} different names are needed")
    return list(given)
