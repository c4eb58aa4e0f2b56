"""Parquet files, read a few rows of a row group at a time."""

from itertools import accumulate
from typing import final

import pyarrow as pa
import pyarrow.parquet as pq

from linreg_lightning.tables.table_file import Batches, TableFile, Types, overlap

# Bytes of a column to read at a time: by default pyarrow holds all columns of a row group.
_BUFFER_BYTES = 2**20


@final
class ParquetFile(TableFile):
    """Rows are decoded on all processors, as they are asked for.

    The scanner of pyarrow.dataset decodes one or two whole row groups: that takes gigabytes where
    this takes a few dozen megabytes, and is no faster.
    """

    format_name = "Parquet"

    def read_schema(self) -> pa.Schema:
        return self._open().schema_arrow

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
            yield first_row, batch
            first_row += batch.num_rows

    def _open(self) -> pq.ParquetFile:
        file = self.filesystem.open_input_file(self.path)
        return pq.ParquetFile(file, buffer_size=_BUFFER_BYTES, pre_buffer=False)
