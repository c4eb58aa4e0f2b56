"""Rows of names and numbers as aligned text."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any


def table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Columns of text to the left, of numbers to the right; six digits of each number, NA for NaN.

    Args:
        rows: each a mapping from column to text or number. The columns are those of the first row;
            what a later row lacks is left blank.

    >>> print(table([{"name": "intercept", "estimate": 1.0}, {"name": "x1", "estimate": 2 / 3}]))
    name       estimate
    intercept         1
    x1         0.666667
    """
    rows = list(rows)
    if not rows:
        return ""
    columns = []
    for name in rows[0]:
        numbers = not isinstance(rows[0][name], str)
        cells = [name.replace("_", " "), *(_cell(row.get(name)) for row in rows)]
        width = max(map(len, cells))
        columns.append([cell.rjust(width) if numbers else cell.ljust(width) for cell in cells])
    return "\n".join("  ".join(line).rstrip() for line in zip(*columns, strict=True))


def markdown_table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as a Markdown table, numbers with six digits; missing values and NaN are blank.

    >>> print(markdown_table([{"name": "x|1", "estimate": 2 / 3}]))
    | name | estimate |
    |---|---|
    | x&#124;1 | 0.666667 |
    """
    rows = list(rows)
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(_markdown(row.get(name)) for name in names) + " |" for row in rows]
    return "\n".join(lines)


def line(statistics: Mapping[str, float | list[float]]) -> str:
    """Names and numbers one after the other; a list has a number for each target.

    >>> line({"rows": 100, "r2": [0.5, 2 / 3]})
    'rows 100  r2 0.5, 0.666667'
    """
    parts = [
        f"{name.replace('_', ' ')} {', '.join(map(_cell, v if isinstance(v, list) else [v]))}"
        for name, v in statistics.items()
    ]
    # A space within a part must not be where a line is broken.
    text = "  ".join(part.replace(" ", "\0") for part in parts)
    return textwrap.fill(text, 100, drop_whitespace=True).replace("\0", " ")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(value)
    return "NA" if math.isnan(value) else f"{value:.6g}"


def _markdown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_markdown, value))
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return "" if value is None else str(value).replace("|", "&#124;").replace("\n", " ")
