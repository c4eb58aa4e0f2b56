"""Plots of known data; the tests read from matplotlib what each figure shows."""

import itertools
import math
import struct
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from linreg_lightning.plots import (
    FittedLine,
    LossSurface,
    SplitPredictions,
    SplitRows,
    coefficients,
    descent,
    line,
    png,
    predicted,
    residuals,
)
from linreg_lightning.plots.style import shorten_distinctly

Y = torch.tensor([1.0, 2.0, 3.0, 5.0])
FITTED = torch.tensor([1.5, 2.0, 2.5, 5.0])
WEIRD = "prix $_{été}$ 価格 " + "x" * 60


def drawn(figure: Figure) -> Axes:
    """Render the figure, check its size and that nothing overlaps, and return its main axes."""
    content = png(figure)
    assert content.startswith(b"\x89PNG")
    width, _ = struct.unpack(">II", content[16:24])
    assert width == 700
    assert len(content) < 300_000
    axes: Axes = figure.axes[0]
    assert axes.get_xlabel()
    assert figure.legends[0].get_title().get_text()
    # No text covers data, other text, or the edge of the figure.
    box, paper = axes.get_window_extent(), figure.bbox
    assert not figure.legends[0].get_window_extent().overlaps(box)
    for text in filter(lambda label: label.get_text(), (axes.xaxis.label, axes.yaxis.label)):
        extent = text.get_window_extent()
        assert extent.x0 >= -1
        assert extent.x1 <= paper.x1 + 1
        assert not extent.overlaps(figure.legends[0].get_window_extent())
    for axis in (axis for part in figure.axes for axis in (part.xaxis, part.yaxis)):
        for one, other in itertools.combinations(tick_labels(axis), 2):
            assert not one.padded(2).overlaps(other)
    return axes


def tick_labels(axis: Axis) -> list[Bbox]:
    """Return the boxes of the visible tick labels; an axis with shared ticks has none."""
    low, high = sorted(axis.get_view_interval())
    places = zip(axis.get_majorticklocs(), axis.get_ticklabels(), strict=False)
    return [label.get_window_extent() for place, label in places if low <= place <= high]


def artists(axes: Axes) -> dict[str, Any]:
    handles, labels = axes.get_legend_handles_labels()
    return dict(zip(labels, handles, strict=True))


def offsets(axes: Axes, label: str) -> np.ndarray:
    points: np.ndarray = np.asarray(artists(axes)[label].get_offsets())
    return points


# Predictions and residuals


def test_predictions_are_plotted_over_observed_values() -> None:
    axes = drawn(predicted([SplitPredictions("training", Y, FITTED)], "price", "all 4 rows"))
    quality = 1 - 0.5 / (Y - Y.mean()).square().sum().item()
    label = f"training, R² {quality:.4g}"
    np.testing.assert_allclose(offsets(axes, label), torch.stack([Y, FITTED], 1))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("observed price", "predicted price")
    assert axes.get_xlim() == axes.get_ylim()
    (line,) = axes.lines
    np.testing.assert_array_equal(line.get_xdata(), line.get_ydata())
    assert axes.figure.get_supxlabel() == "all 4 rows"
    panel = axes.get_window_extent()
    assert panel.width == pytest.approx(panel.height)


def test_residuals_are_observed_minus_predicted() -> None:
    figure = residuals(
        [SplitPredictions("training", Y, FITTED), SplitPredictions("validation", Y, Y)], "price"
    )
    axes = drawn(figure)
    np.testing.assert_allclose(offsets(axes, "training"), torch.stack([FITTED, Y - FITTED], 1))
    np.testing.assert_array_equal(offsets(axes, "validation")[:, 1], 0)
    assert axes.get_ylabel() == "observed − predicted price"
    low, high = axes.get_ylim()
    assert low == -high


def test_residuals_share_the_scale_of_predictions_unless_they_would_be_tiny() -> None:
    for noise, unit in ((5e4, "×10⁶"), (5e-4, "×10⁻⁶")):
        observed = Y.double() * 1e6 + torch.tensor([0.0, noise, -noise, 0.0])
        axes = drawn(residuals([SplitPredictions("training", observed, Y.double() * 1e6)], "y"))
        assert axes.get_xlabel() == "predicted y (×10⁶)"
        assert axes.get_ylabel() == f"observed − predicted y ({unit})"


