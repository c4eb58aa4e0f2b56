"""Values that stand for a missing one."""

from contextlib import suppress

import pyarrow as pa
import pyarrow.compute as pc

from linreg_lightning.tables.csv_format import CsvFormat


def drop_missing(table: pa.Table, csv_format: CsvFormat) -> pa.Table:
    """Turn the numbers and categories that stand for a missing value into none.

    An empty category does, also in quotes.
    """
    numbers, texts = csv_format.missing_numbers, {"", *csv_format.missing_texts}
    for k, column in enumerate(table.columns):
        missing: list[float] | list[str] = numbers
        if pa.types.is_dictionary(column.type):
            levels = {level for part in column.chunks for level in part.dictionary.to_pylist()}
            missing = [each for each in levels if each in texts or _is_in(each, numbers)]
        elif not pa.types.is_float64(column.type):
            continue
        if missing:
            is_number = pa.types.is_float64(column.type)
            plain = column if is_number else column.cast(pa.string())
            is_missing = pc.is_in(plain, pa.array(missing, plain.type))
            plain = pc.if_else(is_missing, pa.scalar(None, plain.type), plain)
            plain = plain if is_number else plain.dictionary_encode()
            table = table.set_column(k, table.column_names[k], plain)
    return table


def drop_markers(column: pa.Array, csv_format: CsvFormat) -> pa.Array:
    """Return an array of any type without the values that `na_values` names.

    >>> markers = CsvFormat(na_values=[-999, "?"])
    >>> drop_markers(pa.array([1, -999, None]), markers).to_pylist()
    [1, None, None]
    """
    numbers, texts = csv_format.missing_numbers, csv_format.missing_texts
    dtype, types = column.type, pa.types
    if not texts or types.is_boolean(dtype) or types.is_nested(dtype) or types.is_null(dtype):
        return column
    if types.is_dictionary(dtype):
        levels = pa.chunked_array([column]) if isinstance(column, pa.Array) else column
        entries = {level for part in levels.chunks for level in part.dictionary.to_pylist()}
        if not any(str(each) in texts or _is_in(str(each), numbers) for each in entries):
            return column
        plain = column.cast(dtype.value_type)
        return drop_markers(plain, csv_format).dictionary_encode()
    if types.is_integer(dtype) or types.is_floating(dtype) or types.is_decimal(dtype):
        is_missing = pc.is_in(
            column.cast(pa.float64(), safe=False), pa.array(numbers, pa.float64())
        )
    elif dtype in (pa.string(), pa.large_string(), pa.string_view()):
        column = column.cast(pa.string())
        levels = pc.unique(column).to_pylist()
        found = [
            each for each in levels if each is not None and (each in texts or _is_in(each, numbers))
        ]
        is_missing = pc.is_in(column, pa.array(found, pa.string()))
    else:
        found = []
        for text in texts:
            with suppress(pa.ArrowException):
                found.append(pa.scalar(text).cast(dtype).as_py())
        is_missing = pc.is_in(column, pa.array(found, dtype))
    if not pc.any(is_missing).as_py():
        return column
    return pc.if_else(is_missing, pa.scalar(None, column.type), column)


def _is_in(level: str, numbers: list[float]) -> bool:
    with suppress(ValueError):
        return bool(numbers) and float(level) in numbers
    return False
