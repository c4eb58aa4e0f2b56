"""The target against one column, both without what the other columns explain."""

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from linreg_lightning.plots import row_labels, style
from linreg_lightning.plots.row_labels import Labels
from linreg_lightning.plots.scale import Scale, format_number
from linreg_lightning.plots.style import BLACK, BLUE, GREY


@style.styled
def partial_regression(
    x: Tensor,
    y: Tensor,
    slope: float,
    column: str,
    target: str,
    caption: str = "",
    labels: Labels | None = None,
) -> Figure:
    """Plot the residuals of a target over those of a column, both given all other columns.

    This is the added-variable plot: the line through the origin has the slope of the column's
    coefficient, and a row's vertical distance from it is its residual. A coefficient that rests on
    a few rows, or a relation that is not linear, shows here and not in the plot of y against x.

    Args:
        x: residuals of the regression of the column on all other terms, (rows,).
        y: residuals of the regression of the target on all terms but the column, (rows,). Rows not
            finite in either are left out.
        slope: the column's coefficient.
        column: its name.
        target: the name of y.
        caption: the text below the plot.
        labels: texts of rows by their place, the most important first.
    """
    (across, up), labels = row_labels.finite_columns(labels or {}, x, y)
    x_scale, y_scale = Scale.of([across]), Scale.of([up])
    h, v = x_scale.apply(across), y_scale.apply(up)
    figure = style.new_figure(caption, height=4.6)
    axes = figure.add_subplot()
    axes.scatter(h, v, color=BLUE, marker="o", label="rows", **style.point_style(h.size))
    row_labels.mark_rows(axes, h, v, labels, "influential")
    axes.axhline(0, color=GREY, linewidth=1, zorder=1.5)
    axes.axvline(0, color=GREY, linewidth=1, zorder=1.5)
    ends = np.array([across.min(initial=0.0), across.max(initial=0.0)])
    with np.errstate(over="ignore", invalid="ignore"):
        line = y_scale.apply(slope * ends)
    text = f"slope {format_number(slope, 4)}"
    axes.plot(x_scale.apply(ends), line, color=BLACK, linewidth=1.5, label=text)
    axes.set_xlabel(x_scale.label(f"{style.shorten(column, 20)} given the others"))
    axes.set_ylabel(y_scale.label(f"{style.shorten(target, 9)} given the others"))
    style.set_plain_ticks(axes.xaxis)
    style.set_plain_ticks(axes.yaxis)
    names = style.shorten(target, 12), style.shorten(column, 14)
    style.add_legend(figure, f"Partial regression of {names[0]} on {names[1]}", columns=4)
    row_labels.write_labels(axes, h, v, labels)
    return figure
