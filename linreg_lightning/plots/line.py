"""Observed values over the only feature, with the fitted line and its bands."""

from collections.abc import Sequence
from typing import Any, NamedTuple

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

    `confidence` holds the lower and upper ends of the confidence interval of the line, `prediction`
    those of the prediction interval of one row. None, or values that are not finite: no band.
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
    text below the plot. Values that are not finite are left out. A band far wider than the rows is
    cut off, because it would shrink them to a dot.
    """
    rows = [(split.label, _finite(split.x, split.y)) for split in splits]
    columns = zip(*(values for _, values in rows), _finite(fit.x, fit.y), strict=True)
    scales = [Scale.of(column) for column in columns]
    figure = style.new_figure(caption)
    axes = figure.add_subplot()
    points = style.point_style(sum(x.size for _, (x, _) in rows))
    shown = []
    for (label, values), marker in zip(rows, style.SPLIT_MARKERS, strict=False):
        x, y = _scaled(values, scales)
        shown.append(y)
        if x.size:
            axes.scatter(x, y, **points, label=label, **marker)
    x, y = _scaled(_finite(fit.x, fit.y), scales)
    axes.plot(x, y, color=BLACK, linewidth=1.5, label="fit")
    ends = np.concatenate([*shown, y])
    lowest, highest = (float(ends.min()), float(ends.max())) if ends.size else (0.0, 1.0)
    reach = (highest - lowest) or abs(highest) or 1.0
    low, high = lowest, highest
    bands = {"confidence band": fit.confidence, "prediction band": fit.prediction}
    # The narrow band is above the points, which would hide it, and the wide one below them.
    looks: list[dict[str, Any]] = [{"alpha": 0.45, "zorder": 1.6}, {"alpha": 0.16, "zorder": 0.6}]
    for (label, band), look in zip(bands.items(), looks, strict=True):
        x, bottom, top = _finite(fit.x, *band) if band else [np.empty(0)] * 3
        if x.size:
            x, bottom, top = _scaled([x, bottom, top], [scales[0], scales[1], scales[1]])
            axes.fill_between(x, bottom, top, color=GREY, linewidth=0, label=label, **look)
            low, high = min(low, bottom.min()), max(high, top.max())
    low, high = max(low, lowest - reach), min(high, highest + reach)
    margin = 0.04 * (high - low) or 0.5 * reach
    axes.set_ylim(low - margin, high + margin)
    axes.set_xlabel(scales[0].label(style.shorten(feature)))
    axes.set_ylabel(scales[1].label(style.shorten(target)))
    style.set_plain_ticks(axes.xaxis)
    style.set_plain_ticks(axes.yaxis)
    title = f"{style.shorten(target, 20)} against {style.shorten(feature, 20)}"
    style.add_legend(figure, title, columns=3 if len(rows) > 1 else 4)
    return figure


def _finite(*tensors: Tensor) -> list[Array]:
    """Return columns of equal length in float64, without the rows where one is not finite."""
    columns = np.stack([t.detach().cpu().double().flatten().numpy() for t in tensors])
    return [*columns[:, np.isfinite(columns).all(axis=0)]]


def _scaled(columns: Sequence[Array], scales: Sequence[Scale]) -> list[Array]:
    return [scale.apply(column) for column, scale in zip(columns, scales, strict=True)]
