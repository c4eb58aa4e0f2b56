"""Numbers as people write them: thousands, percent, currency signs, negative ones in brackets.

A pattern of a `CsvFormat` says which texts it reads; Python's `re` and pyarrow's RE2 both take it.
"""

import re
from functools import lru_cache
from typing import Any, NamedTuple, final

import pyarrow as pa
import pyarrow.compute as pc

from linreg_lightning.frames import ROUNDED, may_be_rounded
from linreg_lightning.tables.csv_format import CsvFormat

BLANK = "[ \t\u00a0\u2007\u2009\u202f]"
MINUS = "\u2212\u2013-"  # of mathematics, a dash, and of ASCII, last in a class of characters
_SYMBOLS = "$\u00a2\u00a3\u00a5\u0e3f\u20a0-\u20bf"
# Codes of ISO 4217 for most of the world's trade, and common abbreviations, the longest first.
CURRENCY = (
    "(?:USD|EUR|GBP|JPY|CNY|CHF|AUD|CAD|NZD|SEK|NOK|DKK|ISK|PLN|CZK|HUF|RON|BGN|RUB|UAH|TRY|ILS|INR"
    "|PKR|BDT|LKR|NPR|IDR|MYR|SGD|HKD|TWD|KRW|THB|VND|PHP|BRL|MXN|ARS|CLP|COP|PEN|UYU|ZAR|NGN|KES"
    "|EGP|MAD|GHS|AED|SAR|QAR|KWD|BHD|OMR|IRR|KZT|RMB|DEM|FRF|ITL|ESP|US\\$|AU\\$|CA\\$|NZ\\$|HK\\$"
    f"|A\\$|C\\$|R\\$|S\\$|kr\\.?|z\u0142|K\u010d|Ft|Fr\\.?|Rs\\.?|lei|[{_SYMBOLS}])"
)
_CLASSES = {"space": BLANK, "'": "['\u2019]", "\u2019": "['\u2019]"}
_SPACES = " \u00a0\u2007\u2009\u202f"


class Place(NamedTuple):
    """A text, and the name of the row that has it."""

    text: str
    row: str

    def describe(self, column: str) -> str:
        """Begin a message about the text.

        >>> Place("3%", "row 1").describe("x")
        "has '3%' in column 'x', row 1"
        """
        return f"has {self.text!r} in column {column!r}, {self.row}"


class TextError(Exception):
    """A text that is no number, or a number that float64 would round, in a row from 0 on."""

    def __init__(self, column: str, row: int, text: str, reason: str = "") -> None:
        super().__init__(text)
        self.column, self.row, self.text, self.reason = column, row, text, reason


@lru_cache
def number_pattern(csv_format: CsvFormat) -> str:
    r"""Return a regular expression for the numbers of a format, with blanks around them or not.

    >>> pattern = number_pattern(CsvFormat(thousands=",", percent=True))
    >>> [bool(re.fullmatch(pattern, text)) for text in ("1,554.5", "12,34", "3%", "$3", "1.5e3")]
    [True, False, True, False, True]
    """
    point, group = re.escape(csv_format.decimal), _group_class(csv_format)
    whole = "[0-9]+"
    if group:
        # Groups of three digits, or, as in India, of two before the last one.
        last = f"{group}[0-9]{{3}}"
        groups = f"[1-9][0-9]{{0,2}}(?:{last})+|[1-9][0-9]?(?:{group}[0-9]{{2}})+{last}"
        whole = f"(?:{groups}|[0-9]+)"
    plain = f"(?:{whole}(?:{point}[0-9]*)?|{point}[0-9]+)"
    number = f"{plain}(?:[eE][+{MINUS}]?[0-9]+)?"
    if csv_format.percent:
        number = f"(?:{number}|{plain}{BLANK}*%|%{BLANK}*{plain})"
    if not csv_format.currency:
        return f"{BLANK}*[+{MINUS}]?{BLANK}*{number}{BLANK}*"
    before, after = f"(?:{CURRENCY}{BLANK}*)?", f"(?:{BLANK}*{CURRENCY})?"
    signed = f"(?:[+{MINUS}]{BLANK}*{before}|{before}(?:[+{MINUS}]{BLANK}*)?){number}{after}"
    trailing = f"{before}{number}{BLANK}*[{MINUS}]{after}|{before}{number}{after}[{MINUS}]"
    bracketed = f"{before}\\({BLANK}*{before}{number}{after}{BLANK}*\\){after}"
    nothing = f"{CURRENCY}{BLANK}*[{MINUS}]"  # which is how accounts write 0
    return f"{BLANK}*(?:{signed}|{trailing}|{bracketed}|{nothing}){BLANK}*"


def _group_class(csv_format: CsvFormat) -> str:
    """Return a regular expression for what separates thousands; empty for nothing."""
    thousands = csv_format.thousands
    if thousands is None:
        return ""
    thousands = "space" if thousands in _SPACES else thousands
    return _CLASSES.get(thousands, re.escape(thousands))


def currencies(text: str) -> set[str]:
    """Return the signs and codes of currencies in a text.

    >>> sorted(currencies("7,50 €") | currencies("CHF 3"))
    ['CHF', '€']
    """
    return set(re.findall(CURRENCY, text))


