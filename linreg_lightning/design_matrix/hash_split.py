"""Which rows are trained on, and which are held out, told from their numbers alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from linreg_lightning.validation import check_fractions

TRAIN, VAL, TEST = 0, 1, 2
"""What `HashSplit` calls the parts."""

# Of this many rows in succession, the fractions hold exactly, as far as they are whole rows.
_BLOCK = 100


class HashSplit(NamedTuple):
    """Splits rows at random by a hash of their numbers: no row depends on any other.

    Of each 100 rows in succession, those with the smallest hashes validate and those with the
    largest test, so that the fractions are kept as closely as whole rows allow. Nothing but the
    number of a row, the fractions and the seed decides where it goes: not the size of the table or
    of a batch, nor who reads it.

    Args:
        val_fraction: the fraction for validation, from 0 (none) to 1 (all).
        test_fraction: the same for the test.
        seed: from 0 to 2^63 - 1.

    >>> HashSplit(val_fraction=0.2).of(0, 12)
    array([0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0], dtype=int8)
    """

    val_fraction: float = 0.0
    test_fraction: float = 0.0
    seed: int = 0

    def checked(self) -> HashSplit:
        """The split itself, if its fractions can be.

        Raises:
            InputError: a fraction outside [0, 1], or two whose sum is above 1.
        """
        check_fractions(self.val_fraction, self.test_fraction)
        return self

    @property
    def holds_out(self) -> bool:
        """Whether any row is not trained on."""
        return self.val_fraction > 0 or self.test_fraction > 0

    def of(self, start: int, stop: int) -> NDArray[np.int8]:
        """The parts of the rows from start to stop: 0 to train, 1 for validation, 2 for the test.

        Args:
            start: the number of the first row.
            stop: the number of the row behind the last one.
        """
        first, last = start // _BLOCK, -(-stop // _BLOCK)
        key: NDArray[np.uint64] = _mixed(np.array([self.seed], np.uint64))
        blocks: NDArray[np.uint64] = np.arange(first, last).astype(np.uint64)[:, None]
        rows: NDArray[np.uint64] = np.arange(first * _BLOCK, last * _BLOCK).astype(np.uint64)
        order = _mixed(rows ^ key).reshape(-1, _BLOCK).argsort(axis=1)
        rank = np.empty_like(order)
        np.put_along_axis(rank, order, np.arange(_BLOCK)[None], axis=1)
        # Fractions of a row fall to whole rows at random, from block to block.
        offset = (_mixed(~(blocks ^ key)) >> np.uint64(11)).astype(np.float64) / 2.0**53
        place = ((rank + offset) / _BLOCK).ravel()[start - first * _BLOCK :][: stop - start]
        parts = np.zeros(stop - start, np.int8)
        parts[place < self.val_fraction] = VAL
        parts[place >= 1.0 - self.test_fraction] = TEST
        return parts


def _mixed(number: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A hash of each number: the mixing of splitmix64 (S. Vigna, 2015)."""
    number = number + np.uint64(0x9E3779B97F4A7C15)
    number = (number ^ (number >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    number = (number ^ (number >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return number ^ (number >> np.uint64(31))
