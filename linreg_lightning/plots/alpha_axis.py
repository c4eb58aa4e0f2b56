"""The axis of penalties, from the largest alpha to the smallest, which two plots share."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from linreg_lightning.plots.scale import Array, format_distinctly, format_number, power_of_ten
from linreg_lightning.plots.style import BLACK, VERMILION

# Choices differ by dashes and marks as well as by colour.
_CHOICES: tuple[dict[str, Any], ...] = (
    {"color": VERMILION, "linestyle": "-", "marker": "o", "markersize": 8},
    {"color": BLACK, "linestyle": "--", "marker": "s", "markersize": 5},
    {"color": VERMILION, "linestyle": ":", "marker": "D", "markersize": 3},
)
_MAX_TICKS = 6


def alpha_positions(alphas: Array) -> Array:
    """Return where alphas lie on the axis: log10, and 0 one step beyond the smallest above 0.

    >>> alpha_positions(np.array([10.0, 1.0, 0.0])).tolist()
    [1.0, 0.0, -1.0]
    """
    with np.errstate(divide="ignore"):
        places: Array = np.log10(alphas)
    known = np.unique(places[np.isfinite(places)])
    step = float(np.median(np.diff(known))) if known.size > 1 else 1.0
    return np.where(np.isfinite(places), places, known[0] - step if known.size else 0.0)


def set_alpha_axis(axes: Axes, alphas: Array) -> None:
    """Let x run from the largest of the alphas to the smallest, at their `alpha_positions`."""
    places = alpha_positions(alphas)
    low, high = float(places.min()), float(places.max())
    margin = 0.02 * (high - low) or 0.5
    axes.set_xlim(high + margin, low - margin)
    positive = alphas[alphas > 0]
    ticks = round_ticks(positive.min(), positive.max(), margin) if positive.size else {}
    if positive.size < alphas.size:
        zero = float(places[alphas == 0].min())
        ticks = {x: text for x, text in ticks.items() if x > zero + 0.1 * (high - low)}
        ticks[zero] = "0"
    axes.set_xticks([*ticks], [*ticks.values()])
    axes.set_xlabel("alpha, the size of the penalty (logarithmic)")


def add_counts(axes: Axes, alphas: Array, counts: Array, label: str) -> None:
    """Write some fits' counts, such as of coefficients that are not 0, above the axes."""
    places = alpha_positions(alphas)
    shown = np.unique(np.linspace(0, len(places) - 1, _MAX_TICKS).round().astype(int))
    shown = shown if places.min() < places.max() else shown[:1]
    texts = [f"{count:.0f}" if count >= 100 else f"{count:.3g}" for count in counts[shown]]
    top = axes.secondary_xaxis("top")
    top.set_xticks(places[shown].tolist(), texts)
    top.tick_params(length=2, pad=1)
    top.set_xlabel(label, fontsize=9)
    top.spines["top"].set_visible(False)


def draw_choices(
    axes: Axes, choices: Mapping[str, tuple[float, float]], heights: Mapping[str, float] | None
) -> None:
    """Draw a vertical line at each choice, later ones with gaps that show those below them.

    Args:
        axes: where to draw.
        choices: the alpha of each choice by its name, and its place on the axis.
        heights: the height of a mark on each line; None draws no marks.
    """
    for (name, (alpha, place)), look in zip(choices.items(), _CHOICES, strict=False):
        mark = {"marker": look["marker"], "markersize": look["markersize"]} if heights else {}
        line = {"color": look["color"], "linestyle": look["linestyle"], "linewidth": 1.2}
        axes.axvline(place, **line, zorder=2.4)
        x, y = ([place], [heights[name]]) if heights else ([], [])
        label = f"{name}, alpha {_short(alpha)}"
        axes.plot(x, y, **line, **mark, label=label, zorder=4, clip_on=False)


def round_ticks(smallest: float, largest: float, margin: float = 0.0) -> dict[float, str]:
    """Return places, log10, and texts of round numbers; of the ends where too few are between.

    >>> round_ticks(0.004, 20.0)
    {-2.0: '0.01', -1.0: '0.1', 0.0: '1', 1.0: '10'}
    """
    low, high = math.log10(smallest) - margin, math.log10(largest) + margin
    for digits in (1,), (1, 3), (1, 2, 5):
        powers = range(math.floor(low), math.ceil(high) + 1)
        ticks = {k + math.log10(d): _text(d, k) for k in powers for d in digits}
        shown = {x: text for x, text in ticks.items() if low <= x <= high}
        if len(shown) >= 3:
            step = math.ceil(len(shown) / _MAX_TICKS)
            return dict([*shown.items()][::step])
    ends = np.unique([smallest, largest])
    return dict(zip(np.log10(ends).tolist(), format_distinctly(ends), strict=True))


def _short(alpha: float) -> str:
    return f"{alpha:.3g}" if alpha == 0 or 1e-4 <= alpha < 999.5 else format_number(alpha, 3)


def _text(digit: int, exponent: int) -> str:
    if -4 <= exponent < 5:
        return f"{digit * 10.0**exponent:.{max(-exponent, 0)}f}"
    return power_of_ten(exponent) if digit == 1 else f"{digit}×{power_of_ten(exponent)}"
