"""The design: what the columns of x are, fitted to the rows to train on."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self, final

import numpy as np

from linreg_lightning.design_matrix.dates import DateTerm, PartsTerm, date_term, fitted_type
from linreg_lightning.design_matrix.formula_matrix import CategorySource, FormulaMatrix
from linreg_lightning.design_matrix.level_names import (
    MISSING,
    UNKNOWN,
    RowNumbers,
    level_numbers,
)
from linreg_lightning.errors import InputError
from linreg_lightning.frames import Floats, parse_numbers


class NumberTerm:
    """A column of numbers or booleans: one column of x."""

    def __init__(self, column: str) -> None:
        self.column, self.base = column, None
        self.names = [column]

    def transform(self, values: Any, out: Floats) -> RowNumbers:
        """Write the numbers into `out`, (1, rows), NaN where one is missing; return no row."""
        out[0] = parse_numbers(values, self.column)
        return np.empty(0, np.intp)

    def column_means(self, means: list[float]) -> list[float]:
        """Return the mean of each column of x."""
        return means


class CategoryTerm:
    """A column of categories: zeros and ones for each level from number `first` on, 0 or 1."""

    def __init__(self, column: str, levels: Sequence[str], first: int) -> None:
        self.column, self.levels, self.first = column, levels, first
        self.base = levels[0] if first else None
        """The level that the others are compared to."""
        self.names = [f"{column}[{level}]" for level in levels[first:]]

    def transform(self, values: Any, out: Floats) -> RowNumbers:
        """Write indicators, NaN where a value is missing; return rows with an unknown level."""
        level_of_row = level_numbers(values, self.levels)
        has_indicator = np.flatnonzero(level_of_row >= self.first)
        out.fill(0.0)
        out[level_of_row[has_indicator] - self.first, has_indicator] = 1.0
        out[:, level_of_row == MISSING] = np.nan
        return np.flatnonzero(level_of_row == UNKNOWN)

    def column_means(self, means: list[float]) -> list[float]:
        """Return the mean of each column of x; the first level may have none."""
        return means[self.first :]


@final
@dataclass
class Design:
    """The columns of x, one term after the other.

    A column of numbers or booleans is a column of x. A column of categories gives an indicator,
    a column of zeros and ones named `city[Paris]`, for each level but the first, to which the
    coefficients compare the others.

    >>> Design(["area", "city"], {"city": ["Oslo", "Paris", "Rome"]}).names
    ['area', 'city[Paris]', 'city[Rome]']

    Without a constant in the model, the first column of categories keeps its first level, as in R:
    its indicators add up to the constant. A column with a single level keeps it, to stay visible.

    >>> levels = {"city": ["Oslo", "Rome"], "fuel": ["gas", "oil"]}
    >>> Design(["city", "fuel"], levels, constant=False).names
    ['city[Oslo]', 'city[Rome]', 'fuel[oil]']
    >>> Design(["city"], {"city": ["Oslo"]}).names
    ['city[Oslo]']

    A column of dates gives either the days since the first date, or its year, a number, with
    indicators of months, weekdays and hours, without the first of each:

    >>> parts = {"zone": None, "month": [1, 2, 3], "weekday": [0, 1], "hour": []}
    >>> Design(["sold"], dates={"sold": parts}).names
    ['sold[year]', 'sold[month=2]', 'sold[month=3]', 'sold[weekday=Tue]']
    >>> Design(["sold"], dates={"sold": {"zone": None, "first": [19723, 0]}}).names
    ['sold[days]']

    Args:
        features: the columns of the table, in the order of x.
        levels: for each column of categories, its levels; the first one is left out.
        means: what replaces a missing value, by column: the mean of numbers, in a list of one, or
            the fraction of the rows to train on that each level has; of dates, the mean of the
            days, or of the year and then all fractions. Empty if nothing does.
        constant: whether the model has a constant beside x.
        dates: for each column of dates, what `DateStatistics` has learned of it.
        classes: the levels of the target, if it is a category: y is the number of a row's level.
        formula: what was learned of the terms of a formula; they are the columns of x, and
            `features` are the columns of the table that they need.
        options: the arguments of `FrameReader` that a subclass of `TabularData` has fixed.

    Raises:
        InputError: a column and an indicator would have the same name.
    """

    features: list[str]
    levels: dict[str, list[str]] = field(default_factory=dict)
    means: dict[str, list[float]] = field(default_factory=dict)
    constant: bool = True
    dates: dict[str, dict[str, Any]] = field(default_factory=dict)
    classes: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict, compare=False)
    formula: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.formula_matrix: FormulaMatrix | None = None
        self.terms: list[NumberTerm | CategoryTerm | DateTerm | CategorySource]
        if self.formula:
            self.formula_matrix = FormulaMatrix(self.formula)
            self.terms = [*self.formula_matrix.categories]
            self.names, self.sources = self.formula_matrix.names, self.formula_matrix.sources
            return
        self.terms = [self._term(feature) for feature in self.features]
        self.names = [name for term in self.terms for name in term.names]
        """The columns of x."""
        self.sources = [term.column for term in self.terms for _ in term.names]
        """The column of the table that each column of x comes from."""
        repeated = [name for name, times in Counter(self.names).items() if times > 1]
        if repeated and (self.levels or self.dates):
            text = f"two columns of x would be named {min(repeated)!r}, one for a level or a date"
            raise InputError(f"features: {text}; rename a column")

    def _term(self, feature: str) -> NumberTerm | CategoryTerm | DateTerm:
        has_levels = {
            *self.levels,
            *(name for name in self.dates if "first" not in self.dates[name]),
        }
        first_category = next((name for name in self.features if name in has_levels), None)
        keeps_all = not self.constant and feature == first_category
        if feature in self.dates:
            return date_term(feature, self.dates[feature], keeps_all)
        if feature not in self.levels:
            return NumberTerm(feature)
        levels = self.levels[feature]
        return CategoryTerm(feature, levels, first=0 if keeps_all or len(levels) == 1 else 1)

    def date_types(self) -> dict[str, Any]:
        """Return the pyarrow type of dates or times that each column of dates was fitted on."""
        return {name: fitted_type(state) for name, state in self.dates.items()}

    @classmethod
    def from_state(cls, state: Any) -> Self:
        """Return the design that a checkpoint holds; raise InputError if it is none."""
        try:
            return cls(**state)
        except TypeError:
            text = f"design: {state} was given; it comes with a checkpoint: leave it out"
            raise InputError(text) from None

    def state(self) -> dict[str, Any]:
        """Return the arguments as plain strings, numbers and lists, for a checkpoint."""
        return asdict(self)

    def matrix(self, table: Any) -> tuple[Floats, dict[str, RowNumbers]]:
        """Compute the design matrix of a pyarrow record batch, and find unknown levels.

        Returns:
            x transposed, (columns of x, rows), NaN for a missing value and 0 in all columns of an
            unknown level; and, by column of the table, the rows with an unknown level.
        """
        if self.formula_matrix is not None:
            return self.formula_matrix.matrix(table)
        x = np.empty((len(self.names), table.num_rows))
        unknown, start = {}, 0
        for term in self.terms:
            assert not isinstance(term, CategorySource)
            stop = start + len(term.names)
            rows = term.transform(table.column(term.column), x[start:stop])
            if len(rows):
                unknown[term.column] = rows
            start = stop
        return x, unknown

    def class_numbers(self, column: Any) -> tuple[Floats, RowNumbers]:
        """Return the number of each row's class, NaN if it is missing, and rows of unknown classes.

        >>> import pyarrow as pa
        >>> Design([], classes=["cat", "dog"]).class_numbers(pa.array(["dog", None, "cow", "cat"]))
        (array([ 1., nan,  0.,  0.]), array([2]))
        """
        numbers = level_numbers(column, self.classes)
        missing, unknown = numbers == MISSING, numbers == UNKNOWN
        values: Floats = np.where(missing, np.nan, np.where(unknown, 0, numbers))
        return values, np.flatnonzero(unknown)

    def unseen_value(self, name: str, column: Any, row: int) -> str:
        """Describe a value of a column of the table that `matrix` found to be unknown."""
        term = next(term for term in self.terms if term.column == name)
        if isinstance(term, PartsTerm):
            return term.unseen_value(column.slice(row, 1))
        return repr(column[row].as_py())

    def fill(self, x: Floats) -> None:
        """Put the means where x, (columns of x, rows), is NaN; raise InputError without means."""
        self.check_means()
        means: list[float] = []
        for term in self.terms:
            assert not isinstance(term, CategorySource)  # formulas have no means
            means += term.column_means(self.means[term.column])
        for column, mean in zip(x, means, strict=True):
            column[np.isnan(column)] = mean

    def check_means(self) -> None:
        """Raise InputError if the fit has learned no means."""
        if self.features and not self.means:
            text = "missing: mean was given, but the fit has learned no means"
            remedy = "type error or drop, or set missing to mean in the fit"
            raise InputError(f"{text}; {remedy}")
