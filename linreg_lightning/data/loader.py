"""Whole batches at a time, cut from tensors in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

import torch
from torch import Tensor

from linreg_lightning.batch import Batch
from linreg_lightning.errors import InputError


@final
class BatchLoader:
    """The batches of one process: slices of its share of the rows, never one row at a time.

    Of W processes, process r has the rows r, r + W, r + 2W, ... of the pass's order. Every process
    makes the same number of batches, and no row is repeated or lost: where the shares differ by a
    row, the last batch of the larger ones may hold one row more than `batch_size`.

    Each iteration is a pass, shuffled anew. Lightning keeps what `state_dict` returns in its
    checkpoints: so an interrupted pass goes on behind the last batch it had handed out.

    Args:
        rows: all rows, of all processes.
        batch_size: rows in a batch of one process, the last one may be shorter; None means all.
        shuffle_seed: with the number of the pass it fixes the order of the rows; None keeps them as
            they are.
        rank: which process this is, from 0.
        world_size: W.
        limit: how many batches of a pass will be taken, a whole number, or which fraction of them,
            as in `Trainer(limit_train_batches=...)`: a pass that got so far is complete.

    Raises:
        InputError: fewer rows than processes.

    >>> rows = Batch(torch.arange(10.0).reshape(5, 2), torch.ones(5, 1))
    >>> [batch.rows for batch in BatchLoader(rows, batch_size=2)]
    [2, 2, 1]
    """

    def __init__(
        self,
        rows: Batch,
        batch_size: int | None = None,
        shuffle_seed: int | None = None,
        rank: int = 0,
        world_size: int = 1,
        limit: int | float = 1.0,
    ) -> None:
        smallest_share = rows.rows // world_size
        if smallest_share == 0:
            raise InputError(
                f"rows: {rows.rows} cannot be shared by {world_size} processes; use fewer devices"
            )
        self._rows = rows
        self._batch_size = batch_size or smallest_share
        self._length = -(-smallest_share // self._batch_size)
        # Whatever the order, a single batch holds the same rows: not worth a copy of them.
        self._shuffle_seed = None if self._length == 1 else shuffle_seed
        self._share = slice(rank, None, world_size)
        limit = int(limit * self._length) if isinstance(limit, float) else limit
        self._ends = min(limit, self._length)
        self._pass = -1
        self._handed_out = 0
        self._resumed = False

    def state_dict(self) -> dict[str, int]:
        """Which pass it is, and how many of its batches have been handed out; 0 when it is over."""
        over = self._handed_out >= self._ends
        batches = 0 if over else self._handed_out
        return {"pass": self._pass, "batches": batches, "rows": self._rows.rows}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Let the next iteration go on where that state was, if within a pass of these rows."""
        self._pass, self._handed_out = state["pass"], state["batches"]
        self._resumed = self._handed_out > 0 and state["rows"] == self._rows.rows

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Batch]:
        if not self._resumed:
            self._pass, self._handed_out = self._pass + 1, 0
        self._resumed = False
        order = self._order()
        for index in range(self._handed_out, self._length):
            self._handed_out = index + 1
            start = index * self._batch_size
            end = start + self._batch_size if index < self._length - 1 else None
            yield self._cut(order, slice(start, end))

    def _order(self) -> Tensor | None:
        """The numbers of this process's rows in the order of the pass; None as they are."""
        if self._shuffle_seed is None:
            return None
        generator = torch.Generator().manual_seed(self._shuffle_seed + self._pass)
        order = torch.randperm(self._rows.rows, generator=generator)[self._share]
        return order.to(self._rows.x.device)

    def _cut(self, order: Tensor | None, batch: slice) -> Batch:
        if order is not None:
            chosen = order[batch]
            return self._rows.map(lambda tensor: tensor[chosen])
        return self._rows.map(lambda tensor: tensor[self._share][batch])
