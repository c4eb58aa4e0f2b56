"""How the text of a CSV file is written."""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import final

from linreg_lightning.errors import InputError
from linreg_lightning.tables.date_text import is_date_format
from linreg_lightning.validation import check_argument


@final
@dataclass(frozen=True)
class CsvFormat:
    r"""What separates the columns of a CSV file, how its values are written, what is no row of it.

    Args:
        delimiter: one character of ASCII; `tab` is a tabulator.
        decimal: the decimal point; the same as the delimiter if such numbers are in quotes.
        thousands: what separates groups of three digits, one character; `space` stands for blanks
            of any width. None for nothing.
        percent: whether 3% is read as 0.03.
        currency: whether numbers may have the sign or code of a currency, such as $7.50, and (12)
            and 12- are read as -12.
        date_format: how dates are written that are not as in 2024-12-31, in codes of strptime; a
            column of dates has one of these formats.
        skip_rows: how many lines to skip before the header, or a list of the lines to skip, counted
            from 0, around the header: `[1]` skips a line of units below a header in the first line.
        skip_footer: how many lines to skip at the end.
        comment: the character that begins a comment, which ends with the line.
        na_values: what stands for a missing value, beside nothing, `NA`, `NaN`, `NULL`...; one text
            or number, or a list. A number matches each way to write it.

    Raises:
        InputError: an argument has another type or value, or two of them are the same character.

    >>> CsvFormat(delimiter="tab").delimiter_character
    '\t'
    """

    delimiter: str = ","
    decimal: str = "."
    skip_rows: int | Sequence[int] | None = field(default=None, hash=False)  # may be a list
    skip_footer: int | None = None
    comment: str | None = None
    na_values: str | float | Sequence[str | float] | None = field(default=None, hash=False)
    thousands: str | None = None
    percent: bool = False
    currency: bool = False
    date_format: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        characters = {"delimiter": self.delimiter_character, "decimal": self.decimal}
        if self.comment is not None:
            characters["comment"] = self.comment
        for name, value in characters.items():
            valid = bool(value) and len(value) == 1 and value not in '\r\n"' and value.isascii()
            remedy = "one character of ASCII" + (", or tab" if name == "delimiter" else "")
            check_argument(name, repr(value), valid, remedy)
        if self.comment in (self.delimiter_character, self.decimal):
            text = f"comment: {self.comment!r} was given, which is the delimiter or decimal too"
            raise InputError(f"{text}; type another character, or skip_rows for lines on top")
        numbers = [self.skip_rows] if isinstance(self.skip_rows, int) else self.skip_rows or []
        remedy = "how many lines, or a list of lines counted from 0"
        check_argument("skip_rows", repr(self.skip_rows), all(map(_is_count, numbers)), remedy)
        valid = self.skip_footer is None or _is_count(self.skip_footer)
        check_argument("skip_footer", repr(self.skip_footer), valid, "how many lines")
        self._check_markers()
        self._check_notation()

    def _check_markers(self) -> None:
        given = repr(self.na_values)
        valid = all(isinstance(each, str | int | float) for each in self._markers())
        check_argument("na_values", given, valid, "text, a number, or a list of them")
        if isinstance(self.na_values, str) and re.fullmatch(r"\[.*,.*\]", self.na_values):
            # A list without quotes, such as [?, -], is no YAML.
            texts = [text.strip(" '\"") for text in self.na_values.strip("[]").split(",")]
            raise InputError(f'na_values: {given} was given; type quotes in the list: "{texts}"')

    def _check_notation(self) -> None:
        for date_format in self.date_format:
            valid = isinstance(date_format, str) and is_date_format(date_format)
            expected = "codes of strptime with a year and a month, such as '%d/%m/%Y'"
            check_argument("date_format", repr(date_format), valid, expected)
        if self.thousands not in (None, "space"):
            mark = str(self.thousands)
            valid = len(mark) == 1 and not mark.isalnum() and mark not in '\r\n"+-\u2212()%'
            check_argument("thousands", repr(mark), valid, "one character such as ',', or space")
        if self.thousands == self.decimal:
            other = "," if self.decimal == "." else "."
            text = f"thousands: {self.thousands!r} was given, which is the decimal point too"
            raise InputError(f"{text}; type decimal {other!r}, or another thousands")

    @property
    def delimiter_character(self) -> str:
        """The character that separates the columns."""
        return "\t" if self.delimiter in ("tab", "\\t") else self.delimiter

    @property
    def has_notation(self) -> bool:
        """Whether numbers may be written as pyarrow does not read them."""
        return self.thousands is not None or self.percent or self.currency

    @property
    def skipped_lines(self) -> list[int]:
        """The lines that are no part of the table around its header, counted from 0."""
        skip = self.skip_rows or []
        return list(range(skip)) if isinstance(skip, int) else sorted(set(skip))

    @property
    def skips_chosen_lines(self) -> bool:
        """Whether the lines to skip are all that are no rows above the first one."""
        return self.skip_rows == 0 or not isinstance(self.skip_rows, int | None)

    @property
    def missing_texts(self) -> list[str]:
        """What `na_values` names, as text."""
        texts = []
        for each in self._markers():
            texts.append(str(each))
            if isinstance(each, float) and each.is_integer():
                texts.append(str(int(each)))
        return texts

    @property
    def missing_numbers(self) -> list[float]:
        """The numbers among what `na_values` names."""
        numbers = []
        for each in self._markers():
            with suppress(ValueError):
                numbers.append(float(each))
        return numbers

    def _markers(self) -> list[str | float]:
        if isinstance(self.na_values, list | tuple):
            return list(self.na_values)
        return [] if self.na_values is None else [self.na_values]  # type: ignore[list-item]


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
