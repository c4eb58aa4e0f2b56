"""The loss surface over two coefficients, and the path of a descent over it."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from torch import Tensor

from linreg_lightning.plots.loss_surface import LossSurface
from linreg_lightning.plots.scale import Array, Scale, power, times_power, written
from linreg_lightning.plots.style import (
    BLACK,
    GREEN,
    VERMILION,
    Look,
    few_ticks,
    head,
    new_figure,
    short,
    styled,
)

_LEVELS = 9
_GRID = 160


@styled
def descent(
    surface: LossSurface,
    path: Tensor,
    names: tuple[str, str],
    true: tuple[float, float] | None = None,
    target: str = "y",
    caption: str = "",
) -> Figure:
    """Contours of the loss, each a given factor above its lowest point, and a path down to it.

    Args:
        surface: the loss.
        path: the two coefficients from step to step, in the user's units, (points, 2).
        names: of the two coefficients.
        true: the two where the truth is known; not drawn where it is far away from all else.
        target: the name of y.
        caption: what to say below.
    """
    steps = _in_units(path.double().cpu().numpy(), surface)
    steps = steps[np.isfinite(steps).all(axis=1)]
    lowest = surface.minimum[None]
    points = np.concatenate([steps, lowest])
    truth = np.empty((0, 2)) if true is None else _in_units(np.array([true]), surface)
    truth = truth[_near(truth, points)]
    points = np.concatenate([points, truth])
    scales = [Scale.of([points[:, i]]) for i in (0, 1)]
    across, up = np.meshgrid(*(_range(points[:, i]) for i in (0, 1)))
    loss = surface.at(across, up)
    loss[~np.isfinite(loss)] = np.finfo(np.float64).max

    figure = new_figure(caption)
    axes = figure.add_subplot()
    axes.grid(visible=False)
    height = Scale.of([loss])
    levels = height.apply(_levels(surface.floor, loss))
    colours = colormaps["Blues"](np.linspace(0.62, 0.04, len(levels) - 1))
    filled = axes.contourf(
        *(scale.apply(values) for scale, values in zip(scales, (across, up), strict=True)),
        height.apply(loss),
        levels=levels,
        colors=colours,
        extend="max",
    )
    bar = figure.colorbar(filled, ax=axes, extendfrac=0.04)
    bar.set_ticks(levels.tolist(), labels=_told_apart(levels))
    exponent = height.exponent + surface.loss_exponent
    bar.set_label("mean squared error" + (f" (×{power(exponent)})" if exponent else ""))
    bar.ax.tick_params(labelsize=8, length=2)
    bar.outline.set_linewidth(0.5)

    def shown(values: Array) -> tuple[Array, Array]:
        return scales[0].apply(values[:, 0]), scales[1].apply(values[:, 1])

    if len(steps):
        x, y = shown(steps)
        axes.plot(x, y, color=VERMILION, linewidth=1.4, marker=".", markersize=4, label="path")
        axes.plot(x[:1], y[:1], "s", color=VERMILION, markersize=8, label="start", mec="white")
        # On top, and small: where a descent succeeds, the lowest point and the truth lie below.
        axes.plot(x[-1:], y[-1:], "o", color=VERMILION, markersize=6, label="end", zorder=3)
    axes.plot(*shown(lowest), "+", color=BLACK, markersize=14, mew=1.6, label="lowest")
    if len(truth):
        look: Look = {
            "mfc": "none",
            "mec": GREEN,
            "mew": 1.8,
            "markersize": 11,
            "linestyle": "none",
        }
        axes.plot(*shown(truth), marker="D", label="truth", **look)
    for axis, scale, name, own, most in zip(
        (axes.xaxis, axes.yaxis), scales, names, surface.exponent, (28, 14), strict=True
    ):
        text = name if name == "intercept" else f"coefficient of {short(name, most)}"
        axis.set_label_text(Scale(scale.exponent + own).label(text))
        few_ticks(axis)
    head(figure, f"Descent over the loss of {short(target, 20)}", axes, columns=5)
    return figure


def _in_units(coefficients: Array, surface: LossSurface) -> Array:
    columns = [
        times_power(coefficients[:, i], -exponent) for i, exponent in enumerate(surface.exponent)
    ]
    return np.stack(columns, axis=1)


def _near(truth: Array, points: Array) -> Any:
    """Which of the truths a window around the points can show without making them a dot."""
    low, high = points.min(axis=0), points.max(axis=0)
    reach = np.where(high > low, high - low, np.abs(low) + 1.0)
    with np.errstate(over="ignore"):
        return (np.abs(truth - (low + high) / 2) <= 5 * reach).all(axis=1)


def _range(values: Array) -> Array:
    low, high = float(values.min()), float(values.max())
    middle, reach = (low + high) / 2, (high - low) / 2
    reach = 1.4 * reach or 0.5 * abs(middle) or 1.0
    return np.linspace(middle - reach, middle + reach, _GRID)


def _told_apart(levels: Array) -> list[str]:
    """Numbers of three digits, or of as many as it takes for no two to be the same."""
    texts = ([written(level, digits) for level in levels] for digits in range(3, 18))
    return next(text for text in texts if len({*text}) == len(levels))


def _levels(floor: float, loss: Array) -> Array:
    """Levels that grow by one factor from step to step above the floor."""
    rise = float(loss.max()) - floor
    if not rise > 0 or floor + rise * 1e-3 <= floor:
        rise = abs(floor) or 1.0
    if floor < 1e-9 * rise:
        floor = 0.0  # but for rounding
    return np.concatenate([[floor], floor + rise * np.geomspace(10.0**-3, 0.9, _LEVELS)])
