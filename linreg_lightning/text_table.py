"""Names and numbers as aligned text."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any


def format_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Align text to the left and numbers to the right; numbers have six digits, NaN is NA.

    The columns are those of the first row; a cell is blank if a later row lacks its column.

    >>> rows = [{"name": "intercept", "estimate": 1.0}, {"name": "x1", "estimate": 2 / 3}]
    >>> print(format_table(rows))
    name       estimate
    intercept         1
    x1         0.666667
    """
    columns = []
    for name in rows[0] if rows else ():
        is_text = isinstance(rows[0][name], str)
        cells = [name.replace("_", " "), *(_format(row.get(name)) for row in rows)]
        width = max(map(len, cells))
        columns.append([cell.ljust(width) if is_text else cell.rjust(width) for cell in cells])
    return "\n".join("  ".join(cells).rstrip() for cells in zip(*columns, strict=True))


def markdown_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as a Markdown table, numbers with six digits; missing values and NaN are blank.

    >>> print(markdown_table([{"name": "x|1", "estimate": 2 / 3}]))
    | name | estimate |
    |---|---|
    | x&#124;1 | 0.666667 |
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for row in rows:
        cells = [_format(row.get(name), nan="") for name in names]
        cells = [cell.replace("|", "&#124;").replace("\n", " ") for cell in cells]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def format_statistics(statistics: Mapping[str, float | list[float]]) -> str:
    """Join names and numbers into lines of text; a list has a number for each target.

    >>> format_statistics({"rows": 100, "r2": [0.5, 2 / 3]})
    'rows 100  r2 0.5, 0.666667'
    """
    items = [f"{name.replace('_', ' ')} {_format(value)}" for name, value in statistics.items()]
    # Lines break between items only: within an item, NUL stands for a space.
    text = "  ".join(item.replace(" ", "\0") for item in items)
    return textwrap.fill(text, 100).replace("\0", " ")


def _format(value: Any, nan: str = "NA") -> str:
    if isinstance(value, list):
        return ", ".join(_format(item, nan) for item in value)
    if isinstance(value, float):
        return nan if math.isnan(value) else f"{value:.6g}"
    return "" if value is None else str(value)
