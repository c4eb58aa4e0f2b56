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
    estimate: Tensor,
    level: Tensor,
    residual: Tensor,
    df: int,
) -> float:
    """Return how many digits survive errors of `roundoff` in each cross-product.

    An error E in the cross-products moves b by A^-1 E (1, b), so by at most |A^-1| |E| (1, |b|),
    with |E_ij| = roundoff size_i size_j (R. D. Skeel, Scaling for numerical stability in Gaussian
    elimination, J. ACM 26 (1979)). Coefficients smaller than their standard error are compared
    with that.

    Args:
        roundoff: the relative precision of the cross-products.
        size: the root of the sums of squares that were rounded, (kept + targets,).
        inverse: A^-1, (kept, kept).
        mean: of the columns, (kept,).
        intercept_inverse: the intercept's variance per unit of residual variance, ().
        estimate: b, (kept, targets).
        level: the intercept, (targets,).
        residual: the residual sum of squares, (targets,).
        df: the residual degrees of freedom.

    >>> one = torch.ones(1, 1, dtype=torch.float64)
    >>> safe_digits(1e-10, one[0].repeat(2), one, one[0], one[0, 0], one, one[0], one[0], 1) > 9
    True
    """
    kept = estimate.shape[0]
    absolute = inverse.abs()
    variance = residual / df if df > 0 else torch.zeros_like(residual)
    reach = absolute @ size[:kept]
    error = roundoff * reach[:, None] * (size[:kept] @ estimate.abs() + size[kept:])
    known = torch.maximum(estimate.abs(), (inverse.diagonal()[:, None] * variance).sqrt())
    shift = mean.abs() @ error + roundoff * level.abs()
    shift_known = torch.maximum(level.abs(), (intercept_inverse * variance).sqrt())
    losses = (
        error / known,
        shift / shift_known,
        roundoff * reach.square() / inverse.diagonal(),
        roundoff * size[kept:].square() / residual,
    )
    # 0 / 0 and x / 0: nothing to know, as the residual of an exact fit.
    known_losses = [float(loss[loss.isfinite()].amax()) for loss in losses if loss.isfinite().any()]
    worst = max(known_losses, default=0.0)
    return min(_MOST, max(0.0, -math.log10(max(worst, 1e-300))))
