"""Writes a table of predictions batch by batch; it gets its name when it is complete."""

import csv
import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from linreg_lightning.atomic_file import atomic_path
from linreg_lightning.errors import InputError
from linreg_lightning.tables.discovery import first_line
from linreg_lightning.tables.table_file import dtype_kind

FORMATS = ("csv", "parquet")
Format = Literal["csv", "parquet"]
_MIN_ROWS_TO_WRITE = 2**16


@final
class PredictionFile:
    """One process's part of the table `path`, whose suffix is the format, in `<path>.part<rank>`.

    `merge_parts` makes one table of all parts. After an InputError, `discard` removes the part.
    Missing values are empty in CSV.
    """

    def __init__(self, path: Path, rank: int) -> None:
        self.path = path
        self._part = _part_path(path, rank)
        self._writer: Any = None
        self._schema: pa.Schema | None = None
        self._pending: list[pa.Table] = []

    def write(self, table: pa.Table) -> None:
        """Append some rows; raise InputError if they cannot be written."""
        with _write_errors(self.path):
            # A kept column may have another type in another file.
            self._schema = self._schema or table.schema
            self._pending.append(table.cast(self._schema))
            if sum(pending.num_rows for pending in self._pending) >= _MIN_ROWS_TO_WRITE:
                self._flush()

    def close(self) -> None:
        """Write the remaining rows and close the part; raise InputError if that fails."""
        with _write_errors(self.path):
            self._flush()
            if self._writer is None:
                self._part.unlink(missing_ok=True)  # an earlier run that was killed may have one
            else:
                self._writer.close()

    def discard(self) -> None:
        """Close and remove the part."""
        with suppress(OSError, pa.ArrowException):
            if self._writer is not None:
                self._writer.close()
        self._part.unlink(missing_ok=True)

    def _flush(self) -> None:
        if not self._pending:
            return
        if self._writer is None:
            self._part.parent.mkdir(parents=True, exist_ok=True)
            writer = pq.ParquetWriter if self.path.suffix == ".parquet" else _CsvWriter
            self._writer = writer(self._part, self._schema)
        self._writer.write_table(pa.concat_tables(self._pending))
        self._pending = []


def merge_parts(path: Path, processes: int) -> bool:
    """Merge the parts of all processes into the table `path`, in the order of their ranks.

    Returns:
        Whether there was a part.

    Raises:
        InputError: the table cannot be written.
    """
    parts = [part for rank in range(processes) if (part := _part_path(path, rank)).exists()]
    if not parts:
        return False
    with _write_errors(path):
        if len(parts) == 1:
            parts[0].replace(path)
            return True
        try:
            with atomic_path(path) as merged:
                (_merge_csv if path.suffix == ".csv" else _merge_parquet)(merged, parts)
        finally:
            for part in parts:
                part.unlink(missing_ok=True)
    return True


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


def _needs_quotes(column: pa.ChunkedArray) -> bool:
    is_text = dtype_kind(column.type) == "text"
    return is_text and bool(pc.any(pc.match_substring_regex(column, '[",\r\n]')).as_py())


def _part_path(path: Path, rank: int) -> Path:
    return path.with_name(f"{path.name}.part{rank}")


@contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    """Turn an error of the disk or of pyarrow into an InputError."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        reason, remedy = first_line(error), "keep other columns, or set format to parquet"
        if isinstance(error, OSError):
            reason = error.strerror or str(error)
            remedy = "make room, or give the Trainer another default_root_dir"
        text = f"predictions: {path} cannot be written ({reason}); {remedy}"
        raise InputError(text) from None
