"""Finds whole numbers that are rather codes, such as 01001, or dates, such as 20240131."""

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from linreg_lightning.design_matrix.column_roles import ColumnRoles
from linreg_lightning.tables.dataset import TableDataset
from linreg_lightning.tables.date_text import DateTextError, parse_dates

_ROWS = 1000  # of tables that are no text
_FIRST_DATE, _LAST_DATE = 1900_01_01, 2100_12_31


def describe_codes_and_dates(dataset: TableDataset, roles: ColumnRoles) -> list[str]:
    """Say which features look like codes or dates, one line for each kind, and what to type."""
    names = [
        name
        for name in roles.features
        if name not in roles.categories and pa.types.is_integer(dataset.schema.field(name).type)
    ]
    values, lines = dataset.sample(names, _ROWS) if names else {}, []
    if codes := _examples(values, _is_code):
        text = f"{codes} holds whole numbers with leading zeros, all of one length"
        remedy = "if they are codes and no amounts, name the column in categorical"
        lines.append(f"{text}, and is read as numbers; {remedy}")
    if dates := _examples(values, _is_date):
        remedy = "type date_format '%Y%m%d' and dates parts or days"
        if not dataset.is_text:
            remedy = "turn it into dates, such as by pandas.to_datetime(df[...], format='%Y%m%d')"
        text = f"{dates} holds dates as whole numbers, in which months differ by 100"
        lines.append(f"{text}; {remedy}, or leave it out by exclude")
    return [f"{dataset.argument}: {dataset.name}: {line}" for line in lines]


def _examples(values: dict[str, Any], test: Callable[[Any], bool]) -> str:
    """Name the columns that pass a test, each with a value; empty if none does."""
    found = {}
    for name, column in values.items():
        column = column.drop_null()
        if len(column) and test(column):
            found[name] = pc.min(column).as_py()
    return ", ".join(f"column {name!r} (such as {value})" for name, value in found.items())


def _is_code(column: Any) -> bool:
    if not pa.types.is_string(column.type):
        return False
    lengths = pc.min_max(pc.utf8_length(column))
    is_padded = pc.any(pc.match_substring_regex(column, "^0[0-9]")).as_py()
    return bool(lengths["min"] == lengths["max"]) and bool(is_padded)


def _is_date(column: Any) -> bool:
    try:
        numbers = column.cast(pa.int64())
        first, last = pc.min_max(numbers).values()
        if first.as_py() < _FIRST_DATE or last.as_py() > _LAST_DATE:
            return False
        parse_dates(pc.unique(numbers).cast(pa.string()), "%Y%m%d")
    except (pa.ArrowException, DateTextError):
        return False
    return True
