"""LinearRegressor against scikit-learn's LinearRegression, on the same arrays in memory."""

import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from conftest import add_result, clock
from sklearn.linear_model import LinearRegression

from linreg_lightning import LinearRegressor

ESTIMATORS: tuple[Any, Any] = (LinearRegressor, LinearRegression)


def seconds(estimator: Any, x: np.ndarray, y: np.ndarray, fits: int = 1) -> float:
    time.sleep(0.1)  # let the idle threads of another library stop spinning
    return clock(lambda: [estimator().fit(x, y) for _ in range(fits)]) / fits


@pytest.mark.parametrize(
    ("rows", "columns", "fits", "goal"),
    [(1_000, 5, 50, "1"), (1_000_000, 10, 1, "0.125"), (400_000, 50, 1, "0.125")],
)
def test_seconds_of_a_fit(
    rows: int, columns: int, fits: int, goal: str, compare: Callable[..., float]
) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, columns))
    y = x.sum(1) + rng.normal(size=rows)
    ours, peer = (partial(seconds, kind, x, y, fits) for kind in ESTIMATORS)
    what = f"LinearRegressor().fit, {rows:,} x {columns}, against scikit-learn"
    compare(what, goal, ours, peer, times=9)


@pytest.mark.parametrize(("rows", "columns"), [(1_000_000, 10), (400_000, 50)])
def test_digits_of_columns_that_are_scaled_apart(rows: int, columns: int) -> None:
    """The rows are held without rounding, so that exact sums give the true coefficients."""
    rng = np.random.default_rng(0)
    unit = 2.0 ** np.linspace(-24, 24, columns).round()
    x = rng.integers(-1000, 1000, size=(rows, columns)) * unit
    noise = rng.integers(-1000, 1000, size=rows)
    y = (x / unit).sum(1) + noise
    warnings.simplefilter("ignore")
    exact = LinearRegressor(accuracy="exact").fit(x, y).coef_
    digits = [
        -np.log10(max(np.abs(kind().fit(x, y).coef_ / exact - 1).max(), 1e-16))
        for kind in ESTIMATORS
    ]
    what = f"correct digits, columns 2^48 apart, {rows:,} x {columns}: ours, scikit-learn's"
    add_result(what, f"{digits[0]:.1f}, {digits[1]:.1f}")
