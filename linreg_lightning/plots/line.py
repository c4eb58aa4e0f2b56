"""Observed values over the only feature, with the fitted line and its bands."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from linreg_lightning.plots import style
from linreg_lightning.plots.scale import Array, Scale
from linreg_lightning.plots.style import BLACK, GREY


class SplitRows(NamedTuple):
    """The feature and the observed values of one target, (rows,), for the split `label`."""

    label: str
    x: Tensor
    y: Tensor


class FittedLine(NamedTuple):
    """A fit at increasing values x of the feature, (points,) each.

    `confidence` holds the lower and upper ends of the confidence interval of the line, and
    `prediction` the ends of the prediction interval of one row. A band is drawn only where it is
    given and finite.
    """

    x: Tensor
    y: Tensor
    confidence: tuple[Tensor, Tensor] | None = None
    prediction: tuple[Tensor, Tensor] | None = None


@style.styled
def line(
    splits: Sequence[SplitRows], fit: FittedLine, feature: str, target: str, caption: str = ""
) -> Figure:
    """Plot each row's y over its x, the fitted line, and its bands where they are known.

    There are at most two splits. `feature` and `target` are the names of x and y, `caption` the
    text below the plot. Values that are not finite are left out. Bands far wider than the rows are
    cut off, so that they do not shrink the rows to a dot; the caption then says so.
    """
    rows = [(split.label, _finite(split.x, split.y)) for split in splits]
    line_x, line_y = _finite(fit.x, fit.y)
    x_scale = Scale.of([*(x for _, (x, _) in rows), line_x])
    y_scale = Scale.of([*(y for _, (_, y) in rows), line_y])
    bands = {}
    for label, ends in ("confidence band", fit.confidence), ("prediction band", fit.prediction):
        if ends is not None:
            x, *low_and_high = _finite(fit.x, *ends)
            bands[label] = x_scale.apply(x), *(y_scale.apply(values) for values in low_and_high)
    points = [y_scale.apply(values) for values in (*(y for _, (_, y) in rows), line_y)]
    limits, all_shown = _limits(points, [y for _, *ends in bands.values() for y in ends])
    if not all_shown:
        caption = f"{caption} The bands go on beyond the plot."

    figure = style.new_figure(caption)
    axes = figure.add_subplot()
    count = sum(x.size for _, (x, _) in rows)
    for (label, (x, y)), marker in zip(rows, style.SPLIT_MARKERS, strict=False):
        if x.size:
            look = {**style.point_style(count), **marker}
            axes.scatter(x_scale.apply(x), y_scale.apply(y), label=label, **look)
    axes.plot(x_scale.apply(line_x), y_scale.apply(line_y), color=BLACK, linewidth=1.5, label="fit")
    # Many rows would hide the narrow band, which is then drawn above them.
    orders, alphas = (1.6 if count > style.MANY_ROWS else 0.7, 0.6), (0.45, 0.16)
    for (label, (x, low, high)), order, alpha in zip(bands.items(), orders, alphas, strict=False):
        if x.size:
            look = {"color": GREY, "linewidth": 0, "label": label, "zorder": order, "alpha": alpha}
            axes.fill_between(x, low, high, **look)
    axes.set_ylim(*limits)
    axes.set_xlabel(x_scale.label(style.shorten(feature)))
    axes.set_ylabel(y_scale.label(style.shorten(target)))
    style.set_plain_ticks(axes.xaxis)
    style.set_plain_ticks(axes.yaxis)
    title = f"{style.shorten(target, 20)} against {style.shorten(feature, 20)}"
    style.add_legend(figure, title, columns=3 if len(rows) > 1 else 4)
    return figure


def _limits(points: Sequence[Array], bands: Sequence[Array]) -> tuple[tuple[float, float], bool]:
    """Return limits of y around all points, and whether all of the bands lies within them."""
    values, ends = np.concatenate([*points, []]), np.concatenate([*points, *bands, []])
    if not values.size:
        return (0.0, 1.0), True
    lowest, highest = float(values.min()), float(values.max())
    reach = (highest - lowest) or abs(highest) or 1.0
    low, high = max(ends.min(), lowest - reach), min(ends.max(), highest + reach)
    margin = 0.04 * (high - low) or 0.5 * reach
    all_shown = bool(low == ends.min() and high == ends.max())
    return (low - margin, high + margin), all_shown


def _finite(*tensors: Tensor) -> list[Array]:
    """Return columns of equal length in float64, without the rows where one is not finite."""
    columns = np.stack([t.detach().cpu().double().flatten().numpy() for t in tensors])
    return [*columns[:, np.isfinite(columns).all(axis=0)]]
