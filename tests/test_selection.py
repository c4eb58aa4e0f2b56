"""Selections agree with scikit-learn's refits, and arguments that cannot work are refused."""

import math
import warnings
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from sklearn.linear_model import ElasticNet, ElasticNetCV, Lasso, LassoCV, Ridge
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from linreg_lightning import least_squares, select_penalty
from linreg_lightning.algebra import ExactGram
from linreg_lightning.algebra.fold_sums import FoldSums
from linreg_lightning.algebra.selection import select
from linreg_lightning.algebra.selection_options import SelectionOptions
from linreg_lightning.batch import Batch

F64 = torch.float64
ALPHAS = np.geomspace(2.0, 1e-3, 12)
PENALTIES = ["ridge", "lasso", "elasticnet"]


def draw(rows=90, features=6, targets=1, seed=0):
    """Return x, y, weights and folds; half of the columns do not matter."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(rows, features)) @ generator.normal(size=(features, features))
    slopes = generator.normal(size=(features, targets)) * (np.arange(features) % 2)[:, None]
    y = x @ slopes + generator.normal(size=(rows, targets)) + 3.0
    weight = generator.uniform(0.2, 2.0, size=rows)
    return x, y[:, 0] if targets == 1 else y, weight, generator.permutation(rows) % 5


def quiet(*args, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return select_penalty(*args, **options)


def errors_of(selection, target=0):
    """Return the errors of all folds in scikit-learn's order, (l1_ratios, alphas, folds)."""
    return selection.fold_errors[:, :, target].numpy()


@pytest.mark.parametrize(
    ("accuracy", "weighted", "intercept"),
    [("exact", False, True), ("exact", True, False), ("float64", True, True)],
)
def test_the_lasso_has_the_errors_and_the_choice_of_lasso_cv(accuracy, weighted, intercept) -> None:
    x, y, weight, fold = draw()
    weight = weight if weighted else None
    peer = LassoCV(
        alphas=ALPHAS, cv=PredefinedSplit(fold), tol=1e-12, max_iter=10**6, fit_intercept=intercept
    ).fit(x, y, weight)
    ours = quiet(
        x, y, weight, folds=fold, alphas=ALPHAS, standardize=False, accuracy=accuracy,
        intercept=intercept,
    )  # fmt: skip
    np.testing.assert_allclose(errors_of(ours)[0], peer.mse_path_, rtol=1e-8)
    assert float(ours.alpha) == peer.alpha_
    np.testing.assert_allclose(ours.mean_error[0, :, 0], peer.mse_path_.mean(1), rtol=1e-8)
    own = Lasso(peer.alpha_, tol=1e-12, max_iter=10**6, fit_intercept=intercept).fit(x, y, weight)
    np.testing.assert_allclose(ours.coefficients, own.coef_, rtol=1e-8, atol=1e-12)
    assert (ours.coefficients.numpy() == 0).tolist() == (own.coef_ == 0).tolist()
    assert float(ours.intercept) == pytest.approx(float(own.intercept_), rel=1e-8)
    np.testing.assert_allclose(ours.predict(x), own.predict(x), atol=1e-8)


def test_elastic_nets_have_the_errors_and_the_choice_of_elastic_net_cv() -> None:
    x, y, weight, fold = draw(seed=1)
    options = {"tol": 1e-12, "max_iter": 10**6, "cv": PredefinedSplit(fold)}
    ratios = [0.2, 0.9, 0.5]
    for w in (None, weight):
        peer = ElasticNetCV(l1_ratio=ratios, alphas=ALPHAS, **options).fit(x, y, w)
        ours = quiet(
            x, y, w, penalty="elasticnet", l1_ratio=ratios, folds=fold, alphas=ALPHAS,
            standardize=False,
        )  # fmt: skip
        np.testing.assert_allclose(errors_of(ours), peer.mse_path_, rtol=1e-8)
        if w is None:
            np.testing.assert_allclose(ours.coefficients, peer.coef_, rtol=1e-8, atol=1e-12)
            assert (float(ours.alpha), float(ours.l1_ratio)) == (peer.alpha_, peer.l1_ratio_)


def test_the_default_alphas_are_those_of_lasso_cv() -> None:
    x, y, weight, fold = draw(seed=2)
    peer = LassoCV(cv=PredefinedSplit(fold), eps=1e-4, alphas=9, max_iter=10**5).fit(x, y, weight)
    ours = quiet(x, y, weight, folds=fold, standardize=False, alphas=9)
    np.testing.assert_allclose(ours.alphas[0, :, 0], peer.alphas_, rtol=1e-12)
    assert not ours.path.coefficients[0, 0].any()


