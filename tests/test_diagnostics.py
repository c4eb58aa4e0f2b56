"""Diagnostics of fits: against statsmodels, whose rows are whitened by the weights."""

import json
import math

import mpmath
import numpy as np
import pytest
import statsmodels.api as sm
import torch
from statsmodels.stats.diagnostic import het_breuschpagan, linear_reset
from statsmodels.stats.outliers_influence import OLSInfluence, variance_inflation_factor
from statsmodels.stats.stattools import durbin_watson, jarque_bera

import linreg_lightning as ll
from linreg_lightning.algebra import ExactGram
from linreg_lightning.algebra.row_diagnostics import RowDiagnostics
from linreg_lightning.batch import Batch


def diagnose(x, y, weight=None, size=1000, **options):
    fit = ll.least_squares(x, y, weight, intercept=options.pop("intercept", True))
    rows = RowDiagnostics(fit, **options)
    x, y = torch.as_tensor(x), torch.as_tensor(y).reshape(len(y), -1)
    weight = None if weight is None else torch.as_tensor(weight)
    for start in range(0, len(x), size):
        rows.update(Batch(x, y, weight).select(slice(start, start + size)))
    return rows.finish()


def assert_close(actual, expected, tolerance=1e-9):
    expected = np.asarray(expected, float)
    smallest = 1e-3 * np.abs(expected).max() * tolerance
    np.testing.assert_allclose(np.asarray(actual, float), expected, tolerance, smallest)


def gram_of(x, y):
    gram = ExactGram(features=1)
    gram.update(Batch(torch.tensor(x), torch.tensor(y)[:, None]))
    return gram


def problem(seed):
    rng = np.random.default_rng(seed)
    n, p, constant = int(rng.integers(15, 80)), int(rng.integers(1, 5)), rng.random() < 0.7
    x = rng.normal(size=(n, p)) * 10.0 ** rng.integers(-3, 3, p) + rng.normal(size=p) * constant
    y = x.sum(1) + rng.normal(size=n) * (1 + np.abs(x[:, 0]))
    weight = rng.uniform(0.2, 3, n) if rng.random() < 0.4 else None
    return x, y, weight, bool(constant)


@pytest.mark.parametrize("first", [0, 12, 24, 36])
def test_random_problems_agree_with_statsmodels(first):
    for seed in range(first, first + 12):
        x, y, weight, constant = problem(seed)
        found = diagnose(x, y, weight, size=7, intercept=constant)
        (target,), sample = found.targets, found.sample
        root = np.sqrt(np.ones(len(x)) if weight is None else weight)
        design = sm.add_constant(x, has_constant="add") if constant else x
        fit = sm.OLS(y * root, design * root[:, None]).fit()
        influence = OLSInfluence(fit)
        assert_close(sample.leverage, influence.hat_matrix_diag)
        assert_close(sample.internal[:, 0], influence.resid_studentized_internal, 1e-8)
        assert_close(sample.external[:, 0], influence.resid_studentized_external, 1e-8)
        order = np.argsort(-influence.cooks_distance[0])[:10]
        assert [row.row - 1 for row in target.influential] == order.tolist()
        assert_close([row.cook for row in target.influential], influence.cooks_distance[0][order])
        assert_close([row.dffits for row in target.influential], influence.dffits[0][order])
        tests = target.tests
        auxiliary = sm.add_constant(x, has_constant="add")
        assert_close(tests["breusch_pagan"][::2], het_breuschpagan(fit.resid, auxiliary)[:2])
        statistic, p, skewness, kurtosis = jarque_bera(fit.resid)
        assert_close(tests["jarque_bera"].statistic, statistic)
        assert_close(tests["jarque_bera"].p, p, 1e-9 * (1 + statistic))
        assert_close([target.skewness, target.kurtosis + 3], [skewness, kurtosis])
        assert_close(tests["durbin_watson"].statistic, durbin_watson(fit.resid))
        columns = design / np.linalg.norm(design, axis=0)
        fitted = (design @ fit.params) / np.abs(design @ fit.params).max()
        wide = np.column_stack([columns, fitted**2, fitted**3]) * root[:, None]
        without = fit.ssr
        within = sm.OLS(y * root, wide).fit()
        f = (without - within.ssr) / 2 / (within.ssr / within.df_resid)
        assert_close(tests["reset"].statistic, f, 1e-8)
        scaled = design * root[:, None]
        singular = np.linalg.svd(scaled / np.linalg.norm(scaled, axis=0))[1]
        assert_close(found.condition_indices, singular[0] / singular)
        if weight is None and constant:
            factors = [variance_inflation_factor(design, j) for j in range(1, design.shape[1])]
            assert_close(list(found.vif.values()), factors)
            if x.std(axis=0).max() < 100 and x.std(axis=0).min() > 0.01:  # else it loses digits
                reset = linear_reset(fit, 3, use_f=True)
                assert_close(tests["reset"][::2], [reset.fvalue, reset.pvalue], 1e-6)


