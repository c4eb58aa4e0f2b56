"""Predicted against observed values."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from linreg_lightning.plots import style
from linreg_lightning.plots.scale import Array, Scale, format_number
from linreg_lightning.plots.style import GREY


class SplitPredictions(NamedTuple):
    """Observed and predicted values of one target, (rows,), for the split that `label` names."""

    label: str
    observed: Tensor
    predicted: Tensor


def finite_rows(splits: Sequence[SplitPredictions]) -> list[tuple[str, Array, Array]]:
    """Return the splits in float64, without rows whose residual is not finite and empty splits.

    >>> from torch import nan, tensor
    >>> finite_rows([SplitPredictions("test", tensor([1.0, nan]), tensor([2.0, 3.0]))])
    [('test', array([1.]), array([2.]))]
    """
    rows = []
    for label, *tensors in splits:
        observed, predicted = (t.detach().cpu().double().flatten().numpy() for t in tensors)
        with np.errstate(over="ignore", invalid="ignore"):
            finite = np.isfinite(observed - predicted)
        if finite.any():
            rows.append((label, observed[finite], predicted[finite]))
    return rows


@style.styled
def predicted(
    splits: Sequence[SplitPredictions], target: str, caption: str = "", *, uncentered: bool = False
) -> Figure:
    """Plot each row's prediction over its observed value; exact predictions lie on the diagonal.

    There are at most two splits. `target` is the name of y, `caption` the text below the plot.
    `uncentered` says that the model has no constant, so that R² compares residuals to y itself.
    """
    rows = finite_rows(splits)
    scale = Scale.of(values for _, *arrays in rows for values in arrays)
    figure = style.new_figure(caption, height=5.4)
    axes = figure.add_subplot(box_aspect=1)
    points = style.point_style(sum(observed.size for _, observed, _ in rows))
    limits = []
    for (label, observed, fitted), marker in zip(rows, style.SPLIT_MARKERS, strict=False):
        x, y = scale.apply(observed), scale.apply(fitted)
        quality, name = _r2(observed, fitted, uncentered), "R² (uncentered)" if uncentered else "R²"
        text = label if math.isnan(quality) else f"{label}, {name} {format_number(quality, 4)}"
        axes.scatter(x, y, **points, label=text, **marker)
        limits += [x.min(), x.max(), y.min(), y.max()]
    low, high = min(limits, default=0.0), max(limits, default=1.0)
    margin = 0.04 * (high - low) or 0.04 * abs(high) or 1.0
    low, high = low - margin, high + margin
    axes.plot([low, high], [low, high], color=GREY, linewidth=1, zorder=1.5, label="exact")
    axes.set(xlim=(low, high), ylim=(low, high))
    axes.set_xlabel(scale.label(f"observed {style.shorten(target)}"))
    axes.set_ylabel(scale.label(f"predicted {style.shorten(target)}"))
    style.set_plain_ticks(axes.xaxis)
    style.set_plain_ticks(axes.yaxis)
    style.add_legend(figure, f"Predicted against observed {style.shorten(target, 20)}")
    return figure


def _r2(observed: Array, predicted: Array, uncentered: bool) -> float:
    """1 - sum of squared residuals / sum of squares around the mean, or around 0; NaN for 0 / 0."""
    scale = Scale.of([observed, predicted])
    observed, predicted = scale.apply(observed), scale.apply(predicted)
    if not uncentered and (observed.size < 2 or observed.min() == observed.max()):
        return math.nan
    total = np.sum((observed - (0.0 if uncentered else observed.mean())) ** 2)
    return float(1 - np.sum((observed - predicted) ** 2) / total) if total else math.nan
