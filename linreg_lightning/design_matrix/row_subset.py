"""Which rows of a table to read: those of a split and of a process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from linreg_lightning.design_matrix.level_names import RowNumbers, to_categories
from linreg_lightning.frames import parse_numbers
from linreg_lightning.tables.dataset import Chunk, TableDataset
from linreg_lightning.tables.table_file import dtype_kind

_COUNT_ROWS = 2**20
"""Rows whose parts are counted at a time."""
_GROUP = 100
"""The fractions of a split hold in each group of this many rows, as far as whole rows allow."""
TRAIN, VAL, TEST = 0, 1, 2


class RowBlock(NamedTuple):
    """A record batch of some rows of a chunk, at `positions` in it; None means all of its rows."""

    table: Any
    chunk: Chunk
    positions: RowNumbers | None

    def row_name(self, row: int) -> str:
        """Name a row of this block, counted from 0, by its number in its file."""
        return self.chunk.where(row if self.positions is None else int(self.positions[row]))

    def select(self, weight: str | None, complete: bool) -> RowBlock:
        """Leave out rows of weight 0 and, if `complete`, rows that lack a value in any column."""
        chosen = np.ones(self.table.num_rows, bool)
        if weight is not None:
            chosen = parse_numbers(self.table.column(weight), weight) != 0
        for name in self.table.column_names if complete else ():
            column = self.table.column(name)
            if dtype_kind(column.type) not in ("numbers", "times"):
                column = to_categories(column).indices
            chosen &= ~column.is_null(nan_is_null=True).to_numpy(zero_copy_only=False)
        if chosen.all():
            return self
        rows = np.flatnonzero(chosen)
        positions = rows if self.positions is None else self.positions[rows]
        return RowBlock(_take(self.table, rows), self.chunk, positions)


class HashSplit(NamedTuple):
    """Splits rows at random by a hash of their numbers: no row depends on any other.

    In each group of 100 consecutive rows, those with the smallest hashes validate and those with
    the largest test. Only the number of a row, the fractions and the seed decide where it goes: not
    the size of the table, the batch size or the process that reads it.

    >>> HashSplit(val_fraction=0.2).parts(0, 12)
    array([0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0], dtype=int8)
    """

    val_fraction: float = 0.0
    test_fraction: float = 0.0
    seed: int = 0

    def parts(self, start: int, stop: int) -> NDArray[np.int8]:
        """Return the part, TRAIN, VAL or TEST, of each row from `start` to before `stop`."""
        first, last = start // _GROUP, -(-stop // _GROUP)
        key = splitmix64(np.array([self.seed], np.uint64))
        groups = np.arange(first, last).astype(np.uint64)[:, None]
        rows = np.arange(first * _GROUP, last * _GROUP).astype(np.uint64)
        order = splitmix64(rows ^ key).reshape(-1, _GROUP).argsort(axis=1)
        rank = np.empty_like(order)
        np.put_along_axis(rank, order, np.arange(_GROUP)[None], axis=1)
        # A random offset for each group rounds a fraction of a row up or down.
        offset = (splitmix64(~(groups ^ key)) >> np.uint64(11)).astype(np.float64) / 2.0**53
        place = ((rank + offset) / _GROUP).ravel()[start - first * _GROUP :][: stop - start]
        parts = np.full(stop - start, TRAIN, np.int8)
        parts[place < self.val_fraction] = VAL
        parts[place >= 1.0 - self.test_fraction] = TEST
        return parts


class RowSubset(NamedTuple):
    """The rows of one part of a split from `start` to `stop`, exclusive; None means to the end."""

    dataset: TableDataset
    split: HashSplit = HashSplit()
    part: int = TRAIN
    start: int = 0
    stop: int | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it has all rows between start and stop."""
        return self.part == TRAIN and not (self.split.val_fraction or self.split.test_fraction)

    def share(self, rank: int, world_size: int) -> RowSubset:
        """Return the rows of one process: consecutive, in the order of ranks, equally many."""
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
                yield RowBlock(_take(chunk.table, positions), chunk, positions)


def _take(table: pa.RecordBatch, rows: RowNumbers) -> pa.RecordBatch:
    # `pa.array` would import pandas.
    indices = pa.Array.from_buffers(pa.int64(), len(rows), [None, pa.py_buffer(rows)])
    return table.take(indices)


def splitmix64(number: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Hash each number by the generator splitmix64 (S. Vigna, 2015)."""
    number = number + np.uint64(0x9E3779B97F4A7C15)
    number = (number ^ (number >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    number = (number ^ (number >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return number ^ (number >> np.uint64(31))
