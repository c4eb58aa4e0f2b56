"""The rows that diagnostics keep of any number: the most influential ones, and a sample."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from linreg_lightning.algebra.diagnostics import InfluentialRow, RowSample
from linreg_lightning.algebra.folds import splitmix64
from linreg_lightning.algebra.prediction import predict_mean


class MeasuredRows(NamedTuple):
    """Rows with their measures, (rows,) or (rows, targets), as `row_diagnostics` defines them."""

    number: Tensor
    x: Tensor
    y: Tensor
    weight: Tensor
    leverage: Tensor
    internal: Tensor
    external: Tensor
    cook: Tensor

    def select(self, rows: Tensor) -> MeasuredRows:
        """Return some of the rows, by their positions."""
        return MeasuredRows(*(part[rows] for part in self))

    @classmethod
    def join(cls, parts: list[MeasuredRows]) -> MeasuredRows:
        """Return the rows of all parts."""
        return cls(*(torch.cat(part) for part in zip(*parts, strict=True)))


class KeptRows:
    """Keeps the rows of the largest Cook's distances, and a sample for plots.

    Args:
        targets: how many there are; each has its influential rows.
        top: how many of these.
        sample_rows: how many rows to sample; a hash of their numbers decides which.
    """

    def __init__(self, targets: int, top: int, sample_rows: int) -> None:
        self._top, self._sample_rows = top, sample_rows
        self._influential: list[MeasuredRows | None] = [None] * targets
        self._sample: MeasuredRows | None = None

    def add(self, rows: MeasuredRows) -> None:
        """Keep some of these rows instead of earlier ones."""
        for t, kept in enumerate(self._influential):
            joined = rows if kept is None else MeasuredRows.join([kept, rows])
            cook = joined.cook[:, t].nan_to_num(-1.0)
            order = torch.argsort(cook, descending=True, stable=True)[: self._top]
            self._influential[t] = joined.select(order)
        joined = rows if self._sample is None else MeasuredRows.join([self._sample, rows])
        if len(joined.number) > self._sample_rows:
            order = splitmix64(joined.number).argsort()[: self._sample_rows]
            joined = joined.select(order.sort().values)
        self._sample = joined

    def influential(self, target: int) -> list[InfluentialRow]:
        """Return the rows of the largest Cook's distances; those of leverage 1 have none."""
        rows = self._influential[target]
        assert rows is not None
        external = rows.external[:, target]
        dffits = external * (rows.leverage / (1 - rows.leverage)).sqrt()
        columns = rows.number, rows.cook[:, target], rows.leverage, external, dffits
        found = zip(*(column.tolist() for column in columns), strict=True)
        return [InfluentialRow(*row) for row in found if math.isfinite(row[1])]

    def sample(self, count: int, solution: Any, weighted: bool) -> RowSample:
        """Return the sample and the influential rows; `count` says how many rows there are."""
        sample = self._sample
        assert sample is not None
        parts = [sample, *(rows for rows in self._influential if rows is not None)]
        joined = MeasuredRows.join(parts)
        order = joined.number.argsort(stable=True)
        is_first = torch.diff(joined.number[order], prepend=joined.number.new_zeros(1)) != 0
        rows = joined.select(order[is_first])
        return RowSample(
            number=rows.number,
            x=rows.x,
            y=rows.y.double(),
            predicted=predict_mean(solution, rows.x),
            weight=rows.weight if weighted else None,
            leverage=rows.leverage,
            internal=rows.internal,
            external=rows.external,
            complete=len(sample.number) == count,
        )
