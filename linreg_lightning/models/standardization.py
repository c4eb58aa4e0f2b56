"""Features on one scale, so that gradient descent converges whatever their units."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from linreg_lightning.algebra.moments import Moments


@final
class Standardization(nn.Module):
    """z = (x - mean) / scale, column by column, in float64 and kept in the model's checkpoint.

    The mean is taken off where a constant can take it up: an intercept of the model's, or a column
    of ones, which itself stays as it is. Otherwise x is only divided by its root mean square.

    A column that does not vary tells nothing beside the constant: its scale is infinite, so that
    its z, and its coefficient in the user's units, are exactly 0.

    Until `fit` it changes nothing.

    Args:
        features: the number of columns.

    >>> scaling = Standardization(features=1)
    >>> x = torch.tensor([[1.0], [3.0]])
    >>> scaling.fit(Moments.of(x), intercept=True)
    >>> scaling(x)
    tensor([[-1.],
            [ 1.]], dtype=torch.float64)
    """

    mean: Tensor
    scale: Tensor
    fitted: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features, dtype=torch.float64))
        self.register_buffer("scale", torch.ones(features, dtype=torch.float64))
        self.register_buffer("fitted", torch.tensor(False))

    def fit(self, moments: Moments, intercept: bool, ones: int | None = None) -> None:
        """Take mean and scale from the rows to train on.

        Args:
            moments: of the columns of x.
            intercept: whether the model has an intercept of its own.
            ones: which column of x is the constant, if one is.
        """
        centred = intercept or ones is not None
        mean = moments.mean if centred else torch.zeros_like(moments.mean)
        scale = (moments.variance + (moments.mean - mean) ** 2).sqrt()
        # The spread that rounding alone gives to equal numbers.
        rounding = 64 * torch.finfo(torch.float64).eps * moments.mean.abs()
        scale[scale <= (rounding if centred else 0)] = torch.inf
        if ones is not None:
            mean[ones], scale[ones] = 0.0, 1.0
        self.mean.copy_(mean)
        self.scale.copy_(scale)
        self.fitted.fill_(True)

    @property
    def constant(self) -> list[int]:
        """The columns that do not vary."""
        return [int(j) for j in self.scale.isinf().nonzero().flatten()]

    def forward(self, x: Tensor) -> Tensor:
        """Z for x, both (rows, features)."""
        return (x - self.mean) / self.scale

    def unscale(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """From z's weight, (targets, features), to x's weight and what to add to the constant.

        w_z (x - mean) / scale = (w_z / scale) x - sum(w_z mean / scale)
        """
        weight = weight.double() / self.scale
        return weight, -(weight @ self.mean)
