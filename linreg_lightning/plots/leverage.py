"""Residuals over leverage, with contours of Cook's distance."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from linreg_lightning.plots import row_labels, style
from linreg_lightning.plots.row_labels import Labels
from linreg_lightning.plots.scale import Scale
from linreg_lightning.plots.style import BLACK, BLUE, GREY

_CONTOURS: dict[float, Any] = {0.5: "--", 1.0: "-"}  # of Cook's distance, and how they are drawn


@style.styled
def leverage(
    leverages: Tensor,
    residuals: Tensor,
    terms: int,
    target: str,
    caption: str = "",
    labels: Labels | None = None,
) -> Figure:
    """Plot studentised residuals over leverages with contours of Cook's distance at 0.5 and 1.

    Cook's distance of a row, D = r^2 h / (k (1 - h)), says how far all k estimates move if the row
    is left out: 1 is about the edge of a 50% confidence region. Rows beyond a contour are in the
    corners on the right. Contours that lie beyond the plot are not drawn, and the caption says so.

    Args:
        leverages: h, the diagonal of the hat matrix, (rows,), between 0 and 1.
        residuals: r, internally studentised, (rows,). Rows not finite in either are left out.
        terms: k, the number of terms fitted, the intercept included.
        target: the name of y.
        caption: the text below the plot.
        labels: texts of rows by their place, the most important first.
    """
    (x, values), labels = row_labels.finite_columns(labels or {}, leverages, residuals)
    x_scale, y_scale = Scale.of([x]), Scale.of([values])
    h, r = x_scale.apply(x), y_scale.apply(values)
    top = 1.12 * float(np.abs(r).max(initial=0.0)) or 1.0
    right = min(1.05 * float(x.max(initial=0.0)) or 1.0, 1.02)
    edge = np.linspace(0, min(right, 1.0), 400)[1:]
    contours = {
        distance: y_scale.apply(np.sqrt(distance * terms * (1 - edge) / edge))
        for distance in _CONTOURS
    }
    if beyond := [distance for distance, height in contours.items() if height.min() > top]:
        which = " and ".join(f"{distance:g}" for distance in beyond)
        caption = f"{caption} Beyond the plot: Cook's distances of {which}.".strip()

    figure = style.new_figure(caption, height=4.6)
    axes = figure.add_subplot()
    axes.scatter(h, r, color=BLUE, marker="o", label="rows", **style.point_style(r.size))
    row_labels.mark_rows(axes, h, r, labels, "influential")
    axes.axhline(0, color=GREY, linewidth=1, zorder=1.5)
    for distance, height in contours.items():
        look = {"color": BLACK, "linestyle": _CONTOURS[distance], "linewidth": 1, "zorder": 1.6}
        label = None if distance in beyond else f"Cook's D {distance:g}"
        axes.plot(x_scale.apply(edge), height, label=label, **look)
        axes.plot(x_scale.apply(edge), -height, **look)
    axes.set_xlim(0, float(x_scale.apply(np.array(right))))
    axes.set_ylim(-top, top)
    axes.set_xlabel(x_scale.label("leverage"))
    axes.set_ylabel(y_scale.label("studentised residual"))
    style.set_plain_ticks(axes.xaxis)
    style.set_plain_ticks(axes.yaxis)
    style.add_legend(figure, f"Influence on the fit of {style.shorten(target, 20)}", columns=4)
    row_labels.write_labels(axes, h, r, labels)
    return figure
