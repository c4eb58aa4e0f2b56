"""RegularizedRegressor against scikit-learn's conventions, and the numbers of its own searches."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.linear_model import ElasticNetCV, Lasso, LassoCV, Ridge
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    ShuffleSplit,
    TimeSeriesSplit,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from linreg_lightning import InputError, RegularizedRegressor

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]
ALPHAS = [2.0, 0.5, 0.1, 0.02]
pytestmark = pytest.mark.filterwarnings("ignore:The choice .* (small|larg)est alpha")


@pytest.fixture
def rows() -> Arrays:
    """Return X of 60 x 4, y of 60 x 2 and weights."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 4)) + np.array([5, -700, 0, 1])
    y = x @ [[1.0, 0.0], [-2.0, 0.5], [0.0, 0.0], [0.3, 1.0]] + 3 + rng.normal(size=(60, 2))
    return x, y, rng.uniform(0.2, 2, size=60)


@parametrize_with_checks([RegularizedRegressor(alphas=3, cv=3)])
def test_every_check_of_scikit_learn_passes(estimator: Any, check: Any) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(Left out|Only|The choice)")
        check(estimator)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_the_lasso_has_the_numbers_of_lasso_cv(
    rows: Arrays, fit_intercept: bool, weighted: bool
) -> None:
    x, y, weight = rows[0], rows[1][:, 0], rows[2] if weighted else None
    options = {"alphas": 20, "cv": KFold(4), "fit_intercept": fit_intercept}
    model = RegularizedRegressor(standardize=False, **options).fit(x, y, weight)
    options["alphas"] = model.alphas_
    peer = LassoCV(tol=1e-13, max_iter=100_000, **options).fit(x, y, weight)
    assert model.alpha_ == peer.alpha_
    for name in ("alphas_", "mse_path_", "coef_"):
        np.testing.assert_allclose(
            getattr(model, name), getattr(peer, name), rtol=1e-8, atol=1e-8, strict=True
        )
    assert ((model.coef_ == 0) == (peer.coef_ == 0)).all()
    assert model.intercept_ == pytest.approx(peer.intercept_, rel=1e-8)
    np.testing.assert_allclose(model.predict(x), peer.predict(x), rtol=1e-8, strict=True)
    assert model.score(x, y, weight) == pytest.approx(peer.score(x, y, weight), rel=1e-8)
    path = Lasso(alpha=model.alphas_[9], fit_intercept=fit_intercept, tol=1e-13, max_iter=100_000)
    expected = path.fit(x, y, weight).coef_
    np.testing.assert_allclose(model.coef_path_[:, 9], expected, rtol=1e-8, atol=1e-8)


def test_several_l1_ratios_have_the_shapes_and_choice_of_elastic_net_cv(rows: Arrays) -> None:
    x, y = rows[0], rows[1][:, 1]
    options = {"l1_ratio": [0.2, 0.9], "alphas": ALPHAS, "cv": KFold(3)}
    model = RegularizedRegressor("elasticnet", standardize=False, **options).fit(x, y)
    peer = ElasticNetCV(tol=1e-13, max_iter=100_000, **options).fit(x, y)
    assert (model.alpha_, model.l1_ratio_) == (peer.alpha_, peer.l1_ratio_)
    np.testing.assert_allclose(model.mse_path_, peer.mse_path_, rtol=1e-8, strict=True)
    np.testing.assert_allclose(model.coef_, peer.coef_, rtol=1e-8)
    assert model.alphas_.shape == (2, 4)
    assert model.coef_path_.shape == (4, 4)


@pytest.mark.parametrize("penalty", ["lasso", "ridge"])
def test_standardized_columns_have_the_errors_of_a_grid_search(rows: Arrays, penalty: str) -> None:
    x, y = rows[0] * [1, 100, 0.01, 1], rows[1][:, 0]
    model = RegularizedRegressor(penalty, alphas=ALPHAS, cv=KFold(4)).fit(x, y)
    peer, unit = (Ridge(), 45) if penalty == "ridge" else (Lasso(tol=1e-13), 1)
    grid = {f"{penalty}__alpha": [alpha * unit for alpha in ALPHAS]}
    search = GridSearchCV(
        make_pipeline(StandardScaler(), peer), grid, cv=KFold(4), scoring="neg_mean_squared_error"
    ).fit(x, y)
    errors = [-search.cv_results_[f"split{k}_test_score"] for k in range(4)]
    np.testing.assert_allclose(model.mse_path_, np.transpose(errors), rtol=1e-8)
    assert model.alpha_ * unit == search.best_params_[f"{penalty}__alpha"]


