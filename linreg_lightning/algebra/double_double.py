"""106-bit arithmetic: a number is the unevaluated sum of two float64.

Every operation is a short sequence of float64 operations, each rounded as IEEE 754 prescribes, so
the result has the same bits on every device. Fused operations (`addcmul`, `alpha=`) would round
once where these sequences rely on two.

Sources: T. J. Dekker, A floating-point technique for extending the available precision, Numer.
Math. 18 (1971); D. E. Knuth, The Art of Computer Programming 2, 4.2.2; Y. Hida, X. S. Li,
D. H. Bailey, Algorithms for quad-double precision floating point arithmetic, ARITH-15 (2001).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

_SPLITTER = 2.0**27 + 1.0
_BLOCK_NUMBERS = 2**17  # whose temporaries stay in the cache of a processor


def two_sum(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return `(s, e)` with s = fl(a + b) and s + e = a + b exactly (Knuth)."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def fast_two_sum(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return `(s, e)` as `two_sum` does, for |a| >= |b| or a = 0 (Dekker)."""
    s = a + b
    return s, b - (s - a)


def split(a: Tensor) -> tuple[Tensor, Tensor]:
    """Return `(h, l)` with h + l = a, 26 bits in each, for |a| < 2^996 (Veltkamp)."""
    t = a * _SPLITTER
    h = t - (t - a)
    return h, a - h


