"""Arrow files, also called IPC or Feather, and Arrow streams: read one record batch at a time."""

import struct
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, final

import pyarrow as pa
from pyarrow import ipc

from linreg_lightning.tables.table_file import Batches, TableFile, Types, overlap

_END_MARK = b"\xff\xff\xff\xff" + bytes(4)
_START = 8  # of the schema and the batches, after "ARROW1" and padding
_MAX_GAP = 72  # bytes: padding to 64, and the mark
_BLOCK = struct.Struct("<qi4xq")  # where a batch begins, bytes of its header and of its values


class ArrowBatches(TableFile):
    """A sequence of record batches, each of which is validated before use.

    pyarrow takes the lengths and positions in a damaged batch for granted, and would read memory
    outside of it.
    """

    def read_schema(self) -> pa.Schema:
        with self.filesystem.open_input_file(self.path) as source:
            return self.open(source).schema

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
    def batches(self, columns: list[int]) -> Iterator[pa.RecordBatch]:
        """Yield all batches, with some columns; raise InputError if the last one is missing."""


@final
class ArrowStream(ArrowBatches):
    """Record batches that follow each other up to a mark, as they are sent over a network."""

    format_name = "Arrow stream"

    def open(self, source: pa.NativeFile, columns: list[int] | None = None) -> Any:
        return ipc.open_stream(source, options=ipc.IpcReadOptions(included_fields=columns))

    def batches(self, columns: list[int]) -> Iterator[pa.RecordBatch]:
        with self.filesystem.open_input_file(self.path) as source:
            yield from self.open(source, columns)
            end = source.tell()
            if source.read_at(len(_END_MARK), end - len(_END_MARK)) != _END_MARK:
                raise self.error("ends within its rows; let it be written to the end")
            if end != source.size():
                raise self.error("goes on after the end of its rows; write it as one stream")


@final
class ArrowFile(ArrowBatches):
    """A file with a footer that repeats the columns and says where each batch is."""

    format_name = "Arrow"

    def open(self, source: pa.NativeFile, columns: list[int] | None = None) -> Any:
        return ipc.open_file(source, options=ipc.IpcReadOptions(included_fields=columns))

    def read_schema(self) -> pa.Schema:
        """Return the columns; raise InputError if the footer leaves batches out."""
        schema = super().read_schema()
        with self.filesystem.open_input_file(self.path) as source:
            size = source.size()
            length = int.from_bytes(source.read_at(4, size - 10), "little")
            footer_start = size - 10 - length
            footer = source.read_at(length, footer_start)
            source.seek(_START)
            # Polars writes the schema there in another form.
            repeats_schema = source.read(4) == _END_MARK[:4]
            source.seek(_START)
            fits = not repeats_schema or ipc.read_schema(source).equals(schema)
        # The schema in front of the batches is no longer than the footer, which repeats it.
        end, max_gap = _START, length + _MAX_GAP
        for begin, next_end in [*_batch_ranges(footer), (footer_start, size)]:
            fits &= 0 <= begin - end <= max_gap
            end, max_gap = next_end, _MAX_GAP
        if not fits:
            raise self.error("has a footer that does not fit its rows: it is damaged; get it again")
        return schema

    def batches(self, columns: list[int]) -> Iterator[pa.RecordBatch]:
        with self.filesystem.open_input_file(self.path) as source:
            file = self.open(source, columns)
            yield from map(file.get_batch, range(file.num_record_batches))


def _batch_ranges(footer: bytes) -> list[tuple[int, int]]:
    """Return where each batch and dictionary of a file begins and ends, in their order.

    pyarrow does not tell. The footer is a flatbuffer, whose fields are in Arrow's File.fbs.

    Raises:
        ValueError: the footer is damaged.
    """

    def number(dtype: str, place: int) -> int:
        return int(struct.unpack_from(f"<{dtype}", footer, place)[0])

    ranges = []
    try:
        table = number("I", 0)
        layout = table - number("i", table)
        for slot in (8, 10):  # of the lists of dictionaries and of batches
            offset = number("H", layout + slot) if slot < number("H", layout) else 0
            if offset:  # else the list is empty
                blocks = table + offset + number("I", table + offset)
                for k in range(number("I", blocks)):
                    begin, header, body = _BLOCK.unpack_from(footer, blocks + 4 + _BLOCK.size * k)
                    ranges.append((begin, begin + header + body))
    except struct.error as error:
        raise ValueError(str(error)) from None
    return sorted(ranges)
