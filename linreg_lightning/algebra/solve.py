"""From statistics to coefficients: rank, condition and the least-squares solution.

With an intercept, means are taken off first, so that the intercept is never penalised and never
costs digits. Columns are scaled by powers of two to sums of squares near 1. The cross-products
[X'WX X'Wy; y'WX y'Wy] are then swept, one column after the other, which leaves minus the inverse,
the coefficients and the residual sum of squares in their places (J. H. Goodnight, A tutorial on
the SWEEP operator, Am. Stat. 33 (1979)). The same steps run in 53 and in 106 bits; in 53 bits by
Cholesky's factor where columns are many and none has to be left out, which is the same and faster.
"""

from __future__ import annotations

import math
from typing import Generic, NamedTuple

import torch
from torch import Tensor

from linreg_lightning.algebra.double_double import (
    Number,
    exponent_of,
    ldexp,
    rounded,
)
from linreg_lightning.algebra.error_bounds import safe_digits
from linreg_lightning.algebra.gram import NormalEquations
from linreg_lightning.errors import InputError

# Fewer are swept as fast, and wake no thread that may be busy elsewhere.
_MANY = 64


class Solution(NamedTuple, Generic[Number]):
    """The least-squares solution, and what inference needs of it.

    The first part is in the user's units. The second is scaled, so that nothing overflows: column i
    (features, then targets) is in units of c_i = 2^exponent[i], weights in units of
    v = 2^weight_exponent.

    Attributes:
        coefficients: (features, targets) float64; NaN for columns in `collinear`.
        intercept: (targets,) float64; zeros where none was fitted.
        collinear: the columns left out, each a linear combination of earlier ones (and 1).
        rank: how many coefficients were fitted, the intercept included.
        condition: the 2-norm condition number of the columns kept, less their means if there is an
            intercept, each scaled to length 1, ridge included; 1 for orthogonal columns.
        digits: how many decimal digits of every coefficient (or of its standard error, where that
            is larger) are safe from rounding: a bound, one or two below what is there for
            well-conditioned columns, up to five for others; at most 15.9. It is 0 where `float64`
            left a column out: that is for `exact` to decide.
        error_digits: likewise of every standard error and residual sum of squares. It is 0 where
            `float64` saw no residual: none, or too small to be seen.
        ridge: the penalty.

        residual: sum of w r^2 in units of v c_y^2; (targets,).
        total: sum of w (y - mean)^2, without an intercept of w y^2, likewise.
        inverse: the diagonal of (X'WX)^-1 in units of 1 / (v c_i^2); (features,), NaN where
            left out.
        intercept_inverse: 1 / sum(w) + mean' (X'WX)^-1 mean, in units of 1 / v; ().
        factor: R with R'R = X'WX of the columns kept; (kept, kept) float64.
        kept: the columns not left out, (kept,) int64.
        exponent: (features + targets,) int64.
        equations: what was solved.
    """

    coefficients: Tensor
    intercept: Tensor
    collinear: tuple[int, ...]
    rank: int
    condition: float
    digits: float
    error_digits: float
    ridge: float
    residual: Number
    total: Number
    inverse: Number
    intercept_inverse: Number
    factor: Tensor
    kept: Tensor
    exponent: Tensor
    equations: NormalEquations[Number]