def two_prod(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return `(p, e)` with p = fl(a b) and p + e = a b exactly (Dekker).

    Exact while |a| and |b| are below 2^996 and |a b| is 0 or between 2^-916 and 2^1022.
    """
    p = a * b
    (ah, al), (bh, bl) = split(a), split(b)
    return p, ((ah * bh - p) + ah * bl + al * bh) + al * bl


@dataclass(frozen=True, slots=True)
class DoubleDouble:
    """The number high + low, with high = fl(high + low): 106 bits.

    The four operations and the square root have a relative error of about 2^-104, for the exponents
    where `two_prod` is exact. Shapes broadcast as those of tensors do.

    >>> third = DoubleDouble.of(torch.tensor(1.0)) / 3.0
    >>> float((third * 3.0 - 1.0).high)
    0.0
    """

    high: Tensor  # the number rounded to float64
    low: Tensor  # the rounding error

    @classmethod
    def of(cls, value: Tensor | float | DoubleDouble) -> DoubleDouble:
        """Return the value itself as a pair: low = 0 for a tensor or a float."""
        if isinstance(value, DoubleDouble):
            return value
        high = torch.as_tensor(value, dtype=torch.float64)
        return cls(high, torch.zeros_like(high))

    def __len__(self) -> int:
        return len(self.high)

    def __getitem__(self, index: Any) -> DoubleDouble:
        return DoubleDouble(self.high[index], self.low[index])

    def __setitem__(self, index: Any, value: DoubleDouble) -> None:
        self.high[index] = value.high
        self.low[index] = value.low

    @property
    def mT(self) -> DoubleDouble:  # noqa: N802  # as torch names it
        """The transpose of a matrix."""
        return DoubleDouble(self.high.mT, self.low.mT)

    def __neg__(self) -> DoubleDouble:
        return DoubleDouble(-self.high, -self.low)

    def __add__(self, other: DoubleDouble | Tensor | float) -> DoubleDouble:
        other = DoubleDouble.of(other)
        s, e = two_sum(self.high, other.high)
        t, f = two_sum(self.low, other.low)
        s, e = fast_two_sum(s, e + t)
        return DoubleDouble(*fast_two_sum(s, e + f))

    def __sub__(self, other: DoubleDouble | Tensor | float) -> DoubleDouble:
        return self + (-DoubleDouble.of(other))

    def __mul__(self, other: DoubleDouble | Tensor | float) -> DoubleDouble:
        other = DoubleDouble.of(other)
        p, e = two_prod(self.high, other.high)
        return DoubleDouble(*fast_two_sum(p, e + (self.high * other.low + self.low * other.high)))

    def __truediv__(self, other: DoubleDouble | Tensor | float) -> DoubleDouble:
        """Return self / other, by long division with three digits of 53 bits."""
        other = DoubleDouble.of(other)
        first = self.high / other.high
        rest = self - other * first
        second = rest.high / other.high
        rest = rest - other * second
        third = rest.high / other.high
        return DoubleDouble(*fast_two_sum(first, second)) + third

    def sqrt(self) -> DoubleDouble:
        """Return the square root, NaN below 0: one Newton step on the float64 root."""
        root = self.high.sqrt()
        square = DoubleDouble(*two_prod(root, root))
        step = (self - square).high / (2.0 * root)
        return DoubleDouble(*fast_two_sum(root, torch.where(root == 0, 0.0, step)))

    def sum(self, dim: int) -> DoubleDouble:
        """Return the sums along one dimension, by halving, so that their order is fixed."""
        terms = DoubleDouble(self.high.movedim(dim, 0), self.low.movedim(dim, 0))
        while (count := len(terms)) > 1:
            half = count // 2
            paired = terms[:half] + terms[half : 2 * half]
            terms = concatenate(paired, terms[2 * half :])
        return terms[0] if len(terms) else DoubleDouble.of(terms.high.sum(0))


def round_ratios(numerators: list[int], denominator: int) -> DoubleDouble:
    """Round whole numbers over a common denominator above 0 to 106 bits, (count,)."""
    pairs = [_round_ratio(numerator, denominator) for numerator in numerators]
    return DoubleDouble(*torch.tensor(pairs, dtype=torch.float64).reshape(-1, 2).unbind(1))


def _round_ratio(numerator: int, denominator: int) -> tuple[float, float]:
    try:
        high = numerator / denominator  # Python rounds it correctly
    except OverflowError:
        return math.inf if numerator > 0 else -math.inf, 0.0
    p, q = high.as_integer_ratio()
    return high, (numerator * q - p * denominator) / (denominator * q)


# Formulas over Number are written once for 53 and for 106 bits.
Number = TypeVar("Number", Tensor, DoubleDouble)


def to_float64(value: Tensor | DoubleDouble) -> Tensor:
    """Return the number correctly rounded to one float64."""
    return value if isinstance(value, Tensor) else value.high


def as_precise_as(like: Number, value: DoubleDouble) -> Number:
    """Return the value in the precision of another number."""
    return value.high if isinstance(like, Tensor) else value


def concatenate(first: Number, second: Number) -> Number:
    """Return two arrays of numbers as one, along the first dimension."""
    if isinstance(first, Tensor):
        return torch.cat((first, second))
    high = torch.cat((first.high, second.high))
    return DoubleDouble(high, torch.cat((first.low, second.low)))


def power_of_two(exponent: Tensor) -> Tensor:
    """Return 2^exponent for int64 from -1022 to 1023; its bits are written, so it is exact."""
    return ((exponent + 1023) << 52).view(torch.float64)


def ldexp(value: Number, exponent: Tensor) -> Number:
    """Return value * 2^exponent, -2000 to 2000, rounded once and only where it is subnormal."""
    half = exponent >> 1  # 2^exponent itself may be out of range
    first, second = power_of_two(half), power_of_two(exponent - half)
    if isinstance(value, DoubleDouble):
        return DoubleDouble(value.high * first * second, value.low * first * second)
    return value * first * second


def exponent_of(value: Tensor) -> Tensor:
    """Return the smallest e with |value| < 2^e, as int64; -1022 for 0 and subnormal numbers."""
    return ((value.abs().contiguous().view(torch.int64) >> 52) & 2047) - 1022


def row_blocks(rows: int, columns: int) -> Iterator[slice]:
    """Divide the rows of a matrix into blocks for which the working memory is small."""
    size = 1 + _BLOCK_NUMBERS // (1 + columns)
    return (slice(start, min(start + size, rows)) for start in range(0, rows, size))