def test_each_target_has_a_penalty_and_a_path_of_its_own(rows: Arrays) -> None:
    x, y, weight = rows
    both = RegularizedRegressor(alphas=5).fit(x, y, weight)
    assert both.coef_path_.shape == (2, 4, 5)
    for target in range(2):
        alone = RegularizedRegressor(alphas=5).fit(x, y[:, target], weight)
        for name in ("alpha_", "l1_ratio_", "coef_", "intercept_", "alphas_", "mse_path_"):
            np.testing.assert_allclose(
                getattr(both, name)[target], getattr(alone, name), rtol=1e-10, atol=1e-12
            )
        np.testing.assert_allclose(
            both.coef_path_[target], alone.coef_path_, rtol=1e-10, atol=1e-12
        )
        np.testing.assert_allclose(both.predict(x)[:, target], alone.predict(x), rtol=1e-10)


def test_folds_may_be_a_splitter_its_splits_or_numbers(rows: Arrays) -> None:
    x, y = rows[0], rows[1][:, 0]
    splitter = KFold(5, shuffle=True, random_state=1)
    fold = np.empty(60, int)
    for number, (_, test) in enumerate(splitter.split(x)):
        fold[test] = number
    kinds = [splitter, list(splitter.split(x)), fold, fold.tolist(), torch.from_numpy(fold)]
    paths = [RegularizedRegressor(alphas=ALPHAS, cv=cv).fit(x, y).mse_path_ for cv in kinds]
    for path in paths[1:]:
        np.testing.assert_array_equal(path, paths[0])
    seeds = [RegularizedRegressor(alphas=ALPHAS, fold_seed=s).fit(x, y).mse_path_ for s in (0, 1)]
    assert not np.allclose(*seeds)


@pytest.mark.parametrize("cv", [3, GroupKFold(3)])
def test_whole_groups_are_in_one_fold(rows: Arrays, cv: Any) -> None:
    x, y = rows[0], rows[1][:, 0]
    groups = np.repeat([f"city {k}" for k in range(20)], 3)
    model = RegularizedRegressor(alphas=ALPHAS, cv=cv).fit(x, y, groups=groups)
    folds = model.selection_.fold_rows
    assert sum(folds) == 60
    assert all(count % 3 == 0 for count in folds)
    order = np.random.default_rng(1).permutation(60)
    shuffled = RegularizedRegressor(alphas=ALPHAS, cv=cv, accuracy="exact")
    shuffled.fit(x[order], y[order], groups=groups[order])
    np.testing.assert_allclose(shuffled.mse_path_, model.mse_path_, rtol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"penalty": "l1"}, "penalty: l1 was given; type ridge, lasso or elasticnet"),
        ({"l1_ratio": 0.5}, "l1_ratio: 0.5 was given with penalty lasso"),
        ({"alphas": [0.1, 1.0]}, "alphas: .* was given; type numbers above 0 in decreasing"),
        ({"choice": "best"}, "choice: best was given; type min,"),
        ({"accuracy": "high"}, "accuracy: 'high' was given; type auto, exact or float64"),
        ({"fit_intercept": "no"}, "fit_intercept: 'no' was given; type True or False"),
        ({"standardize": "no"}, "standardize: 'no' was given; type True or False"),
        ({"unpenalized": ["age"]}, "unpenalized: 'age' is no column of x"),
        ({"unpenalized": [4]}, r"unpenalized: \[4\] was given"),
        ({"cv": 1}, "cv: 1 was given; type a number of folds from 2 to 255, or a splitter"),
        ({"cv": 300}, "cv: 300 was given; type a number"),
        ({"cv": 61}, "cv: 61 was given for n_samples = 60; type at most"),
        ({"cv": None}, "cv: None was given; type a number of folds"),
        ({"cv": True}, "cv: True was given; type a number of folds"),
        ({"cv": "five"}, "cv: five was given; type a number of folds"),
        ({"cv": [0, 1, 0]}, r"cv: a shape of \(3,\) was given; \(60,\) is needed"),
        ({"cv": [0] * 60}, r"cv: 1 fold\(s\) was given; type a number of folds"),
        ({"cv": ShuffleSplit(3)}, r"cv: ShuffleSplit\(.*\) was given; type a number of folds"),
        ({"cv": TimeSeriesSplit(3)}, "cv: TimeSeriesSplit"),
        ({"cv": [(range(30), range(30, 60))]}, "cv: a list of splits was given"),
        ({"cv": [(range(30), range(30, 60)), (range(40, 60), range(30))]}, "cv: a list of splits"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: Any, message: str, rows: Arrays) -> None:
    with pytest.raises(InputError, match=f"^{message}"):
        RegularizedRegressor(**arguments).fit(rows[0], rows[1])


