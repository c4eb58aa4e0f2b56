"""Plots of residuals, leverages and single rows; the tests read what each figure shows."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from linreg_lightning.plots import leverage, partial_regression, qq, scale_location
from linreg_lightning.plots.qq import quantiles_of_t, simultaneous_band
from tests.test_plots import WEIRD, artists, drawn, offsets


def values(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def labels_of(axes: Axes) -> dict[str, tuple[float, float]]:
    return {text.get_text(): text.xy for text in axes.texts}


# Q-Q


@pytest.mark.parametrize("df", [1.0, 3.0, 40.0, 2e6])
def test_quantiles_are_those_of_students_t(df: float) -> None:
    probability = np.array([1e-9, 1e-4, 0.03, 0.5, 0.51, 0.8, 0.999])
    np.testing.assert_allclose(
        quantiles_of_t(probability, df), stats.t.ppf(probability, df), rtol=5e-5, atol=1e-9
    )


@pytest.mark.parametrize("rows", [5, 40, 2000])
def test_the_band_holds_all_rows_of_95_of_100_samples(rows: int) -> None:
    places, low, high = simultaneous_band(rows)
    every = np.arange(rows)
    draws = np.sort(np.random.default_rng(1).random((2000, rows)), axis=1)
    inside = (draws >= np.interp(every, places, low)) & (draws <= np.interp(every, places, high))
    assert inside.all(axis=1).mean() == pytest.approx(0.95, abs=0.015)
    # Each place alone is left equally often.
    distribution = stats.beta(places + 1, rows - places)
    outside = distribution.cdf(low), distribution.sf(high)
    np.testing.assert_allclose(outside, outside[0][0], rtol=0.02)


def test_sorted_residuals_are_plotted_over_quantiles() -> None:
    residuals = values(0.5, -1.5, 1.2, torch.nan)
    axes = drawn(qq(residuals, 7.0, "price", "all rows", {2: "row 3", 3: "row 4"}))
    expected = stats.t.ppf([0.5, 1 / 6, 5 / 6], 7)
    np.testing.assert_allclose(
        offsets(axes, "rows"), np.stack([expected, residuals[:3].numpy()], 1), atol=1e-5
    )
    assert labels_of(axes)["row 3"] == pytest.approx((expected[2], 1.2), abs=1e-5)
    assert "row 4" not in labels_of(axes)
    line = artists(axes)["equal"]
    np.testing.assert_array_equal(line.get_xdata(), line.get_ydata())
    assert axes.get_xlabel() == "quantile of Student's t (7 df)"


def test_heavy_tails_leave_the_band_and_normal_ones_do_not() -> None:
    generator = np.random.default_rng(4)
    places, low, high = simultaneous_band(400)
    low, high = quantiles_of_t(low, 390), quantiles_of_t(high, 390)
    for draw, leaves in (("normal", False), ("standard_cauchy", True)):
        sorted_values = np.sort(getattr(generator, draw)(size=400))[places]
        assert ((sorted_values < low) | (sorted_values > high)).any() == leaves


# Scale-location


def test_roots_of_residuals_are_plotted_over_predictions() -> None:
    axes = drawn(scale_location(values(1, 2, 3), values(4, -9, 0), "price", labels={1: "key"}))
    np.testing.assert_allclose(offsets(axes, "rows"), [[1, 2], [2, 3], [3, 0]])
    assert labels_of(axes) == {"key": (2, 3)}
    level = artists(axes)["mean if normal"].get_ydata()[0]
    assert level == pytest.approx(stats.norm.expect(lambda z: abs(z) ** 0.5), abs=1e-6)


def test_a_spread_that_grows_shows_in_the_means() -> None:
    fitted = torch.linspace(1, 10, 500, dtype=torch.float64)
    signs = torch.where(torch.arange(500) % 2 == 0, 1.0, -1.0)
    axes = drawn(scale_location(fitted, fitted * signs, "y"))
    means = artists(axes)["mean"].get_ydata()
    assert len(means) == 10
    assert (np.diff(means) > 0).all()


# Residuals against leverage


def test_contours_join_rows_of_the_same_cooks_distance() -> None:
    terms = 3
    h, r = values(0.1, 0.5, 0.8), values(-1.0, 2.0, 2.5)
    axes = drawn(leverage(h, r, terms, "y", labels={2: "3"}))
    np.testing.assert_allclose(offsets(axes, "rows"), torch.stack([h, r], 1))
    for distance in (0.5, 1.0):
        x, y = (np.asarray(v) for v in artists(axes)[f"Cook's D {distance:g}"].get_data())
        np.testing.assert_allclose(y**2 * x / (terms * (1 - x)), distance)
        low, high = axes.get_ylim()
        assert low == -high
    assert labels_of(axes) == {"3": (0.8, 2.5)}


def test_contours_beyond_the_plot_are_named_in_the_caption() -> None:
    h, r = torch.full((50,), 0.01), torch.linspace(-2, 2, 50)
    figure = leverage(h, r, 2, "y", "All 50 rows.")
    assert "Cook's D 0.5" not in artists(drawn(figure))
    assert figure.get_supxlabel() == "All 50 rows. Beyond the plot: Cook's distances of 0.5 and 1."


# Partial regression


def test_the_line_of_a_partial_regression_has_the_slope_of_the_coefficient() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(60, 3)) @ np.array([[1, 0.5, 0], [0, 1, 0.3], [0, 0, 1]])
    y = x @ [1.0, -2.0, 3.0] + generator.normal(size=60)
    others = np.column_stack([np.ones(60), x[:, [0, 2]]])
    across, up = (v - others @ np.linalg.lstsq(others, v)[0] for v in (x[:, 1], y))
    slope = float(np.linalg.lstsq(np.column_stack([np.ones(60), x]), y)[0][2])
    axes = drawn(partial_regression(torch.tensor(across), torch.tensor(up), slope, "age", "price"))
    ends, heights = artists(axes)[f"slope {slope:.4g}".replace("-", "−")].get_data()
    # Its least squares line through the origin is the same.
    assert heights[1] / ends[1] == pytest.approx(across @ up / (across @ across))
    assert axes.get_xlabel() == "age given the others"


# All plots


def unusual() -> dict[str, dict[str, Any]]:
    torch.manual_seed(0)
    rows = torch.randn(5000, dtype=torch.float64)
    h = torch.rand(5000, dtype=torch.float64)
    key = {k: f"customer {k} of a long list" for k in range(10)}
    return {
        "no row": {"x": rows[:0], "h": h[:0], "r": rows[:0]},
        "one row": {"x": rows[:1], "h": h[:1], "r": rows[:1], "labels": {0: "1"}},
        "all the same": {"x": rows[:9] * 0 + 7, "h": h[:9] * 0 + 1, "r": rows[:9] * 0},
        "not finite": {"x": rows[:9], "h": h[:9], "r": rows[:9] / 0, "labels": {0: "1"}},
        "many": {"x": rows, "h": h / 1000, "r": rows, "labels": key},
        "huge": {"x": rows[:9] * 1e300, "h": h[:9], "r": rows[:9] * 1e300, "labels": key},
        "tiny": {"x": rows[:99] * 1e-300, "h": h[:99] * 1e-300, "r": rows[:99] * 1e-300},
    }


DRAW: dict[str, Callable[..., Figure]] = {
    "qq": lambda x, h, r, target, *rest: qq(r, 3.0, target, *rest),
    "scale": lambda x, h, r, target, *rest: scale_location(x, r, target, *rest),
    "leverage": lambda x, h, r, target, *rest: leverage(h, r, 4, target, *rest),
    "partial": lambda x, h, r, target, *rest: partial_regression(x, r, -3.0, WEIRD, target, *rest),
}


@pytest.mark.parametrize("plot", DRAW)
@pytest.mark.parametrize("case", unusual())
@pytest.mark.filterwarnings("error")
def test_unusual_rows_are_drawn(plot: str, case: str) -> None:
    rows = unusual()[case]
    keys = {k: v for k, v in rows.get("labels", {}).items() if k < len(rows["r"])}
    axes = drawn(DRAW[plot](rows["x"], rows["h"], rows["r"], WEIRD, "A caption. " * 20, keys))
    boxes = [text.get_window_extent() for text in axes.texts]
    assert not any(one.overlaps(other) for k, one in enumerate(boxes) for other in boxes[:k])


def test_a_label_without_room_is_left_out() -> None:
    x = values(*[1.0] * 30)
    axes = drawn(leverage(x / 2, x, 2, "y", labels={k: f"customer {k}" for k in range(30)}))
    assert 1 <= len(axes.texts) < 30
    assert axes.texts[0].get_text() == "customer 0"
