"""Means and sums of squared deviations that merge without cancellation."""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics.utilities.distributed import gather_all_tensors

_TINY = torch.finfo(torch.float64).tiny


class Moments(NamedTuple):
    """Weighted mean and sum of squared deviations of some columns, in float64.

    mean = sum_i w_i v_i / sum_i w_i,   squares = sum_i w_i (v_i - mean)^2

    `total` is the sum of the weights, a scalar; `mean` and `squares` are (columns,). Parts merge by
    the update of Chan, Golub and LeVeque (1979). It subtracts no large sums from each other, so
    columns whose mean is far above their spread keep their digits.

    >>> a, b = torch.tensor([[1.0], [2.0]]), torch.tensor([[6.0]])
    >>> Moments.of(a).merge(Moments.of(b)).squares
    tensor([14.], dtype=torch.float64)
    """

    total: Tensor
    mean: Tensor
    squares: Tensor

    @classmethod
    def of(cls, values: Tensor, weight: Tensor | None = None) -> Moments:
        """The moments of values, (rows, columns), with weights (rows,); no weight means 1 each."""
        values = values.double()
        weight = values.new_ones(len(values)) if weight is None else weight.double()
        total = weight.sum()
        mean = weight @ values / total.clamp(min=_TINY)
        return cls(total, mean, weight @ (values - mean) ** 2)

    def merge(self, other: Moments) -> Moments:
        """The moments of both parts together."""
        total = self.total + other.total
        fraction = other.total / total.clamp(min=_TINY)
        difference = other.mean - self.mean
        squares = self.squares + other.squares + self.total * fraction * difference**2
        return Moments(total, self.mean + fraction * difference, squares)


def gather_moments(moments: Moments, rows: float) -> tuple[Moments, float]:
    """Merge the moments, and add the rows, of all processes, each of which must call this."""
    total, mean, squares = moments
    packed = torch.stack([total.expand_as(mean), mean, squares, torch.full_like(mean, rows)])
    parts = gather_all_tensors(packed)
    merged = reduce(Moments.merge, [Moments(part[0, 0], part[1], part[2]) for part in parts])
    return merged, sum(part[3, 0].item() for part in parts)
