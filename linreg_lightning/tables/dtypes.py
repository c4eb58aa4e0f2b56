"""What the types of columns are good for, and which type two files have in common."""

from __future__ import annotations

from typing import Literal

import pyarrow as pa
from pyarrow import types

DtypeKind = Literal["numbers", "text", "times", "other"]


def dtype_kind(dtype: pa.DataType) -> DtypeKind:
    """Say what a column of some type holds; a dictionary of numbers or text counts as text.

    >>> dtype_kind(pa.int32()), dtype_kind(pa.string()), dtype_kind(pa.date32())
    ('numbers', 'text', 'times')
    """
    if types.is_dictionary(dtype):
        kind = dtype_kind(dtype.value_type)
        return "text" if kind == "numbers" else kind
    if types.is_boolean(dtype) or types.is_null(dtype) or types.is_decimal(dtype):
        return "numbers"
    if types.is_integer(dtype) or types.is_floating(dtype):
        return "numbers"
    if types.is_string(dtype) or types.is_large_string(dtype) or types.is_string_view(dtype):
        return "text"
    return "times" if types.is_temporal(dtype) else "other"


def common_dtype(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """Choose the type of a column that two files hold as two types; they may be the same.

    Text becomes a plain string, because pyarrow can neither select from views of text nor write
    them. A dictionary stays one, since each file may have its own.

    >>> common_dtype(pa.int32(), pa.float64()), common_dtype(pa.string_view(), pa.string())
    (DataType(double), DataType(string))
    """
    if types.is_dictionary(other):
        is_view = types.is_string_view(other.value_type)
        return pa.dictionary(other.index_type, pa.string()) if is_view else other
    if types.is_dictionary(one):
        one = other
    one, other = (pa.string() if types.is_string_view(t) else t for t in (one, other))
    if one == other:
        return one
    schemas = [pa.schema([("", dtype)]) for dtype in (one, other)]
    try:
        return pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    except pa.ArrowException:
        return pa.float64() if dtype_kind(one) == "numbers" else pa.string()
