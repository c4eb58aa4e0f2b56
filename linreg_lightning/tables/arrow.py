"""An Arrow file (also called IPC, or Feather), one of its record batches at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, final

from linreg_lightning import arrow as pyarrow
from linreg_lightning.tables.table_file import Span, TableFile


@final
class ArrowFile(TableFile):
    """Rows come in the record batches that they were written in, cut further if they are long."""

    form = "Arrow"

    @cached_property
    def schema(self) -> Any:
        """The columns."""
        return self.checked(self._open().schema)

    @cached_property
    def rows(self) -> int:
        """How many rows it has, by its own account."""
        dataset = pyarrow.dataset.dataset(self.path, format="ipc", filesystem=self.filesystem)
        try:
            return int(dataset.count_rows())
        except (OSError, pyarrow.ArrowException) as error:
            raise self.cannot_be_read(error) from None

    def read(
        self, types: Mapping[str, Any], start: int, stop: int | None, size: int
    ) -> Iterator[tuple[int, Any]]:
        """Yield (number of the first row, pyarrow record batch), in the order of the rows."""
        file, before = self._open(), 0
        for i in range(file.num_record_batches):
            if stop is not None and before >= stop:
                return
            try:
                batch = file.get_batch(i).select(list(types))
            except (OSError, pyarrow.ArrowException) as error:
                raise self.cannot_be_read(error) from None
            span = Span.of(batch.num_rows, before, start, stop)
            if span is not None:
                for first in range(span.start, span.stop, size):
                    yield before + first, batch.slice(first, min(size, span.stop - first))
            before += batch.num_rows

    def _open(self) -> Any:
        try:
            return pyarrow.ipc.open_file(self.filesystem.open_input_file(self.path))
        except (OSError, pyarrow.ArrowException) as error:
            raise self.cannot_be_read(error) from None
