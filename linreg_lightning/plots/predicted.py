"""Predicted against observed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.figure import Figure

from linreg_lightning.plots.points import Points, r2
from linreg_lightning.plots.scale import Scale
from linreg_lightning.plots.style import (
    BLUE,
    GREY,
    VERMILION,
    Look,
    few_ticks,
    head,
    new_figure,
    short,
    styled,
)

LOOKS: tuple[Look, ...] = (
    {"color": BLUE, "marker": "o"},
    {"color": VERMILION, "marker": "^"},
)
"""Of the splits: told apart by shape as well as by colour."""


def dots(rows: int) -> Look:
    """Marks that can be told apart: the more there are, the smaller and the fainter."""
    few = rows <= 300
    return {"s": 22 if few else 6, "alpha": 0.65 if few else 0.4, "linewidths": 0}


@styled
def predicted(points: Sequence[Points], target: str, caption: str = "") -> Figure:
    """Each row's prediction above its observed value; on the diagonal a prediction is exact.

    Args:
        points: the splits, at most two; those without a finite row are left out.
        target: the name of y.
        caption: what to say below.
    """
    arrays = [(p.label, *p.arrays()) for p in points]
    arrays = [split for split in arrays if split[1].size]
    scale = Scale.of(values for split in arrays for values in split[1:])
    name = short(target)
    figure = new_figure(caption, height=5.4)
    axes = figure.add_subplot(box_aspect=1)
    marks = dots(sum(observed.size for _, observed, _ in arrays))
    ends = []
    for (label, observed, fitted), look in zip(arrays, LOOKS, strict=False):
        across, up = scale.apply(observed), scale.apply(fitted)
        quality = r2(observed, fitted)
        text = label if math.isnan(quality) else f"{label}, R² {quality:.4g}"
        axes.scatter(across, up, **marks, label=text, **look)
        ends += [across.min(), across.max(), up.min(), up.max()]
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    margin = 0.04 * (high - low) or 0.04 * abs(high) or 1.0
    low, high = low - margin, high + margin
    axes.plot([low, high], [low, high], color=GREY, linewidth=1, zorder=1.5, label="exact")
    axes.set(xlim=(low, high), ylim=(low, high))
    axes.set_xlabel(scale.label(f"observed {name}"))
    axes.set_ylabel(scale.label(f"predicted {name}"))
    few_ticks(axes.xaxis)
    few_ticks(axes.yaxis)
    head(figure, f"Predicted against observed {short(target, 20)}", axes)
    return figure
