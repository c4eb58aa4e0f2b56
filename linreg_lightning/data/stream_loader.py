"""Batches of rows that do not fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice, repeat
from operator import itemgetter
from typing import Any, final

import torch

from linreg_lightning.batch import Batch
from linreg_lightning.tables.prefetch import prefetch


@final
class StreamLoader:
    """The batches of one process, read while the model works, in constant memory.

    Each iteration is a pass, which shuffles rows as far as a buffer reaches. An interrupted pass
    reads the rows again and skips the batches that the model has worked on.

    Args:
        blocks: begins a pass over this process's rows, in blocks of any size.
        batch_size: rows in a batch, the last may be shorter; None hands the blocks out as they are.
        shuffle_seed: fixes the order, with the number of the pass; None keeps the rows in order.
        shuffle_buffer: the rows among which the next one is drawn.
        rows: how many rows this process has, if that is known.
        batches: into how many batches, whose sizes differ by a row at most, to divide them instead
            of by `batch_size`, so that all processes have the same number.
        limit: the batches of a pass to take, as in `Trainer(limit_train_batches=...)`.
        name: of the rows; a pass is resumed only within rows of the same name.

    >>> rows = Batch(torch.arange(10.0).reshape(5, 2), torch.ones(5, 1))
    >>> blocks = lambda: iter([rows.map(lambda t: t[:1]), rows.map(lambda t: t[1:])])
    >>> [batch.rows for batch in StreamLoader(blocks, batch_size=2)]
    [2, 2, 1]
    """

    def __init__(
        self,
        blocks: Callable[[], Iterator[Any]],
        batch_size: int | None = None,
        shuffle_seed: int | None = None,
        shuffle_buffer: int = 2**16,
        rows: int | None = None,
        batches: int | None = None,
        limit: int | float = 1.0,
        name: str = "",
    ) -> None:
        self._blocks, self._batch_size = blocks, batch_size
        self._shuffle_seed, self._shuffle_buffer = shuffle_seed, shuffle_buffer
        self._rows, self._batches = rows, batches
        self._length = batches if rows is None or batches else -(-rows // (batch_size or 1))
        self._limit, self._name = limit, name
        self._pass, self._handed_out, self._over, self._resumed = -1, 0, False, False

    def state_dict(self) -> dict[str, Any]:
        """Return the pass, and how many of its batches have been worked on; 0 if it is over."""
        taken, limit = self._handed_out, self._limit
        if self._length is None:
            # Lightning takes one batch more than it works on where it does not know the length.
            taken = max(taken - 1, 0)
        else:
            wanted = limit if isinstance(limit, int) else int(limit * self._length)
            limit = min(wanted, self._length)
        over = self._over or (isinstance(limit, int) and taken >= limit)
        return {"pass": self._pass, "batches": 0 if over else taken, "rows": self._name}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Let the next iteration continue from a state, if it is within a pass of these rows."""
        self._pass, self._handed_out = state["pass"], state["batches"]
        self._resumed = self._handed_out > 0 and state["rows"] == self._name

    def __len__(self) -> int:
        if self._length is None:
            raise TypeError("the number of batches is known only at the end of a pass")
        return self._length

    def __bool__(self) -> bool:
        return True  # `bool` would ask for the length

    def __iter__(self) -> Iterator[Any]:
        if not self._resumed:
            self._pass, self._handed_out = self._pass + 1, 0
        self._resumed, self._over = False, False
        blocks = self._blocks()
        if self._shuffle_seed is not None:
            generator = torch.Generator().manual_seed(self._shuffle_seed + self._pass)
            blocks = shuffle(blocks, self._shuffle_buffer, generator)
        if self._batch_size is not None:
            sizes: Iterator[int] = repeat(self._batch_size)
            if (rows := self._rows) is not None and (count := self._batches) is not None:
                sizes = (rows * (k + 1) // count - rows * k // count for k in range(count))
            blocks = rebatch(blocks, sizes)
        with half_of_the_threads():
            for batch in islice(prefetch(blocks), self._handed_out, None):
                self._handed_out += 1
                yield batch
        self._over = True


@contextmanager
def half_of_the_threads() -> Iterator[None]:
    """Leave half of torch's threads to the reading; the last stream to end restores them.

    Threads of torch wait for each other actively. Where a thread that decodes takes a processor
    away from one of them, all wait, at three times the processor time.
    """
    threads = _threads_before[0] if _threads_before else torch.get_num_threads()
    _threads_before.append(threads)
    torch.set_num_threads(max(1, threads // 2))
    try:
        yield
    finally:
        _threads_before.pop()
        if not _threads_before:
            torch.set_num_threads(threads)


_threads_before: list[int] = []  # torch's own number, once for each stream that is read


def rebatch(blocks: Iterator[Batch], sizes: Iterator[int]) -> Iterator[Batch]:
    """Yield the same rows in batches of other sizes; the last may be shorter.

    >>> block = Batch(torch.ones(3, 1), torch.ones(3, 1))
    >>> [batch.rows for batch in rebatch(iter([block, block]), iter([2, 2, 2]))]
    [2, 2, 2]
    """
    pending: list[Batch] = []
    rows, size = 0, next(sizes, 0)
    for block in blocks:
        start = 0
        while size and rows + block.rows - start >= size:
            stop = start + size - rows
            pending.append(_slice(block, start, stop))
            yield Batch.concatenate(pending)
            start, rows, size, pending = stop, 0, next(sizes, 0), []
        if start < block.rows:
            pending.append(_slice(block, start, block.rows))
            rows += block.rows - start
    if pending:
        yield Batch.concatenate(pending)


def shuffle(blocks: Iterator[Batch], buffer: int, generator: torch.Generator) -> Iterator[Batch]:
    """Yield the same rows in another order, each drawn from at least `buffer` rows, or the last."""
    pending: list[Batch] = []
    rows = 0
    for block in blocks:
        pending.append(block)
        rows += block.rows
        if rows >= 2 * buffer:
            permuted = _permute(pending, generator)
            yield _slice(permuted, 0, rows - buffer)
            pending, rows = [_slice(permuted, rows - buffer, rows)], buffer
    if pending:
        yield _permute(pending, generator)


def _permute(parts: list[Batch], generator: torch.Generator) -> Batch:
    rows = Batch.concatenate(parts)
    return rows.map(itemgetter(torch.randperm(rows.rows, generator=generator)))


def _slice(rows: Batch, start: int, stop: int) -> Batch:
    return rows.map(itemgetter(slice(start, stop)))
