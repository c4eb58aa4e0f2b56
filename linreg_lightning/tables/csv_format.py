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
        decimal: the decimal point.

    Raises:
        InputError: an argument is no such character, or both are the same.

    >>> CsvFormat(delimiter="tab").delimiter_character
    '\\t'
    """

    delimiter: str = ","
    decimal: str = "."

    def __post_init__(self) -> None:
        for name, value in (("delimiter", self.delimiter_character), ("decimal", self.decimal)):
            valid = bool(value) and len(value) == 1 and value not in '\r\n"' and value.isascii()
            check_argument(name, repr(value), valid, "one character of ASCII, or tab")
        if self.delimiter_character == self.decimal:
            text = f"decimal: {self.decimal!r} was given, which separates the columns too"
            raise InputError(f"{text}; type what does, such as delimiter ';'")

    @property
    def delimiter_character(self) -> str:
        """The character that separates the columns."""
        return "\t" if self.delimiter in ("tab", "\\t") else self.delimiter