@pytest.mark.parametrize("penalty", PENALTIES)
def test_each_fit_standardizes_by_its_own_rows(penalty) -> None:
    x, y, _, fold = draw(seed=3)
    models = {
        "ridge": Ridge(),  # whose alpha is that of a sum over the 72 rows of a fit
        "lasso": Lasso(tol=1e-12, max_iter=10**6),
        "elasticnet": ElasticNet(tol=1e-12, max_iter=10**6, l1_ratio=0.5),
    }
    unit = 72 if penalty == "ridge" else 1
    name = type(models[penalty]).__name__.lower()
    peer = GridSearchCV(
        make_pipeline(StandardScaler(), models[penalty]),
        {f"{name}__alpha": ALPHAS * unit},
        scoring="neg_mean_squared_error",
        cv=PredefinedSplit(fold),
        refit=False,
    ).fit(x, y)
    ours = quiet(x, y, penalty=penalty, folds=fold, alphas=ALPHAS)
    splits = [-peer.cv_results_[f"split{k}_test_score"] for k in range(5)]
    np.testing.assert_allclose(errors_of(ours)[0], np.stack(splits, 1), rtol=1e-8)
    mean = -peer.cv_results_["mean_test_score"]
    np.testing.assert_allclose(ours.mean_error[0, :, 0], mean, rtol=1e-8)
    assert int(ours.index[0, 1]) == mean.argmin()


@pytest.mark.parametrize("intercept", [False, True])
def test_ridge_of_several_targets_has_the_errors_of_refits_with_weights(intercept) -> None:
    x, y, weight, fold = draw(targets=3, seed=4)
    ours = quiet(
        x, y, weight, penalty="ridge", folds=fold, alphas=ALPHAS, standardize=False,
        intercept=intercept,
    )  # fmt: skip
    for k in range(5):
        train, held_out = fold != k, fold == k
        for a, alpha in enumerate(ALPHAS):
            peer = Ridge(alpha * weight[train].sum(), solver="svd", fit_intercept=intercept)
            rest = y[held_out] - peer.fit(x[train], y[train], weight[train]).predict(x[held_out])
            error = np.average(rest**2, axis=0, weights=weight[held_out])
            np.testing.assert_allclose(ours.fold_errors[0, a, :, k], error, rtol=1e-8)
    mean = ours.fold_errors[0].numpy().mean(-1)
    np.testing.assert_allclose(ours.mean_error[0], mean, rtol=1e-12)
    assert ours.index[:, 1].tolist() == mean.argmin(0).tolist()
    for t, alpha in enumerate(ours.alpha.tolist()):
        own = Ridge(alpha * weight.sum(), solver="svd", fit_intercept=intercept)
        own.fit(x, y[:, t], weight)
        np.testing.assert_allclose(ours.coefficients[:, t], own.coef_, rtol=1e-8)


def test_nested_errors_are_those_of_a_double_loop() -> None:
    x, y, weight, fold = draw(seed=5)
    ours = quiet(x, y, weight, folds=fold, standardize=False, nested=True, alphas=12)
    errors = []
    for k in range(5):
        train, held_out = fold != k, fold == k
        rows, inner = (x[train], y[train], weight[train]), np.unique(fold[train])
        inner = np.searchsorted(inner, fold[train])
        options = {"tol": 1e-12, "max_iter": 10**6}
        peer = LassoCV(alphas=12, eps=1e-4, cv=PredefinedSplit(inner), **options).fit(*rows)
        rest = y[held_out] - Lasso(peer.alpha_, **options).fit(*rows).predict(x[held_out])
        errors.append(np.average(rest**2, weights=weight[held_out]))
    mean, spread = np.mean(errors), np.std(errors, ddof=1) / 5**0.5
    assert ours.statistics["nested_error"] == pytest.approx(mean, rel=1e-8)
    assert ours.statistics["nested_standard_error"] == pytest.approx(spread, rel=1e-7)


def test_one_standard_error_takes_the_largest_alpha_within_it() -> None:
    x, y, weight, fold = draw(seed=6)
    ours = quiet(x, y, weight, folds=fold, choice="one_standard_error")
    mean, error = ours.mean_error[0, :, 0], ours.standard_error[0, :, 0]
    best = int(mean.argmin())
    within = [a for a in range(100) if mean[a] <= mean[best] + error[best]]
    assert ours.index[0].tolist() == [0, within[0]]
    assert ours.index_min[0].tolist() == [0, best]
    assert within[0] < best


