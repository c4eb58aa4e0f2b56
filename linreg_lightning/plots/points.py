"""Rows of one split, as the pictures of predictions have them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from torch import Tensor

from linreg_lightning.plots.scale import Array, Scale


class Points(NamedTuple):
    """Observed and predicted values of one target.

    Attributes:
        label: which rows they are, such as `training`.
        observed: y, (rows,).
        predicted: what the model makes of x, (rows,).
    """

    label: str
    observed: Tensor
    predicted: Tensor

    def arrays(self) -> tuple[Array, Array]:
        """Observed and predicted in float64, of the rows where both, and the residual, are finite.

        >>> import torch
        >>> Points("", torch.tensor([1.0, torch.nan]), torch.tensor([2.0, 3.0])).arrays()
        (array([1.]), array([2.]))
        """
        observed, predicted = (
            values.detach().cpu().double().flatten().numpy()
            for values in (self.observed, self.predicted)
        )
        with np.errstate(over="ignore", invalid="ignore"):
            finite = np.isfinite(observed - predicted)
        return observed[finite], predicted[finite]


def r2(observed: Array, predicted: Array) -> float:
    """1 - sum of squared residuals / sum of squares around the mean; NaN where y does not vary."""
    scale = Scale.of([observed, predicted])
    observed, predicted = scale.apply(observed), scale.apply(predicted)
    if observed.size < 2 or observed.min() == observed.max():
        return float("nan")
    squares = float(np.sum((observed - observed.mean()) ** 2))
    return 1 - float(np.sum((observed - predicted) ** 2)) / squares if squares else float("nan")
