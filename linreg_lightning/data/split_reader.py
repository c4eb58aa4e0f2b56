"""One split of a table, from files to blocks of rows."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar, final

import torch
from lightning.pytorch.utilities import rank_zero_warn

from linreg_lightning.batch import Batch
from linreg_lightning.design_matrix.column_roles import Columns
from linreg_lightning.design_matrix.encoder import Encoder, MissingCounts
from linreg_lightning.design_matrix.row_subset import RowSubset
from linreg_lightning.errors import InputError
from linreg_lightning.tables.prefetch import prefetch

# Numbers, and rows, of a block.
_NUMBERS, _ROWS = 2**21, 2**16
Value = TypeVar("Value")


@final
class SplitReader:
    """The rows of a split, or one process's share of them; each pass reads them anew.

    Rows that lack a value are counted, and said once: behind the first pass, or before it where
    several processes have to agree on the number of batches.

    Args:
        selection: the rows.
        columns: what is needed of them.
        encoder: makes what makes batches of them.
        purpose: what they are for, in messages.
        rank: which process this is.
        world_size: how many processes have a share.
    """

    def __init__(
        self,
        selection: RowSubset,
        columns: Columns,
        encoder: Callable[[], Encoder],
        purpose: str,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.selection = selection
        self._columns = columns
        self._encoder = encoder
        self._purpose = purpose
        self._rank, self._world_size = rank, world_size
        self._told = False

    def share(self, rank: int, world_size: int) -> SplitReader:
        """The rows of one process, in succession."""
        if world_size == 1:
            return self
        return SplitReader(
            self.selection.share(rank, world_size),
            self._columns,
            self._encoder,
            self._purpose,
            rank,
            world_size,
        )

    @property
    def block(self) -> int:
        """The most rows of a block: few where they are long."""
        return max(1, min(_ROWS, _NUMBERS // (len(self._encoder().design.names) + 1)))

    def blocks(self, least: int = 0) -> Iterator[Batch]:
        """Yield the rows, a few at a time.

        Args:
            least: how many there must be.

        Raises:
            InputError: there are fewer, or they cannot be used.
        """
        encoder, types = self._encoder(), self._columns.types(self.selection.source)
        rows = 0
        # Files are decoded while the rows in front are encoded.
        for selected in prefetch(self.selection.read(types, self.block), depth=1):
            batch = encoder(selected)
            rows += batch.rows
            if batch.rows:
                yield batch
        encoder.finish()
        if self._world_size == 1:
            self._tell(encoder.tally)
        if self._world_size == 1 and rows < least:
            raise InputError(
                f"path: {self.selection.source.name} has {rows} rows {self._purpose}; at least "
                f"{least} are needed"
            )

    def pairs(self, kept: Sequence[str], size: int) -> Iterator[tuple[Batch, Any]]:
        """Yield the rows to predict, and beside them columns as they are in the files.

        Args:
            kept: those columns.
            size: the most rows at a time.
        """
        encoder, types = self._encoder(), self._columns.types(self.selection.source, kept)
        for selected in self.selection.read(types, size):
            yield encoder(selected), selected.table.select(list(kept))
        if self._world_size == 1:
            self._tell(encoder.tally)
        elif (text := encoder.tally.report("given no prediction")) is not None:
            # Processes end when they do, and do not wait for each other to add up.
            warnings.warn(f"Process {self._rank + 1}: {text}", stacklevel=2)

    def held(self, most: int | float) -> Batch | None:
        """All rows, unless their files, or they themselves, have more than `most` bytes."""
        if self.selection.source.size > most:
            return None
        blocks, size = [], 0
        for block in self.blocks():
            blocks.append(block)
            size += 8 * block.rows * (block.x.shape[1] + block.y.shape[1] + 1)
            if size > most:
                return None
        none = torch.empty(0, len(self._encoder().design.names), dtype=torch.float64)
        return Batch.concatenate(
            blocks or [Batch(none, none.new_empty(0, len(self._columns.targets)))]
        )

    def rows_and_steps(self, batch_size: int) -> tuple[int | None, int | None]:
        """How many rows this process has, and into how many batches all of them cut theirs.

        The number of rows is None where only reading them tells; that of batches is None where
        there is one process, which may end when it has no more.

        Raises:
            InputError: fewer rows than processes.
        """
        drops = self._encoder().drops
        if self._world_size == 1:
            known = not drops and self.selection.is_whole and not self.selection.source.is_text
            return (self.selection.count_rows() if known else None), None
        rows = self._read_once() if drops else self.selection.count_rows()
        counts = self._of_all_ranks(rows)
        if min(counts) == 0:
            raise InputError(
                f"rows: {sum(counts)} cannot be shared by {self._world_size} processes; use fewer "
                "devices"
            )
        return rows, min(-(-max(counts) // batch_size), min(counts))

    def _read_once(self) -> int:
        """How many of this process's rows are complete: known only to who has seen them."""
        encoder, types = self._encoder(), self._columns.types(self.selection.source)
        rows = sum(encoder(part).rows for part in self.selection.read(types, self.block))
        first, *others = self._of_all_ranks(encoder.tally)
        for other in others:
            first = first.plus(other)
        self._tell(first)
        return rows

    def _of_all_ranks(self, value: Value) -> list[Value]:
        values: list[Any] = [None] * self._world_size
        torch.distributed.all_gather_object(values, value)
        return values

    def _tell(self, tally: MissingCounts) -> None:
        text = tally.report(
            f"left out of those {self._purpose}" if self._columns.targets else "given no prediction"
        )
        if text is not None and not self._told:
            rank_zero_warn(text)
        self._told = True
