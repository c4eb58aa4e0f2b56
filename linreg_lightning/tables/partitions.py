"""Columns that the names of folders give, such as `year=2024`, as Hive and its successors do."""

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc

# The name that Hive gives to the folder of a missing value.
_MISSING = "__HIVE_DEFAULT_PARTITION__"
_WHOLE = re.compile(r"-?\d{1,18}", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[nN]a[nN]", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d+)?)?)?", re.ASCII)


class Key(NamedTuple):
    """The value in the name of a folder; None if it is missing.

    `is_typed` says that the user typed the folder's name, as in the path `sales/year=2024`, rather
    than the name of a folder that contains it, or a pattern for it.
    """

    text: str | None
    is_typed: bool


Partition = dict[str, Key]
"""The columns that the folders of a file give, in the order of the folders."""


def parse_partition(folders: str, is_typed: bool = False) -> Partition:
    """Read columns and values from the names of folders; the innermost counts.

    >>> parse_partition("h/year=2024/city=New%20York")
    {'year': Key(text='2024', is_typed=False), 'city': Key(text='New York', is_typed=False)}
    """
    partition = {}
    for folder in filter(is_key, folders.split("/")):
        name, _, text = folder.partition("=")
        partition[unquote(name)] = Key(None if text == _MISSING else unquote(text), is_typed)
    return partition


def is_key(folder: str) -> bool:
    """Whether the name of a folder is a column and a value."""
    return folder.find("=") > 0


def choose_keys(
    partitions: Sequence[Partition], names: Sequence[Sequence[str]]
) -> tuple[list[dict[str, str | None]], set[str]]:
    """Choose the folders that are columns; `names` are the columns in each file itself.

    Where the user typed the folder, and all files below it have the same value, it is no feature
    unless the user names it; and if some files are not below it, it is no column at all.

    Returns:
        The columns and values of each file, and the columns that are no features by themselves.
    """
    chosen: list[dict[str, str | None]] = [{} for _ in partitions]
    constant = set()
    for name in {name: None for partition in partitions for name in partition}:
        keys = [partition[name] for partition in partitions if name in partition]
        if all(key.is_typed for key in keys) and len({key.text for key in keys}) == 1:
            own = [name in columns for columns in names]
            if not all(name in p or has for p, has in zip(partitions, own, strict=True)):
                continue
            if not any(own):
                constant.add(name)
        for values, partition in zip(chosen, partitions, strict=True):
            if name in partition:
                values[name] = partition[name].text
    return chosen, constant


def key_dtype(texts: Iterable[str | None]) -> pa.DataType:
    """Choose the type of a column from all of its values: numbers, dates, times or text.

    >>> key_dtype(["01", "12", None]), key_dtype(["0.5", "1"]), key_dtype(["1", "b"])
    (DataType(int64), DataType(double), DataType(string))
    """
    values = [text for text in texts if text is not None]
    if not values:
        return pa.null()
    if all(map(_WHOLE.fullmatch, values)):
        return pa.int64()
    if all(map(_NUMBER.fullmatch, values)):
        return pa.float64()
    if all(map(_TIME.fullmatch, values)):
        is_date = all(len(value) == len("2024-01-31") for value in values)
        dtype = pa.date32() if is_date else pa.timestamp("us")
        with suppress(pa.ArrowException):
            pa.array(values).cast(dtype)
            return dtype
    return pa.string()


def key_column(text: str | None, dtype: pa.DataType, rows: int) -> pa.Array:
    """Return the value of a folder for each row; raise ArrowException if it is not of that type."""
    if text is None:
        return pa.nulls(rows, dtype)
    is_category = pa.types.is_dictionary(dtype)
    value = pa.scalar(text, pa.string()).cast(dtype.value_type if is_category else dtype)
    column = pa.repeat(value, rows)
    return column.dictionary_encode() if is_category else column


def first_difference(column: pa.Array, text: str | None) -> int | None:
    """Return the first row of a file's own column that is not the value of its folder.

    >>> first_difference(pa.array([1997, 1998]), "1997"), first_difference(pa.array(["a"]), "a")
    (1, None)
    """
    if not len(column):
        return None
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_floating(column.type):
        # NaN is a missing value.
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
        text = None if text is not None and text.lower() == "nan" else text
    equal = column.is_null()
    if text is not None:
        try:
            value = pa.scalar(text, pa.string()).cast(column.type)
        except pa.ArrowException:
            return 0
        equal = pc.equal(column, value).fill_null(False)
    row = pc.index(equal, False).as_py()
    return None if row < 0 else int(row)
