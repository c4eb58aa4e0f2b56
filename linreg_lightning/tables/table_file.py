"""What each file format offers: the columns, the number of rows, and the rows themselves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar

import pyarrow as pa
from pyarrow import fs

from linreg_lightning.errors import InputError


class TableFile(ABC):
    """A file that is read in order, in part or as a whole, in constant memory.

    Creating one opens the file and reads its columns into the attribute `schema`.

    Args:
        path: of the file, as its file system names it.
        filesystem: the file system.
        size: of the file, in bytes.

    Raises:
        InputError: the file cannot be read, two columns have the same name, or one has none.
    """

    format_name: ClassVar[str]
    """What messages call the format."""

    def __init__(self, path: str, filesystem: fs.FileSystem, size: int) -> None:
        self.path = path
        self.filesystem = filesystem
        self.size = size
        with self.read_errors():
            self.schema = self.read_schema()
        _check_column_names(self.schema.names, path)

    @abstractmethod
    def read_schema(self) -> pa.Schema:
        """Return the columns; a format of text guesses their types from the first rows."""

    @abstractmethod
    def count_rows(self) -> int:
        """Count the rows; a format of text reads the whole file for it.

        Raises:
            InputError: the file cannot be read.
        """

    @abstractmethod
    def read(
        self, types: Mapping[str, pa.DataType], start: int, stop: int | None, size: int
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield (number of the first row, record batch), in the order of the rows.

        Args:
            types: the columns to read, at least one; a format of text reads them as these types.
            start: the first row, from 0.
            stop: the row after the last one; None reads to the end.
            size: the most rows of a record batch.

        Raises:
            InputError: the file is damaged, or a value of text does not have its type.
        """

    @contextmanager
    def read_errors(self) -> Iterator[None]:
        """Turn an error of pyarrow into an InputError."""
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            raise read_error(error, self.path, self.format_name) from None


def read_error(error: Exception, path: str, format_name: str) -> InputError:
    """Say why pyarrow cannot open or read a file."""
    if isinstance(error, FileNotFoundError):
        return InputError(f"path: there is no file {path}; check the name")
    if isinstance(error, PermissionError):
        return InputError(f"path: {path} is not yours to read; change its permissions")
    return InputError(
        f"path: {path} cannot be read as {format_name}: it is damaged, cut off or something else "
        f"({first_line(error)}); get it again"
    )


def first_line(error: Exception) -> str:
    """Return the first line of an error's message: pyarrow appends its C++ stack."""
    return str(error).strip().partition("\n")[0]


def overlap(first_row: int, rows: int, start: int, stop: int | None) -> range:
    """Find the rows of a block that are wanted, numbered from 0 within the block.

    Args:
        first_row: the number of the block's first row in the file.
        rows: of the block.
        start: the first row wanted, as numbered in the file.
        stop: the row after the last one wanted; None means to the end.

    >>> overlap(first_row=100, rows=10, start=105, stop=None)
    range(5, 10)
    >>> len(overlap(first_row=100, rows=10, start=120, stop=None))
    0
    """
    return range(max(start - first_row, 0), rows if stop is None else min(stop - first_row, rows))


def slices(
    batch: pa.RecordBatch, first_row: int, start: int, stop: int | None, size: int
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield the rows of a batch that `TableFile.read` was asked for, `size` at a time."""
    wanted = overlap(first_row, batch.num_rows, start, stop)
    for row in wanted[::size]:
        yield first_row + row, batch.slice(row, min(size, wanted.stop - row))


def _check_column_names(names: list[str], path: str) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise InputError(f"path: {path} has two columns named {repeated[0]!r}; rename one")
    if "" in names:
        raise InputError(
            f"path: column {names.index('') + 1} of {path} has no name; name it or leave it out "
            "(pandas writes such a column of row numbers without index=False)"
        )
