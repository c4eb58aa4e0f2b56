"""Says in words why pyarrow cannot parse the text of a CSV file."""

import re
from collections.abc import Iterable
from functools import partial
from typing import Any

from linreg_lightning.tables import csv_layout, csv_sections
from linreg_lightning.tables.csv_format import CsvFormat
from linreg_lightning.tables.disguised_numbers import ColumnTexts
from linreg_lightning.tables.number_text import TextError

_OTHER_REMEDIES = "or, if it is no target, leave it out by exclude or name it in categorical"


def describe(
    error: Exception, names: list[str], first_row: int, tail: bytes, csv_format: CsvFormat
) -> str | None:
    """Return what is wrong and what to do; None for an error of another kind.

    `names` are those of the columns, and `tail` is the end of the file.
    """
    message = str(error)
    number = re.search(r"Row #(\d+)", message)
    row = f"row {first_row + int(number[1])}" if number else "a row"
    if "\ufffd" in message or isinstance(error, UnicodeDecodeError) or "UTF8" in message:
        convert = csv_sections.CONVERT.format("WINDOWS-1252")
        return f"is not UTF-8 text, in {row} or before; {convert}"
    what = r"column #(\d+): .*? to (\w+).*?: (?:invalid value|.* zone offset in) '(.*?)'"
    if match := re.search(rf"{what}(?:$|\. If)", message, re.DOTALL):
        column, dtype, value = names[int(match[1])], match[2], match[3]
        if dtype == "null":
            reason = f"has {value!r} in {row}, in column {int(match[1]) + 1}, which has no name"
            return f"{reason}; mend the row, or name the column"
        expected = "neither true nor false" if dtype == "bool" else "no number"
        if dtype not in ("bool", "double"):
            has_zone = "with" if "expected a zone" in message else "without"
            expected = f"no time {has_zone} a time zone" if "zone" in message else "no date"
        return not_a_number(column, value, row, expected)
    if match := re.search(r"Expected (\d+) columns, got (\d+)(?:: (.*))?", message, re.DOTALL):
        count = "1 value" if match[2] == "1" else f"{match[2]} values"
        text = f"has {count} in {row} where its header has {match[1]}; mend the row"
        row_number, width = first_row + int(number[1]) if number else 0, int(match[1])
        return text + csv_layout.row_hint(match[3] or "", row_number, width, tail, csv_format)
    return None


def not_a_number(column: str, value: str, row: str, expected: str = "no number") -> str:
    """Say that a value in a column of numbers is none, and what to do about it."""
    if value.strip() == column.strip():
        remedy = "delete such lines, or give path a list of the files that were joined"
        return f"has its header again in {row}, with {value!r} in column {column!r}; {remedy}"
    remedy = "mend it"
    if csv_layout.is_total(value):
        remedy = "if it is a total in the last line, type skip_footer 1; else mend it"
    elif csv_layout.is_marker(value) or not re.search(r"\d", value):
        remedy = f"if it means a missing value, type na_values {value!r}; else mend it"
    elif "#" in value:
        remedy = "if # begins a comment, type comment '#'; else mend it"
    return (
        f"has {value!r} in column {column!r}, {row}, which is {expected}; {remedy}, leave the "
        "column out by exclude, or, if it holds categories, name it in categorical"
    )


def number_advice(
    error: TextError, row_name: str, csv_format: CsvFormat, parts: Iterable[tuple[int, Any]]
) -> str | None:
    """Say how to read a column of which a text is no number; None if its texts are not alike.

    Args:
        error: names the column and the text.
        row_name: the name of its row.
        csv_format: how numbers are written, as far as the user has said.
        parts: tables with the texts of the whole column, each with the number of its first row.
    """
    texts = ColumnTexts(csv_format)
    texts.add([error.text], lambda text: row_name)
    if not texts.may_be_numbers:
        return None
    for start, table in parts:
        texts.add_column(table[error.column], partial(_row_name, start))
    advice = texts.advice(error.column)
    return advice and with_other_remedies(advice)


def with_other_remedies(advice: str) -> str:
    """Add what else can be done with a column than to read it as numbers.

    >>> with_other_remedies("x is odd; mend it")
    'x is odd; mend it, or, if it is no target, leave it out by exclude or name it in categorical'
    """
    return f"{advice}, {_OTHER_REMEDIES}"


def _row_name(start: int, row: int) -> str:
    """Return the name of a row of a block whose first row has the number `start`."""
    return f"row {start + row + 1}"
