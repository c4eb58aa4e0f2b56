"""Observed against predicted classes."""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from torch import Tensor

from linreg_lightning.errors import InputError
from linreg_lightning.plots import style
from linreg_lightning.plots.scale import Array
from linreg_lightning.plots.style import BLUE, INK, VERMILION

_MAX_CLASSES_WITH_SHARES = 10
_MAX_CLASSES_WITH_COUNTS = 30
_PALE = "#EBEBEB"  # the colour of grid lines in other plots
_POINTS_WIDE = 310.0  # of the cells together with the names of the observed classes
_DIGIT_WIDTH = 0.64  # of the font size
_MIN_SIZE = 4.2  # of the font; where the counts need a smaller one, 45678 becomes 46k


@style.styled
def confusion_matrix(
    y: Tensor, predicted: Tensor, class_names: Sequence[str], caption: str = ""
) -> Figure:
    r"""Plot how many rows of each class the model predicts to be of which class.

    `y` and `predicted` are the numbers of the observed and of the predicted class, (rows,), and
    `class_names` the names of classes 0, 1 and so on. Each line of cells is an observed class. A
    cell is darker, the larger its share of that class: with share s its colour has the strength
    sqrt(s), so that rare errors show. Up to 10 classes have their counts and shares as text, up to
    30 their counts. `caption` is the text below the plot.

    Raises:
        InputError: y or predicted are not (rows,), or hold other numbers than those of the classes;
            there are no classes.

    >>> observed, predicted = torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1])
    >>> figure = confusion_matrix(observed, predicted, ["cat", "dog"])
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['1\n50%', '1\n50%', '1\n100%']
    """
    if not len(class_names):
        raise InputError("class_names: none were given; give the name of each class")
    counts = _count(y, predicted, len(class_names))
    rows_of_class = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(rows_of_class, 1)
    if len(counts) <= _MAX_CLASSES_WITH_SHARES:
        meaning = "Each cell: rows, and their share of the observed class."
    elif len(counts) <= _MAX_CLASSES_WITH_COUNTS:
        meaning = "Each cell: rows. Darker: a larger share of the observed class."
    else:
        meaning = "Darker: a larger share of the observed class."
    figure = style.new_figure(f"{caption} {meaning}".strip(), height=5.4)
    axes = figure.add_subplot()
    axes.grid(visible=False)
    strength = np.sqrt(shares)
    axes.imshow(_colours(strength, rows_of_class[:, 0] == 0), aspect="auto", interpolation="none")
    cell = _label_axes(axes, class_names)
    if len(counts) <= _MAX_CLASSES_WITH_COUNTS:
        _write_cells(axes, counts, shares, cell)
    correct, total = int(np.trace(counts)), int(counts.sum())
    for name, colour, rows in (("correct", BLUE, correct), ("wrong", VERMILION, total - correct)):
        share = f" ({_percent(rows / total)})" if total else ""
        axes.plot([], [], "s", color=colour, markersize=9, label=f"{name} {rows}{share}")
    style.add_legend(figure, "Observed and predicted classes")
    return figure


def _count(y: Tensor, predicted: Tensor, classes: int) -> Array:
    """Return the rows of each observed and predicted class, (classes, classes)."""
    for name, numbers in (("y", y), ("predicted", predicted)):
        if numbers.shape != y.shape[:1] or numbers.is_floating_point():
            shape, kind = tuple(numbers.shape), str(numbers.dtype).removeprefix("torch.")
            raise InputError(
                f"{name}: {kind} of shape {shape} was given; the number of each row's class is "
                f"needed, whole numbers of shape ({len(y)},)"
            )
        if len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) < classes:
            extreme = int(numbers.min()) if int(numbers.min()) < 0 else int(numbers.max())
            raise InputError(
                f"{name}: class {extreme} was given; with {classes} class_names, give 0 to "
                f"{classes - 1}"
            )
    cells = y.cpu().long() * classes + predicted.cpu().long()
    counts = torch.bincount(cells, minlength=classes**2).reshape(classes, classes)
    array: Array = counts.double().numpy()
    return array


