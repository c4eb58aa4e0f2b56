"""Predicted against observed values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from linreg_lightning.plots import style
from linreg_lightning.plots.scale import Array, Scale
from linreg_lightning.plots.style import GREY


class SplitPredictions(NamedTuple):
    """Observed and predicted values of one target, for the rows of one split.

    Attributes:
        label: the name of the split, such as `training`.
        observed: y, (rows,).
        predicted: the model's predictions, (rows,).
    """

    label: str
    observed: Tensor
    predicted: Tensor

    def finite_arrays(self) -> tuple[Array, Array]:
        """Return observed and predicted in float64, without rows whose residual is not finite.

        >>> import torch
        >>> rows = SplitPredictions("", torch.tensor([1.0, torch.nan]), torch.tensor([2.0, 3.0]))
        >>> rows.finite_arrays()
        (array([1.]), array([2.]))
        """
        tensors = self.observed, self.predicted
        observed, predicted = (t.detach().cpu().double().flatten().numpy() for t in tensors)
        with np.errstate(over="ignore", invalid="ignore"):
            finite = np.isfinite(observed - predicted)
        return observed[finite], predicted[finite]


@style.styled
def predicted(splits: Sequence[SplitPredictions], target: str, caption: str = "") -> Figure:
    """Plot each row's prediction over its observed value; exact predictions lie on the diagonal.

    Args:
        splits: at most two splits; a split without a finite row is left out.
        target: the name of y.
        caption: the text below the plot.
    """
    arrays = [(split.label, *split.finite_arrays()) for split in splits]
    arrays = [array for array in arrays if array[1].size]
    scale = Scale.of(values for array in arrays for values in array[1:])
    figure = style.new_figure(caption, height=5.4)
    axes = figure.add_subplot(box_aspect=1)
    points = style.point_style(sum(observed.size for _, observed, _ in arrays))
    limits = []
    for (label, observed, fitted), marker in zip(arrays, style.SPLIT_MARKERS, strict=False):
        x, y = scale.apply(observed), scale.apply(fitted)
        quality = _r2(observed, fitted)
        text = label if math.isnan(quality) else f"{label}, R² {quality:.4g}"
        axes.scatter(x, y, **points, label=text, **marker)
        limits += [x.min(), x.max(), y.min(), y.max()]
    low, high = (min(limits), max(limits)) if limits else (0.0, 1.0)
    margin = 0.04 * (high - low) or 0.04 * abs(high) or 1.0
    low, high = low - margin, high + margin
    axes.plot([low, high], [low, high], color=GREY, linewidth=1, zorder=1.5, label="exact")
    axes.set(xlim=(low, high), ylim=(low, high))
    axes.set_xlabel(scale.label(f"observed {style.shorten(target)}"))
    axes.set_ylabel(scale.label(f"predicted {style.shorten(target)}"))
    style.set_plain_ticks(axes.xaxis)
    style.set_plain_ticks(axes.yaxis)
    style.add_legend(figure, f"Predicted against observed {style.shorten(target, 20)}", axes)
    return figure


def _r2(observed: Array, predicted: Array) -> float:
    """1 - sum of squared residuals / sum of squares around the mean; NaN where y is constant."""
    scale = Scale.of([observed, predicted])
    observed, predicted = scale.apply(observed), scale.apply(predicted)
    if observed.size < 2 or observed.min() == observed.max():
        return float("nan")
    total = float(np.sum((observed - observed.mean()) ** 2))
    return 1 - float(np.sum((observed - predicted) ** 2)) / total if total else float("nan")
