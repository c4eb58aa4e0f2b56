"""How well predictions fit."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor
from torchmetrics import Metric

from linreg_lightning.batch import Batch
from linreg_lightning.metrics.moments import Moments


@final
class RegressionMetrics(Metric):
    """Loss, RMSE, MAE and R2 over any number of batches and processes, exact whatever their sizes.

    With residuals r = y - prediction and row weights w, averages being over all targets:

        loss = sum(w r^2) / sum(w),   rmse = sqrt(loss),   mae = sum(w |r|) / sum(w),
        r2 = 1 - sum(w r^2) / sum(w (y - mean(y))^2), of each target, then averaged

    One metric in float64 rather than four of the library's: those know no row weights, and their R2
    subtracts sums of squares, which leaves nothing of it where y is far from zero. The loss is
    `nn.MSELoss` over all rows, so a mean of unequal batches' losses does not come in.

    Args:
        targets: the number of columns of y.

    >>> metrics = RegressionMetrics(targets=1)
    >>> y = torch.tensor([[1.0], [2.0], [3.0]])
    >>> metrics.update(y + 0.5, Batch(torch.ones(3, 1), y))
    >>> {name: round(value.item(), 4) for name, value in metrics.compute().items()}
    {'rows': 3, 'loss': 0.25, 'rmse': 0.5, 'mae': 0.5, 'r2': 0.625}
    """

    full_state_update = False
    sums: Tensor
    rows: Tensor

    def __init__(self, targets: int) -> None:
        super().__init__()
        # One row each: sum of weights, mean of y, its squared deviations, sums of w r^2 and w |r|.
        # Gathered without a reduction: `compute` merges the processes' parts as `update` does.
        zeros = torch.zeros(5, targets, dtype=torch.float64)
        self.add_state("sums", default=zeros, dist_reduce_fx=None)
        self.add_state("rows", default=torch.tensor(0), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, batch: Batch) -> None:
        """Add a batch; prediction is (rows, targets)."""
        weight = batch.weight
        y = batch.y.double()
        error = prediction.double() - y
        if weight is None:
            weight = y.new_ones(len(y))
        weight = weight.double()
        total, mean, squares = Moments.of(y, weight)
        part = torch.stack(
            [total.expand_as(mean), mean, squares, weight @ error**2, weight @ error.abs()]
        )
        self.sums = _merge(self.sums, part)
        self.rows = self.rows + (weight > 0).sum()

    def compute(self) -> dict[str, Tensor]:
        """These four, and the number of rows; r2 is NaN where a target does not vary."""
        parts = self.sums.reshape(-1, *self.sums.shape[-2:])
        merged = parts[0]
        for part in parts[1:]:
            merged = _merge(merged, part)
        total, _, squares, squared_error, absolute_error = merged
        loss = (squared_error / total).mean()
        undefined = torch.full_like(squares, torch.nan)
        r2 = torch.where(squares > 0, 1 - squared_error / squares, undefined).mean()
        return {
            "rows": self.rows,
            "loss": loss,
            "rmse": loss.sqrt(),
            "mae": (absolute_error / total).mean(),
            "r2": r2,
        }


def weighted_mean_square(residual: Tensor, weight: Tensor) -> Tensor:
    """sum(w r^2) / rows, averaged over the targets; a scalar in the residual's precision.

    With weights of mean 1 over all rows, its mean over batches of one size is the loss of all rows,
    and a heavy row counts as much in any batch.

    Args:
        residual: r, (rows, targets).
        weight: w, (rows,).

    >>> weighted_mean_square(torch.tensor([[1.0], [3.0]]), torch.tensor([1.5, 0.5]))
    tensor(3.)
    """
    return (weight.to(residual.dtype) @ residual**2).mean() / len(residual)


def _merge(a: Tensor, b: Tensor) -> Tensor:
    moments = Moments(*a[:3]).merge(Moments(*b[:3]))
    return torch.cat([torch.stack(moments), a[3:] + b[3:]])
