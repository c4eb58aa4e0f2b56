"""The levels of a column of categories: how many rows have each, their order, what is refused."""

import math
import warnings
from collections import Counter
from collections.abc import Collection

import pyarrow as pa
import pyarrow.compute as pc

from linreg_lightning.design_matrix.level_names import to_categories
from linreg_lightning.design_matrix.row_subset import RowBlock
from linreg_lightning.errors import InputError
from linreg_lightning.tables.csv_errors import not_a_number, with_other_remedies
from linreg_lightning.tables.csv_format import CsvFormat
from linreg_lightning.tables.dataset import TableDataset
from linreg_lightning.tables.date_text import refuse_dates
from linreg_lightning.tables.disguised_numbers import ColumnTexts
from linreg_lightning.tables.number_text import Place


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

    Unless the user has declared it to hold categories, numbers in disguise are refused. `remedy`
    says what to do where each row has another level.
    """

    def __init__(
        self,
        name: str,
        max_levels: int,
        dataset: TableDataset,
        is_declared: bool,
        remedy: str = "leave it out by exclude",
    ) -> None:
        self._name, self._max_levels = name, max_levels
        self._remedy = remedy
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
            raise no_value(self._name, self._remedy)
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
            raise InputError(f"column {self._name!r}: {text}; is it an identifier? {self._remedy}")

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
        remedy = f"is it an identifier? {self._remedy}, or raise max_levels"
        return InputError(f"column {self._name!r}: {text}; {remedy}")


def no_value(name: str, remedy: str = "leave it out by exclude") -> InputError:
    """Say that a column has nothing to learn from."""
    return InputError(f"column {name!r}: it holds no value in any row to train on; {remedy}")
