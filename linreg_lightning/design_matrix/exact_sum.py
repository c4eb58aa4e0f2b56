"""Sums of float64 numbers without rounding."""

from fractions import Fraction
from typing import final

import numpy as np
from numpy.typing import NDArray

_HALF = 2**27


@final
class ExactSum:
    """A sum of float64 numbers without rounding, whose mean has the same bits in any order.

    Each number is a whole mantissa times a power of 2; mantissas are added up power by power.

    >>> total = ExactSum()
    >>> for part in ([1e16, 1.0], [-1e16]):
    ...     total.add(np.array(part))
    >>> total.mean
    0.3333333333333333
    """

    def __init__(self) -> None:
        self.count = 0
        self._sum = Fraction(0)

    def add(self, values: NDArray[np.float64]) -> None:
        """Add finite numbers, at most 2^25 at a time."""
        if not len(values):
            return
        self.count += len(values)
        fraction, exponent = np.frexp(values)
        mantissa = (fraction * 2.0**53).astype(np.int64)
        smallest = int(exponent.min())
        power = exponent - smallest
        # Sums of half mantissas stay below 2^53, where float64 is exact.
        high = np.bincount(power, mantissa // _HALF)
        low = np.bincount(power, mantissa % _HALF)
        for i in np.flatnonzero((high != 0) | (low != 0)).tolist():
            total = int(high[i]) * _HALF + int(low[i])
            self._sum += total * Fraction(2) ** (smallest + i - 53)

    @property
    def total(self) -> float:
        """The sum, rounded once."""
        return float(self._sum)

    @property
    def mean(self) -> float:
        """The mean, rounded once."""
        return float(self._sum / self.count)
