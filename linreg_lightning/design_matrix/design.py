"""From columns to x: numbers as they are, categories as indicators."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from linreg_lightning.errors import InputError

Floats = NDArray[np.float64]


@final
class Design:
    """What the columns of x are, learned from the rows to train on.

    A column of numbers or booleans is a column of x. A category column with levels l_0 < l_1 < ..
    is one of zeros and ones for each level but the first, named `city[Paris]`; the first is what
    the others are compared to. Without a constant in the model the first such column keeps all its
    levels, as in R: together they make up the constant. So does a column of one level, which says
    nothing beside a constant, but is not to be lost from sight.

    Args:
        features: the columns, in the order of x.
        levels: of each category column, in their order.
        means: where missing values are filled in: the mean of each column of numbers, in a list of
            one, and the share of each level of a category column.
        constant: whether there is a constant beside x.

    Raises:
        InputError: two columns of x would have the same name.

    >>> Design(["area", "city"], {"city": ["Oslo", "Paris", "Rome"]}).names
    ['area', 'city[Paris]', 'city[Rome]']
    """

    def __init__(
        self,
        features: list[str],
        levels: Mapping[str, list[str]] | None = None,
        means: Mapping[str, list[float]] | None = None,
        constant: bool = True,
    ) -> None:
        self.features = features
        self.levels = dict(levels or {})
        self.means = dict(means or {})
        self.constant = constant
        count = Counter(self.names)
        repeated = {name for name in count if count[name] > 1} if levels else ()
        if repeated:
            raise InputError(
                f"features: two columns of x would be named {min(repeated)!r}, one for a level; "
                "rename a column"
            )

    @property
    def names(self) -> list[str]:
        """The columns of x."""
        return [name for feature in self.features for name in self._names_of(feature)]

    def state(self) -> dict[str, Any]:
        """All of it, as plain strings, numbers and lists."""
        return {
            "features": list(self.features),
            "levels": {name: list(levels) for name, levels in self.levels.items()},
            "means": {name: list(means) for name, means in self.means.items()},
            "constant": self.constant,
        }

    @property
    def columns(self) -> list[str]:
        """The column that each column of x is made of."""
        return [feature for feature in self.features for _ in self._names_of(feature)]

    def matrix(self, table: Any) -> tuple[Floats, dict[str, NDArray[np.intp]]]:
        """The columns of x, one behind the other in memory, and where levels are unknown.

        Args:
            table: a pyarrow record batch.

        Returns:
            (columns of x, rows), NaN for a value that is missing, and 0 in all columns of a level
            that is unknown; and for each column with such levels their rows.
        """
        x = np.empty((len(self.names), table.num_rows))
        unknown: dict[str, NDArray[np.intp]] = {}
        place = 0
        for feature in self.features:
            if feature not in self.levels:
                x[place] = numbers(table.column(feature))
                place += 1
                continue
            indicators = x[place : place + len(self._names_of(feature))]
            code = self._codes(feature, table.column(feature))
            present = np.flatnonzero(code >= self._first(feature))
            indicators.fill(0.0)
            indicators[code[present] - self._first(feature), present] = 1.0
            indicators[:, code == _MISSING] = np.nan
            strange = np.flatnonzero(code == _UNKNOWN)
            if len(strange):
                unknown[feature] = strange
            place += len(indicators)
        return x, unknown

    def fill(self, x: Floats) -> None:
        """Put the means where x, (columns of x, rows), is NaN."""
        means = [
            mean
            for feature in self.features
            for mean in self.means[feature][self._first(feature) :]
        ]
        for column, mean in zip(x, means, strict=True):
            column[np.isnan(column)] = mean

    def _names_of(self, feature: str) -> list[str]:
        if feature not in self.levels:
            return [feature]
        return [f"{feature}[{level}]" for level in self.levels[feature][self._first(feature) :]]

    def _first(self, feature: str) -> int:
        """The first level that has a column; 0 for numbers."""
        if feature not in self.levels:
            return 0
        keeps_all = not self.constant and feature == next(
            name for name in self.features if name in self.levels
        )
        return 0 if keeps_all or len(self.levels[feature]) == 1 else 1

    def _codes(self, feature: str, column: Any) -> NDArray[np.int64]:
        """The number of each row's level."""
        known = {level: i for i, level in enumerate(self.levels[feature])}
        values = categories(column)
        code_of = [
            _MISSING if level is None else known.get(level, _UNKNOWN)
            for level in values.dictionary.to_pylist()
        ]
        code_of.append(_MISSING)
        codes: NDArray[np.int64] = np.array(code_of, np.int64)[
            _filled(values.indices, len(code_of) - 1)
        ]
        return codes


_MISSING, _UNKNOWN = -1, -2


def numbers(column: Any) -> Floats:
    """The values of a pyarrow array as float64, NaN where they are missing.

    Text is read as numbers.

    Raises:
        pa.ArrowInvalid: a text is no number.
    """
    types = pa.types
    type_ = column.type
    if types.is_dictionary(type_):
        column = column.dictionary_decode()
        type_ = column.type
    if types.is_string(type_) or types.is_large_string(type_):
        column = pc.utf8_trim_whitespace(column)
    if not types.is_float64(type_):
        column = column.cast(pa.float64(), safe=False)
    return np.asarray(_filled(column, math.nan), np.float64)


def _filled(column: Any, value: float) -> NDArray[Any]:
    """A pyarrow array of numbers, with a value where they are missing."""
    filled: NDArray[Any] = column.fill_null(value).to_numpy(zero_copy_only=False)
    return filled


def categories(column: Any) -> Any:
    """The values of a pyarrow array as a dictionary array of strings."""
    if pa.types.is_dictionary(column.type):
        strings = column.dictionary.cast(pa.string())
        return pa.DictionaryArray.from_arrays(column.indices, strings)
    if pa.types.is_floating(column.type):
        # What is no number is a missing value, as in a column of numbers.
        nothing = pa.scalar(None, column.type)
        column = pc.if_else(pc.is_nan(column), nothing, column)
    if not pa.types.is_string(column.type):
        column = column.cast(pa.string())
    return column.dictionary_encode()


def in_order(levels: set[str]) -> list[str]:
    """Levels sorted: as numbers if all are, else as text.

    >>> in_order({"10", "9", "1"}), in_order({"b", "10", "a"}), in_order({"9", "nan", "10"})
    (['1', '9', '10'], ['10', 'a', 'b'], ['10', '9', 'nan'])
    """
    try:
        value = {level: float(level) for level in levels}
    except ValueError:
        return sorted(levels)
    if any(map(math.isnan, value.values())):
        return sorted(levels)  # what is no number has no place among them
    return sorted(levels, key=lambda level: (value[level], level))
