"""Arrow files, which are also called IPC or Feather: read one record batch at a time."""

from typing import final

import pyarrow as pa
from pyarrow import ipc

from linreg_lightning.tables.table_file import Batches, TableFile, Types


@final
class ArrowFile(TableFile):
    """Reads a file one record batch after the other."""

    format_name = "Arrow"

    def read_schema(self) -> pa.Schema:
        return self._open().schema

    def count_rows(self) -> int:
        with self.read_errors():
            # All columns have the same number of rows, so reading the first one is enough.
            file = self._open(ipc.IpcReadOptions(included_fields=[0]))
            return sum(file.get_batch(i).num_rows for i in range(file.num_record_batches))

    def read_batches(self, types: Types, start: int, stop: int | None, size: int) -> Batches:
        file, first_row = self._open(), 0
        for i in range(file.num_record_batches):
            if stop is not None and first_row >= stop:
                return
            batch = file.get_batch(i).select(list(types))
            yield first_row, batch
            first_row += batch.num_rows

    def _open(self, options: ipc.IpcReadOptions | None = None) -> ipc.RecordBatchFileReader:
        return ipc.open_file(self.filesystem.open_input_file(self.path), options=options)
