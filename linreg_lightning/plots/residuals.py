"""Residuals against predictions, and their distribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from linreg_lightning.plots import style
from linreg_lightning.plots.predicted import SplitPredictions
from linreg_lightning.plots.scale import Array, Scale
from linreg_lightning.plots.style import BLACK, GREY

_HISTOGRAM_STYLES: tuple[dict[str, Any], ...] = (
    {"histtype": "stepfilled", "alpha": 0.4, "orientation": "horizontal"},
    {"histtype": "step", "linewidth": 1.3, "orientation": "horizontal"},
)
_GROUPS = 10
_MIN_ROWS_FOR_MEANS = 5 * _GROUPS


@style.styled
def residuals(splits: Sequence[SplitPredictions], target: str, caption: str = "") -> Figure:
    """Plot residuals, observed - predicted, over predictions, and a histogram of the residuals.

    The residuals of a correct model lie in a straight band around zero of the same width
    everywhere. The black line shows the mean residual of ten groups with the same number of rows,
    from the smallest to the largest predictions. The dashed curve is the normal distribution around
    zero with the standard deviation of the residuals. Line and curve describe all splits together.

    Args:
        splits: at most two splits; a split without a finite row is left out.
        target: the name of y.
        caption: the text below the plot.
    """
    arrays = [(split.label, *split.finite_arrays()) for split in splits]
    parts = [(label, fitted, y - fitted) for label, y, fitted in arrays if y.size]
    predictions, errors = [part[1] for part in parts], [part[2] for part in parts]
    scale = Scale.of([*predictions, *errors])
    x_scale, y_scale = scale.unless_tiny(predictions), scale.unless_tiny(errors)
    parts = [(label, x_scale.apply(f), y_scale.apply(residual)) for label, f, residual in parts]
    if len(parts) > 1:
        caption = f"{caption} Black lines: both splits together."
    figure = style.new_figure(caption)
    scatter, histogram = figure.subplots(1, 2, sharey=True, width_ratios=(3, 1))
    points = style.point_style(sum(residual.size for _, _, residual in parts))
    limit = 1.1 * (max((float(np.abs(r).max()) for _, _, r in parts), default=0.0) or 1.0)
    scatter.set_ylim(-limit, limit)
    looks = zip(style.SPLIT_MARKERS, _HISTOGRAM_STYLES, strict=True)
    for (label, fitted, residual), (marker, look) in zip(parts, looks, strict=False):
        scatter.scatter(fitted, residual, **points, label=label, **marker)
        count = 2 * int(np.clip(residual.size**0.5, 8, 40) / 2) + 1  # odd: zero is a bin's centre
        bins = np.linspace(-limit, limit, count + 1).tolist()
        histogram.hist(residual, bins=bins, density=True, color=marker["color"], **look)
    for axes in (scatter, histogram):
        axes.axhline(0, color=GREY, linewidth=1, zorder=1.5)
    if parts:
        all_fitted, all_residuals = (np.concatenate([part[i] for part in parts]) for i in (1, 2))
        _plot_group_means(scatter, all_fitted, all_residuals)
        _plot_normal(histogram, all_residuals, limit)
    scatter.set_xlabel(x_scale.label(f"predicted {style.shorten(target)}"))
    scatter.set_ylabel(y_scale.label(f"observed − predicted {style.shorten(target, 9)}"))
    histogram.set_xlabel("density")
    histogram.set_xticks([])
    figure.align_xlabels()
    style.set_plain_ticks(scatter.xaxis)
    style.set_plain_ticks(scatter.yaxis)
    style.add_legend(figure, f"Residuals of {style.shorten(target)}", scatter, histogram, columns=4)
    return figure


def _plot_group_means(axes: Axes, fitted: Array, residual: Array) -> None:
    if residual.size < _MIN_ROWS_FOR_MEANS or fitted.min() == fitted.max():
        return
    groups = np.array_split(np.argsort(fitted, kind="stable"), _GROUPS)
    x, y = ([values[group].mean() for group in groups] for values in (fitted, residual))
    axes.plot(x, y, color=BLACK, linewidth=1.4, marker=".", markersize=5, label="mean residual")


def _plot_normal(axes: Axes, residual: Array, limit: float) -> None:
    sd = float(np.sqrt(np.mean(residual**2)))
    if residual.size < 3 or sd < 1e-3 * limit:
        return
    grid = np.linspace(-limit, limit, 200)
    density = np.exp(-((grid / sd) ** 2) / 2) / (sd * (2 * np.pi) ** 0.5)
    axes.plot(density, grid, color=BLACK, linewidth=1, linestyle="--", label="normal")
