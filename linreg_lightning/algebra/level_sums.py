"""What a pass over the rows has to remember of the levels whose effects are absorbed.

Of each level these are the number of its rows, the sum of their weights w and the sums of w z, with
z = (x, y) less its mean over all rows; of two columns of levels also the weight of each pair of
levels that occurs. Sums are whole numbers of fixed units, so that their order changes no bit. By
the inequality of Cauchy and Schwarz no sum of w z over some of the rows is larger than
sqrt(sum(w) sum(w z^2)), which the Gram matrix of all rows tells: it chooses the units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from linreg_lightning.algebra.double_double import exponent_of, ldexp, to_float64
from linreg_lightning.algebra.gram import Gram
from linreg_lightning.batch import Batch
from linreg_lightning.errors import InputError

_UNIT_BITS = 61  # of the largest sum; the rounding of 2^44 rows stays within int64
_BLOCK_ROWS = 2**16  # at a time, for which the working memory is small
_BUFFERED_ROWS = 2**18  # at least, before they are added to the levels
_INT64 = torch.iinfo(torch.int64)


class Levels(NamedTuple):
    """Sums over the rows of each level of one column.

    Before they are combined, a level may occur several times, as the rows themselves do.
    """

    key: Tensor  # the number of the level, (levels,) int64; sorted once combined
    sums: Tensor  # of 1, w and w z in units of `LevelSums`; (2 + features + targets, levels) int64
    lowest: Tensor  # the smallest key of a cluster among the rows, (clusters, levels) int64
    highest: Tensor  # the largest one


class LevelTables(NamedTuple):
    """The levels of all columns, and the pairs of levels that occur."""

    ways: tuple[Levels, ...]
    pair: Tensor  # the places of both levels, (2, pairs) int64; (2, 0) for one column
    pair_weight: Tensor  # in units of `LevelSums`, (pairs,) int64

    @property
    def entries(self) -> int:
        """How many levels and pairs there are."""
        return sum(len(levels.key) for levels in self.ways) + len(self.pair_weight)


class LevelSums:
    """Mergeable sums of rows by the levels of one or two columns, on the CPU.

    The bits are the same for any batches, order of the rows and number of processes. Memory: for
    each level 8 (3 + features + targets + 2 clusters) bytes, for each pair of levels 24; at most
    three times that while rows are added.

    Args:
        total: the statistics of all rows that are to be added.
        ways: how many columns of levels there are, 1 or 2.
        clusters: how many columns of clusters there are, in which levels may be nested.

    >>> from linreg_lightning.algebra import ExactGram
    >>> rows, gram = Batch(torch.tensor([[1.0], [3.0], [5.0]]), torch.ones(3, 1)), ExactGram(1)
    >>> gram.update(rows)
    >>> sums = LevelSums(gram)
    >>> sums.update(rows, torch.tensor([[7], [9], [7]]))
    >>> sums.tables().ways[0].key
    tensor([7, 9])
    """

    def __init__(self, total: Gram, ways: int = 1, clusters: int = 0) -> None:
        self.total, self.clusters = total, clusters
        equations = total.normal_equations()
        self.mean, self.exponent = equations.mean.high, equations.exponent
        self.weight_exponent = equations.weight_exponent
        weight = to_float64(equations.weight)
        square = to_float64(equations.cross).diagonal()
        # Rounding alone may be left of a constant column.
        largest = (weight * square.clamp(min=0.0)).sqrt() + weight * self.mean.abs() * 2.0**-40
        # Of 1, w and w z; sums are these powers of two times whole numbers.
        self.unit = torch.cat((torch.zeros(1), exponent_of(weight)[None], exponent_of(largest)))
        self.unit = self.unit.long() - _UNIT_BITS
        self.unit[0] = 0
        empty = torch.zeros(0, dtype=torch.int64)
        columns = len(self.unit)
        no_levels = Levels(empty, *(empty.reshape(k, 0) for k in (columns, clusters, clusters)))
        self._tables = LevelTables((no_levels,) * ways, empty.reshape(2, 0), empty)
        self._buffer: list[LevelTables] = []

    def update(self, batch: Batch, levels: Tensor, clusters: Tensor | None = None) -> None:
        """Add rows.

        Args:
            batch: rows that `total` has counted.
            levels: the number of each row's level in each column, (rows, ways) int64.
            clusters: likewise of its cluster, (rows, clusters) int64.

        Raises:
            InputError: another number of columns.
        """
        if clusters is None:
            clusters = levels[:, :0]
        given, expected = (levels.shape[1], clusters.shape[1]), (self.ways, self.clusters)
        if given != expected:
            text = f"{given[0]} columns of levels and {given[1]} of clusters were given to sums"
            raise InputError(f"absorb: {text} of {expected[0]} and {expected[1]}; give the same")
        for start in range(0, batch.rows, _BLOCK_ROWS):
            rows = slice(start, start + _BLOCK_ROWS)
            self._buffer.append(self._to_tables(batch.select(rows), levels[rows], clusters[rows]))
            buffered = sum(len(part.ways[0].key) for part in self._buffer)
            if buffered >= max(_BUFFERED_ROWS, self._tables.entries // 2):
                self.tables()

    @property
    def ways(self) -> int:
        """The number of columns of levels."""
        return len(self._tables.ways)

    def tables(self) -> LevelTables:
        """Return the sums of all rows so far."""
        if self._buffer:
            self._tables, self._buffer = _combine([self._tables, *self._buffer]), []
        return self._tables

    def merge(self, other: Self) -> None:
        """Add the rows of other sums with the same `total`."""
        self._tables = _combine([self.tables(), other.tables()])

    def state_dict(self) -> dict[str, Tensor]:
        """Return the sums as plain tensors."""
        tables = self.tables()
        state = {
            f"{name}_{k}": values
            for k, levels in enumerate(tables.ways)
            for name, values in levels._asdict().items()
        }
        return {**state, "pair": tables.pair, "pair_weight": tables.pair_weight}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor], total: Gram) -> Self:
        """Return the sums of a `state_dict`; `total` as they had it."""
        ways = 1 + ("key_1" in state)
        sums = cls(total, ways, len(state["lowest_0"]))
        levels = [Levels(*(state[f"{name}_{k}"] for name in Levels._fields)) for k in range(ways)]
        sums._tables = LevelTables(tuple(levels), state["pair"], state["pair_weight"])
        return sums

    def _to_tables(self, batch: Batch, levels: Tensor, clusters: Tensor) -> LevelTables:
        """Return rows of weight above 0 as levels of one row each."""
        batch, levels, clusters = batch.map(Tensor.cpu), levels.cpu(), clusters.cpu()
        if batch.weight is not None and not bool((batch.weight > 0).all()):
            present = batch.weight > 0
            batch, levels, clusters = batch.select(present), levels[present], clusters[present]
        z = torch.empty(len(self.mean), batch.rows, dtype=torch.float64)
        z[: self.total.features].copy_(batch.x.T)
        z[self.total.features :].copy_(batch.y.T)
        z = ldexp(z, -self.exponent[:, None]) - self.mean[:, None]
        weight = ldexp(torch.ones((), dtype=torch.float64), -self.weight_exponent)
        if batch.weight is not None:
            weight = weight * batch.weight.double()
        sums = torch.ones(len(self.unit), batch.rows, dtype=torch.int64)
        sums[1] = ldexp(weight, -self.unit[1]).round()
        sums[2:] = ldexp(z * weight, -self.unit[2:, None]).round()
        ways = tuple(Levels(key, sums, clusters.T, clusters.T) for key in levels.T)
        row = torch.arange(batch.rows if self.ways == 2 else 0)
        return LevelTables(ways, torch.stack((row, row)), sums[1][: len(row)])


def _combine(parts: Sequence[LevelTables]) -> LevelTables:
    """Return the levels of all parts, each once, in the order of their keys."""
    ways, places = [], []
    for levels in zip(*(part.ways for part in parts), strict=True):
        key, place = torch.cat([part.key for part in levels]).unique(return_inverse=True)
        ways.append(_add_levels(levels, key, place))
        places.append(place)
    if len(ways) == 1:
        return parts[0]._replace(ways=tuple(ways))
    pairs, start = [], [0, 0]
    for part in parts:
        pairs.append([places[k][start[k] + part.pair[k]] for k in (0, 1)])
        start = [start[k] + len(part.ways[k].key) for k in (0, 1)]
    left, right = (torch.cat([pair[k] for pair in pairs]) for k in (0, 1))
    count = len(ways[1].key)
    code, place = (left * count + right).unique(return_inverse=True)
    weight = torch.zeros_like(code).index_add_(0, place, torch.cat([p.pair_weight for p in parts]))
    return LevelTables(tuple(ways), torch.stack((code // count, code % count)), weight)


def _add_levels(parts: Sequence[Levels], key: Tensor, place: Tensor) -> Levels:
    """Return the sums of all parts by the places of their levels in `key`."""

    def reduce(name: str, start: int, reduction: str) -> Tensor:
        rows: list[Any] = [getattr(part, name) for part in parts]
        result = torch.full((len(rows[0]), len(key)), start)
        for k, row in enumerate(result):
            # One dimension at a time: torch needs four times as long for all.
            row.scatter_reduce_(0, place, torch.cat([part[k] for part in rows]), reduction)
        return result

    lowest, highest = reduce("lowest", _INT64.max, "amin"), reduce("highest", _INT64.min, "amax")
    return Levels(key, reduce("sums", 0, "sum"), lowest, highest)
