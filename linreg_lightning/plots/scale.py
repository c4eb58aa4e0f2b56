"""Numbers of any magnitude as readable text and axes."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class Scale(NamedTuple):
    """The power of ten by which the numbers of an axis are divided; its label names the power.

    matplotlib itself fails on ranges as small as 1e-300 and overflows in the margins of ranges near
    1e308. The exponent is a multiple of three; everyday numbers keep 0.

    >>> Scale.of([np.array([1.5e300, -2e299])])
    Scale(exponent=300)
    >>> Scale(300).label("price"), Scale(0).label("price")
    ('price (×10³⁰⁰)', 'price')
    """

    exponent: int

    @classmethod
    def of(cls, arrays: Iterable[Array]) -> Self:
        """Return the scale on which the largest finite magnitude is between 1 and 1000.

        Numbers of up to ten digits that differ only in their last digits are not scaled: 2000017 is
        easier to read than 2.000017.
        """
        finite = [array[np.isfinite(array)].ravel() for array in arrays]
        values = np.concatenate([*finite, []])
        largest = float(np.abs(values).max(initial=0.0))
        if largest == 0 or 1e-3 <= largest < 1e5:
            return cls(0)
        if largest < 1e10 and 0 < np.ptp(values) < 1e-3 * largest:
            return cls(0)
        return cls(3 * math.floor(math.log10(largest) / 3))

    def unless_tiny(self, arrays: Sequence[Array]) -> Self:
        """Return this scale, or the arrays' own where this one would make them tiny."""
        own = Scale.of([self.apply(values) for values in arrays])
        return self._replace(exponent=self.exponent + own.exponent)

    def apply(self, values: Array) -> Array:
        """Divide values by the power of ten."""
        return times_power(values, -self.exponent)

    def label(self, name: str) -> str:
        """Return the axis label: the name and, where there is one, the power of ten."""
        return f"{name} (×{power_of_ten(self.exponent)})" if self.exponent else name


def times_power(values: Array, exponent: int | NDArray[np.int64]) -> Array:
    """Multiply all or each column by 10^exponent, in two steps: it may be outside float64."""
    half = exponent // 2
    with np.errstate(over="ignore", under="ignore"):
        product: Array = values * 10.0**half * 10.0 ** (exponent - half)
    return product


def format_number(value: float, digits: int) -> str:
    """Write a number with significant digits, and a power of ten only for very long numbers.

    >>> format_number(-1234.567, 5), format_number(109767.4, 5), format_number(2.0112e21, 3)
    ('−1234.6', '109767', '2.01×10²¹')
    """
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    text = f"{mantissa}×{power_of_ten(int(exponent))}"
    if -5 < int(exponent) < 8:
        text = f"{value:.{max(digits - 1 - int(exponent), 0)}f}"
    return text.replace("-", "−")


def format_distinctly(values: Array) -> list[str]:
    """Write different numbers with three digits, or with as many as make all texts different."""
    candidates = ([format_number(v, digits) for v in values] for digits in range(3, 18))
    return next(texts for texts in candidates if len({*texts}) == len(texts))


def power_of_ten(exponent: int) -> str:
    """Write a power of ten, as in 10⁻³⁰⁰."""
    return f"10{str(exponent).translate(_SUPERSCRIPTS)}"
