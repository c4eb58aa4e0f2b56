"""Recognises data frames of any library, reads them as Arrow tables, and makes frames of results.

narwhals reads pandas, polars, pyarrow, Modin, cuDF and lazy frames; pyarrow reads every other table
by Arrow's stream protocol. Only narwhals and pyarrow are imported here.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

import narwhals.stable.v2 as nw
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from linreg_lightning.errors import InputError

Floats = NDArray[np.float64]
_PROTOCOLS = ("columns", "__arrow_c_stream__", "__narwhals_dataframe__", "__narwhals_lazyframe__")
ROUNDED = (
    "a whole number that float64 cannot hold; leave the column out by exclude, or subtract a "
    "constant from it"
)
_MAX_WHOLE = 2.0**53  # float64 holds every whole number up to here


def is_frame(values: object) -> bool:
    """Whether values are a table with named columns, of whatever library.

    >>> is_frame(pa.table({"age": [30, 40]})), is_frame([[30], [40]])
    (True, False)
    """
    # This check is quick; narwhals takes 30 microseconds to see that a value is no frame.
    if not any(hasattr(type(values), name) for name in _PROTOCOLS):
        return False
    wrapped = to_narwhals(values)
    if isinstance(wrapped, nw.Series):
        return False
    has_stream = hasattr(values, "__arrow_c_stream__")
    return isinstance(wrapped, nw.DataFrame | nw.LazyFrame) or has_stream


def is_series(values: object) -> bool:
    """Whether values are a single column, of whatever library.

    >>> is_series(pa.array([30, 40])), is_series(pa.table({"age": [30, 40]})), is_series([30, 40])
    (True, False, False)
    """
    if isinstance(values, pa.Array | np.ndarray):
        return isinstance(values, pa.Array)
    if not hasattr(values, "__arrow_c_stream__") and not hasattr(values, "dtype"):
        return False
    return isinstance(to_narwhals(values), nw.Series)


def describe(frame: Any) -> str:
    """Return a short description of a frame, which a checkpoint keeps in place of its rows.

    >>> describe(pa.table({"age": [30, 40]}))
    '<pyarrow Table in memory>'
    """
    kind = type(frame)
    return f"<{kind.__module__.partition('.')[0].strip('_')} {kind.__name__} in memory>"


def is_description(text: object) -> bool:
    """Whether a text comes from `describe`; the user then has to give the frame again."""
    return isinstance(text, str) and text.startswith("<") and text.endswith(" in memory>")


def column_names(frame: Any) -> list[str]:
    """Return the names of the columns of a frame, in order; no row is computed.

    >>> column_names(pa.table({"age": [30, 40], "city": ["Oslo", "Rome"]}))
    ['age', 'city']
    """
    wrapped = to_narwhals(frame)
    if isinstance(wrapped, nw.LazyFrame):
        return wrapped.collect_schema().names()
    names = getattr(wrapped, "columns", None)
    if isinstance(wrapped, pa.RecordBatch) or names is None or not hasattr(names, "__iter__"):
        names = wrapped.schema.names  # `columns` of a record batch are its values
    return [str(name) for name in names]


def collect(frame: Any) -> Any:
    """Return a frame whose rows are computed: a lazy frame is collected, a stream is read.

    >>> collect(pa.table({"age": [30]}).to_reader()).to_pydict()
    {'age': [30]}
    """
    wrapped = to_narwhals(frame)
    if isinstance(wrapped, nw.LazyFrame):
        wrapped = wrapped.collect()
    if isinstance(wrapped, nw.DataFrame):
        return wrapped.to_native()
    return pa.table(frame)


def to_arrow(frame: Any, argument: str = "x") -> pa.Table:
    """Return a data frame as an Arrow table, without a copy where its library allows that.

    Lazy frames are collected; the index of a pandas frame is left out.

    Raises:
        InputError: names that occur twice; a column of mixed or unknown types.

    >>> to_arrow(pa.table({"age": [30, 40]})).column_names
    ['age']
    """
    try:
        wrapped = nw.from_native(collect(frame))
        if wrapped.implementation.is_pandas():
            return _from_pandas(_without_pandas_types(wrapped.to_native()))
        if wrapped.implementation.is_polars():
            # Its own method copies text.
            return pa.table(_without_wide_integers(wrapped))
        return wrapped.to_arrow()
    except Exception as error:  # a lazy frame may raise any error of its library
        reason = "; ".join(map(str, error.args)).partition("\n")[0]
        kind = type(frame).__name__
        raise InputError(
            f"{argument}: the {kind} cannot be read as a table ({reason}); give columns with "
            "different names, each of one type, and leave out others"
        ) from error


def frame_like(frame: Any, columns: Mapping[str, Any]) -> Any:
    """Return columns, (rows,) arrays by name, as a frame of the same library as a given frame.

    A pandas frame keeps its index. A table that narwhals does not know becomes an Arrow table.

    >>> frame_like(pa.table({"age": [30, 40]}), {"prediction": [1.5, 2.5]}).to_pydict()
    {'prediction': [1.5, 2.5]}
    """
    wrapped = to_narwhals(frame)
    if not isinstance(wrapped, nw.DataFrame | nw.LazyFrame):
        return pa.table(dict(columns))
    if wrapped.implementation.is_pandas_like():
        namespace: Any = nw.get_native_namespace(wrapped)
        return namespace.DataFrame(dict(columns), index=nw.to_native(wrapped).index)
    backend = wrapped.implementation if wrapped.implementation.is_polars() else "pyarrow"
    return nw.from_dict(dict(columns), backend=backend).to_native()


def frame_numbers(values: Any, argument: str = "1") -> NDArray[Any]:
    """Return a frame as numbers, (rows, columns), or a series, (rows,); NaN for a missing value.

    They are float64, unless all columns are float32 or all are float16. A frame or series of
    pandas that holds such numbers only is not copied.

    Raises:
        ValueError: a column holds no numbers; InputError is one of these.
    """
    dtypes = getattr(values, "dtypes", None)
    dtypes = [values.dtype] if is_series(values) and hasattr(values, "dtype") else dtypes
    if dtypes is not None and all(isinstance(t, np.dtype) and t.kind in "fc" for t in dtypes):
        return np.asarray(values)
    if is_series(values):
        if isinstance(values, pa.Array):
            column: Any = pa.chunked_array([values])
        else:
            wrapped = nw.from_native(values, series_only=True).alias(_name_of(values, argument))
            column = to_arrow(wrapped.to_frame()).column(0)
        return column_numbers(column, _name_of(values, argument))
    table = to_arrow(values)
    types = set(table.schema.types)
    is_short = len(types) == 1 and types <= {pa.float32(), pa.float16()}
    dtype = table.schema.types[0].to_pandas_dtype() if is_short else np.float64
    numbers = np.empty((table.num_columns, table.num_rows), dtype)
    for row, name, column in zip(numbers, table.column_names, table.columns, strict=True):
        row[:] = column_numbers(column, name)
    return numbers.T


def column_numbers(column: pa.ChunkedArray, name: str) -> Floats:
    """Return a column of numbers or booleans as float64; raise ValueError for other types."""
    types, dtype = pa.types, column.type
    if types.is_dictionary(dtype):
        raise ValueError(f"column {name!r} has categories, of which TabularData makes indicators")
    is_number = types.is_integer(dtype) or types.is_floating(dtype) or types.is_decimal(dtype)
    if not (is_number or types.is_boolean(dtype) or types.is_null(dtype)):
        raise ValueError(f"column {name!r} has the type {dtype}")
    chunks = [parse_numbers(chunk, name) for chunk in column.chunks]
    return chunks[0] if len(chunks) == 1 else np.concatenate([np.empty(0), *chunks])


def parse_numbers(column: pa.Array, name: str) -> Floats:
    """Return an Arrow array as float64, NaN where a value is missing; parse text.

    Raises:
        pa.ArrowInvalid: a text is no number.
        InputError: float64 would round a whole number, so that other numbers become equal to it.

    >>> parse_numbers(pa.array([1, None, 3]), "age")
    array([ 1., nan,  3.])
    """
    return cast(Floats, to_numpy(to_float64(column, name), np.nan))


def to_float64(column: pa.Array, name: str) -> pa.Array:
    """Return an Arrow array as one of float64; raises as `parse_numbers` does."""
    types = pa.types
    if types.is_dictionary(column.type):
        column = column.dictionary_decode()
    source, is_decimal = column, types.is_decimal(column.type)
    if is_decimal:
        # Arrow's own conversion is off by the last bit in one of five numbers.
        column = column.cast(pa.string())
    if types.is_string(column.type) or types.is_large_string(column.type):
        column = pc.utf8_trim_whitespace(column)
    if not types.is_float64(column.type):
        column = column.cast(pa.float64(), safe=False)
    if is_decimal or types.is_int64(source.type) or types.is_uint64(source.type):
        _check_is_float64(source, column, name)
    return column


def to_numpy(column: pa.Array, null: float) -> NDArray[Any]:
    """Return the numbers of an Arrow array without a copy, or with a number in place of nulls."""
    # pyarrow's `to_numpy` and `fill_null` import pandas.
    return np.from_dlpack(column.fill_null(null) if column.null_count else column)


def may_be_rounded(numbers: pa.Array) -> bool:
    """Whether float64 numbers are so large that whole numbers near them are no float64."""
    smallest, largest = (value.as_py() or 0.0 for value in pc.min_max(numbers).values())
    return bool(max(-smallest, largest) >= _MAX_WHOLE)


def _check_is_float64(source: pa.Array, numbers: pa.Array, name: str) -> None:
    if not may_be_rounded(numbers):
        return
    for scalar in source.filter(pc.greater_equal(pc.abs(numbers), _MAX_WHOLE)):
        value = scalar.as_py()
        if float(value) != value:
            raise InputError(f"column {name!r}: {value} is {ROUNDED}")


def to_narwhals(values: Any) -> Any:
    """Return a frame or a series as narwhals wraps it, and anything else unchanged."""
    try:
        return nw.from_native(values, pass_through=True, allow_series=True)
    except nw.exceptions.DuplicateError as error:
        reason = str(error).replace("\n", " ")
        raise InputError(f"columns: {reason}; give them different names") from None


def _name_of(series: Any, unnamed: str) -> str:
    name = getattr(series, "name", None)
    return unnamed if name in (None, "") else str(name)


def _without_pandas_types(frame: Any) -> Any:
    """Return a pandas frame of types that pyarrow reads, with names and categories as text."""
    frame, plain = frame.set_axis(column_names(frame), axis=1), {}
    for name, dtype in frame.dtypes.items():
        categories = getattr(dtype, "categories", None)
        if categories is not None and str(categories.dtype).startswith(("interval", "period")):
            plain[name] = frame[name].cat.rename_categories([str(label) for label in categories])
        elif str(dtype).startswith("Sparse"):
            plain[name] = frame[name].sparse.to_dense()
    return frame.assign(**plain) if plain else frame


def _from_pandas(frame: Any) -> pa.Table:
    """Return a pandas frame as an Arrow table; dates are midnights in a column of times."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    # Where Python's dates come first, pyarrow keeps no more than the day of later times.
    mixed = {
        field.name: nw.get_native_namespace(frame).to_datetime(frame[field.name])
        for field in table.schema
        if pa.types.is_date32(field.type)
        and frame[field.name].dtype == object
        and any(isinstance(value, datetime) for value in frame[field.name].dropna())
    }
    return _from_pandas(frame.assign(**mixed)) if mixed else table


def _without_wide_integers(frame: Any) -> Any:
    """Return a polars frame with decimals for 128-bit integers, which Arrow does not have."""
    wide = [name for name, dtype in frame.schema.items() if dtype in (nw.Int128, nw.UInt128)]
    polars: Any = nw.get_native_namespace(frame)
    native = frame.to_native()
    return native.cast(dict.fromkeys(wide, polars.Decimal(38, 0))) if wide else native