def test_the_caption_says_that_lines_describe_both_splits() -> None:
    both = [SplitPredictions("training", Y, FITTED), SplitPredictions("validation", Y, FITTED)]
    assert residuals(both[:1], "y", "Step 1.").get_supxlabel() == "Step 1."
    assert (
        residuals(both, "y", "Step 1.").get_supxlabel()
        == "Step 1. Black lines: both splits together."
    )


def test_curvature_shows_in_the_mean_residuals() -> None:
    fitted = torch.linspace(-1, 1, 1000, dtype=torch.float64)
    axes = drawn(residuals([SplitPredictions("training", fitted + fitted**2, fitted)], "y"))
    x, y = artists(axes)["mean residual"].get_data()
    np.testing.assert_allclose(y, np.square(x), atol=0.01)


def test_equal_predictions_have_one_mean_residual() -> None:
    fitted = torch.tensor([2.0, 1.0]).repeat(50)
    observed = fitted + torch.linspace(-1, 1, 100)
    axes = drawn(residuals([SplitPredictions("training", observed, fitted)], "y"))
    x, y = artists(axes)["mean residual"].get_data()
    np.testing.assert_allclose(x, [1, 2])
    left = observed - fitted
    np.testing.assert_allclose(y, [left[1::2].mean(), left[::2].mean()], atol=1e-6)


def test_splits_differ_in_colour_and_shape() -> None:
    for draw in (predicted, residuals):
        axes = drawn(
            draw([SplitPredictions("a", Y, FITTED), SplitPredictions("b", Y, FITTED)], "y")
        )
        first, second = axes.collections[:2]
        assert to_hex(first.get_facecolor()[0]) != to_hex(second.get_facecolor()[0])
        assert len(first.get_paths()[0].vertices) != len(second.get_paths()[0].vertices)


UNUSUAL = {
    "one row": SplitPredictions("training", Y[:1], FITTED[:1]),
    "no row": SplitPredictions("training", Y[:0], FITTED[:0]),
    "constant target": SplitPredictions("training", torch.full((9,), 7.0), torch.full((9,), 7.0)),
    "huge": SplitPredictions("training", Y.double() * 1e300, FITTED.double() * 1e300),
    "largest": SplitPredictions("training", Y.double() * 3e307, -FITTED.double() * 3e307),
    "tiny": SplitPredictions("training", Y.double() * 1e-300, FITTED.double() * 1e-300),
    "denormal": SplitPredictions("training", Y.double() * 5e-324, FITTED.double() * 5e-324),
    "not finite": SplitPredictions("training", torch.tensor([1, torch.nan, torch.inf]), Y[:3]),
    "seconds": SplitPredictions("training", Y.double() + 1.7e9, FITTED.double() + 1.7e9),
    "integers far from zero": SplitPredictions(
        "training", Y.double() + 1e15, FITTED.double() + 1e15
    ),
    "many": SplitPredictions("training", torch.randn(5000), torch.randn(5000)),
}


@pytest.mark.parametrize("draw", [predicted, residuals])
@pytest.mark.parametrize("case", UNUSUAL)
@pytest.mark.filterwarnings("error")
def test_unusual_rows_are_drawn(draw: Callable[..., Figure], case: str) -> None:
    drawn(draw([UNUSUAL[case]], WEIRD, "A caption. " * 30))


def test_ticks_are_round_numbers() -> None:
    for largest in (2.6, 14.0, 33.0, 450.0):
        values = torch.linspace(-largest / 2, largest, 9)
        axes = drawn(predicted([SplitPredictions("training", values, values)], "y"))
        for axis in (axes.xaxis, axes.yaxis):
            step = np.diff(axis.get_majorticklocs())[0]
            mantissa = step / 10 ** math.floor(math.log10(step))
            assert round(mantissa, 6) in (1, 2, 2.5, 5)


