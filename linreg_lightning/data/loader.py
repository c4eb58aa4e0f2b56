"""Whole batches at a time, cut from tensors in memory."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from itertools import islice
from operator import itemgetter
from typing import final

import torch
from torch import Tensor

from linreg_lightning.batch import Batch
from linreg_lightning.errors import InputError

CHUNK = 1 << 23
"""Bytes that are gathered at once: enough for many batches, few enough for a processor's cache."""


@final
class BatchLoader:
    """The batches of one process: slices of its share of the rows, never one row at a time.

    Of W processes, process r has the rows r, r + W, r + 2W, ... of the pass's order. Every process
    makes the same number of batches, and no row is repeated or lost: where the shares differ by a
    row, the last batch of the larger ones may hold one row more than `batch_size`.

    Each iteration is a pass, shuffled anew. Lightning keeps what `state_dict` returns in its
    checkpoints: so an interrupted pass goes on behind the last batch it had handed out.

    Shuffled by rows, each pass is a random permutation of all rows, independent of the others: its
    batches are random samples without replacement. Shuffled by blocks, the rows are permuted once,
    into a copy, and cut into blocks of `batch_size`; a pass is a random permutation of the blocks.
    Each batch is as random a sample as before, and the mean gradient of a pass is the same, but the
    same rows meet in each pass, so that the noise of SGD is that of a fixed set of batches: fine
    where batches are many, less so where the weights are averaged over passes. Nothing is gathered
    within a pass, so it goes at the speed of memory.

    Args:
        rows: all rows, of all processes.
        batch_size: rows in a batch of one process, the last one may be shorter; None means all.
        shuffle_seed: with the number of the pass it fixes the order of the rows; None keeps them as
            they are.
        rank: which process this is, from 0.
        world_size: W.
        limit: how many batches of a pass will be taken, a whole number, or which fraction of them,
            as in `Trainer(limit_train_batches=...)`: a pass that got so far is complete.
        blocks: whether to shuffle by blocks.
        drop_last: whether to leave out what is left of a pass behind its last whole batch.
        device: where the batches are used; a GPU gets the rows once, if they fill at most half of
            its free memory, so that a pass moves nothing.

    Raises:
        InputError: fewer rows than processes; none left after dropping.

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
            raise InputError(
                f"rows: {rows.rows} cannot be shared by {world_size} processes; use fewer devices"
            )
        self._batch_size = batch_size or smallest_share
        whole, rest = divmod(smallest_share, self._batch_size)
        self._length = whole if drop_last else whole + (rest > 0)
        if self._length == 0:
            raise InputError(
                f"batch_size: {batch_size} was given with drop_last, but a process has only "
                f"{smallest_share} rows; type a smaller size, or leave drop_last out"
            )
        self._drops = drop_last
        # Whatever the order, a single batch holds the same rows: not worth a copy of them.
        single = self._length == 1 and not (drop_last and rows.rows > world_size * self._batch_size)
        self._shuffle_seed = None if single else shuffle_seed
        self._blocks = blocks and self._shuffle_seed is not None
        self._all_rows = rows.rows
        self._share = slice(rank, None, world_size)
        self._row_bytes = sum(t[0].nbytes for t in rows if t is not None)
        self._rows = _placed(rows, device, rows.rows * self._row_bytes)
        if self._blocks:
            order = self._permutation(0, rows.rows)[self._share]
            self._rows = self._rows.map(lambda tensor: tensor.index_select(0, order))
            self._share = slice(None)
        limit = int(limit * self._length) if isinstance(limit, float) else limit
        self._ends = min(limit, self._length)
        self._pass = -1
        self._handed_out = 0
        self._resumed = False

    def state_dict(self) -> dict[str, int]:
        """Which pass it is, and how many of its batches have been handed out; 0 when it is over."""
        over = self._handed_out >= self._ends
        batches = 0 if over else self._handed_out
        return {"pass": self._pass, "batches": batches, "rows": self._all_rows}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Let the next iteration go on where that state was, if within a pass of these rows."""
        self._pass, self._handed_out = state["pass"], state["batches"]
        self._resumed = self._handed_out > 0 and state["rows"] == self._all_rows

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Batch]:
        if not self._resumed:
            self._pass, self._handed_out = self._pass + 1, 0
        self._resumed = False
        batches = self._whole_blocks() if self._blocks else self._cuts()
        for index, batch in enumerate(batches, self._handed_out + 1):
            self._handed_out = index
            yield batch

    def chunks(self, batches: int | float) -> Iterator[Batch]:
        """The rows of a pass, for what adds them up: many batches at a time where all are wanted.

        The loader keeps its place among its passes.

        Args:
            batches: how many of a pass; where they are not all the rows, they come one by one, and
                are those of the next pass.
        """
        if batches < self._length or self._drops:
            again = copy(self)
            again._resumed = False
            yield from islice(again, int(min(batches, self._length)))
            return
        share = self._rows.map(lambda tensor: tensor[self._share])
        rows = max(1, CHUNK // self._row_bytes)
        for first in range(0, share.rows, rows):
            yield share.map(itemgetter(slice(first, first + rows)))

    def _whole_blocks(self) -> Iterator[Batch]:
        """The blocks of the pass that are still to come; the last, which may be short, is last."""
        last = torch.tensor([self._length - 1])
        order = torch.cat([self._permutation(self._pass, self._length - 1), last])
        for block in order[self._handed_out :].tolist():
            yield self._gather(None, self._slice(block, block + 1))

    def _cuts(self) -> Iterator[Batch]:
        """The batches of the pass that are still to come, many gathered at once, each a view.

        A call of torch for each of them would take as long as small batches take to be used.
        """
        order, size = None, self._batch_size
        if self._shuffle_seed is not None:
            order = self._permutation(self._pass, self._all_rows)[self._share]
        many = max(1, CHUNK // (size * self._row_bytes))
        for first in range(self._handed_out, self._length, many):
            end = min(first + many, self._length)
            chunk = self._gather(order, self._slice(first, end))
            sizes = [size] * (end - first - 1)
            sizes.append(chunk.rows - sum(sizes))
            weights = [None] * len(sizes) if chunk.weight is None else chunk.weight.split(sizes)
            yield from map(Batch, chunk.x.split(sizes), chunk.y.split(sizes), weights)

    def _gather(self, order: Tensor | None, rows: slice) -> Batch:
        if order is None:
            return self._rows.map(lambda tensor: tensor[self._share][rows])
        chosen = order[rows]
        return self._rows.map(lambda tensor: tensor.index_select(0, chosen))

    def _slice(self, first: int, end: int) -> slice:
        """The rows of these batches; the last one has all that are left."""
        ends = end < self._length or self._drops
        return slice(first * self._batch_size, end * self._batch_size if ends else None)

    def _permutation(self, number: int, size: int) -> Tensor:
        assert self._shuffle_seed is not None  # nothing else is permuted
        generator = torch.Generator().manual_seed(self._shuffle_seed + number)
        return torch.randperm(size, generator=generator).to(self._rows.x.device)


def _placed(rows: Batch, device: torch.device | None, size: int) -> Batch:
    if device is None or device.type != "cuda":
        return rows
    free, _ = torch.cuda.mem_get_info(device)
    return rows.map(lambda tensor: tensor.to(device)) if size <= free / 2 else rows
