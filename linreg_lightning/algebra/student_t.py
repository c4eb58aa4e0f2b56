"""Student's t for many numbers at a time, each with degrees of freedom of its own.

`inference` has the same functions for a few numbers of one fit: it multiplies many terms of the
continued fraction at a time, which for thousands of numbers would take a hundred times as long.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import torch
from torch import Tensor

_MAX_TERMS = 512
_TERM_BLOCK = 4  # after which those that have converged leave
_MAX_STEPS = 200


def t_two_sided(t: Tensor, df: Tensor) -> Tensor:
    """Return P(|T| > |t|), with a relative error of about 1e-13; NaN where t is NaN.

    t is float64, `df` above 0, of shapes that broadcast.

    >>> t_two_sided(torch.tensor([0.0, 1.0, torch.inf]).double(), torch.tensor([1.0]).double())
    tensor([1.0000, 0.5000, 0.0000], dtype=torch.float64)
    """
    size = t.abs()
    size = torch.where((size > 0) & size.isfinite(), size, 1.0)
    tail = _tail_and_factor(size, df)[0]
    tail = torch.where(t == 0, 1.0, torch.where(t.isinf(), 0.0, tail))
    return torch.where(t.isnan(), t, tail)


def t_quantile(confidence: float, df: Tensor) -> Tensor:
    """Return the t with P(|T| <= t) = confidence, for float64 `df` above 0, (n,).

    Newton's method as in `inference.t_quantile`.
    """
    log_p = math.log1p(-confidence)
    z = -NormalDist().inv_cdf((1 - confidence) / 2)
    terms = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    u = (z + terms[0] / df + terms[1] / df**2).log()
    for _ in range(_MAX_STEPS if len(df) else 0):
        p, factor = _tail_and_factor(u.exp(), df)
        step = (p.log() - log_p) * p / (2 * factor)
        u = u + step.clamp(-1.0, 1.0)
        if float(step.abs().max()) < 1e-8:
            break  # the remaining error is about its square
    return u.exp()


def _tail_and_factor(t: Tensor, df: Tensor) -> tuple[Tensor, Tensor]:
    """Return P(|T| > t) for finite t above 0, and f times the density of F at f = t^2.

    P = I_x(a, b) with x = df / (df + f), a = df / 2, b = 1 / 2. The factor x^a y^b / B(a, b) is
    formed as in `inference`: large logarithms cancel before they are rounded.
    """
    f = t.clamp(max=1e150).square()
    above, below = torch.log1p((f - 1) / (1 + df)), torch.log1p(df * (1 / f - 1) / (1 + df))
    a = df / 2
    scale = 0.5 * (a / (4 * math.pi * (a + 0.5))).log()
    scale = scale + _stirling(a + 0.5) - _stirling(a) - _stirling(torch.full_like(a, 0.5))
    factor = torch.exp(scale - (a * above + 0.5 * below))
    x, y = df / (df + f), 1 / (1 + df / f)
    # The fraction converges fast for either P or 1 - P.
    direct = x < (a + 1) / (a + 2.5)
    half = torch.full_like(x, 0.5)
    first, second = torch.where(direct, a, half), torch.where(direct, half, a)
    x, y = torch.where(direct, x, y), torch.where(direct, y, x)
    part = factor * _fraction(first, second, x, y)
    return torch.where(direct, part, 1 - part), factor


def _fraction(a: Tensor, b: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return I_x(a, b) B(a, b) / (x^a y^b) for x < (a + 1) / (a + b + 2), by Lentz's method."""
    shape, start = x.shape, a * (a * y - b * x + 1) / (a + 1)
    state = [v.flatten() for v in (a, b, x, y, start, start, torch.zeros_like(start))]
    result, place = torch.empty(x.numel(), dtype=x.dtype), torch.arange(x.numel())
    for m in range(1, _MAX_TERMS + 1 if x.numel() else 1):
        a, b, x, y, value, above, below = state
        odd = a + (2 * m - 1)
        over = (a + (m - 1)) * (a + b + (m - 1)) * (b - m) * (x * x) * (m / odd**2)
        under = (a + m) * (a * y - b * x + (1 + m) + m * y) / (odd + 2) + m + m * (b - m) * x / odd
        above, below = under + over / above, 1 / (under + over * below)
        change = above * below
        state = [a, b, x, y, value * change, above, below]
        if m % _TERM_BLOCK == 0:
            # Few numbers need many terms: the others leave.
            result[place] = state[4]
            rest = ((change - 1).abs() > 2.0**-51).nonzero().flatten()
            if not len(rest):
                break
            place, state = place[rest], [v[rest] for v in state]
    return 1 / result.view(shape)


def _stirling(z: Tensor) -> Tensor:
    """Return log Gamma(z) - ((z - 1/2) log z - z + log(2 pi) / 2), for z > 0."""
    w = 1 / (z * z)
    series = (1 / 12 - w * (1 / 360 - w * (1 / 1260 - w * (1 / 1680 - w / 1188)))) / z
    direct = z.lgamma() - ((z - 0.5) * z.log() - z + 0.5 * math.log(2 * math.pi))
    return torch.where(z < 16, direct, series)
