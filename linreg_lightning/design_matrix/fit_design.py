"""Fits the design: reads levels and means from the rows to train on."""

import math
import re
from collections import Counter
from collections.abc import Collection
from fractions import Fraction
from typing import Any, final

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from linreg_lightning.design_matrix.batch_builder import Missing
from linreg_lightning.design_matrix.column_roles import ColumnRoles
from linreg_lightning.design_matrix.dates import Dates, DateStatistics
from linreg_lightning.design_matrix.design import Design, to_categories
from linreg_lightning.design_matrix.row_subset import RowBlock, RowSubset
from linreg_lightning.errors import InputError
from linreg_lightning.frames import parse_numbers
from linreg_lightning.tables.csv import not_a_number
from linreg_lightning.tables.date_text import refuse_dates

_BLOCK_ROWS = 2**16
_HALF = 2**27
_IDENTIFIER_REMEDY = "is it an identifier? leave it out by exclude"
# As pyarrow reads numbers: with spaces and tabs around them, but no other blanks.
_NUMBER = re.compile(r"[ \t]*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?[ \t]*", re.ASCII)


def fit_design(
    subset: RowSubset,
    roles: ColumnRoles,
    declared: Collection[str],
    missing: Missing,
    max_levels: int,
    constant: bool,
    dates: Dates = "refuse",
) -> Design:
    """Fit the design to the rows to train on; reads only the columns that it needs.

    Categories that are `declared` may look like numbers. Where `missing` is `mean`, the design gets
    means; where it is `drop`, levels are those of complete rows.

    Raises:
        InputError: a column of categories has no level, too many, one for each row, or numbers
            among its text; a column has no value to take the mean of, or no date; no row is left.
    """
    dataset, wants_means, drops = subset.dataset, missing == "mean", missing == "drop"
    levels = {
        name: LevelCounts(
            name, max_levels, dataset.is_text and name not in declared, name in declared
        )
        for name in roles.categories
    }
    statistics = {name: DateStatistics(dates, dtype) for name, dtype in roles.dates.items()}
    others = [name for name in roles.features if name not in levels and name not in statistics]
    sums = {name: ExactSum() for name in others if wants_means}
    if levels or sums or statistics:
        # Complete rows are known only from all columns.
        read = [*levels, *sums, *statistics]
        needed = roles if drops else roles._replace(features=read, targets=[], by=None)
        needed._replace(features=[], categories=[]).check(dataset)
        rows = 0
        for block in subset.read(needed.types(dataset), _BLOCK_ROWS):
            block = block.select(roles.weight, complete=drops)
            rows += block.table.num_rows
            for counts in levels.values():
                counts.add(block, dataset.name)
            for name, total in sums.items():
                values = parse_numbers(block.table.column(name), name)
                total.add(values[np.isfinite(values)])
            for name, dated in statistics.items():
                dated.add(block.table.column(name))
        if not rows:
            raise _no_row(dataset.name, drops)
        for counts in levels.values():
            counts.check(rows, dataset.name)
        counted: dict[str, ExactSum | DateStatistics] = {**sums, **statistics}
        for name, values_of_column in counted.items():
            if not values_of_column.count:
                raise _no_value(name)
    means = {name: [total.mean] for name, total in sums.items()}
    if wants_means:
        means |= {name: counts.shares() for name, counts in levels.items()}
        means |= {name: dated.means() for name, dated in statistics.items()}
    sorted_levels = {name: counts.sorted() for name, counts in levels.items()}
    states = {name: dated.state() for name, dated in statistics.items()}
    return Design(roles.features, sorted_levels, means, constant, states)


def sort_levels(levels: Collection[str]) -> list[str]:
    """Return levels in the order of numbers if all of them are numbers, else of text.

    >>> sort_levels(["10", "9"]), sort_levels(["10", "9", "b"])
    (['9', '10'], ['10', '9', 'b'])
    """
    try:
        value = {level: float(level) for level in levels}
    except ValueError:
        return sorted(levels)
    if any(map(math.isnan, value.values())):
        return sorted(levels)  # NaN has no place among numbers
    return sorted(levels, key=lambda level: (value[level], level))


class LevelCounts:
    """How many rows have each level of a column; `is_guess`: only its text says it has any."""

    def __init__(
        self, name: str, max_levels: int, is_guess: bool, is_declared: bool = False
    ) -> None:
        self._name, self._max_levels, self._is_guess = name, max_levels, is_guess
        self._is_declared = is_declared
        self._rows: Counter[str] = Counter()
        # By whether it looks like a number: the first such level and its row.
        self._first: dict[bool, tuple[str, str]] = {}

    def add(self, block: RowBlock, file: str) -> None:
        """Count the levels of some rows; refuse too many, or numbers among text."""
        column = to_categories(block.table.column(self._name))
        new = []
        for item in pc.value_counts(column).to_pylist():
            level = item["values"]
            if level is None:
                continue
            if level not in self._rows:
                new.append(level)
            self._rows[level] += item["counts"]
        if self._is_guess:
            self._refuse_numbers(block, column, new, file)
        if len(self._rows) > self._max_levels:
            if not self._is_declared:
                refuse_dates(self._rows, file, self._name, self._is_guess)
            remedy = f"{_IDENTIFIER_REMEDY}, or raise max_levels"
            text = f"it has more than {self._max_levels} levels, such as {new[0]!r}"
            raise InputError(f"column {self._name!r}: {text}; {remedy}")

    def check(self, rows: int, file: str) -> None:
        """Refuse a column without a level, or with another one in each row, or of dates."""
        if not self._rows:
            raise _no_value(self._name)
        is_identifier = len(self._rows) == rows > 2
        if not self._is_declared:
            refuse_dates(self._rows, file, self._name, self._is_guess, warns=not is_identifier)
        if is_identifier:
            example = repr(self.sorted()[0])
            text = f"it has another level in each of the {rows} rows, such as {example}"
            raise InputError(f"column {self._name!r}: {text}; {_IDENTIFIER_REMEDY}")

    def sorted(self) -> list[str]:
        """Return the levels in the order of `sort_levels`."""
        return sort_levels(self._rows)

    def shares(self) -> list[float]:
        """Return the fraction of each level among the rows that have one."""
        return [self._rows[level] / self._rows.total() for level in self.sorted()]

    def _refuse_numbers(self, block: RowBlock, column: Any, new: list[str], file: str) -> None:
        """Refuse numbers and text in one column: nobody can tell a slip from a category."""
        for level in new:
            is_number = _NUMBER.fullmatch(level) is not None
            if is_number not in self._first:
                row = pc.index(column.dictionary_decode(), level).as_py()
                self._first[is_number] = level, block.row_name(row)
        if len(self._first) == 2:
            text, row_name = self._first[False]
            raise InputError(f"path: {file} {not_a_number(self._name, text, row_name)}")


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
    def mean(self) -> float:
        """The mean, rounded once."""
        return float(self._sum / self.count)


def _no_row(file: str, drops: bool) -> InputError:
    remedy = "lower val_fraction or test_fraction"
    if drops:
        remedy = "every one lacks a value; set missing to mean, or exclude what is empty"
    return InputError(f"path: {file} has no row left to train on; {remedy}")


def _no_value(name: str) -> InputError:
    reason = "it holds no value in any row to train on"
    return InputError(f"column {name!r}: {reason}; leave it out by exclude")
