"""How many digits of a solution are safe from the rounding of its cross-products."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_MOST = 15.9


def safe_digits(
    roundoff: float,
    size: Tensor,
    inverse: Tensor,
    mean: Tensor,
    intercept_inverse: Tensor,
    ones: Tensor,
    estimate: Tensor,
    level: Tensor,
    residual: Tensor,
    seen_from: Tensor,
    df: int,
) -> tuple[float, float]:
    """Return how many digits survive errors of `roundoff` in each cross-product.

    The first number is that of the coefficients, the second that of their standard errors and of
    the residual sum of squares.

    An error E in the cross-products moves b by A^-1 E (1, b), so by at most |A^-1| |E| (1, |b|),
    with |E_ij| = roundoff size_i size_j (R. D. Skeel, Scaling for numerical stability in Gaussian
    elimination, J. ACM 26 (1979)); the residual sum of squares by (1, -b)' E (1, -b). Coefficients
    smaller than their standard error are compared with that, or with what it would be if the
    residual could just be seen.

    Args:
        roundoff: the relative precision of the cross-products.
        size: the root of the sums of squares that were rounded, (kept + targets,).
        inverse: A^-1, (kept, kept).
        mean: of the columns, (kept,).
        intercept_inverse: the intercept's variance per unit of residual variance, ().
        ones: 1 / size of the column of ones, by whose product with a column its mean is known; 0
            without an intercept; ().
        estimate: b, (kept, targets).
        level: the intercept, (targets,).
        residual: the residual sum of squares, (targets,); 0 where it is too small to be seen.
        seen_from: what it must exceed to be seen, (targets,).
        df: the residual degrees of freedom.

    >>> one = torch.ones(1, 1, dtype=torch.float64)
    >>> o = one[0]
    >>> [round(n) for n in safe_digits(1e-10, o.repeat(2), one, o, o[0], o[0], one, o, o, o, 1)]
    [9, 9]
    """
    kept = estimate.shape[0]
    variance = torch.maximum(residual, seen_from) / max(df, 1)
    reach = inverse.abs() @ size[:kept]
    moved = roundoff * (size[:kept] @ estimate.abs() + size[kept:])
    known = torch.maximum(estimate.abs(), (inverse.diagonal()[:, None] * variance).sqrt())
    # Not the sum over the coefficients: in the intercept their errors cancel.
    through = (mean @ inverse).abs() @ size[:kept] + ones
    shift = through * moved + roundoff * level.abs()
    shift_known = torch.maximum(level.abs(), (intercept_inverse * variance).sqrt())
    return (
        _digits((reach[:, None] * moved, known), (shift, shift_known)),
        _digits(
            (roundoff * reach.square(), inverse.diagonal()), (moved.square() / roundoff, residual)
        ),
    )


def _digits(*errors: tuple[Tensor, Tensor]) -> float:
    # Of 0, as the residual of an exact fit, there is nothing to know. Of what overflows there is.
    losses = torch.cat([(error / size)[size != 0] for error, size in errors])
    digits = -math.log10(max([1e-300, *losses.nan_to_num(math.inf).tolist()]))
    # An error as large as the number itself is beyond what a first-order bound can tell.
    return min(_MOST, digits) if digits >= 1 else 0.0
