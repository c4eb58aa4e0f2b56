"""The coefficient table agrees with textbook formulas, statsmodels, scipy and mpmath."""

import math

import mpmath
import numpy as np
import pytest
import scipy.stats
import statsmodels.api as api
import torch
from fit_table import fit_table

from linreg_lightning.algebra import ExactGram, Float64Gram, Gram, solve
from linreg_lightning.algebra.inference import f_tail, t_quantile, t_two_sided
from linreg_lightning.algebra.prediction import prediction
from linreg_lightning.batch import Batch
from linreg_lightning.errors import InputError

KINDS = [ExactGram, Float64Gram]
F64 = torch.float64


def fit(kind: type[Gram], x, y, weight=None, intercept: bool = True, ridge: float = 0.0):
    gram = kind(x.shape[1], y.shape[1])
    gram.update(Batch(x, y, weight))
    return solve(gram.normal_equations(intercept), ridge)


def problem(rows: int = 120, features: int = 3, targets: int = 2):
    torch.manual_seed(1)
    x = torch.randn(rows, features, dtype=F64) * torch.tensor([1.0, 50.0, 0.02]) + 3
    y = x @ torch.randn(features, targets, dtype=F64) + torch.randn(rows, targets, dtype=F64)
    return x, y, torch.rand(rows, dtype=F64) + 0.05


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_table_follows_the_textbook_formulas(
    kind: type[Gram], intercept: bool, weighted: bool
) -> None:
    x, y, weight = problem()
    weight = weight if weighted else torch.ones_like(weight)
    solution = fit(kind, x, y, weight if weighted else None, intercept)
    found = fit_table(solution, 0.9)
    design = torch.cat((torch.ones(120, 1, dtype=F64), x), 1)[:, 0 if intercept else 1 :]
    n, k = design.shape
    root = weight.sqrt()[:, None]
    inverse = torch.linalg.inv((root * design).T @ (root * design))
    estimate = inverse @ (design * weight[:, None]).T @ y
    rest = (root * (y - design @ estimate)).square().sum(0)
    centre = (weight @ y / weight.sum()) if intercept else 0.0
    total = (root * (y - centre)).square().sum(0)
    variance = rest / (n - k)
    error = (inverse.diagonal()[:, None] * variance).sqrt()
    f = (total - rest) / (k - intercept) / variance
    likelihood = 0.5 * (weight.log().sum() - n * (torch.log(2 * math.pi * rest / n) + 1))
    expected = {
        "estimate": estimate,
        "standard_error": error,
        "t": estimate / error,
        "p": 2 * scipy.stats.t.sf((estimate / error).abs(), n - k),
        "low": estimate - scipy.stats.t.ppf(0.95, n - k) * error,
        "high": estimate + scipy.stats.t.ppf(0.95, n - k) * error,
        "residual_sd": variance.sqrt(),
        "r2": 1 - rest / total,
        "r2_adjusted": 1 - rest / total * (n - intercept) / (n - k),
        "f": f,
        "f_p": scipy.stats.f.sf(f, k - intercept, n - k),
        "log_likelihood": likelihood,
        "aic": 2 * k - 2 * likelihood,
        "bic": k * math.log(n) - 2 * likelihood,
    }
    for name, value in expected.items():
        torch.testing.assert_close(
            getattr(found, name), torch.as_tensor(value), rtol=1e-8, atol=1e-300, msg=name
        )
    assert (found.rows, found.df_residual, found.rank) == (n, n - k, k)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("weighted", [False, True])
def test_every_number_agrees_with_statsmodels(intercept: bool, weighted: bool) -> None:
    x, y, weight = problem(targets=1)
    weight[5] = 0.0
    found = fit_table(fit(ExactGram, x, y, weight if weighted else None, intercept))
    present = weight > 0 if weighted else torch.ones(120, dtype=torch.bool)
    design = api.add_constant(x.numpy()) if intercept else x.numpy()
    weights = weight.numpy() if weighted else np.ones(120)
    result = api.WLS(y[:, 0].numpy()[present], design[present], weights[present]).fit()
    for name, value in {
        "estimate": result.params,
        "standard_error": result.bse,
        "t": result.tvalues,
        "p": result.pvalues,
        "low": result.conf_int()[:, 0],
        "high": result.conf_int()[:, 1],
        "residual_sd": math.sqrt(result.mse_resid),
        "r2": result.rsquared,
        "r2_adjusted": result.rsquared_adj,
        "f": result.fvalue,
        "f_p": result.f_pvalue,
        "log_likelihood": result.llf,
        "aic": result.aic,
        "bic": result.bic,
    }.items():
        np.testing.assert_allclose(getattr(found, name).squeeze(), value, rtol=1e-9, err_msg=name)
    assert (found.rows, found.df_residual) == (result.nobs, result.df_resid)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("intercept", [True, False])
