"""Parquet files, read a few rows of a row group at a time."""

import base64
from itertools import accumulate
from typing import final

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import ipc

from linreg_lightning.tables.table_file import Batches, TableFile, Types, overlap

# Bytes of a column to read at a time, or a whole page if it is larger: by default pyarrow holds all
# columns of a row group.
_BUFFER_BYTES = 2**18


@final
class ParquetFile(TableFile):
    """Rows are decoded on all processors, as they are asked for.

    The scanner of pyarrow.dataset decodes one or two whole row groups: that takes gigabytes where
    this takes a few dozen megabytes, and is no faster.
    """

    format_name = "Parquet"

    def read_schema(self) -> pa.Schema:
        """Return the columns; raise InputError if the footer contradicts what it repeats."""
        file = self._open()
        schema, metadata = file.schema_arrow, file.metadata
        rows = sum(metadata.row_group(i).num_rows for i in range(file.num_row_groups))
        agrees = rows == metadata.num_rows
        # A damaged type would decode other numbers. pyarrow ends the process where it reads the
        # types of column chunks in a damaged footer, but most writers repeat them as Arrow's.
        if repeated := (metadata.metadata or {}).get(b"ARROW:schema"):
            for field in ipc.read_schema(pa.BufferReader(base64.b64decode(repeated))):
                index = schema.get_field_index(field.name)
                types = {field.type, field.type if index < 0 else schema.field(index).type}
                agrees &= len(types) == 1 or not all(map(_keeps_its_type, types))
                if _is_category(field.type) and index >= 0:
                    schema = schema.set(index, field)
        if not agrees:
            raise self.error("has a footer that contradicts itself: it is damaged; get it again")
        return schema

    def count_rows(self) -> int:
        with self.read_errors():
            return int(self._open().metadata.num_rows)

    def read_batches(self, types: Types, start: int, stop: int | None, size: int) -> Batches:
        file = self._open()
        rows = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        first_rows = list(accumulate(rows, initial=0))
        groups = [i for i in range(len(rows)) if overlap(first_rows[i], rows[i], start, stop)]
        if not groups:
            return
        first_row = first_rows[groups[0]]
        for batch in file.iter_batches(size, row_groups=groups, columns=list(types)):
            batch.validate(full=True)  # text may not be UTF-8
            yield first_row, self._encode_categories(batch)
            first_row += batch.num_rows
        if first_row != first_rows[groups[-1] + 1]:
            raise self.error("has fewer rows than its footer says: it is damaged; get it again")

    def _encode_categories(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Restore categories of numbers, which pyarrow reads as plain numbers."""
        for i, field in enumerate(batch.schema):
            if _is_category(self.schema.field(field.name).type) and not _is_category(field.type):
                batch = batch.set_column(i, field.name, batch.column(i).dictionary_encode())
        return batch

    def _open(self) -> pq.ParquetFile:
        file = self.filesystem.open_input_file(self.path)
        return pq.ParquetFile(
            file, buffer_size=_BUFFER_BYTES, pre_buffer=False, page_checksum_verification=True
        )


def _is_category(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_dictionary(dtype))


def _keeps_its_type(dtype: pa.DataType) -> bool:
    """Whether every version of the format has this type."""
    return bool(pa.types.is_floating(dtype) or pa.types.is_signed_integer(dtype))
