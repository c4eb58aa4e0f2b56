"""The values of a pyarrow column as NumPy numbers or as levels.

pyarrow imports pandas in its own `to_numpy`, `array` and `scalar` where it is installed. That takes
as long as a small fit, so buffers go to and from NumPy here.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from linreg_lightning import arrow as pyarrow

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]


def numbers(column: Any) -> Floats:
    """Return a pyarrow array as float64, NaN where a value is missing; text is read as numbers.

    Raises:
        pyarrow.ArrowInvalid: a text is no number.
    """
    types = pyarrow.types
    if types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if types.is_string(column.type) or types.is_large_string(column.type):
        column = pyarrow.compute.utf8_trim_whitespace(column)
    if not types.is_float64(column.type):
        column = column.cast(pyarrow.float64(), safe=False)
    return np.asarray(fill_missing(column, math.nan), np.float64)


def categories(column: Any) -> Any:
    """Return a pyarrow array as a dictionary array of strings, whose dictionary has the levels."""
    if pyarrow.types.is_dictionary(column.type):
        strings = column.dictionary.cast(pyarrow.string())
        return pyarrow.DictionaryArray.from_arrays(column.indices, strings)
    if pyarrow.types.is_floating(column.type):
        # NaN is a missing value here too.
        missing = pyarrow.scalar(None, column.type)
        column = pyarrow.compute.if_else(pyarrow.compute.is_nan(column), missing, column)
    if not pyarrow.types.is_string(column.type):
        column = column.cast(pyarrow.string())
    return column.dictionary_encode()


def fill_missing(column: Any, value: float) -> NDArray[Any]:
    """Return a pyarrow array of numbers with a value where one is missing."""
    if column.null_count:
        number = pyarrow.py_buffer(np.array([value], column.type.to_pandas_dtype()))
        column = column.fill_null(pyarrow.Array.from_buffers(column.type, 1, [None, number])[0])
    return np.from_dlpack(column)


def take(table: Any, rows: Rows) -> Any:
    """Return some rows of a pyarrow record batch."""
    buffers = [None, pyarrow.py_buffer(rows.astype(np.int64, copy=False))]
    return table.take(pyarrow.Array.from_buffers(pyarrow.int64(), len(rows), buffers))


def sort_levels(levels: set[str]) -> list[str]:
    """Sort levels as numbers if all of them are numbers, else as text.

    >>> sort_levels({"10", "9", "1"}), sort_levels({"b", "10", "a"})
    (['1', '9', '10'], ['10', 'a', 'b'])
    """
    try:
        value = {level: float(level) for level in levels}
    except ValueError:
        return sorted(levels)
    if any(map(math.isnan, value.values())):
        return sorted(levels)  # NaN has no place among numbers
    return sorted(levels, key=lambda level: (value[level], level))
