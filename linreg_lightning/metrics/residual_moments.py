"""How far a fit is from its optimum: by how much changing one coefficient lowers the loss."""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple, final

import torch
from torch import Tensor
from torchmetrics.utilities.distributed import gather_all_tensors

from linreg_lightning.batch import Batch
from linreg_lightning.metrics.regression import Moments

_NEGLIGIBLE = 1e-6  # of a target's variance
_TINY = torch.finfo(torch.float64).tiny


@final
class ResidualMoments(NamedTuple):
    """Moments of the columns [x, r, y], r = y - prediction, and co-moments of x and r; float64.

    products[j, k] = sum_i w_i (x_ij - mean x_j) (r_ik - mean r_k), (features, targets)
    """

    moments: Moments
    products: Tensor

    @classmethod
    def of(cls, batch: Batch, prediction: Tensor) -> ResidualMoments:
        """Return the moments of a batch; `prediction` is (rows, targets)."""
        x, y, weight = batch
        y = y.double()
        values = torch.cat([x.double(), y - prediction.double(), y], dim=1)
        moments = Moments.of(values, weight)
        features, targets = x.shape[1], y.shape[1]
        x, residual, _ = (values - moments.mean).split([features, targets, targets], dim=1)
        if weight is not None:
            residual = weight.double().unsqueeze(1) * residual
        return cls(moments, x.T @ residual)

    def merge(self, other: ResidualMoments) -> ResidualMoments:
        """Return the moments of the rows of both parts together."""
        moments, (features, targets) = self.moments.merge(other.moments), self.products.shape
        difference = other.moments.mean - self.moments.mean
        factor = self.moments.total * other.moments.total / moments.total.clamp(min=_TINY)
        x, residual, _ = difference.split([features, targets, targets])
        between = factor * torch.outer(x, residual)
        return ResidualMoments(moments, self.products + other.products + between)

    def gather(self) -> ResidualMoments:
        """Return the moments of the rows of all processes; each process must call this."""
        (total, mean, squares), products = self
        packed = torch.cat([total[None], mean, squares, products.flatten()])
        sizes = [1, len(mean), len(squares), products.numel()]
        parts = [part.split(sizes) for part in gather_all_tensors(packed)]
        moments = [
            ResidualMoments(Moments(total[0], mean, squares), flat.reshape(products.shape))
            for total, mean, squares, flat in parts
        ]
        return reduce(ResidualMoments.merge, moments)

    @property
    def target_mean_square(self) -> float:
        """The mean of y^2, averaged over the targets: the loss of coefficients of 0."""
        (total, mean, squares), targets = self.moments, self.products.shape[1]
        return (squares / total + mean**2)[-targets:].mean().item()

    def savings(self, constant: bool, precision: float) -> Tensor:
        """Return the fraction of the squared error that changing one coefficient alone saves.

        Shape (1 + features, targets), the constant first. For feature j and target k it is
        products[j, k]^2 / (sum w (x_j - mean x_j)^2 sum w r_k^2) with a constant in the model, and
        the same with x and r not centred without one. It is 0 where the saving is below 1e-6 of the
        target's variance, or could come from rounding errors of relative size `precision`.
        """
        total, mean, squares = self.moments
        sizes = [*self.products.shape, self.products.shape[1]]
        around_zero = squares + total * mean**2
        x_mean, residual_mean, _ = mean.split(sizes)
        x_squares, _, y_squares = squares.split(sizes)
        x_around_zero, squared_error, y_around_zero = around_zero.split(sizes)
        if constant:
            saved = self.products**2 / x_squares.unsqueeze(1)
            saved = torch.cat([total * residual_mean.unsqueeze(0) ** 2, saved])
        else:
            products = self.products + total * torch.outer(x_mean, residual_mean)
            saved = products**2 / x_around_zero.unsqueeze(1)
            saved = torch.cat([torch.zeros_like(saved[:1]), saved])
        least = torch.maximum(_NEGLIGIBLE * y_squares, precision**2 * y_around_zero)
        return torch.where(saved > least, saved / squared_error, 0.0)
