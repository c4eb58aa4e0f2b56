"""Which rows are trained on and which are held out, decided by their numbers alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

TRAIN, VAL, TEST = 0, 1, 2
"""The parts of a split."""

_BLOCK = 100  # The fractions hold in each block of this many rows, as far as whole rows allow.


class HashSplit(NamedTuple):
    """Splits rows at random by a hash of their numbers: no row depends on any other.

    In each block of 100 consecutive rows, those with the smallest hashes validate and those with
    the largest test. Only the number of a row, the fractions and the seed decide where it goes: not
    the size of the table, the batch size or the process that reads it.

    Args:
        val_fraction: the fraction for validation, from 0 (none) to 1 (all).
        test_fraction: the same for the test.
        seed: from 0 to 2^63 - 1.

    >>> HashSplit(val_fraction=0.2).parts(0, 12)
    array([0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0], dtype=int8)
    """

    val_fraction: float = 0.0
    test_fraction: float = 0.0
    seed: int = 0

    @property
    def holds_out(self) -> bool:
        """Whether any row is not trained on."""
        return self.val_fraction > 0 or self.test_fraction > 0

    def parts(self, start: int, stop: int) -> NDArray[np.int8]:
        """Return the part, TRAIN, VAL or TEST, of each row from `start` up to `stop`, exclusive."""
        first, last = start // _BLOCK, -(-stop // _BLOCK)
        key = splitmix64(np.array([self.seed], np.uint64))
        blocks = np.arange(first, last).astype(np.uint64)[:, None]
        rows = np.arange(first * _BLOCK, last * _BLOCK).astype(np.uint64)
        order = splitmix64(rows ^ key).reshape(-1, _BLOCK).argsort(axis=1)
        rank = np.empty_like(order)
        np.put_along_axis(rank, order, np.arange(_BLOCK)[None], axis=1)
        # A random offset for each block rounds a fraction of a row up or down.
        offset = (splitmix64(~(blocks ^ key)) >> np.uint64(11)).astype(np.float64) / 2.0**53
        place = ((rank + offset) / _BLOCK).ravel()[start - first * _BLOCK :][: stop - start]
        parts = np.full(stop - start, TRAIN, np.int8)
        parts[place < self.val_fraction] = VAL
        parts[place >= 1.0 - self.test_fraction] = TEST
        return parts


def splitmix64(number: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Hash each number by the generator splitmix64 (S. Vigna, 2015)."""
    number = number + np.uint64(0x9E3779B97F4A7C15)
    number = (number ^ (number >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    number = (number ^ (number >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return number ^ (number >> np.uint64(31))