def test_predictions_follow_the_textbook_formulas(kind: type[Gram], intercept: bool) -> None:
    x, y, weight = problem()
    x = torch.cat((x, x[:, :1]), 1)
    solution = fit(kind, x, y, weight, intercept)
    assert solution.collinear == (3,)
    new = torch.randn(7, 4, dtype=F64) * 10
    found = prediction(solution, new, 0.8)
    ones = torch.ones(120, 1, dtype=F64)
    start = 0 if intercept else 1
    design = torch.cat((ones, x[:, :3]), 1)[:, start:]
    rows = torch.cat((ones[:7], new[:, :3]), 1)[:, start:]
    inverse = torch.linalg.inv((design * weight[:, None]).T @ design)
    estimate = inverse @ (design * weight[:, None]).T @ y
    df = 120 - design.shape[1]
    variance = (weight @ (y - design @ estimate).square()) / df
    mean, leverage = rows @ estimate, ((rows @ inverse) * rows).sum(1, keepdim=True)
    quantile = scipy.stats.t.ppf(0.9, df)
    error, row_error = (leverage * variance).sqrt(), ((1 + leverage) * variance).sqrt()
    for value, expected in zip(
        found,
        (
            mean, error, mean - quantile * error, mean + quantile * error,
            row_error, mean - quantile * row_error, mean + quantile * row_error,
        ),
        strict=True,
    ):  # fmt: skip
        torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-7)
    with pytest.raises(InputError, match=r"x: a shape of \(7, 2\) was given; \(rows, 4\)"):
        prediction(solution, new[:, :2])


@pytest.mark.parametrize("offset", [0, 2**20, 2**40])
def test_an_offset_of_x_does_not_change_predictions(offset: int) -> None:
    torch.manual_seed(0)
    # Multiples of 2^-11, so that adding the offset rounds nothing.
    x, y = (torch.randint(-4000, 4000, (30, 1)).double() / 2048 for _ in range(2))
    new = x[:5] + 0.5
    near = prediction(fit(ExactGram, x, y), new)
    far = prediction(fit(ExactGram, x + offset, y), new + offset)
    for one, other in zip(near, far, strict=True):
        torch.testing.assert_close(one, other, rtol=4e-16, atol=4e-16)


def test_extreme_units_only_rescale_the_table() -> None:
    x, y, weight = problem(targets=1)
    plain = fit_table(fit(ExactGram, x, y, weight))
    # Scaling by powers of two changes no digit.
    for kind in KINDS:
        solution = fit(kind, x * 2.0**-900, y * 2.0**100, weight * 2.0**-800)
        found = fit_table(solution)
        unit = torch.tensor([0.0, 1000.0, 1000.0, 1000.0], dtype=F64)[:, None]
        unit = torch.where(unit == 0, 2.0**100, 2.0**unit)
        for name in ("estimate", "standard_error", "low"):
            torch.testing.assert_close(
                getattr(found, name), getattr(plain, name) * unit, rtol=1e-10, atol=0
            )
        for name in ("t", "p", "r2", "r2_adjusted", "f", "f_p"):
            torch.testing.assert_close(
                getattr(found, name), getattr(plain, name), rtol=1e-9, atol=0
            )
        torch.testing.assert_close(
            found.residual_sd, plain.residual_sd * 2.0**-300, rtol=1e-10, atol=0
        )
        # log L changes by -n log(unit of y); the unit of the weights does not matter.
        torch.testing.assert_close(
            found.log_likelihood, plain.log_likelihood - 120 * 100 * math.log(2), rtol=1e-10, atol=0
        )


def test_a_perfect_fit_has_standard_errors_of_0_and_infinite_t() -> None:
    x = torch.randn(20, 2, dtype=F64).round(decimals=1)
    found = fit_table(fit(ExactGram, x, 3 * x.sum(1, keepdim=True) + 1))
    assert torch.equal(found.standard_error, torch.zeros(3, 1, dtype=F64))
    assert bool((found.t == math.inf).all())
    assert bool((found.p == 0).all())
    assert (float(found.r2), float(found.f), float(found.f_p)) == (1.0, math.inf, 0.0)
    assert torch.equal(found.low, found.estimate)