def test_the_axis_label_names_the_power_of_ten() -> None:
    for factor, label in ((1e300, "×10³⁰⁰"), (1e-300, "×10⁻³⁰⁰"), (1e6, "×10⁶")):
        points = [SplitPredictions("training", Y.double() * factor, FITTED.double() * factor)]
        axes = drawn(predicted(points, "y"))
        assert axes.get_xlabel() == f"observed y ({label})"
        (row,) = (axes.collections[0].get_offsets()[3],)
        np.testing.assert_allclose(row, [5, 5])


def test_numbers_that_only_their_last_digits_tell_apart_are_written_in_full() -> None:
    observed, fitted = Y.double() + 1e6, FITTED.double() + 1e6
    for draw in (predicted, residuals):
        axes = drawn(draw([SplitPredictions("training", observed, fitted)], "price"))
        assert axes.get_xlabel().endswith("predicted price" if draw is residuals else "price")
        labels = [label.get_text() for label in axes.get_xticklabels()]
        assert {len(label.partition(".")[0]) for label in labels} == {7}
    # Labels of y stand above each other, so that long ones may be as many as short ones.
    axes = drawn(predicted([SplitPredictions("training", observed, fitted)], "price"))
    assert len(tick_labels(axes.yaxis)) >= 4


def test_a_bad_fit_has_a_plain_r2() -> None:
    far = FITTED.double() + 2e4
    (label, _) = artists(drawn(predicted([SplitPredictions("training", Y, far)], "y")))
    assert label.startswith("training, R² −1.8")
    assert label.endswith("×10⁸")


# The line


X = torch.tensor([0.0, 1.0, 2.0, 3.0])
LOW, HIGH = FITTED - 0.25, FITTED + 0.5


def band(axes: Axes, label: str) -> np.ndarray:
    """Return the lower and upper ends of a band at each x, (x, low, high)."""
    vertices = np.concatenate([path.vertices for path in artists(axes)[label].get_paths()])
    return np.array(
        [
            [x, vertices[vertices[:, 0] == x, 1].min(), vertices[vertices[:, 0] == x, 1].max()]
            for x in np.unique(vertices[:, 0])
        ]
    )


def test_rows_line_and_bands_are_plotted_over_the_feature() -> None:
    fit = FittedLine(X, FITTED, (LOW, HIGH), (LOW - 1, HIGH + 1))
    splits = [SplitRows("training", X, Y), SplitRows("validation", X[:2] + 0.5, Y[:2])]
    axes = drawn(line(splits, fit, "sqft", "price", "All rows."))
    np.testing.assert_allclose(offsets(axes, "training"), torch.stack([X, Y], 1))
    np.testing.assert_allclose(offsets(axes, "validation"), [[0.5, 1], [1.5, 2]])
    np.testing.assert_allclose(np.stack(artists(axes)["fit"].get_data()), torch.stack([X, FITTED]))
    expected = torch.stack([X, LOW, HIGH], 1)
    np.testing.assert_allclose(band(axes, "confidence band"), expected)
    np.testing.assert_allclose(band(axes, "prediction band"), expected + torch.tensor([0, -1, 1]))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("sqft", "price")
    assert axes.figure.get_supxlabel() == "All rows."
    low, high = axes.get_ylim()
    assert low < min(LOW) - 1 < max(HIGH) + 1 < high


def test_bands_that_are_unknown_are_not_drawn() -> None:
    unknown = torch.full((4,), torch.nan), torch.full((4,), torch.nan)
    for fit in (FittedLine(X, FITTED), FittedLine(X, FITTED, unknown, unknown)):
        axes = drawn(line([SplitRows("training", X, Y)], fit, "x", "y"))
        assert set(artists(axes)) == {"training", "fit"}


def test_bands_far_wider_than_the_rows_are_cut_off_and_the_caption_says_so() -> None:
    wide = FITTED - 1000, FITTED + 1000
    figure = line(
        [SplitRows("training", X, Y)], FittedLine(X, FITTED, wide, wide), "x", "y", "All."
    )
    low, high = drawn(figure).get_ylim()
    assert -5 < low < 1
    assert 5 < high < 15
    assert figure.get_supxlabel() == "All. The bands go on beyond the plot."


