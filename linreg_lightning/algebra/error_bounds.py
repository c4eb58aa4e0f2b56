"""How many digits of a solution are safe from the rounding error of its cross-products."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

_MAX_DIGITS = 15.9


class RoundedSolution(NamedTuple):
    """A least-squares solution in scaled units, and the rounding error of its cross-products.

    Attributes:
        roundoff: the relative error of the cross-products.
        norm: the roots of the rounded sums of squares, (kept + targets,).
        inverse: A^-1, A the cross-products of the columns kept; (kept, kept).
        coefficients: b, (kept, targets).
        intercept: (targets,).
        mean: of the columns kept, (kept,).
        intercept_inverse: the intercept's variance per unit of residual variance, ().
        ones_inverse_norm: 1 / sqrt(sum of weights); 0 without an intercept; ().
        residual: the residual sum of squares, (targets,); 0 where it is too small to be seen.
        smallest_residual: the smallest that could be seen, (targets,).
        df_residual: the residual degrees of freedom.
    """

    roundoff: float
    norm: Tensor
    inverse: Tensor
    coefficients: Tensor
    intercept: Tensor
    mean: Tensor
    intercept_inverse: Tensor
    ones_inverse_norm: Tensor
    residual: Tensor
    smallest_residual: Tensor
    df_residual: int


def safe_digits(solution: RoundedSolution) -> tuple[float, float]:
    """Return how many digits of the coefficients and of their standard errors are safe.

    An error E in the cross-products moves b by A^-1 E (1, b), so by at most |A^-1| |E| (1, |b|),
    with |E_ij| = roundoff norm_i norm_j (R. D. Skeel, Scaling for numerical stability in Gaussian
    elimination, J. ACM 26 (1979)). It moves the residual sum of squares by (1, -b)' E (1, -b). The
    error of a coefficient is relative to the coefficient or its standard error, whichever is
    larger; a residual that cannot be seen counts as the smallest that can. The second number is
    that of the residual sum of squares too.

    >>> one = torch.ones(1, 1, dtype=torch.float64)
    >>> o = one[0]
    >>> solution = RoundedSolution(1e-10, o.repeat(2), one, one, o, o, o[0], o[0], o, o, 1)
    >>> [round(n) for n in safe_digits(solution)]
    [9, 9]
    """
    s = solution
    kept = s.coefficients.shape[0]
    variance = torch.maximum(s.residual, s.smallest_residual) / max(s.df_residual, 1)
    row_norm = s.inverse.abs() @ s.norm[:kept]
    rhs_error = s.roundoff * (s.norm[:kept] @ s.coefficients.abs() + s.norm[kept:])
    standard_error = (s.inverse.diagonal()[:, None] * variance).sqrt()
    coefficient_scale = torch.maximum(s.coefficients.abs(), standard_error)
    # Not the sum over the errors of the coefficients: these cancel in the intercept.
    intercept_norm = (s.mean @ s.inverse).abs() @ s.norm[:kept] + s.ones_inverse_norm
    intercept_error = intercept_norm * rhs_error + s.roundoff * s.intercept.abs()
    intercept_scale = torch.maximum(s.intercept.abs(), (s.intercept_inverse * variance).sqrt())
    return (
        _digits(
            (row_norm[:, None] * rhs_error, coefficient_scale), (intercept_error, intercept_scale)
        ),
        _digits(
            (s.roundoff * row_norm.square(), s.inverse.diagonal()),
            (rhs_error.square() / s.roundoff, s.residual),
        ),
    )


def _digits(*errors_and_scales: tuple[Tensor, Tensor]) -> float:
    # A scale of 0, as of the residual of an exact fit, has no digits. An overflow has none safe.
    losses = torch.cat([(error / scale)[scale != 0] for error, scale in errors_and_scales])
    digits = -math.log10(max([1e-300, *losses.nan_to_num(math.inf).tolist()]))
    # A first-order bound says nothing about an error as large as the number itself.
    return min(_MAX_DIGITS, digits) if digits >= 1 else 0.0
