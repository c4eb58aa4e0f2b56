"""106-bit arithmetic: a number is the unevaluated sum of two float64.

Every operation is a short sequence of single float64 additions, multiplications and divisions, each
rounded as IEEE 754 prescribes, so the result has the same bits on every device. No operation here
may be fused (`addcmul`, `alpha=`): a fused multiply-add rounds once where these sequences count on
rounding twice.

Sources: T. J. Dekker, A floating-point technique for extending the available precision, Numer.
Math. 18 (1971); D. E. Knuth, The Art of Computer Programming 2, 4.2.2; Y. Hida, X. S. Li,
D. H. Bailey, Algorithms for quad-double precision floating point arithmetic, ARITH-15 (2001).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

_SPLITTER = 2.0**27 + 1.0


def two_sum(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return `(s, e)` with s = fl(a + b) and s + e = a + b exactly (Knuth).

    Args:
        a: float64, any shape.
        b: float64, a shape that broadcasts with that of a.

    >>> s, e = two_sum(torch.tensor(2.0**53).double(), torch.tensor(1.0).double())
    >>> float(s) == 2.0**53, float(e)
    (True, 1.0)
    """
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def fast_two_sum(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return `(s, e)` as `two_sum` does, for |a| >= |b| or a = 0 (Dekker).

    Args:
        a: float64, any shape.
        b: float64, a shape that broadcasts with that of a.

    >>> s, e = fast_two_sum(torch.tensor(2.0**53).double(), torch.tensor(1.0).double())
    >>> float(s) == 2.0**53, float(e)
    (True, 1.0)
    """
    s = a + b
    return s, b - (s - a)


def split(a: Tensor) -> tuple[Tensor, Tensor]:
    """Return `(h, l)` with h + l = a exactly and at most 26 bits in each (Veltkamp).

    Args:
        a: float64, any shape, below 2^996 in magnitude.

    >>> h, l = split(torch.tensor(2.0**30 + 1, dtype=torch.float64))
    >>> float(h) == 2.0**30, float(l)
    (True, 1.0)
    """
    t = a * _SPLITTER
    h = t - (t - a)
    return h, a - h


def two_prod(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return `(p, e)` with p = fl(a b) and p + e = a b exactly (Dekker).

    Args:
        a: float64, any shape.
        b: float64, a shape that broadcasts with that of a. Exact while both stay below 2^996 and
            |a b| is 0 or between 2^-916 and 2^1022.

    >>> p, e = two_prod(*torch.tensor([2.0**30 + 1, 2.0**30 + 1], dtype=torch.float64))
    >>> float(p) == 2.0**60 + 2.0**31, float(e)
    (True, 1.0)
    """
    p = a * b
    (ah, al), (bh, bl) = split(a), split(b)
    return p, ((ah * bh - p) + ah * bl + al * bh) + al * bl


@dataclass(frozen=True, slots=True)
class DoubleDouble:
    """The number high + low, with high = fl(high + low): 106 bits.

    The four operations and the square root are right to about 2^-104 of the result, over the
    exponents where `two_prod` is exact. Shapes broadcast as those of tensors do.

    Attributes:
        high: the number rounded to float64, any shape.
        low: what the rounding left, of the same shape.

    >>> third = DoubleDouble.of(torch.tensor(1.0)) / 3.0
    >>> float((third * 3.0 - 1.0).high)
    0.0
    """

    high: Tensor
    low: Tensor

    @classmethod
    def of(cls, value: Tensor | float | DoubleDouble) -> DoubleDouble:
        """Return the value itself as a pair: low = 0 for a tensor or a float."""
        if isinstance(value, DoubleDouble):
            return value
        high = torch.as_tensor(value, dtype=torch.float64)
        return cls(high, torch.zeros_like(high))

    @property
    def shape(self) -> torch.Size:
        """The shape of both tensors."""
        return self.high.shape

    def __getitem__(self, index: Any) -> DoubleDouble:
        """Index both tensors."""
        return DoubleDouble(self.high[index], self.low[index])

    def __setitem__(self, index: Any, value: DoubleDouble) -> None:
        """Write into both tensors."""
        self.high[index] = value.high
        self.low[index] = value.low

    def __neg__(self) -> DoubleDouble:
        """Return -self."""
        return DoubleDouble(-self.high, -self.low)

    def __add__(self, other: DoubleDouble | Tensor | float) -> DoubleDouble:
        """Return self + other."""
        other = DoubleDouble.of(other)
        s, e = two_sum(self.high, other.high)
        t, f = two_sum(self.low, other.low)
        s, e = fast_two_sum(s, e + t)
        return DoubleDouble(*fast_two_sum(s, e + f))

    def __sub__(self, other: DoubleDouble | Tensor | float) -> DoubleDouble:
        """Return self - other."""
        return self + (-DoubleDouble.of(other))

    def __mul__(self, other: DoubleDouble | Tensor | float) -> DoubleDouble:
        """Return self * other."""
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
        exact_zero = root == 0
        return DoubleDouble(*fast_two_sum(root, torch.where(exact_zero, 0.0, step)))

    def sum(self, dim: int) -> DoubleDouble:
        """Return the sums along one dimension, by halving, so that their order is fixed."""
        terms = DoubleDouble(self.high.movedim(dim, 0), self.low.movedim(dim, 0))
        while (count := terms.shape[0]) > 1:
            half = count // 2
            paired = terms[:half] + terms[half : 2 * half]
            terms = joined(paired, terms[2 * half :])
        return terms[0] if terms.shape[0] else DoubleDouble.of(terms.high.sum(0))

    def ldexp(self, exponent: Tensor) -> DoubleDouble:
        """Return self * 2^exponent, exact unless the result leaves float64's range.

        Args:
            exponent: int64, a shape that broadcasts; from -2000 to 2000.
        """
        return DoubleDouble(ldexp(self.high, exponent), ldexp(self.low, exponent))


# A formula that reads the same for numbers of 53 and of 106 bits.
Number = TypeVar("Number", Tensor, DoubleDouble)


def rounded(value: Tensor | DoubleDouble) -> Tensor:
    """Return the number correctly rounded to one float64.

    >>> rounded(DoubleDouble.of(torch.tensor(0.5)))
    tensor(0.5000, dtype=torch.float64)
    """
    return value if isinstance(value, Tensor) else value.high


def power_of_two(exponent: Tensor) -> Tensor:
    """Return 2^exponent, exact on every device because its bits are written down.

    Args:
        exponent: int64, any shape, from -1022 to 1023.

    >>> power_of_two(torch.tensor([-1, 0, 10]))
    tensor([5.0000e-01, 1.0000e+00, 1.0240e+03], dtype=torch.float64)
    """
    return ((exponent + 1023) << 52).view(torch.float64)


def ldexp(value: Tensor, exponent: Tensor) -> Tensor:
    """Return value * 2^exponent for float64 values; rounded once, where the result is subnormal.

    Args:
        value: float64, any shape.
        exponent: int64, a shape that broadcasts with that of value; from -2000 to 2000.

    >>> ldexp(torch.tensor(3.0).double(), torch.tensor(-1))
    tensor(1.5000, dtype=torch.float64)
    """
    half = exponent >> 1  # 2^exponent itself may be out of range
    return (value * power_of_two(half)) * power_of_two(exponent - half)


def exponent_of(value: Tensor) -> Tensor:
    """Return the smallest e with |value| < 2^e, as int64; -1022 for 0 and subnormal numbers.

    Args:
        value: float64, finite, any shape.

    >>> exponent_of(torch.tensor([0.5, 1.0, -3.0]).double())
    tensor([0, 1, 2])
    """
    field = (value.abs().contiguous().view(torch.int64) >> 52) & 2047
    return field - 1022


def joined(first: Number, second: Number) -> Number:
    """Return two vectors of numbers as one, along the first dimension.

    >>> joined(torch.zeros(1), torch.ones(2))
    tensor([0., 1., 1.])
    """
    if isinstance(first, Tensor):
        return torch.cat((first, second))
    high = torch.cat((first.high, second.high))
    return DoubleDouble(high, torch.cat((first.low, second.low)))
