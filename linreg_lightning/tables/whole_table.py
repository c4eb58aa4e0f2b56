"""Tables that are in memory as a whole: data frames, and formats that a library reads at once."""

from abc import abstractmethod
from importlib import import_module
from typing import Any

import pyarrow as pa
from pyarrow import fs

from linreg_lightning.errors import InputError
from linreg_lightning.tables.discovery import DataFile
from linreg_lightning.tables.table_file import Batches, TableFile, Types


class WholeTable(TableFile):
    """A table that `load` returns once, and that stays in memory."""

    def __init__(self, file: DataFile) -> None:
        self.table: pa.Table = None
        super().__init__(file)

    @abstractmethod
    def load(self) -> pa.Table:
        """Return all rows."""

    def read_schema(self) -> pa.Schema:
        self.table = self.load()
        return self.table.schema

    def count_rows(self) -> int:
        return int(self.table.num_rows)

    def read_batches(self, types: Types, start: int, stop: int | None, size: int) -> Batches:
        first_row = start
        rows = self.select(types).slice(start, None if stop is None else stop - start)
        for batch in rows.to_batches(size):
            yield first_row, batch
            first_row += batch.num_rows

    def select(self, types: Types) -> pa.Table:
        """Return some columns; a format with labels or several types of cells heeds the types."""
        return self.table.select(list(types))

    def local_path(self) -> str:
        """Return the path, for libraries that read from this machine only."""
        if not isinstance(self.filesystem, fs.LocalFileSystem):
            raise self.error(
                f"is {self.format_name}, which is read from this machine; copy it here"
            )
        return self.path


def import_reader(name: str, file: DataFile, format_name: str) -> Any:
    """Import a library of the extra `formats`; raise InputError without it."""
    try:
        return import_module(name)
    except ImportError:
        text = f"{file.argument}: {file.path} is {format_name}, which {name} reads"
        remedy = "pip install 'linreg_lightning[formats]'"
        raise InputError(f"{text}; type {remedy}") from None
