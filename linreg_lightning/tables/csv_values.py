"""Values of a CSV file that stand for a missing one."""

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


def _is_in(level: str, numbers: list[float]) -> bool:
    with suppress(ValueError):
        return bool(numbers) and float(level) in numbers
    return False