@pytest.mark.parametrize("kind", KINDS)
def test_standard_errors_are_nan_without_residual_degrees_of_freedom(kind: type[Gram]) -> None:
    x, y, _ = problem(3)
    solution = fit(kind, x[:, :2], y)
    found = fit_table(solution)
    assert found.df_residual == 0
    for name in ("standard_error", "t", "p", "low", "high", "residual_sd", "r2_adjusted", "f"):
        assert bool(getattr(found, name).isnan().all()), name
    assert bool(prediction(solution, x[:, :2]).mean_error.isnan().all())


def test_an_intercept_alone_has_the_standard_error_of_the_mean() -> None:
    y = torch.tensor([[1.0], [2.0], [6.0]], dtype=F64)
    found = fit_table(fit(ExactGram, torch.zeros(3, 0, dtype=F64), y))
    assert float(found.standard_error) == pytest.approx(math.sqrt(7 / 3), rel=1e-15)
    assert (found.rank, float(found.r2)) == (1, 0.0)
    assert math.isnan(float(found.f_p))


def test_a_confidence_out_of_range_is_refused() -> None:
    x, y, _ = problem()
    for confidence in (0.0, 1e-17, 1.0, 95.0, math.nan):
        with pytest.raises(InputError, match=r"confidence: .* was given"):
            fit_table(fit(ExactGram, x, y), confidence)


def exact_f_tail(f: float, k: float, m: float) -> mpmath.mpf:
    with mpmath.workdps(40):
        x = mpmath.mpf(m) / (mpmath.mpf(m) + mpmath.mpf(k) * mpmath.mpf(f))
        return mpmath.betainc(mpmath.mpf(m) / 2, mpmath.mpf(k) / 2, 0, x, regularized=True)


@pytest.mark.parametrize("k", [1, 2, 7, 200])
@pytest.mark.parametrize("m", [1, 2, 9, 61, 1000])
def test_f_tails_agree_with_mpmath(k: int, m: int) -> None:
    f = torch.tensor([1e-8, 1e-3, 0.1, 0.5, 0.99, 1.0, 1.01, 1.5, 3.0, 10.0, 50.0, 1e4], dtype=F64)
    for point, value in zip(f.tolist(), f_tail(f, k, m).tolist(), strict=True):
        truth = exact_f_tail(point, k, m)
        if truth > 1e-290:
            assert abs(value - truth) <= 3e-13 * truth


@pytest.mark.parametrize("m", [10**6, 10**8])
def test_f_tails_with_many_rows_agree_with_the_closed_form(m: int) -> None:
    """P = (1 + 2 f / m)^(-m / 2) if the model has two degrees of freedom."""
    f = torch.tensor([1e-6, 0.3, 1.0, 2.0, 10.0, 100.0], dtype=F64)
    truth = torch.exp(-m / 2 * torch.log1p(2 * f / m))
    torch.testing.assert_close(f_tail(f, 2, m), truth, rtol=1e-13, atol=0)


@pytest.mark.parametrize("df", [1, 2, 3, 10, 100, 10**4, 10**7])
def test_t_tails_and_quantiles_agree_with_scipy(df: int) -> None:
    t = torch.tensor([-40.0, -3.0, 0.0, 1e-3, 0.7, 1.96, 8.0, 30.0, 1e5], dtype=F64)
    truth = 2 * scipy.stats.t.sf(t.abs().numpy(), df)
    np.testing.assert_allclose(t_two_sided(t, df), truth, rtol=2e-11, atol=1e-290)
    for confidence in (0.01, 0.5, 0.9, 0.95, 0.99, 1 - 1e-9):
        quantile = t_quantile(confidence, df)
        outside = float(t_two_sided(torch.tensor(quantile, dtype=F64), df))
        assert outside == pytest.approx(1 - confidence, rel=1e-12)
        assert quantile == pytest.approx(scipy.stats.t.isf((1 - confidence) / 2, df), rel=1e-6)


def test_t_tails_at_infinity_nan_and_0() -> None:
    t = torch.tensor([math.inf, -math.inf, math.nan, 0.0, 1e200], dtype=F64)
    p = t_two_sided(t, 1).tolist()
    assert p[:2] == [0.0, 0.0]
    assert math.isnan(p[2])
    assert p[3] == 1.0
    assert p[4] == pytest.approx(2 / (math.pi * 1e200), rel=1e-12)
    assert bool(t_two_sided(t, 0).isnan().all())
    assert math.isnan(t_quantile(0.95, 0))