def test_partial_regression_has_the_residuals_of_both_regressions():
    x, y, weight, _ = problem(3)
    x = np.column_stack([x, np.arange(len(x)) + 1e6])
    found = diagnose(x, y, weight)
    root = np.sqrt(np.ones(len(x)) if weight is None else weight)
    others = np.column_stack([np.ones(len(x)), x[:, :-1]])

    def residual(values):
        return values - others @ np.linalg.lstsq(others * root[:, None], values * root)[0]

    across, up, slope = found.partial_regression(f"x{x.shape[1]}")
    assert_close(across, residual(x[:, -1]), 1e-6)
    assert_close(up, residual(y), 1e-6)
    assert_close(
        slope,
        residual(y * 1.0)
        @ (root**2 * residual(x[:, -1]))
        / (residual(x[:, -1]) @ (root**2 * residual(x[:, -1]))),
        1e-6,
    )
    with pytest.raises(ll.InputError, match="columns: 'price' is unknown; type one of x1"):
        found.partial_regression("price")


def test_variance_proportions_of_a_column_far_from_zero():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 2, generator=generator).double() + torch.tensor([1000.0, 0.0])
    found = diagnose(x, x[:, 0] + torch.randn(200, generator=generator))
    columns = torch.cat([torch.ones(200, 1), x], 1)
    columns = columns / columns.norm(dim=0)
    _, singular, vectors = torch.linalg.svd(columns.double(), full_matrices=False)
    parts = (vectors.T / singular).square()
    expected = (parts / parts.sum(1, keepdim=True)).T
    torch.testing.assert_close(found.variance_proportions, expected)
    assert found.terms == ["intercept", "x1", "x2"]
    assert found.condition_indices[-1] > 1000
    assert "nearly" not in " ".join(found.sentences())  # only the intercept suffers


def sentences(y, x, **options):
    return " ".join(diagnose(x, y, **options).sentences())


def test_sentences_name_what_was_put_into_the_rows():
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(1000, 2, generator=generator).double()
    noise = torch.randn(1000, generator=generator).double()
    mean = 3 * x[:, 0] + x[:, 1]
    assert sentences(mean + 0.3 * noise, x) == "No test finds a departure that matters."
    assert "spread more where predictions are large" in sentences(mean + mean * noise, x)
    assert "consider errors HC3" in sentences(mean + mean * noise, x)
    assert "small" in sentences(mean + (4.5 - mean) * noise, x)
    assert "a long tail above (skewness" in sentences(mean + noise.exp(), x)
    walk = torch.zeros(1000).double()
    for k in range(1, 1000):
        walk[k] = 0.7 * walk[k - 1] + noise[k]
    assert "neighbouring rows resemble each other (correlation 0." in sentences(mean + walk, x)
    assert "not a plain sum of the columns" in sentences(mean + 3 * mean**2 + noise, x)
    twin = torch.cat([x, x[:, :1] + 0.01 * noise[:, None]], 1)
    said = sentences(mean + noise, twin)
    assert "x1 and x3 are nearly explained by the other columns (VIF up to " in said
    assert "their standard errors are up to 2" in said
    pair = torch.cat([x, x.sum(1, keepdim=True) / 2 + 0.06 * noise.flip(0)[:, None]], 1)
    assert "x3 is nearly explained by the other columns (VIF 1" in sentences(mean + noise, pair)
    x[17], y = 30.0, mean + 0.3 * noise
    y[17] = 0.0
    assert "The estimates rest on row 18 (Cook's distance" in sentences(y, x)
    assert "The residual of row 18 is too large for normal errors" in sentences(y, x)