def _colours(strength: Array, is_empty: Array) -> Array:
    """Return the colour of each cell, (classes, classes, 3)."""
    colours: Array = 1 - strength[..., None] * (1 - np.array(to_rgb(VERMILION)))
    diagonal = np.arange(len(strength))
    colours[diagonal, diagonal] = 1 - np.diag(strength)[:, None] * (1 - np.array(to_rgb(BLUE)))
    colours[is_empty] = to_rgb(_PALE)
    return colours


def _label_axes(axes: Axes, class_names: Sequence[str]) -> float:
    """Write the names of the classes, and return about how many points wide a cell is."""
    count = max(len(class_names), 1)
    names = style.shorten_distinctly([str(name) for name in class_names], 16)
    step = -(-count // _MAX_CLASSES_WITH_COUNTS)  # of more classes, some have no label
    longest = max(map(len, names), default=0)
    size = min(9.0, 0.9 * _POINTS_WIDE / (count / step + 0.9 * _DIGIT_WIDTH * longest))
    cell = (_POINTS_WIDE - _DIGIT_WIDTH * size * longest) / count
    fits = _DIGIT_WIDTH * size * (longest + 1) < step * cell
    places = range(0, len(names), step)
    axes.set_xticks(places, names[::step], fontsize=size, rotation=0 if fits else 90)
    axes.set_yticks(places, names[::step], fontsize=size)
    axes.set(xlabel="predicted class", ylabel="observed class")
    axes.spines[:].set(visible=True, color=_PALE)
    if step == 1:  # white lines between the cells
        axes.set_xticks(np.arange(1, count) - 0.5, minor=True)
        axes.set_yticks(np.arange(1, count) - 0.5, minor=True)
        axes.grid(which="minor", color="white", linewidth=1)
    axes.tick_params(which="both", length=0, labelcolor=INK)
    return cell


def _write_cells(axes: Axes, counts: Array, shares: Array, cell: float) -> None:
    """Write the count, and for few classes the share, into each cell that has rows."""
    with_shares = len(counts) <= _MAX_CLASSES_WITH_SHARES
    places = np.argwhere(counts > 0).tolist()
    texts = [f"{counts[i, j]:.0f}" for i, j in places]
    if _font_size(texts, cell) < _MIN_SIZE:
        texts = [_short_count(counts[i, j]) for i, j in places]
    if with_shares:
        both = zip(texts, places, strict=True)
        texts = [f"{text}\n{_percent(shares[i, j])}" for text, (i, j) in both]
    size = _font_size([line for text in texts for line in text.split("\n")], cell)
    for text, (i, j) in zip(texts, places, strict=True):
        colour = "white" if shares[i, j] > 0.4 else INK
        axes.text(j, i, text, ha="center", va="center", color=colour, fontsize=size)
    for i in np.flatnonzero(counts.sum(axis=1) == 0).tolist():
        middle = (len(counts) - 1) / 2
        axes.text(middle, i, "no rows", ha="center", va="center", fontsize=min(9.0, 0.8 * cell))


def _font_size(texts: Sequence[str], cell: float) -> float:
    """Return the size in which all texts fit into cells of this width, at most 10 points."""
    return min(10.0, 0.95 * cell / (_DIGIT_WIDTH * max(map(len, texts), default=1)))


def _percent(share: float) -> str:
    """Write a share so that only exact ones read 0% and 100%.

    >>> _percent(1.0), _percent(0.9999), _percent(0.123), _percent(0.00001)
    ('100%', '>99%', '12%', '<1%')
    """
    percent = round(100 * share)
    if percent == 0 < share:
        return "<1%"
    return ">99%" if percent == 100 and share < 1 else f"{percent}%"


def _short_count(count: float) -> str:
    """Write a count with at most three digits.

    >>> _short_count(999), _short_count(1234), _short_count(999_600), _short_count(7.89e6)
    ('999', '1k', '1M', '8M')
    """
    units = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
    unit, name = next(((unit, name) for unit, name in units if count >= 0.9995 * unit), (1.0, ""))
    return f"{count / unit:.0f}{name}"
