"""The design: what the columns of x are, fitted to the rows to train on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, final

import numpy as np

from linreg_lightning.design_matrix.column_values import Floats, Rows
from linreg_lightning.design_matrix.terms import CategoryTerm, NumberTerm, Term
from linreg_lightning.errors import InputError


@final
class Design:
    """The columns of x, one term after the other.

    A column of numbers or booleans is a column of x. A column of categories with levels
    l_0 < l_1 < ... is a column of zeros and ones for each level but the first, named `city[Paris]`;
    the coefficients compare the others to the first. Without a constant in the model the first such
    column keeps all its levels, as in R: together they make up the constant. A column of one level
    keeps it too, so that it stays visible, although it says nothing beside a constant.

    Args:
        features: the columns of the table, in the order of x.
        levels: of each column of categories, in their order.
        means: where missing values are filled in: of a column of numbers its mean, in a list of
            one; of a column of categories the share of each level.
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
        self.terms = [self._term(feature) for feature in features]
        self.names = [name for term in self.terms for name in term.names]
        """The columns of x."""
        self.sources = [term.column for term in self.terms for _ in term.names]
        """The column of the table that each column of x comes from."""
        repeated = [name for name, times in Counter(self.names).items() if times > 1]
        if repeated and levels:
            raise InputError(
                f"features: two columns of x would be named {min(repeated)!r}, one for a level; "
                "rename a column"
            )

    def _term(self, feature: str) -> Term:
        """Choose the term of a column."""
        means = self.means.get(feature, [])
        if feature not in self.levels:
            return NumberTerm(feature, means)
        levels = self.levels[feature]
        first_category = next(name for name in self.features if name in self.levels)
        keeps_all = len(levels) == 1 or (not self.constant and feature == first_category)
        first = 0 if keeps_all else 1
        return CategoryTerm(feature, levels, first, means[first:])

    def state(self) -> dict[str, Any]:
        """Return the arguments as plain strings, numbers and lists, for a checkpoint."""
        return {
            "features": list(self.features),
            "levels": {name: list(levels) for name, levels in self.levels.items()},
            "means": {name: list(means) for name, means in self.means.items()},
            "constant": self.constant,
        }

    def matrix(self, table: Any) -> tuple[Floats, dict[str, Rows]]:
        """Compute the design matrix, and find unknown levels.

        Args:
            table: a pyarrow record batch with the features.

        Returns:
            x transposed, (columns of x, rows), NaN for a missing value and 0 in all columns of an
            unknown level; and, by column of the table, the rows with an unknown level.
        """
        x = np.empty((len(self.names), table.num_rows))
        unknown = {}
        for term, columns in self._blocks(x):
            rows = term.transform(table.column(term.column), columns)
            if len(rows):
                unknown[term.column] = rows
        return x, unknown

    def fill(self, x: Floats) -> None:
        """Put the means where x, (columns of x, rows), is NaN."""
        for term, columns in self._blocks(x):
            for column, mean in zip(columns, term.means, strict=True):
                column[np.isnan(column)] = mean

    def _blocks(self, x: Floats) -> Iterator[tuple[Term, Floats]]:
        """Yield each term with its columns of x."""
        start = 0
        for term in self.terms:
            stop = start + len(term.names)
            yield term, x[start:stop]
            start = stop
