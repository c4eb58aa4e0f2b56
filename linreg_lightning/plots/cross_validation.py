"""Errors of held-out folds over a path of penalties."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from linreg_lightning.plots import style
from linreg_lightning.plots.alpha_axis import (
    add_counts,
    alpha_positions,
    draw_choices,
    round_ticks,
    set_alpha_axis,
)
from linreg_lightning.plots.scale import Array, Scale
from linreg_lightning.plots.style import BLUE, GREY

_LOGARITHMIC_RATIO = 10.0  # between the largest and the smallest mean error
_MAX_CURVES = 7


@style.styled
def cross_validation(
    alphas: Array,
    mean_error: Array,
    standard_error: Array,
    fold_errors: Array,
    target: str,
    *,
    choices: Mapping[str, tuple[int, int]],
    counts: Array,
    l1_ratios: Sequence[float] = (1.0,),
    counts_label: str = "coefficients that are not 0",
    caption: str = "",
) -> Figure:
    """Plot the mean squared error of the rows held out, over the penalties from the largest down.

    The mean over the folds has a band of one standard error on both sides, and thin lines for the
    folds. There is a curve of means for each `l1_ratio`; band, folds and `counts` are those of the
    first of the `choices`. Of more than seven ratios those with the least errors are drawn. The
    axis of the errors is logarithmic where the largest mean is above ten times the smallest. Values
    that are not finite are left out, and band and folds are cut off where they are far from all
    means.

    Args:
        alphas: decreasing for each of the l1_ratios, (ratios, alphas).
        mean_error: over the folds, (ratios, alphas).
        standard_error: of the mean, (ratios, alphas).
        fold_errors: (ratios, alphas, folds).
        target: the name of y.
        choices: the place in `alphas` of each choice, which a vertical line shows, by its name;
            at least one.
        counts: numbers of the chosen ratio, (alphas,), described by `counts_label`.
        l1_ratios: the share of the penalty that is on magnitudes, (ratios,).
        counts_label: what the counts are.
        caption: the text below the plot.
    """
    ratio, _ = next(iter(choices.values()))
    scale = Scale.of([mean_error])
    mean, spread, folds = (scale.apply(v) for v in (mean_error, standard_error, fold_errors))
    logarithmic = _needs_logarithm(mean)
    shown = _best_ratios(mean, ratio)
    if len(shown) < len(l1_ratios):
        caption = f"The best {len(shown)} of {len(l1_ratios)} l1_ratios. {caption}"

    legend_rows = (len(shown) + len(choices) + 3) // 2
    figure = style.new_figure(caption, height=4.2 + 0.2 * max(0, legend_rows - 3))
    axes = figure.add_subplot()
    places = np.stack([alpha_positions(row) for row in alphas])
    low, high = mean[ratio] - spread[ratio], mean[ratio] + spread[ratio]
    low = np.maximum(low, 1e-3 * mean[ratio]) if logarithmic else low
    _draw_folds(axes, places[ratio], folds[ratio], low, high)
    _draw_means(axes, places, mean, l1_ratios, shown, ratio)
    set_alpha_axis(axes, alphas[shown])
    _set_error_axis(axes, mean[shown], np.stack([low, high, *folds[ratio].T]), logarithmic)
    axes.set_ylabel(scale.label(f"squared error of {style.shorten(target, 14)}"))
    add_counts(axes, alphas[ratio], counts, counts_label)
    points = {name: (alphas[index], places[index]) for name, index in choices.items()}
    draw_choices(axes, points, {name: mean[index] for name, index in choices.items()})
    style.add_legend(figure, f"Errors of {style.shorten(target, 20)} in held-out folds", columns=2)
    return figure


def _draw_means(
    axes: Axes,
    places: Array,
    mean: Array,
    l1_ratios: Sequence[float],
    shown: Sequence[int],
    chosen: int,
) -> None:
    """Draw the mean errors of the ratios shown; the curve of the one chosen is thick."""
    several = len(l1_ratios) > 1
    colours = colormaps["viridis"](np.linspace(0.0, 0.85, len(shown)))
    for r, colour in zip(shown, colours if several else [BLUE], strict=True):
        label = f"l1_ratio {l1_ratios[r]:.3g}" if several else "mean of the folds"
        look: Any = {"color": colour, "linewidth": 2.0 if r == chosen else 1.1, "label": label}
        axes.plot(places[r], mean[r], **look)


def _draw_folds(axes: Axes, places: Array, folds: Array, low: Array, high: Array) -> None:
    """Draw the curve of each fold, (alphas, folds), and the band of their mean."""
    one = len(places) == 1
    look: dict[str, Any] = {"color": GREY, "linewidth": 0.6, "alpha": 0.5, "zorder": 1.7}
    for fold in folds.T:
        axes.plot(places, fold, marker="." if one else "", **look, label="folds")
    label = "± standard error"
    if one:
        axes.vlines(places, low, high, color=BLUE, linewidth=3, alpha=0.4, label=label)
    else:
        look = {"color": BLUE, "alpha": 0.2, "linewidth": 0, "zorder": 1.8}
        axes.fill_between(places, low, high, **look, label=label)


def _best_ratios(mean: Array, chosen: int) -> list[int]:
    """Return the rows of mean errors to draw: the one chosen, and those with the least errors."""
    best = np.argsort(np.nanmin(mean, axis=1, initial=np.inf), kind="stable").tolist()
    return sorted([chosen, *(r for r in best if r != chosen)][:_MAX_CURVES])


def _needs_logarithm(mean: Array) -> bool:
    known = mean[np.isfinite(mean)]
    return bool(known.size) and 0 < known.min() * _LOGARITHMIC_RATIO < known.max()


def _set_error_axis(axes: Axes, mean: Array, others: Array, logarithmic: bool) -> None:
    """Show all means, and the others as far as they do not shrink the means to a line."""
    means, ends = mean[np.isfinite(mean)], others[np.isfinite(others)]
    lowest, highest = (means.min(), means.max()) if means.size else (0.0, 1.0)
    if logarithmic:
        low, high = max(ends.min(), lowest / 3), min(ends.max(), highest * 3)
        ticks = round_ticks(low, high)
        axes.set_yscale("log")
        axes.set_ylim(low / 1.15, high * 1.15)
        axes.set_yticks([10.0**place for place in ticks], [*ticks.values()])
        axes.minorticks_off()
        return
    reach = (highest - lowest) or abs(highest) or 1.0
    low, high = max(ends.min(initial=lowest), lowest - reach), min(ends.max(), highest + reach)
    margin = 0.05 * ((high - low) or reach)
    axes.set_ylim(low - margin, high + margin)
    style.set_plain_ticks(axes.yaxis)
