"""Whole batches at a time, sliced from tensors in memory."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from functools import partial
from itertools import islice
from operator import itemgetter
from typing import final

import torch
from torch import Tensor

from linreg_lightning.batch import Batch
from linreg_lightning.errors import InputError

CHUNK_BYTES = 1 << 23
"""Bytes gathered at a time: many batches, which still fit into a processor's cache."""


@final
class BatchLoader:
    """The batches of one process: slices of its share of the rows, never one row at a time.

    Of W processes, process r has the rows r, r + W, r + 2W, ... of the pass's order. Every process
    makes the same number of batches, and no row is repeated or lost: where the shares differ by a
    row, the last batch of the larger ones may hold one row more than `batch_size`.

    Each iteration is a pass; an interrupted pass continues after its last batch. With a seed, each
    pass has the rows in a new random order. With `blocks`, the rows are permuted and divided into
    batches once, into a copy, and each pass has these batches in a new random order. That runs at
    the speed of memory, but the same rows meet in every pass.

    Args:
        rows: all rows, of all processes.
        batch_size: rows in a batch of one process, the last may be shorter; None means all.
        shuffle_seed: fixes the order, with the number of the pass; None keeps the rows in order.
        rank: which process this is, from 0.
        world_size: W.
        limit: the batches of a pass to take, a whole number, or the fraction of them, as in
            `Trainer(limit_train_batches=...)`: a pass that got so far is complete.
        blocks: whether to shuffle whole batches.
        drop_last: whether to leave out the rows after the last whole batch of a pass.
        device: a GPU receives all rows once if they fill at most half of its free memory.

    Raises:
        InputError: fewer rows than processes; no batch left after dropping.

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
        blocks: bool = False,
        drop_last: bool = False,
        device: torch.device | None = None,
    ) -> None:
        smallest_share = rows.rows // world_size
        if smallest_share == 0:
            reason = f"cannot be shared by {world_size} processes"
            raise InputError(f"rows: {rows.rows} {reason}; use fewer devices")
        self._batch_size = batch_size or smallest_share
        whole, rest = divmod(smallest_share, self._batch_size)
        self._length = whole if drop_last else whole + (rest > 0)
        if self._length == 0:
            reason = f"with drop_last, but a process has only {smallest_share} rows"
            remedy = "type a smaller size, or leave drop_last out"
            raise InputError(f"batch_size: {batch_size} was given {reason}; {remedy}")
        self._drop_last = drop_last
        # A single batch holds the same rows in any order, so it needs no copy of them.
        single = self._length == 1 and not (drop_last and rows.rows > world_size * self._batch_size)
        self._shuffle_seed = None if single else shuffle_seed
        self._blocks = blocks and self._shuffle_seed is not None
        self._all_rows = rows.rows
        self._share = slice(rank, None, world_size)
        self._row_bytes = sum(t[0].nbytes for t in rows if t is not None)
        self._rows = _move_to_gpu(rows, device, rows.rows * self._row_bytes)
        if self._blocks:
            order = self._permutation(0, rows.rows)[self._share]
            self._rows = self._rows.map(lambda tensor: tensor.index_select(0, order))
            self._share = slice(None)
        taken = int(limit * self._length) if isinstance(limit, float) else limit
        self._batches_per_pass = min(taken, self._length)
        self._pass, self._handed_out, self._resumed = -1, 0, False

    def state_dict(self) -> dict[str, int]:
        """Return the pass, and how many of its batches have been handed out; 0 if it is over."""
        over = self._handed_out >= self._batches_per_pass
        batches = 0 if over else self._handed_out
        return {"pass": self._pass, "batches": batches, "rows": self._all_rows}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Let the next iteration continue from a state, if it is within a pass of these rows."""
        self._pass, self._handed_out = state["pass"], state["batches"]
        self._resumed = self._handed_out > 0 and state["rows"] == self._all_rows

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Batch]:
        if not self._resumed:
            self._pass, self._handed_out = self._pass + 1, 0
        self._resumed = False
        batches = self._whole_batches() if self._blocks else self._row_batches()
        for index, batch in enumerate(batches, self._handed_out + 1):
            self._handed_out = index
            yield batch

    def chunks(self, batches: int | float) -> Iterator[Batch]:
        """Yield a pass's rows in large parts, or its first `batches` batches; keep the place."""
        if batches < self._length or self._drop_last:
            again = copy(self)
            again._resumed = False
            yield from islice(again, int(min(batches, self._length)))
            return
        share = self._rows.map(itemgetter(self._share))
        size = max(1, CHUNK_BYTES // self._row_bytes)
        for first in range(0, share.rows, size):
            yield share.map(itemgetter(slice(first, first + size)))

    def _whole_batches(self) -> Iterator[Batch]:
        """Yield the rest of the pass; the last batch, which may be short, stays last."""
        last = self._length - 1
        order = [*self._permutation(self._pass, last).tolist(), last]
        for index in order[self._handed_out :]:
            yield self._rows.map(itemgetter(self._positions(index, index + 1)))

    def _row_batches(self) -> Iterator[Batch]:
        """Yield the rest of the pass as views of rows that are gathered many batches at a time."""
        order, size, share = None, self._batch_size, self._rows.map(itemgetter(self._share))
        if self._shuffle_seed is not None:
            order = self._permutation(self._pass, self._all_rows)[self._share]
        batches_at_a_time = max(1, CHUNK_BYTES // (size * self._row_bytes))
        for first in range(self._handed_out, self._length, batches_at_a_time):
            stop = min(first + batches_at_a_time, self._length)
            positions = self._positions(first, stop)
            if order is None:
                rows = share.map(itemgetter(positions))
            else:
                chosen = order[positions]
                rows = self._rows.map(partial(torch.index_select, dim=0, index=chosen))
            sizes = [size] * (stop - first - 1)
            sizes.append(rows.rows - sum(sizes))
            weights = [None] * len(sizes) if rows.weight is None else rows.weight.split(sizes)
            yield from map(Batch, rows.x.split(sizes), rows.y.split(sizes), weights)

    def _positions(self, first: int, stop: int) -> slice:
        """Return the positions of batches from `first` up to `stop`; the last has all the rest."""
        whole = stop < self._length or self._drop_last
        return slice(first * self._batch_size, stop * self._batch_size if whole else None)

    def _permutation(self, number: int, size: int) -> Tensor:
        assert self._shuffle_seed is not None
        generator = torch.Generator().manual_seed(self._shuffle_seed + number)
        return torch.randperm(size, generator=generator).to(self._rows.x.device)


def _move_to_gpu(rows: Batch, device: torch.device | None, size: int) -> Batch:
    if device is None or device.type != "cuda":
        return rows
    free, _ = torch.cuda.mem_get_info(device)
    return rows.map(lambda tensor: tensor.to(device)) if size <= free / 2 else rows
