"""Coefficients with their confidence intervals and true values."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from linreg_lightning.plots import style
from linreg_lightning.plots.scale import Array, Scale, format_number, power_of_ten
from linreg_lightning.plots.style import BLUE, GREY, INK, VERMILION

_MAX_ROWS = 40
_MAX_ROWS_WELL_SPACED = 16
_LOGARITHMIC_RATIO = 300.0  # on a linear axis, 1/300 of the largest magnitude looks like zero

Rows = Sequence[Mapping[str, Any]]


@style.styled
def coefficients(rows: Rows, target: str, caption: str = "") -> Figure:
    """Plot one line per coefficient: its estimate, confidence interval and true value.

    The rows of the table hold `name`, `estimate`, and where known `true`, `std_error`, `ci_low` and
    `ci_high`; NaN means unknown. `target` is the name of y, `caption` the text below the plot.

    The `intercept` has an axis of its own: it is in the units of y, the other coefficients are in
    those of y per unit of a column. Their axis is linear, unless it would hide half of them: where
    half reach no further from zero than 1/300 of the largest, it is logarithmic on both sides of
    zero. Of more than 40 the plot shows the largest: by |estimate / std_error| where there are
    standard errors, else by magnitude.
    """
    slopes = [row for row in rows if row["name"] != "intercept"]
    shown = _largest(slopes)
    constant = [row for row in rows if row["name"] == "intercept"][:1]
    if len(shown) < len(slopes):
        caption = f"The {len(shown)} largest of {len(slopes)} coefficients. {caption}"
    logarithmic = _hides_half(_sizes(shown))
    if logarithmic:
        caption = f"The lower axis is logarithmic on both sides of zero. {caption}"
        caption = caption if constant else caption.replace("lower ", "", 1)
    size, row_height = (9.0, 0.3) if len(shown) <= _MAX_ROWS_WELL_SPACED else (7.5, 0.19)
    panels = [panel for panel in (constant, shown) if panel]
    heights = [row_height * max(len(panel), 1.2) for panel in panels]
    height = 1.2 + sum(heights) + 0.55 * len(panels)
    figure = style.new_figure(caption, height=max(2.6, height))
    grid = figure.add_gridspec(max(len(panels), 1), 1, height_ratios=heights or [1.0])
    if shown or not constant:
        axes = figure.add_subplot(grid[-1, 0])
        scale = _draw_rows(axes, shown, size, logarithmic)
        axes.set_xlabel(scale.label(f"{style.shorten(target, 14)} per unit of the column"))
    if constant:
        axes = figure.add_subplot(grid[0, 0])
        scale = _draw_rows(axes, constant, size)
        where = " where all columns are 0" if shown else ""
        axes.set_xlabel(scale.label(f"{style.shorten(target, 14)}{where}"))
    _align_estimates(figure, size)
    style.add_legend(figure, f"Coefficients of {style.shorten(target)}")
    return figure


def _draw_rows(axes: Axes, rows: Rows, size: float, logarithmic: bool = False) -> Scale:
    """Draw rows of the table on an axis, with text of this size; return the scale of its ticks."""
    columns = [_column(rows, key) for key in ("estimate", "ci_low", "ci_high", "true")]
    scale = Scale.of(columns)
    estimate, low, high, true = (scale.apply(column) for column in columns)
    y = np.arange(len(rows))
    known = np.isfinite(low + estimate + high)
    if known.any():
        places, low, high = y[known], low[known], high[known]
        axes.hlines(places, low, high, color=BLUE, label="confidence interval")
        # The ends are taller than the estimate's dot, so that short intervals show.
        axes.plot(low, places, "|", high, places, "|", color=BLUE, markersize=8)
    axes.plot(estimate, y, "o", color=BLUE, markersize=4.5, label="estimate")
    if np.isfinite(true).any():
        axes.plot(true, y, "D", mfc="none", mec=VERMILION, mew=1.3, markersize=8, label="truth")
    axes.axvline(0, color=GREY, linewidth=1, zorder=1.5)
    if logarithmic:
        sizes = _sizes(rows)
        _set_logarithmic_axis(axes, sizes[sizes > 0], scale)
        scale = Scale(0)  # the ticks are powers of ten already
    else:
        style.set_plain_ticks(axes.xaxis, max_characters=24)  # long names leave little room
    _label_rows(axes, [row["name"] for row in rows], scale.apply(columns[0]), size)
    return scale


def _sizes(rows: Rows) -> Array:
    """Return how far from zero each row reaches on the axis, 0 if unknown.

    An interval and a true value count, because the axis shows these too.
    """
    columns = [_column(rows, key) for key in ("estimate", "ci_low", "ci_high", "true")]
    sizes: Array = np.nan_to_num(np.abs(columns), nan=0.0).max(axis=0)
    return Scale.of([sizes]).apply(sizes)


def _hides_half(sizes: Array) -> bool:
    """Whether a linear axis would show half of the sizes above zero as zero."""
    above = np.sort(sizes[sizes > 0])
    return bool(above.size) and above[-1] / _LOGARITHMIC_RATIO > above[(above.size - 1) // 2]


def _label_rows(axes: Axes, names: Sequence[str], estimates: Array, size: float) -> None:
    """Write the names on the left and the estimates on the right."""
    axes.set_yticks(range(len(names)), style.shorten_distinctly(names), fontsize=size)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.set_ylim(len(names) - 0.5, -0.5)
    for row, estimate in enumerate(estimates):
        text = "left out" if math.isnan(estimate) else format_number(estimate, 5)
        axes.text(1, row, text, ha="right", va="center_baseline", size=size)


def _align_estimates(figure: Figure, size: float) -> None:
    """Move the estimates of all axes into one column on the right."""
    longest = max((len(text.get_text()) for axes in figure.axes for text in axes.texts), default=0)
    # A digit is 0.64 of the font size wide; measuring the texts would take longer than all else.
    width = (8 + 0.64 * size * longest) / 72
    for axes in figure.axes:
        place = axes.get_yaxis_transform() + ScaledTranslation(width, 0, figure.dpi_scale_trans)
        for text in axes.texts:
            text.set_transform(place)


def _set_logarithmic_axis(axes: Axes, sizes: Array, scale: Scale) -> None:
    """Set an axis of at most nine powers of ten on both sides of zero."""
    lowest, top = (math.floor(math.log10(size)) for size in (sizes.min(), sizes.max()))
    bottom = max(lowest, top - 9)
    axes.set_xscale("symlog", linthresh=10.0**bottom, linscale=0.5)
    axes.autoscale(axis="x")  # the margins belong to the linear scale
    smallest, largest = axes.dataLim.intervalx
    labels_per_side = 2 if smallest < -(10.0**bottom) and 10.0**bottom < largest else 3
    ticks = {0.0: "0"}
    # The bottom power has no tick: it is too close to zero for both labels to be readable.
    for k in range(top, bottom, -math.ceil((top - bottom + 1) / labels_per_side)):
        text = power_of_ten(k + scale.exponent)
        ticks |= {10.0**k: text, -(10.0**k): f"−{text}"}
    low, high = axes.get_xlim()
    shown = [x for x in ticks if low <= x <= high]
    axes.set_xticks(shown, [ticks[x] for x in shown])
    axes.minorticks_off()


def _column(rows: Rows, key: str) -> Array:
    column = np.array([row.get(key) for row in rows], dtype=np.float64)  # None becomes NaN
    return np.where(np.isfinite(column), column, math.nan)


def _largest(rows: Rows) -> Rows:
    """Return the largest rows in their original order."""
    size, std_error = np.abs(_column(rows, "estimate")), _column(rows, "std_error")
    if not np.isnan(std_error).all():
        with np.errstate(divide="ignore", invalid="ignore"):
            size = size / std_error
    order = np.argsort(-np.nan_to_num(size, nan=-1.0), kind="stable")[:_MAX_ROWS]
    return [rows[i] for i in sorted(order)]
