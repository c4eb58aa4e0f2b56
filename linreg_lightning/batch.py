"""What data modules hand to models: a few rows, their targets and their weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import torch
from torch import Tensor

from linreg_lightning.errors import InputError

_SIGNIFICANT_BITS = {"float32": 24, "float": 24, "float16": 11, "halffloat": 11, "bfloat16": 8}


def significant_bits(dtype: Any) -> int:
    """Return the bits of a number of a torch, NumPy, polars or pyarrow type, at most float64's 53.

    >>> significant_bits(torch.float32), significant_bits("decimal128(7, 2)")
    (24, 53)
    """
    return _SIGNIFICANT_BITS.get(str(dtype).removeprefix("torch.").lower(), 53)


def column_bits(table: Any) -> list[int] | None:
    """Return the significant bits of each column of a data frame; None for other tables."""
    is_frame = hasattr(table, "dtypes") and len(getattr(table, "shape", ())) == 2
    return [significant_bits(dtype) for dtype in table.dtypes] if is_frame else None


class Batch(NamedTuple):
    """Rows with their targets and row weights; to torch and Lightning a tuple like any other.

    Attributes:
        x: the features, (rows, features) of a table; else of any shape, (rows, ...).
        y: the targets, (rows, targets), or any shape, (rows, ...); of classes, their numbers, int64
            (rows,); (rows, 0) if the rows are only to be predicted.
        weight: how much each row counts, (rows,); None means 1 for every row.

    >>> Batch(torch.ones(4, 3), torch.ones(4, 1)).validate().rows
    4
    """

    x: Tensor
    y: Tensor
    weight: Tensor | None = None

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self.x.shape[0]

    def map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        """Apply a function to each tensor; a weight of None stays None."""
        weight = None if self.weight is None else function(self.weight)
        return Batch(function(self.x), function(self.y), weight)

    def select(self, rows: slice | Tensor) -> Batch:
        """Return some of the rows, by a slice or by their positions."""
        return self.map(itemgetter(rows))

    @classmethod
    def concatenate(cls, batches: Sequence[Batch]) -> Batch:
        """One batch with the rows of all of them, in order; a single batch is not copied."""
        if len(batches) == 1:
            return batches[0]
        x, y, weight = zip(*batches, strict=True)
        weights = [part for part in weight if part is not None]
        return cls(torch.cat(x), torch.cat(y), torch.cat(weights) if weights else None)

    def validate(self) -> Batch:
        """Return the batch itself, or raise an InputError unless it has the shapes of a table.

        These are x, (rows, features), and y, (rows, targets), or (rows,) for numbers of classes,
        which are whole numbers.
        """
        # Nothing may broadcast: torch would compare (rows,) with (rows, 1) as (rows, rows).
        x, y, _ = self
        shape = tuple(x.shape)
        if x.ndim != 2:
            raise InputError(f"x: a shape of {shape} was given; (rows, features) is needed")
        are_classes = y.ndim == 1 and not y.is_floating_point()
        if (y.ndim != 2 and not are_classes) or len(y) != len(x):
            hint = ", for one target y.unsqueeze(1)" if y.ndim == 1 and not are_classes else ""
            expected = f"({len(x)},)" if are_classes else f"({len(x)}, targets)"
            raise InputError(
                f"y: a shape of {tuple(y.shape)} was given beside x of {shape}; "
                f"{expected} is needed{hint}"
            )
        return self.validate_rows()

    def validate_rows(self) -> Batch:
        """Return the batch itself, or raise an InputError unless its parts have the same rows.

        x and y may have any shape.

        >>> Batch(torch.ones(4, 1, 16, 16), torch.tensor([0, 2, 1, 0])).validate_rows().rows
        4
        """
        x, y, weight = self
        shape = tuple(x.shape)
        if not x.ndim:
            raise InputError("x: a single number was given; (rows, ...) is needed")
        if y.shape[:1] != x.shape[:1]:
            raise InputError(
                f"y: a shape of {tuple(y.shape)} was given beside x of {shape}; "
                f"({len(x)}, ...) is needed"
            )
        if weight is not None and weight.shape != x.shape[:1]:
            raise InputError(
                f"weight: a shape of {tuple(weight.shape)} was given beside x of {shape}; "
                f"({len(x)},) is needed"
            )
        return self


class FoldBatch(NamedTuple):
    """Rows to train on as in `Batch`, and the fold of a cross-validation that each row is in.

    Data modules hand these to a model with a `fold_rule` (`AssignsFolds` in protocols.py).

    Attributes:
        x: the features, (rows, ...).
        y: the targets, (rows, ...).
        weight: how much each row counts, (rows,); None means 1 for every row.
        fold: the number of each row's fold, from 0, uint8 (rows,).

    >>> rows = FoldBatch(torch.ones(4, 3), torch.ones(4, 1), None, torch.tensor([0, 1, 1, 0]))
    >>> rows.select(slice(2)).fold, rows.batch.rows
    (tensor([0, 1]), 4)
    """

    x: Tensor
    y: Tensor
    weight: Tensor | None
    fold: Tensor

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self.x.shape[0]

    @property
    def batch(self) -> Batch:
        """The same rows without their folds."""
        return Batch(self.x, self.y, self.weight)

    def map(self, function: Callable[[Tensor], Tensor]) -> FoldBatch:
        """Apply a function to each tensor; a weight of None stays None."""
        return type(self)(*self.batch.map(function), function(self.fold))

    def select(self, rows: slice | Tensor) -> FoldBatch:
        """Return some of the rows, by a slice or by their positions."""
        return self.map(itemgetter(rows))

    @classmethod
    def concatenate(cls, batches: Sequence[FoldBatch]) -> FoldBatch:
        """One batch with the rows of all of them, in order; a single batch is not copied."""
        if len(batches) == 1:
            return batches[0]
        rows = Batch.concatenate([each.batch for each in batches])
        return cls(*rows, torch.cat([each.fold for each in batches]))

    def validate_rows(self) -> FoldBatch:
        """Return the batch itself, or raise an InputError unless its parts have the same rows."""
        self.batch.validate_rows()
        if self.fold.shape != self.x.shape[:1]:
            raise InputError(
                f"fold: a shape of {tuple(self.fold.shape)} was given beside x of "
                f"{tuple(self.x.shape)}; ({len(self.x)},) is needed"
            )
        return self


class GroupBatch(FoldBatch):
    """Rows to train on whose `fold` holds a number for the group of each row instead, int64.

    Data modules keep rows in this form until they know which fold each group is in.
    """


class KeyBatch(FoldBatch):
    """Rows to train on whose `fold` holds what says which clusters and levels each row is in.

    It is (rows, keys) int64: a number for the row's value in each column of clusters, then in each
    column of levels to absorb (`HasKeys` in protocols.py).
    """

    def validate_rows(self) -> KeyBatch:
        """Return the batch itself, or raise an InputError unless its parts have the same rows."""
        self.batch.validate_rows()
        if self.fold.ndim != 2 or len(self.fold) != len(self.x):
            raise InputError(
                f"fold: a shape of {tuple(self.fold.shape)} was given beside x of "
                f"{tuple(self.x.shape)}; ({len(self.x)}, keys) is needed"
            )
        return self


class KeptBatch(NamedTuple):
    """A `Batch` to predict, and a pyarrow record batch of the columns its predictions keep."""

    x: Tensor
    y: Tensor
    weight: Tensor | None
    kept: Any


class NumberedRows(NamedTuple):
    """Rows to train on, each with its number in its table, and the columns kept of them.

    `numbers` are int64 (rows,), counted from 1 over all files; `kept` is a pyarrow record batch.
    `count_table` counts all rows of the table, those that are not trained on too.
    """

    batch: Batch
    numbers: Tensor
    count_table: Callable[[], int]
    kept: Any = None
