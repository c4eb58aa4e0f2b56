"""A linear prediction that keeps its digits where the columns are far from 0."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from linreg_lightning.models.regression import RegressionModule


class CenteredModule(RegressionModule):
    """Predicts y = x weight' + bias in float64, about a center c of the rows if digits need it.

    With weight = b + d and bias = a + e, b and a as they were fitted,

        y = y_c + (x - c) (b + d)' + d c + e,    y_c the prediction at c.

    This is the same function of weight and bias, but its large terms x b' and a do not cancel.
    Checkpoints from before the center have none, and predict as they did.
    """

    weight: nn.Parameter
    bias: nn.Parameter
    center: Tensor
    center_prediction: Tensor
    fitted_weight: Tensor
    fitted_bias: Tensor

    def build(self, in_features: int, out_features: int) -> None:
        """Make parameters of zeros for the coefficients, and a center at 0."""
        shape = (out_features, in_features)
        # Parameters although they get no gradient: DDP refuses a model without parameters.
        self.weight = nn.Parameter(torch.zeros(shape, dtype=torch.float64))
        self.bias = nn.Parameter(torch.zeros(out_features, dtype=torch.float64))
        self.register_buffer("center", torch.zeros(in_features, dtype=torch.float64))
        self.register_buffer("center_prediction", torch.zeros_like(self.bias.detach()))
        self.register_buffer("fitted_weight", torch.zeros_like(self.weight.detach()))
        self.register_buffer("fitted_bias", torch.zeros_like(self.bias.detach()))

    def forward(self, x: Tensor) -> Tensor:
        """The prediction in the user's units, (rows, targets) float64, for x, (rows, features)."""
        if not bool(self.center.any()):
            return x.double() @ self.weight.T + self.bias
        change = (self.weight - self.fitted_weight) @ self.center + (self.bias - self.fitted_bias)
        return (x.double() - self.center) @ self.weight.T + (self.center_prediction + change)

    def set_fit(
        self, weight: Tensor, intercept: Tensor, center: Tensor, center_prediction: Tensor
    ) -> None:
        """Take over a fit to x without its column of ones, if x has one.

        Args:
            weight: b, (targets, variables).
            intercept: a, (targets,); 0 without a constant.
            center: c, (variables,); zeros stand for no center.
            center_prediction: y_c, (targets,).
        """
        ones = self.columns.intercept
        if ones is not None:
            weight = torch.cat([weight[:, :ones], intercept[:, None], weight[:, ones:]], dim=1)
            one = center.any().double()[None]
            center = torch.cat([center[:ones], one, center[ones:]])
        bias = intercept * self.has_intercept
        with torch.no_grad():
            for tensor, values in (
                (self.weight, weight),
                (self.bias, bias),
                (self.center, center),
                (self.center_prediction, center_prediction),
                (self.fitted_weight, weight),
                (self.fitted_bias, bias),
            ):
                tensor.copy_(values)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name in ("center", "center_prediction", "fitted_weight", "fitted_bias"):
            if name in self._buffers:
                state_dict.setdefault(prefix + name, torch.zeros_like(getattr(self, name)))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _without_ones(self, x: Tensor) -> Tensor:
        """Return x without its column of ones."""
        ones = self.columns.intercept
        if ones is None:
            return x
        if ones == 0:
            return x[:, 1:]  # a view, not a copy
        return torch.cat([x[:, :ones], x[:, ones + 1 :]], dim=1)