def test_wrong_groups_are_refused(rows: Arrays) -> None:
    x, y, groups = rows[0], rows[1], np.repeat(range(4), 15)
    with pytest.raises(InputError, match="cv: 10 was given for 4 groups; type at most 4"):
        RegularizedRegressor().fit(x, y, groups=groups)
    with pytest.raises(InputError, match="groups: they were given beside cv"):
        RegularizedRegressor(cv=groups).fit(x, y, groups=groups)
    with pytest.raises(InputError, match=r"groups: a shape of \(59,\) was given"):
        RegularizedRegressor(cv=3).fit(x, y, groups=groups[1:])
    weight = np.where(groups == 2, 0.0, 1.0)
    with pytest.raises(InputError, match=r"none of the rows .* is in fold 3 of 4"):
        RegularizedRegressor(cv=groups).fit(x, y, weight)


def test_missing_values_are_refused_in_the_words_of_scikit_learn(rows: Arrays) -> None:
    x = rows[0].copy()
    x[3, 1] = np.nan
    for weight in (None, rows[2]):
        with pytest.raises(ValueError, match="Input X contains NaN"):
            RegularizedRegressor().fit(x, rows[1], weight)


def test_names_of_a_frame_are_those_of_warnings_and_unpenalized_columns(rows: Arrays) -> None:
    frame = pd.DataFrame(rows[0], columns=["age", "area", "rooms", "floor"])
    y = pd.Series(rows[1][:, 0], name="price")
    model = RegularizedRegressor(alphas=[50.0], unpenalized=["area"]).fit(frame, y)
    assert (model.coef_ != 0).tolist() == [False, True, False, False]
    assert model.selection_.feature_names == list(frame.columns)
    with pytest.raises(ValueError, match="must be in the same order"):
        model.predict(frame[["area", "age", "rooms", "floor"]])
    with pytest.raises(InputError, match="its index has the labels of X in another order"):
        model.fit(frame, y[::-1])
    with pytest.warns(UserWarning, match="Left out.*: rooms"):
        RegularizedRegressor(alphas=ALPHAS).fit(frame.assign(rooms=1.5), y)


def test_the_estimator_works_in_pipelines_and_searches(rows: Arrays) -> None:
    x, y = rows[0], rows[1][:, 0]
    model = make_pipeline(StandardScaler(), RegularizedRegressor(alphas=ALPHAS, cv=3))
    peer = make_pipeline(StandardScaler(), RegularizedRegressor(alphas=ALPHAS, cv=3))
    scores = cross_val_score(clone(model), x, y, cv=3)
    assert scores == pytest.approx(cross_val_score(peer, x, y, cv=3))
    grid = {"regularizedregressor__penalty": ["ridge", "lasso"]}
    search = GridSearchCV(model, grid, cv=2).fit(x, y)
    assert search.best_params_["regularizedregressor__penalty"] in ("ridge", "lasso")
    loaded = pickle.loads(pickle.dumps(search))
    assert (loaded.predict(x) == search.predict(x)).all()
    copied = clone(search.best_estimator_[-1])
    assert copied.get_params() == search.best_estimator_[-1].get_params()
    assert not hasattr(copied, "coef_")


def test_groups_reach_the_folds_by_metadata_routing(rows: Arrays) -> None:
    x, y, groups = rows[0], rows[1][:, 0], np.repeat(range(12), 5)
    with config_context(enable_metadata_routing=True):
        model = RegularizedRegressor(alphas=ALPHAS, cv=GroupKFold(3)).set_fit_request(groups=True)
        scores = cross_val_score(model, x, y, cv=GroupKFold(2), params={"groups": groups})
    expected = []
    for training, test in GroupKFold(2).split(x, y, groups):
        model.fit(x[training], y[training], groups=groups[training])
        expected.append(model.score(x[test], y[test]))
    np.testing.assert_allclose(scores, expected, rtol=1e-12)
