"""Features on one scale, targets around zero: gradient descent then converges in any units."""

from typing import final

import torch
from torch import Tensor, nn

from linreg_lightning.metrics.regression import Moments


@final
class Standardization(nn.Module):
    """z = (x - mean) / scale column by column, and y - target_mean; part of the checkpoint.

    Means are subtracted if the model has a constant: its own intercept, or a column of ones, which
    stays as it is. Otherwise mean is 0 and scale the root mean square of x. A column that does not
    vary has an infinite scale, so that its z, and its coefficient in the user's units, are 0.

    Before `fit`, and with `enabled` false, no value changes. The buffers are float64 unless the
    Trainer's precision turns the whole model into less (`bf16-true`, `16-true`).

    >>> standardization = Standardization(features=1, targets=1)
    >>> rows = torch.tensor([[1.0, 7.0], [3.0, 9.0]])
    >>> standardization.fit(Moments.of(rows), has_intercept=True)
    >>> standardization(rows[:, :1]), standardization.subtract_target_mean(rows[:, 1:])
    (tensor([[-1.],
            [ 1.]], dtype=torch.float64), tensor([[-1.],
            [ 1.]], dtype=torch.float64))
    """

    mean: Tensor
    scale: Tensor
    target_mean: Tensor
    target_scale: Tensor
    fitted: Tensor

    def __init__(self, features: int, targets: int, enabled: bool = True) -> None:
        super().__init__()
        self.enabled = enabled
        self.register_buffer("mean", torch.zeros(features, dtype=torch.float64))
        self.register_buffer("scale", torch.ones(features, dtype=torch.float64))
        self.register_buffer("target_mean", torch.zeros(targets, dtype=torch.float64))
        self.register_buffer("target_scale", torch.ones(targets, dtype=torch.float64))
        # A number, not a bool: callbacks that average weights average buffers too.
        self.register_buffer("fitted", torch.zeros((), dtype=torch.float64))

    def fit(
        self, moments: Moments, has_intercept: bool, intercept_column: int | None = None
    ) -> None:
        """Take means and scales from the moments of the training rows, x and y side by side.

        `intercept_column` is the index of the column of ones in x, or None.
        """
        features, variance = len(self.mean), moments.squares / moments.total
        centered = has_intercept or intercept_column is not None
        mean = moments.mean if centered else torch.zeros_like(moments.mean)
        scale = (variance + (moments.mean - mean) ** 2).sqrt()[:features]
        # Rounding alone gives equal numbers this spread.
        rounding = 64 * torch.finfo(torch.float64).eps * moments.mean[:features].abs()
        scale[scale <= (rounding if centered else 0)] = torch.inf
        if intercept_column is not None:
            mean[intercept_column], scale[intercept_column] = 0.0, 1.0
        target_scale = variance[features:].sqrt()
        self.mean.copy_(mean[:features])
        self.scale.copy_(scale)
        self.target_mean.copy_(mean[features:])
        self.target_scale.copy_(torch.where(target_scale > 0, target_scale, 1.0))
        self.fitted.fill_(1.0)

    def forward(self, x: Tensor) -> Tensor:
        """Return z for x, both (rows, features)."""
        return (x - self.mean) / self.scale if self.enabled else x

    def subtract_target_mean(self, y: Tensor) -> Tensor:
        """Return y - target_mean, (rows, targets)."""
        return y - self.target_mean if self.enabled else y

    def add_target_mean(self, prediction: Tensor) -> Tensor:
        """Return prediction + target_mean, (rows, targets)."""
        return prediction + self.target_mean if self.enabled else prediction

    def unscale_target(self, z: Tensor) -> Tensor:
        """Return y for z, which has mean 0 and standard deviation 1; both (rows, targets)."""
        return self.target_mean + self.target_scale * z

    def unscale(
        self, coefficients: Tensor, intercept: Tensor | None, intercept_column: int | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Turn the coefficients of z into those of x.

        target_mean + b (x - mean) / scale = (b / scale) x + target_mean - sum(b mean / scale)

        The constant is added to the intercept, (targets,), or without one to the coefficient of the
        column of ones, b[:, intercept_column]; b is (targets, features).
        """
        if not self.enabled:
            return coefficients, intercept
        coefficients = coefficients.double() / self.scale
        constant = self.target_mean - coefficients @ self.mean
        if intercept is not None:
            return coefficients, intercept + constant
        if intercept_column is not None:
            coefficients[:, intercept_column] += constant
        return coefficients, None
