"""Residuals against predictions, and their distribution."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from linreg_lightning.plots import style
from linreg_lightning.plots.predicted import SplitPredictions, finite_rows
from linreg_lightning.plots.scale import Array, Scale
from linreg_lightning.plots.style import BLACK, GREY

_HISTOGRAM_STYLES: tuple[dict[str, Any], ...] = (
    {"histtype": "stepfilled", "alpha": 0.4},
    {"histtype": "step", "linewidth": 1.3},
)
_GROUPS = 10


@style.styled
def residuals(splits: Sequence[SplitPredictions], target: str, caption: str = "") -> Figure:
    """Plot residuals, observed - predicted, over predictions, and a histogram of the residuals.

    The residuals of a correct model lie in a straight band around zero of the same width
    everywhere. The black line shows the mean residual of ten groups of about the same number of
    rows, from the smallest to the largest predictions; equal predictions stay in one group. The
    dashed curve is the normal distribution around zero with the standard deviation of the
    residuals. Line and curve describe all splits together. There are at most two. `target` is the
    name of y, and `caption` the text below the plot.
    """
    rows = finite_rows(splits)
    fitted, errors = [fitted for _, _, fitted in rows], [y - fitted for _, y, fitted in rows]
    scale = Scale.of([*fitted, *errors])
    x_scale, y_scale = scale.unless_tiny(fitted), scale.unless_tiny(errors)
    if not Scale.of(fitted).exponent:  # predictions that are easy to read stay unscaled
        x_scale = Scale(0)
    fitted = [x_scale.apply(values) for values in fitted]
    errors = [y_scale.apply(values) for values in errors]
    all_fitted, all_errors = np.concatenate([*fitted, []]), np.concatenate([*errors, []])
    if len(rows) > 1:
        caption = f"{caption} Black lines: both splits together."
    figure = style.new_figure(caption)
    scatter, histogram = figure.subplots(1, 2, sharey=True, width_ratios=(3, 1))
    points = style.point_style(all_errors.size)
    limit = 1.1 * (float(np.abs(all_errors).max(initial=0.0)) or 1.0)
    scatter.set_ylim(-limit, limit)
    for k, (label, _, _) in enumerate(rows):
        scatter.scatter(fitted[k], errors[k], **points, label=label, **style.SPLIT_MARKERS[k])
        count = 2 * int(np.clip(errors[k].size ** 0.5, 8, 40) / 2) + 1  # odd: a bin is around zero
        bins = np.linspace(-limit, limit, count + 1).tolist()
        look = {**_HISTOGRAM_STYLES[k], "color": style.SPLIT_MARKERS[k]["color"]}
        histogram.hist(errors[k], bins=bins, density=True, orientation="horizontal", **look)
    for axes in (scatter, histogram):
        axes.axhline(0, color=GREY, linewidth=1, zorder=1.5)
    plot_group_means(scatter, all_fitted, all_errors, "mean residual")
    _plot_normal(histogram, all_errors, limit)
    scatter.set_xlabel(x_scale.label(f"predicted {style.shorten(target)}"))
    scatter.set_ylabel(y_scale.label(f"observed − predicted {style.shorten(target, 9)}"))
    histogram.set_xlabel("density")
    histogram.set_xticks([])
    figure.align_xlabels()
    style.set_plain_ticks(scatter.xaxis)
    style.set_plain_ticks(scatter.yaxis)
    style.add_legend(figure, f"Residuals of {style.shorten(target)}", columns=4)
    return figure


def plot_group_means(axes: Axes, x: Array, y: Array, label: str) -> None:
    """Draw the mean of y in ten groups of rows by x; nothing for fewer than 50 rows."""
    if y.size < 5 * _GROUPS or x.min() == x.max():
        return
    order = np.argsort(x, kind="stable")
    starts = np.linspace(0, order.size, _GROUPS, endpoint=False).astype(int)
    # A group begins with the first row of its x, so that rows of equal x have one mean.
    starts = np.unique(np.searchsorted(x[order], x[order][starts]))
    groups = np.split(order, starts[1:])
    means = [[values[group].mean() for group in groups] for values in (x, y)]
    axes.plot(*means, color=BLACK, linewidth=1.4, marker=".", markersize=5, label=label)


def _plot_normal(axes: Axes, residual: Array, limit: float) -> None:
    if residual.size < 3 or (sd := float(np.sqrt(np.mean(residual**2)))) < 1e-3 * limit:
        return
    grid = np.linspace(-limit, limit, 200)
    density = np.exp(-((grid / sd) ** 2) / 2) / (sd * (2 * np.pi) ** 0.5)
    axes.plot(density, grid, color=BLACK, linewidth=1, linestyle="--", label="normal")
