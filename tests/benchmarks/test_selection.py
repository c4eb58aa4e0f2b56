"""Choosing a penalty by cross-validation, against a plain fit and searches of other packages."""

import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from conftest import add_result, clock, median_ratio
from sklearn.linear_model import LassoCV, Ridge
from sklearn.model_selection import GridSearchCV, KFold

from linreg_lightning import least_squares, select_penalty

FOLDS, ALPHAS, SMALLEST = 10, 100, 1e-4  # the smallest alpha, as a share of the largest
Problem = tuple[np.ndarray, np.ndarray]


def problem(rows: int, columns: int, dtype: str = "float64") -> Problem:
    """Return rows of which a fifth of the columns has an effect."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, columns), dtype=dtype)
    effect = np.where(np.arange(columns) < columns // 5, rng.standard_normal(columns), 0.0)
    y = x @ effect.astype(dtype) + 3 * rng.standard_normal(rows, dtype=dtype)
    return x, y


def lasso(x: np.ndarray, y: np.ndarray) -> Any:
    # Without `standardize`, as the peers.
    tensors = torch.from_numpy(x), torch.from_numpy(y)
    return select_penalty(*tensors, accuracy="float64", standardize=False)


def plain(x: np.ndarray, y: np.ndarray) -> Any:
    return least_squares(torch.from_numpy(x), torch.from_numpy(y), accuracy="float64")


def lasso_cv(x: np.ndarray, y: np.ndarray) -> Any:
    return LassoCV(alphas=ALPHAS, eps=SMALLEST, cv=FOLDS, n_jobs=2).fit(x, y)


def ridge_search(x: np.ndarray, y: np.ndarray) -> Any:
    grid = {"alpha": np.logspace(-3, 5, 20)}
    return GridSearchCV(Ridge(), grid, cv=FOLDS, scoring="neg_mean_squared_error").fit(x, y)


def celer(x: np.ndarray, y: np.ndarray) -> Any:
    """Fit the folds one by one: `LassoCV` of celer 0.7.4 fails with scikit-learn 1.9."""
    peer = pytest.importorskip("celer")
    centred = x - x.mean(0)
    largest = np.abs(centred.T @ (y - y.mean())).max() / len(x)
    grid = largest * np.logspace(0, np.log10(SMALLEST), ALPHAS)
    errors = []
    for training, test in KFold(FOLDS).split(x):
        mean, level = x[training].mean(0), y[training].mean()
        columns = np.asfortranarray(x[training] - mean)
        path = peer.celer_path(columns, y[training] - level, pb="lasso", alphas=grid)[1]
        residual = (y[test] - level)[:, None] - (x[test] - mean) @ path
        errors.append((residual**2).mean(0))
    return errors


def skglm(x: np.ndarray, y: np.ndarray) -> Any:
    peer = pytest.importorskip("skglm")
    parts = peer.datafits.Quadratic(), peer.penalties.L1(1.0), peer.solvers.AndersonCD()
    search = peer.GeneralizedLinearEstimatorCV(*parts, n_alphas=ALPHAS, eps=SMALLEST, cv=FOLDS)
    return search.fit(x, y)


def glum(x: np.ndarray, y: np.ndarray) -> Any:
    peer = pytest.importorskip("glum")
    options = {"n_alphas": ALPHAS, "min_alpha_ratio": SMALLEST, "cv": FOLDS}
    return peer.GeneralizedLinearRegressorCV(l1_ratio=1, **options).fit(x, y)


def seconds(work: Callable[[np.ndarray, np.ndarray], Any], rows: Problem) -> float:
    time.sleep(0.1)  # let the idle threads of another library stop spinning
    return clock(lambda: work(*rows))


@pytest.fixture(autouse=True)
def _quiet() -> None:
    warnings.simplefilter("ignore")


def test_seconds_beyond_a_plain_fit() -> None:
    rows = problem(1_000_000, 50)
    timed = partial(seconds, lasso, rows), partial(seconds, plain, rows)
    ratio, ours, fit = median_ratio(*timed, times=9)
    what = "lasso, 10 folds x 100 alphas, 1M x 50, against a plain fit in float64"
    figures = f"{ours:.3g} s against {fit:.3g} s: {ratio:.2f}, {ours - 1.5 * fit:.2f} s above 1.5"
    add_result(what, figures, "1.5, and 0.3 s")


@pytest.mark.parametrize(
    ("peer", "goal"),
    [(lasso_cv, "0.2"), (ridge_search, "0.05"), (celer, "1"), (skglm, "1"), (glum, "1")],
)
def test_seconds_of_a_search_in_many_rows(
    peer: Callable[..., Any], goal: str, compare: Callable[..., float]
) -> None:
    rows = problem(1_000_000 if goal != "1" else 20_000, 50)  # glum takes minutes for 100,000
    what = f"lasso, 10 folds x 100 alphas, {len(rows[0]):,} x 50, against {peer.__name__}"
    compare(what, goal, partial(seconds, lasso, rows), partial(seconds, peer, rows), times=3)


@pytest.mark.parametrize("peer", [lasso_cv, celer, skglm, glum])
def test_seconds_of_a_search_in_many_columns(
    peer: Callable[..., Any], compare: Callable[..., float]
) -> None:
    rows = problem(20_000, 2000)
    what = f"lasso, 10 folds x 100 alphas, 20,000 x 2,000, against {peer.__name__}"
    compare(what, "1", partial(seconds, lasso, rows), partial(seconds, peer, rows), times=1)
