"""The size of residuals over predictions: do they spread alike everywhere?"""

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from linreg_lightning.plots import row_labels, style
from linreg_lightning.plots.residuals import plot_group_means
from linreg_lightning.plots.row_labels import Labels
from linreg_lightning.plots.scale import Scale
from linreg_lightning.plots.style import BLUE, GREY

_NORMAL_MEAN = 0.822179  # of sqrt(|z|) for a standard normal z: 2^(1/4) Gamma(3/4) / sqrt(pi)


@style.styled
def scale_location(
    predicted: Tensor,
    residuals: Tensor,
    target: str,
    caption: str = "",
    labels: Labels | None = None,
) -> Figure:
    """Plot sqrt(|studentised residual|) over the prediction of each row.

    Where all rows have the same variance (divided by their weights, where they have some), the
    points spread alike over all predictions, and the black line is level. It shows the means of ten
    groups of about the same number of rows, from the smallest to the largest predictions; equal
    predictions stay in one group. The grey line is the mean for normal errors, 0.82. The root makes
    the distribution of the sizes less skew.

    Args:
        predicted: of the rows, (rows,), in units of the target.
        residuals: studentised residuals, (rows,). Rows not finite in either are left out.
        target: the name of y.
        caption: the text below the plot.
        labels: texts of rows by their place, the most important first.
    """
    (fitted, values), labels = row_labels.finite_columns(labels or {}, predicted, residuals)
    x_scale = Scale.of([fitted])
    size = np.sqrt(np.abs(values))
    y_scale = Scale.of([size, np.array([_NORMAL_MEAN])])
    x, y = x_scale.apply(fitted), y_scale.apply(size)
    figure = style.new_figure(caption, height=4.6)
    axes = figure.add_subplot()
    axes.scatter(x, y, color=BLUE, marker="o", label="rows", **style.point_style(y.size))
    row_labels.mark_rows(axes, x, y, labels, "influential")
    level = float(y_scale.apply(np.array(_NORMAL_MEAN)))
    axes.axhline(level, color=GREY, linewidth=1, zorder=1.5, label="mean if normal")
    plot_group_means(axes, x, y, "mean")
    axes.set_ylim(0, 1.05 * max(float(y.max(initial=0.0)), level))
    axes.set_xlabel(x_scale.label(f"predicted {style.shorten(target)}"))
    axes.set_ylabel(y_scale.label("√|studentised residual|"))
    style.set_plain_ticks(axes.xaxis)
    style.set_plain_ticks(axes.yaxis)
    style.add_legend(figure, f"Spread of residuals of {style.shorten(target, 20)}", columns=4)
    row_labels.write_labels(axes, x, y, labels)
    return figure
