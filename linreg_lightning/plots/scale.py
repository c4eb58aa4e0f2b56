"""Numbers of any magnitude on an axis that can be read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class Scale(NamedTuple):
    """A power of ten that an axis leaves to its label: 0 for everyday numbers.

    matplotlib itself gives up on ranges as small as 1e-300, and overflows on the margins of large
    ones.

    Attributes:
        exponent: a multiple of three.

    >>> Scale.of([np.array([1.5e300, -2e299])])
    Scale(exponent=300)
    >>> Scale(300).label("price"), Scale(0).label("price")
    ('price (×10³⁰⁰)', 'price')
    """

    exponent: int

    @classmethod
    def of(cls, values: Iterable[Array]) -> Scale:
        """The scale on which the largest finite magnitude is between 1 and 1000."""
        finite = [v[np.isfinite(v)] for v in values]
        most = max((float(np.abs(v).max()) for v in finite if v.size), default=0.0)
        if most == 0 or 1e-3 <= most < 1e5:
            return cls(0)
        return cls(3 * math.floor(math.log10(most) / 3))

    def unless_small(self, values: Sequence[Array]) -> Scale:
        """This one, so that axes can be compared; their own where this would make them tiny.

        >>> Scale(6).unless_small([np.array([2e4])]), Scale(6).unless_small([np.array([2.0])])
        (Scale(exponent=6), Scale(exponent=0))
        """
        return Scale(self.exponent + Scale.of([self.apply(v) for v in values]).exponent)

    def apply(self, values: Array) -> Array:
        """The numbers that stand on the axis."""
        return times_power(values, -self.exponent)

    def label(self, name: str) -> str:
        """What the axis is called."""
        return f"{name} (×{power(self.exponent)})" if self.exponent else name


def times_power(values: Array, exponent: int) -> Array:
    """Multiply by a power of ten that need not be a float64 itself; overflow gives infinity."""
    half = exponent // 2
    with np.errstate(over="ignore", under="ignore"):
        product: Array = values * 10.0**half * 10.0 ** (exponent - half)
    return product


def written(value: float, digits: int) -> str:
    """A number of so many digits, with a power of ten only where it would be long without.

    >>> written(-1234.567, 5), written(109767.4, 5), written(2.0112e21, 3)
    ('−1234.6', '109767', '2.01×10²¹')
    """
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    size = int(exponent)
    if -5 < size < 8:
        text = f"{value:.{max(digits - 1 - size, 0)}f}"
    else:
        text = f"{mantissa}×{power(size)}"
    return text.replace("-", "−")


def power(exponent: int) -> str:
    """A power of ten as text.

    >>> power(-300)
    '10⁻³⁰⁰'
    """
    return f"10{str(exponent).translate(_SUPERSCRIPTS)}"