@pytest.mark.parametrize(
    ("choice", "penalty"),
    [("aic", "ridge"), ("bic", "lasso"), ("cp", "elasticnet"), ("gcv", "ridge")],
)
def test_a_criterion_chooses_its_least_value(choice, penalty) -> None:
    x, y, weight, _ = draw(seed=7)
    ours = quiet(x, y, weight, choice=choice, penalty=penalty, alphas=12, folds=3)
    values = getattr(ours.criteria, choice)[0, :, 0]
    assert int(ours.index[0, 1]) == int(values.argmin())
    residual = np.average((y - ours.predict(x).numpy()) ** 2, weights=weight)
    assert ours.statistics["loss"] == pytest.approx(residual, rel=1e-10)


def test_bic_of_the_lasso_by_hand() -> None:
    x, y, _, _ = draw(seed=8)
    ours = quiet(x, y, choice="bic", folds=3, alphas=20)
    nonzero = (ours.path.coefficients[0, :, :, 0] != 0).sum(1).numpy()
    fits = x @ ours.path.coefficients[0, :, :, 0].numpy().T + ours.path.intercept[0, :, 0].numpy()
    squares = ((y[:, None] - fits) ** 2).sum(0)
    bic = 90 * (np.log(2 * math.pi * squares / 90) + 1) + (nonzero + 1) * math.log(90)
    np.testing.assert_allclose(ours.criteria.bic[0, :, 0], bic, rtol=1e-10)


def test_the_refit_is_least_squares_of_the_columns_chosen() -> None:
    x, y, weight, _ = draw(targets=2, seed=9)
    with pytest.warns(UserWarning, match="the same rows have chosen the columns"):
        ours = select_penalty(x, y, weight, choice="one_standard_error", refit=True)
    frame = ours.to_frame("pandas")
    for t, fit in enumerate(ours.refit):
        columns = ours.coefficients[:, t].nonzero().flatten().tolist()
        assert 0 < len(columns) < 6
        own = least_squares(x[:, columns], y[:, t], weight)
        assert fit.feature_names == [f"x{j + 1}" for j in columns]
        np.testing.assert_allclose(fit.estimate[:, 0], own.estimate, rtol=1e-12)
        rows = frame[frame.target == f"y{t + 1}"]
        assert rows.estimate[rows.estimate != 0].tolist() == own.estimate.tolist()
        assert rows.p.dropna().tolist() == own.p.tolist()
        assert rows.penalized.tolist()[1:] == ours.coefficients[:, t].tolist()


def test_entries_and_shares_of_folds_are_those_of_the_paths() -> None:
    x, y, _, fold = draw(seed=10)
    x[:, 5] = 7.0
    ours = quiet(x, y, folds=fold, alphas=ALPHAS, choice="one_standard_error")
    for j in range(6):
        path = ours.path.coefficients[0, :, j, 0]
        first = next((a for a, b in zip(ALPHAS, path, strict=True) if b != 0), math.nan)
        assert float(ours.entry_alpha[j, 0]) == pytest.approx(first, nan_ok=True)
        here = ours.fold_coefficients[:, 0, int(ours.index[0, 1]), j, 0]
        assert float(ours.fold_share[j, 0]) == sum(b != 0 for b in here.tolist()) / 5
    assert ours.left_out == (5,)
    assert float(ours.entry_alpha[0, 0]) != float(ours.entry_alpha[1, 0])


