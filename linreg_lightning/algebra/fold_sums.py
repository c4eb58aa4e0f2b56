"""Cross-validation from sums: one Gram matrix for each fold, and the errors of held-out rows.

With e = mean_y - m_y - (mean_x - m_x) b, where the means are those of the fold and m those of the
training rows, the mean squared error of the rows of a fold is

    (S_yy - 2 b' S_xy + b' S_xx b) / sum(w) + e^2,    S the centred cross-products of the fold,

for y = m_y + (x - m_x) b: the intercept is never rounded, and an offset of a column costs no digit.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from linreg_lightning.algebra.double_double import (
    DoubleDouble,
    exponent_of,
    ldexp,
    row_blocks,
    to_float64,
)
from linreg_lightning.algebra.folds import check_folds
from linreg_lightning.algebra.gram import Gram, NormalEquations
from linreg_lightning.algebra.gram_exact import ExactGram
from linreg_lightning.algebra.gram_float64 import Float64Gram
from linreg_lightning.algebra.multiprecision import matrix_product
from linreg_lightning.batch import Batch
from linreg_lightning.errors import InputError
from linreg_lightning.validation import check_finite, check_weight, row_number

_CHUNK_NUMBERS = 2**22  # of rows that are sorted by fold at a time
_TOLERANCE = 2.0**-32  # of a relative error in float64; above it, 106 bits are used


class FoldSums:
    """One Gram matrix for each fold, of an accuracy: `ExactGram` or `Float64Gram`.

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
        fold = fold.to(torch.uint8)  # which is sorted by its digits, in a tenth of the time
        grams = [copy.copy(gram) for gram in self.grams]
        _prepare(grams, batch)
        size = max(1, _CHUNK_NUMBERS // max(1, batch.x.shape[1]))
        buffer = _rows_like(batch.x, min(size, batch.rows))
        try:
            for start in range(0, batch.rows, size):
                rows = slice(start, start + size)
                _add_sorted(grams, batch.select(rows), fold[rows], buffer, bits)
        except InputError:
            # The message shall name the row by its number in the batch.
            if batch.weight is not None:
                check_weight(batch.weight, lambda row: row_number(first_row + row))
            check_finite(batch, names, lambda row: row_number(first_row + row))
            raise
        self.grams = grams

    def merge(self, other: FoldSums) -> None:
        """Add the rows of other sums with as many folds and the same columns."""
        if len(self.grams) != len(other.grams):
            raise InputError(
                f"merge: sums of {len(other.grams)} folds were given beside "
                f"{len(self.grams)}; give as many folds"
            )
        self.grams = [merged(*pair) for pair in zip(self.grams, other.grams, strict=True)]

    def total(self) -> Gram:
        """Return the Gram matrix of all rows."""
        total = self.grams[0]
        for gram in self.grams[1:]:
            total = merged(total, gram)
        return total

    def training(self) -> list[Gram]:
        """Return, for each fold, the Gram matrix of the rows of all others.

        Sums are only added, never subtracted, so that no rounding error of a held-out fold stays.
        The sums of the folds before a fold and after it take about 3 merges a fold in all.
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


def merged(first: Gram, second: Gram) -> Gram:
    """Return the statistics of the rows of both, which stay as they are."""
    result = copy.copy(first)
    result.merge(second)
    return result


def _rows_like(x: Tensor, rows: int) -> Tensor:
    """Return room for some rows in the memory order of x."""
    columns = x.shape[1]
    return x.new_empty(columns, rows).T if x.stride(0) == 1 else x.new_empty(rows, columns)


def _prepare(grams: list[Gram], batch: Batch) -> None:
    """Let the sums of all folds be as fast as those of one."""
    rows = sum(gram.rows for gram in grams)
    shift = None
    for gram in grams:
        if isinstance(gram, ExactGram):
            gram.rows_beside = rows + batch.rows
        elif isinstance(gram, Float64Gram) and rows == 0:
            shift = shift or gram.choose_shift(batch)
            gram.begin_with_shift(shift)


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
    y, weight = batch.y[order], None if batch.weight is None else batch.weight[order]
    start = 0
    for gram, count in zip(grams, counts, strict=True):
        part = slice(start, start + count)
        gram.update(Batch(x[part], y[part], None if weight is None else weight[part]), bits=bits)
        start += count


class HeldOutErrors(NamedTuple):
    """Mean squared errors of coefficient vectors in the rows of one fold."""

    mean_square: Tensor  # sum of w (y - b_0 - x b)^2 / sum(w), at least 0; (vectors, targets)
    # About how far rounding, above all that of the sums in float64, may have moved them.
    error: Tensor  # (vectors, targets)


def held_out_errors(
    held_out: NormalEquations[Any], training: NormalEquations[Any], coefficients: Tensor
) -> HeldOutErrors:
    """Return the mean squared errors of predictions in the rows of a fold.

    The prediction is m_y + (x - m_x) b with the means m of the training rows, x b where the
    training equations have no intercept. An error is computed in float64 where that loses no more
    than about 2^-32 of it, and else in 106 bits (rounding errors of sums of n terms grow as the
    root of n: N. J. Higham, T. Mary, SIAM J. Sci. Comput. 41 (2019)).

    Args:
        held_out: of the rows of the fold, with an intercept in any case.
        training: of the rows of the fit, with an intercept or without one.
        coefficients: b in the units of the columns, (vectors, features, targets) float64.

    >>> sums = FoldSums(ExactGram, folds=2, features=1)
    >>> x = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    >>> sums.update(Batch(x, 2 * x), torch.tensor([0, 0, 1, 1], dtype=torch.uint8))
    >>> fold, others = sums.grams[0].normal_equations(), sums.grams[1].normal_equations()
    >>> held_out_errors(fold, others, torch.tensor([[[2.0]], [[1.0]]])).mean_square.flatten()
    tensor([0.0000, 4.2500], dtype=torch.float64)
    """
    d = held_out.features
    squares = to_float64(held_out.cross).diagonal()
    change = torch.where(squares == 0, 0, -(exponent_of(squares) >> 1).clamp(-1000, 1000))
    exponent = held_out.exponent - change
    cross = _rescale(held_out.cross, change)
    norm = ldexp(held_out.square, 2 * change).sqrt()
    if isinstance(held_out.cross, DoubleDouble):
        norm = cross.high.diagonal().sqrt()  # the means were subtracted without rounding
    means = ldexp(held_out.mean, change)
    if training.intercept:
        means = means - ldexp(training.mean, training.exponent - exponent)
    weight = to_float64(held_out.weight)
    results = []
    for target in range(len(exponent) - d):
        y = d + target
        slope = ldexp(coefficients[:, :, target].T, exponent[:d, None] - exponent[y])
        square, computed = _residual_squares(cross, y, slope)
        mean = (means[y] - (means[:d, None] * slope).sum(0)).high.abs()
        length = norm[y] + norm[:d] @ slope.abs()
        summed = 4 * held_out.roundoff * length
        error = (summed * length + computed) / weight + 2 * mean * summed / weight.sqrt()
        both = torch.stack((square / weight + mean.square(), error))
        results.append(ldexp(both, 2 * exponent[y]))
    mean_square, error = torch.stack(results, dim=-1)
    return HeldOutErrors(mean_square, error)


def _residual_squares(cross: DoubleDouble, y: int, slope: Tensor) -> tuple[Tensor, Tensor]:
    """Return S_yy - 2 b' S_xy + b' S_xx b and its rounding error for each b, (features, vectors).

    `y` is the place of the target in S.
    """
    d = len(slope)
    xx, xy, yy = cross[:d, :d], cross[:d, y, None], cross[y, y]
    norm = cross.high.diagonal().abs().sqrt()
    length = norm[y] + norm[:d] @ slope.abs()
    square = yy.high + (slope * (xx.high @ slope - 2 * xy.high)).sum(0)
    error = 2.0**-53 * (8 + d**0.5) * length.square()
    precise = ~(error <= _TOLERANCE * square)
    if bool(precise.any()):
        b = slope[:, precise]
        exact = yy - ((xy + xy - matrix_product(xx, DoubleDouble.of(b))) * b).sum(0)
        square[precise] = exact.high
        error[precise] = error[precise] * 2.0**-50
    return square.clamp(min=0.0), error


def _rescale(cross: Tensor | DoubleDouble, change: Tensor) -> DoubleDouble:
    """Return the cross-products in units smaller by 2^change, (columns,)."""
    result = DoubleDouble(*torch.empty(2, len(change), len(change), dtype=torch.float64))
    for rows in row_blocks(len(change), len(change)):
        result[rows] = ldexp(DoubleDouble.of(cross[rows]), change + change[rows, None])
    return result
