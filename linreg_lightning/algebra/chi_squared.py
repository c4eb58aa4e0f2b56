"""The tail of the chi-squared distribution, to the digits that tables of tests need.

`torch.special.gammaincc` has nine digits near the mean of 50 degrees of freedom. Here it is a
series or a continued fraction (W. H. Press et al., Numerical Recipes, 6.2).
"""

import math

from torch import Tensor

_MAX_TERMS = 100_000
_SMALLEST = 1e-300  # in place of 0, by which the fraction would divide


def chi_squared_tail(value: Tensor, df: float) -> Tensor:
    """Return P(X > value) for chi-squared X, with a relative error of about 1e-12.

    P = Q(df / 2, value / 2), Q the upper regularised incomplete gamma function. `value` is float64;
    NaN, and degrees of freedom not above 0, give NaN.

    >>> import torch
    >>> chi_squared_tail(torch.tensor([0.0, 2 * math.log(4), math.inf]).double(), 2)
    tensor([1.0000, 0.2500, 0.0000], dtype=torch.float64)
    """
    tails = [_upper_gamma(df / 2, x / 2) for x in value.flatten().tolist()]
    return value.new_tensor(tails).reshape(value.shape)


def _upper_gamma(a: float, x: float) -> float:
    if math.isnan(x) or not a > 0:
        return math.nan
    if x <= 0:
        return 1.0
    if x == math.inf:
        return 0.0
    factor = math.exp(a * math.log(x) - x - math.lgamma(a))  # x^a e^-x / Gamma(a)
    return 1 - factor * _series(a, x) if x < a + 1 else factor * _fraction(a, x)


def _series(a: float, x: float) -> float:
    """Return the sum of x^k / (a (a + 1) .. (a + k)) over k = 0, 1, 2 ..."""
    term = total = 1 / a
    for k in range(1, _MAX_TERMS):
        term *= x / (a + k)
        total += term
        if term < 2.0**-54 * total:
            break
    return total


def _fraction(a: float, x: float) -> float:
    """Return Gamma(a, x) / (x^a e^-x) as a continued fraction, by Lentz's method."""
    under = x + 1 - a
    above, below = 1 / _SMALLEST, 1 / under
    value = below
    for k in range(1, _MAX_TERMS):
        over, under = k * (a - k), under + 2
        below = 1 / (over * below + under or _SMALLEST)
        above = under + over / above or _SMALLEST
        value *= above * below
        if abs(above * below - 1) < 2.0**-52:
            break
    return value
