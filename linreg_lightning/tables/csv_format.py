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
        decimal: the decimal point; the same as the delimiter if such numbers are in quotes.
        thousands: what separates groups of three digits, one character; `space` stands for blanks
            of any width. None for nothing.
        percent: whether 3% is read as 0.03.
        currency: whether numbers may have the sign or code of a currency, such as $7.50, and (12)
            and 12- are read as -12.
        date_format: how dates are written that are not as in 2024-12-31, in codes of strptime; a
            column of dates has one of these formats.

    Raises:
        InputError: an argument is no such character, or decimal and thousands are the same.

    >>> CsvFormat(delimiter="tab").delimiter_character
    '\t'
    """

    delimiter: str = ","
    decimal: str = "."
    thousands: str | None = None
    percent: bool = False
    currency: bool = False
    date_format: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, value in (("delimiter", self.delimiter_character), ("decimal", self.decimal)):
            valid = bool(value) and len(value) == 1 and value not in '\r\n"' and value.isascii()
            check_argument(name, repr(value), valid, "one character of ASCII, or tab")
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
