"""One table made of one or many files, with a fixed order of the rows."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, final

import pyarrow as pa
from pyarrow import fs

from linreg_lightning.errors import InputError
from linreg_lightning.tables.csv import CsvFile, check_dialect
from linreg_lightning.tables.discovery import Partition, find_files
from linreg_lightning.tables.dtypes import common_dtype, dtype_kind
from linreg_lightning.tables.formats import open_table_file
from linreg_lightning.tables.table_file import TableFile, first_line, overlap

_LISTED_NAMES = 20


class Chunk(NamedTuple):
    """Consecutive rows of a table.

    Attributes:
        table: the rows, a record batch.
        start: the number of the first row in the whole table, from 0.
        file: the path of the file, for messages; empty where the table is one file.
        start_in_file: the number of the first row in that file, from 0.
    """

    table: pa.RecordBatch
    start: int
    file: str
    start_in_file: int

    def where(self, row: int) -> str:
        """Name a row for a message: `row` counts from 0 in the chunk, the name from 1 in the file.

        >>> Chunk(None, start=50, file="b.csv", start_in_file=10).where(0)
        'row 11 of b.csv'
        """
        return f"row {self.start_in_file + row + 1}{self.file and f' of {self.file}'}"


@final
class TableDataset:
    """Files of one format with the same columns; the rows of a file follow those of the one before.

    Files of a folder or a pattern come in the order of their paths. A folder named `column=value`
    gives its files that column. Creating a dataset reads the columns of every file.

    Args:
        paths: files, folders, patterns such as `2024-*.csv`, or addresses such as `s3://bucket/a`.
        argument: the name of the user's argument that gave the paths, for messages.
        delimiter: between the columns of a CSV file, one character, or `tab`.
        decimal: the decimal point of a CSV file.

    Attributes:
        name: the paths, for messages.
        schema: all columns. A type is the one that the files have in common; a CSV file has no
            types, and its first rows are a guess.

    Raises:
        InputError: there is no such file, a file cannot be read, or files differ in their format,
            their columns or the types of these.
    """

    def __init__(
        self,
        paths: Sequence[str],
        argument: str = "path",
        delimiter: str = ",",
        decimal: str = ".",
    ) -> None:
        delimiter, decimal = check_dialect(delimiter, decimal)
        found = [file for path in paths for file in find_files(path)]
        if not found:
            raise InputError(f"{argument}: none was given; type the name of a file")
        self.name = " ".join(paths)
        self._files = [open_table_file(file, delimiter, decimal) for file in found]
        self._partitions = [file.partition for file in found]
        self._row_counts: list[int] | None = None
        _check_files(self._files)
        self.schema = self._merge_schemas()

    @property
    def is_text(self) -> bool:
        """Whether types are guesses, which each value read as text may refute."""
        return isinstance(self._files[0], CsvFile)

    @property
    def size(self) -> int:
        """The size of all files, in bytes."""
        return sum(file.size for file in self._files)

    def count_rows(self) -> int:
        """Count the rows of all files, once; this reads CSV files from end to end."""
        return sum(self._count_rows_by_file())

    def check_columns(self, argument: str, names: Sequence[str]) -> None:
        """Check that the table has some columns.

        Args:
            argument: the name of the user's argument that gave the columns, for messages.
            names: the columns.

        Raises:
            InputError: a column does not exist, or is named twice.
        """
        header = self.schema.names
        for name in names:
            if name not in header:
                similar = difflib.get_close_matches(name, header, n=1)
                if len(header) == 1 and self.is_text and re.search(r"[;\t|]", header[0]):
                    hint = (
                        "it has one column, with ; or tabs in it: type what separates columns, "
                        "such as delimiter ';' or tab"
                    )
                elif similar:
                    hint = f"did you mean {similar[0]!r}?"
                else:
                    hint = "it has " + ", ".join(header[:_LISTED_NAMES])
                    if len(header) > _LISTED_NAMES:
                        hint += f" and {len(header) - _LISTED_NAMES} more"
                raise InputError(f"{argument}: {self.name} has no column {name!r}; {hint}")
        if len(set(names)) < len(names):
            raise InputError(f"{argument}: {list(names)} names a column twice; name it once")

    def read(
        self, types: Mapping[str, pa.DataType], size: int, start: int = 0, stop: int | None = None
    ) -> Iterator[Chunk]:
        """Yield chunks of some columns, in the order of the rows, in constant memory.

        Args:
            types: the columns; values of a CSV file are read as these types.
            size: the most rows of a chunk.
            start: the first row, from 0.
            stop: the row after the last one; None reads to the end.

        Raises:
            InputError: a file is damaged, or a value of a CSV file does not have its type.
        """
        types = types or {self.schema.names[0]: pa.string()}  # no columns would mean no rows
        reads_all = start == 0 and stop is None
        # To read all rows, nobody needs to count them beforehand.
        row_counts = None if reads_all else self._count_rows_by_file()
        file_start = 0
        for i, (file, partition) in enumerate(zip(self._files, self._partitions, strict=True)):
            first, last = 0, None
            if row_counts is not None:
                wanted = overlap(file_start, row_counts[i], start, stop)
                first, last = wanted.start, wanted.stop
            rows = 0
            if last is None or first < last:
                in_file = {name: dtype for name, dtype in types.items() if name not in partition}
                in_file = in_file or {file.schema.names[0]: pa.string()}
                for first_row, batch in file.read(in_file, first, last, size):
                    table = self._select(batch, partition, list(types))
                    if not self.is_text:
                        table = self._cast(table, file.path)
                    path = file.path if len(self._files) > 1 else ""
                    yield Chunk(table, file_start + first_row, path, first_row)
                    rows = first_row + batch.num_rows
            file_start += rows if row_counts is None else row_counts[i]
        if reads_all and file_start == 0:
            raise InputError(f"path: {self.name} has a header but no rows; name a file with rows")

    def _count_rows_by_file(self) -> list[int]:
        if self._row_counts is None:
            self._row_counts = [file.count_rows() for file in self._files]
        return self._row_counts

    def _select(self, batch: pa.RecordBatch, partition: Partition, names: list[str]) -> pa.Table:
        """Put columns of the file and of its folders in the order asked for."""
        if not any(name in partition for name in names):
            return batch if batch.schema.names == names else batch.select(names)
        columns = []
        for name in names:
            if name in partition:
                # The value looks like a number here, and may be text in another folder.
                value = pa.scalar(partition[name]).cast(self.schema.field(name).type)
                columns.append(pa.repeat(value, batch.num_rows))
            else:
                columns.append(batch.column(name))
        return pa.RecordBatch.from_arrays(columns, names=names)

    def _cast(self, table: pa.RecordBatch, path: str) -> pa.RecordBatch:
        """Give each column the type that it has in all files."""
        for i, field in enumerate(table.schema):
            dtype = common_dtype(self.schema.field(field.name).type, field.type)
            if dtype == field.type:
                continue
            try:
                column = table.column(i).cast(dtype)
            except pa.ArrowException as error:
                raise InputError(
                    f"path: column {field.name!r} of {path} is {field.type}, and in other files "
                    f"{dtype} ({first_line(error)}); write it with the same type"
                ) from None
            table = table.set_column(i, field.name, column)
        return table

    def _merge_schemas(self) -> pa.Schema:
        partition_types = _partition_types(self._partitions)
        merged = None
        for file, partition in zip(self._files, self._partitions, strict=True):
            schema = file.schema
            for name in partition:
                if name in schema.names:
                    raise InputError(
                        f"path: {file.path} has a column {name!r}, and lies in a folder "
                        f"{name}=...; rename one"
                    )
                schema = schema.append(pa.field(name, partition_types[name]))
            if merged is None:
                merged = schema
                continue
            self._check_same_columns(merged, schema, file.path)
            for i, field in enumerate(merged):
                # CSV files need not have a common type, except for a column that is empty in one.
                if not self.is_text or pa.types.is_null(field.type):
                    dtype = common_dtype(field.type, schema.field(field.name).type)
                    merged = merged.set(i, field.with_type(dtype))
        return merged

    def _check_same_columns(self, first: pa.Schema, other: pa.Schema, path: str) -> None:
        first_path = self._files[0].path
        for has, lacks, one, two in (
            (first_path, path, first, other),
            (path, first_path, other, first),
        ):
            missing = [name for name in one.names if name not in two.names]
            if missing:
                raise InputError(
                    f"path: {has} has a column {missing[0]!r}, and {lacks} has none; name files "
                    "with the same columns"
                )
        if self.is_text:
            return  # each value is checked when it is read
        for field in first:
            dtypes = field.type, other.field(field.name).type
            is_empty = any(map(pa.types.is_null, dtypes))
            if not is_empty and dtype_kind(dtypes[0]) != dtype_kind(dtypes[1]):
                raise InputError(
                    f"path: column {field.name!r} is {dtypes[0]} in {first_path} and {dtypes[1]} "
                    f"in {path}; name files with the same columns"
                )


def _check_files(files: Sequence[TableFile]) -> None:
    """Check that no file occurs twice, and that all have the same format."""
    paths = [
        Path(file.path).resolve() if isinstance(file.filesystem, fs.LocalFileSystem) else file.path
        for file in files
    ]
    path, times = Counter(paths).most_common(1)[0]
    if times > 1:
        raise InputError(f"path: {path} is named {times} times; name each file once")
    first = files[0]
    for file in files:
        if type(file) is not type(first):
            raise InputError(
                f"path: {first.path} is {first.format_name} and {file.path} is {file.format_name}; "
                "name files of one kind, such as by a pattern"
            )


def _partition_types(partitions: Sequence[Partition]) -> dict[str, pa.DataType]:
    """Choose integers for a column whose values all are, and text for the others."""
    types = {}
    for name in {name for partition in partitions for name in partition}:
        values = [partition.get(name) for partition in partitions]
        is_integer = all(value is None or isinstance(value, int) for value in values)
        types[name] = pa.int64() if is_integer else pa.string()
    return types
