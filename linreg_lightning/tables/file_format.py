"""Recognises the format of a file by its first bytes."""

import re
from contextlib import suppress

import pyarrow as pa

from linreg_lightning.errors import InputError
from linreg_lightning.tables.arrow import ArrowFile, ArrowStream
from linreg_lightning.tables.csv import CsvFile
from linreg_lightning.tables.csv_format import CsvFormat
from linreg_lightning.tables.discovery import DataFile, read_error
from linreg_lightning.tables.excel import ExcelSheet
from linreg_lightning.tables.json_lines import BYTE_ORDER_MARK, JsonLinesFile
from linreg_lightning.tables.parquet import ParquetFile
from linreg_lightning.tables.statistics_file import (
    SAS,
    SAS_TRANSPORT,
    SPSS,
    STATA,
    Reader,
    StatisticsFile,
)
from linreg_lightning.tables.table_file import TableFile

_START_BYTES = 256
# How the files of a format begin. A file that begins otherwise is read as CSV.
FIRST_BYTES: dict[bytes, type[TableFile]] = {
    b"PAR1": ParquetFile,
    b"ARROW1": ArrowFile,
    b"\xff\xff\xff\xff": ArrowStream,
}
_READERS: dict[bytes, Reader] = {
    b"<stata_dta>": STATA,
    b"\x71\x01\x01": STATA,  # versions 113 to 115, little and big endian
    b"\x71\x02\x01": STATA,
    b"\x72\x01\x01": STATA,
    b"\x72\x02\x01": STATA,
    b"\x73\x01\x01": STATA,
    b"\x73\x02\x01": STATA,
    b"$FL2": SPSS,
    b"$FL3": SPSS,
    b"\0" * 12 + b"\xc2\xea\x81\x60": SAS,
    b"HEADER RECORD*******LIB": SAS_TRANSPORT,
}
_WORKBOOKS = (
    b"\xd0\xcf\x11\xe0",  # Excel before 2007
    b"PK\x03\x04",  # Excel since then, and OpenDocument, are ZIP archives
)
_FROM_PANDAS = "convert it in Python: pandas.{}.to_parquet('rows.parquet')"
# Formats that are refused, and what to do.
_REFUSED: dict[bytes, tuple[str, str]] = {
    b"\x89HDF": ("an HDF5 file", _FROM_PANDAS.format("read_hdf('FILE')")),
    b"ORC": ("an ORC file", _FROM_PANDAS.format("read_orc('FILE')")),
    b"SQLite format 3": (
        "an SQLite database",
        _FROM_PANDAS.format("read_sql('SELECT * FROM TABLE', sqlite3.connect('FILE'))"),
    ),
    b"Obj\x01": (
        "an Avro file",
        "convert it in Python: polars.read_avro('FILE').write_parquet('rows.parquet')",
    ),
    b"\x93NUMPY": ("a NumPy array", "use it from Python: TensorData(numpy.load('FILE'), y)"),
    b"\x80\x04": ("a pickle of Python", _FROM_PANDAS.format("read_pickle('FILE')")),
    b"\x80\x05": ("a pickle of Python", _FROM_PANDAS.format("read_pickle('FILE')")),
    b"%PDF": ("a PDF document", "get the rows as CSV"),
    b"<!DOCTYPE html": ("a web page", "it may be an error page; download the file itself"),
    b"<html": ("a web page", "it may be an error page; download the file itself"),
}
_R_NAMES = (".rds", ".rdata", ".rda")


def open_table_file(file: DataFile, csv_format: CsvFormat, sheet: str | None = None) -> TableFile:
    """Open a file as its first bytes say; as CSV if they say nothing.

    Raises:
        InputError: the file cannot be read, is damaged, or has a format that is not read.
    """
    try:
        with file.filesystem.open_input_stream(file.path, compression=None) as stream:
            start = stream.read(_START_BYTES)
    except (OSError, pa.ArrowException) as error:
        raise read_error(error, file.argument, file.path, "a table") from None
    for first_bytes, file_class in FIRST_BYTES.items():
        if start.startswith(first_bytes):
            return file_class(file)
    for first_bytes, reader in _READERS.items():
        if start.startswith(first_bytes):
            return StatisticsFile(file, reader, csv_format)
    if start.startswith(_WORKBOOKS):
        return ExcelSheet(file, sheet, csv_format)
    if file.path.lower().endswith(_R_NAMES):
        remedy = "write it in R: write.csv(rows, 'rows.csv', row.names = FALSE)"
        raise _refuse(file, "a file of R", remedy)
    for first_bytes, (name, remedy) in _REFUSED.items():
        if start.lower().startswith(first_bytes.lower()):
            raise _refuse(file, name, remedy)
    start = _decompressed_start(file).removeprefix(BYTE_ORDER_MARK)
    if re.match(rb"\s*\[\s*\{", start):
        text = "pandas.read_json('FILE').to_json('rows.jsonl', orient='records', lines=True)"
        raise _refuse(file, "a JSON array", f"convert it to JSON lines in Python: {text}")
    if re.match(rb'\s*\{\s*["}]', start):
        return JsonLinesFile(file)
    return CsvFile(file, csv_format)


def _refuse(file: DataFile, format_name: str, remedy: str) -> InputError:
    remedy = remedy.replace("FILE", file.path)
    return InputError(f"{file.argument}: {file.path} is {format_name}, which is not read; {remedy}")


def _decompressed_start(file: DataFile) -> bytes:
    """Return the first bytes of the text, empty if it cannot be decompressed: CsvFile says why."""
    start = b""
    with suppress(OSError, pa.ArrowException), file.filesystem.open_input_stream(file.path) as text:
        start = text.read(_START_BYTES)
    return start
