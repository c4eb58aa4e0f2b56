"""Which rows of a source somebody is to read: those of a split, and of a process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from linreg_lightning.design_matrix.design import numbers
from linreg_lightning.design_matrix.hash_split import HashSplit
from linreg_lightning.tables.dataset import Chunk, TableDataset
from linreg_lightning.tables.dtypes import dtype_kind


class RowBlock(NamedTuple):
    """Some of the rows of a chunk.

    Attributes:
        table: a pyarrow record batch of these rows.
        chunk: where they come from.
        numbers: the number of each row within the chunk; None if it has all of them.
    """

    table: Any
    chunk: Chunk
    numbers: NDArray[np.intp] | None

    def where(self, row: int) -> str:
        """How to call a row in a message, counted from 0 here."""
        return self.chunk.where(row if self.numbers is None else int(self.numbers[row]))

    def but_absent(self, weight: str) -> RowBlock:
        """Those of the rows whose weight, in the column of that name, is not 0."""
        return self._of(numbers(self.table.column(weight)) != 0)

    def complete(self) -> RowBlock:
        """Those of the rows that lack no value in any column."""
        present = np.ones(self.table.num_rows, bool)
        for column in self.table.columns:
            if dtype_kind(column.type) == "numbers" and not pa.types.is_dictionary(column.type):
                present &= ~np.isnan(numbers(column))
            else:
                present &= column.is_valid().to_numpy(zero_copy_only=False)
        return self._of(present)

    def _of(self, present: NDArray[np.bool_]) -> RowBlock:
        if present.all():
            return self
        rows = np.flatnonzero(present)
        kept = rows if self.numbers is None else self.numbers[rows]
        return RowBlock(_taken(self.table, rows), self.chunk, kept)


class RowSubset(NamedTuple):
    """Rows of a source.

    Attributes:
        source: all rows.
        split: how they are split; None takes all.
        part: which part of the split.
        start: the first row that may be taken.
        stop: the row behind the last one; None: to the end.
    """

    source: TableDataset
    split: HashSplit | None = None
    part: int = 0
    start: int = 0
    stop: int | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it leaves out no row between start and stop."""
        return self.split is None or (not self.split.holds_out and self.part == 0)

    def share(self, rank: int, world_size: int) -> RowSubset:
        """The rows of one process: as many as any other's, in succession, in order of the ranks."""
        if world_size == 1:
            return self
        rows = self.source.count_rows()
        return self._replace(start=rows * rank // world_size, stop=rows * (rank + 1) // world_size)

    def count_rows(self) -> int:
        """How many rows it has, as they are in the files."""
        stop = self.source.count_rows() if self.stop is None else self.stop
        if self.is_whole:
            return stop - self.start
        assert self.split is not None
        step = 2**20
        return sum(
            int((self.split.of(first, min(first + step, stop)) == self.part).sum())
            for first in range(self.start, stop, step)
        )

    def read(self, types: Mapping[str, Any], size: int) -> Iterator[RowBlock]:
        """Yield its rows, chunk by chunk; see `TableDataset.read`."""
        if self.start == self.stop:
            return
        for chunk in self.source.read(types, size, self.start, self.stop):
            if self.is_whole:
                yield RowBlock(chunk.table, chunk, None)
                continue
            assert self.split is not None
            parts = self.split.of(chunk.start, chunk.start + chunk.table.num_rows)
            numbers = np.flatnonzero(parts == self.part)
            if len(numbers):
                yield RowBlock(_taken(chunk.table, numbers), chunk, numbers)


def _taken(table: Any, rows: NDArray[np.intp]) -> Any:
    """These rows of a table."""
    return table.take(pa.array(rows))
