"""Levels have the same names from every format: `1` for 1.0, `true` for True."""

import re
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

_OTHER_SPELLINGS = r"^(-?\d+\.0+|-0|-?\d(\.\d+)?e-0\d|True|TRUE|False|FALSE)$"


def plain_level(level: str) -> str:
    """Return a level as Arrow writes the same number or truth value.

    pandas writes 1.0 for a whole number beside missing values, 1e-07 and True; R writes TRUE; Arrow
    writes 1, 1e-7 and true. Other text, such as 1.10 or 007, stays as it is.

    >>> [plain_level(level) for level in ("1.0", "-0.0", "1e-07", "TRUE", "007", "1.10")]
    ['1', '0', '1e-7', 'true', '007', '1.10']
    """
    if not re.search(_OTHER_SPELLINGS, level):
        return level
    whole = re.sub(r"\.0+$", "", level).replace("e-0", "e-").lower()
    return "0" if re.fullmatch("-0+", whole) else whole


def plain_levels(levels: Any) -> Any:
    """Return a pyarrow array of text with each level as `plain_level` returns it."""
    if not pc.any(pc.match_substring_regex(levels, _OTHER_SPELLINGS)).as_py():
        return levels
    plain = [None if level is None else plain_level(level) for level in levels.to_pylist()]
    return pa.array(plain, pa.string())
