"""Arrow files, also called IPC or Feather, and Arrow streams: read one record batch at a time."""

from collections.abc import Iterator
from typing import ClassVar, final

import pyarrow as pa
from pyarrow import ipc

from linreg_lightning.tables.table_file import Batches, TableFile, Types, overlap

_END_MARK = b"\xff\xff\xff\xff" + bytes(4)


class ArrowStream(TableFile):
    """Record batches that follow each other.

    Each batch is validated before use: pyarrow takes the lengths and positions in a damaged file
    for granted, and would read memory outside the batch.
    """

    format_name = "Arrow stream"
    first_byte: ClassVar[int] = 0
    """Where the stream begins in the file."""

    def read_schema(self) -> pa.Schema:
        with self.filesystem.open_input_file(self.path) as source:
            source.seek(self.first_byte)
            try:
                return ipc.open_stream(source).schema
            except pa.ArrowNotImplementedError:
                source.seek(self.first_byte)
                self.refuse_wide_integers(ipc.read_message(source))
                raise

    def count_rows(self) -> int:
        with self.read_errors():
            return sum(batch.num_rows for batch in self._read([0]))

    def read_batches(self, types: Types, start: int, stop: int | None, size: int) -> Batches:
        first_row = 0
        for batch in self._read([self.schema.get_field_index(name) for name in types]):
            if overlap(first_row, batch.num_rows, start, stop):
                batch = batch.select(list(types))
                batch.validate(full=True)
                yield first_row, batch
            first_row += batch.num_rows
            if stop is not None and first_row >= stop:
                return

    def _read(self, columns: list[int]) -> Iterator[pa.RecordBatch]:
        """Yield the batches with some columns; at the end, check that there are no others."""
        options, batches = ipc.IpcReadOptions(included_fields=columns), 0
        with self.filesystem.open_input_file(self.path) as source:
            source.seek(self.first_byte)
            for batch in ipc.open_stream(source, options=options):
                batches += 1
                yield batch
            end = source.tell()
            source.seek(end - len(_END_MARK))
            if source.read(len(_END_MARK)) != _END_MARK:
                raise self.error("ends within its rows; let it be written to the end")
            self.check_end(source.read(), batches)

    def check_end(self, rest: bytes, batches: int) -> None:
        """Raise InputError if what follows the last batch shows that the file has other batches."""
        if rest:
            raise self.error("goes on after the end of its rows; write it as one stream")


@final
class ArrowFile(ArrowStream):
    """A stream between a mark of 8 bytes and a footer that says where the batches are."""

    format_name = "Arrow"
    first_byte: ClassVar[int] = 8

    def count_rows(self) -> int:
        with self.read_errors(), self.filesystem.open_input_file(self.path) as source:
            # All columns have the same number of rows, so reading the first one is enough.
            file = ipc.open_file(source, options=ipc.IpcReadOptions(included_fields=[0]))
            return sum(file.get_batch(i).num_rows for i in range(file.num_record_batches))

    def check_end(self, rest: bytes, batches: int) -> None:
        with self.filesystem.open_input_file(self.path) as source:
            file = ipc.open_file(source)
        if file.num_record_batches != batches or not file.schema.equals(self.schema):
            raise self.error("has a footer that does not fit its rows: it is damaged; get it again")
