"""Recognises what surrounds the table in a CSV file, and tells which options leave it out."""

import csv
import re
from collections import Counter
from dataclasses import replace
from itertools import dropwhile, takewhile
from typing import NamedTuple

from linreg_lightning.tables import csv_lines
from linreg_lightning.tables.csv_format import CsvFormat

NAMELESS = re.compile(r"Unnamed: \d+(\.1)*")
"""The name of a column that has none: its number from 0, as pandas writes it."""
_LOOKED_AT = 100  # lines
COMMENT_MARKS = "#%!*;"
# What people write for a missing value, beside what is one anyway.
_MISSING = {"?", ".", "..", "...", "-", "--", "*", "none", "na", "n.a.", "nd", "n.d.", "missing"}
_MISSING |= {"<na>", "unknown", "\\n", "#div/0!", "#value!", "#ref!", "#num!", "#name?", "#null!"}
_TOTAL = re.compile(r"\W*((grand|sub)?[ -]?totals?|sum)\b\W*", re.IGNORECASE)
_NULLS = ("NA", "NaN", "nan", "NULL", "null", "N/A", "n/a")
_YEAR = re.compile(r"(1[5-9]|20)\d\d")


class Line(NamedTuple):
    """A line that is not blank: its number from 0, as an editor counts, and its values."""

    number: int
    values: list[str]
    has_spaced_quote: bool


class Layout(NamedTuple):
    """Where the header is among `lines`, and which lines after it hold no rows, such as units."""

    lines: list[Line]
    header: int
    units: list[Line]
    share: float  # of the lines after the header, those that are as long


def name_columns(names: list[str]) -> list[str]:
    """Give each column without a name one that no other has.

    >>> name_columns(["", "Unnamed: 0", "x", ""])
    ['Unnamed: 0.1', 'Unnamed: 0', 'x', 'Unnamed: 3']
    """
    named = []
    for k, given in enumerate(names):
        name = given or f"Unnamed: {k}"
        while not given and name in names:
            name += ".1"
        named.append(name)
    return named


def is_marker(value: str) -> bool:
    """Whether people write this for a missing value."""
    return value.strip().lower() in _MISSING


def is_total(value: str) -> bool:
    """Whether a value heads a line of totals.

    >>> is_total("Grand Total:"), is_total("totally")
    (True, False)
    """
    return _TOTAL.fullmatch(value) is not None


def split_lines(text: bytes, csv_format: CsvFormat, order: int = 1) -> list[Line]:
    """Split the first lines, or with the order -1 the last, that may be rows or a header."""
    delimiter = csv_format.delimiter_character
    ranges = csv_lines.line_ranges(text)
    skipped = [ranges[number] for number in csv_format.skipped_lines if number < len(ranges)]
    text = csv_lines.blank_ranges(text, skipped)
    if csv_format.comment is not None:
        text = csv_lines.blank_comments(text, delimiter, csv_format.comment, is_end=True)
    lines = []
    for number, (start, stop) in list(enumerate(ranges))[::order]:
        line = text[start:stop].decode(errors="replace").strip("\ufeff\r\n")
        if line:
            try:
                values = next(csv.reader([line], delimiter=delimiter), [])
            except csv.Error:  # a very long value
                values = line.split(delimiter)
            has_spaced_quote = any(value.startswith(' "') for value in values)
            has_spaced_quote &= re.search(re.escape(delimiter) + ' +"', line) is not None
            lines.append(Line(number, [value.strip() for value in values], has_spaced_quote))
        if len(lines) == _LOOKED_AT:
            break
    return lines[::order]