@final
class NumberParser:
    """Parses columns of text, and remembers which of them hold percentages and which currency.

    A number in a column of percentages, or an amount in another currency, would be off by a factor.
    Parsers that are given the same `habits` remember it together.
    """

    def __init__(
        self, csv_format: CsvFormat, habits: dict[tuple[str, str], tuple[str, str]] | None = None
    ) -> None:
        self.csv_format = csv_format
        self._habits = {} if habits is None else habits

    def reads(self, texts: Any) -> bool:
        """Whether all texts of a column that are not missing are numbers in this format."""
        pattern = self._whole_pattern()
        first = texts.drop_null().slice(0, 1)  # quick for a column of words
        return all(
            pc.all(pc.match_substring_regex(part, pattern)).as_py() for part in (first, texts)
        )

    def parse(self, name: str, texts: pa.Array) -> pa.Array:
        """Return the numbers of a column, each rounded once to float64; null stays null.

        Raises:
            TextError: a text is no number in this format; a whole number that float64 does not
                hold; a percentage among other numbers, or an amount in another currency.

        >>> format = CsvFormat(decimal=",", thousands=".", currency=True)
        >>> NumberParser(format).parse("price", pa.array(["1.554,25 €", "(7)"])).to_pylist()
        [1554.25, -7.0]
        """
        is_number = pc.match_substring_regex(texts, self._whole_pattern())
        for row in pc.indices_nonzero(pc.invert(is_number).fill_null(False)).to_pylist():
            raise TextError(name, row, texts[row].as_py())
        digits = self._digits(texts)
        if self.csv_format.percent:
            self._check_percent(name, texts)
            is_percent = pc.match_substring(texts, "%")
            factor = pc.if_else(is_percent, pa.scalar("e-2"), pa.scalar(""))
            digits = pc.binary_join_element_wise(digits, factor, "")
        if self.csv_format.currency:
            self._check_currencies(name, texts)
        numbers = digits.cast(pa.float64())
        if may_be_rounded(numbers):
            for row, text in enumerate(digits.to_pylist()):
                if (
                    text
                    and re.fullmatch(r"[+-]?\d{16,}", text)
                    and int(text) != numbers[row].as_py()
                ):
                    raise TextError(name, row, texts[row].as_py(), ROUNDED)
        return numbers

    def value(self, text: str) -> float:
        """Return the number that a text of this format stands for."""
        parser = NumberParser(self.csv_format)
        return float(parser.parse("", pa.array([text]))[0].as_py())

    def _whole_pattern(self) -> str:
        return f"^(?:{number_pattern(self.csv_format)})$"

    def _digits(self, texts: pa.Array) -> pa.Array:
        """Return the numbers in texts as pyarrow reads them, without percent signs."""
        csv_format = self.csv_format
        point, group = re.escape(csv_format.decimal), _group_class(csv_format)
        if csv_format.thousands and group == re.escape(csv_format.thousands):
            texts = pc.replace_substring(texts, csv_format.thousands, "")
        elif group:
            texts = pc.replace_substring_regex(texts, group, "")
        if csv_format.currency or csv_format.percent:
            texts = pc.replace_substring_regex(texts, CURRENCY, "")
            negative = f"^[^0-9{point}]*[({MINUS}]|[0-9{point}][^0-9]*[{MINUS}][^0-9]*$"
            is_negative = pc.match_substring_regex(texts, negative)
            texts = pc.replace_substring_regex(texts, f"^[^0-9{point}]+|[^0-9{point}]+$", "")
            is_negative = pc.and_(is_negative, pc.not_equal(texts, ""))
            texts = pc.if_else(pc.equal(texts, ""), pa.scalar("0"), texts)
            sign = pc.if_else(is_negative, pa.scalar("-"), pa.scalar(""))
            texts = pc.binary_join_element_wise(sign, texts, "")
        if csv_format.decimal != ".":
            texts = pc.replace_substring(texts, csv_format.decimal, ".")
        if not pc.all(pc.string_is_ascii(texts)).as_py() or _has_blank(texts):
            texts = pc.replace_substring_regex(texts, BLANK, "")
            texts = pc.replace_substring_regex(texts, f"[{MINUS}]", "-")
        return texts

    def _check_percent(self, name: str, texts: pa.Array) -> None:
        """Refuse percentages among other numbers than 0."""
        has_sign = pc.match_substring(texts, "%")
        is_zero = pc.invert(pc.match_substring_regex(texts, "[1-9]"))
        remedy = "write all of them with %, or all without"
        reason = f"a percentage, and {{!r}} is none; {remedy}"
        self._check_habit((name, "%"), texts, has_sign, "%", reason)
        reason = f"no percentage, and {{!r}} is one; {remedy}"
        self._check_habit((name, "%"), texts, pc.invert(pc.or_(has_sign, is_zero)), "", reason)

    def _check_currencies(self, name: str, texts: pa.Array) -> None:
        """Refuse amounts in two currencies."""
        without_digits = pc.replace_substring_regex(texts, "[0-9]", "")
        reason = "in another currency than {!r}; convert one of them"
        for rest in pc.unique(without_digits.drop_null()).to_pylist():
            if signs := " ".join(sorted(currencies(rest))):
                chosen = pc.equal(without_digits, rest)
                self._check_habit((name, "currency"), texts, chosen, signs, reason)

    def _check_habit(
        self, key: tuple[str, str], texts: pa.Array, chosen: pa.Array, habit: str, reason: str
    ) -> None:
        """Refuse the chosen texts if earlier ones of the column were written in another habit."""
        rows = pc.indices_nonzero(chosen.fill_null(False))
        if len(rows):
            row = rows[0].as_py()
            text = texts[row].as_py()
            first_habit, first_text = self._habits.setdefault(key, (habit, text))
            if habit != first_habit:
                raise TextError(key[0], row, text, reason.format(first_text))


def _has_blank(texts: pa.Array) -> bool:
    return bool(pc.any(pc.match_substring_regex(texts, "[ \t]")).as_py())
