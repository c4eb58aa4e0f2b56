"""Plots of classes and of images; the tests read from matplotlib what each figure shows."""

import itertools
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from sklearn.metrics import confusion_matrix as reference

from linreg_lightning import InputError
from linreg_lightning.plots import confusion_matrix, image_grid
from linreg_lightning.plots.style import BLUE, VERMILION

CAPTION = "Step 240. 500 of 1000 validation rows, drawn at random."


def laid_out(figure: Figure) -> Figure:
    """Lay the figure out; check that no texts but those within axes overlap or leave it."""
    figure.draw_without_rendering()
    assert figure.bbox.width == 700
    within = {text for axes in figure.axes for text in axes.texts}
    texts = [t for t in figure.findobj(Text) if t.get_text() and t not in within]
    boxes = [text.get_window_extent() for text in texts]
    boxes = [box for box in boxes if box.width > 1]  # matplotlib keeps unused labels at a corner
    for box in boxes:
        assert box.x0 >= -1
        assert box.y0 >= -1
        assert box.x1 <= figure.bbox.x1 + 1
        assert box.y1 <= figure.bbox.y1 + 1
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    return figure


def rows(classes: int, count: int, **options: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return classes of rows, and predictions of which about 85 of 100 are correct."""
    generator = torch.Generator().manual_seed(1)
    chances = options.get("chances", torch.ones(classes))
    y = torch.multinomial(chances, max(count, 1), replacement=True, generator=generator)[:count]
    other = torch.randint(classes, (count,), generator=generator)
    return y, torch.where(torch.rand(count, generator=generator) < 0.85, y, other)


def cells(axes: Axes) -> dict[tuple[int, int], list[str]]:
    """Map (observed, predicted) to the lines of text in its cell."""
    places = {text.get_position()[::-1]: text.get_text().split("\n") for text in axes.texts}
    return {(int(i), int(j)): lines for (i, j), lines in places.items() if lines != ["no rows"]}


# Confusion matrices


def test_counts_and_shares_are_those_of_scikit_learn() -> None:
    y, predicted = rows(5, 400, chances=torch.tensor([5.0, 1.0, 0.0, 3.0, 1.0]))
    axes = confusion_matrix(y, predicted, list("abcde"), CAPTION).axes[0]
    counts = reference(y, predicted, labels=range(5))
    shares = reference(y, predicted, labels=range(5), normalize="true")
    shown = cells(axes)
    assert set(shown) == {(i, j) for i in range(5) for j in range(5) if counts[i, j]}
    for (i, j), (count, share) in shown.items():
        assert int(count) == counts[i, j]
        assert float(share.strip("<>%")) == pytest.approx(100 * shares[i, j], abs=1)
    assert [text.get_position() for text in axes.texts if text.get_text() == "no rows"] == [(2, 2)]
    labels = [text.get_text() for text in axes.figure.legends[0].get_texts()]
    correct = np.trace(counts)
    assert [int(label.split()[1]) for label in labels] == [correct, 400 - correct]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "observed class")
    assert axes.figure.get_supxlabel().replace("\n", " ").startswith(CAPTION)


@pytest.mark.parametrize("classes", [4, 45])
def test_a_cell_is_darker_the_larger_its_share_of_the_observed_class(classes: int) -> None:
    y, predicted = rows(classes, 3000)
    axes = confusion_matrix(y, predicted, [str(k) for k in range(classes)]).axes[0]
    shares = reference(y, predicted, labels=range(classes), normalize="true")
    (image,) = axes.images
    for i, j in ((0, 0), (1, 3), (3, 1), (classes - 1, 0), (classes - 1, classes - 1)):
        hue = np.array(to_rgb(BLUE if i == j else VERMILION))
        expected = 1 - np.sqrt(shares[i, j]) * (1 - hue)
        np.testing.assert_allclose(np.asarray(image.get_array())[i, j], expected, atol=1e-6)
    assert bool(axes.texts) == (classes == 4)


LONG = "a kind of which the name is long, number"


@pytest.mark.parametrize(
    ("classes", "count", "name"),
    [
        (1, 20, "{}"),
        (2, 0, "{}"),
        (3, 10**6, LONG + " {}"),
        (10, 500_000, LONG + " {}"),
        (30, 10**6, LONG + " {}"),
        (60, 5000, LONG + " {}"),
        (300, 5000, "{}"),
    ],
)
def test_every_text_is_readable(classes: int, count: int, name: str) -> None:
    y, predicted = rows(classes, count)
    names = [name.format(k) for k in range(classes)]
    figure = laid_out(confusion_matrix(y, predicted, names, CAPTION))
    axes = figure.axes[0]
    width, height = (side / classes for side in axes.get_window_extent().size)
    for text in axes.texts:
        box = text.get_window_extent()
        assert box.height <= height
        assert box.width <= width or text.get_text() == "no rows"
        assert text.get_fontsize() >= 3.8
    sizes = [label.get_fontsize() for label in axes.get_xticklabels() + axes.get_yticklabels()]
    assert min(sizes) >= 5
    assert 1 <= len(axes.get_yticklabels()) <= 30


def test_counts_too_long_for_their_cells_are_shortened() -> None:
    y = torch.arange(30).repeat_interleave(torch.tensor([123_456, *[9] * 29]))
    axes = confusion_matrix(y, y, [LONG + str(k) for k in range(30)]).axes[0]
    assert cells(axes)[0, 0] == ["123k"]
    assert cells(axes)[1, 1] == ["9"]


def test_a_matrix_without_classes_is_refused() -> None:
    y = torch.tensor([0, 1])
    with pytest.raises(InputError, match="class_names: none were given; give the name of each"):
        confusion_matrix(y, y, [])


@pytest.mark.parametrize(
    ("y", "predicted", "message"),
    [
        ([0, 1, 2], [0, 1, 1], "y: class 2 was given; with 2 class_names, give 0 to 1"),
        ([0, 1, 1], [0, -1, 1], "predicted: class -1 was given"),
        ([0, 1], [0, 1, 1], r"predicted: int64 of shape \(3,\) was given; .* of shape \(2,\)"),
        ([0, 1], [0.0, 1.0], r"predicted: float32 of shape \(2,\) was given"),
        ([[0], [1]], [0, 1], r"y: int64 of shape \(2, 1\) was given"),
    ],
)
def test_numbers_that_are_no_classes_are_refused(y: Any, predicted: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        confusion_matrix(torch.tensor(y), torch.tensor(predicted), ["a", "b"])


# Images


def shown(figure: Figure) -> list[np.ndarray]:
    """Return the pixels of each image, 0 for black and 1 for white."""
    return [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images]


def marked(figure: Figure) -> list[bool]:
    edges = [axes.spines["left"].get_edgecolor()[:3] for axes in figure.axes if axes.images]
    return [edge == to_rgb(VERMILION) for edge in edges]


def test_grey_and_colour_images_are_shown_as_they_are() -> None:
    images = torch.rand(6, 3, 5, 4, dtype=torch.float64)
    images[0, 0, 0, :2] = torch.tensor([0.0, 1.0])
    titles, wrong = [f"image {k}" for k in range(6)], torch.tensor([0, 1, 0, 0, 1, 0])
    colour = image_grid(images, titles, CAPTION, wrong.bool())
    limits = re.search(r"Black is (\S+), white (\S+)\.", colour.get_supxlabel().replace("\n", " "))
    assert limits is not None
    low, high = (float(text.rstrip(".")) for text in limits.groups())
    assert (low, high) == pytest.approx((0.0, 1.0), abs=0.02)
    for k, pixels in enumerate(shown(colour)):
        for channel in range(3):
            np.testing.assert_allclose(pixels[..., channel], images[k, channel], atol=0.02)
    assert marked(colour) == wrong.bool().tolist()
    assert colour.legends[0].get_texts()[0].get_text() == "wrong, 2 of 6"
    assert [axes.get_title() for axes in colour.axes if axes.images] == titles
    grey = [image_grid(part, titles) for part in (images[:, 0], images[:, :1])]
    for one, other, expected in zip(*map(shown, grey), images[:, 0], strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_allclose(one, expected, atol=0.02)
    assert not grey[0].legends[0].get_texts()


def test_a_few_extreme_values_do_not_hide_the_rest() -> None:
    images = torch.linspace(0, 1, 400).reshape(4, 10, 10)
    images[0, 0, 0], images[1, 0, 0], images[2, 0, 0] = 1e30, torch.nan, -torch.inf
    pixels = np.array(shown(image_grid(images, ["a"] * 4)))
    assert (pixels[0, 0, 0], pixels[1, 0, 0], pixels[2, 0, 0]) == (1, 0, 0)
    np.testing.assert_allclose(pixels[3], images[3], atol=0.02)


def test_images_with_few_bright_pixels_and_constant_images_are_shown() -> None:
    stars = torch.zeros(2, 100, 100)
    stars[1, 5, 5] = 7.0
    assert [pixels.max() for pixels in shown(image_grid(stars, ["a", "b"]))] == [0, 1]
    levels = torch.tensor([0.0, 5.0, 10.0]).reshape(3, 1, 1).expand(3, 4, 4)
    assert [each.mean() for each in shown(image_grid(levels, list("abc")))] == [0, 0.5, 1]
    (only,) = shown(image_grid(torch.full((1, 4, 4), 3, dtype=torch.uint8), ["a"]))
    assert (only == 0.5).all()


@pytest.mark.parametrize("count", [0, 1, 40])
@pytest.mark.parametrize("title", ["7", "circle\nnot a triangle", "A KIND WITH A LONG NAME"])
def test_titles_of_images_do_not_overlap(count: int, title: str) -> None:
    images = torch.rand(count, 8, 8)
    wrong = torch.arange(count) % 3 == 0
    figure = laid_out(image_grid(images, [title] * count, CAPTION, wrong))
    assert len(shown(figure)) == min(count, 25)
    note = f"The first 25 of {count} images."
    assert (note in figure.get_supxlabel().replace("\n", " ")) == (count > 25)
    assert figure.legends[0].get_title().get_text() == "Images"


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda x: image_grid(x[0], ["a"] * 8), r"images: a shape of \(8, 8\) was given"),
        (lambda x: image_grid(x.reshape(2, 2, 8, 8), ["a"] * 2), r"images: a shape of \(2, 2, 8"),
        (lambda x: image_grid(x, ["a"]), "titles: 1 were given for 4 images; give one each"),
        (lambda x: image_grid(x, ["a"] * 4, wrong=x[:2, 0, 0] > 0), r"wrong: a shape of \(2,\)"),
    ],
)
def test_images_and_titles_that_do_not_match_are_refused(
    draw: Callable[[torch.Tensor], Figure], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        draw(torch.rand(4, 8, 8))