def describe_surroundings(text: bytes, csv_format: CsvFormat, is_table: bool) -> str:
    """Say what is above or right below the header and which options leave it out; "" if nothing is.

    `text` is the beginning of the file. Where it `is_table` already, with a name for each value,
    only comments above the header and lines of units or names below it are looked for.
    """
    layout, delimiter = _find_layout(text, csv_format), ""
    if layout is None and not is_table:
        layout, csv_format, delimiter = _try_delimiters(text, csv_format)
    if layout is None:
        return _describe_aligned(text, csv_format) if not is_table else ""
    lines, units = layout.lines, [] if delimiter else layout.units
    header, above = lines[layout.header], lines[: layout.header]
    if any(line.has_spaced_quote for line in lines[layout.header :]):
        character = csv_format.delimiter_character
        command = f"sed -E 's/[{character}] +\"/{character}\"/g' OLD.csv > NEW.csv"
        return f"has spaces before quotes; delete them, such as by {command}"
    mark = _common_mark(above, csv_format)
    if is_table and above and not mark:
        return ""
    skipped, reasons, remedies = set(csv_format.skipped_lines), [], []
    if delimiter:
        reasons.append(f"separates its columns by {delimiter}")
        remedies.append(f"delimiter {delimiter}")
    if above:
        count = "1 line" if len(above) == 1 else f"{len(above)} lines"
        first = _shown(above[0], csv_format)
        reasons.append(f"has {count} above its header {_shown(header, csv_format)}: {first}")
        if mark:
            remedies.append(f"comment {mark!r}")
        else:
            skipped |= set(range(header.number))
    if units:
        reasons.append(
            f"has a line without a number above those with numbers: {_shown(units[0], csv_format)}"
        )
        numbers = {line.number for line in units}
        if not above:
            skip = f"skip_rows {_numbers(skipped | numbers)}"
            other = f"skip_rows {_numbers({*range(units[-1].number)})} if it has the names"
            return (
                f"{reasons[-1]}; type {skip} if it has units, {other}, skip_rows 0 if it is a row"
            )
        skipped |= numbers
    if skipped > set(csv_format.skipped_lines):
        remedies.append(f"skip_rows {_numbers(skipped)}")
    return f"{' and '.join(reasons)}; type {' and '.join(remedies)}" if remedies else ""


def row_hint(row: str, number: int, width: int, tail: bytes, csv_format: CsvFormat) -> str:
    """Say what to do about a row of another number of values than the header has.

    `number` is that of the row, and `tail` are the last lines of the file.
    """
    delimiter, mark = csv_format.delimiter_character, row[:1]
    if mark and mark in COMMENT_MARKS and mark != delimiter:
        return f", or type comment {mark!r} to leave out comments"
    if width == 1:
        remedy = "or skip_rows for lines above the header"
        return f", or type what separates columns, such as delimiter ';', {remedy}"
    lines = count_footer_lines(tail, row, width, csv_format)
    if 0 < lines < number:
        return f", or type skip_footer {lines} to leave out the text below the table"
    if csv_format.comment is not None:
        return f", or quote a value that has {csv_format.comment!r}, which begins a comment, in it"
    return f', or quote a value that has {delimiter!r} in it: "a{delimiter}b", no space around'


def row_width(text: bytes, csv_format: CsvFormat) -> tuple[int, list[list[str]]]:
    """Return the first rows and how many values each has; 0 if they differ."""
    rows = [line.values for line in split_lines(text, csv_format)[1:]]
    widths = {len(row) for row in rows}
    return (widths.pop() if len(widths) == 1 else 0), rows


def find_totals(text: bytes, csv_format: CsvFormat, width: int) -> list[str]:
    """Return the last lines of a file if they, and no line before, begin with the word total."""
    if not re.search(rb"total|sum", text[-1000:], re.IGNORECASE):
        return []
    lines = split_lines(text, replace(csv_format, skip_rows=None), -1)
    lines = [line for line in lines if len(line.values) == width > 1]
    rows = list(dropwhile(lambda line: not is_total(line.values[0]), lines))
    are_last = bool(rows) and all(is_total(row.values[0]) for row in rows)
    return [_shown(row, csv_format) for row in rows] if are_last else []


def find_skipped_row(text: bytes, csv_format: CsvFormat, width: int) -> str:
    """Return the first of the last lines, which `skip_footer` skips, that looks like a row."""
    skips_nothing = replace(csv_format, skip_rows=None, skip_footer=None)
    lines = [line for line in split_lines(text, skips_nothing, -1) if any(line.values)]
    for line in lines[-(csv_format.skip_footer or 0) :] if csv_format.skip_footer else ():
        if len(line.values) == width and all(line.values) and not is_total(line.values[0]):
            return _shown(line, csv_format)
    return ""


def count_footer_lines(text: bytes, row: str, width: int, csv_format: CsvFormat) -> int:
    """Count the lines from a row to the end of the text if few of them are rows of the table."""
    start = (b"\n" + text).rfind(b"\n" + row[:60].encode())
    footer = text[start:] if start >= 0 else b""
    lines = split_lines(footer, replace(csv_format, skip_rows=None))
    fitting = sum(len(line.values) == width for line in lines)
    return len(csv_lines.line_ranges(footer)) if 2 * fitting < len(lines) < _LOOKED_AT else 0


def are_row_names(values: list[str]) -> bool:
    """Whether values name or number rows: no two are the same.

    >>> are_row_names(["1", "2", "3"]), are_row_names(["ann", "bob"]), are_row_names(["7", "9"])
    (True, True, False)
    """
    if len(set(values)) < len(values) or "" in values:
        return False
    if all(value.isdecimal() for value in values):
        numbers = [int(value) for value in values]
        return numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    return not any(map(_has_number, values))