UNUSUAL_LINES: dict[str, tuple[Any, Any]] = {
    "one row": (X[:1], Y[:1]),
    "no row": (X[:0], Y[:0]),
    "constant": (torch.full((9,), 2.0), torch.full((9,), 7.0)),
    "huge": (X.double() * 1e300, Y.double() * 3e307),
    "tiny": (X.double() * 1e-300, Y.double() * 5e-324),
    "not finite": (X[:3], torch.tensor([1, torch.nan, torch.inf])),
    "seconds": (X.double() + 1.7e9, Y.double() + 1e15),
    "many": (torch.randn(5000), torch.randn(5000)),
}


@pytest.mark.parametrize("case", UNUSUAL_LINES)
@pytest.mark.filterwarnings("error")
def test_lines_of_unusual_data_are_drawn(case: str) -> None:
    x, y = UNUSUAL_LINES[case]
    fit = FittedLine(x.sort().values, y.mean().expand(len(x)), (y * 0.9, y), (y * 0.8, y))
    drawn(line([SplitRows("training", x, y)], fit, WEIRD, WEIRD, "A caption. " * 30))


# Coefficients


def table(**columns: list[float]) -> list[dict[str, Any]]:
    names = [f"x{i}" for i in range(len(columns["estimate"]))]
    rows = zip(*columns.values(), strict=True)
    return [
        {"name": n, **dict(zip(columns, row, strict=True))}
        for n, row in zip(names, rows, strict=True)
    ]


def test_the_coefficient_plot_shows_intervals_and_true_values() -> None:
    rows = table(estimate=[1.0, -2.0], ci_low=[0.5, -3.0], ci_high=[1.5, -1.0], true=[1.1, -2.1])
    axes = drawn(coefficients(rows, "y"))
    assert [label.get_text() for label in axes.get_yticklabels()] == ["x0", "x1"]
    np.testing.assert_array_equal(artists(axes)["estimate"].get_xdata(), [1, -2])
    np.testing.assert_array_equal(artists(axes)["truth"].get_xdata(), [1.1, -2.1])
    bars = [
        segment[:, 0].tolist() for segment in artists(axes)["confidence interval"].get_segments()
    ]
    assert bars == [[0.5, 1.5], [-3, -1]]
    assert {"1.0000", "−2.0000"} <= {text.get_text() for text in axes.texts}


def test_an_interval_smaller_than_the_dot_shows_its_ends() -> None:
    rows = table(estimate=[1.0, 2.0], ci_low=[0.9999, 1.9], ci_high=[1.0001, 2.1])
    axes = drawn(coefficients(rows, "y"))
    ends = [line for line in axes.lines if line.get_marker() == "|"]
    np.testing.assert_allclose([line.get_xdata() for line in ends], [[0.9999, 1.9], [1.0001, 2.1]])
    assert all(line.get_markersize() > artists(axes)["estimate"].get_markersize() for line in ends)


def test_estimates_are_right_aligned_on_the_scale_of_the_axis() -> None:
    axes = drawn(coefficients(table(estimate=[5.0263e6, -25.5e6]), "y"))
    assert [text.get_text() for text in axes.texts] == ["5.0263", "−25.500"]
    assert axes.get_xlabel().endswith("(×10⁶)")
    ends = [text.get_window_extent().x1 for text in axes.texts]
    assert ends[0] == pytest.approx(ends[1])
    assert ends[0] < axes.figure.bbox.x1


def test_a_logarithmic_axis_has_powers_of_ten_and_a_plain_label() -> None:
    axes = drawn(coefficients(table(estimate=[2e8, -4e5, 3e4]), "y"))
    texts = {label.get_text() for label in axes.get_xticklabels()}
    assert texts == {"−10⁵", "0", "10⁵", "10⁸"}
    assert axes.get_xlabel() == "y per unit of the column"
    assert [text.get_text() for text in axes.texts] == ["2.0000×10⁸", "−400000", "30000"]


def test_nan_coefficients_are_not_drawn() -> None:
    rows = table(estimate=[1.0, math.nan], ci_low=[math.nan] * 2, ci_high=[math.nan] * 2)
    axes = drawn(coefficients(rows, "y"))
    assert set(artists(axes)) == {"estimate"}
    assert [text.get_text() for text in axes.texts] == ["1.0000", "left out"]


