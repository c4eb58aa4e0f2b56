"""Tail probabilities of Student's t and Fisher's F, and quantiles of t.

torch has no incomplete beta function. Here it is a continued fraction of fewer than 60 terms (W. H.
Press et al., Numerical Recipes, 6.4), times a factor in which the large logarithms cancel before
they are rounded (C. Loader, Fast and accurate computation of binomial probabilities (2000)).
"""

from __future__ import annotations

import math
from statistics import NormalDist

import torch
from torch import Tensor

_MAX_TERMS = 512
# Terms at a time: the number of tensor operations takes the time, not their size.
_TERM_BLOCK = 64


def f_tail(f: Tensor, df_model: float, df_residual: float) -> Tensor:
    """Return P(F > f) for Fisher's F, with a relative error of about 1e-13.

    P = I_x(m/2, k/2) with x = m / (m + k f), I the regularised incomplete beta function, k and m
    the degrees of freedom. f is at least 0, float64 of any shape. NaN gives NaN, and so do degrees
    of freedom that are not above 0.

    >>> f_tail(torch.tensor([0.0, 4.0, torch.inf]).double(), 2, 2)
    tensor([1.0000, 0.2000, 0.0000], dtype=torch.float64)
    """
    k, m = float(df_model), float(df_residual)
    if not (k > 0 and m > 0):
        return torch.full_like(f, math.nan)
    x, y = m / (m + k * f), k / (k + m / f)
    factor = _factor(f, k, m)
    # The fraction converges fast for either P or 1 - P.
    direct = x < (m / 2 + 1) / ((m + k) / 2 + 2)
    a, b = f.new_tensor(m / 2), f.new_tensor(k / 2)
    a, b = torch.where(direct, a, b), torch.where(direct, b, a)
    x, y = torch.where(direct, x, y), torch.where(direct, y, x)
    part = factor * _fraction(a, b, x, y)
    tail = torch.where(direct, part, 1 - part)
    tail = torch.where(f == 0, 1.0, torch.where(f == math.inf, 0.0, tail))
    return torch.where(f.isnan(), f, tail)


def t_two_sided(t: Tensor, df: float) -> Tensor:
    """Return P(|T| > |t|) for Student's t; NaN where t is NaN or `df` is not above 0.

    >>> t_two_sided(torch.tensor([0.0, -1.0]).double(), 1)
    tensor([1.0000, 0.5000], dtype=torch.float64)
    """
    size = t.abs().clamp(max=1e150)
    # For larger t only the leading power is left: P(t) = P(s) (s / t)^df.
    return f_tail(size * size, 1.0, df) * (size / t.abs()).nan_to_num(1.0) ** max(df, 0.0)


def t_quantile(confidence: float, df: float) -> float:
    """Return the t with P(|T| <= t) = confidence; NaN where `df` is not above 0.

    Newton's method on log P as a function of log t, which falls and is concave: from the second
    step on, it approaches the solution from one side.

    >>> round(t_quantile(0.5, 1), 12)
    1.0
    """
    if not df > 0:
        return math.nan
    log_p = math.log1p(-confidence)
    z = -NormalDist().inv_cdf((1 - confidence) / 2)
    # The first terms for many degrees of freedom (Abramowitz and Stegun, 26.7.5).
    terms = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    u = math.log(z + terms[0] / df + terms[1] / df**2)
    for _ in range(200):
        f = torch.tensor(math.exp(2 * u), dtype=torch.float64)
        p = float(f_tail(f, 1.0, df))
        step = (math.log(p) - log_p) * p / (2 * float(_factor(f, 1.0, df)))
        u += max(-1.0, min(1.0, step))
        if abs(step) < 1e-8:
            break  # the remaining error is about its square
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

    The arguments x and y = 1 - x are both given, because for large a the fraction needs all digits
    of y. Each term multiplies the matrix [A_n A_n-1; B_n B_n-1] of two convergents A / B by a
    matrix of its own; the matrices of many terms are multiplied as a tree.
    """
    start = a * (a * y - b * x + 1) / (a + 1)
    one, zero = torch.ones_like(start), torch.zeros_like(start)
    state = _matrix(start, one, one, zero)
    for first in range(1, _MAX_TERMS if x.numel() else 1, _TERM_BLOCK):
        m = torch.arange(first, first + _TERM_BLOCK, dtype=x.dtype).reshape(-1, *[1] * x.ndim)
        odd = a + 2 * m - 1
        over = (a + m - 1) * (a + b + m - 1) * m * (b - m) / odd**2 * x * x
        under = m + m * (b - m) * x / odd
        under = under + (a + m) * (a * y - b * x + 1 + m * (1 + y)) / (odd + 2)
        size = over.abs() + under.abs()
        terms = _matrix(under / size, 1 / size, over / size, torch.zeros_like(size))
        while len(terms) > 1:
            terms = terms[::2] @ terms[1::2]
        state = state @ terms[0]
        state = state / state[..., 1:, :1]
        value, previous = (state[..., 0, :] / state[..., 1, :]).unbind(-1)
        if bool(((value - previous).abs() <= 2.0**-51 * value.abs()).all()):
            break
    return state[..., 1, 0] / state[..., 0, 0]


def _matrix(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """Return the matrices [a b; c d], (..., 2, 2)."""
    return torch.stack((torch.stack((a, b), -1), torch.stack((c, d), -1)), -2)


def _stirling(z: float) -> float:
    """Return log Gamma(z) - ((z - 1/2) log z - z + log(2 pi) / 2), for z > 0."""
    if z < 16:
        return math.lgamma(z) - ((z - 0.5) * math.log(z) - z + 0.5 * math.log(2 * math.pi))
    w = 1 / (z * z)
    return (1 / 12 - w * (1 / 360 - w * (1 / 1260 - w * (1 / 1680 - w / 1188)))) / z
