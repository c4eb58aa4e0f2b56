"""A sample of images with a title each."""

import math
import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from linreg_lightning.errors import InputError
from linreg_lightning.plots import style
from linreg_lightning.plots.scale import Array
from linreg_lightning.plots.style import GREY, INK, VERMILION

_MAX_IMAGES = 25
_MAX_COLUMNS = 5
_MIN_COLUMNS = 3  # a single image need not fill the picture
_CLIPPED = 0.005  # the share of the darkest, and of the brightest, values that do not set the range


@style.styled
def image_grid(
    images: Tensor, titles: Sequence[str], caption: str = "", wrong: Tensor | None = None
) -> Figure:
    """Plot the first 25 images in a grid, each below its title.

    Grey images are (rows, height, width) or (rows, 1, height, width), colour images (rows, 3,
    height, width), red first. All have one range of values, black to white, which leaves out the
    0.5% smallest and largest values of all, so that a few extreme values do not hide the rest;
    NaN is black. `titles` has a text for each image. `wrong` says which images to mark, (rows,).
    `caption` is the text below the plot.

    Raises:
        InputError: the images have another shape; other than one title, or mark, for each image.
    """
    given = len(images)
    _check(images, titles, wrong)
    marks = np.zeros(given, bool) if wrong is None else wrong.detach().cpu().bool().numpy()
    pixels = images[:_MAX_IMAGES].detach().cpu().double().numpy()
    pixels = pixels[:, 0] if pixels.ndim == 4 and pixels.shape[1] == 1 else pixels
    pixels = np.moveaxis(pixels, 1, -1) if pixels.ndim == 4 else pixels
    marks, count = marks[: len(pixels)], len(pixels)
    low, high = _range(pixels)
    if count < given:
        caption = f"{caption} The first {count} of {given} images."
    limits = f"Black is {low:.3g}, white {high:.3g}.".replace("-", "−")
    caption = f"{caption} {limits}"
    columns = min(max(math.ceil(math.sqrt(count)), _MIN_COLUMNS), _MAX_COLUMNS)
    lines = max(math.ceil(count / columns), 1)
    texts = [_wrap(str(title), round(60 / columns)) for title in titles[:count]]
    title_lines = max((text.count("\n") + 1 for text in texts), default=1)
    height = 0.9 + lines * (4.7 / columns + 0.14 * title_lines)
    figure = style.new_figure(caption.strip(), height)
    grid = figure.subplots(lines, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    with np.errstate(over="ignore", invalid="ignore"):
        shown = np.nan_to_num(np.clip((pixels - low) / (high - low), 0, 1))
    for axes, image, text, mark in zip(grid.flat, shown, texts, marks, strict=False):
        axes.imshow(image, cmap="gray", vmin=0, vmax=1)
        _frame(axes, text, bool(mark))
    if wrong is not None:
        label = f"wrong, {int(marks.sum())} of {count}"
        box = {"marker": "s", "mfc": "none", "mec": VERMILION, "mew": 2, "markersize": 9}
        grid[0, 0].plot([], [], linestyle="none", label=label, **box)
    style.add_legend(figure, "Images")
    return figure


def _check(images: Tensor, titles: Sequence[str], wrong: Tensor | None) -> None:
    shape = tuple(images.shape)
    is_colour = images.ndim == 4 and shape[1] in (1, 3)
    if not (images.ndim == 3 or is_colour):
        raise InputError(
            f"images: a shape of {shape} was given; (rows, height, width), (rows, 1, height, "
            "width) or (rows, 3, height, width) is needed"
        )
    if len(titles) != shape[0]:
        raise InputError(f"titles: {len(titles)} were given for {shape[0]} images; give one each")
    if wrong is not None and tuple(wrong.shape) != shape[:1]:
        raise InputError(
            f"wrong: a shape of {tuple(wrong.shape)} was given for {shape[0]} images; "
            f"({shape[0]},) is needed"
        )


def _range(pixels: Array) -> tuple[float, float]:
    """Return the values that are drawn black and white."""
    finite = pixels[np.isfinite(pixels)]
    if not finite.size:
        return 0.0, 1.0
    low, high = np.quantile(finite, [_CLIPPED, 1 - _CLIPPED])
    if low == high:  # nearly all are equal
        low, high = finite.min(), finite.max()
    return (float(low), float(high)) if low < high else (float(low) - 0.5, float(low) + 0.5)


def _wrap(title: str, width: int) -> str:
    """Break each line of a title into at most two."""
    parts = [textwrap.wrap(line, width, max_lines=2, placeholder="…") for line in title.split("\n")]
    return "\n".join(line for part in parts for line in part)


def _frame(axes: Axes, title: str, is_wrong: bool) -> None:
    """Write the title and draw a frame, thick and in another colour around a wrong image."""
    axes.set_axis_on()
    axes.grid(visible=False)
    axes.set(xticks=[], yticks=[])
    colour, width = (VERMILION, 2.5) if is_wrong else (GREY, 0.6)
    axes.spines[:].set(visible=True, color=colour, linewidth=width)
    axes.set_title(title, fontsize=8, color=VERMILION if is_wrong else INK, pad=4)
