"""Coefficients agree with rational arithmetic, certified values and independent libraries."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from fit_table import fit_table
from hypothesis import assume, example, given, settings, strategies as st
from nist import NIST
from sklearn.linear_model import LinearRegression, Ridge

from linreg_lightning.algebra import ExactGram, Float64Gram, Gram, Solution, solve
from linreg_lightning.batch import Batch
from linreg_lightning.errors import InputError

KINDS = [ExactGram, Float64Gram]
F64 = torch.float64


def fit(
    kind: type[Gram], x, y, weight=None, intercept: bool = True, ridge: float = 0.0
) -> Solution:
    gram = kind(x.shape[1], y.shape[1])
    gram.update(Batch(x, y, weight))
    return solve(gram.normal_equations(intercept), ridge)


def rational(x, y, weight=None, intercept: bool = True) -> list[Fraction]:
    """Return the coefficients, intercept first, by Gaussian elimination of rational numbers."""
    rows = [[Fraction(1)] * intercept + [Fraction(v) for v in row] for row in x.tolist()]
    target = [Fraction(v) for v in y[:, 0].tolist()]
    w = [Fraction(v) for v in ([1.0] * len(rows) if weight is None else weight.tolist())]
    count = len(rows[0])
    system = [
        [sum(u * r[i] * r[j] for u, r in zip(w, rows, strict=True)) for j in range(count)]
        + [sum(u * r[i] * t for u, r, t in zip(w, rows, target, strict=True))]
        for i in range(count)
    ]
    for k in range(count):
        for i in range(count):
            if i != k:
                share = system[i][k] / system[k][k]
                system[i] = [a - share * b for a, b in zip(system[i], system[k], strict=True)]
    return [system[i][count] / system[i][i] for i in range(count)]


def digits(value: float, truth: float | Fraction) -> float:
    error = abs(Fraction(value) - Fraction(truth))
    return 17.0 if error == 0 else min(17.0, -math.log10(error / abs(Fraction(truth))))


def all_coefficients(solution: Solution) -> list[float]:
    head = solution.intercept[:1].tolist() if solution.equations.intercept else []
    return head + solution.coefficients[:, 0].tolist()


@pytest.mark.parametrize("name", NIST)
def test_nist_certified_digits_are_reached(name: str) -> None:
    certified = NIST[name]
    lines = certified.table.splitlines()[1:]
    rows = torch.tensor([[float(v) for v in line.split(",")] for line in lines], dtype=F64)
    found = fit_table(fit(ExactGram, rows[:, 1:], rows[:, :1], intercept=certified.intercept))
    for values, truths, least in (
        (found.estimate, certified.estimates, certified.least_digits),
        (found.standard_error, certified.std_errors, min(12, certified.least_digits)),
        (found.r2, [certified.r2], min(13, certified.least_digits)),
        (found.residual_sd, [certified.residual_sd], min(13, certified.least_digits)),
    ):
        for value, truth in zip(values.flatten().tolist(), truths, strict=True):
            assert value == 0.0 if truth == 0 else digits(value, truth) >= least


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(20, 3000),
    features=st.integers(2, 6),
    nearness=st.floats(0, 7),
    noise=st.floats(-8, 1),
    offset=st.sampled_from([0.0, 1.0, 30.0]),
    kind=st.sampled_from(["normal", "nearly equal", "powers"]),
    seed=st.integers(0, 10**6),
)
def test_float64_never_claims_more_digits_than_are_correct(
    rows, features, nearness, noise, offset, kind, seed
) -> None:
    torch.manual_seed(seed)
    x = torch.randn(rows, features, dtype=F64) + offset
    if kind == "nearly equal":
        x[:, -1] = x[:, -2] + 10**-nearness * x[:, -1]
    if kind == "powers":
        x = (x[:, :1] / 10) ** torch.arange(1, features + 1)
    y = x.sum(1, keepdim=True) + 10**noise * torch.randn(rows, 1, dtype=F64)
    rough, exact = fit(Float64Gram, x, y), fit(ExactGram, x, y)
    assume(not rough.collinear)
    found, true = fit_table(rough), fit_table(exact)
    size = torch.maximum(true.estimate.abs(), true.standard_error)
    error = (found.estimate - true.estimate).abs()
    if rough.digits > 0:
        assert bool((error <= 10**-rough.digits * size).all())
    if rough.error_digits > 0:
        for value, truth in (
            (found.standard_error, true.standard_error),
            (found.residual_sd, true.residual_sd),
        ):
            loss = (value / truth - 1).abs()
            assert bool((loss <= 10**-rough.error_digits).all())


def test_float64_claims_nearly_all_digits_of_well_conditioned_columns() -> None:
    torch.manual_seed(0)
    x = torch.randn(1000, 4, dtype=F64)
    y = x.sum(1, keepdim=True)
    noise = torch.randn(1000, 1, dtype=F64)
    # Each sum was rounded up to 128 times within a product: that may cost two digits.
    assert fit(Float64Gram, x, y + noise).digits > 11.3
    assert fit(Float64Gram, x, y + noise).error_digits > 12
    assert fit(Float64Gram, x[:6], (y + noise)[:6]).digits > 13
    perfect = fit(Float64Gram, x, y + 1)
    assert perfect.digits > 10
    assert perfect.error_digits == 0
    # float64 cannot tell an intercept of 0 from a small one.
    assert fit(Float64Gram, x, y).digits == 0


@pytest.mark.parametrize("nearness", [0, 3, 5])
@pytest.mark.parametrize("ridge", [0.0, 3.0])
def test_many_columns_in_float64_agree_with_exact(nearness: int, ridge: float) -> None:
    torch.manual_seed(nearness)
    x = torch.randn(400, 80, dtype=F64) + 1
    x[:, 79] = x[:, 3] + 10.0**-nearness * x[:, 79]
    y = torch.stack((x.sum(1), x[:, 5] - 7), 1) + torch.randn(400, 2, dtype=F64)
    rough, exact = (fit(kind, x, y, ridge=ridge) for kind in (Float64Gram, ExactGram))
    assert rough.rank == 81
    found, true = fit_table(rough), fit_table(exact)
    size = torch.maximum(true.estimate.abs(), true.standard_error.nan_to_num(0.0))
    assert bool(((found.estimate - true.estimate).abs() <= 10**-rough.digits * size).all())
    tolerance = 10**-rough.error_digits
    torch.testing.assert_close(
        found.standard_error, true.standard_error, rtol=tolerance, atol=0, equal_nan=True
    )
    torch.testing.assert_close(found.residual_sd, true.residual_sd, equal_nan=True)
    assert rough.condition == pytest.approx(exact.condition, rel=1e-4)
    # A combination of other columns is left out, as with few columns.
    x[:, 40] = x[:, 3] - x[:, 7]
    assert fit(Float64Gram, x, y).collinear == (40,)


def test_a_perfect_fit_has_infinite_t_with_the_sign_of_the_estimate() -> None:
    torch.manual_seed(0)
    x = torch.randn(1000, 4, dtype=F64)
    for kind in (Float64Gram, ExactGram):
        for sign in (1, -1):
            t = fit_table(fit(kind, x, 1 + sign * x.sum(1, keepdim=True))).t[1:]
            assert bool((t * sign > 1e12).all())


@pytest.mark.parametrize("degree", [3, 6, 8, 10])
def test_polynomials_agree_with_rational_arithmetic(degree: int) -> None:
    torch.manual_seed(degree)
    u = torch.linspace(-8.8, -3.1, 82, dtype=F64) + torch.randn(82, dtype=F64) * 0.01
    x = torch.stack([u**k for k in range(1, degree + 1)], 1)
    y = (0.8 + 0.05 * torch.sin(3 * u) + 0.002 * torch.randn(82, dtype=F64))[:, None]
    truth = rational(x, y)
    exact, rough = fit(ExactGram, x, y), fit(Float64Gram, x, y)
    least = min(digits(v, t) for v, t in zip(all_coefficients(exact), truth, strict=True))
    assert least > 13.5
    assert least >= exact.digits - 0.1
    assert not exact.collinear
    if not rough.collinear:
        assert (
            min(digits(v, t) for v, t in zip(all_coefficients(rough), truth, strict=True))
            > rough.digits - 1
        )


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(8, 40),
    features=st.integers(1, 5),
    offset=st.sampled_from([0.0, 1e3, 1e9]),
    scale=st.sampled_from([1e-300, 1e-5, 1.0, 1e150, 1e300]),
    intercept=st.booleans(),
    weighted=st.booleans(),
    seed=st.integers(0, 10**6),
)
@example(  # coefficients far below their standard errors
    rows=36, features=2, offset=1e9, scale=1e-300, intercept=False, weighted=False, seed=291
)
def test_exact_coefficients_are_rounded_correctly(
    rows, features, offset, scale, intercept, weighted, seed
) -> None:
    torch.manual_seed(seed)
    x = (torch.randn(rows, features, dtype=F64) + offset) * scale
    assume(bool(x.isfinite().all()))
    y = torch.randn(rows, 1, dtype=F64)
    weight = torch.rand(rows, dtype=F64) + 0.01 if weighted else None
    solution = fit(ExactGram, x, y, weight, intercept)
    assert solution.rank == features + intercept
    errors = fit_table(solution).standard_error[:, 0].tolist()
    truths = rational(x, y, weight, intercept)
    for value, truth, error in zip(all_coefficients(solution), truths, errors, strict=True):
        # The result has only one rounding error. If the columns are too nearly collinear for that,
        # the error is within `digits` of the coefficient or of its standard error, the larger one.
        size = max(abs(truth), Fraction(error))
        assert digits(value, truth) > 15.9 or solution.digits < 15.9 or abs(truth) < error
        assert abs(Fraction(value) - truth) <= size * Fraction(10.0**-solution.digits)


@pytest.mark.parametrize("kind", KINDS)
def test_coefficients_agree_with_other_libraries(kind: type[Gram]) -> None:
    torch.manual_seed(0)
    x = torch.randn(500, 6, dtype=F64) * torch.logspace(-3, 3, 6).double() + 2
    y = x @ torch.randn(6, 2, dtype=F64) + torch.randn(500, 2, dtype=F64)
    solution = fit(kind, x, y)
    ones = torch.ones(500, 1, dtype=F64)
    lstsq = torch.linalg.lstsq(torch.cat((ones, x), 1), y).solution
    torch.testing.assert_close(solution.coefficients, lstsq[1:], rtol=1e-8, atol=0)
    torch.testing.assert_close(solution.intercept, lstsq[0], rtol=1e-8, atol=0)
    plain = fit(kind, x, y, intercept=False)
    lstsq = torch.linalg.lstsq(x, y).solution
    torch.testing.assert_close(plain.coefficients, lstsq, rtol=1e-8, atol=0)
    assert torch.equal(plain.intercept, torch.zeros(2, dtype=F64))
    weight = torch.rand(500, dtype=F64)
    solution = fit(kind, x, y, weight)
    other = LinearRegression().fit(x.numpy(), y.numpy(), sample_weight=weight.numpy())
    np.testing.assert_allclose(solution.coefficients.T, other.coef_, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("intercept", [True, False])
def test_ridge_agrees_with_scikit_learn(kind: type[Gram], intercept: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(80, 4, dtype=F64) * torch.tensor([1.0, 10.0, 0.1, 3.0]) + 5
    y = x.sum(1, keepdim=True) + torch.randn(80, 1, dtype=F64)
    weight = torch.rand(80, dtype=F64)
    solution = fit(kind, x, y, weight, intercept, ridge=3.5)
    other = Ridge(3.5, fit_intercept=intercept, solver="cholesky")
    other.fit(x.numpy(), y.numpy(), sample_weight=weight.numpy())
    np.testing.assert_allclose(solution.coefficients[:, 0], other.coef_.ravel(), rtol=1e-9)
    np.testing.assert_allclose(solution.intercept, other.intercept_, rtol=1e-9, atol=1e-12)
    rest = y[:, 0] - solution.intercept - x @ solution.coefficients[:, 0]
    found = fit_table(solution)
    centre = (weight @ y[:, 0] / weight.sum()) if intercept else 0.0
    total = weight @ (y[:, 0] - centre) ** 2
    assert float(found.r2) == pytest.approx(float(1 - weight @ rest**2 / total), rel=1e-12)
    assert math.isnan(float(found.standard_error[0]))
    # A penalty makes the solution for collinear columns unique.
    twice = fit(kind, torch.cat((x, x), 1), y, ridge=1.0)
    assert not twice.collinear
    torch.testing.assert_close(twice.coefficients[:4], twice.coefficients[4:], rtol=1e-9, atol=0)


@pytest.mark.parametrize("merged", [False, True])
def test_digits_account_for_a_first_row_far_from_the_others(merged: bool) -> None:
    for seed in range(20):
        torch.manual_seed(seed)
        x = torch.randn(300, 3, dtype=F64)
        x[:, 2] = x[:, 1] + 0.01 * x[:, 2]
        x[0] += 100
        y = x.sum(1, keepdim=True) + torch.randn(300, 1, dtype=F64)
        rough = Float64Gram(3, 1)
        if merged:
            rough.update(Batch(x[:1], y[:1]))
            rest = Float64Gram(3, 1)
            rest.update(Batch(x[1:], y[1:]))
            rough.merge(rest)
        else:
            for row in range(300):
                rough.update(Batch(x[row : row + 1], y[row : row + 1]))
        found = solve(rough.normal_equations(intercept=False))
        truth = fit(ExactGram, x, y, intercept=False)
        true = fit_table(truth)
        size = torch.maximum(true.estimate.abs(), true.standard_error)
        error = ((found.coefficients - truth.coefficients).abs() / size).max()
        assert float(error) <= 10**-found.digits
        # Most rows are near 0, so the merged sums have a shift near 0 and keep their digits.
        assert found.digits > 7 or not merged


def assert_digits_are_correct(found: Solution, exact: Solution) -> None:
    rough, true = fit_table(found), fit_table(exact)
    size = torch.maximum(true.estimate.abs(), true.standard_error)
    if found.digits > 0:
        assert bool(((rough.estimate - true.estimate).abs() <= 10**-found.digits * size).all())
    if found.error_digits > 0:
        loss = (rough.standard_error / true.standard_error - 1).abs()
        assert bool((loss <= 10**-found.error_digits).all())


@pytest.mark.parametrize("scale", [1e-200, 1.0])
@pytest.mark.parametrize("weight", [1.0, 1e-12])
@pytest.mark.parametrize("offset", [1e3, 1e5, 1e7])
@pytest.mark.parametrize("verb", ["merge", "subtract"])
def test_digits_account_for_large_sums_that_cancel(verb, offset, weight, scale) -> None:
    torch.manual_seed(0)
    x, w = torch.randn(1500, 2, dtype=F64), torch.ones(1500, dtype=F64)
    y = 1 + x.sum(1, keepdim=True) + torch.randn(1500, 1, dtype=F64)
    first, second, third = slice(2), slice(2, 500), slice(500, 1500)
    # The shift is the mean of the first rows. Most other rows are far from this shift.
    far = slice(2, 1500) if verb == "merge" else third
    x[far, 0], y[far], w[first] = x[far, 0] + offset, y[far] + offset, weight
    x = x * scale
    rough, exact = Float64Gram(2), ExactGram(2)
    for gram in (rough, exact):
        for rows in (first, second) if verb == "merge" else (first, second, third):
            gram.update(Batch(x[rows], y[rows], w[rows]))
        other = type(gram)(2)
        other.update(Batch(x[third], y[third], w[third]))
        getattr(gram, verb)(other)
    found = solve(rough.normal_equations())
    assert_digits_are_correct(found, solve(exact.normal_equations()))
    assert offset > 1e3 or found.digits > 5


def test_digits_are_0_if_huge_weights_make_float64_lose_the_penalty() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(20, 2, dtype=F64), torch.ones(20, dtype=F64)
    weight[0] = 1e190
    assert fit(Float64Gram, x, x[:, :1] + 1, weight, ridge=1.0).digits == 0


def test_small_weights_count_even_if_entries_need_many_slices() -> None:
    torch.manual_seed(0)
    x = torch.randn(40, 2, dtype=F64).round()
    x[:4], x[20] = torch.randn(4, 2, dtype=F64), 2.0**40
    y = x.sum(1, keepdim=True) + torch.randn(40, 1, dtype=F64).round()
    weight = torch.full((40,), 1e-100, dtype=F64)
    weight[:4], weight[20], weight[30] = torch.arange(1, 5).double() * 1e190, 1e-120, 1e-200
    solution = fit(ExactGram, x, y, weight, intercept=False)
    truth = rational(x, y, weight, intercept=False)
    assert min(digits(v, t) for v, t in zip(all_coefficients(solution), truth, strict=True)) > 15.5


def test_digits_of_exact_account_for_lost_bits() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(20, 2, dtype=F64), torch.randn(20, 1, dtype=F64)
    weight = torch.full((20,), 1e110, dtype=F64)
    # Products of the second column are below the last digit of the sums.
    x[:17, 1], weight[17:] = 0.0, 1e-146
    solution = fit(ExactGram, x, y, weight)
    assert digits(all_coefficients(solution)[2], rational(x, y, weight)[2]) < 1
    assert solution.error_digits == 0
    # A small entry in a column of larger entries costs no digit.
    x[:, 1], x[0, 1] = 1.0 + torch.arange(20), 1e-300
    solution = fit(ExactGram, x, y)
    assert (solution.digits, solution.error_digits) == (15.9, 15.9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [1e-300, 1e-20, 1.0, 1e20, 1e300])
def test_combinations_of_earlier_columns_are_left_out(kind: type[Gram], scale: float) -> None:
    torch.manual_seed(0)
    free = torch.randn(60, 3, dtype=F64) + 7
    constant = torch.full((60, 1), 0.1, dtype=F64)
    sums = free[:, :1] / 3 + free[:, 1:2]
    x = torch.cat((free[:, :2], free[:, :1], constant, sums, free[:, 2:], constant * 0), 1)
    y = free @ torch.tensor([[1.0], [2.0], [3.0]], dtype=F64) + torch.randn(60, 1, dtype=F64)
    solution = fit(kind, x * scale, y)
    assert solution.collinear == (2, 3, 4, 6)
    assert solution.kept.tolist() == [0, 1, 5]
    assert solution.rank == 4
    assert solution.coefficients[list(solution.collinear)].isnan().all()
    alone = fit(kind, free * scale, y)
    torch.testing.assert_close(
        solution.coefficients[solution.kept], alone.coefficients, rtol=1e-12, atol=0
    )
    assert solution.digits == (0.0 if kind is Float64Gram else 15.9)
    assert fit(kind, x * scale, y, intercept=False).collinear == (2, 4, 6)


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(1, 8),
    spread=st.integers(1, 5000),
    prices=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_a_difference_of_nearly_equal_columns_is_left_out(
    size: int, spread: int, prices: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    low = torch.randint(0, 10**size + 1, (20, 1)).double()
    step = torch.randint(-spread, spread + 1, (20, 1)).double()
    # Prices in cents are rounded to float64; whole numbers are exact.
    unit = 100.0 if prices else 1.0
    x = torch.cat((low / unit, (low + step) / unit, step / unit), 1)
    assume(len(low.unique()) > 10 and len(step.unique()) > 2)
    y = torch.randn(20, 1, dtype=F64)
    assert fit(ExactGram, x, y).collinear == (2,)
    rough = fit(Float64Gram, x, y)  # may find the first two columns equal
    assert (rough.collinear in ((1,), (2,)), rough.digits) == (True, 0.0)
    # A column that is not a combination of other columns stays.
    x[:, 2] += torch.arange(20) % 2 / unit
    assert fit(ExactGram, x, y).collinear == ()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("scale", "ridge"), [(1e-160, 1.0), (1e-300, 1.0), (1.0, 1e305), (1e150, 1e-300), (1e-160, 0)]
)
def test_penalties_of_any_size_agree_with_rational_arithmetic(
    kind: type[Gram], scale: float, ridge: float
) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(20, 2, dtype=F64), torch.randn(20, 1, dtype=F64)
    x[:, 1] *= scale
    # The normal equations with a penalty, solved in rational arithmetic.
    penalty = [[Fraction(ridge), Fraction(0)], [Fraction(0), Fraction(ridge)]]
    rows = [[Fraction(v) for v in row] for row in x.tolist()]
    target = [Fraction(v) for v in y[:, 0].tolist()]
    mean = [sum(column) / 20 for column in zip(*rows, strict=True)]
    centred = [[v - m for v, m in zip(row, mean, strict=True)] for row in rows]
    (a, b), (_, c) = (
        [sum(r[i] * r[j] for r in centred) + penalty[i][j] for j in range(2)] for i in range(2)
    )
    p, q = (sum(r[i] * t for r, t in zip(centred, target, strict=True)) for i in range(2))
    truth = (p * c - q * b) / (a * c - b * b), (q * a - p * b) / (a * c - b * b)
    for value, exact in zip(fit(kind, x, y, ridge=ridge).coefficients[:, 0], truth, strict=True):
        assert digits(float(value), exact) > (15.5 if kind is ExactGram else 14)


def test_a_coefficient_out_of_range_is_refused() -> None:
    x = torch.arange(1.0, 11.0).double().unsqueeze(1)
    for kind in KINDS:
        with pytest.raises(InputError, match="a coefficient leaves the range of float64"):
            fit(kind, x * 1e-320, x.flip(0) * 1e306)


@pytest.mark.parametrize("kind", KINDS)
def test_fewer_rows_than_columns_leave_columns_out(kind: type[Gram]) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(5, 9, dtype=F64), torch.randn(5, 1, dtype=F64)
    solution = fit(kind, x, y)
    assert solution.collinear == (4, 5, 6, 7, 8)
    truth = rational(x[:, :4], y)
    for value, exact in zip(all_coefficients(solution)[:5], truth, strict=True):
        assert digits(value, exact) > (15.5 if kind is ExactGram else 10)
    one = fit(kind, x[:1], y[:1])
    assert (one.collinear, one.rank) == (tuple(range(9)), 1)
    assert float(one.intercept) == float(y[0])


@pytest.mark.parametrize("kind", KINDS)
def test_an_intercept_alone_is_the_mean(kind: type[Gram]) -> None:
    y = torch.tensor([[1.0], [2.0], [6.0]], dtype=F64)
    solution = fit(kind, torch.zeros(3, 0, dtype=F64), y)
    assert (float(solution.intercept), solution.rank, solution.condition) == (3.0, 1, 1.0)
    empty = fit(kind, torch.zeros(3, 0, dtype=F64), y, intercept=False)
    assert empty.rank == 0


@pytest.mark.parametrize("kind", KINDS)
def test_extreme_units_keep_columns_independent(kind: type[Gram]) -> None:
    """scikit-learn 1.9.1 finds rank 1 for these two independent columns."""
    torch.manual_seed(0)
    x = torch.randn(1000, 2, dtype=F64)
    y = x.sum(1, keepdim=True) + 0.1 * torch.randn(1000, 1, dtype=F64)
    plain = fit(kind, x, y)
    scaled = fit(kind, x * torch.tensor([1e200, 1e-200], dtype=F64), y)
    assert scaled.rank == 3
    expected = plain.coefficients / torch.tensor([[1e200], [1e-200]], dtype=F64)
    torch.testing.assert_close(scaled.coefficients, expected, rtol=1e-13, atol=0)
    assert scaled.condition == pytest.approx(plain.condition, rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_the_condition_number_is_that_of_the_scaled_columns(kind: type[Gram]) -> None:
    torch.manual_seed(0)
    x = torch.randn(200, 4, dtype=F64)
    x[:, 3] = x[:, 0] + 1e-5 * x[:, 3]
    x = x * torch.tensor([1.0, 1e3, 1e-9, 5.0], dtype=F64) + 4
    y = x.sum(1, keepdim=True)
    for intercept in (True, False):
        columns = x - x.mean(0) if intercept else x
        values = np.linalg.svd((columns / columns.norm(dim=0)).numpy(), compute_uv=False)
        found = fit(kind, x, y, intercept=intercept).condition
        assert found == pytest.approx(values[0] / values[-1], rel=1e-3)


def test_invalid_penalties_and_overflow_are_refused() -> None:
    x, y = torch.randn(9, 1, dtype=F64), torch.randn(9, 1, dtype=F64)
    for ridge in (-1.0, math.nan, math.inf):
        with pytest.raises(InputError, match="ridge: "):
            fit(ExactGram, x, y, ridge=ridge)
    for kind in KINDS:
        with pytest.raises(InputError, match="leaves the range of float64"):
            fit(kind, x * 1e-200, y * 1e200)
        tiny = torch.full((9,), 1e-300, dtype=F64)
        with pytest.raises(InputError, match="a sum of squares leaves the range of float64"):
            fit(kind, x * 1e-300, y, tiny, ridge=1e300)


# The precision of the rows


def temperatures(dtype: torch.dtype, rows: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    """Return x = (c, 1.8 c + 32), rounded to a type, and y."""
    torch.manual_seed(0)
    celsius = 15 + 10 * torch.randn(rows, 1, dtype=F64)
    y = 2 * celsius + torch.randn(rows, 1, dtype=F64)
    return torch.cat((celsius, 1.8 * celsius + 32), 1).to(dtype), y


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, F64])
def test_columns_collinear_to_the_rounding_of_their_type_are_left_out(kind, dtype) -> None:
    x, y = temperatures(dtype)
    solution = fit(kind, x, y)
    assert solution.collinear == (1,)
    # The same numbers in float64 differ from a combination by more than float64 rounds.
    if kind is ExactGram and dtype != F64:
        assert fit(kind, x.double(), y).collinear == ()
    # A penalty makes the solution unique, so that nothing is left out.
    assert fit(kind, x, y, ridge=1e-3).collinear == ()
    # Neither is a column that differs from the combination by more than its rounding.
    x = x.double()
    x[:, 1] += 40 * torch.finfo(dtype).eps * x[:, 1] * torch.randn(200, dtype=F64)
    assert kind is Float64Gram or fit(kind, x.to(dtype), y).collinear == ()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("dtype", "largest"), [(torch.float32, 2**21), (torch.float16, 500), (torch.bfloat16, 60)]
)
def test_whole_numbers_are_exact_in_any_type(kind, dtype, largest) -> None:
    torch.manual_seed(0)
    near = largest - torch.randint(0, 3, (60, 1)).double()
    other = near + (torch.arange(60) == 30)[:, None]
    y = torch.randn(60, 1, dtype=F64)
    x = torch.cat((near, other, 2 * near - other), 1).to(dtype)
    solution, same = fit(kind, x, y), fit(kind, x.double(), y)
    assert solution.collinear == same.collinear == (2,)
    assert torch.equal(solution.coefficients[:2], same.coefficients[:2])
    # Numbers that the type has rounded to whole ones are not.
    far = (torch.cat((near, other), 1) * 64).to(dtype)
    assert fit(kind, far, y).collinear == (1,)


@pytest.mark.parametrize("kind", KINDS)
def test_the_least_precise_batch_decides_in_merges_and_saved_states(kind: type[Gram]) -> None:
    x, y = temperatures(torch.float32)
    wide, narrow = kind(2), kind(2)
    wide.update(Batch(x[:100].double(), y[:100]))
    narrow.update(Batch(x[100:], y[100:]))
    again = kind.from_state_dict(narrow.state_dict())
    assert torch.equal(again.normal_equations().input_roundoff, torch.full((2,), 2.0**-24).double())
    again.merge(wide)
    wide.merge(narrow)
    for gram in (again, wide, Float64Gram.from_gram(wide)):
        assert solve(gram.normal_equations()).collinear == (1,)
    # A state of an earlier version says nothing of the precision.
    state = wide.state_dict()
    del state["precision"]
    old = kind.from_state_dict(state).normal_equations()
    assert torch.equal(old.input_roundoff, torch.full((2,), 2.0**-53).double())


# Constant targets


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [0.0, 0.1, -1e10 / 3, 1e-300, 7e300])
@pytest.mark.parametrize("size", [7, 50])
def test_a_constant_target_has_slopes_of_0_without_tests(kind, value: float, size: int) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(50, 2, dtype=F64) + 3, torch.rand(50, dtype=F64)
    y = torch.stack((torch.full((50,), value, dtype=F64), x.sum(1) + torch.randn(50)), 1)
    gram, alone = kind(2, 2), kind(2, 1)
    for start in range(0, 50, size):
        rows = slice(start, start + size)
        gram.update(Batch(x[rows], y[rows], weight[rows]))
        alone.update(Batch(x[rows], y[rows, 1:], weight[rows]))
    solution, other = (solve(g.normal_equations()) for g in (gram, alone))
    found = fit_table(solution)
    assert found.estimate[1:, 0].tolist() == [0.0, 0.0]
    assert found.estimate[0, 0].item() == pytest.approx(value, rel=1e-14)
    assert bool(found.t[1:, 0].isnan().all() and found.p[1:, 0].isnan().all())
    assert math.isnan(float(found.r2[0]))
    # It costs the other target nothing.
    torch.testing.assert_close(solution.coefficients[:, 1:], other.coefficients, rtol=1e-13, atol=0)
    assert min(solution.digits, solution.error_digits) > 12


def test_a_target_that_float64_cannot_see_is_not_taken_for_constant() -> None:
    torch.manual_seed(0)
    x = torch.randn(60, 1, dtype=F64)
    y = x + torch.randn(60, 1, dtype=F64)
    y[:30] += 1e12
    gram, first = Float64Gram(1), Float64Gram(1)
    gram.update(Batch(x, y))
    first.update(Batch(x[:30], y[:30]))
    gram.subtract(first)
    assert solve(gram.normal_equations()).digits == 0
