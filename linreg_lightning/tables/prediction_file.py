"""Writes a table of predictions batch by batch; it gets its name when it is complete."""

import csv
import io
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from linreg_lightning.atomic_file import UnfinishedFile, atomic_path, write_errors
from linreg_lightning.errors import InputError
from linreg_lightning.tables.discovery import first_line
from linreg_lightning.tables.table_file import dtype_kind

FORMATS = ("csv", "parquet")
Format = Literal["csv", "parquet"]
_MIN_ROWS_TO_WRITE = 2**16


@final
class PredictionFile:
    """One process's part of the table `path`, whose suffix is the format.

    The part is locked from the start, so that two runs never write one table. `merge` makes one
    table of all parts; `discard` removes the part. Missing values are empty in CSV.

    Raises:
        InputError: another run is writing the table, or the part cannot be written.
    """

    def __init__(self, path: Path, rank: int) -> None:
        self.path = path
        with _table_errors(path):
            self._part = UnfinishedFile(path, str(rank))
        self._writer: Any = None
        self._schema: pa.Schema | None = None
        self._pending: list[pa.Table] = []

    def write(self, table: pa.Table) -> None:
        """Append some rows; raise InputError if they cannot be written."""
        with _table_errors(self.path):
            # A kept column may have another type in another file.
            self._schema = self._schema or table.schema
            self._pending.append(table.cast(self._schema))
            if sum(pending.num_rows for pending in self._pending) >= _MIN_ROWS_TO_WRITE:
                self._flush()

    def close(self) -> None:
        """Write the remaining rows of the part; raise InputError if that fails."""
        with _table_errors(self.path):
            self._flush()
            if self._writer is not None:
                self._writer.close()
                self._part.flush()

    def merge(self, processes: int) -> bool:
        """Merge the closed parts of all processes into the table, in the order of their ranks.

        The first process merges while all hold their parts; then each discards its own.

        Returns:
            Whether there were rows.

        Raises:
            InputError: the table cannot be written.
        """
        paths = [self._part.of_part(str(rank)) for rank in range(processes)]
        parts = [path for path in paths if path.exists() and path.stat().st_size > 0]
        with _table_errors(self.path):
            if parts == [self._part.path]:
                self._part.rename()
            elif parts:
                with atomic_path(self.path) as merged:
                    (_merge_csv if self.path.suffix == ".csv" else _merge_parquet)(merged, parts)
        return bool(parts)

    def discard(self) -> None:
        """Close and remove the part, unless it has become the table."""
        with suppress(OSError, pa.ArrowException):
            if self._writer is not None:
                self._writer.close()
        self._part.discard()

    def _flush(self) -> None:
        if not self._pending:
            return
        if self._writer is None:
            writer = pq.ParquetWriter if self.path.suffix == ".parquet" else _CsvWriter
            self._writer = writer(self._part.path, self._schema)
        self._writer.write_table(pa.concat_tables(self._pending))
        self._pending = []


def _merge_csv(merged: Path, parts: list[Path]) -> None:
    with merged.open("wb") as target:
        for k, part in enumerate(parts):
            with part.open("rb") as source:
                header = source.readline() if k > 0 else b""
                while header.count(b'"') % 2:  # a name has a newline in quotes
                    header += source.readline()
                shutil.copyfileobj(source, target, 2**20)


def _merge_parquet(merged: Path, parts: list[Path]) -> None:
    schema = pq.read_schema(parts[0])
    with pq.ParquetWriter(merged, schema) as target:
        for part in parts:
            with pq.ParquetFile(part) as source:
                for i in range(source.num_row_groups):
                    target.write_table(source.read_row_group(i).cast(schema))


class _CsvWriter:
    """Quotes text only where a value needs it; pyarrow's writer quotes all text or none."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        header = io.StringIO()
        csv.writer(header, lineterminator="\n").writerow(schema.names)
        self._stream = path.open("wb")
        self._stream.write(header.getvalue().encode())
        self.close = self._stream.close

    def write_table(self, table: pa.Table) -> None:
        quotes = "needed" if any(map(_needs_quotes, table.columns)) else "none"
        options = pyarrow.csv.WriteOptions(include_header=False, quoting_style=quotes)
        if table.num_columns > 1 or not table.column(0).null_count:
            pyarrow.csv.write_csv(table, self._stream, options)
            return
        # Readers skip an empty line: a missing value that is alone in its row needs quotes.
        lines = pa.BufferOutputStream()
        pyarrow.csv.write_csv(table, lines, options)
        for line in lines.getvalue().to_pybytes().splitlines():
            self._stream.write((line or b'""') + b"\n")


def write_csv(path: Path, columns: Mapping[str, list[Any]]) -> None:
    """Write columns of text and numbers as a CSV file with a header; NaN is empty."""
    arrays = {name: pa.array(values, from_pandas=True) for name, values in columns.items()}
    table = pa.table(arrays)
    writer = _CsvWriter(path, table.schema)
    try:
        writer.write_table(table)
    finally:
        writer.close()


def _needs_quotes(column: pa.ChunkedArray) -> bool:
    is_text = dtype_kind(column.type) == "text"
    return is_text and bool(pc.any(pc.match_substring_regex(column, '[",\r\n]')).as_py())


@contextmanager
def _table_errors(path: Path) -> Iterator[None]:
    """Turn an error of the disk or of pyarrow into an InputError."""
    with write_errors(path):
        try:
            yield
        except pa.ArrowException as error:
            raise InputError(
                f"predictions: {path} cannot be written ({first_line(error)}); keep other columns, "
                "or set format to parquet"
            ) from None
