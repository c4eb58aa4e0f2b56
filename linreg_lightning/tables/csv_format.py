"""How the text of a CSV file is written."""

from dataclasses import dataclass
from typing import final

from linreg_lightning.errors import InputError
from linreg_lightning.tables.date_text import is_date_format
from linreg_lightning.validation import check_argument


@final
@dataclass(frozen=True)
class CsvFormat:
    r"""What separates the columns of a CSV file, and how its numbers are written.

    Args:
        delimiter: one character of ASCII; `tab` is a tabulator.
        decimal: the decimal point.
        date_format: how dates are written that are not as in 2024-12-31, in codes of strptime; a
            column of dates has one of these formats.

    Raises:
        InputError: an argument is no such character, or both are the same; a format has no year.

    >>> CsvFormat(delimiter="tab").delimiter_character
    '\\t'
    """

    delimiter: str = ","
    decimal: str = "."
    date_format: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, value in (("delimiter", self.delimiter_character), ("decimal", self.decimal)):
            valid = bool(value) and len(value) == 1 and value not in '\r\n"' and value.isascii()
            check_argument(name, repr(value), valid, "one character of ASCII, or tab")
        for date_format in self.date_format:
            valid = isinstance(date_format, str) and is_date_format(date_format)
            expected = "codes of strptime with a year and a month, such as '%d/%m/%Y'"
            check_argument("date_format", repr(date_format), valid, expected)
        if self.delimiter_character == self.decimal:
            text = f"decimal: {self.decimal!r} was given, which separates the columns too"
            raise InputError(f"{text}; type what does, such as delimiter ';'")

    @property
    def delimiter_character(self) -> str:
        """The character that separates the columns."""
        return "\t" if self.delimiter in ("tab", "\\t") else self.delimiter
