"""Levels have the same names from every format: `1` for 1.0, `true` for True."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from linreg_lightning.frames import to_numpy

RowNumbers = NDArray[np.intp]
MISSING, UNKNOWN = -1, -2
"""Stand for the number of a level."""

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


def to_categories(column: Any) -> Any:
    """Return a pyarrow array as a dictionary array of strings, whose dictionary has the levels.

    `plain_levels` has named them, so that two entries may be the same level.
    """
    if not pa.types.is_dictionary(column.type):
        column = _to_strings(column).dictionary_encode()
    levels = plain_levels(_to_strings(column.dictionary))
    if levels.null_count:  # then a valid index may stand for a missing value
        return levels.take(column.indices).dictionary_encode()
    return pa.DictionaryArray.from_arrays(column.indices, levels)


def _to_strings(column: Any) -> Any:
    if pa.types.is_floating(column.type):
        # NaN is a missing value here too.
        missing = pa.scalar(None, column.type)
        column = pc.if_else(pc.is_nan(column), missing, column)
    return column if pa.types.is_string(column.type) else column.cast(pa.string())


def level_numbers(values: Any, levels: Sequence[str]) -> RowNumbers:
    """Return the number of each row's level, (rows,), or MISSING or UNKNOWN."""
    # Checkpoints of earlier versions have other names.
    numbers = {level: k for k, level in enumerate(map(plain_level, levels))} | {None: MISSING}
    values = to_categories(values)
    numbers_in_dictionary = [numbers.get(level, UNKNOWN) for level in values.dictionary.to_pylist()]
    # The last entry is for rows without a level; int8 may not hold its index.
    indices = to_numpy(values.indices.cast(pa.int64()), len(numbers_in_dictionary))
    level_of_row: RowNumbers = np.array([*numbers_in_dictionary, MISSING])[indices]
    return level_of_row
