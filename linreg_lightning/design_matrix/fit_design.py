"""Fits the design: reads levels and means from the rows to train on."""

import math
import warnings
from collections import Counter
from collections.abc import Collection
from fractions import Fraction
from typing import final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from linreg_lightning.design_matrix.batch_builder import Missing
from linreg_lightning.design_matrix.column_roles import ColumnRoles
from linreg_lightning.design_matrix.dates import Dates, DateStatistics
from linreg_lightning.design_matrix.design import Design, to_categories
from linreg_lightning.design_matrix.row_counts import too_few_complete
from linreg_lightning.design_matrix.row_subset import RowBlock, RowSubset
from linreg_lightning.errors import InputError
from linreg_lightning.frames import parse_numbers
from linreg_lightning.tables.csv_errors import not_a_number, with_other_remedies
from linreg_lightning.tables.csv_format import CsvFormat
from linreg_lightning.tables.dataset import TableDataset
from linreg_lightning.tables.date_text import refuse_dates
from linreg_lightning.tables.disguised_numbers import ColumnTexts
from linreg_lightning.tables.number_text import Place

_BLOCK_ROWS = 2**16
_HALF = 2**27
_IDENTIFIER_REMEDY = "is it an identifier? leave it out by exclude"


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
        name: LevelCounts(name, max_levels, dataset, is_declared=name in declared)
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
                counts.add(block)
            for name, total in sums.items():
                values = parse_numbers(block.table.column(name), name)
                total.add(values[np.isfinite(values)])
            for name, dated in statistics.items():
                dated.add(block.table.column(name))
        if not rows:
            raise _no_row(subset, needed if drops else None)
        for counts in levels.values():
            counts.check(rows, "complete rows" if drops else "rows")
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
    """How many rows have each level of a column of a table.

    Unless the user has declared it to hold categories, numbers in disguise are refused.
    """

    def __init__(
        self, name: str, max_levels: int, dataset: TableDataset, is_declared: bool
    ) -> None:
        self._name, self._max_levels = name, max_levels
        self._file, self._is_csv = dataset.name, dataset.is_text
        # The options of CSV files do not count in others.
        csv_format = dataset.csv_format if self._is_csv else CsvFormat()
        self._texts = None if is_declared else ColumnTexts(csv_format)
        self._rows: Counter[str] = Counter()
        self._excess = ""  # a level beyond `max_levels`

    def add(self, block: RowBlock) -> None:
        """Count the levels of some rows; refuse too many, or numbers among text."""
        values = block.table.column(self._name)
        column = to_categories(values)
        if pa.types.is_dictionary(values.type) and not self._is_csv:
            self._texts = None  # a frame has made it categories
        new = []
        for item in pc.value_counts(column).to_pylist():
            level = item["values"]
            if level is None:
                continue
            if level not in self._rows:
                new.append(level)
            self._rows[level] += item["counts"]
        if self._texts is not None:
            texts = column.dictionary_decode()
            self._texts.add(new, lambda text: block.row_name(pc.index(texts, text).as_py()))
            self._refuse_mixture(self._texts)
        if len(self._rows) > self._max_levels:
            if self._texts is not None:
                refuse_dates(self._rows, self._file, self._name, self._is_csv)
            self._excess = new[0]
            if self._texts is None or not self._texts.may_be_numbers:
                raise self._too_many_levels()
            self._rows.clear()  # memory stays constant until all rows tell what the column is

    def check(self, rows: int, kind: str) -> None:
        """Refuse numbers or dates in disguise, and a column with no level or one in each row."""
        if not self._rows and not self._excess:
            raise _no_value(self._name)
        is_identifier = bool(self._excess) or len(self._rows) == rows > 2
        if self._texts is not None:
            if not self._excess:
                warns = not is_identifier
                refuse_dates(self._rows, self._file, self._name, self._is_csv, warns=warns)
            self._refuse_numbers(self._texts, is_identifier)
        if self._excess:
            raise self._too_many_levels()
        if is_identifier:
            example = repr(self.sorted()[0])
            text = f"it has another level in each of the {rows} {kind}, such as {example}"
            raise InputError(f"column {self._name!r}: {text}; {_IDENTIFIER_REMEDY}")

    def sorted(self) -> list[str]:
        """Return the levels in the order of `sort_levels`."""
        return sort_levels(self._rows)

    def shares(self) -> list[float]:
        """Return the fraction of each level among the rows that have one."""
        return [self._rows[level] / self._rows.total() for level in self.sorted()]

    def _refuse_mixture(self, texts: ColumnTexts) -> None:
        """Refuse numbers and text in one column: nobody can tell a slip from a category."""
        if self._is_csv and texts.plain and texts.other and not texts.may_be_numbers:
            place = texts.word or texts.other
            text = not_a_number(self._name, place.text, place.row)
            raise InputError(f"path: {self._file} {text}")

    def _refuse_numbers(self, texts: ColumnTexts, is_identifier: bool) -> None:
        """Refuse a column whose texts are numbers in some notation, or warn of plain ones."""
        name, remedy = self._name, None
        if self._is_csv and texts.stray_word:
            remedy = not_a_number(name, *texts.stray_word)
        elif self._is_csv or not texts.has_words:
            remedy = texts.advice(name, self._is_csv)
            remedy = remedy and with_other_remedies(remedy)
        are_plain = texts.other in (None, texts.word) and not texts.has_words
        if remedy is None and texts.plain and (are_plain or self._is_csv):
            remedy = self._describe_plain(texts.plain, texts.other, texts.markers)
            if not self._is_csv and not is_identifier:
                if not texts.is_padded:
                    warnings.warn(f"path: {self._file} {remedy}", stacklevel=2)
                return
        if remedy:
            raise InputError(f"path: {self._file} {remedy}")

    def _describe_plain(self, plain: Place, other: Place | None, markers: list[str]) -> str:
        """Say that a column of text holds plain numbers, all but for an `other` text."""
        name = self._name
        if other and self._is_csv:
            return not_a_number(name, *other)
        if self._is_csv:
            text = f"{plain.describe(name)}, and text in rows that are not trained on"
            return with_other_remedies(f"{text}; mend these")
        text = f"{plain.describe(name)}, a number as text, so that the column holds categories"
        column = f"df[{name!r}]" + (f".replace({markers}, None)" if markers else "")
        return f"{text}; convert it in pandas by {column}.astype(float), or name it in categorical"

    def _too_many_levels(self) -> InputError:
        text = f"it has more than {self._max_levels} levels, such as {self._excess!r}"
        remedy = f"{_IDENTIFIER_REMEDY}, or raise max_levels"
        return InputError(f"column {self._name!r}: {text}; {remedy}")


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


def _no_row(subset: RowSubset, dropped: ColumnRoles | None) -> InputError:
    """Say that no row is left; `dropped` are the columns without which a row was left out."""
    dataset = subset.dataset
    text = f"path: {dataset.name} has no row left to train on"
    if dropped is None:
        return InputError(f"{text}; lower val_fraction or test_fraction")
    rows, missing = 0, Counter[str]()
    for block in subset.read(dropped.types(dataset), _BLOCK_ROWS):
        rows += block.table.num_rows
        for name, column in zip(block.table.schema.names, block.table.columns, strict=True):
            missing[name] += pc.sum(column.is_null(nan_is_null=True)).as_py() or 0
    return InputError(f"{text}; {too_few_complete(rows, rows, missing, dropped.features)}")


def _no_value(name: str) -> InputError:
    reason = "it holds no value in any row to train on"
    return InputError(f"column {name!r}: {reason}; leave it out by exclude")
