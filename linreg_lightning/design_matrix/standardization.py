"""Features on one scale, targets around zero: gradient descent then converges in any units."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from linreg_lightning.metrics.moments import Moments


@final
class Standardization(nn.Module):
    """z = (x - mean) / scale column by column, and y - target_mean; part of the checkpoint.

    The means are taken off where a constant can take them up: an intercept of the model's, or a
    column of ones, which itself stays as it is. Otherwise x is only divided by its root mean
    square.

    A column that does not vary tells nothing beside the constant: its scale is infinite, so that
    its z, and its coefficient in the user's units, are exactly 0.

    Until `fit` it changes nothing. It computes in float64, as long as the Trainer's precision does
    not turn the model itself into less (`bf16-true`, `16-true`).

    Args:
        features: the number of columns of x.
        targets: the number of columns of y.

    >>> scaling = Standardization(features=1, targets=1)
    >>> rows = torch.tensor([[1.0, 7.0], [3.0, 9.0]])
    >>> scaling.fit(Moments.of(rows), intercept=True)
    >>> scaling(rows[:, :1]), scaling.target(rows[:, 1:])
    (tensor([[-1.],
            [ 1.]], dtype=torch.float64), tensor([[-1.],
            [ 1.]], dtype=torch.float64))
    """

    mean: Tensor
    scale: Tensor
    target_mean: Tensor
    target_scale: Tensor
    fitted: Tensor

    def __init__(self, features: int, targets: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features, dtype=torch.float64))
        self.register_buffer("scale", torch.ones(features, dtype=torch.float64))
        self.register_buffer("target_mean", torch.zeros(targets, dtype=torch.float64))
        self.register_buffer("target_scale", torch.ones(targets, dtype=torch.float64))
        # A number, not a truth: callbacks that average weights average buffers too.
        self.register_buffer("fitted", torch.zeros((), dtype=torch.float64))

    def fit(self, moments: Moments, intercept: bool, ones: int | None = None) -> None:
        """Take means and scale from the rows to train on.

        Args:
            moments: of the columns of x and y, side by side.
            intercept: whether the model has an intercept of its own.
            ones: which column of x is the constant, if one is.
        """
        features = len(self.mean)
        centred = intercept or ones is not None
        mean = moments.mean if centred else torch.zeros_like(moments.mean)
        scale = (moments.variance + (moments.mean - mean) ** 2).sqrt()[:features]
        # The spread that rounding alone gives to equal numbers.
        rounding = 64 * torch.finfo(torch.float64).eps * moments.mean[:features].abs()
        scale[scale <= (rounding if centred else 0)] = torch.inf
        if ones is not None:
            mean[ones], scale[ones] = 0.0, 1.0
        self.mean.copy_(mean[:features])
        self.target_mean.copy_(mean[features:])
        spread = moments.variance[features:].sqrt()
        self.target_scale.copy_(torch.where(spread > 0, spread, 1.0))
        self.scale.copy_(scale)
        self.fitted.fill_(1.0)

    @property
    def constant(self) -> list[int]:
        """The columns of x that do not vary."""
        return [int(j) for j in self.scale.isinf().nonzero().flatten()]

    def forward(self, x: Tensor) -> Tensor:
        """Z for x, both (rows, features)."""
        return (x - self.mean) / self.scale

    def target(self, y: Tensor) -> Tensor:
        """Y around zero, (rows, targets)."""
        return y - self.target_mean

    def from_target(self, z: Tensor) -> Tensor:
        """Y for z of mean 0 and standard deviation 1, both (rows, targets)."""
        return self.target_mean + self.target_scale * z

    def unscale(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """From z's weight, (targets, features), to x's weight and what to add to the constant.

        target_mean + w_z (x - mean) / scale
            = (w_z / scale) x + target_mean - sum(w_z mean / scale)
        """
        weight = weight.double() / self.scale
        return weight, self.target_mean - weight @ self.mean
