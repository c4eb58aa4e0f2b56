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

    Of W processes, process r has the rows r, r + W, r + 2W, ... of the epoch's order. Every process
    makes the same number of batches, and no row is repeated or lost: where the shares differ by a
    row, the last batch of the larger ones may hold one row more than `batch_size`.

    Lightning tells a loader's `sampler` each epoch's number, and keeps what `state_dict` returns in
    its checkpoints: so an interrupted epoch goes on behind the last batch it had handed out.

    Args:
        rows: all rows, of all processes.
        batch_size: rows in a batch of one process, the last one may be shorter; None means all.
        shuffle_seed: with the epoch it fixes the order of the rows; None keeps them as they are.
        rank: which process this is, from 0.
        world_size: W.

    Raises:
        InputError: fewer rows than processes.

    >>> rows = Batch(torch.arange(10.0).reshape(5, 2), torch.ones(5, 1))
    >>> [batch.rows for batch in BatchLoader(rows, batch_size=2)]
    [2, 2, 1]
    """

    batch_sampler = None  # Lightning looks for it wherever there is a `sampler`.

    def __init__(
        self,
        rows: Batch,
        batch_size: int | None = None,
        shuffle_seed: int | None = None,
        rank: int = 0,
        world_size: int = 1,
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
        self._epoch = 0
        self._handed_out = 0
        self._resume: dict[str, int] | None = None

    @property
    def sampler(self) -> BatchLoader:
        """The loader itself: it is what Lightning tells the epoch to."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the rows for the next iteration."""
        self._epoch = epoch

    def state_dict(self) -> dict[str, int]:
        """How many batches of which epoch have been handed out."""
        return {"epoch": self._epoch, "batches": self._handed_out}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Let the next iteration, if it is of that epoch, begin behind the batches handed out."""
        self._resume = state

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Batch]:
        first = (
            self._resume["batches"] if self._resume and self._resume["epoch"] == self._epoch else 0
        )
        self._resume = None
        order = self._order()
        for index in range(first, self._length):
            self._handed_out = index + 1
            start = index * self._batch_size
            end = start + self._batch_size if index < self._length - 1 else None
            yield self._cut(order, slice(start, end))

    def _order(self) -> Tensor | None:
        """The numbers of this process's rows in the order of the epoch; None as they are."""
        if self._shuffle_seed is None:
            return None
        generator = torch.Generator().manual_seed(self._shuffle_seed + self._epoch)
        order = torch.randperm(self._rows.rows, generator=generator)[self._share]
        return order.to(self._rows.x.device)

    def _cut(self, order: Tensor | None, batch: slice) -> Batch:
        if order is not None:
            chosen = order[batch]
            return self._rows.map(lambda tensor: tensor[chosen])
        return self._rows.map(lambda tensor: tensor[self._share][batch])