def solve(equations: NormalEquations[Number], ridge: float = 0.0) -> Solution[Number]:
    """Minimise the sum of w (y - b_0 - x b)^2 + ridge |b|^2.

    A column counts as a linear combination of earlier ones when what they leave of it is no larger
    than the rounding of it and of them, times their coefficients in the combination. That is, of
    each column: in `exact` 2^-51 of the root mean square of its entries, which is what they were
    rounded to themselves, or, of d columns, sqrt(d) 2^-51 of its standard deviation if that is
    more; in `float64`, which cannot see that far, sqrt(d + 1) 2^-25 of its standard deviation. It
    is left out, as in R. Residuals smaller than the rounding of the targets count as 0.

    Args:
        equations: what `Gram.normal_equations` returned.
        ridge: the penalty, at least 0, in the units of the user's columns; never on the intercept.

    Raises:
        InputError: ridge is negative or not finite; a coefficient leaves float64's range.

    >>> from linreg_lightning.algebra import ExactGram
    >>> from linreg_lightning.batch import Batch
    >>> x = torch.tensor([[0.0], [1.0], [2.0]])
    >>> gram = ExactGram(features=1)
    >>> gram.update(Batch(x, 3 * x + 1))
    >>> solution = solve(gram.normal_equations())
    >>> solution.coefficients, solution.intercept
    (tensor([[3.]], dtype=torch.float64), tensor([1.], dtype=torch.float64))
    """
    if not 0.0 <= ridge < math.inf:
        raise InputError(f"ridge: {ridge} was given; type a finite number, 0 or above")
    d = equations.features
    own = rounded(equations.cross).diagonal()
    size = exponent_of(own)
    if ridge > 0:
        # A penalty may be far larger than what it is added to.
        unit = 2 * equations.exponent[:d] + equations.weight_exponent
        size[:d] = torch.maximum(size[:d], exponent_of(torch.tensor(ridge).double()) - unit)
    scale = -(size >> 1).clamp(-1000, 1000)
    # A column of one value is nothing but a penalty, which its coefficient of 0 does not pay.
    penalised = (own == 0) & (torch.arange(len(own)) < d) & (ridge > 0)
    exponent = equations.exponent - scale
    cross = _scaled(equations.cross, scale + scale[:, None])
    mean = _scaled(equations.mean, scale)
    # Rounding of the entries themselves, and of what is done to the cross-products below.
    tolerance = ldexp(equations.square, 2 * scale) + d * rounded(_diagonal(cross)).abs()
    tolerance = (4 * equations.roundoff * tolerance).masked_fill(penalised, 0.0)
    total = _diagonal(cross)[d:]
    penalty = _penalty(ridge, exponent[:d], equations.weight_exponent)
    features = torch.arange(d)
    cross[features, features] = _diagonal(cross)[:d] + penalty

    swept, kept, factor = _swept_of_independent(cross, tolerance[:d])
    inverse = -swept[kept][:, kept]
    estimate = swept[kept][:, d:]
    residual = _diagonal(swept)[d:] - (estimate * estimate * penalty[kept, None]).sum(0)
    seen = rounded(residual) > tolerance[d:]
    residual = residual * seen.double() + 0.0  # not -0, of which the root would turn t around
    centre = mean[:d][kept]
    level = mean[d:] - (centre[:, None] * estimate).sum(0)
    level_inverse = _reciprocal(equations.weight) + (centre * (inverse * centre).sum(1)).sum(0)

    left_out = torch.full((d,), math.nan, dtype=torch.float64).index_fill(0, kept, 0.0)
    coefficients = left_out[:, None].repeat(1, exponent.shape[0] - d)
    change = (exponent[d:] - exponent[kept, None]).clamp(-2044, 2044)
    coefficients[kept] = ldexp(rounded(estimate), change)
    intercept = ldexp(rounded(level), exponent[d:]) * equations.intercept
    if not bool(coefficients[kept].isfinite().all() and intercept.isfinite().all()):
        raise InputError(
            "x, y, ridge: a coefficient leaves the range of float64; "
            "give columns in units that are less far apart"
        )
    coarse = equations.roundoff > 2.0**-60
    # Means are taken off exactly in `exact`, so only what is left of a column has been rounded.
    square = ldexp(equations.square, 2 * scale) if coarse else rounded(_diagonal(cross))
    # As if it had been rounded away.
    lost = torch.full_like(square, equations.lost / (4 * equations.roundoff))
    square = square + ldexp(lost, 2 * scale)
    rank = kept.numel() + equations.intercept
    digits, error_digits = safe_digits(
        4 * equations.roundoff,
        square[torch.cat((kept, torch.arange(d, square.shape[0])))].sqrt(),
        rounded(inverse),
        rounded(centre),
        rounded(level_inverse),
        equations.intercept / rounded(equations.weight).sqrt(),
        rounded(estimate),
        rounded(level),
        rounded(residual),
        tolerance[d:],
        equations.rows - rank,
    )
    # float64 cannot tell small from nothing.
    if coarse and kept.numel() < d:
        digits = error_digits = 0.0
    if coarse and not bool(seen.all()):
        error_digits = 0.0
    return Solution(
        coefficients=coefficients,
        intercept=intercept,
        collinear=tuple(left_out.isnan().nonzero()[:, 0].tolist()),
        rank=rank,
        condition=_condition(factor),
        digits=digits,
        error_digits=error_digits,
        ridge=ridge,
        residual=residual,
        total=total,
        inverse=-_diagonal(swept)[:d] + left_out,
        intercept_inverse=level_inverse,
        factor=factor,
        kept=kept,
        exponent=exponent,
        equations=equations,
    )


