"""Coefficients with their intervals, beside the truth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from linreg_lightning.plots.scale import Array, Scale, power, written
from linreg_lightning.plots.style import (
    BLUE,
    GREY,
    INK,
    VERMILION,
    Look,
    few_ticks,
    head,
    new_figure,
    short,
    styled,
)

_MOST = 40
_SPARSE = 16
_DIGITS = 5
_APART = 300.0
"""The ratio of magnitudes from which on a linear axis would hide the small ones."""


@styled
def coefficients(rows: Sequence[Mapping[str, Any]], target: str, caption: str = "") -> Figure:
    """Each coefficient a line: its estimate, its interval and the truth where they are known.

    Where their magnitudes are far apart the axis is logarithmic on both sides of zero. Of more than
    forty the largest are drawn: by |t| where there are standard errors, else by magnitude.

    Args:
        rows: `name`, `estimate`, and where known `true`, `std_error`, `ci_low` and `ci_high`; NaN
            is unknown.
        target: the name of y.
        caption: what to say below.
    """
    shown = _largest(rows)
    values = {key: _column(shown, key) for key in ("estimate", "ci_low", "ci_high", "true")}
    scale = Scale.of(values.values())
    estimate, low, high, true = (scale.apply(column) for column in values.values())
    logarithmic = _far_apart(estimate)
    if logarithmic:
        caption = f"Logarithmic on both sides of zero. {caption}"
    if len(shown) < len(rows):
        caption = f"The {len(shown)} largest of {len(rows)} coefficients. {caption}"
    step = 0.3 if len(shown) <= _SPARSE else 0.19
    figure = new_figure(caption, height=max(2.6, 1.75 + step * len(shown)))
    axes = figure.add_subplot()
    place = np.arange(len(shown))
    known = np.isfinite(low + estimate + high)
    if known.any():
        axes.hlines(place[known], low[known], high[known], color=BLUE, label="confidence interval")
        # Ends taller than the estimate's dot: those of a small interval show above and below it.
        for ends in (low, high):
            axes.plot(ends[known], place[known], "|", color=BLUE, markersize=8)
    axes.plot(estimate, place, "o", color=BLUE, markersize=4.5, label="estimate")
    if np.isfinite(true).any():
        ring: Look = {"mfc": "none", "mec": VERMILION, "mew": 1.3, "markersize": 8}
        axes.plot(true, place, "D", **ring, label="truth")
    axes.axvline(0, color=GREY, linewidth=1, zorder=1.5)
    if logarithmic:
        _logarithmic(axes, estimate, scale)
        scale = Scale(0)  # its ticks are powers of ten themselves
    else:
        few_ticks(axes.xaxis, columns=24)  # long names leave it no more
    _names(axes, shown, scale.apply(values["estimate"]))
    axes.set_xlabel(scale.label(f"{short(target, 14)} per unit of the column"))
    head(figure, f"Coefficients of {short(target)}", axes)
    return figure


def _names(axes: Axes, rows: Sequence[Mapping[str, Any]], estimates: Array) -> None:
    """Names on the left, numbers on the right."""
    size = 9 if len(rows) <= _SPARSE else 7.5
    axes.set_yticks(range(len(rows)), [short(row["name"]) for row in rows], fontsize=size)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.grid(visible=False, axis="y")
    axes.set_ylim(len(rows) - 0.5, -0.5)
    texts = ["left out" if math.isnan(e) else written(e, _DIGITS) for e in estimates]
    # A digit is 0.64 wide of the font's size, as good as all of a number: to measure takes longer
    # than all else here.
    end = 8 + 0.64 * size * max(map(len, texts))
    place: Look = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points"}
    for row, text in enumerate(texts):
        axes.annotate(
            text, (1, row), (end, 0), ha="right", va="center_baseline", fontsize=size, **place
        )


def _logarithmic(axes: Axes, estimates: Array, scale: Scale) -> None:
    """An axis of powers of ten on both sides of zero, no more than nine of them."""
    sizes = np.abs(estimates[np.isfinite(estimates) & (estimates != 0)])
    top = math.floor(math.log10(sizes.max()))
    bottom = max(math.floor(math.log10(sizes.min())), top - 9)
    axes.set_xscale("symlog", linthresh=10.0**bottom, linscale=0.5)
    axes.autoscale(axis="x")  # its margins are of the scale before
    least, most = axes.dataLim.intervalx
    labels = 2 if least < -(10.0**bottom) and 10.0**bottom < most else 3
    ticks = {0.0: "0"}
    # Down to, not including, the lowest: it is too close to zero for both to be read.
    for k in range(top, bottom, -math.ceil((top - bottom + 1) / labels)):
        text = power(k + scale.exponent)
        ticks |= {10.0**k: text, -(10.0**k): f"−{text}"}
    low, high = axes.get_xlim()
    ticks = {place: text for place, text in ticks.items() if low <= place <= high}
    axes.set_xticks([*ticks], [*ticks.values()])
    axes.minorticks_off()


def _column(rows: Sequence[Mapping[str, Any]], key: str) -> Array:
    values = [row.get(key) for row in rows]
    column = np.array([math.nan if v is None else float(v) for v in values], dtype=np.float64)
    column[~np.isfinite(column)] = math.nan
    return column


def _largest(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """At most forty, in their own order."""
    size = np.abs(_column(rows, "estimate"))
    errors = _column(rows, "std_error")
    if not np.isnan(errors).all():
        with np.errstate(divide="ignore", invalid="ignore"):
            size = size / errors
    order = np.argsort(-np.nan_to_num(size, nan=-1.0), kind="stable")[:_MOST]
    return [rows[i] for i in sorted(order)]


def _far_apart(estimates: Array) -> bool:
    sizes = np.abs(estimates[np.isfinite(estimates) & (estimates != 0)])
    return bool(sizes.size) and float(sizes.max()) > _APART * float(sizes.min())
