"""Sums without rounding: the same mean, to the last bit, however the rows are cut."""

from __future__ import annotations

from fractions import Fraction
from typing import final

import numpy as np
from numpy.typing import NDArray

_LOW = 2**27
_MANTISSA = 2.0**53


@final
class ExactSum:
    """A sum of float64 numbers, exact in any order and any grouping.

    Numbers are cut into whole mantissas, which are added up exponent by exponent.

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
        mantissa = (fraction * _MANTISSA).astype(np.int64)
        smallest = int(exponent.min())
        place = exponent - smallest
        # Sums of such halves stay below 2^53, where float64 is exact.
        high = np.bincount(place, mantissa // _LOW)
        low = np.bincount(place, mantissa % _LOW)
        for i in np.flatnonzero((high != 0) | (low != 0)).tolist():
            whole = int(high[i]) * _LOW + int(low[i])
            self._sum += whole * Fraction(2) ** (smallest + i - 53)

    @property
    def mean(self) -> float:
        """The mean, rounded once."""
        return float(self._sum / self.count)
