"""The types of a table's columns: what they are good for, and how two become one."""

from __future__ import annotations

from typing import Any

from linreg_lightning import arrow as pyarrow


def kind(type_: Any) -> str:
    """What a column of a pyarrow type is good for: numbers, text, categories, times or nothing.

    >>> kind(pyarrow.int32()), kind(pyarrow.string()), kind(pyarrow.date32())
    ('numbers', 'text', 'times')
    """
    types = pyarrow.types
    if types.is_dictionary(type_):
        return "text" if kind(type_.value_type) in ("text", "numbers") else kind(type_.value_type)
    if types.is_boolean(type_) or types.is_null(type_) or types.is_decimal(type_):
        return "numbers"
    if types.is_integer(type_) or types.is_floating(type_):
        return "numbers"
    if types.is_string(type_) or types.is_large_string(type_) or types.is_string_view(type_):
        return "text"
    return "times" if types.is_temporal(type_) else "nothing"


def joint(one: Any, other: Any) -> Any:
    """The type for a column that is of two types in two files, or for one in each of them.

    Text is never a view, which pyarrow can neither select from nor write. A dictionary is left to
    each file.
    """
    types = pyarrow.types
    if types.is_dictionary(other):
        text = types.is_string_view(other.value_type)
        return pyarrow.dictionary(other.index_type, pyarrow.string()) if text else other
    if types.is_dictionary(one):
        one = other
    one, other = (pyarrow.string() if types.is_string_view(t) else t for t in (one, other))
    if one == other:
        return one
    schemas = [pyarrow.schema([("", type_)]) for type_ in (one, other)]
    try:
        return pyarrow.unify_schemas(schemas, promote_options="permissive").field(0).type
    except pyarrow.ArrowException:
        return pyarrow.float64() if kind(one) == "numbers" else pyarrow.string()
