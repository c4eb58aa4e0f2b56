"""How the text of a CSV file is written."""

from dataclasses import dataclass
from typing import final

from linreg_lightning.errors import InputError
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

    def __post_init__(self) -> None:
        for name, value in (("delimiter", self.delimiter_character), ("decimal", self.decimal)):
            valid = bool(value) and len(value) == 1 and value not in '\r\n"' and value.isascii()
            check_argument(name, repr(value), valid, "one character of ASCII, or tab")
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
