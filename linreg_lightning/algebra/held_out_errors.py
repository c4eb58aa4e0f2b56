"""Mean squared errors of held-out rows, from their sums.

Let S be the centred cross-products of a fold, `mean` the means of its rows, and m the means of the
training rows. The fit predicts m_y + (x - m_x) b, and the mean squared error of the fold's rows is

    (S_yy - 2 b' S_xy + b' S_xx b) / sum(w) + e^2,    e = mean_y - m_y - (mean_x - m_x) b.

The intercept is never rounded, and an offset of a column costs no digit.
"""

from __future__ import annotations

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
from linreg_lightning.algebra.gram import NormalEquations
from linreg_lightning.algebra.multiprecision import matrix_product

_TOLERANCE = 2.0**-32  # of a relative error in float64; above it, 106 bits are used


class HeldOutErrors(NamedTuple):
    """Mean squared errors of fits in some rows."""

    mean_square: Tensor  # sum of w (y - b_0 - x b)^2 / sum(w), at least 0; (..., targets)
    # About how far rounding, above all that of the sums in float64, may have moved them.
    error: Tensor  # (..., targets)


def held_out_errors(
    held_out: NormalEquations[Any], training: NormalEquations[Any], coefficients: Tensor
) -> HeldOutErrors:
    """Return the mean squared errors of fits in rows that were held out, or in any other rows.

    The prediction is m_y + (x - m_x) b with the means m of the training rows; without an intercept
    it is x b. An error is computed in float64 where that loses no more than about 2^-32 of it, and
    else in 106 bits (rounding errors of sums of n terms grow as the root of n: N. J. Higham,
    T. Mary, SIAM J. Sci. Comput. 41 (2019)).

    Args:
        held_out: of the rows to predict, with an intercept in any case.
        training: of the rows of the fits, with an intercept or without one.
        coefficients: b in the units of the columns, (..., features, targets) float64.

    >>> from linreg_lightning.algebra.fold_sums import Batch, ExactGram, FoldSums
    >>> sums = FoldSums(ExactGram, folds=2, features=1)
    >>> x = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    >>> sums.update(Batch(x, 2 * x), torch.tensor([0, 0, 1, 1], dtype=torch.uint8))
    >>> fold, others = sums.grams[0].normal_equations(), sums.grams[1].normal_equations()
    >>> held_out_errors(fold, others, torch.tensor([[[2.0]], [[1.0]]])).mean_square.flatten()
    tensor([0.0000, 4.2500], dtype=torch.float64)
    """
    d, vectors = held_out.features, coefficients[None].flatten(0, -3)
    # The larger unit, since a column may be 0, or nearly, in the fold and not in other rows.
    exponent = torch.maximum(_unit(held_out), _unit(training))
    change = held_out.exponent - exponent
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
        slope = ldexp(vectors[:, :, target].T, exponent[:d, None] - exponent[y])
        square, computed = _residual_squares(cross, y, slope)
        mean = (means[y] - (means[:d, None] * slope).sum(0)).high.abs()
        length = norm[y] + norm[:d] @ slope.abs()
        summed = 4 * held_out.roundoff * length
        error = (summed * length + computed) / weight + 2 * mean * summed / weight.sqrt()
        both = torch.stack((square / weight + mean.square(), error))
        results.append(ldexp(both, 2 * exponent[y]))
    shape = *coefficients.shape[:-2], len(results)
    return HeldOutErrors(*(values.view(shape) for values in torch.stack(results, dim=-1)))


def _unit(equations: NormalEquations[Any]) -> Tensor:
    """Return e for each column so that its length is about 2^e; (columns,)."""
    squares = to_float64(equations.cross).diagonal()
    length = torch.where(squares == 0, 0, (exponent_of(squares) >> 1).clamp(-1000, 1000))
    return equations.exponent + length


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
