"""LinearRegressor against scikit-learn's conventions and numbers, and statsmodels'."""

from __future__ import annotations

import pickle
import subprocess
import sys
import warnings
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import statsmodels.api as sm
import torch
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import linreg_lightning
from linreg_lightning import InputError, LinearRegressor

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture
def rows() -> Arrays:
    """Return X of 60 x 3, y of 60 x 2 and weights; some are 0."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3)) * [1, 100, 0.01] + [5, -700, 0]
    y = x @ rng.normal(size=(3, 2)) + 3 + rng.normal(size=(60, 2))
    return x, y, np.maximum(0, rng.uniform(-0.2, 2, size=60))


@parametrize_with_checks(
    [
        LinearRegressor(),
        LinearRegressor(accuracy="exact"),
        LinearRegressor(fit_intercept=False, ridge=1.0),
    ]
)
def test_every_check_of_scikit_learn_passes(estimator: Any, check: Any) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(Left out|Only|The residuals)")
        check(estimator)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("ridge", [0.0, 2.0])
@pytest.mark.parametrize("accuracy", ["auto", "exact", "float64"])
def test_numbers_and_shapes_are_scikit_learns(
    rows: Arrays, accuracy: str, ridge: float, fit_intercept: bool, weighted: bool
) -> None:
    x, y, w = rows
    weight = w if weighted else None
    reference: Any = LinearRegression(fit_intercept=fit_intercept)
    if ridge:
        reference = Ridge(alpha=ridge, fit_intercept=fit_intercept)
    model = LinearRegressor(fit_intercept=fit_intercept, ridge=ridge, accuracy=accuracy)
    for target in (y, y[:, :1], y[:, 0]):
        reference.fit(x, target, weight)
        model.fit(x, target, weight)
        # For y of (rows, 1), coef_ of Ridge is (features,), and that of LinearRegression not.
        coefficients = reference.coef_.reshape(*target.shape[1:], 3)
        np.testing.assert_allclose(model.coef_, coefficients, rtol=1e-10, strict=True)
        np.testing.assert_allclose(model.intercept_, reference.intercept_, rtol=1e-10)
        expected = reference.predict(x).reshape(target.shape)
        np.testing.assert_allclose(model.predict(x), expected, rtol=1e-10, strict=True)
        expected = reference.score(x, target, weight)
        assert model.score(x, target, weight) == pytest.approx(expected, rel=1e-10)
        assert model.n_features_in_ == 3
        assert model.rank_ == 3


def test_the_fit_has_the_standard_errors_of_statsmodels(rows: Arrays) -> None:
    x, y, _ = rows
    w = np.linspace(0.5, 2, len(x))
    model = LinearRegressor(confidence=0.9).fit(x, y[:, 0], w)
    reference = sm.WLS(y[:, 0], sm.add_constant(x), weights=w).fit()
    np.testing.assert_allclose(model.fit_.standard_error, reference.bse, rtol=1e-9)
    np.testing.assert_allclose(model.fit_.low, reference.conf_int(0.1)[:, 0], rtol=1e-9)


def test_columns_of_different_scales_keep_their_digits() -> None:
    rng = np.random.default_rng(0)
    unit = 10.0 ** np.array([-9, 0, 9])
    x = rng.integers(-1000, 1000, size=(50, 3)) * unit
    y = rng.integers(-1000, 1000, size=50) * 1.0
    model, peer = LinearRegressor().fit(x, y), LinearRegression(tol=1e-16).fit(x, y)
    exact = _least_squares_in_fractions(x, y)
    errors = [np.abs(m.coef_ / exact - 1).max() for m in (model, peer)]
    assert errors[0] < 1e-13
    assert errors[0] <= errors[1]


def _least_squares_in_fractions(x: np.ndarray, y: np.ndarray) -> list[float]:
    """Return the slopes of a fit with intercept, by Gaussian elimination without rounding."""
    z = [[Fraction(1), *map(Fraction, row), Fraction(v)] for row, v in zip(x, y, strict=True)]
    k = len(z[0]) - 1
    a = [[sum((row[i] * row[j] for row in z), Fraction(0)) for j in range(k + 1)] for i in range(k)]
    for i in range(k):
        a[i] = [v / a[i][i] for v in a[i]]
        for j in set(range(k)) - {i}:
            a[j] = [u - a[j][i] * v for u, v in zip(a[j], a[i], strict=True)]
    return [float(row[-1]) for row in a[1:]]


@pytest.mark.parametrize("weighted", [False, True])
def test_rows_added_in_parts_give_the_same_bits_as_one_fit(rows: Arrays, weighted: bool) -> None:
    x, y, w = rows
    whole = LinearRegressor(accuracy="exact").fit(x, y, w if weighted else None)
    for first in ("fit", "partial_fit"):
        model = LinearRegressor(accuracy="exact")
        for start in range(0, 60, 20):
            part = slice(start, start + 20)
            add = getattr(model, first) if start == 0 else model.partial_fit
            add(x[part], y[part], w[part] if weighted else None)
            model = pickle.loads(pickle.dumps(model))
        assert (model.coef_ == whole.coef_).all()
        assert (model.intercept_ == whole.intercept_).all()
        assert (model.predict(x) == whole.predict(x)).all()
        assert model.fit_.statistics == whole.fit_.statistics


def test_partial_fit_adds_exactly_unless_fit_used_float64(rows: Arrays) -> None:
    x, y = rows[0], rows[1][:, 0]
    whole = LinearRegressor(accuracy="exact").fit(x, y)
    parts = LinearRegressor().partial_fit(x[:30], y[:30]).partial_fit(x[30:], y[30:])
    assert (parts.coef_ == whole.coef_).all()
    rounded = LinearRegressor().fit(x[:30], y[:30]).partial_fit(x[30:], y[30:])
    assert rounded.fit_.accuracy == "float64"
    np.testing.assert_allclose(rounded.coef_, whole.coef_, rtol=1e-12)
    with pytest.raises(InputError, match="accuracy: exact was given, but earlier rows"):
        rounded.set_params(accuracy="exact").partial_fit(x, y)


def test_a_refused_part_changes_nothing(rows: Arrays) -> None:
    x, y = rows[0], rows[1][:, 0]
    model, once = LinearRegressor().partial_fit(x, y), LinearRegressor().partial_fit(x, y)
    with pytest.raises(ValueError, match="Input X contains NaN"):
        model.partial_fit(np.full((5, 3), np.nan), y[:5])
    with pytest.raises(InputError, match="2 targets"):
        model.partial_fit(x, rows[1])
    model.partial_fit(x, y)
    assert (model.coef_ == once.partial_fit(x, y).coef_).all()


def test_float64_gives_way_to_exact_where_digits_are_missing() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    near = np.column_stack((x, x.sum(1) + 1e-7 * rng.normal(size=200)))
    y = rng.normal(size=200)
    assert LinearRegressor().fit(x, y).fit_.accuracy == "float64"
    model = LinearRegressor().fit(near, y)
    assert model.fit_.accuracy == "exact"
    assert model.fit_.precise


def test_a_collinear_column_is_left_out_and_named(rows: Arrays) -> None:
    frame = pd.DataFrame(rows[0], columns=["area", "age", "rooms"])
    frame["total"], y = frame["area"] + 2 * frame["age"], rows[1][:, 0]
    frame = frame.round(3)
    frame["total"] = frame["area"] * 2
    with pytest.warns(UserWarning, match="Left out, as linear combinations .*: total"):
        model = LinearRegressor().fit(frame, y)
    assert model.coef_[3] == 0.0
    assert model.rank_ == 3
    peer = LinearRegression().fit(frame, y)
    np.testing.assert_allclose(model.predict(frame), peer.predict(frame), rtol=1e-10)


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame])
def test_columns_of_a_frame_must_keep_names_and_order(rows: Arrays, library: Any) -> None:
    names = ["sqft", "age", "rooms"]
    frame = library(dict(zip(names, rows[0].T, strict=True)))
    model = LinearRegressor().fit(frame, rows[1][:, 0])
    assert list(model.feature_names_in_) == names
    with pytest.raises(ValueError, match="must be in the same order"):
        model.predict(frame[["age", "sqft", "rooms"]])
    with pytest.raises(ValueError, match=r"missing:\n- sqft"):
        model.predict(frame[["age", "rooms"]])


@pytest.mark.filterwarnings("ignore:X (has|does not have)")  # frames after arrays
def test_whole_numbers_that_float64_would_round_are_refused() -> None:
    large, small = [2**53 + a for a in (1, 2, 3, 4)], [1.0, 2.0, 4.0, 8.0]
    tables: list[Any] = [
        pd.DataFrame({"a": large, "b": small}),
        pd.DataFrame({"a": pd.array(large, dtype="Int64"), "b": small}),
        pl.DataFrame({"a": large, "b": small}),
        np.array(large)[:, None],
        np.array(large, dtype=np.uint64)[:, None],
        np.array(large, dtype=object)[:, None],
        [[2**53 + 1, 2**70], [0, 1], [1, 0], [1, 1]],
    ]
    for table in tables:
        with pytest.raises(InputError, match=r"9007199254740993 .*; (leave|subtract)"):
            LinearRegressor().fit(table, small)
        model = LinearRegressor().fit(np.eye(4)[:, : np.shape(table)[1]], small)
        with pytest.raises(InputError, match="9007199254740993"):
            model.predict(table)
    for column in (large, pd.Series(large), pd.Series(large, dtype="Int64"), pl.Series(large)):
        with pytest.raises(InputError, match=r"^(y|column 'y'): 9007199254740993"):
            LinearRegressor().fit(np.array(small)[:, None], column)
        with pytest.raises(
            InputError, match=r"^(sample_weight|column 'sample_weight'): 9007199254740993"
        ):
            LinearRegressor().fit(np.array(small)[:, None], small, column)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ridge": -1.0}, "ridge: -1.0 was given"),
        ({"accuracy": "high"}, "accuracy: 'high' was given; type auto, exact or float64"),
        ({"confidence": 1.0}, "confidence: 1.0 was given"),
        ({"fit_intercept": "no"}, "fit_intercept: 'no' was given; type True or False"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: Any, message: str, rows: Arrays) -> None:
    with pytest.raises(InputError, match=message):
        LinearRegressor(**arguments).fit(rows[0], rows[1])
    with pytest.raises(InputError, match=message):
        LinearRegressor(**arguments).partial_fit(rows[0], rows[1])


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.ones((60, 1)), r"sample_weight: a shape of \(60, 1\) was given; \(60,\) is needed"),
        (np.ones(59), r"sample_weight: a shape of \(59,\) was given"),
        (np.zeros(60), "sample_weight: all weights are zero"),
        (-np.ones(60), "weight: -1 was given in row 1"),
        (0, "sample_weight: all weights are zero"),
        (np.full(60, np.nan), "Input sample_weight contains NaN"),
    ],
)
def test_wrong_weights_are_refused(rows: Arrays, weight: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LinearRegressor().fit(rows[0], rows[1], weight)


def test_a_missing_value_in_a_row_of_weight_0_is_refused_as_by_scikit_learn(rows: Arrays) -> None:
    x, y, w = rows[0].copy(), rows[1], np.ones(60)
    x[3, 1], w[3] = np.nan, 0.0
    for model in (LinearRegressor(), LinearRegression()):
        with pytest.raises(ValueError, match="Input X contains NaN"):
            model.fit(x, y, w)


def test_tensors_give_the_same_fit_as_arrays(rows: Arrays) -> None:
    x, y = torch.tensor(rows[0], dtype=torch.float32), torch.tensor(rows[1])
    model = LinearRegressor(accuracy="exact").fit(x, y)
    expected = LinearRegressor(accuracy="exact").fit(x.double(), y)
    assert (model.coef_ == expected.coef_).all()
    assert model.predict(x).dtype == np.float64


def test_the_estimator_works_in_pipelines_and_searches() -> None:
    rng = np.random.default_rng(0)
    city = rng.choice(["Bonn", "Kiel", "Ulm"], size=200)
    area, rooms = rng.uniform(40, 200, size=200), rng.integers(1, 6, size=200).astype(float)
    price = 3 * area + 10 * rooms + 50 * (city == "Kiel") + rng.normal(size=200)
    rooms[::17] = np.nan
    frame = pd.DataFrame({"area": area, "city": city, "rooms": rooms})

    def pipeline(regressor: Any) -> Any:
        columns = make_column_transformer(
            (OneHotEncoder(drop="first", sparse_output=False), ["city"]),
            (make_pipeline(SimpleImputer(), StandardScaler()), ["area", "rooms"]),
            verbose_feature_names_out=False,
        )
        return make_pipeline(columns, regressor).set_output(transform="pandas")

    ours, peer = pipeline(LinearRegressor()), pipeline(LinearRegression())
    scores = [cross_val_score(clone(model), frame, price, cv=2) for model in (ours, peer)]
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-10)
    ours.fit(frame, price)
    assert list(ours[-1].feature_names_in_) == ["city_Kiel", "city_Ulm", "area", "rooms"]
    grid = {"linearregressor__ridge": [0.0, 1e3], "linearregressor__fit_intercept": [True, False]}
    search = GridSearchCV(ours, grid, cv=2).fit(frame, price)
    assert search.best_params_ == {
        "linearregressor__ridge": 0.0,
        "linearregressor__fit_intercept": True,
    }
    loaded = pickle.loads(pickle.dumps(search))
    assert (loaded.predict(frame) == search.predict(frame)).all()


def test_sparse_columns_are_refused_and_a_threshold_of_0_makes_none() -> None:
    frame = pd.DataFrame({"city": ["Bonn", "Kiel", "Ulm", "Köln", "Jena"] * 2, "area": range(10)})
    price = np.arange(10.0) ** 2
    encoder = OneHotEncoder(drop="first"), ["city"]
    with pytest.raises(TypeError, match="Sparse data was passed for X, but dense data is required"):
        make_pipeline(make_column_transformer(encoder), LinearRegressor()).fit(frame, price)
    dense = make_column_transformer(encoder, remainder="passthrough", sparse_threshold=0)
    scores = [
        make_pipeline(dense, model()).fit(frame, price).score(frame, price)
        for model in (LinearRegressor, LinearRegression)
    ]
    assert scores[0] == pytest.approx(scores[1], rel=1e-12)


def test_a_clone_has_the_arguments_and_no_fit(rows: Arrays) -> None:
    model = LinearRegressor(ridge=3.0, confidence=0.9).fit(rows[0], rows[1])
    copied = clone(model)
    assert copied.get_params() == model.get_params()
    with pytest.raises(NotFittedError):
        copied.predict(rows[0])


def test_without_scikit_learn_a_star_import_leaves_the_estimator_out() -> None:
    code = (
        "import sys; sys.modules['sklearn'] = None; import linreg_lightning as package; "
        "assert 'LinearRegression' in package.__all__; "
        "assert not {'LinearRegressor', 'RegularizedRegressor'} & {*package.__all__}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert "LinearRegressor" in linreg_lightning.__all__


def test_without_scikit_learn_the_import_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in ("estimator", "estimator_base"):
        monkeypatch.delitem(sys.modules, f"linreg_lightning.{module}")
    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    with pytest.raises(ImportError, match=r"pip install 'linreg_lightning\[sklearn\]'$"):
        _ = linreg_lightning.LinearRegressor