@settings(max_examples=4, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    penalty=st.sampled_from(PENALTIES),
    cuts=st.lists(st.integers(0, 40), max_size=3),
)
def test_order_and_batches_change_no_bit_of_exact_selections(seed, penalty, cuts) -> None:
    x, y, weight, fold = (torch.as_tensor(v) for v in draw(rows=40, features=4, seed=seed))
    options = SelectionOptions(penalty, alphas=8)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(seed))
    one, many = FoldSums(ExactGram, 5, 4), FoldSums(ExactGram, 5, 4)
    batch = Batch(x, y[:, None], weight)
    one.update(batch, fold)
    bounds = sorted({0, *cuts, 40})
    for start, stop in pairwise(bounds):
        many.update(batch.select(order[start:stop]), fold[order[start:stop]])
    first, second = select(one, options), select(many, options)
    for name in ("fold_errors", "coefficients", "intercept", "mean_error", "index"):
        assert torch.equal(getattr(first, name), getattr(second, name))


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 10**6), penalty=st.sampled_from(PENALTIES), power=st.integers(-30, 30))
def test_other_units_change_only_the_units_of_the_result(seed, penalty, power) -> None:
    x, y, _, fold = draw(rows=40, features=4, seed=seed)
    unit = 2.0 ** np.array([power, 0, -power, 3])
    first = quiet(x, y, folds=fold, penalty=penalty, alphas=8)
    scale = 1 if penalty == "elasticnet" else 8  # a penalty on squares has no unit of y
    second = quiet(x * unit, y * scale, folds=fold, penalty=penalty, alphas=8)
    assert first.index.tolist() == second.index.tolist()
    b, errors = second.coefficients.numpy() * unit, second.fold_errors.numpy()
    np.testing.assert_allclose(b / scale, first.coefficients, rtol=1e-10)
    np.testing.assert_allclose(errors / scale**2, first.fold_errors, rtol=1e-10)


def hard_rows(name):
    generator = np.random.default_rng(11)
    x = generator.integers(-9, 9, size=(12 if name == "wide" else 60, 8)).astype(float)
    x = np.hstack((x, x[:, ::-1] ** 2, x**3)) if name == "wide" else x
    y = x[:, 0] - 2 * x[:, 3] + generator.integers(-3, 3, size=len(x))
    if name == "scales":
        x = x * 10.0 ** np.array([-8, 0, 8, 4, -4, 2, 6, -6])
    elif name == "offsets":
        x, y = x + 1e9, y - 3e9
    elif name == "duplicates":
        x[:, 4], x[:, 5] = x[:, 0], x[:, 1] - x[:, 3]
    elif name == "near duplicates":
        x[:, 4] = x[:, 0] + 1e-7 * x[:, 4]
    elif name == "constant in a fold":
        x[:, 2] = 0.0
        x[:6, 2] = np.arange(6)
    elif name == "perfect":
        y = x[:, 0] + 1e-6 * x[:, 1]
    return x, y


@pytest.mark.parametrize(
    ("penalty", "accuracy"), [("ridge", "exact"), ("lasso", "exact"), ("elasticnet", "float64")]
)
@pytest.mark.parametrize(
    "name",
    ["scales", "offsets", "duplicates", "near duplicates", "constant in a fold", "perfect", "wide"],
)
def test_hard_rows_have_numbers_and_meet_the_conditions_of_a_minimum(name, penalty, accuracy):
    x, y = hard_rows(name)
    ours = quiet(x, y, folds=np.arange(len(x)) // 12 if name != "wide" else np.arange(12) % 3,
                 penalty=penalty, accuracy=accuracy, alphas=20)  # fmt: skip
    for values in (ours.fold_errors, ours.path.coefficients, ours.mean_error, ours.standard_error):
        assert values.isfinite().all()
    centred = x - x[0]
    centred -= centred.mean(0)
    s, rest = centred.std(0), y - y[0] - centred @ ours.coefficients.numpy()
    z, b = centred / np.where(s > 0, s, 1.0), ours.coefficients.numpy() * s
    ratio, alpha = float(ours.l1_ratio), float(ours.alpha)
    slope = z.T @ (rest - rest.mean()) / len(y) - alpha * (1 - ratio) * b
    rounding = 1e-9 * y.std()
    assert (np.abs(slope) <= alpha * ratio + rounding).all()
    active = b != 0
    np.testing.assert_allclose(slope[active], (alpha * ratio * np.sign(b))[active], atol=rounding)


def test_offsets_cost_no_digit_of_a_prediction() -> None:
    generator = np.random.default_rng(12)
    x = generator.integers(-9, 9, size=(50, 3)).astype(float)
    y = x[:, 0] + generator.integers(-3, 3, size=50)
    plain, shifted = quiet(x, y), quiet(x + 2.0**40, y)
    np.testing.assert_allclose(shifted.predict(x + 2.0**40), plain.predict(x), rtol=1e-11)
    np.testing.assert_allclose(shifted.mean_error, plain.mean_error, rtol=1e-11)


