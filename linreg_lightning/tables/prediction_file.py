"""A table that is written a batch at a time, and has its name only when it is complete."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, final

from linreg_lightning import arrow as pyarrow
from linreg_lightning.errors import InputError

FORMATS = ("csv", "parquet")
Format = Literal["csv", "parquet"]
# Rows that are written at a time.
_ROWS = 2**16


@final
class PredictionFile:
    """One process's part of a table, `<path>.part<rank>`, until `join` gives all of them the path.

    Missing values are empty in CSV. What cannot be written, and a full disk, are the user's to put
    right; then nothing is left behind.

    Args:
        path: of the complete table; its suffix says the format.
        rank: which process this is.
    """

    def __init__(self, path: Path, rank: int) -> None:
        self.path = path
        self._part = _part(path, rank)
        self._writer: Any = None
        self._stream: Any = None
        self._schema: Any = None
        self._held: list[Any] = []
        self._rows = 0

    def write(self, table: Any) -> None:
        """Append some rows, a pyarrow table.

        Raises:
            InputError: they cannot be written.
        """
        with _told(self.path):
            # Of a column that is kept, another file may have another type.
            self._schema = self._schema or table.schema
            self._held.append(table.cast(self._schema))
        self._rows += table.num_rows
        if self._rows >= _ROWS:
            self._flush()

    def close(self) -> None:
        """Write what is left.

        Raises:
            InputError: it cannot be written.
        """
        self._flush()
        with _told(self.path):
            if self._writer is None:
                self._part.unlink(missing_ok=True)  # that of a run that was killed here
                return
            self._writer.close()
            self._stream.close()

    def discard(self) -> None:
        """Leave nothing behind."""
        for file in (self._writer, self._stream):
            with suppress(OSError, pyarrow.ArrowException):
                if file is not None:
                    file.close()
        self._part.unlink(missing_ok=True)

    def _flush(self) -> None:
        if not self._held:
            return
        table = pyarrow.concat_tables(self._held)
        self._held, self._rows = [], 0
        with _told(self.path):
            if self._writer is None:
                self._part.parent.mkdir(parents=True, exist_ok=True)
                self._stream = self._part.open("wb")
                self._writer = _writer(self.path, self._stream, self._schema)
            self._writer.write_table(table)


def join(path: Path, processes: int) -> bool:
    """Put the parts of all processes one behind the other; whether there were any.

    Args:
        path: of the complete table.
        processes: how many may have written a part.

    Raises:
        InputError: it cannot be written.
    """
    parts = [part for rank in range(processes) if (part := _part(path, rank)).exists()]
    if not parts:
        return False
    with _told(path):
        first, *others = parts
        if others:
            whole = path.with_name(f"{path.name}.part")
            try:
                (_join_csv if path.suffix == ".csv" else _join_parquet)(whole, parts)
            except BaseException:
                whole.unlink(missing_ok=True)
                raise
            finally:
                for part in parts:
                    part.unlink(missing_ok=True)
            first = whole
        first.replace(path)
    return True


def _join_csv(whole: Path, parts: list[Path]) -> None:
    with whole.open("wb") as target:
        for k, part in enumerate(parts):
            with part.open("rb") as source:
                if k:
                    _header_of(source)
                shutil.copyfileobj(source, target, 2**20)


def _join_parquet(whole: Path, parts: list[Path]) -> None:
    schema = pyarrow.parquet.read_schema(parts[0])
    with pyarrow.parquet.ParquetWriter(whole, schema) as target:
        for part in parts:
            with pyarrow.parquet.ParquetFile(part) as source:
                for i in range(source.num_row_groups):
                    target.write_table(source.read_row_group(i).cast(schema))


def _writer(path: Path, stream: Any, schema: Any) -> Any:
    if path.suffix == ".parquet":
        return pyarrow.parquet.ParquetWriter(stream, schema)
    return _CsvWriter(stream, schema)


class _CsvWriter:
    """CSV with quotes where they are needed; pyarrow's own have them around all text or none."""

    def __init__(self, stream: Any, schema: Any) -> None:
        self._stream = stream
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(schema.names)
        stream.write(line.getvalue().encode())

    def write_table(self, table: Any) -> None:
        """Append some rows."""
        quotes = any(_is_text(column.type) and _needs_quotes(column) for column in table.columns)
        options = pyarrow.csv.WriteOptions(
            include_header=False, quoting_style="needed" if quotes else "none"
        )
        if table.num_columns == 1 and table.column(0).null_count:
            # Readers skip an empty line: a missing value that stands alone needs its quotes.
            lines = pyarrow.BufferOutputStream()
            pyarrow.csv.write_csv(table, lines, options)
            for line in lines.getvalue().to_pybytes().splitlines():
                self._stream.write((line or b'""') + b"\n")
            return
        pyarrow.csv.write_csv(table, self._stream, options)

    def close(self) -> None:
        """Nothing is held back."""


def _is_text(type_: Any) -> bool:
    return bool(pyarrow.types.is_string(type_) or pyarrow.types.is_large_string(type_))


def _needs_quotes(column: Any) -> bool:
    found = pyarrow.compute.match_substring_regex(column, '[",\r\n]')
    return bool(pyarrow.compute.any(found).as_py())


def _header_of(stream: Any) -> bytes:
    """Read the first line, whose names may hold newlines in quotes."""
    line: bytes = stream.readline()
    while line.count(b'"') % 2:
        line += stream.readline()
    return line


def _part(path: Path, rank: int) -> Path:
    return path.with_name(f"{path.name}.part{rank}")


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Say what cannot be written, and why."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"predictions: {path} cannot be written ({error.strerror or error}); make room, or "
            "name another folder by --trainer.default_root_dir"
        ) from None
    except pyarrow.ArrowException as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"predictions: {path} cannot be written ({reason}); keep other columns, or type "
            "--format parquet"
        ) from None
