"""The loss surface over two coefficients, and the path of gradient descent on it."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from linreg_lightning.plots import style
from linreg_lightning.plots.scale import Array, Scale, format_distinctly, times_power
from linreg_lightning.plots.style import BLACK, GREEN, VERMILION

_GRID = 160


class LossSurface(NamedTuple):
    """The mean squared error as a function of two coefficients b; all others minimise it given b.

        loss(b) = floor + (b - minimum)' curvature (b - minimum)

    This is exact. The minimum is the least-squares solution, whatever the scaling of the columns.

    `minimum` is (2,) and `curvature` (2, 2). The two coefficients are in units of 10^exponent,
    losses in units of 10^loss_exponent; exponents are 0 except for extreme magnitudes.
    """

    minimum: Array
    curvature: Array
    floor: float
    exponent: Sequence[int]
    loss_exponent: int

    @classmethod
    def of(cls, pair: Tensor, y: Tensor, others: Tensor, weight: Tensor | None) -> Self:
        """Compute the surface from the columns of the two coefficients, (rows, 2), and y, (rows,).

        `others` are the columns of all other coefficients, with the constant, (rows, any number).
        The weights are (rows,); None means 1 for every row.

        >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [2.0, 1.0]])
        >>> surface = LossSurface.of(x, x @ torch.tensor([2.0, 3.0]), x[:, :0], None)
        >>> surface.minimum.round(6), round(surface.floor, 6)
        (array([2., 3.]), 0.0)
        """
        columns = torch.column_stack([pair.double(), y.double()]).cpu().numpy()
        exponents = np.array([_exponent(column) for column in columns.T])
        weights = torch.ones(len(y)) if weight is None else weight.double().cpu()
        root = (weights / weights.mean()).sqrt().numpy()[:, None]
        scaled = times_power(columns, -exponents) * root
        sizes = _sizes(scaled[:, :2])
        rest = others.double().cpu().numpy() * root
        rest = rest / _sizes(rest)
        scaled = scaled - rest @ np.linalg.lstsq(rest, scaled, rcond=None)[0]
        x, target = scaled[:, :2], scaled[:, 2]
        # Columns of one size: `lstsq` takes a column that is much smaller than another for zero.
        minimum: Array = np.linalg.lstsq(x / sizes, target, rcond=None)[0] / sizes
        return cls(
            minimum=minimum,
            curvature=x.T @ x / len(x),
            floor=float(np.mean((target - x @ minimum) ** 2)),
            exponent=(exponents[2] - exponents[:2]).tolist(),
            loss_exponent=2 * int(exponents[2]),
        )

    def at(self, first: Array, second: Array) -> Array:
        """Return the loss at pairs of coefficients, arrays of one shape, in the surface's units."""
        a, b = first - self.minimum[0], second - self.minimum[1]
        (aa, ab), (_, bb) = self.curvature
        with np.errstate(over="ignore", invalid="ignore"):
            loss: Array = self.floor + aa * a**2 + 2 * ab * a * b + bb * b**2
        return loss


@style.styled
def descent(
    surface: LossSurface,
    path: Tensor,
    names: Sequence[str],
    true: Sequence[float | None] = (None, None),
    target: str = "y",
    caption: str = "",
) -> Figure:
    """Plot contours of the loss, at levels that grow by a constant factor, and a path on them.

    The path holds the two coefficients at each step, in the user's units, (points, 2). `names` and
    `true` are their names and true values; a truth that is unknown or far away is left out.
    `target` is the name of y, `caption` the text below the plot.
    """
    exponents = np.array(surface.exponent)
    steps = times_power(path.double().cpu().numpy(), -exponents)
    steps = steps[np.isfinite(steps).all(axis=1)]
    minimum = surface.minimum[None]
    truth = times_power(np.array([true], dtype=np.float64), -exponents)  # None becomes NaN
    truth = truth[_is_near(truth, np.concatenate([steps, minimum]))]
    points = np.concatenate([steps, minimum, truth])
    scales = [Scale.of([column]) for column in points.T]

    figure = style.new_figure(caption)
    axes = figure.add_subplot()
    axes.grid(visible=False)
    _draw_contours(axes, surface, points, scales)
    powers = -np.array([scale.exponent for scale in scales])
    (x, y), lowest, truth = (times_power(p, powers).T for p in (steps, minimum, truth))
    if len(x):
        axes.plot(x, y, color=VERMILION, linewidth=1.4, marker=".", markersize=4, label="path")
        axes.plot(x[:1], y[:1], "s", color=VERMILION, markersize=8, label="start", mec="white")
        # Small and on top: a descent that succeeds ends at the minimum and near the truth.
        axes.plot(x[-1:], y[-1:], "o", color=VERMILION, markersize=6, label="end", zorder=3)
    axes.plot(*lowest, "+", color=BLACK, markersize=14, mew=1.6, label="minimum")
    if truth.size:
        axes.plot(*truth, "D", mfc="none", mec=GREEN, mew=1.8, markersize=11, label="truth")
    labels = style.shorten_distinctly(names, 16)
    if labels[0] == style.shorten(names[0], 16):
        labels[0] = style.shorten(names[0])  # the axis of x has more room
    for i, axis in enumerate((axes.xaxis, axes.yaxis)):
        text = labels[i] if labels[i] == "intercept" else f"coefficient of {labels[i]}"
        axis.set_label_text(Scale(scales[i].exponent + surface.exponent[i]).label(text))
        style.set_plain_ticks(axis)
    style.add_legend(figure, f"Descent on the loss of {style.shorten(target, 20)}", columns=5)
    return figure


def _draw_contours(axes: Axes, surface: LossSurface, points: Array, scales: list[Scale]) -> None:
    """Draw contours around the points and add their colour bar."""
    x, y = np.meshgrid(*map(_window, points.T))
    loss = np.nan_to_num(surface.at(x, y), nan=np.finfo(np.float64).max)
    loss_scale = Scale.of([loss])
    levels = loss_scale.apply(_levels(surface.floor, loss))
    colours = colormaps["Blues"](np.linspace(0.62, 0.04, len(levels) - 1))
    x, y, loss = scales[0].apply(x), scales[1].apply(y), loss_scale.apply(loss)
    filled = axes.contourf(x, y, loss, levels=levels, colors=colours, extend="max")
    bar = axes.figure.colorbar(filled, ax=axes, extendfrac=0.04)
    bar.set_ticks(levels.tolist(), labels=format_distinctly(levels))
    exponent = loss_scale.exponent + surface.loss_exponent
    bar.set_label(Scale(exponent).label("mean squared error"))
    bar.ax.tick_params(labelsize=8, length=2)
    bar.outline.set_linewidth(0.5)


def _is_near(truth: Array, points: Array) -> Any:
    """Whether one window can show a truth and the points without shrinking these to a dot."""
    low, high = points.min(axis=0), points.max(axis=0)
    width = np.where(high > low, high - low, np.abs(low) + 1.0)
    with np.errstate(over="ignore"):
        return (np.abs(truth - (low + high) / 2) <= 5 * width).all(axis=1)


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


def _sizes(columns: Array) -> Array:
    largest = np.abs(columns).max(axis=0)
    return np.where(largest > 0, largest, 1.0)


def _exponent(column: Array) -> int:
    """Return 0, or where squares would leave float64's range the power of ten to divide by."""
    exponent = Scale.of([column]).exponent
    return exponent if abs(exponent) >= 48 else 0
