"""Names of single rows beside their points."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox
from torch import Tensor

from linreg_lightning.plots import style
from linreg_lightning.plots.scale import Array
from linreg_lightning.plots.style import INK, VERMILION

_SIZE = 8.0  # of the text, in points
_CHARACTER_WIDTH = 0.64 * _SIZE
_GAP = 5.0  # between a point and its text, in points
_MAX_CHARACTERS = 18
# Where a text stands: to the right (1) or left (-1) of the point, above (1) or below (-1) it.
_SIDES = ((1, 1), (-1, 1), (1, -1), (-1, -1), (1, 0), (-1, 0), (0, 1), (0, -1))

Labels = Mapping[int, str]
"""Texts by the place of a row in the arrays of a plot, the most important row first."""


def mark_rows(axes: Axes, x: Array, y: Array, labels: Labels, name: str) -> None:
    """Draw the rows of `labels` as triangles, which the legend calls `name`."""
    places = [place for place in labels if np.isfinite(x[place] + y[place])]
    if places:
        look: dict[str, Any] = {"color": VERMILION, "marker": "^", "linewidths": 0, "zorder": 3}
        axes.scatter(x[places], y[places], s=26, label=name, **look)


def write_labels(axes: Axes, x: Array, y: Array, labels: Labels) -> None:
    """Write the texts beside their points; a text without room is left out.

    A text covers no other one, and no point of a row with a text. The limits of the axes, the
    legend and the caption must be final: they decide on the room.
    """
    places = [place for place in labels if np.isfinite(x[place] + y[place])]
    figure = axes.figure
    if not places or not isinstance(figure, Figure):
        return
    figure.draw_without_rendering()  # gives the axes their place
    pixels = figure.dpi / 72
    inside = axes.get_window_extent()
    points = [axes.transData.transform((x[place], y[place])) for place in places]
    taken = [Bbox.from_bounds(point[0], point[1], 0, 0).padded(3 * pixels) for point in points]
    for place, point in zip(places, points, strict=True):
        text = style.shorten(labels[place], _MAX_CHARACTERS)
        size = pixels * np.array([_CHARACTER_WIDTH * len(text), _SIZE])
        for side in _SIDES:
            corner = point + pixels * _GAP * np.array(side) + size * (np.array(side) - 1) / 2
            box = Bbox.from_bounds(*corner, *size)
            fits = inside.contains(box.x0, box.y0) and inside.contains(box.x1, box.y1)
            if fits and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                _write(axes, (x[place], y[place]), side, text)
                break


def _write(axes: Axes, point: tuple[float, float], side: tuple[int, int], text: str) -> None:
    horizontal, vertical = ("right", "center", "left"), ("top", "center", "bottom")
    axes.annotate(
        text,
        point,
        (_GAP * side[0], _GAP * side[1]),
        textcoords="offset points",
        ha=horizontal[side[0] + 1],
        va=vertical[side[1] + 1],
        size=_SIZE,
        color=INK,
        zorder=5,
        path_effects=[withStroke(linewidth=2, foreground="white")],
    ).set_in_layout(False)


def finite_columns(labels: Labels, *tensors: Tensor) -> tuple[list[Array], dict[int, str]]:
    """Return columns in float64 without the rows where one is not finite, and labels of the rest.

    >>> from torch import nan, tensor
    >>> finite_columns({1: "row 2", 2: "row 3"}, tensor([1.0, nan, 3.0]))
    ([array([1., 3.])], {1: 'row 3'})
    """
    columns = np.stack([t.detach().cpu().double().flatten().numpy() for t in tensors])
    finite = np.isfinite(columns).all(axis=0)
    place = np.cumsum(finite) - 1
    kept = {int(place[row]): text for row, text in labels.items() if finite[row]}
    return [*columns[:, finite]], kept
