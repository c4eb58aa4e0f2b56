"""A term of the design: how one column of a table becomes columns of x."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from linreg_lightning.design_matrix.column_values import Floats, Rows, categories
from linreg_lightning.design_matrix.column_values import numbers as numbers_of

_MISSING, _UNKNOWN = -1, -2


@dataclass(frozen=True)
class NumberTerm:
    """A column of numbers or booleans: one column of x.

    Attributes:
        column: its name.
        means: the mean that replaces a missing value; empty where none is replaced.
    """

    column: str
    means: Sequence[float] = ()

    @property
    def names(self) -> list[str]:
        """The columns of x."""
        return [self.column]

    def transform(self, values: Any, x: Floats) -> Rows:
        """Write a pyarrow array into the columns of x, (columns, rows), NaN for a missing value.

        Returns:
            The rows whose value is unknown.
        """
        x[0] = numbers_of(values)
        return np.empty(0, np.intp)


@dataclass(frozen=True)
class CategoryTerm:
    """A column of categories: a column of zeros and ones for each level, named `city[Paris]`.

    Attributes:
        column: its name.
        levels: in their order.
        first: the first level that has a column; those before it are the baseline.
        means: the share of each of these levels, which replaces a missing value.
    """

    column: str
    levels: Sequence[str]
    first: int
    means: Sequence[float] = ()

    @property
    def names(self) -> list[str]:
        """The columns of x."""
        return [f"{self.column}[{level}]" for level in self.levels[self.first :]]

    def transform(self, values: Any, x: Floats) -> Rows:
        """Write indicators, NaN for a missing value; return the rows with an unknown level."""
        code_of = {level: code for code, level in enumerate(self.levels)}
        values = categories(values)
        codes = [
            _MISSING if level is None else code_of.get(level, _UNKNOWN)
            for level in values.dictionary.to_pylist()
        ]
        # The last entry is for rows without a level.
        code = np.array([*codes, _MISSING])[values.indices.fill_null(len(codes)).to_numpy()]
        has_indicator = np.flatnonzero(code >= self.first)
        x.fill(0.0)
        x[code[has_indicator] - self.first, has_indicator] = 1.0
        x[:, code == _MISSING] = np.nan
        return np.flatnonzero(code == _UNKNOWN)


Term = NumberTerm | CategoryTerm
