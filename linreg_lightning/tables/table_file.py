"""What each file format offers: the columns, the number of rows, and the rows themselves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar

import pyarrow as pa

from linreg_lightning.errors import InputError
from linreg_lightning.tables.discovery import DataFile, first_line

Types = Mapping[str, pa.DataType]
"""Columns, with the type to read each as."""
Batches = Iterator[tuple[int, pa.RecordBatch]]
"""Rows in their order: the number of the first one in the file, from 0, and a record batch."""


class TableFile(ABC):
    """A file that is read in order, in constant memory; creating one reads the `schema`.

    Raises:
        InputError: the file cannot be read, two columns have the same name, or one has none.
    """

    format_name: ClassVar[str]

    def __init__(self, file: DataFile) -> None:
        self.path, self.filesystem, self.size, self.partition = file
        with self.read_errors():
            self.schema = self.read_schema()
        _check_column_names(self.schema.names, self.path)

    @abstractmethod
    def read_schema(self) -> pa.Schema:
        """Return the columns; a format of text guesses their types from the first rows."""

    @abstractmethod
    def count_rows(self) -> int:
        """Count the rows; a format of text reads the whole file for it."""

    @abstractmethod
    def read(self, types: Types, start: int, stop: int | None, size: int) -> Batches:
        """Yield (number of the first row, at most `size` rows) from row `start` to before `stop`.

        `types` names at least one column; a format with types of its own ignores these.

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
    reason = f"it is damaged, cut off or something else ({first_line(error)})"
    return InputError(f"path: {path} cannot be read as {format_name}: {reason}; get it again")


def overlap(first_row: int, rows: int, start: int, stop: int | None) -> range:
    """Find the rows from start to stop in a block of `rows` rows, counted from 0 in the block.

    >>> overlap(first_row=100, rows=10, start=105, stop=None)
    range(5, 10)
    """
    return range(max(start - first_row, 0), rows if stop is None else min(stop - first_row, rows))


def slices(
    batch: pa.RecordBatch, first_row: int, start: int, stop: int | None, size: int
) -> Batches:
    """Yield the rows of a batch between start and stop, `size` at a time."""
    wanted = overlap(first_row, batch.num_rows, start, stop)
    for row in wanted[::size]:
        yield first_row + row, batch.slice(row, min(size, wanted.stop - row))


def _check_column_names(names: list[str], path: str) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise InputError(f"path: {path} has two columns named {name!r}; rename one")
    if "" in names:
        hint = "pandas writes such a column of row numbers without index=False"
        text = f"path: column {names.index('') + 1} of {path} has no name"
        raise InputError(f"{text}; name it or leave it out ({hint})")
