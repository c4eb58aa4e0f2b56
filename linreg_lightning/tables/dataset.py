"""One table made of one or many files or frames, with a fixed order of the rows."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, final

import pyarrow as pa
from pyarrow import fs

from linreg_lightning.errors import InputError, hide_secrets
from linreg_lightning.frames import is_frame, to_float64
from linreg_lightning.matching import name_hint
from linreg_lightning.tables.csv import CsvFile
from linreg_lightning.tables.csv_format import CsvFormat
from linreg_lightning.tables.csv_values import drop_markers
from linreg_lightning.tables.discovery import find_files, first_line
from linreg_lightning.tables.file_format import open_table_file
from linreg_lightning.tables.frame import FrameTable
from linreg_lightning.tables.partitions import (
    choose_keys,
    first_difference,
    key_column,
    key_dtype,
)
from linreg_lightning.tables.table_file import TableFile, Types, common_dtype, dtype_kind, overlap

_SAME_COLUMNS = "name files with the same columns"


class Chunk(NamedTuple):
    """Consecutive rows of a table; `start` is the number of the first one, from 0."""

    table: pa.RecordBatch
    start: int
    file: str  # empty where the table is one file
    start_in_file: int

    def where(self, row: int) -> str:
        """Name a row of the chunk, counted from 0, in messages.

        >>> Chunk(None, start=50, file="b.csv", start_in_file=10).where(0)
        'row 11 of b.csv'
        """
        return f"row {self.start_in_file + row + 1}{self.file and f' of {self.file}'}"


@final
class TableDataset:
    """Files of one format with the same columns; the rows of a file follow those of the one before.

    Creating a dataset finds the files (see `find_files`) and reads their columns into `schema`,
    with the types that the files share; those of CSV files are guesses. A data frame in the place
    of a path is read as a file is. Messages name `argument`, which gave the paths; `sheet` is the
    name of the sheet of a workbook.

    Folders `column=value` give columns (see `choose_keys`). A file may have such a column too, with
    the same values. `constant_keys` are those that are features only if the user names them.

    Raises:
        InputError: a file does not exist or cannot be read, or files have other formats or columns.
    """

    def __init__(
        self,
        paths: Sequence[Any],
        argument: str = "path",
        csv_format: CsvFormat | None = None,
        sheet: str | None = None,
    ) -> None:
        self._files: list[TableFile] = []
        names = []
        for number, path in enumerate(paths, 1):
            if is_frame(path):
                names.append("the frame" if len(paths) == 1 else f"frame {number}")
                self._files.append(FrameTable(path, argument, names[-1]))
            else:
                names.append(str(path))
                files = find_files(path, argument)
                self._files += [
                    open_table_file(file, csv_format or CsvFormat(), sheet) for file in files
                ]
        if not self._files:
            raise InputError(f"{argument}: none was given; type the name of a file")
        self.argument, self.name = argument, hide_secrets(" ".join(names))
        self.csv_format = csv_format or CsvFormat()
        self._row_counts: list[int] | None = None
        self._check_files()
        self._keys, self.constant_keys = choose_keys(
            [file.partition for file in self._files], [file.schema.names for file in self._files]
        )
        self.schema = self._merge_schemas()

    @property
    def is_text(self) -> bool:
        """Whether the files are CSV; their types are guesses, and a later value may not fit."""
        return isinstance(self._files[0], CsvFile)

    @property
    def size(self) -> int:
        """The size of all files, in bytes."""
        return sum(file.size for file in self._files)

    def count_rows(self) -> int:
        """Count the rows of all files, once; this reads CSV files from end to end."""
        return sum(self._count_rows_by_file())

    def check_columns(self, argument: str, names: Sequence[str]) -> None:
        """Raise InputError if an argument names a column that does not exist, or one twice."""
        header = self.schema.names
        for name in names:
            if name not in header:
                text = f"{argument}: {self.name} has no column {name!r}"
                raise InputError(f"{text}; {self._name_hint(name)}")
        if len(set(names)) < len(names):
            raise InputError(f"{argument}: {list(names)} names a column twice; name it once")

    def _name_hint(self, name: str) -> str:
        names = self.schema.names
        if len(names) == 1 and self.is_text and re.search(r"[;\t|]", names[0]):
            remedy = "type what separates columns, such as delimiter ';' or tab"
            return f"it has one column, with ; or tabs in it: {remedy}"
        return name_hint(name, names)

    def read(
        self, types: Types, size: int, start: int = 0, stop: int | None = None
    ) -> Iterator[Chunk]:
        """Yield chunks of some columns, in the order of the rows; see `TableFile.read`."""
        # A record batch without columns has no rows.
        types = types or {self.schema.names[0]: pa.string()}
        reads_all = start == 0 and stop is None
        # Counting reads CSV files from end to end, and is needed only to find a range of rows.
        row_counts = None if reads_all else self._count_rows_by_file()
        file_start = 0
        for i, file in enumerate(self._files):
            file_rows = 0 if row_counts is None else row_counts[i]
            if row_counts is None or overlap(file_start, file_rows, start, stop):
                in_file = {name: types[name] for name in types if name in file.schema.names}
                in_file = in_file or {file.schema.names[0]: pa.string()}
                first = max(start - file_start, 0)
                last = None if stop is None else stop - file_start
                for first_row, batch in file.read(in_file, first, last, size):
                    self._check_keys(batch, i, first_row)
                    table = self._select(batch, types, i)
                    path = file.path if len(self._files) > 1 else ""
                    yield Chunk(table, file_start + first_row, path, first_row)
                    file_rows = max(file_rows, first_row + batch.num_rows)
            file_start += file_rows
        if reads_all and file_start == 0:
            text = f"{self.name} has a header but no rows; name a file with rows"
            raise InputError(f"{self.argument}: {text}")

    def _count_rows_by_file(self) -> list[int]:
        if self._row_counts is None:
            self._row_counts = [file.count_rows() for file in self._files]
        return self._row_counts

    def _check_keys(self, batch: pa.RecordBatch, i: int, first_row: int) -> None:
        """Refuse a value in a file that differs from the name of its folder."""
        for name in self._keys[i].keys() & set(batch.schema.names):
            text, column = self._keys[i][name], batch.column(name)
            row = first_difference(column, text)
            if row is not None:
                place = f"in column {name!r}, row {first_row + row + 1}"
                text = f"has {column[row].as_py()!r} {place}, but lies in a folder {name}={text}"
                remedy = "mend one, rename the folder, or leave the column out by exclude"
                raise self._files[i].error(f"{text}; {remedy}")

    def _select(self, batch: pa.RecordBatch, types: Types, i: int) -> pa.RecordBatch:
        """Return columns of a file and of its folders, with the types that all files share."""
        file, columns = self._files[i], []
        for name in types:
            dtype = self.schema.field(name).type
            if name not in file.schema.names:
                # The name of a folder says more than a number does: 01, not 1.
                dtype = pa.string() if pa.types.is_dictionary(types[name]) else dtype
                column = self._key_column(i, name, dtype, batch.num_rows)
                columns.append(self._drop_markers(column, types[name]))
                continue
            column = batch.column(name)
            if not self.is_text:
                common = common_dtype(dtype, column.type)
                try:
                    if pa.types.is_decimal(column.type) and common == pa.float64():
                        column = to_float64(column, name)
                    column = column if column.type == common else column.cast(common)
                except pa.ArrowException as error:
                    reason = f"{column.type}, and in other files {common} ({first_line(error)})"
                    text = f"column {name!r} of {file.path} is {reason}"
                    raise InputError(
                        f"{self.argument}: {text}; write it with the same type"
                    ) from None
                column = self._drop_markers(column, types[name])
            columns.append(column)
        return pa.RecordBatch.from_arrays(columns, names=list(types))

    def sample(self, names: Sequence[str], rows: int) -> dict[str, pa.Array]:
        """Return some values of columns of whole numbers, as CSV files and folders write them.

        They are the first ones of the first file, and those of all folders.
        """
        file = self._files[0]
        own = {name: pa.string() for name in names if name in file.schema.names}
        first: Any = None
        if own:
            with suppress(OSError, pa.ArrowException, StopIteration):  # said when all rows are read
                parts = file.read_texts(list(own)) if isinstance(file, CsvFile) else None
                _, first = next(parts or file.read(own, 0, rows, rows))
        values = {} if first is None else {name: first.column(name) for name in own}
        for name in set(names) - {*own}:
            texts = [keys[name] for keys in self._keys if name in keys]
            values[name] = pa.array(texts, pa.string())
        return values

    def _drop_markers(self, column: pa.Array, dtype: pa.DataType) -> pa.Array:
        """Drop what stands for a missing value, unless the column is read as keys."""
        return column if dtype == pa.string() else drop_markers(column, self.csv_format)

    @property
    def first_file(self) -> TableFile:
        """The first file, whose format all others have."""
        return self._files[0]

    def _merge_schemas(self) -> pa.Schema:
        dtypes = self._key_dtypes()
        merged: Any = None
        for i, file in enumerate(self._files):
            schema = file.schema
            for name in self._keys[i]:
                if name not in schema.names:
                    schema = schema.append(pa.field(name, dtypes[name]))
                    self._key_column(i, name, dtypes[name], 1)
            if merged is None:
                merged = schema
                continue
            self._check_names(merged.names, schema.names, file.path)
            for i, field in enumerate(merged):
                one, two = field.type, schema.field(field.name).type
                has_null = pa.types.is_null(one) or pa.types.is_null(two)  # a column without values
                # Times with a zone and times without one have text in common.
                differ = len({dtype_kind(t) for t in (one, two, common_dtype(one, two))}) > 1
                if not (self.is_text or has_null) and differ:
                    places = f"{one} in {self._files[0].path} and {two} in {file.path}"
                    text = f"column {field.name!r} is {places}; {_SAME_COLUMNS}"
                    raise InputError(f"{self.argument}: {text}")
                # Types of CSV files are guesses, so the first file decides, unless it has no value.
                if not self.is_text or pa.types.is_null(one):
                    merged = merged.set(i, field.with_type(common_dtype(one, two)))
        return merged

    def _key_dtypes(self) -> dict[str, pa.DataType]:
        """Choose the type of each column that folders give: that of a file, if one has it too."""
        names = {name for keys in self._keys for name in keys}
        dtypes = {name: key_dtype(k[name] for k in self._keys if name in k) for name in names}
        for file in reversed(self._files):
            dtypes |= {name: file.schema.field(name).type for name in names & {*file.schema.names}}
        return dtypes

    def _key_column(self, i: int, name: str, dtype: pa.DataType, rows: int) -> pa.Array:
        text = self._keys[i][name]
        try:
            return key_column(text, dtype, rows)
        except pa.ArrowException:
            reason = (
                f"lies in a folder {name}={text}, and column {name!r} of other files is {dtype}"
            )
            raise self._files[i].error(f"{reason}; rename one, or name other files") from None

    def _check_names(self, first: list[str], other: list[str], path: str) -> None:
        for name in [*first, *other]:
            if name not in first or name not in other:
                paths = self._files[0].path, path
                has, lacks = paths if name in first else reversed(paths)
                text = f"{has} has a column {name!r}, and {lacks} has none"
                raise InputError(f"{self.argument}: {text}; {_SAME_COLUMNS}")

    def _check_files(self) -> None:
        first = self._files[0]
        paths = [
            Path(file.path).resolve()
            if isinstance(file.filesystem, fs.LocalFileSystem)
            else file.path
            for file in self._files
        ]
        path, times = Counter(paths).most_common(1)[0]
        if times > 1:
            text = f"{path} is named {times} times; name each file once"
            raise InputError(f"{self.argument}: {text}")
        for file in self._files:
            if type(file) is not type(first):
                formats = f"is {first.format_name} and {file.path} is {file.format_name}"
                ends = [Path(each.path).suffix for each in self._files]
                end = max(
                    self._files, key=lambda each: (ends.count(Path(each.path).suffix), each.size)
                )
                pattern = Path(first.path).parent / f"*{Path(end.path).suffix}"
                raise first.error(f"{formats}; name files of one kind, such as by {pattern}")
