"""The loss surface over two coefficients, and the path of gradient descent on it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from linreg_lightning.plots import style
from linreg_lightning.plots.loss_surface import LossSurface
from linreg_lightning.plots.scale import Array, Scale, format_distinctly, times_power
from linreg_lightning.plots.style import BLACK, GREEN, VERMILION

_GRID = 160


@style.styled
def descent(
    surface: LossSurface,
    path: Tensor,
    names: Sequence[str],
    true: tuple[float, float] | None = None,
    target: str = "y",
    caption: str = "",
) -> Figure:
    """Plot contours of the loss, at levels that grow by a constant factor, and a path on them.

    Args:
        surface: the loss.
        path: the two coefficients at each step, in the user's units, (points, 2).
        names: the names of the two coefficients.
        true: the true values of the two; left out where they are far from all other points.
        target: the name of y.
        caption: the text below the plot.
    """
    steps = _in_surface_units(path.double().cpu().numpy(), surface)
    steps = steps[np.isfinite(steps).all(axis=1)]
    minimum = surface.minimum[None]
    points = np.concatenate([steps, minimum])
    truth = np.empty((0, 2)) if true is None else _in_surface_units(np.array([true]), surface)
    if len(truth) and not _is_near(truth[0], points):
        truth = truth[:0]
    points = np.concatenate([points, truth])
    scales = [Scale.of([points[:, i]]) for i in (0, 1)]

    figure = style.new_figure(caption)
    axes = figure.add_subplot()
    axes.grid(visible=False)
    _draw_contours(axes, surface, [_window(points[:, i]) for i in (0, 1)], scales)
    scaled = [[scales[i].apply(p[:, i]) for i in (0, 1)] for p in (steps, minimum, truth)]
    _draw_points(axes, *scaled)
    for i, (axis, length) in enumerate(((axes.xaxis, 28), (axes.yaxis, 14))):
        name = names[i]
        text = name if name == "intercept" else f"coefficient of {style.shorten(name, length)}"
        axis.set_label_text(Scale(scales[i].exponent + surface.exponent[i]).label(text))
        style.set_plain_ticks(axis)
    title = f"Descent on the loss of {style.shorten(target, 20)}"
    style.add_legend(figure, title, axes, columns=5)
    return figure


def _draw_contours(
    axes: Axes, surface: LossSurface, window: list[Array], scales: list[Scale]
) -> None:
    """Fill the window with contours and add their colour bar."""
    x, y = np.meshgrid(*window)
    loss = surface.at(x, y)
    loss[~np.isfinite(loss)] = np.finfo(np.float64).max
    loss_scale = Scale.of([loss])
    levels = loss_scale.apply(_levels(surface.floor, loss))
    colours = colormaps["Blues"](np.linspace(0.62, 0.04, len(levels) - 1))
    x, y, loss = scales[0].apply(x), scales[1].apply(y), loss_scale.apply(loss)
    filled = axes.contourf(x, y, loss, levels=levels, colors=colours, extend="max")
    bar = axes.figure.colorbar(filled, ax=axes, extendfrac=0.04)
    bar.set_ticks(levels.tolist(), labels=format_distinctly(levels))
    loss_unit = Scale(loss_scale.exponent + surface.loss_exponent)
    bar.set_label(loss_unit.label("mean squared error"))
    bar.ax.tick_params(labelsize=8, length=2)
    bar.outline.set_linewidth(0.5)


def _draw_points(axes: Axes, steps: list[Array], minimum: list[Array], truth: list[Array]) -> None:
    x, y = steps
    if len(x):
        axes.plot(x, y, color=VERMILION, linewidth=1.4, marker=".", markersize=4, label="path")
        axes.plot(x[:1], y[:1], "s", color=VERMILION, markersize=8, label="start", mec="white")
        # Small and on top: a descent that succeeds ends at the minimum and near the truth.
        axes.plot(x[-1:], y[-1:], "o", color=VERMILION, markersize=6, label="end", zorder=3)
    axes.plot(*minimum, "+", color=BLACK, markersize=14, mew=1.6, label="minimum")
    if len(truth[0]):
        axes.plot(*truth, "D", mfc="none", mec=GREEN, mew=1.8, markersize=11, label="truth")


def _in_surface_units(coefficients: Array, surface: LossSurface) -> Array:
    columns = [times_power(coefficients[:, i], -surface.exponent[i]) for i in (0, 1)]
    return np.stack(columns, axis=1)


def _is_near(point: Array, points: Array) -> bool:
    """Whether one window can show the point and the points without shrinking these to a dot."""
    low, high = points.min(axis=0), points.max(axis=0)
    width = np.where(high > low, high - low, np.abs(low) + 1.0)
    with np.errstate(over="ignore"):
        return bool((np.abs(point - (low + high) / 2) <= 5 * width).all())


def _window(values: Array) -> Array:
    """Return a grid over the values with margins."""
    low, high = float(values.min()), float(values.max())
    middle, half = (low + high) / 2, (high - low) / 2
    half = 1.4 * half or 0.5 * abs(middle) or 1.0
    return np.linspace(middle - half, middle + half, _GRID)


def _levels(floor: float, loss: Array) -> Array:
    """Return the floor and levels whose height above it grows by a constant factor."""
    rise = float(loss.max()) - floor
    if not rise > 0 or floor + rise * 1e-3 <= floor:
        rise = abs(floor) or 1.0
    if floor < 1e-9 * rise:
        floor = 0.0  # the rest is rounding
    return np.concatenate([[floor], floor + rise * np.geomspace(10.0**-3, 0.9, 9)])