def test_only_the_forty_largest_coefficients_are_drawn() -> None:
    forty = torch.randn(40, dtype=torch.float64).tolist()
    assert len(drawn(coefficients(table(estimate=forty), "y")).get_yticklabels()) == 40
    figure = coefficients(table(estimate=[float(i) for i in range(100)]), "y")
    names = [label.get_text() for label in drawn(figure).get_yticklabels()]
    assert names == [f"x{i}" for i in range(60, 100)]
    assert figure.get_supxlabel().startswith("The 40 largest of 100 coefficients.")
    rows = table(estimate=[float(i) for i in range(100)], std_error=[1.0] * 60 + [1e9] * 40)
    names = [label.get_text() for label in drawn(coefficients(rows, "y")).get_yticklabels()]
    assert names[:40] == [f"x{i}" for i in range(20, 60)]


def test_the_intercept_has_an_axis_of_its_own() -> None:
    rows = table(estimate=[7e8, 2.0, -3.0], ci_low=[6e8, 1.0, -4.0], ci_high=[8e8, 3.0, -2.0])
    rows[0]["name"] = "intercept"
    figure = coefficients(rows, "price")
    axes, other = drawn(figure), figure.axes[1]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["x1", "x2"]
    assert axes.get_xlabel() == "price per unit of the column"
    assert [label.get_text() for label in other.get_yticklabels()] == ["intercept"]
    assert other.get_xlabel() == "price where all columns are 0 (×10⁶)"
    np.testing.assert_array_equal(artists(other)["estimate"].get_xdata(), [700])
    assert axes.get_window_extent().y1 < other.get_window_extent().y0
    assert axes.get_xscale() == "linear"
    assert max(map(abs, axes.get_xlim())) < 6
    ends = {round(text.get_window_extent().x1) for each in figure.axes for text in each.texts}
    assert len(ends) == 1
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["confidence interval", "estimate"]


def test_a_lonely_intercept_is_not_per_unit_of_a_column() -> None:
    figure = coefficients([{"name": "intercept", "estimate": 7.0}], "price")
    assert drawn(figure).get_xlabel() == "price"
    assert len(figure.axes) == 1


@pytest.mark.parametrize(
    ("estimate", "half_width", "scale"),
    [
        ([5.0, 3.0, 0.001], None, "linear"),
        ([5.0, 0.01], None, "symlog"),
        ([5.0, 0.01], [1.0, 0.1], "linear"),  # the interval of the second shows on the axis
        ([5.0, 0.01], [1.0, 0.001], "symlog"),
        ([5.0, 0.01, 0.0, 0.0], None, "symlog"),
        ([5.0, 0.01, 0.015, 4.0], None, "symlog"),
        ([5.0, 0.01, 3.0, 4.0], None, "linear"),
    ],
)
def test_the_axis_is_linear_unless_it_hides_half_of_the_coefficients(
    estimate: list[float], half_width: list[float] | None, scale: str
) -> None:
    columns = {"estimate": estimate}
    if half_width:
        pairs = list(zip(estimate, half_width, strict=True))
        columns |= {"ci_low": [e - h for e, h in pairs], "ci_high": [e + h for e, h in pairs]}
    figure = coefficients(table(**columns), "y", "Step 1.")
    assert figure.axes[0].get_xscale() == scale
    told = figure.get_supxlabel().startswith("The axis is logarithmic on both sides of zero.")
    assert told == (scale == "symlog")


SHARED = [f"median_income_in_the_district_in_{year}_by_household" for year in (2019, 2020, 2021)]


def test_shortened_names_stay_different() -> None:
    names = [*SHARED, "x", "b" * 40, "b" * 39 + "c" + "b" * 40, "b" * 80 + "c", SHARED[0]]
    for length in (10, 14, 16, 28):
        texts = shorten_distinctly(names, length)
        assert len(set(texts)) == len(set(names))
        assert max(map(len, texts)) <= length
        assert texts[0] == texts[-1]
        assert texts[3] == "x"
    assert "2019" in shorten_distinctly(names, 16)[0]


def test_rows_whose_names_share_both_ends_are_labelled_differently() -> None:
    rows = [{"name": name, "estimate": 1.0} for name in SHARED]
    labels = [label.get_text() for label in drawn(coefficients(rows, "y")).get_yticklabels()]
    assert [year in label for year, label in zip(("2019", "2020", "2021"), labels, strict=True)]
    assert len(set(labels)) == 3


