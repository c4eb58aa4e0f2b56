"""Batches for a Trainer: passes that can be resumed, and rows in memory, cut into whole batches."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Any, final

import torch
from torch import Tensor

from linreg_lightning.batch import Batch, FoldBatch
from linreg_lightning.errors import InputError

CHUNK_BYTES = 1 << 23
"""Bytes gathered at a time: many batches, which still fit into a processor's cache."""


class Loader(ABC):
    """The batches of one process: each iteration is a pass; an interrupted pass can be resumed.

    Args:
        rows_id: the number or the name of the rows; a pass is resumed only within the same rows.
        length: the number of batches in a pass; None if only its end tells.
        limit: the batches of a pass to take, a whole number, or the fraction of them, as in
            `Trainer(limit_train_batches=...)`: a pass that got so far is complete.
    """

    def __init__(self, rows_id: int | str, length: int | None, limit: int | float) -> None:
        self._rows_id, self._length = rows_id, length
        if length is not None:
            limit = min(limit if isinstance(limit, int) else int(limit * length), length)
        self._batches_to_take = limit if isinstance(limit, int) else math.inf
        self._pass, self._handed_out, self._resumed = -1, 0, False
        self.starts_anew = False  # though the state was within a pass, of other rows

    @abstractmethod
    def read_pass(self, number: int, first: int) -> Iterator[Any]:
        """Yield the batches of a pass, counted from 0, from the batch `first` on."""

    def state_dict(self) -> dict[str, Any]:
        """Return the pass, and how many of its batches have been worked on; 0 if it is over."""
        taken = self._handed_out
        if self._length is None and taken > 0:
            # Lightning takes one batch more than it works on where it does not know the length.
            taken -= 1
        over = taken >= self._batches_to_take
        return {"pass": self._pass, "batches": 0 if over else taken, "rows": self._rows_id}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Let the next iteration continue from a state, if it is within a pass of these rows."""
        self._pass, self._handed_out = state["pass"], state["batches"]
        is_same = state["rows"] == self._rows_id
        self._resumed = self._handed_out > 0 and is_same
        self.starts_anew = self._handed_out > 0 and not is_same

    def __len__(self) -> int:
        if self._length is None:
            raise TypeError("the number of batches is known only at the end of a pass")
        return self._length

    def __iter__(self) -> Iterator[Any]:
        if not self._resumed:
            self._pass, self._handed_out = self._pass + 1, 0
        self._resumed = False
        batches = self.read_pass(self._pass, self._handed_out)
        for taken, batch in enumerate(batches, self._handed_out + 1):
            self._handed_out = taken
            yield batch
        self._handed_out = 0


@final
class BatchLoader(Loader):
    """Slices of one process's share of the rows, never one row at a time.

    Of W processes, process r has the rows r, r + W, r + 2W, ... of the pass's order. Every process
    makes the same number of batches, and no row is repeated or lost: where the shares differ by a
    row, the last batch of the larger ones may hold one row more than `batch_size`.

    With a seed, each pass has the rows in a new random order. With `blocks`, the rows are permuted
    and divided into batches once, into a copy, and each pass has these batches in a new random
    order. That runs at the speed of memory, but the same rows meet in every pass.

    Args:
        rows: all rows, of all processes, with or without folds.
        batch_size: rows in a batch of one process, the last may be shorter; None means all.
        shuffle_seed: fixes the order, with the number of the pass; None keeps the rows in order.
        rank: which process this is, from 0.
        world_size: W.
        limit: the batches of a pass to take, as in `Loader`.
        blocks: whether to shuffle whole batches.
        device: a GPU receives all rows once if they fill at most half of its free memory.

    Raises:
        InputError: fewer rows than processes.

    >>> rows = Batch(torch.arange(10.0).reshape(5, 2), torch.ones(5, 1))
    >>> [batch.rows for batch in BatchLoader(rows, batch_size=2)]
    [2, 2, 1]
    """

    def __init__(
        self,
        rows: Batch | FoldBatch,
        batch_size: int | None = None,
        shuffle_seed: int | None = None,
        rank: int = 0,
        world_size: int = 1,
        limit: int | float = 1.0,
        blocks: bool = False,
        device: torch.device | None = None,
    ) -> None:
        smallest_share = rows.rows // world_size
        if smallest_share == 0:
            reason = f"cannot be shared by {world_size} processes"
            raise InputError(f"rows: {rows.rows} {reason}; use fewer devices")
        self._batch_size = batch_size or smallest_share
        self._batches = -(-smallest_share // self._batch_size)
        super().__init__(rows.rows, self._batches, limit)
        # A single batch holds the same rows in any order, so it needs no copy of them.
        self._shuffle_seed = None if self._batches == 1 else shuffle_seed
        self._blocks = blocks and self._shuffle_seed is not None
        self._share = slice(rank, None, world_size)
        self._row_bytes = sum(t[0].nbytes for t in rows if t is not None)
        self._rows = _move_to_gpu(rows, device, rows.rows * self._row_bytes)
        if self._blocks:
            self._rows = self._gather(self._permutation(0, rows.rows)[self._share])
            self._share = slice(None)

    def read_pass(self, number: int, first: int) -> Iterator[Batch | FoldBatch]:
        """Yield views of rows that are gathered many batches at a time, or of blocks."""
        if self._blocks:
            # The last batch, which may be short, stays last.
            last = self._batches - 1
            for index in [*self._permutation(number, last).tolist(), last][first:]:
                yield self._rows.select(self._positions(index, index + 1))
            return
        order, size, share = None, self._batch_size, self._rows.select(self._share)
        if self._shuffle_seed is not None:
            order = self._permutation(number, self._rows.rows)[self._share]
        batches_at_a_time = max(1, CHUNK_BYTES // (size * self._row_bytes))
        for start in range(first, self._batches, batches_at_a_time):
            stop = min(start + batches_at_a_time, self._batches)
            positions = self._positions(start, stop)
            rows = share.select(positions) if order is None else self._gather(order[positions])
            sizes = [size] * (stop - start - 1)
            sizes.append(rows.rows - sum(sizes))
            nothing = [None] * len(sizes)
            parts = (nothing if tensor is None else tensor.split(sizes) for tensor in rows)
            yield from map(type(rows), *parts)

    def chunks(self, batches: int | float) -> Iterator[Batch | FoldBatch]:
        """Yield a pass's rows in large parts, or its first `batches` batches; keep the place."""
        if batches < self._batches:
            yield from islice(self.read_pass(self._pass + 1, 0), int(batches))
            return
        share = self._rows.select(self._share)
        size = max(1, CHUNK_BYTES // self._row_bytes)
        for first in range(0, share.rows, size):
            yield share.select(slice(first, first + size))

    def _positions(self, first: int, stop: int) -> slice:
        """Return the positions of batches from `first` up to `stop`; the last has all the rest."""
        end = stop * self._batch_size if stop < self._batches else None
        return slice(first * self._batch_size, end)

    def _permutation(self, number: int, size: int) -> Tensor:
        assert self._shuffle_seed is not None
        generator = torch.Generator().manual_seed(self._shuffle_seed + number)
        # The same order as in int64, at half the memory.
        dtype = torch.int32 if size < 2**31 else torch.int64
        order = torch.randperm(size, generator=generator, dtype=dtype)
        return order.to(self._rows.x.device)

    def _gather(self, positions: Tensor) -> Batch | FoldBatch:
        return self._rows.map(partial(torch.index_select, dim=0, index=positions))


def _move_to_gpu(
    rows: Batch | FoldBatch, device: torch.device | None, size: int
) -> Batch | FoldBatch:
    if device is None or device.type != "cuda":
        return rows
    free, _ = torch.cuda.mem_get_info(device)
    return rows.map(lambda tensor: tensor.to(device)) if size <= free / 2 else rows
