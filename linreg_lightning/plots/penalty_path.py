"""Coefficients of a path of penalties."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from linreg_lightning.plots import style
from linreg_lightning.plots.alpha_axis import (
    add_counts,
    alpha_positions,
    draw_choices,
    set_alpha_axis,
)
from linreg_lightning.plots.scale import Array, Scale
from linreg_lightning.plots.style import BLUE, GREEN, GREY

_MAX_NAMES = 12
_SMALLEST_NAMED = 0.02  # of the largest coefficient; smaller ones cannot be told from zero
_MAX_LINES = 500  # of columns without a name; more would cover each other
_NAME_HEIGHT = 0.052  # as a share of the height of the axes
# The colours of Okabe and Ito's palette that no line of a choice has.
_COLOURS = (BLUE, "#E69F00", GREEN, "#CC79A7", "#56B4E9")
Places = NDArray[np.int64]


@style.styled
def penalty_path(
    alphas: Array,
    coefficients: Array,
    names: Sequence[str],
    target: str,
    *,
    counts: Array,
    choices: Mapping[str, int] | None = None,
    per: str = "standard deviation",
    counts_label: str = "coefficients that are not 0",
    caption: str = "",
) -> Figure:
    """Plot one line per column: its coefficient over the penalties, from the largest alpha down.

    The axis above the lines has `counts`. At most 12 lines have colours and names: those of the
    largest coefficients at the first of the `choices`, or without one at the smallest alpha, and
    none below 1/50 of the largest of all. Of the others at most 500 are drawn, those that reach
    furthest from zero.

    Args:
        alphas: decreasing, (alphas,).
        coefficients: (alphas, columns), in units of the target per `per`.
        names: of the columns.
        target: the name of y.
        counts: (alphas,) numbers, described by `counts_label`.
        choices: the place in `alphas` of each choice, which a vertical line shows, by its name.
        per: what one unit of a coefficient is a change of, in words.
        counts_label: what the counts are.
        caption: the text below the plot.
    """
    choices = choices or {}
    chosen = coefficients[next(iter(choices.values()), -1)]
    named, others, total = _lines_to_draw(coefficients, chosen)
    if len(named) + len(others) < total:
        count = len(named) + len(others)
        caption = f"Lines of the {count} largest of {total} coefficients. {caption}"
    scale = Scale.of([coefficients])
    lines, places = scale.apply(coefficients), alpha_positions(alphas)

    figure = style.new_figure(caption)
    axes = figure.add_subplot()
    segments = [np.column_stack([places, lines[:, j]]) for j in others]
    look = {"linewidths": 0.5 if len(others) > 30 else 0.8, "alpha": 0.6}
    axes.add_collection(LineCollection(segments, colors="#999999", **look))
    ends = lines[-1, named]
    marker = "o" if len(alphas) == 1 else ""
    order = np.argsort(-ends, kind="stable")
    for k, j in enumerate(named[order]):
        colour = _COLOURS[k % len(_COLOURS)]
        axes.plot(places, lines[:, j], color=colour, linewidth=1.4, marker=marker, markersize=4)
    axes.axhline(0, color=GREY, linewidth=1, zorder=1.5)
    set_alpha_axis(axes, alphas)
    axes.autoscale(axis="y")
    axes.set_ylabel(scale.label(f"{style.shorten(target, 14)} per {per}"))
    style.set_plain_ticks(axes.yaxis)
    _write_names(axes, [names[j] for j in named[order]], places[-1], ends[order])
    add_counts(axes, alphas, counts, counts_label)
    draw_choices(axes, {name: (alphas[k], places[k]) for name, k in choices.items()}, None)
    style.add_legend(figure, f"Penalised coefficients of {style.shorten(target, 20)}", columns=2)
    return figure


def _lines_to_draw(coefficients: Array, chosen: Array) -> tuple[Places, Places, int]:
    """Return the columns to draw with names and without, and how many are not 0 throughout."""
    reach = np.abs(coefficients).max(axis=0)
    total = int((reach > 0).sum())
    order = np.lexsort((-np.abs(coefficients[-1]), -np.abs(chosen)))
    visible = (reach > 0) & (reach >= _SMALLEST_NAMED * reach.max(initial=0.0))
    named = order[visible[order]][:_MAX_NAMES]
    rest = np.setdiff1d(np.argsort(-reach, kind="stable")[:total], named, assume_unique=True)
    return named, rest[:_MAX_LINES], total


def _write_names(axes: Axes, names: Sequence[str], x: float, ends: Array) -> None:
    """Write names right of the axes, in the order of the line ends, which are at x."""
    low, high = axes.get_ylim()
    heights = _spread(ends, _NAME_HEIGHT * (high - low), low, high)
    texts = style.shorten_distinctly(names, 14)
    for k, (text, end, height) in enumerate(zip(texts, ends, heights, strict=True)):
        colour = _COLOURS[k % len(_COLOURS)]
        leader = {"arrowstyle": "-", "color": colour, "linewidth": 0.7, "relpos": (0.0, 0.5)}
        leader |= {"shrinkA": 2, "shrinkB": 1, "patchA": None}  # else padding cuts steep ones short
        axes.annotate(
            text,
            (x, end),
            (1.035, height),
            textcoords=axes.get_yaxis_transform(),
            arrowprops=leader,
            annotation_clip=False,
            fontsize=8,
            va="center",
        )


def _spread(heights: Array, gap: float, low: float, high: float) -> Array:
    """Move decreasing heights as little as needed to be `gap` apart, and between low and high.

    >>> _spread(np.array([2.0, 2.0, 1.0]), 0.5, 0.0, 9.0).tolist()
    [2.25, 1.75, 1.0]
    """
    steps = gap * np.arange(len(heights))
    groups: list[list[float]] = []  # texts that touch move together
    for height in (heights + steps).tolist():
        group = [height]
        while groups and np.mean(groups[-1]) < np.mean(group):
            group = groups.pop() + group
        groups.append(group)
    spread = np.array([np.mean(group) for group in groups for _ in group])
    places: Array = np.clip(spread, low + gap * (len(heights) - 1), high) - steps
    return places
