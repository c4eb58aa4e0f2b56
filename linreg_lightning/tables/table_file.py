"""What each file format offers: columns with their types, the number of rows, and the rows."""

import zlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar, Literal

import pyarrow as pa
from pyarrow import types as pa_types

from linreg_lightning.errors import InputError
from linreg_lightning.tables.discovery import DataFile, is_connection_error, read_error

DtypeKind = Literal["numbers", "text", "times", "other"]
Types = Mapping[str, pa.DataType]
"""Columns, with the type to read each as."""
Batches = Iterator[tuple[int, pa.RecordBatch]]
"""Rows in their order: the number of the first one in the file, from 0, and a record batch."""
_TAIL_BYTES = 2**16  # holds the footer of most files, and the checksum of a compressed one


class TableFile(ABC):
    """A file or frame that is read in order, in constant memory; creating one reads the `schema`.

    All later passes have to read the same file: another size, time of change or end is an error.

    Raises:
        InputError: the file cannot be read, two columns have the same name, or one has none.
    """

    format_name: ClassVar[str]
    options: ClassVar[frozenset[str]] = frozenset()
    """Which arguments of `CsvFormat`, beside `na_values`, and `sheet` count in this format."""

    def __init__(self, file: DataFile) -> None:
        self.path, self.filesystem, self.size, self.partition, self.argument = file
        self._first_version = self.version()
        with self.read_errors():
            self.schema = self.read_schema()
            names = self.schema.names  # pyarrow decodes them here
        for name, count in Counter(names).items():
            if count > 1:
                raise self.error(f"has two columns named {name!r}; rename one")
        if "" in names:
            hint = "pandas writes such a column of row numbers without index=False"
            text = f"{self.argument}: column {names.index('') + 1} of {self.path} has no name"
            raise InputError(f"{text}; name it or leave it out ({hint})")

    @abstractmethod
    def read_schema(self) -> pa.Schema:
        """Return the columns; a format of text guesses their types from the first rows."""

    @abstractmethod
    def count_rows(self) -> int:
        """Count the rows; a format of text reads the whole file for it."""

    @abstractmethod
    def read_batches(self, types: Types, start: int, stop: int | None, size: int) -> Batches:
        """Yield at least the rows from `start` to before `stop`, in batches of any size.

        `types` names at least one column; a format with types of its own ignores these.
        """

    def read(self, types: Types, start: int, stop: int | None, size: int) -> Batches:
        """Yield the rows from `start` to before `stop`, at most `size` at a time.

        Raises:
            InputError: the file is damaged, or a value of text does not have its type.
        """
        with self.read_errors():
            for first_row, batch in self.read_batches(types, start, stop, size):
                wanted = overlap(first_row, batch.num_rows, start, stop)
                for row in wanted[::size]:
                    yield first_row + row, batch.slice(row, min(size, wanted.stop - row))

    @contextmanager
    def read_errors(self) -> Iterator[None]:
        """Turn an error of pyarrow into an InputError; refuse a file that has changed."""
        self._refuse_change()
        try:
            yield
        except (OSError, pa.ArrowException, ValueError) as error:
            if not is_connection_error(error):
                self._refuse_change()  # which may be the reason
            if isinstance(error, InputError):
                raise
            raise read_error(error, self.argument, self.path, self.format_name) from None
        self._refuse_change()

    def version(self) -> tuple[object, ...]:
        """Return what differs once the file has been written anew, as far as that is quick."""
        try:
            with self.filesystem.open_input_file(self.path) as file:
                size = file.size()
                tail = file.read_at(_TAIL_BYTES, max(0, size - _TAIL_BYTES))
            return size, self.filesystem.get_file_info(self.path).mtime_ns, zlib.crc32(tail)
        except OSError as error:
            if is_connection_error(error):
                raise read_error(error, self.argument, self.path, self.format_name) from None
            return ()

    def _refuse_change(self) -> None:
        if self.version() != self._first_version:
            reason = "has changed since it was opened, so its rows are not those of one table"
            raise self.error(f"{reason}; let it be written to the end and start again")

    def error(self, reason: str) -> InputError:
        """Name the argument and the file, and say what is wrong with it."""
        return InputError(f"{self.argument}: {self.path} {reason}")


def overlap(first_row: int, rows: int, start: int, stop: int | None) -> range:
    """Find the rows from start to stop among `rows` rows from `first_row` on, counted from 0.

    >>> overlap(first_row=100, rows=10, start=105, stop=None)
    range(5, 10)
    """
    return range(max(start - first_row, 0), rows if stop is None else min(stop - first_row, rows))


def dtype_kind(dtype: pa.DataType) -> DtypeKind:
    """Say what a column of some type holds; a dictionary of numbers or text counts as text.

    >>> dtype_kind(pa.int32()), dtype_kind(pa.string()), dtype_kind(pa.date32())
    ('numbers', 'text', 'times')
    """
    if pa_types.is_dictionary(dtype):
        kind = dtype_kind(dtype.value_type)
        return "text" if kind == "numbers" else kind
    is_number = pa_types.is_integer(dtype) or pa_types.is_floating(dtype)
    if is_number or dtype in (pa.bool_(), pa.null()) or pa_types.is_decimal(dtype):
        return "numbers"
    if dtype in (pa.string(), pa.large_string(), pa.string_view()):
        return "text"
    is_time = pa_types.is_temporal(dtype) and not pa_types.is_interval(dtype)
    return "times" if is_time else "other"


def _common_time(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """Choose the type of two columns of dates or times; text if they do not go together."""
    if pa_types.is_date(one) and pa_types.is_date(other):
        return pa.date32()
    if pa_types.is_time(one) and pa_types.is_time(other):
        return pa.time64("ns")
    if not all(pa_types.is_date(dtype) or pa_types.is_timestamp(dtype) for dtype in (one, other)):
        return pa.string()
    zones = [getattr(dtype, "tz", None) for dtype in (one, other)]
    zone = zones[0] if zones[0] == zones[1] else "UTC"
    if None in zones and zone is not None:
        return pa.string()
    units = [dtype.unit for dtype in (one, other) if pa_types.is_timestamp(dtype)]
    finest = max(units, key=["s", "ms", "us", "ns"].index)
    return pa.timestamp(finest, zone)


def common_dtype(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """Choose the type of a column that two files hold as two types; they may be the same.

    Text becomes a plain string, because pyarrow can neither select from views of text nor write
    them. A dictionary stays one, since each file may have its own.

    >>> common_dtype(pa.int32(), pa.float64()), common_dtype(pa.string_view(), pa.string())
    (DataType(double), DataType(string))
    """
    if pa_types.is_dictionary(other):
        is_view = pa_types.is_string_view(other.value_type)
        return pa.dictionary(other.index_type, pa.string()) if is_view else other
    if pa_types.is_dictionary(one):
        one = other
    one, other = (pa.string() if pa_types.is_string_view(t) else t for t in (one, other))
    if one == other:
        return one
    if dtype_kind(one) == dtype_kind(other) == "times":
        return _common_time(one, other)
    schemas = [pa.schema([("", dtype)]) for dtype in (one, other)]
    try:
        common = pa.unify_schemas(schemas, promote_options="permissive").field(0).type
        has_decimals = pa_types.is_decimal(one) or pa_types.is_decimal(other)
        # pyarrow rounds decimals to the float32 of another file.
        return pa.float64() if has_decimals and pa_types.is_floating(common) else common
    except pa.ArrowException:
        return pa.float64() if dtype_kind(one) == "numbers" else pa.string()
