"""Which rows of a table to read: those of a split and of a process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from linreg_lightning.design_matrix.column_values import Rows, numbers
from linreg_lightning.design_matrix.hash_split import TRAIN, HashSplit
from linreg_lightning.tables.dataset import Chunk, TableDataset
from linreg_lightning.tables.dtypes import dtype_kind

# Rows whose parts are counted at a time.
_COUNT_ROWS = 2**20


class RowBlock(NamedTuple):
    """Some rows of a chunk.

    Attributes:
        table: a pyarrow record batch of these rows.
        chunk: the rows in succession that they come from.
        positions: of each row within the chunk; None means all rows of it.
    """

    table: Any
    chunk: Chunk
    positions: Rows | None

    def row_name(self, row: int) -> str:
        """Call a row, at a position in this block, by its number in its file."""
        return self.chunk.where(row if self.positions is None else int(self.positions[row]))

    def weighted(self, weight: str) -> RowBlock:
        """Leave out rows whose weight, in the column of that name, is 0."""
        return self._filter(numbers(self.table.column(weight)) != 0)

    def without_missing(self) -> RowBlock:
        """Leave out rows that lack a value in any column."""
        present = np.ones(self.table.num_rows, bool)
        for column in self.table.columns:
            if dtype_kind(column.type) == "numbers" and not pa.types.is_dictionary(column.type):
                present &= ~np.isnan(numbers(column))
            else:
                present &= column.is_valid().to_numpy(zero_copy_only=False)
        return self._filter(present)

    def _filter(self, chosen: NDArray[np.bool_]) -> RowBlock:
        if chosen.all():
            return self
        rows = np.flatnonzero(chosen)
        positions = rows if self.positions is None else self.positions[rows]
        return RowBlock(self.table.take(pa.array(rows)), self.chunk, positions)


class RowSubset(NamedTuple):
    """Some rows of a table.

    Attributes:
        dataset: the table.
        split: how its rows are split; None takes all.
        part: which part of the split.
        start: the first row that may be taken.
        stop: the row after the last one; None means to the end.
    """

    dataset: TableDataset
    split: HashSplit = HashSplit()
    part: int = TRAIN
    start: int = 0
    stop: int | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it has all rows between start and stop."""
        return not self.split.holds_out and self.part == TRAIN

    def share(self, rank: int, world_size: int) -> RowSubset:
        """Return the rows of one process: consecutive, in the order of ranks, equally many."""
        if world_size == 1:
            return self
        rows = self.dataset.count_rows()
        return self._replace(start=rows * rank // world_size, stop=rows * (rank + 1) // world_size)

    def count_rows(self) -> int:
        """Count the rows, those that lack a value included; of text this reads the files."""
        stop = self.dataset.count_rows() if self.stop is None else self.stop
        if self.is_whole:
            return stop - self.start
        return sum(
            int((self.split.parts(first, min(first + _COUNT_ROWS, stop)) == self.part).sum())
            for first in range(self.start, stop, _COUNT_ROWS)
        )

    def read(self, types: Mapping[str, Any], size: int) -> Iterator[RowBlock]:
        """Yield the rows in blocks of at most `size`; see `TableDataset.read`."""
        if self.start == self.stop:
            return
        for chunk in self.dataset.read(types, size, self.start, self.stop):
            if self.is_whole:
                yield RowBlock(chunk.table, chunk, None)
                continue
            parts = self.split.parts(chunk.start, chunk.start + chunk.table.num_rows)
            positions = np.flatnonzero(parts == self.part)
            if len(positions):
                yield RowBlock(chunk.table.take(pa.array(positions)), chunk, positions)
