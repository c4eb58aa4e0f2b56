"""Sums of scores by cluster, as whole numbers, so that the order of the rows changes no bit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

import torch
from torch import Tensor

from linreg_lightning.algebra.folds import splitmix64

_BUFFERED_ROWS = 2**18  # at least, before they are added to the clusters


class ClusterSums:
    """Mergeable sums of rows of whole numbers by the key of their cluster, on the CPU.

    Memory: 8 (1 + columns) bytes for each cluster, up to three times that while rows are added.

    >>> sums = ClusterSums(columns=1)
    >>> sums.add(torch.tensor([7, 9, 7]), torch.tensor([[1], [2], [3]]))
    >>> sums.totals()
    tensor([[4],
            [2]])
    """

    def __init__(self, columns: int) -> None:
        empty = torch.zeros(0, dtype=torch.int64)
        self._key, self._sums = empty, empty.reshape(0, columns)
        self._buffer: list[tuple[Tensor, Tensor]] = []
        self._buffered = 0

    def add(self, key: Tensor, values: Tensor) -> None:
        """Add rows of values, (rows, columns) int64, of clusters with these keys, (rows,) int64."""
        self._buffer.append((key, values))
        self._buffered += len(key)
        if self._buffered >= max(_BUFFERED_ROWS, len(self._key) // 2):
            self._combine()

    def totals(self) -> Tensor:
        """Return the sums, (clusters, columns) int64, in the order of the keys."""
        self._combine()
        return self._sums

    def merge(self, other: Self) -> None:
        """Add the rows of other sums."""
        other._combine()
        self._buffer.append((other._key, other._sums))
        self._combine()

    def state_dict(self) -> dict[str, Tensor]:
        """Return the sums as plain tensors."""
        self._combine()
        return {"key": self._key, "sums": self._sums}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take the sums of a `state_dict`."""
        self._key, self._sums = state["key"], state["sums"]

    def _combine(self) -> None:
        if not self._buffer:
            return
        parts = [(self._key, self._sums), *self._buffer]
        key, place = torch.cat([part[0] for part in parts]).unique(return_inverse=True)
        values = torch.cat([part[1] for part in parts])
        sums = torch.zeros(values.shape[1], len(key), dtype=torch.int64)
        for row, column in zip(sums, values.T, strict=True):
            # One dimension at a time: torch needs four times as long for all.
            row.scatter_add_(0, place, column.contiguous())
        self._key, self._sums = key, sums.T
        self._buffer, self._buffered = [], 0


def pair_keys(keys: Sequence[Tensor]) -> Tensor:
    """Return one number for each pair of keys, (rows,) int64.

    Two of n pairs get the same number by chance with a probability of about n^2 / 2^65.
    """
    first, second = keys
    return splitmix64(splitmix64(first) ^ second)
