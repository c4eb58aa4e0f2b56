"""Batches of rows that do not fit into memory."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice, repeat
from typing import Any, TypeVar, final

import torch

from linreg_lightning.batch import Batch, FoldBatch
from linreg_lightning.data.loader import Loader
from linreg_lightning.tables.prefetch import prefetch

Rows = TypeVar("Rows", Batch, FoldBatch)


@final
class StreamLoader(Loader):
    """Rows that are read while the model works, in constant memory.

    Each pass shuffles the rows as far as a buffer reaches. A resumed pass reads all rows again and
    skips the batches that the model has worked on.

    Args:
        blocks: begins a pass over this process's rows, in blocks of any size.
        batch_size: rows in a batch, the last may be shorter; None hands the blocks out as they are.
        shuffle_seed: fixes the order, with the number of the pass; None keeps the rows in order.
        shuffle_buffer: the rows among which the next one is drawn.
        rows: how many rows this process has, if that is known.
        batches: into how many batches, whose sizes differ by a row at most, to divide them instead
            of by `batch_size`, so that all processes have the same number.
        limit: the batches of a pass to take, as in `Loader`.
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
        length = batches if rows is None or batches else -(-rows // (batch_size or 1))
        super().__init__(name, length, limit)
        self._blocks, self._batch_size = blocks, batch_size
        self._shuffle_seed, self._shuffle_buffer = shuffle_seed, shuffle_buffer
        self._rows, self._batches = rows, batches

    def read_pass(self, number: int, first: int) -> Iterator[Any]:
        """Yield the batches of a pass while a thread reads the next ones."""
        blocks = self._blocks()
        if self._shuffle_seed is not None:
            generator = torch.Generator().manual_seed(self._shuffle_seed + number)
            blocks = shuffle(blocks, self._shuffle_buffer, generator)
        if self._batch_size is not None:
            sizes: Iterator[int] = repeat(self._batch_size)
            if (rows := self._rows) is not None and (count := self._batches) is not None:
                sizes = (rows * (k + 1) // count - rows * k // count for k in range(count))
            blocks = rebatch(blocks, sizes)
        with half_of_the_threads():
            yield from islice(prefetch(blocks), first, None)


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


def rebatch(blocks: Iterator[Rows], sizes: Iterator[int]) -> Iterator[Rows]:
    """Yield the same rows in batches of other sizes; the last may be shorter.

    >>> block = Batch(torch.ones(3, 1), torch.ones(3, 1))
    >>> [batch.rows for batch in rebatch(iter([block, block]), iter([2, 2, 2]))]
    [2, 2, 2]
    """
    pending: list[Rows] = []
    rows, size = 0, next(sizes, 0)
    for block in blocks:
        start = 0
        while size and rows + block.rows - start >= size:
            stop = start + size - rows
            pending.append(block.select(slice(start, stop)))
            yield block.concatenate(pending)
            start, rows, size, pending = stop, 0, next(sizes, 0), []
        if start < block.rows:
            pending.append(block.select(slice(start, None)))
            rows += block.rows - start
    if pending:
        yield pending[0].concatenate(pending)


def shuffle(blocks: Iterator[Rows], buffer: int, generator: torch.Generator) -> Iterator[Rows]:
    """Yield the same rows in another order, each drawn from at least `buffer` rows, or the last."""
    pending: list[Rows] = []
    rows = 0
    for block in blocks:
        pending.append(block)
        rows += block.rows
        if rows >= 2 * buffer:
            permuted = _permute(pending, generator)
            yield permuted.select(slice(rows - buffer))
            pending, rows = [permuted.select(slice(rows - buffer, None))], buffer
    if pending:
        yield _permute(pending, generator)


def _permute(parts: list[Rows], generator: torch.Generator) -> Rows:
    rows = parts[0].concatenate(parts)
    return rows.select(torch.randperm(rows.rows, generator=generator))