@pytest.mark.parametrize(
    "estimate",
    [
        [0.0],
        [50000.0, 150.0, -500.0],
        [-60000.0, -150.0, 5000.0],
        [1e300, 2e-300, -3.0],
        [1e-300, -2e-300],
        [1e6, 1e6],
        [math.nan],
        [5e-324, 1.7e308],
    ],
)
@pytest.mark.filterwarnings("error")
def test_coefficients_of_any_magnitude_are_drawn(estimate: list[float]) -> None:
    rows = [{**row, "name": WEIRD} for row in table(estimate=estimate, true=estimate)]
    axes = drawn(coefficients(rows, WEIRD, "A caption."))
    ticks = [label.get_text() for label in axes.get_xticklabels() if label.get_text()]
    assert 2 <= len(ticks) <= 8


# The descent


def regression(rows: int = 50) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows, 3, generator=generator, dtype=torch.float64) + 3
    noise = torch.randn(rows, generator=generator, dtype=torch.float64)
    return x, 1 + x @ torch.tensor([2.0, 3.0, 4.0], dtype=torch.float64) + noise


def test_the_surface_is_the_loss_minimised_over_the_other_coefficients() -> None:
    x, y = regression()
    weight = torch.rand(50, dtype=torch.float64)
    others = torch.cat([x[:, 2:], torch.ones(50, 1)], dim=1)
    surface = LossSurface.of(x[:, :2], y, others, weight)
    root = weight.sqrt()[:, None]
    all_columns = torch.cat([x[:, :2], others], dim=1)
    best = torch.linalg.lstsq(root * all_columns, root * y[:, None]).solution.flatten()
    np.testing.assert_allclose(surface.minimum, best[:2], rtol=1e-9)
    for pair in ([0.0, 0.0], [2.5, -1.0]):
        left = y - x[:, :2] @ torch.tensor(pair, dtype=torch.float64)
        rest = torch.linalg.lstsq(root * others, root * left[:, None]).solution.flatten()
        loss = (weight * (left - others @ rest) ** 2).sum() / weight.sum()
        ours = surface.at(*(np.array(value) for value in pair))
        np.testing.assert_allclose(ours, loss, rtol=1e-9)


def test_columns_of_very_different_sizes_have_the_right_minimum() -> None:
    x, y = regression()
    sizes = torch.tensor([1e-6, 1e22], dtype=torch.float64)
    others = torch.cat([x[:, 2:], torch.ones(50, 1)], 1)
    expected = LossSurface.of(x[:, :2], y, others, None)
    surface = LossSurface.of(x[:, :2] * sizes, y, others, None)
    np.testing.assert_allclose(surface.minimum, expected.minimum / sizes.numpy(), rtol=1e-9)
    np.testing.assert_allclose(surface.floor, expected.floor)


def test_the_path_the_minimum_and_the_truth_are_drawn() -> None:
    x, y = regression()
    surface = LossSurface.of(x[:, :2], y, torch.cat([x[:, 2:], torch.ones(50, 1)], 1), None)
    path = torch.tensor([[0.0, 0.0], [1.0, 2.0], [1.9, 2.9]])
    axes = drawn(descent(surface, path, ("sqft", "beds"), (2.0, 3.0), "price", "The path."))
    np.testing.assert_allclose(np.stack(artists(axes)["path"].get_data(), 1), path)
    minimum = np.stack(artists(axes)["minimum"].get_data(), 1)
    np.testing.assert_allclose(minimum[0], surface.minimum)
    np.testing.assert_allclose(np.stack(artists(axes)["truth"].get_data(), 1), [[2, 3]])
    assert axes.get_xlabel() == "coefficient of sqft"
    assert axes.figure.axes[1].get_ylabel() == "mean squared error"


def test_the_end_of_the_path_is_drawn_over_the_minimum_and_the_truth() -> None:
    x, y = regression()
    surface = LossSurface.of(x[:, :2], y, torch.ones(50, 1), None)
    path = torch.tensor(np.stack([[0.0, 0.0], surface.minimum]))
    axes = drawn(descent(surface, path, ("intercept", "x"), tuple(surface.minimum)))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("intercept", "coefficient of x")
    marks = artists(axes)
    for below in (marks["minimum"], marks["truth"]):
        assert marks["end"].get_zorder() > below.get_zorder()
        assert marks["end"].get_markersize() < below.get_markersize()


