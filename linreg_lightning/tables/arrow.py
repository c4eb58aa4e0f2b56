"""Arrow files, also called IPC or Feather, and Arrow streams: read one record batch at a time."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, final

import pyarrow as pa
from pyarrow import ipc

from linreg_lightning.errors import InputError
from linreg_lightning.tables.arrow_flatbuffers import batch_ranges
from linreg_lightning.tables.table_file import Batches, TableFile, Types, overlap

_END_MARK = b"\xff\xff\xff\xff" + bytes(4)
_START = 8  # of the rows, after "ARROW1" and padding
_MAX_GAP = 72  # bytes: padding to 64, and the mark


class ArrowBatches(TableFile):
    """A sequence of record batches, each of which is validated before use.

    pyarrow takes the lengths and positions in a damaged batch for granted, and would read memory
    outside of it.
    """

    def read_schema(self) -> pa.Schema:
        with self.filesystem.open_input_file(self.path) as source:
            try:
                return self.open(source).schema
            except pa.ArrowNotImplementedError:
                self.refuse_wide_integers(*self.schema_flatbuffer())
                raise

    def read_batches(self, types: Types, start: int, stop: int | None, size: int) -> Batches:
        first_row = 0
        for batch in self.batches([self.schema.get_field_index(name) for name in types]):
            if overlap(first_row, batch.num_rows, start, stop):
                batch = batch.select(list(types))
                batch.validate(full=True)
                yield first_row, batch
            first_row += batch.num_rows
            if stop is not None and first_row >= stop:
                return

    def count_rows(self) -> int:
        with self.read_errors():
            # All columns have the same number of rows, so reading the first one is enough.
            return sum(batch.num_rows for batch in self.batches([0]))

    @abstractmethod
    def open(self, source: pa.NativeFile, columns: list[int] | None = None) -> Any:
        """Return pyarrow's reader of some columns, or of all."""

    @abstractmethod
    def schema_flatbuffer(self) -> tuple[bytes, int]:
        """Return the part that holds the schema, and its field in that part."""

    @abstractmethod
    def batches(self, columns: list[int]) -> Iterator[pa.RecordBatch]:
        """Yield all batches with some columns; raise InputError if there may be others."""


@final
class ArrowStream(ArrowBatches):
    """Record batches that follow each other up to a mark, as they are sent over a network."""

    format_name = "Arrow stream"

    def open(self, source: pa.NativeFile, columns: list[int] | None = None) -> Any:
        return ipc.open_stream(source, options=ipc.IpcReadOptions(included_fields=columns))

    def schema_flatbuffer(self) -> tuple[bytes, int]:
        with self.filesystem.open_input_file(self.path) as source:
            return ipc.read_message(source).metadata.to_pybytes(), 2

    def batches(self, columns: list[int]) -> Iterator[pa.RecordBatch]:
        with self.filesystem.open_input_file(self.path) as source:
            yield from self.open(source, columns)
            end = source.tell()
            source.seek(end - len(_END_MARK))
            if source.read(len(_END_MARK)) != _END_MARK:
                raise self.error("ends within its rows; let it be written to the end")
            if end != source.size():
                raise self.error("goes on after the end of its rows; write it as one stream")


@final
class ArrowFile(ArrowBatches):
    """A file with a footer that says where each batch is."""

    format_name = "Arrow"

    def open(self, source: pa.NativeFile, columns: list[int] | None = None) -> Any:
        return ipc.open_file(source, options=ipc.IpcReadOptions(included_fields=columns))

    def read_schema(self) -> pa.Schema:
        schema = super().read_schema()
        with self.filesystem.open_input_file(self.path) as source:
            source.seek(_START)
            # Polars writes the schema there in another form.
            repeated = source.read(4) == _END_MARK[:4]
            source.seek(_START)
            if repeated and not ipc.read_schema(source).equals(schema):
                raise self._damaged_footer()
        footer = self.read_footer(10)
        end_of_rows = self.size - 10 - len(footer)
        # The schema in front of the batches is no longer than the footer, which repeats it.
        end, gap = _START, len(footer) + _MAX_GAP
        for begin, next_end in [*batch_ranges(footer), (end_of_rows, self.size)]:
            if not 0 <= begin - end <= gap:
                raise self._damaged_footer()
            end, gap = next_end, _MAX_GAP
        return schema

    def schema_flatbuffer(self) -> tuple[bytes, int]:
        return self.read_footer(10), 1

    def batches(self, columns: list[int]) -> Iterator[pa.RecordBatch]:
        with self.filesystem.open_input_file(self.path) as source:
            file = self.open(source, columns)
            yield from map(file.get_batch, range(file.num_record_batches))

    def _damaged_footer(self) -> InputError:
        return self.error("has a footer that does not fit its rows: it is damaged; get it again")
