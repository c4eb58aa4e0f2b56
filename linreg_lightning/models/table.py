"""Rows of names and numbers as aligned text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Columns of text to the left, of numbers to the right; six digits of each number.

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


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else f"{value:.6g}"
