"""Data frames of any library: recognised, read as Arrow tables, and made again for results.

pandas, polars, pyarrow, Modin, cuDF and lazy frames come through narwhals; every other table, such
as a relation of DuckDB, by Arrow's stream protocol. None of these libraries is imported here.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import narwhals.stable.v2 as nw
import pyarrow as pa

from linreg_lightning.errors import InputError


def is_frame(values: object) -> bool:
    """Whether values are a table with named columns, of whatever library.

    >>> is_frame(pa.table({"age": [30, 40]})), is_frame([[30], [40]])
    (True, False)
    """
    try:
        if isinstance(nw.from_native(values, pass_through=True), nw.DataFrame | nw.LazyFrame):
            return True
    except nw.exceptions.DuplicateError:  # two columns of pandas have one name
        return True
    # A pandas or polars series has the stream protocol too, but one column without a table.
    has_columns = hasattr(values, "columns") or hasattr(values, "schema")
    return has_columns and hasattr(values, "__arrow_c_stream__")


def to_arrow(frame: Any, argument: str = "x") -> pa.Table:
    """Return a data frame as an Arrow table, without a copy where its library allows that.

    Lazy frames are collected; the index of a pandas frame is left out.

    Raises:
        InputError: names that are no text or occur twice; a column of mixed or unknown types.

    >>> to_arrow(pa.table({"age": [30, 40]})).column_names
    ['age']
    """
    with _table_errors(frame, argument):
        native = nw.from_native(frame, pass_through=True)
        if isinstance(native, nw.LazyFrame):
            native = native.collect()
        if not isinstance(native, nw.DataFrame):
            return pa.table(frame)
        if native.implementation.is_pandas():
            return pa.Table.from_pandas(native.to_native(), preserve_index=False)
        return native.to_arrow()


@contextmanager
def _table_errors(frame: Any, argument: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, TypeError, ValueError, nw.exceptions.NarwhalsError) as error:
        reason = str(error).splitlines()[0]
        kind = type(frame).__name__
        raise InputError(
            f"{argument}: the {kind} cannot be read as a table ({reason}); give columns with "
            "different names, each of one type"
        ) from None


def column_names(frame: Any) -> list[str]:
    """Return the names of the columns of a data frame; nothing is read.

    >>> column_names(pa.table({"age": [30, 40]}))
    ['age']
    """
    native = nw.from_native(frame, pass_through=True)
    if isinstance(native, nw.DataFrame | nw.LazyFrame):
        return [str(name) for name in native.collect_schema().names()]
    return list(frame.schema.names if hasattr(frame, "schema") else frame.columns)


def select_columns(frame: Any, names: Sequence[str], argument: str = "x") -> pa.Table:
    """Return columns of a data frame by name, in this order; other columns are not read.

    Raises:
        InputError: the frame lacks a column; see also `to_arrow`.

    >>> select_columns(pa.table({"age": [30], "sqft": [90]}), ["sqft"]).column_names
    ['sqft']
    """
    with _table_errors(frame, argument):
        present = column_names(frame)
    for name in names:
        if name not in present:
            text = f"the {type(frame).__name__} has no column {name!r}"
            raise InputError(f"{argument}: {text}; {_name_hint(name, present)}")
    places = [present.index(name) for name in names]
    native = nw.from_native(frame, pass_through=True)
    if isinstance(native, nw.DataFrame):
        # pandas may have names that are no text.
        table = to_arrow(native[:, places].to_native(), argument)
    elif isinstance(native, nw.LazyFrame):
        table = to_arrow(native.select(*names).to_native(), argument)
    else:
        table = to_arrow(frame, argument).select(places)
    return table.rename_columns(list(names))


def _name_hint(name: str, present: list[str]) -> str:
    same_case = {other.lower(): other for other in present}
    if similar := difflib.get_close_matches(name.lower(), same_case, n=1):
        return f"did you mean {same_case[similar[0]]!r}?"
    more = f" and {len(present) - 20} more" if len(present) > 20 else ""
    return f"it has {', '.join(present[:20])}{more}; an array is taken by position"


def frame_like(frame: Any, columns: Mapping[str, Any]) -> Any:
    """Return columns, (rows,) arrays by name, as a frame of the library of another frame.

    A pandas frame keeps its index. What narwhals does not know becomes an Arrow table.

    >>> frame_like(pa.table({"age": [30, 40]}), {"prediction": [1.5, 2.5]}).to_pydict()
    {'prediction': [1.5, 2.5]}
    """
    native = nw.from_native(frame, pass_through=True)
    if not isinstance(native, nw.DataFrame | nw.LazyFrame):
        return pa.table(dict(columns))
    if native.implementation.is_pandas_like():
        namespace: Any = nw.get_native_namespace(native)
        return namespace.DataFrame(dict(columns), index=nw.to_native(native).index)
    backend = native.implementation if native.implementation.is_polars() else "pyarrow"
    return nw.from_dict(dict(columns), backend=backend).to_native()