def _find_layout(text: bytes, csv_format: CsvFormat) -> Layout | None:
    """Find the first line of names that is as long as the lines below it."""
    lines = split_lines(text, csv_format)
    widths = Counter(len(line.values) for line in lines if len(line.values) > 1)
    width = max(widths, key=lambda each: (widths[each], each), default=0)
    for k, line in enumerate(lines):
        below = lines[k + 1 :]
        rows = [each for each in below if len(each.values) == width]
        if len(line.values) == width and _are_names(line.values, rows):
            return Layout(lines, k, _find_units(rows), len(rows) / max(1, len(below)))
    return None


def _try_delimiters(text: bytes, csv_format: CsvFormat) -> tuple[Layout | None, CsvFormat, str]:
    """Find the delimiter with which most lines are as long as the header."""
    best, best_format, name = None, csv_format, ""
    for delimiter, shown in ((";", "';'"), ("\t", "tab"), ("|", "'|'"), (",", "','"), (" ", "' '")):
        if delimiter in (csv_format.delimiter_character, csv_format.comment):
            continue
        decimal = "." if csv_format.decimal == delimiter else csv_format.decimal
        other = replace(csv_format, delimiter=delimiter, decimal=decimal)
        layout = _find_layout(text, other)
        if layout and layout.share > (best.share if best else 0.5):
            rows = layout.lines[layout.header + 1 :]
            if any(_has_number(value) for row in rows for value in row.values):
                best, best_format, name = layout, other, shown
    return best, best_format, name


def _describe_aligned(text: bytes, csv_format: CsvFormat) -> str:
    """Say how to read columns that are aligned by spaces; "" if they are not."""
    text = re.sub(rb"(?m)^[ \t]+|[ \t]+$", b"", text)
    text = re.sub(rb"[ \t]+", b" ", text)
    layout = _find_layout(text, replace(csv_format, delimiter=" "))
    if layout is None or layout.header or layout.share < 1:
        return ""
    command = "sed -E 's/^ +| +$//g; s/[ \\t]+/,/g' OLD.txt > NEW.csv"
    return f"has columns that are aligned by spaces; write it with commas, such as by {command}"


def _common_mark(lines: list[Line], csv_format: CsvFormat) -> str:
    """Return the character that begins all lines if it is one for comments."""
    marks = {line.values[0][:1] for line in lines}
    mark = marks.pop() if len(marks) == 1 else ""
    return mark if mark in COMMENT_MARKS and mark != csv_format.delimiter_character else ""


def _numbers(numbers: set[int]) -> str:
    """Write lines to skip as people type them."""
    is_count = numbers == set(range(len(numbers)))
    return str(len(numbers)) if is_count else f"'{sorted(numbers)}'".replace(" ", "")


def _find_units(rows: list[Line]) -> list[Line]:
    """Find lines without a number above lines whose columns hold numbers."""
    units = list(takewhile(lambda row: not any(map(_has_number, row.values)), rows))
    below = rows[len(units) :]
    for column in range(len(rows[0].values) if units and below else 0):
        values = {row.values[column] for row in below if not is_marker(row.values[column])} - {""}
        has_unit = any(row.values[column] and not is_marker(row.values[column]) for row in units)
        if has_unit and values and all(map(_has_number, values)):
            return units
    return []


def _are_names(values: list[str], rows: list[Line]) -> bool:
    """Whether values can be the header of rows: a name for each column but the first."""
    names = [value for value in values if value]
    is_name = [not _has_number(name) or _YEAR.fullmatch(name) is not None for name in names]
    has_text = any(not _has_number(name) and name not in _NULLS for name in names)
    needed = [
        k for k in range(1, len(values)) if 2 * sum(bool(row.values[k]) for row in rows) > len(rows)
    ]
    is_complete = all(values[k] for k in needed) and len(set(names)) == len(names)
    return has_text and all(is_name) and is_complete and values[0][:1] != "#"


def _has_number(value: str) -> bool:
    """Whether a value is a number or a date in some notation: digits without letters."""
    letters = re.sub(r"(?<=\d)[eE](?=[-+]?\d)", "", value)
    return re.search(r"\d", value) is not None and re.search(r"[^\W\d_]", letters) is None


def _shown(line: Line, csv_format: CsvFormat) -> str:
    text = csv_format.delimiter_character.join(line.values)
    return repr(text if len(text) <= 40 else f"{text[:40]}...")