# The data set mtcars of R (Motor Trend, 1974): mpg, wt, drat, qsec and, last, hp of 32 cars.
CARS = """
21.0 2.620 3.90 16.46 110  21.0 2.875 3.90 17.02 110  22.8 2.320 3.85 18.61 93
21.4 3.215 3.08 19.44 110  18.7 3.440 3.15 17.02 175  18.1 3.460 2.76 20.22 105
14.3 3.570 3.21 15.84 245  24.4 3.190 3.69 20.00 62   22.8 3.150 3.92 22.90 95
19.2 3.440 3.92 18.30 123  17.8 3.440 3.92 18.90 123  16.4 4.070 3.07 17.40 180
17.3 3.730 3.07 17.60 180  15.2 3.780 3.07 18.00 180  10.4 5.250 2.93 17.98 205
10.4 5.424 3.00 17.82 215  14.7 5.345 3.23 17.42 230  32.4 2.200 4.08 19.47 66
30.4 1.615 4.93 18.52 52   33.9 1.835 4.22 19.90 65   21.5 2.465 3.70 20.01 97
15.5 3.520 2.76 16.87 150  15.2 3.435 3.15 17.30 150  13.3 3.840 3.73 15.41 245
19.2 3.845 3.08 17.05 175  27.3 1.935 4.08 18.90 66   26.0 2.140 4.43 16.70 91
30.4 1.513 3.77 16.90 113  15.8 3.170 4.22 14.50 264  19.7 2.770 3.62 15.50 175
15.0 3.570 3.54 14.60 335  21.4 2.780 4.11 18.60 109
"""


def test_the_lasso_has_the_alphas_and_the_coefficients_that_glmnet_prints() -> None:
    *columns, hp = np.array(CARS.split(), float).reshape(32, 5).T
    ours = quiet(np.stack(columns, 1), hp, folds=4)
    # cv.glmnet(x, hp, alpha = 1)$lambda.min is one of its default path.
    place = int((ours.alphas[0, :, 0] - 2.668219).abs().argmin())
    assert float(ours.alphas[0, place, 0]) == pytest.approx(2.668219, abs=5e-7)
    printed = {2.668219: (484.20742, -2.95796, 21.37988, 0, -19.43425),
               1.5: (488.868159, -2.851152, 22.951695, 0, -20.098919)}  # fmt: skip
    for alpha, (intercept, *slopes) in printed.items():
        own = quiet(np.stack(columns, 1), hp, folds=4, alphas=[alpha])
        # glmnet stops where a step changes the objective by less than 1e-7 of that of the mean.
        np.testing.assert_allclose(own.coefficients, slopes, rtol=6e-3)
        assert float(own.intercept) == pytest.approx(intercept, rel=1e-3)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_targets_are_selected_by_themselves(penalty) -> None:
    x, y, weight, fold = draw(targets=2, seed=13)
    options = {"folds": fold, "alphas": 8, "penalty": penalty}
    both = quiet(x, y, weight, **options)
    for t in range(2):
        own = quiet(x, y[:, t], weight, **options)
        assert both.index[t].tolist() == own.index[0].tolist()
        np.testing.assert_allclose(both.coefficients[:, t], own.coefficients, rtol=1e-10)
        np.testing.assert_allclose(both.fold_errors[:, :, t], own.fold_errors[:, :, 0], rtol=1e-10)


def test_weights_count_in_the_scales_of_the_columns() -> None:
    x, y, weight, fold = draw(seed=14)
    ours = quiet(x, y, weight, folds=fold, alphas=[0.3])
    for k in range(5):
        train, held_out = fold != k, fold == k
        w = weight[train]
        scaler = StandardScaler().fit(x[train], sample_weight=w)
        peer = Lasso(0.3, tol=1e-12).fit(scaler.transform(x[train]), y[train], w)
        rest = y[held_out] - peer.predict(scaler.transform(x[held_out]))
        error = np.average(rest**2, weights=weight[held_out])
        assert float(ours.fold_errors[0, 0, 0, k]) == pytest.approx(error, rel=1e-8)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_digits_are_a_lower_bound_that_is_not_far_too_low(penalty) -> None:
    generator = np.random.default_rng(15)
    for distance in (1.0, 1e-2, 1e-3):
        x = generator.normal(size=(200, 5))
        x[:, 1] = x[:, 0] + distance * x[:, 1]
        y = x[:, :3].sum(1) + generator.normal(size=200)
        options = {"penalty": penalty, "alphas": [1e-5], "folds": 2}
        rounded, exact = (quiet(x, y, accuracy=a, **options) for a in ("float64", "exact"))
        share = (rounded.coefficients / exact.coefficients - 1).abs().max()
        digits = -math.log10(float(share) + 1e-17)
        assert digits - 5 < float(rounded.digits) < digits + 0.5
        assert float(exact.digits) > float(rounded.digits)
