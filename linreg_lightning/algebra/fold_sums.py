"""The sums of a cross-validation: one Gram matrix for each fold."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any, Self

import torch
from torch import Tensor

from linreg_lightning.algebra.cross_products import cross_products
from linreg_lightning.algebra.folds import check_folds
from linreg_lightning.algebra.gram import Gram
from linreg_lightning.algebra.gram_columns import with_columns
from linreg_lightning.algebra.gram_exact import ExactGram
from linreg_lightning.algebra.gram_float64 import Float64Gram, choose_shift
from linreg_lightning.algebra.precision import FLOAT64_BITS, column_precision
from linreg_lightning.batch import Batch
from linreg_lightning.errors import InputError
from linreg_lightning.validation import check_finite, check_weight, row_number

# In the rows that are sorted by fold at a time; more in exact, where calls for few rows are slow.
_CHUNK_NUMBERS = {"float64": 2**22, "exact": 2**24}


class FoldSums:
    """One Gram matrix for each fold, of an accuracy: `ExactGram` or `Float64Gram`.

    Float64 sums of all folds have one shift. Beside the memory of a Gram matrix, an update needs a
    sorted copy of rows: of x in float64 at most 32 MB (exact: 128 MB) or, with many columns, half
    as much as the sums of all folds.

    >>> sums = FoldSums(ExactGram, folds=2, features=1)
    >>> x = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    >>> sums.update(Batch(x, 2 * x), torch.tensor([0, 1, 1, 0], dtype=torch.uint8))
    >>> sums.rows, sums.total().rows, [gram.rows for gram in sums.training()]
    ([2, 2], 4, [2, 2])
    """

    def __init__(
        self,
        kind: type[Gram],
        folds: int,
        features: int,
        targets: int = 1,
        device: torch.device | str | None = None,
    ) -> None:
        check_folds(folds)
        self.grams = [kind(features, targets, device) for _ in range(folds)]

    @property
    def rows(self) -> list[int]:
        """The number of rows of weight above 0 of each fold."""
        return [gram.rows for gram in self.grams]

    @property
    def row_count(self) -> int:
        """The number of rows of weight above 0 of all folds."""
        return sum(self.rows)

    @property
    def accuracy(self) -> str:
        """The arithmetic of the sums, `exact` or `float64`."""
        return self.grams[0].accuracy

    @property
    def features(self) -> int:
        """The number of columns of x."""
        return self.grams[0].features

    @property
    def targets(self) -> int:
        """The number of columns of y."""
        return self.grams[0].targets

    @property
    def device(self) -> torch.device:
        """Where the sums are, as batches must be."""
        return self.grams[0].device

    def update(
        self,
        batch: Batch,
        fold: Tensor,
        first_row: int = 0,
        names: Sequence[str] = (),
        bits: Sequence[int] | None = None,
    ) -> None:
        """Add rows, each to its fold, (rows,) whole numbers; other arguments as in `Gram.update`.

        Raises:
            InputError: as `Gram.update`; nothing of the batch has then been added. A fold is not
                from 0 to folds - 1.
        """
        batch, folds = Batch(*batch).validate(), len(self.grams)
        if fold.shape != (batch.rows,):
            raise InputError(
                f"fold: a shape of {tuple(fold.shape)} was given; ({batch.rows},) is needed"
            )
        if not batch.rows:
            return
        if fold.is_floating_point():
            raise InputError(f"fold: {fold.dtype} was given; give whole numbers")
        low, high = (int(v) for v in fold.aminmax())
        if low < 0 or high >= folds:
            raise InputError(
                f"fold: {low} to {high} were given; give numbers from 0 to {folds - 1}"
            )
        if batch.weight is not None:
            batch = batch._replace(weight=batch.weight.to(torch.float64))
        fold = fold.to(torch.uint8)  # torch sorts bytes by their digits, in a tenth of the time
        grams = _prepare(self.grams, batch)
        # With many columns, each fold gets enough rows that adding its products takes little time.
        columns = max(1, batch.x.shape[1])
        size = max(1, _CHUNK_NUMBERS[self.accuracy] // columns, folds * columns // 2)
        buffer = _rows_like(batch.x, min(size, batch.rows))
        try:
            for start in range(0, batch.rows, size):
                rows = slice(start, start + size)
                _add_sorted(grams, batch.select(rows), fold[rows], buffer, bits)
        except InputError:
            # To name the row by its number in the batch, not in the sorted rows.
            if batch.weight is not None:
                check_weight(batch.weight, lambda row: row_number(first_row + row))
            check_finite(batch, names, lambda row: row_number(first_row + row))
            raise
        self.grams = grams

    def merge(self, other: FoldSums) -> None:
        """Add the rows of other sums of the same accuracy, with as many folds and columns."""
        if len(self.grams) != len(other.grams):
            raise InputError(
                f"merge: sums of {len(other.grams)} folds were given beside "
                f"{len(self.grams)}; give as many folds"
            )
        # Sums of one shift are merged in far less time, here and by `total` and `training`.
        larger = max(self, other, key=lambda sums: sums.row_count)
        shift = _shift_of(larger.grams)
        pairs = zip(_with_shift(self.grams, shift), _with_shift(other.grams, shift), strict=True)
        self.grams = [merged(*pair) for pair in pairs]

    def without(self, fold: int) -> Self:
        """Return the sums of the other folds; with only two folds, an InputError."""
        if len(self.grams) < 3:
            raise InputError(
                "folds: 2 were given, which leave one fold without the other; type at least 3"
            )
        return self._with(self.grams[:fold] + self.grams[fold + 1 :])

    def with_columns(self, places: Sequence[int | None]) -> Self:
        """Return the same rows with other columns of x, as `gram_columns.with_columns`."""
        return self._with([with_columns(gram, places) for gram in self.grams])

    def to(self, device: torch.device | str) -> Self:
        """Return the same sums on another device."""
        return self._with([gram.to(device) for gram in self.grams])

    def to_float64(self) -> Self:
        """Return the sums rounded to float64, all with one shift; float64 sums as they are."""
        if self.accuracy == "float64":
            return self
        grams = [Float64Gram.from_gram(gram) for gram in self.grams]
        if (shift := _shift_of(grams)) is None:
            return self._with(grams)
        means = torch.stack([gram.shift[0] * (gram.rows / self.row_count) for gram in grams])
        return self._with(_with_shift(grams, (means.sum(0), shift[1])))

    def state_dict(self) -> dict[str, Any]:
        """Return the whole state as plain values, which later updates do not write to."""
        return {"accuracy": self.accuracy, "folds": [gram.state_dict() for gram in self.grams]}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> Self:
        """Return the sums of a `state_dict`, on its device."""
        kind = Float64Gram if state["accuracy"] == "float64" else ExactGram
        sums = cls(kind, len(state["folds"]), features=0)
        return sums._with([kind.from_state_dict(gram) for gram in state["folds"]])

    def total(self) -> Gram:
        """Return the Gram matrix of all rows."""
        total = self.grams[0]
        for gram in self.grams[1:]:
            total = merged(total, gram)
        return total

    def training(self) -> list[Gram]:
        """Return, for each fold, the Gram matrix of the rows of all others.

        Sums are only added, never subtracted, so that no rounding error of a held-out fold stays.
        Running sums of the folds before and after each fold need only 3 merges for each.
        """
        after: list[Gram | None] = [None]
        for gram in reversed(self.grams[1:]):
            after.append(gram if after[-1] is None else merged(after[-1], gram))
        training: list[Gram] = []
        before: Gram | None = None
        for gram, later in zip(self.grams, reversed(after), strict=True):
            parts = [part for part in (before, later) if part is not None]
            training.append(parts[0] if len(parts) == 1 else merged(*parts))
            before = gram if before is None else merged(before, gram)
        return training

    def _with(self, grams: Sequence[Gram]) -> Self:
        result = copy.copy(self)
        result.grams = list(grams)
        return result


def merged(first: Gram, second: Gram) -> Gram:
    """Return the statistics of the rows of both, which stay as they are."""
    result = copy.copy(first)
    result.merge(second)
    return result


def _rows_like(x: Tensor, rows: int) -> Tensor:
    """Return room for some rows in the memory order of x."""
    columns = x.shape[1]
    return x.new_empty(columns, rows).T if x.stride(0) == 1 else x.new_empty(rows, columns)


def _shift_of(grams: Sequence[Gram]) -> tuple[Tensor, Tensor] | None:
    """Return the shift and the units of float64 sums of some rows; None where there are none."""
    filled = (gram for gram in grams if isinstance(gram, Float64Gram) and gram.rows)
    return next((gram.shift for gram in filled), None)


def _with_shift(grams: Sequence[Gram], shift: tuple[Tensor, Tensor] | None) -> list[Gram]:
    """Return float64 sums with this shift; others, and where it is None, as they are."""
    return [
        gram.with_shift(shift) if isinstance(gram, Float64Gram) and shift else gram
        for gram in grams
    ]


def _prepare(grams: list[Gram], batch: Batch) -> list[Gram]:
    """Return copies of the sums, such that all folds are as fast as one."""
    grams = [copy.copy(gram) for gram in grams]
    rows = sum(gram.rows for gram in grams)
    for gram in grams:
        if isinstance(gram, ExactGram):
            gram.rows_beside = rows + batch.rows
    if isinstance(grams[0], Float64Gram):
        return _with_shift(grams, _shift_of(grams) or choose_shift(batch))
    return grams


def _add_sorted(
    grams: list[Gram], batch: Batch, fold: Tensor, buffer: Tensor, bits: Sequence[int] | None
) -> None:
    order = fold.argsort(stable=True)
    counts = torch.bincount(fold, minlength=len(grams)).tolist()
    x = buffer[: batch.rows]
    if x.stride(0) == 1:
        # In half the time of index_select.
        torch.gather(batch.x.T, 1, order.expand(x.shape[1], -1), out=x.T)
    else:
        torch.index_select(batch.x, 0, order, out=x)
    batch = Batch(x, batch.y[order], None if batch.weight is None else batch.weight[order])
    shift = _common_shift(grams)
    products = [] if shift is None else cross_products(batch, *shift, counts)
    precision = column_precision(torch.full((x.shape[1],), FLOAT64_BITS), x, bits)
    start = 0
    for gram, count, sums in zip_longest(grams, counts, products):
        rows, start = batch.select(slice(start, start + count)), start + count
        is_added = (
            isinstance(gram, Float64Gram)
            and sums is not None
            and gram.add_products(sums, count, rows.weight, precision)
        )
        if not is_added:
            gram.update(rows, bits=bits)


def _common_shift(grams: Sequence[Gram]) -> tuple[Tensor, Tensor] | None:
    """Return the shift and the units that float64 sums of all folds have; None where they differ.

    Units differ where the numbers in a fold are far larger or smaller than before.
    """
    first, *others = [gram.shift if isinstance(gram, Float64Gram) else None for gram in grams]
    if first is None:
        return None
    pairs = [pair for other in others if other for pair in zip(first, other, strict=True)]
    return first if all(torch.equal(*pair) for pair in pairs) else None
