"""Residuals against predicted, and their distribution."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from linreg_lightning.plots.points import Points
from linreg_lightning.plots.predicted import LOOKS, dots
from linreg_lightning.plots.scale import Array, Scale
from linreg_lightning.plots.style import (
    BLACK,
    GREY,
    Look,
    few_ticks,
    head,
    new_figure,
    short,
    styled,
)

_HISTOGRAMS: tuple[Look, ...] = (
    {"histtype": "stepfilled", "alpha": 0.4},
    {"histtype": "step", "linewidth": 1.3},
)
_BINS = 10
_ENOUGH = 5 * _BINS
"""Rows from which on a mean of each bin says something."""


@styled
def residuals(points: Sequence[Points], target: str, caption: str = "") -> Figure:
    """What the model leaves of each row, observed - predicted, and how that is distributed.

    A model that is right leaves a band around zero, as wide everywhere, without a bend: the black
    line is the mean of the residuals in ten groups of as many rows each, from the smallest
    prediction to the largest. Beside it the histogram, and the normal distribution of the same
    standard deviation around zero. Line and curve are of all splits together.

    Args:
        points: the splits, at most two; those without a finite row are left out.
        target: the name of y.
        caption: what to say below.
    """
    splits = [(p.label, *p.arrays()) for p in points]
    parts = [(label, fitted, y - fitted) for label, y, fitted in splits if y.size]
    predictions, rests = [fitted for _, fitted, _ in parts], [left for _, _, left in parts]
    unit = Scale.of([*predictions, *rests])
    across, up = unit.unless_small(predictions), unit.unless_small(rests)
    parts = [(label, across.apply(fitted), up.apply(left)) for label, fitted, left in parts]
    name = short(target)
    if len(parts) > 1:
        caption = f"{caption} Black lines: of both."
    figure = new_figure(caption)
    cloud, side = figure.subplots(1, 2, sharey=True, width_ratios=(3, 1))
    marks = dots(sum(left.size for _, _, left in parts))
    most = max((float(np.abs(left).max()) for _, _, left in parts), default=0.0) or 1.0
    cloud.set_ylim(-1.1 * most, 1.1 * most)
    for (label, fitted, left), look, histogram in zip(parts, LOOKS, _HISTOGRAMS, strict=False):
        cloud.scatter(fitted, left, **marks, label=label, **look)
        # An odd number of them: zero is in the middle of one.
        bins = 2 * int(np.clip(left.size**0.5, 8, 40) / 2) + 1
        side.hist(
            left,
            bins=np.linspace(-1.1 * most, 1.1 * most, bins + 1).tolist(),
            density=True,
            orientation="horizontal",
            color=look["color"],
            **histogram,
        )
    for axes in (cloud, side):
        axes.axhline(0, color=GREY, linewidth=1, zorder=1.5)
    if parts:
        _means(cloud, *(np.concatenate([part[i] for part in parts]) for i in (1, 2)))
        _normal(side, np.concatenate([left for _, _, left in parts]), most)
    cloud.set_xlabel(across.label(f"predicted {name}"))
    cloud.set_ylabel(up.label(f"observed − predicted {short(target, 9)}"))
    side.set_xlabel("density")
    side.set_xticks([])
    figure.align_xlabels()
    few_ticks(cloud.xaxis)
    few_ticks(cloud.yaxis)
    head(figure, f"Residuals of {name}", cloud, side, columns=4)
    return figure


def _means(axes: Axes, fitted: Array, left: Array) -> None:
    if left.size < _ENOUGH or fitted.min() == fitted.max():
        return
    groups = np.array_split(np.argsort(fitted, kind="stable"), _BINS)
    x, y = ([values[group].mean() for group in groups] for values in (fitted, left))
    axes.plot(x, y, color=BLACK, linewidth=1.4, marker=".", markersize=5, label="mean by tenths")


def _normal(axes: Axes, left: Array, most: float) -> None:
    sd = float(np.sqrt(np.mean(left**2)))
    if left.size < 3 or sd < 1e-3 * most:
        return
    grid = np.linspace(-1.1 * most, 1.1 * most, 200)
    density = np.exp(-((grid / sd) ** 2) / 2) / (sd * (2 * np.pi) ** 0.5)
    axes.plot(density, grid, color=BLACK, linewidth=1, linestyle="--", label="normal")
