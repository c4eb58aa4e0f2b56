"""Recognises columns of text that are numbers in some notation, and says how to read them."""

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache
from typing import Any, final

import pyarrow.compute as pc

from linreg_lightning.tables.csv_format import CsvFormat
from linreg_lightning.tables.csv_layout import is_marker
from linreg_lightning.tables.number_text import (
    MINUS,
    NumberParser,
    Place,
    currencies,
    number_pattern,
)
from linreg_lightning.tables.truth_words import TruthWords
from linreg_lightning.tables.units import Units

_MAX_MARKERS = 5
_READINGS = [
    CsvFormat(";", decimal, thousands=thousands, percent=True, currency=True)
    for decimal in ".,"
    for thousands in (None, ",", ".", "space", "'", "_")
    if thousands != decimal
]
_FRACTION = re.compile(rf"\s*[+{MINUS}]?(?:[0-9]+\s+)?[0-9]+/[0-9]+\s*")


@final
class ColumnTexts:
    """What the texts of a column, added one after the other, have in common.

    >>> texts = ColumnTexts(CsvFormat())
    >>> texts.add(["3%", "4.5%"], lambda text: "row 1")
    >>> texts.advice("x")
    "has '3%' in column 'x', row 1, and the column holds numbers with %; type percent true, which \
reads it as 0.03"
    """

    def __init__(self, csv_format: CsvFormat) -> None:
        self._format = csv_format
        self._readings, self._has_fraction, self._units = _READINGS, True, Units()
        self.plain: Place | None = None
        """The first number that the format reads."""
        self.other: Place | None = None
        """The first text that the format does not read."""
        self.word: Place | None = None
        """The first text without a digit."""
        self.markers: list[str] = []
        """Texts without a digit that people write for a missing value."""
        self.has_words = False
        """Whether there are other texts without a digit."""
        self.is_padded = False
        """Whether a number begins with a needless 0, as codes do."""
        self._number: Place | None = None
        self._separated: Place | None = None  # the first number with a separator in it
        self._negative: Place | None = None  # the first one with brackets or a minus at its end
        self._has_dash = False
        self._percent: dict[bool, Place] = {}
        self._currency: dict[str, Place] = {}
        self._truth = TruthWords()

    def add(self, texts: Iterable[str], row_name: Callable[[str], str]) -> None:
        """Add texts; `row_name` names a row that has a text, and is called for few of them."""
        for text in texts:

            def place(text: str = text) -> Place:
                return Place(text, row_name(text))

            if _compile(self._format).fullmatch(text):
                self.plain = self.plain or place()
            else:
                self.other = self.other or place()
            self._truth.add(text, place)
            if not (re.search("[0-9]", text) or currencies(text)):
                self.word = self.word or place()
                if text.strip() and not is_marker(text):
                    self.has_words = True
                elif len(self.markers) < _MAX_MARKERS:
                    self.markers.append(text)
                continue
            self._number = self._number or place()
            self._add_number(text, place)
            self._units.add(text, place)
            if self._has_fraction and not _FRACTION.fullmatch(text):
                self._has_fraction = _compile(self._format).fullmatch(text) is not None

    def add_column(self, column: Any, row_name: Callable[[int], str]) -> None:
        """Add the texts of an Arrow array; `row_name` names a row by its place, from 0 on."""
        texts = pc.unique(column).drop_null().to_pylist()
        self.add(texts, lambda text: row_name(pc.index(column, text).as_py()))

    def _add_number(self, text: str, place: Callable[[], Place]) -> None:
        self.is_padded = self.is_padded or re.match(r"\s*0[0-9]", text) is not None
        self._readings = [r for r in self._readings if _compile(r).fullmatch(text)]
        if not self._readings:
            return
        if self._separated is None and re.search(r"[0-9][^0-9eE]+[0-9]", text):
            self._separated = place()
        has_percent = "%" in text
        if has_percent not in self._percent and (has_percent or re.search("[1-9]", text)):
            self._percent[has_percent] = place()
        signs = " ".join(sorted(currencies(text)))
        if signs and signs not in self._currency:
            self._currency[signs] = place()
        self._has_dash = self._has_dash or re.search("[\u2212\u2013]", text) is not None
        if self._negative is None and re.search(rf"\(|[0-9][^0-9]*[{MINUS}][^0-9]*$", text):
            self._negative = place()

    @property
    def may_be_numbers(self) -> bool:
        """Whether there are texts, all of which may be numbers in one notation or with a unit."""
        is_open = bool(self._readings) or self._units.fit
        return self._number is not None and is_open and self.word is None

    @property
    def stray_word(self) -> Place | None:
        """A text without a digit among numbers in disguise."""
        is_disguised = self._number is not None and bool(self._readings) and self._disguised()
        return self.word if is_disguised else None

    def advice(self, name: str, is_csv: bool = True) -> str | None:
        """Say how to read the column, or what hinders it; None if its texts are no numbers.

        Words without a digit do not count as long as the others are numbers. Options are for CSV
        files; a column of another table has to be converted.
        """
        if self._number is not None and self._readings:
            return self._conflict(name) or self._options(name, is_csv)
        if self.word is None and self._number is not None:
            if advice := self._units.advice(name):
                return advice
            if self._has_fraction and self.other is not None:
                text = f"{self.other.describe(name)}, and the column holds fractions or dates"
                return f"{text}; write fractions as decimal numbers"
        return self._truth.advice(name)

    def conversion(self, name: str) -> str:
        """Return an expression that converts the column of a pandas frame, or two to choose from.

        >>> texts = ColumnTexts(CsvFormat())
        >>> texts.add(["3%", "4.5%"], lambda text: "row 1")
        >>> texts.conversion("x")
        "df['x'].str.replace('[^-.0-9]', '', regex=True).astype(float) / 100 (4.5% becomes 0.045)"
        """
        place = self._separated or self._disguised() or self._number
        assert place is not None
        lines = []
        for choice in self._choices():
            line = f"df[{name!r}]"
            if self.markers:
                line += f".replace({self.markers}, None)"
            if self._has_dash:
                line += ".str.replace('[\u2212\u2013]', '-', regex=True)"
            if self._negative:
                line += r".str.replace(r'.*\((.*)\).*|(.*)-$', r'-\1\2', regex=True)"
            for sign in self._currency:
                if "." in sign:
                    line += f".str.replace({sign!r}, '')"
            line += f".str.replace('[^-{choice.decimal}0-9]', '', regex=True)"
            if choice.decimal != ".":
                line += f".str.replace({choice.decimal!r}, '.')"
            line += ".astype(float)" + " / 100" * choice.percent
            lines.append(f"{line} ({place.text} becomes {_value(choice, place.text)})")
        return " or ".join(lines)

    def _conflict(self, name: str) -> str | None:
        """Say which two numbers of the column do not go together."""
        if len(self._percent) > 1:
            text = f"{self._percent[False].describe(name)}, and a percentage"
            text = f"{text}, {self._percent[True].text!r}, in {self._percent[True].row}"
            return f"{text}; write all of them with %, or all without"
        if len(self._currency) > 1:
            one, two = list(self._currency.values())[:2]
            text = f"{two.describe(name)}, and another currency, {one.text!r}, in {one.row}"
            return f"{text}; convert one of them"
        return None

    def _choices(self) -> list[CsvFormat]:
        """Return a format for each number that the column's first telling text may stand for."""
        own = self._format
        readings = {(each.decimal, each.thousands) for each in self._readings}
        key = own.decimal, own.thousands
        if key in readings and key != (".", None):
            readings = {key}  # as the user has said
        # Where no thousands are needed, none are advised.
        readings -= {(d, t) for d, t in readings if t and (d, None) in readings and (d, t) != key}
        percent = own.percent or True in self._percent
        currency = own.currency or bool(self._currency or self._negative)
        choices = [
            replace(own, decimal=d, thousands=t, percent=percent, currency=currency)
            for d, t in sorted(readings, key=str)
        ]
        choices.sort(key=lambda choice: len(self._changes(choice)))
        if self._separated is None:
            return choices[:1]
        by_value: dict[str, CsvFormat] = {}
        for each in choices:
            by_value.setdefault(_value(each, self._separated.text), each)
        return list(by_value.values())

    def _changes(self, choice: CsvFormat) -> list[str]:
        """Return what to type to have a format in place of the given one."""
        own, changes = self._format, []
        if choice.decimal != own.decimal:
            changes.append(f"decimal {choice.decimal!r}")
        if choice.thousands != own.thousands:
            word = "space" if choice.thousands == "space" else repr(choice.thousands)
            changes.append(f"thousands {word}" if choice.thousands else "no thousands")
        changes += ["percent true"] if choice.percent > own.percent else []
        return changes + (["currency true"] if choice.currency > own.currency else [])

    def _options(self, name: str, is_csv: bool) -> str | None:
        choices = self._choices()
        changes = [_join(self._changes(choice)) for choice in choices]
        place = self._disguised()
        if place is None or not all(changes):
            return None
        if len(choices) > 1 and self._separated is not None:
            values = [_value(choice, self._separated.text) for choice in choices]
            readings = [f"{v} with {c}" for v, c in zip(values, changes, strict=True)]
            text = f"{self._separated.describe(name)}, which is "
            if not is_csv:
                text = f"{text}{' or '.join(values)}"
                return f"{text}; convert it in pandas by {self.conversion(name)}"
            return f"{text}{', or '.join(readings)}; type the right one"
        what = _join(self._marks(choices[0]))
        text = f"{place.describe(name)}, and the column holds numbers with {what}"
        if not is_csv:
            return f"{text}; convert it in pandas by {self.conversion(name)}"
        return f"{text}; type {changes[0]}, which reads it as {_value(choices[0], place.text)}"

    def _disguised(self) -> Place | None:
        """Return the first number that the format does not read."""
        places = [self.other, self._separated, self._negative]
        places += [*self._currency.values(), *self._percent.values()]
        pattern = _compile(self._format)
        for place in places:
            if place and place != self.word and not pattern.fullmatch(place.text):
                return place
        return None

    def _marks(self, choice: CsvFormat) -> list[str]:
        """Say what the numbers have that the format does not expect."""
        marks = []
        if choice.decimal != self._format.decimal:
            marks.append(f"{choice.decimal!r} as the decimal point")
        if choice.thousands != self._format.thousands and choice.thousands:
            marks.append(f"{choice.thousands!r} between thousands".replace("'space'", "blanks"))
        marks += ["%"] if choice.percent > self._format.percent else []
        if choice.currency > self._format.currency:
            marks += [f"the currency {sign}" for sign in self._currency]
            if self._negative:
                marks.append("brackets, or a minus at the end, for those below 0")
        return marks


@lru_cache
def _compile(csv_format: CsvFormat) -> re.Pattern[str]:
    return re.compile(number_pattern(csv_format))


def is_number(text: str) -> bool:
    """Whether a text is a number in some notation.

    >>> is_number("1,554"), is_number("3%"), is_number("v1.5")
    (True, True, False)
    """
    return any(_compile(reading).fullmatch(text) for reading in _READINGS)


def _value(csv_format: CsvFormat, text: str) -> str:
    return repr(NumberParser(csv_format).value(text)).removesuffix(".0")


def _join(parts: list[str]) -> str:
    *first, last = parts or [""]
    return f"{', '.join(first)} and {last}" if first else last
