"""Which class reads a file: its first bytes decide."""

from __future__ import annotations

import pyarrow as pa

from linreg_lightning.tables.arrow import ArrowFile
from linreg_lightning.tables.csv import CsvFile
from linreg_lightning.tables.discovery import DataFile
from linreg_lightning.tables.parquet import ParquetFile
from linreg_lightning.tables.table_file import TableFile, read_error

# How the files of a format begin; a file that begins otherwise is read as CSV.
FIRST_BYTES: dict[bytes, type[TableFile]] = {b"PAR1": ParquetFile, b"ARROW1": ArrowFile}


def open_table_file(file: DataFile, delimiter: str, decimal: str) -> TableFile:
    """Open a file with the class of its format; only CSV has a delimiter and a decimal point.

    Raises:
        InputError: the file cannot be read, or has columns that cannot be used.
    """
    try:
        with file.filesystem.open_input_stream(file.path, compression=None) as stream:
            start = stream.read(max(map(len, FIRST_BYTES)))
    except (OSError, pa.ArrowException) as error:
        raise read_error(error, file.path, "a table") from None
    for first_bytes, file_class in FIRST_BYTES.items():
        if start.startswith(first_bytes):
            return file_class(file)
    return CsvFile(file, delimiter, decimal)
