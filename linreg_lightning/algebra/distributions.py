"""Tail probabilities of Student's t and Fisher's F, and quantiles of t.

torch has no incomplete beta function. Here it is a continued fraction (W. H. Press et al.,
Numerical Recipes, 6.4), which takes fewer than 60 terms where it is used, times a factor in which
the large logarithms cancel before they are rounded (as in C. Loader, Fast and accurate computation
of binomial probabilities (2000)).
"""

from __future__ import annotations

import math
from statistics import NormalDist

import torch
from torch import Tensor

_TERMS = 512
# So many at a time: the cost is in the number of operations, not in the numbers.
_AT_ONCE = 64


def f_tail(f: Tensor, df_model: float, df_residual: float) -> Tensor:
    """Return P(F > f) for Fisher's F, to about 1e-13 of itself however small it is.

    P = I_x(m/2, k/2) with x = m / (m + k f), I the regularised incomplete beta function, k and m
    the degrees of freedom.

    Args:
        f: at least 0, any shape, float64; NaN gives NaN.
        df_model: k, above 0.
        df_residual: m, above 0; NaN everywhere where one of them is not above 0.

    >>> f_tail(torch.tensor([0.0, 4.0, torch.inf]).double(), 2, 2)
    tensor([1.0000, 0.2000, 0.0000], dtype=torch.float64)
    """
    k, m = float(df_model), float(df_residual)
    if not (k > 0 and m > 0):
        return torch.full_like(f, math.nan)
    x, y = m / (m + k * f), k / (k + m / f)
    factor = _factor(f, k, m)
    # Of P and 1 - P, one has a fraction that converges fast.
    direct = x < (m / 2 + 1) / ((m + k) / 2 + 2)
    a, b = f.new_tensor(m / 2), f.new_tensor(k / 2)
    a, b = torch.where(direct, a, b), torch.where(direct, b, a)
    x, y = torch.where(direct, x, y), torch.where(direct, y, x)
    part = factor * _fraction(a, b, x, y)
    tail = torch.where(direct, part, 1 - part)
    tail = torch.where(f == 0, 1.0, torch.where(f == math.inf, 0.0, tail))
    return torch.where(f.isnan(), f, tail)


def t_two_sided(t: Tensor, df: float) -> Tensor:
    """Return P(|T| > |t|) for Student's t with `df` degrees of freedom.

    Args:
        t: any shape, float64; NaN gives NaN.
        df: above 0; otherwise NaN everywhere.

    >>> t_two_sided(torch.tensor([0.0, -1.0]).double(), 1)
    tensor([1.0000, 0.5000], dtype=torch.float64)
    """
    size = t.abs().clamp(max=1e150)
    # Beyond, only the leading power is left: P(t) = P(s) (s / t)^df.
    return f_tail(size * size, 1.0, df) * (size / t.abs()).nan_to_num(1.0) ** max(df, 0.0)


def t_quantile(confidence: float, df: float) -> float:
    """Return the t with P(|T| <= t) = confidence.

    Newton's method on log P as a function of log t, which falls and is concave: from the second
    step on, it comes nearer from one side.

    Args:
        confidence: above 0 and below 1.
        df: above 0; otherwise NaN.

    >>> round(t_quantile(0.5, 1), 12)
    1.0
    """
    if not df > 0:
        return math.nan
    goal = math.log1p(-confidence)
    z = -NormalDist().inv_cdf((1 - confidence) / 2)
    # The first terms for many degrees of freedom (Abramowitz and Stegun, 26.7.5).
    terms = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    u = math.log(z + terms[0] / df + terms[1] / df**2)
    for _ in range(200):
        f = torch.tensor(math.exp(2 * u), dtype=torch.float64)
        p = float(f_tail(f, 1.0, df))
        step = (math.log(p) - goal) * p / (2 * float(_factor(f, 1.0, df)))
        u += max(-1.0, min(1.0, step))
        if abs(step) < 1e-8:
            break  # what is left is of the size of its square
    return math.exp(u)


def _factor(f: Tensor, k: float, m: float) -> Tensor:
    """Return x^(m/2) y^(k/2) / B(m/2, k/2), which is f times the density of F at f.

    With a = m/2, b = k/2, n = a + b and Stirling's formula for B it is
    (a / (n x))^-a (b / (n y))^-b sqrt(a b / (2 pi n)) e^(s(n) - s(a) - s(b)).
    """
    above = torch.log1p(k * (f - 1) / (k + m))  # log of a / (n x)
    below = torch.log1p(m * (1 / f - 1) / (k + m))  # log of b / (n y)
    a, b = m / 2, k / 2
    scale = 0.5 * math.log(a * b / (2 * math.pi * (a + b)))
    scale += _stirling(a + b) - _stirling(a) - _stirling(b)
    return torch.exp(scale - (a * above + b * below))


def _fraction(a: Tensor, b: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return I_x(a, b) B(a, b) / (x^a y^b) for x < (a + 1) / (a + b + 2), all of one shape.

    The continued fraction is written in x and y = 1 - x, both given, because for large a it depends
    on y to all its digits. A term takes [A_n A_n-1; B_n B_n-1] of two convergents A / B to the next
    by a product with a matrix, and the matrices of many terms are multiplied as a tree.
    """
    start = a * (a * y - b * x + 1) / (a + 1)
    one, zero = torch.ones_like(start), torch.zeros_like(start)
    state = _square(start, one, one, zero)
    for first in range(1, _TERMS if x.numel() else 1, _AT_ONCE):
        m = torch.arange(first, first + _AT_ONCE, dtype=x.dtype).reshape(-1, *[1] * x.ndim)
        odd = a + 2 * m - 1
        over = (a + m - 1) * (a + b + m - 1) * m * (b - m) / odd**2 * x * x
        under = m + m * (b - m) * x / odd
        under = under + (a + m) * (a * y - b * x + 1 + m * (1 + y)) / (odd + 2)
        size = over.abs() + under.abs()
        terms = _square(under / size, 1 / size, over / size, torch.zeros_like(size))
        while len(terms) > 1:
            terms = terms[::2] @ terms[1::2]
        state = state @ terms[0]
        state = state / state[..., 1:, :1]
        now, before = (state[..., 0, :] / state[..., 1, :]).unbind(-1)
        if bool(((now - before).abs() <= 2.0**-51 * now.abs()).all()):
            break
    return state[..., 1, 0] / state[..., 0, 0]


def _square(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """Return the matrices [a b; c d], (..., 2, 2)."""
    return torch.stack((torch.stack((a, b), -1), torch.stack((c, d), -1)), -2)


def _stirling(z: float) -> float:
    """Return log Gamma(z) - ((z - 1/2) log z - z + log(2 pi) / 2), for z > 0."""
    if z < 16:
        return math.lgamma(z) - ((z - 0.5) * math.log(z) - z + 0.5 * math.log(2 * math.pi))
    w = 1 / (z * z)
    return (1 / 12 - w * (1 / 360 - w * (1 / 1260 - w * (1 / 1680 - w / 1188)))) / z
