"""Quantiles of residuals against those of Student's t, with a band."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from linreg_lightning.plots import row_labels, style
from linreg_lightning.plots.row_labels import Labels
from linreg_lightning.plots.scale import Array, Scale
from linreg_lightning.plots.style import BLACK, BLUE, GREY

CONFIDENCE = 0.95
# How often a row alone leaves the band, by the number of rows, so that all rows of 95% of samples
# lie inside: from simulated samples of up to 10 000 rows.
_LEVELS = {
    **{2: 0.0272, 3: 0.0188, 5: 0.0121, 10: 0.00745, 20: 0.00474, 50: 0.00287, 100: 0.00220},
    **{300: 0.00152, 1000: 0.00103, 10_000: 0.00070, 100_000: 0.00048},
}
_PLACES_IN_HALF = 60  # of the edges of the band, which are straight between them


@style.styled
def qq(
    residuals: Tensor, df: float, target: str, caption: str = "", labels: Labels | None = None
) -> Figure:
    """Plot sorted studentised residuals over the quantiles of Student's t with a band.

    Each residual is divided by its standard error, computed without its own row: where the errors
    are normal, it has Student's t distribution with n - k - 1 degrees of freedom, and the points
    lie about the line of equal values. The band is simultaneous: of 100 samples of independent
    residuals from this distribution, about 95 lie inside it with all their points. Every point
    alone leaves it equally often. Residuals of one fit depend on each other, so that the band is
    not exact where k is near n.

    Args:
        residuals: externally studentised residuals, (rows,); those not finite are left out.
        df: n - k - 1, the degrees of freedom of each.
        target: the name of y.
        caption: the text below the plot.
        labels: texts of rows by their place in `residuals`, the most important first.
    """
    (values,), labels = row_labels.finite_columns(labels or {}, residuals)
    order = np.argsort(values, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(order.size)
    quantile = quantiles_of_t((np.arange(values.size) + 0.5) / max(values.size, 1), df)
    y_scale = Scale.of([values])
    x, y = quantile[rank], y_scale.apply(values)

    figure = style.new_figure(caption, height=4.6)
    axes = figure.add_subplot()
    axes.scatter(x, y, color=BLUE, marker="o", label="rows", **style.point_style(values.size))
    row_labels.mark_rows(axes, x, y, labels, "influential")
    if values.size > 2:
        places, low, high = simultaneous_band(values.size)
        low, high = (y_scale.apply(quantiles_of_t(edge, df)) for edge in (low, high))
        look: dict[str, Any] = {"color": GREY, "alpha": 0.25, "linewidth": 0, "zorder": 1.2}
        name = f"{100 * CONFIDENCE:g}% simultaneous band"
        axes.fill_between(quantile[places], low, high, label=name, **look)
        _limit_band(axes, np.concatenate([x, y]), low[0], high[-1])
    ends = np.array(axes.get_xlim())
    axes.plot(ends, y_scale.apply(ends), color=BLACK, linewidth=1, label="equal")
    axes.set_xlim(*ends)
    axes.set_xlabel(f"quantile of Student's t ({df:.0f} df)")
    axes.set_ylabel(y_scale.label("studentised residual"))
    style.set_plain_ticks(axes.xaxis)
    style.set_plain_ticks(axes.yaxis)
    style.add_legend(figure, f"Q-Q plot of residuals of {style.shorten(target, 20)}", columns=4)
    row_labels.write_labels(axes, x, y, labels)
    return figure


def _limit_band(axes: Axes, points: Array, lowest: float, highest: float) -> None:
    """Cut a band off that reaches far beyond the points and the line of equal values."""
    reach = 0.25 * float(np.ptp(points)) or 1.0
    low, high = points.min(), points.max()
    low, high = min(low, max(lowest, low - reach)), max(high, min(highest, high + reach))
    margin = 0.04 * (high - low) or 1.0
    axes.set_ylim(low - margin, high + margin)


def simultaneous_band(rows: int) -> tuple[NDArray[np.int64], Array, Array]:
    """Return places of sorted rows, from 0, and the probabilities between which all shall lie.

    Sorted uniform numbers lie between the edges at all of their places with probability
    `CONFIDENCE`, and leave them equally often at each (Aldor-Noiman et al., The American
    Statistician 67, 2013). The number at place i has a beta distribution, whose quantiles the edges
    are. Of many rows only some places are returned, most of them near the ends.
    """
    half = np.geomspace(1, (rows + 1) / 2, _PLACES_IN_HALF).round().astype(np.int64) - 1
    few = rows <= 2 * _PLACES_IN_HALF
    places = np.arange(rows) if few else np.unique(np.concatenate([half, rows - 1 - half]))
    known = np.log([*_LEVELS]), np.log([*_LEVELS.values()])
    level = float(np.exp(np.interp(np.log(rows), *known)))
    a, b = places[:, None] + 1.0, rows - places[:, None] + 0.0
    # The density of log(u / (1 - u)), summed between points.
    steps = np.linspace(-12, 12, 801)
    logit = np.log(a / b) + np.sqrt(1 / a + 1 / b) * steps
    log_density = a * logit - (a + b) * np.logaddexp(0, logit)
    density = np.exp(log_density - log_density.max(axis=1, keepdims=True))
    sums = np.cumsum((density[:, 1:] + density[:, :-1]) / 2, axis=1)
    shares = np.pad(sums / sums[:, -1:], ((0, 0), (1, 0)))
    ends = [
        np.array([np.interp(p, share, at) for share, at in zip(shares, logit, strict=True)])
        for p in (level / 2, 1 - level / 2)
    ]
    low, high = (1 / (1 + np.exp(-end)) for end in ends)
    return places, low, high


def quantiles_of_t(probability: Array, df: float) -> Array:
    """Return quantiles of Student's t for a plot, right to about four digits.

    The density is summed by trapezoids between points that lie the farther apart, the farther from
    zero they are.

    >>> quantiles_of_t(np.array([0.5, 0.975]), 10.0).round(4)
    array([0.    , 2.2281])
    """
    x = np.sinh(np.linspace(0.0, 40.0, 20_001))
    density = np.exp(-(df + 1) / 2 * np.log1p(x**2 / df))
    parts = np.diff(x) * (density[1:] + density[:-1]) / 2
    tail = np.append(parts[::-1].cumsum()[::-1], 0.0)  # of the areas right of x
    tail /= 2 * tail[0]
    with np.errstate(divide="ignore"):
        log_tail = np.log(np.maximum(tail, 1e-300))
    size = np.interp(-np.log(np.minimum(probability, 1 - probability)), -log_tail, np.arcsinh(x))
    return np.sinh(size) * np.sign(probability - 0.5)
