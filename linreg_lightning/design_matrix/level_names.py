"""Levels have the same names from every format: `1` for 1.0, `true` for True."""

from typing import Any

import pyarrow.compute as pc

_NUMBER = r"^-?\d+\.0+$|^-0$|^-?\d(\.\d+)?e-0\d$"
_BOOLEAN = "^(True|TRUE|False|FALSE)$"


def plain_levels(levels: Any) -> Any:
    """Return a pyarrow array of text in which numbers and truth values are written in one way.

    pandas writes 1.0 for a whole number beside missing values, 1e-07 and True; R writes TRUE; Arrow
    calls the same values 1, 1e-7 and true. Other text, such as 1.10 or 007, stays as it is.

    >>> import pyarrow as pa
    >>> plain_levels(pa.array(["1.0", "-0.0", "007", "1.10", "TRUE", None])).to_pylist()
    ['1', '0', '007', '1.10', 'true', None]
    """
    if pc.any(pc.match_substring_regex(levels, _NUMBER)).as_py():
        levels = pc.replace_substring_regex(levels, r"^(-?\d+)\.0+$", r"\1")
        levels = pc.replace_substring_regex(levels, "^-0+$", "0")
        levels = pc.replace_substring_regex(levels, r"(e-)0(\d)$", r"\1\2")
    is_boolean = pc.match_substring_regex(levels, _BOOLEAN)
    if pc.any(is_boolean).as_py():
        levels = pc.if_else(is_boolean, pc.utf8_lower(levels), levels)
    return levels
