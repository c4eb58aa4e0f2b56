"""One split of a table, from files to blocks of rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import torch
from lightning.pytorch.utilities import rank_zero_warn
from numpy.typing import NDArray

from linreg_lightning.batch import Batch, FoldBatch, KeptBatch, NumberedRows
from linreg_lightning.design_matrix.batch_builder import BatchBuilder, Folds
from linreg_lightning.design_matrix.row_counts import RowCounts, too_few_complete
from linreg_lightning.design_matrix.row_subset import RowBlock, RowSubset
from linreg_lightning.errors import InputError
from linreg_lightning.validation import all_weights_zero

_MAX_NUMBERS, _MAX_ROWS = 2**21, 2**16
Value = TypeVar("Value")


@dataclass
class SplitReader:
    """The rows of a split, or one process's share of them; each pass reads them anew.

    Warnings say once how many rows lack a value or have an unseen level: after the first pass, or
    before it where several processes have to agree on the number of batches; else several processes
    add their counts up when they all call `report`. `purpose` says in messages what rows are for.
    """

    subset: RowSubset
    builder: BatchBuilder
    purpose: str
    rank: int = 0
    world_size: int = 1
    _reported: bool = False
    _counts: RowCounts = field(default_factory=RowCounts)  # of this process's last pass

    @property
    def block_rows(self) -> int:
        """The most rows of a block: few where rows are long."""
        return max(1, min(_MAX_ROWS, _MAX_NUMBERS // (len(self.builder.design.names) + 1)))

    def share(self, rank: int, world_size: int) -> SplitReader:
        """Return the rows of one process, consecutive."""
        if world_size == 1:
            return self  # which remembers whether it has warned
        subset = self.subset.share(rank, world_size)
        return replace(self, subset=subset, rank=rank, world_size=world_size)

    def report(self) -> None:
        """Warn, if that is still to do, of the rows that all processes have read."""
        if self.world_size > 1 and not self._reported:
            self._warn_once(sum(self._all_gather(self._counts), RowCounts()))

    def blocks(self, min_rows: int = 0) -> Iterator[Batch | FoldBatch]:
        """Yield the rows, block by block; refuse fewer than `min_rows`."""
        counts, rows, counted = RowCounts(), 0, False
        for block in self._read(self.block_rows):
            batch, count = self.builder.build(block)
            counts += count
            rows += batch.rows
            counted = counted or batch.weight is None or bool(batch.weight.any())
            if batch.rows:
                yield batch
        if counts.rows and not counted:
            raise all_weights_zero()
        self._counts = counts
        if self.world_size > 1:
            return
        if counts.incomplete and rows < 2 and self.purpose == "to train on":
            text = f"path: {self.subset.dataset.name} has too few rows to train on"
            roles = counts.rows, counts.incomplete, counts.missing, self.builder.roles.features
            raise InputError(f"{text}; {too_few_complete(*roles)}")
        self._warn_once(counts)
        if rows < min_rows:
            dataset = self.subset.dataset
            text = f"{dataset.argument}: {dataset.name} has {rows} rows {self.purpose}"
            raise InputError(f"{text}; at least {min_rows} are needed")

    def prediction_blocks(self, kept: Sequence[str], size: int) -> Iterator[Any]:
        """Yield the rows to predict, with the kept columns, if any, as they are in the files."""
        counts = RowCounts()
        for block in self._read(size, kept):
            batch, count = self.builder.build(block)
            counts += count
            columns = block.table.select(list(kept))
            yield KeptBatch(batch.x, batch.y, batch.weight, columns) if kept else batch
        self._counts = counts
        if self.world_size == 1:
            self._warn_once(counts)

    def numbered_blocks(self, kept: Sequence[str]) -> Iterator[NumberedRows]:
        """Yield the rows in the order of the files, with their numbers and some columns of them."""
        self.builder.roles.check(self.subset.dataset)  # which may have changed since the fit
        builder = replace(self.builder, folds=partial(_number_rows, self.builder.folds))
        for block in self._read(self.block_rows, kept):
            batch, _ = builder.build(block)
            assert isinstance(batch, FoldBatch)  # made by `_number_rows`
            rows = batch.fold.numpy()
            places = rows if block.positions is None else block.positions[rows]
            columns = block.table.select(list(kept)).take(pa.array(rows))
            numbers = torch.from_numpy(places + block.chunk.start + 1)
            if batch.rows:
                yield NumberedRows(batch.batch, numbers, self.subset.dataset.count_rows, columns)

    def read_all(self, max_bytes: int | float) -> Batch | FoldBatch | None:
        """Return all rows; None if the files or the rows have more than `max_bytes`."""
        if self.subset.dataset.size > max_bytes:
            return None
        roles = self.builder.roles
        widths = len(self.builder.design.names), len(roles.targets) + (roles.by is not None)
        blocks: list[Any] = []
        size = 0
        for block in self.blocks():
            blocks.append(block)
            size += 8 * block.rows * (sum(widths) + 1)
            if size > max_bytes:
                return None
        if not blocks:
            x, y = (torch.empty(0, width, dtype=torch.float64) for width in widths)
            blocks = [Batch(x, y[:, 0].long() if roles.has_classes else y)]
        rows: Batch | FoldBatch = blocks[0].concatenate(blocks)
        return rows

    def count_rows_and_batches(self, batch_size: int) -> tuple[int | None, int | None]:
        """Count this process's rows and batches, the same number of batches in every process.

        Rows are None where only reading tells; batches are None in a single process.
        """
        drops = self.builder.drops_rows
        if self.world_size == 1:
            known = not drops and self.subset.is_whole and not self.subset.dataset.is_text
            return (self.subset.count_rows() if known else None), None
        rows = self._count_complete_rows() if drops else self.subset.count_rows()
        counts = self._all_gather(rows)
        if min(counts) == 0:
            reason = f"cannot be shared by {self.world_size} processes"
            raise InputError(f"rows: {sum(counts)} {reason}; use fewer devices")
        return rows, min(-(-max(counts) // batch_size), min(counts))

    def _read(self, size: int, kept: Sequence[str] = ()) -> Iterator[RowBlock]:
        return self.subset.read(self.builder.roles.types(self.subset.dataset, kept), size)

    def _count_complete_rows(self) -> int:
        blocks = self._read(self.block_rows)
        counts = sum((self.builder.build(block)[1] for block in blocks), RowCounts())
        self._warn_once(sum(self._all_gather(counts), RowCounts()))
        return counts.rows - counts.incomplete

    def _all_gather(self, value: Value) -> list[Value]:
        values: list[Any] = [None] * self.world_size
        torch.distributed.all_gather_object(values, value)
        return values

    def _warn_once(self, counts: RowCounts) -> None:
        if not self._reported:
            for message in counts.messages(self.purpose):
                rank_zero_warn(message)
        self._reported = True


def _number_rows(
    folds: Folds | None, block: RowBlock
) -> tuple[NDArray[np.int64], dict[str, NDArray[np.bool_]]]:
    """Return the place of each row in its block, and by column which rows lack a key."""
    return np.arange(block.table.num_rows), {} if folds is None else folds(block)[1]
