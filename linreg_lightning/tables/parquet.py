"""A Parquet file, a few rows of a row group at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, final

from linreg_lightning import arrow as pyarrow
from linreg_lightning.tables.table_file import Span, TableFile

# Bytes of a column read ahead: pyarrow would otherwise hold all columns of a row group.
_BUFFER = 2**20


@final
class ParquetFile(TableFile):
    """Rows are decoded, on all processors, as they are asked for.

    pyarrow's dataset scanner decodes a row group or two whole: gigabytes where this takes a few
    dozen megabytes, and no faster.
    """

    form = "Parquet"

    @cached_property
    def schema(self) -> Any:
        """The columns."""
        with self._open() as file:
            return self.checked(file.schema_arrow)

    @cached_property
    def rows(self) -> int:
        """How many rows it has, by its own account."""
        with self._open() as file:
            return int(file.metadata.num_rows)

    def read(
        self, types: Mapping[str, Any], start: int, stop: int | None, size: int
    ) -> Iterator[tuple[int, Any]]:
        """Yield (number of the first row, pyarrow record batch), in the order of the rows."""
        with self._open() as file:
            counts = [
                file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)
            ]
            wanted: list[int] = []
            before = number = 0
            for i, count in enumerate(counts):
                if Span.of(count, before, start, stop) is not None:
                    number = number if wanted else before
                    wanted.append(i)
                before += count
            if not wanted:
                return
            batches = file.iter_batches(size, row_groups=wanted, columns=list(types))
            while (batch := self._next(batches)) is not None:
                span = Span.of(batch.num_rows, number, start, stop)
                if span is not None:
                    yield number + span.start, batch.slice(span.start, span.stop - span.start)
                number += batch.num_rows

    def _next(self, batches: Iterator[Any]) -> Any:
        try:
            return next(batches, None)
        except (OSError, pyarrow.ArrowException) as error:
            raise self.cannot_be_read(error) from None

    def _open(self) -> Any:
        try:
            file = self.filesystem.open_input_file(self.path)
            return pyarrow.parquet.ParquetFile(file, buffer_size=_BUFFER, pre_buffer=False)
        except (OSError, pyarrow.ArrowException) as error:
            raise self.cannot_be_read(error) from None
