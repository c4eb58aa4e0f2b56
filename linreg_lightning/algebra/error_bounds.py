"""How many digits of a solution are safe from the rounding error of its cross-products."""

from __future__ import annotations

import math
from typing import Generic, NamedTuple

import torch
from torch import Tensor

from linreg_lightning.algebra.double_double import Number, to_float64

_MAX_DIGITS = 15.9


class ScaledSolution(NamedTuple, Generic[Number]):
    """A solution in units in which sums of squares are near 1, and what limits its digits."""

    kept: Tensor  # the columns that were not left out, (kept,)
    factor: Tensor  # R with R'R = A, A the cross-products of these columns; (kept, kept)
    inverse: Number  # A^-1
    coefficients: Number  # b, (kept, targets)
    intercept: Number  # (targets,)
    mean: Number  # of the columns, (kept,)
    intercept_inverse: Number  # the intercept's variance per unit of residual variance, ()
    residual: Number  # the residual sum of squares, 0 where it is too small to be seen; (targets,)
    smallest_residual: Tensor  # what can be seen, (targets,)
    df_residual: int
    roundoff: float  # the relative error of the cross-products
    norm: Tensor  # roots of the rounded sums of squares, (kept + targets,)
    ones_inverse_norm: Tensor  # 1 / sqrt(sum of weights); 0 without an intercept; ()


def safe_digits(solution: ScaledSolution[Number]) -> tuple[float, float]:
    """Return how many digits of the coefficients and of their standard errors are safe.

    An error E in the cross-products moves b by A^-1 E (1, b), so by at most |A^-1| |E| (1, |b|),
    with |E_ij| = roundoff norm_i norm_j (R. D. Skeel, Scaling for numerical stability in Gaussian
    elimination, J. ACM 26 (1979)). It moves the residual sum of squares by (1, -b)' E (1, -b). The
    error of a coefficient is relative to the coefficient or its standard error, whichever is
    larger; a residual that cannot be seen counts as the smallest that can. The second number is
    that of the residual sum of squares too.
    """
    s = solution
    size, level = to_float64(s.coefficients).abs(), to_float64(s.intercept).abs()
    inverse, residual = to_float64(s.inverse), to_float64(s.residual)
    kept = len(s.kept)
    variance = torch.maximum(residual, s.smallest_residual) / max(s.df_residual, 1)
    row_norm = inverse.abs() @ s.norm[:kept]
    rhs_error = s.roundoff * (s.norm[:kept] @ size + s.norm[kept:])
    scale = torch.maximum(size, (inverse.diagonal()[:, None] * variance).sqrt())
    # Not the sum over the errors of the coefficients: these cancel in the intercept.
    intercept_norm = (to_float64(s.mean) @ inverse).abs() @ s.norm[:kept] + s.ones_inverse_norm
    intercept_error = intercept_norm * rhs_error + s.roundoff * level
    intercept_variance = to_float64(s.intercept_inverse) * variance
    intercept_scale = torch.maximum(level, intercept_variance.sqrt())
    return (
        _digits((row_norm[:, None] * rhs_error, scale), (intercept_error, intercept_scale)),
        _digits(
            (s.roundoff * row_norm.square(), inverse.diagonal()),
            (rhs_error.square() / s.roundoff, residual),
        ),
    )


def _digits(*errors_and_scales: tuple[Tensor, Tensor]) -> float:
    # A scale of 0, as of the residual of an exact fit, has no digits. An overflow has none safe.
    losses = torch.cat([(error / scale)[scale != 0] for error, scale in errors_and_scales])
    digits = -math.log10(max([1e-300, *losses.nan_to_num(math.inf).tolist()]))
    # A first-order bound says nothing about an error as large as the number itself.
    return min(_MAX_DIGITS, digits) if digits >= 1 else 0.0
