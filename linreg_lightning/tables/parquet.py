"""Parquet files, read a few rows of a row group at a time."""

import base64
from itertools import accumulate
from typing import final

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import ipc

from linreg_lightning.errors import InputError
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
        try:
            file = self._open()
        except pa.ArrowNotImplementedError:
            with self.filesystem.open_input_file(self.path) as source:
                metadata = pq.read_metadata(source).metadata or {}
            if schema := metadata.get(b"ARROW:schema"):
                self.refuse_wide_integers(ipc.read_message(base64.b64decode(schema)))
            raise
        groups = range(file.num_row_groups)
        rows = sum(file.metadata.row_group(i).num_rows for i in groups)
        if file.metadata.num_rows != rows:
            raise self._disagreement(file.metadata.num_rows, rows)
        return file.schema_arrow

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
            yield first_row, batch
            first_row += batch.num_rows
        if first_row != first_rows[groups[-1] + 1]:
            raise self._disagreement(first_rows[groups[-1] + 1], first_row)

    def _disagreement(self, expected: int, found: int) -> InputError:
        reason = f"has {found} rows where its footer says {expected}"
        return self.error(f"{reason}: it is damaged; get it again")

    def _open(self) -> pq.ParquetFile:
        file = self.filesystem.open_input_file(self.path)
        return pq.ParquetFile(
            file, buffer_size=_BUFFER_BYTES, pre_buffer=False, page_checksum_verification=True
        )