def test_sentences_do_not_advise_the_errors_that_a_fit_has():
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(1000, 1, generator=generator).double()
    y = x[:, 0] * (1 + torch.randn(1000, generator=generator))
    found = " ".join(ll.least_squares(x, y).robust("HC3").diagnostics().sentences())
    assert "the standard errors HC3 allow for that" in found
    assert "consider errors" not in found


def test_the_outlier_is_named_where_others_have_more_influence():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(300, 1, generator=generator).double()
    y = x[:, 0] + torch.randn(300, generator=generator)
    x[7], y[7] = x.mean(), x.mean() + 6.5  # of little leverage
    x[100:120], y[100:120] = 6.0, y[100:120] + 8
    (target,) = diagnose(x, y, top=3).targets
    fit = sm.OLS(y.numpy(), sm.add_constant(x.numpy())).fit()
    external = OLSInfluence(fit).resid_studentized_external
    assert target.outlier_row == np.abs(external).argmax() + 1
    assert target.outlier_row not in [row.row for row in target.influential]


def test_a_perfect_fit_has_nothing_to_test():
    x = torch.arange(9.0)[:, None]
    (sentence,) = diagnose(x, 2 * x[:, 0] + 1).sentences()
    assert sentence.startswith("No test is possible: the fit leaves no residuals")


def test_many_rows_need_an_effect_beside_a_small_p():
    generator = torch.Generator().manual_seed(2)
    x = torch.rand(100_000, 1, generator=generator).double()
    noise = torch.randn(100_000, generator=generator).double()
    found = diagnose(x, x[:, 0] + (1 + 0.05 * x[:, 0]) * noise)
    assert found.targets[0].tests["breusch_pagan"].p < 0.01
    assert found.sentences() == ["No test finds a departure that matters."]


def test_a_sample_is_the_same_for_any_batches_and_holds_influential_rows():
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(3000, 2, generator=generator).double()
    y = torch.randn(3000, 2, generator=generator).double()
    y[77] += 50
    whole, parts = (diagnose(x, y, size=size, sample_rows=100, top=3) for size in (3000, 17))
    assert not whole.sample.complete
    assert torch.equal(whole.sample.number, parts.sample.number)
    torch.testing.assert_close(whole.sample.external, parts.sample.external)
    assert 100 <= len(whole.sample.number) <= 106
    assert [target.influential[0].row for target in whole.targets] == [78, 78]
    assert 78 in whole.sample.number
    drawn = (diagnose(x, y, sample_rows=1000).sample.number > 1500).double().mean()
    assert 0.45 < drawn < 0.55


def test_float64_gives_the_same_for_many_blocks_of_rows():
    generator = torch.Generator().manual_seed(6)
    x = torch.randn(20_000, 10, generator=generator).double() + 3
    y = x.sum(1) + torch.randn(20_000, generator=generator)
    exact, fast = (ll.least_squares(x, y, accuracy=kind) for kind in ("exact", "float64"))
    exact, fast = exact.diagnostics(), fast.diagnostics()
    torch.testing.assert_close(fast.sample.external, exact.sample.external)
    for name, test in exact.targets[0].tests.items():
        assert_close(fast.targets[0].tests[name].statistic, test.statistic, 1e-8)


