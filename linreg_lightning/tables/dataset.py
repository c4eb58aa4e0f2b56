"""What a path means: one file or many, read as one table in a fixed order of the rows."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, final

from linreg_lightning import arrow as pyarrow
from linreg_lightning.errors import InputError
from linreg_lightning.tables.arrow import ArrowFile
from linreg_lightning.tables.csv import CsvFile
from linreg_lightning.tables.discovery import DataFile, find_files
from linreg_lightning.tables.dtypes import joint, kind
from linreg_lightning.tables.parquet import ParquetFile
from linreg_lightning.tables.table_file import Span, TableFile


class Chunk(NamedTuple):
    """Some rows in succession.

    Attributes:
        table: a pyarrow record batch.
        start: the number of its first row in the whole table, from 0.
        file: where it comes from, for messages; empty where there is one file only.
        start_in_file: the number of its first row there.
    """

    table: Any
    start: int
    file: str
    start_in_file: int

    def where(self, row: int) -> str:
        """How to call one of its rows, counted from 0 here and from 1 in its file."""
        return f"row {self.start_in_file + row + 1}{self.file and f' of {self.file}'}"


@final
class TableDataset:
    """Files of one kind with the same columns, one behind the other.

    The format of a file is told from its first bytes. Files of a folder, and those that a pattern
    finds, come in the order of their paths; folders named `column=value` give their files that
    column.

    Args:
        paths: files, folders, patterns such as `2024-*.csv`, or addresses such as `s3://bucket/a`.
        argument: by which they were given.
        delimiter: what separates the columns of a CSV file, one character, or `tab`.
        decimal: the decimal point of a CSV file.

    Raises:
        InputError: a path leads nowhere, a file cannot be read, or files do not go together.
    """

    def __init__(
        self,
        paths: Sequence[str],
        argument: str = "path",
        delimiter: str = ",",
        decimal: str = ".",
    ) -> None:
        delimiter = "\t" if delimiter in ("tab", "\\t") else delimiter
        for name, value in (("delimiter", delimiter), ("decimal", decimal)):
            if not value or len(value) != 1 or value in '\r\n"' or not value.isascii():
                raise InputError(
                    f"{name}: {value!r} was given; type one character of ASCII, or tab"
                )
        if delimiter == decimal:
            raise InputError(
                f"decimal: {decimal!r} was given, which separates the columns too; "
                "type what does, such as --data.delimiter ';'"
            )
        self.name = " ".join(paths)
        self._files: list[TableFile] = []
        self._partitions: list[dict[str, Any]] = []
        for path in paths:
            for found in find_files(path):
                form = _form(found)
                options = (delimiter, decimal) if form is CsvFile else ()
                self._files.append(form(found.path, found.filesystem, found.size, *options))
                self._partitions.append(found.partition)
        if not self._files:
            raise InputError(f"{argument}: none was given; type the name of a file")
        self._check_files()

    @cached_property
    def schema(self) -> Any:
        """The pyarrow schema, of all columns.

        Raises:
            InputError: a file has other columns than the first, or the same with other types.
        """
        first = self._schema_of(0)
        for i in range(1, len(self._files)):
            other = self._schema_of(i)
            self._compare(first, other, self._files[i].path)
            for place, field in enumerate(first):
                # Of text only the types of columns without a value so far are open.
                if pyarrow.types.is_null(field.type) or not self.is_text:
                    type_ = joint(field.type, other.field(field.name).type)
                    first = first.set(place, field.with_type(type_))
        return first

    @property
    def is_text(self) -> bool:
        """Whether types are guessed from text."""
        return isinstance(self._files[0], CsvFile)

    @property
    def size(self) -> int:
        """Of all files, in bytes."""
        return sum(file.size for file in self._files)

    @cached_property
    def rows(self) -> int:
        """How many rows it has; of text, this reads all of it."""
        return sum(file.rows for file in self._files)

    def check_columns(self, argument: str, names: Sequence[str]) -> None:
        """Refuse names that are no columns.

        Args:
            argument: by which they were given.
            names: the columns.

        Raises:
            InputError: there is no such column, or one is named twice.
        """
        header = self.schema.names
        for name in names:
            if name not in header:
                close = difflib.get_close_matches(name, header, n=1)
                if len(header) == 1 and self.is_text and re.search(r"[;\t|]", header[0]):
                    meant = (
                        "it has one column, with ; or tabs in it: type what separates columns, "
                        "such as --data.delimiter ';' or tab"
                    )
                elif close:
                    meant = f"did you mean {close[0]!r}?"
                else:
                    meant = f"it has {_listed(header)}"
                raise InputError(f"{argument}: {self.name} has no column {name!r}; {meant}")
        if len(set(names)) < len(names):
            raise InputError(f"{argument}: {list(names)} names a column twice; name it once")

    def read(
        self, types: Mapping[str, Any], size: int, start: int = 0, stop: int | None = None
    ) -> Iterator[Chunk]:
        """Yield chunks of some columns, in the order of the rows, in constant memory.

        Args:
            types: the columns, and for text files the types to read them as.
            size: the most rows of a chunk.
            start: the first row, from 0.
            stop: the row behind the last one; None reads to the end.

        Raises:
            InputError: a file is damaged, or a value of a text file does not have its type.
        """
        before = 0
        whole = start == 0 and stop is None
        if not types:
            # Rows without columns cannot be counted.
            types = {self.schema.names[0]: pyarrow.string()}
        for file, partition in zip(self._files, self._partitions, strict=True):
            own = {name: type_ for name, type_ in types.items() if name not in partition}
            shown = file.path if len(self._files) > 1 else ""
            # Of text that is read as a whole, the number of rows is not known before.
            span = None if whole else Span.of(file.rows, before, start, stop)
            rows = 0
            if whole or span is not None:
                first, last = (0, None) if span is None else span
                for number, batch in file.read(own, first, last, size):
                    table = self._with_constants(batch, partition, list(types))
                    if not self.is_text:
                        table = self._of_one_type(table, file.path)
                    yield Chunk(table, before + number, shown, number)
                    rows = number + batch.num_rows
            before += rows if whole else file.rows
        if whole and before == 0:
            raise InputError(f"path: {self.name} has a header but no rows; name a file with rows")

    def _with_constants(self, batch: Any, constants: Mapping[str, Any], names: list[str]) -> Any:
        if not any(name in constants for name in names):
            return batch if batch.schema.names == names else batch.select(names)
        columns = []
        for name in names:
            if name in constants:
                # One value may look like a number, and that of another folder not.
                constant = pyarrow.scalar(constants[name]).cast(self.schema.field(name).type)
                columns.append(pyarrow.repeat(constant, batch.num_rows))
            else:
                columns.append(batch.column(name))
        return pyarrow.RecordBatch.from_arrays(columns, names=names)

    def _of_one_type(self, table: Any, path: str) -> Any:
        """The same columns, each of the type that it has in all files."""
        for place, field in enumerate(table.schema):
            type_ = joint(self.schema.field(field.name).type, field.type)
            if type_ == field.type:
                continue
            try:
                column = table.column(place).cast(type_)
            except pyarrow.ArrowException as error:
                raise InputError(
                    f"path: column {field.name!r} of {path} is {field.type}, and in other files "
                    f"{type_} ({str(error).splitlines()[0]}); write it with the same type"
                ) from None
            table = table.set_column(place, field.name, column)
        return table

    def _schema_of(self, i: int) -> Any:
        file, partition = self._files[i], self._partitions[i]
        schema = file.schema
        for name in partition:
            if name in schema.names:
                raise InputError(
                    f"path: {file.path} has a column {name!r}, and lies in a folder {name}=...; "
                    "rename one"
                )
            values = [part.get(name) for part in self._partitions]
            numbers = all(value is None or isinstance(value, int) for value in values)
            type_ = pyarrow.int64() if numbers else pyarrow.string()
            schema = schema.append(pyarrow.field(name, type_))
        return schema

    def _compare(self, first: Any, other: Any, path: str) -> None:
        here = self._files[0].path
        for one, two, has, lacks in (
            (first, other, here, path),
            (other, first, path, here),
        ):
            for name in one.names:
                if name not in two.names:
                    raise InputError(
                        f"path: {has} has a column {name!r}, and {lacks} has none; name files "
                        "with the same columns"
                    )
        if self.is_text:
            return  # each value is checked as it is read
        for name in first.names:
            types = first.field(name).type, other.field(name).type
            if any(map(pyarrow.types.is_null, types)):
                continue
            if kind(types[0]) != kind(types[1]):
                raise InputError(
                    f"path: column {name!r} is {types[0]} in {here} and {types[1]} in {path}; "
                    "name files with the same columns"
                )

    def _check_files(self) -> None:
        first = self._files[0]
        count = Counter(
            Path(file.path).resolve()
            if isinstance(file.filesystem, pyarrow.fs.LocalFileSystem)
            else file.path
            for file in self._files
        )
        path, times = count.most_common(1)[0]
        if times > 1:
            raise InputError(f"path: {path} is named {times} times; name each file once")
        for file in self._files:
            if file.form != first.form:
                raise InputError(
                    f"path: {first.path} is {first.form} and {file.path} is {file.form}; name "
                    "files of one kind, such as by a pattern"
                )


def _form(found: DataFile) -> type[TableFile]:
    try:
        with found.filesystem.open_input_stream(found.path, compression=None) as stream:
            start = stream.read(6)
    except (OSError, pyarrow.ArrowException) as error:
        raise CsvFile(found.path, None, 0).cannot_be_read(error) from None
    if start.startswith(b"PAR1"):
        return ParquetFile
    return ArrowFile if start == b"ARROW1" else CsvFile


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