def _swept_of_independent(cross: Number, tolerance: Tensor) -> tuple[Number, Tensor, Tensor]:
    """Sweep the columns that are no linear combinations of earlier ones, as `_swept` does.

    With U = R^-1, a column is -sum_k U_kj R_jj x_k over those before it, but for a rest of R_jj.
    """
    while True:
        swept, kept, factor = _swept(cross, tolerance)
        one = torch.eye(len(kept), dtype=torch.float64)
        inverse = torch.linalg.solve_triangular(factor, one, upper=True)
        hidden = (tolerance[kept].sqrt() @ inverse.abs() >= 1).tolist()
        if True not in hidden:
            return swept, kept, factor
        tolerance = tolerance.index_fill(0, kept[hidden.index(True)], math.inf)


def _swept(cross: Number, tolerance: Tensor) -> tuple[Number, Tensor, Tensor]:
    """Sweep the first columns of a symmetric matrix, but those that nothing is left of.

    Args:
        cross: (columns, columns).
        tolerance: (swept columns,); what counts as nothing.

    Returns:
        [-A^-1, A^-1 b; b'A^-1, c - b'A^-1 b] of [A, b; b', c], the columns swept, (kept,), and
        R with R'R = A, (kept, kept) float64.
    """
    if isinstance(cross, Tensor) and tolerance.shape[0] >= _MANY:
        factored = _factored(cross, tolerance)
        if factored is not None:
            return factored
    kept, rows = [], []
    for k, nothing in enumerate(tolerance.tolist()):
        pivot = cross[k, k]
        if not float(rounded(pivot)) > nothing:
            continue
        row = cross[k]
        quotient = row / pivot
        kept.append(k)
        rows.append(rounded(row) / rounded(pivot).sqrt())
        cross = cross - row[:, None] * quotient
        cross[k] = quotient
        cross[:, k] = quotient
        cross[k, k] = -_reciprocal(pivot)
    index = torch.tensor(kept, dtype=torch.int64)
    factor = torch.stack(rows)[:, index] if rows else torch.zeros(0, 0).double()
    # Not triu, for which a thread is woken that may be busy elsewhere.
    factor = factor * (index >= index[:, None])
    return cross, index, factor


def _factored(cross: Tensor, tolerance: Tensor) -> tuple[Tensor, Tensor, Tensor] | None:
    """Return what `_swept` does, all columns at once; None where one might have to be left out.

    The pivots of the sweep are the squares of the diagonal of Cholesky's factor.
    """
    d = tolerance.shape[0]
    factor, failed = torch.linalg.cholesky_ex(cross[:d, :d], upper=True)
    if bool(failed) or not bool((factor.diagonal().square() > tolerance).all()):
        return None
    whitened = torch.linalg.solve_triangular(factor.T, cross[:d, d:], upper=False)
    estimate = torch.linalg.solve_triangular(factor, whitened, upper=True)
    inverse = torch.cholesky_inverse(factor, upper=True)
    residual = cross[d:, d:] - whitened.T @ whitened
    swept = torch.cat((torch.cat((-inverse, estimate), 1), torch.cat((estimate.T, residual), 1)), 0)
    return swept, torch.arange(d), factor


def _condition(factor: Tensor) -> float:
    """Return the 2-norm condition number of R with columns scaled to length 1."""
    if not factor.numel():
        return 1.0
    values = torch.linalg.svdvals(factor / torch.linalg.vector_norm(factor, dim=0))
    return float(values[0] / values[-1]) if values[-1] > 0 else math.inf


def _penalty(ridge: float, exponent: Tensor, weight_exponent: Tensor) -> Tensor:
    """Return the penalty in the units of the scaled sums of squares; (features,)."""
    change = (-2 * exponent - weight_exponent).clamp(-2000, 2000)
    return ldexp(torch.full(exponent.shape, ridge, dtype=torch.float64), change)


def _scaled(value: Number, exponent: Tensor) -> Number:
    return ldexp(value, exponent) if isinstance(value, Tensor) else value.ldexp(exponent)


def _diagonal(matrix: Number) -> Number:
    index = torch.arange(matrix.shape[0])
    return matrix[index, index]


def _reciprocal(value: Number) -> Number:
    return value / value / value
