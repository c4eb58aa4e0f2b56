"""How well predictions fit: metrics from sums over batches, and a weighted loss."""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple, final

import torch
from torch import Tensor
from torchmetrics import Metric
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
        """The moments of values, (rows, columns), with weights (rows,); no weight means 1 each.

        The squares of equal values are exactly 0, whatever the values.
        """
        values = values.double()
        # A row of weight above 0, if there is one. Not an index, for which a GPU would wait.
        row = values[:1]
        if weight is not None and len(values):
            row = values.index_select(0, weight.argmax()[None])
        weight = values.new_ones(len(values)) if weight is None else weight.double()
        origin = row.sum(0)  # zeros where there is no row
        total, deviation = weight.sum(), values - origin
        shift = weight @ deviation / total.clamp(min=_TINY)
        return cls(total, origin + shift, weight @ (deviation - shift) ** 2)

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


def error_sums(prediction: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return what the metrics of a batch need, in float64, (5, targets).

    The rows are: sum of the weights w, mean of y, sum(w (y - mean)^2), sum(w r^2), sum(w |r|),
    with residuals r = y - prediction, both (rows, targets). No weight, (rows,), means 1 each.
    """
    y = y.double()
    weight = y.new_ones(len(y)) if weight is None else weight.double()
    residual = y - prediction.double()
    total, mean, squares = Moments.of(y, weight)
    errors = weight @ residual**2, weight @ residual.abs()
    return torch.stack([total.expand_as(mean), mean, squares, *errors])


def merge_sums(a: Tensor, b: Tensor) -> Tensor:
    """Return the `error_sums` of the rows of both parts together."""
    moments = Moments(*a[:3]).merge(Moments(*b[:3]))
    return torch.cat([torch.stack(moments), a[3:] + b[3:]])


@final
class RegressionMetrics(Metric):
    """Loss, RMSE, MAE and R2 over batches and processes of any sizes; y has `targets` columns.

    loss = sum(w r^2) / sum(w),   rmse = sqrt(loss),   mae = sum(w |r|) / sum(w),
    r2 = 1 - sum(w r^2) / sum(w (y - mean(y))^2), each averaged over the targets

    Set `uncentered` for a model without a constant, which cannot fit the mean of y: its r2 is
    1 - sum(w r^2) / sum(w y^2).

    torchmetrics has each of the four, but without row weights, and its R2 subtracts sums of
    squares, which leaves no digits if y is far from zero.

    >>> metrics = RegressionMetrics(targets=1)
    >>> y = torch.tensor([[1.0], [2.0], [3.0]])
    >>> metrics.update(y + 0.5, y)
    >>> {name: round(value.item(), 4) for name, value in metrics.compute().items()}
    {'rows': 3, 'loss': 0.25, 'rmse': 0.5, 'mae': 0.5, 'r2': 0.625}
    """

    full_state_update = False
    uncentered = False
    sums: Tensor
    rows: Tensor

    def __init__(self, targets: int = 1) -> None:
        super().__init__()
        zeros = torch.zeros(5, targets, dtype=torch.float64)
        # No reduction: torchmetrics stacks the sums of all processes, and `compute` merges them.
        self.add_state("sums", default=zeros, dist_reduce_fx=None)
        self.add_state("rows", default=torch.tensor(0), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, y: Tensor, weight: Tensor | None = None) -> None:
        """Add a batch: prediction and y, (rows, targets), row weights, (rows,), or None for 1."""
        self.sums = merge_sums(self.sums, error_sums(prediction, y, weight))
        self.rows = self.rows + (len(y) if weight is None else (weight > 0).sum())

    def compute(self) -> dict[str, Tensor]:
        """Return `rows` of weight above 0, and the metrics; r2 is NaN where it is 0 / 0."""
        sums = reduce(merge_sums, self.sums.reshape(-1, *self.sums.shape[-2:]))
        total, mean, squares, squared_error, absolute_error = sums
        loss, mae = (squared_error / total).mean(), (absolute_error / total).mean()
        squares = squares + total * mean**2 if self.uncentered else squares
        r2 = torch.where(squares > 0, 1 - squared_error / squares, torch.nan).mean()
        return {"rows": self.rows, "loss": loss, "rmse": loss.sqrt(), "mae": mae, "r2": r2}


def weighted_mse_loss(prediction: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """Return sum(w r^2) / rows, averaged over the targets; a scalar.

    Residuals are r = prediction - y, (rows, targets), weights w are (rows,). If the weights of all
    rows have mean 1, the mean over batches of one size is the loss of all rows.

    >>> weighted_mse_loss(torch.tensor([[1.0], [3.0]]), torch.zeros(2, 1), torch.tensor([1.5, 0.5]))
    tensor(3.)
    """
    residual = prediction - y
    return (weight.to(residual.dtype).unsqueeze(1) * residual**2).mean()
