"""The values of a pyarrow column as NumPy numbers or as levels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]


def numbers(column: Any) -> Floats:
    """Return a pyarrow array as float64, NaN where a value is missing; parse text.

    Raises:
        pa.ArrowInvalid: a text is no number.
    """
    types = pa.types
    if types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if types.is_string(column.type) or types.is_large_string(column.type):
        column = pc.utf8_trim_whitespace(column)
    if not types.is_float64(column.type):
        column = column.cast(pa.float64(), safe=False)
    values: Floats = column.to_numpy(zero_copy_only=False)  # NaN for null
    return values


def categories(column: Any) -> Any:
    """Return a pyarrow array as a dictionary array of strings, whose dictionary has the levels."""
    if pa.types.is_dictionary(column.type):
        strings = column.dictionary.cast(pa.string())
        return pa.DictionaryArray.from_arrays(column.indices, strings)
    if pa.types.is_floating(column.type):
        # NaN is a missing value here too.
        missing = pa.scalar(None, column.type)
        column = pc.if_else(pc.is_nan(column), missing, column)
    if not pa.types.is_string(column.type):
        column = column.cast(pa.string())
    return column.dictionary_encode()