@pytest.mark.parametrize(("floor", "start"), [(0.3, 40.0), (1000.0, 0.1)])
def test_labels_of_contour_levels_are_plain_and_distinct(floor: float, start: float) -> None:
    surface = LossSurface(np.zeros(2), np.eye(2), floor, (0, 0), 0)
    figure = descent(surface, torch.tensor([[start, start], [0.0, 0.0]]), ("a", "b"))
    drawn(figure)
    texts = [label.get_text() for label in figure.axes[1].get_yticklabels()]
    assert len(set(texts)) == len(texts) > 5
    assert not any("e" in text or "×" in text for text in texts)


@pytest.mark.parametrize("across", [1e300, 1e-300, 1.0])
@pytest.mark.parametrize("up", [1e150, 1e-150, 1.0])
@pytest.mark.filterwarnings("error")
def test_surfaces_of_any_magnitude_are_drawn(across: float, up: float) -> None:
    x, y = regression()
    surface = LossSurface.of(x[:, :2] * across, y * up, torch.ones(50, 1), None)
    path = torch.tensor([[0.0, 0.0], [2.0, 3.0]], dtype=torch.float64) / across * up
    truth = (2.0 / across * up, 3.0 / across * up)
    axes = drawn(descent(surface, path, (WEIRD, "b"), truth, WEIRD, "c " * 99))
    representable = math.isfinite(truth[0])
    assert len(artists(axes)["path"].get_xdata()) == (2 if representable else 1)
    assert ("truth" in artists(axes)) == representable


@pytest.mark.filterwarnings("error")
def test_a_far_path_is_drawn_and_a_far_truth_is_left_out() -> None:
    x, y = regression()
    surface = LossSurface.of(x[:, :2], y, torch.ones(50, 1), None)
    path = torch.tensor([[1e200, 0.0], [2.0, 3.0]], dtype=torch.float64)
    drawn(descent(surface, path, ("a", "b")))
    axes = drawn(descent(surface, path[1:], ("a", "b"), (2.0, 3e6)))
    assert "truth" not in artists(axes)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (torch.ones(1, 2), torch.ones(1)),
        (torch.randn(20, 2), torch.full((20,), 7.0)),
        (torch.ones(20, 2), torch.randn(20)),
        (torch.randn(20, 1).expand(20, 2), torch.randn(20)),
    ],
    ids=["one row", "constant target", "constant columns", "collinear columns"],
)
@pytest.mark.filterwarnings("error")
def test_surfaces_without_a_unique_minimum_are_drawn(x: torch.Tensor, y: torch.Tensor) -> None:
    surface = LossSurface.of(x, y, torch.ones(len(x), 1), None)
    path = torch.tensor([[0.0, 0.0], [math.nan, 1.0], [1.0, 1.0]])
    drawn(descent(surface, path, ("a", "b")))
    drawn(descent(surface, path[:1], ("a", "b")))


def test_axes_of_two_names_that_share_both_ends_are_named_differently() -> None:
    surface = LossSurface(np.zeros(2), np.eye(2), 0.3, (0, 0), 0)
    path = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    axes = drawn(descent(surface, path, SHARED[:2], (None, None), "y"))
    assert "2019" in axes.get_xlabel()
    assert "2020" in axes.get_ylabel()
    assert axes.get_ylabel().startswith("coefficient of med")


# Global state


def test_plots_do_not_change_the_settings_of_matplotlib() -> None:
    before, backend = dict(mpl.rcParams), mpl.get_backend()
    mpl.rcParams["axes.labelsize"] = 3
    with mpl.rc_context({"axes.labelsize": 3}):
        axes = drawn(predicted([SplitPredictions("training", Y, FITTED)], "y"))
        assert axes.xaxis.label.get_fontsize() == 10
    mpl.rcParams["axes.labelsize"] = before["axes.labelsize"]
    assert dict(mpl.rcParams) == before
    assert mpl.get_backend() == backend