def test_rows_of_weight_zero_do_not_count():
    x, y, _, _ = problem(5)
    weight = np.ones(len(x))
    weight[::3] = 0
    kept = weight > 0
    found, expected = diagnose(x, y, weight, size=4), diagnose(x[kept], y[kept])
    assert_close(found.sample.external, expected.sample.external)
    assert found.sample.number.tolist() == (np.flatnonzero(kept) + 1).tolist()
    assert_close(found.targets[0].tests["reset"].statistic, expected.targets[0].tests["reset"][0])


def test_tables_and_json_hold_the_numbers():
    x, y, _, _ = problem(8)
    found = diagnose(x, y)
    content = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert content["vif"] == found.vif
    assert content["targets"][0]["tests"]["durbin_watson"]["p"] is None
    frame = found.to_frame("pandas")
    assert list(frame) == ["target", "row", "cook", "leverage", "residual", "dffits"]
    assert "Breusch-Pagan (equal variances)" in found.summary()
    assert "<table" in found.summary("html")


def test_what_has_no_residuals_is_refused_in_one_line():
    x, y = [[1.0], [2.0], [4.0]], [1.0, 3.0, 2.0]
    with pytest.raises(ll.InputError, match=r"ridge: 1\.0 was given"):
        RowDiagnostics(ll.least_squares(x, y, ridge=1.0))
    with pytest.raises(ll.InputError, match="leaves no residual to judge"):
        RowDiagnostics(ll.least_squares(x[:2], y[:2]))
    fit = ll.Fit.from_gram(gram_of(x, y))
    with pytest.raises(ll.InputError, match="rows: diagnostics need the rows, which this fit"):
        fit.diagnostics()
    with pytest.raises(ll.InputError, match="rows: others than those of the fit"):
        fit.diagnostics(rows=(x, y[::-1]))
    with pytest.raises(ll.InputError, match="rows: 2 were given, and the fit is of 3"):
        fit.diagnostics(rows=(x[:2], y[:2]))
    assert fit.diagnostics(rows=(x, y)).vif == pytest.approx({"x1": 1.0})
    rows = RowDiagnostics(ll.least_squares(x, y))
    with pytest.raises(ll.InputError, match="rows: 0 were given, and the fit is of 3"):
        rows.finish()


def test_a_row_of_leverage_one_has_no_studentised_residual():
    x = torch.tensor([[0.0], [0.0], [0.0], [1.0]])
    found = diagnose(x, [1.0, 2.0, 4.0, 9.0])
    assert math.isnan(found.sample.external[3, 0])
    assert [row.row for row in found.targets[0].influential] == [3, 1, 2]
    assert found.sentences()[-1].startswith("Row 4 alone determines a coefficient (leverage 1)")


def test_powers_of_predictions_far_from_zero_keep_their_digits_without_an_intercept():
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(40, 2, generator=generator).double() + 100
    y = x.sum(1) + torch.randn(40, generator=generator)
    found = diagnose(x, y, intercept=False).targets[0].tests["reset"].statistic
    with mpmath.workdps(60):
        design = mpmath.matrix(x.tolist())
        target = mpmath.matrix(y.tolist())

        def squares(columns):
            b = mpmath.lu_solve(columns.T * columns, columns.T * target)
            residual = target - columns * b
            return sum(r**2 for r in residual), columns * b

        without, fitted = squares(design)
        wide = mpmath.matrix(40, 4)
        for k in range(40):
            wide[k, 0], wide[k, 1] = design[k, 0], design[k, 1]
            wide[k, 2], wide[k, 3] = fitted[k] ** 2, fitted[k] ** 3
        within, _ = squares(wide)
        expected = float((without - within) / 2 / (within / 36))
    assert_close(found, expected, 1e-8)
