"""Batches from rows that do not fit into memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice, repeat
from typing import Any, final

import torch

from linreg_lightning.batch import Batch
from linreg_lightning.tables.prefetch import prefetch

# Numbers among which a pass that shuffles draws the next row.
_BUFFER = 2**22


@final
class StreamLoader:
    """The batches of one process, read while the model works, in constant memory.

    Each iteration is a pass. Rows are shuffled as far as a buffer of 2^22 numbers reaches, anew in
    each pass. Where several processes need the same number of batches, the rows of each are cut
    into that many, none repeated, with sizes that differ by a row at most.

    A loader that Lightning keeps in a checkpoint goes on behind the last batch that was worked on:
    it reads, and skips, those in front of it.

    Args:
        blocks: begins a pass over this process's rows, in blocks of any size.
        batch_size: rows in a batch; the last one may be shorter.
        columns: how many numbers there are in a row.
        shuffle_seed: with the number of the pass it fixes the order; None keeps the rows in theirs.
        rows: how many rows this process has, if that is known.
        steps: into how many batches to cut them, instead of into those of `batch_size`.
        limit: how many batches of a pass will be taken, or which fraction of them, as in
            `Trainer(limit_train_batches=...)`.
        name: of the rows: a pass is only resumed within rows of the same name.

    >>> rows = Batch(torch.arange(10.0).reshape(5, 2), torch.ones(5, 1))
    >>> blocks = lambda: iter([rows.map(lambda t: t[:1]), rows.map(lambda t: t[1:])])
    >>> [batch.rows for batch in StreamLoader(blocks, batch_size=2, columns=3)]
    [2, 2, 1]
    """

    def __init__(
        self,
        blocks: Callable[[], Iterator[Batch]],
        batch_size: int,
        columns: int,
        shuffle_seed: int | None = None,
        rows: int | None = None,
        steps: int | None = None,
        limit: int | float = 1.0,
        name: str = "",
    ) -> None:
        self._blocks = blocks
        self._batch_size = batch_size
        self._buffer = max(_BUFFER // columns, 1)
        self._shuffle_seed = shuffle_seed
        self._rows, self._steps = rows, steps
        self._length = steps if rows is None or steps is not None else -(-rows // batch_size)
        self._limit = limit
        self._name = name
        self._pass = -1
        self._handed_out = 0
        self._over = False
        self._resumed = False

    def state_dict(self) -> dict[str, Any]:
        """Which pass it is, and how many of its batches have been worked on; 0 when it is over."""
        # Of a loader without a length Lightning takes one batch more than it works on.
        taken = self._handed_out if self._length is not None else max(self._handed_out - 1, 0)
        ends = self._ends()
        over = self._over or (ends is not None and taken >= ends)
        return {"pass": self._pass, "batches": 0 if over else taken, "rows": self._name}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Let the next iteration go on where that state was, if within a pass of these rows."""
        self._pass, self._handed_out = state["pass"], state["batches"]
        self._resumed = self._handed_out > 0 and state["rows"] == self._name

    def __len__(self) -> int:
        if self._length is None:
            raise TypeError("how many batches there are is known behind the last one")
        return self._length

    def __bool__(self) -> bool:
        return True  # without a length it would be neither

    def __iter__(self) -> Iterator[Batch]:
        if not self._resumed:
            self._pass, self._handed_out = self._pass + 1, 0
        self._resumed, self._over = False, False
        blocks = self._blocks()
        if self._shuffle_seed is not None:
            generator = torch.Generator().manual_seed(self._shuffle_seed + self._pass)
            blocks = shuffled(blocks, self._buffer, generator)
        batches = cut(blocks, self._sizes())
        with half_the_threads():
            for batch in islice(prefetch(batches), self._handed_out, None):
                self._handed_out += 1
                yield batch
        self._over = True

    def _sizes(self) -> Iterator[int]:
        if self._steps is None or self._rows is None:
            return repeat(self._batch_size)
        rows, steps = self._rows, self._steps
        return (rows * (k + 1) // steps - rows * k // steps for k in range(steps))

    def _ends(self) -> int | None:
        if isinstance(self._limit, int):
            return self._limit if self._length is None else min(self._limit, self._length)
        return None if self._length is None else int(self._limit * self._length)


@final
class InOrderLoader:
    """The rows to predict as they come, and beside each batch what belongs to it.

    Args:
        pairs: begins a pass: each batch, and what goes beside it.
        beside: where the latter is put, in the order of the batches.
    """

    def __init__(
        self, pairs: Callable[[], Iterator[tuple[Batch, Any]]], beside: deque[Any]
    ) -> None:
        self._pairs, self._beside = pairs, beside

    def __iter__(self) -> Iterator[Batch]:
        self._beside.clear()
        with half_the_threads():
            for batch, more in prefetch(self._pairs()):
                self._beside.append(more)
                yield batch


@contextmanager
def half_the_threads() -> Iterator[None]:
    """Leave half of torch's threads to the reading.

    Threads of torch wait for each other in a circle, without a rest: where those that decode take
    a processor away from one of them, all others wait too, at three times the processor time.

    Iterations overlap, as those of validation within training: the first to begin leaves half, and
    the last to end gives it back.
    """
    if not _reading:
        _before[:] = [torch.get_num_threads()]
        torch.set_num_threads(max(1, _before[0] // 2))
    mark = object()
    _reading.append(mark)
    try:
        yield
    finally:
        _reading.remove(mark)
        if not _reading:
            torch.set_num_threads(_before[0])


_reading: list[object] = []
_before: list[int] = []


def cut(blocks: Iterator[Batch], sizes: Iterator[int]) -> Iterator[Batch]:
    """Yield the same rows in batches of the sizes asked for; the last one may be shorter.

    >>> block = Batch(torch.ones(3, 1), torch.ones(3, 1))
    >>> [batch.rows for batch in cut(iter([block, block]), iter([2, 2, 2]))]
    [2, 2, 2]
    """
    held: list[Batch] = []
    rows, size = 0, next(sizes, 0)
    for block in blocks:
        start = 0
        while size and rows + block.rows - start >= size:
            stop = start + size - rows
            held.append(_part(block, start, stop))
            yield Batch.concatenate(held)
            start, rows, size, held = stop, 0, next(sizes, 0), []
        if start < block.rows:
            held.append(_part(block, start, block.rows))
            rows += block.rows - start
    if held:
        yield Batch.concatenate(held)


def shuffled(blocks: Iterator[Batch], buffer: int, generator: torch.Generator) -> Iterator[Batch]:
    """Yield the same rows in another order: each drawn from at least `buffer` rows, or the last.

    Args:
        blocks: the rows.
        buffer: how many rows are held back.
        generator: of the order.
    """
    held: list[Batch] = []
    rows = 0
    for block in blocks:
        held.append(block)
        rows += block.rows
        if rows >= 2 * buffer:
            mixed = _mixed(held, generator)
            yield _part(mixed, 0, rows - buffer)
            held, rows = [_part(mixed, rows - buffer, rows)], buffer
    if held:
        yield _mixed(held, generator)


def _mixed(parts: list[Batch], generator: torch.Generator) -> Batch:
    rows = Batch.concatenate(parts)
    order = torch.randperm(rows.rows, generator=generator)
    return rows.map(lambda tensor: tensor[order])


def _part(rows: Batch, start: int, stop: int) -> Batch:
    if (start, stop) == (0, rows.rows):
        return rows
    return rows.map(lambda tensor: tensor[start:stop])
