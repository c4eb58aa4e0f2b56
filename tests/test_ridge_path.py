"""Ridge paths and criteria agree with rational arithmetic, scikit-learn and the rows themselves."""

from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from sklearn.linear_model import ElasticNet, Lasso, LassoLarsIC, Ridge
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from linreg_lightning import least_squares
from linreg_lightning.algebra import ExactGram, Float64Gram, Gram
from linreg_lightning.algebra.penalty_scale import (
    StandardizedEquations,
    alpha_grid,
    largest_alpha,
    standardize_equations,
)
from linreg_lightning.algebra.ridge_path import RidgePath, ridge_path
from linreg_lightning.algebra.selection_criteria import (
    noise_variance,
    selection_criteria,
    sparse_degrees_of_freedom,
)
from linreg_lightning.batch import Batch
from linreg_lightning.errors import InputError

F64 = torch.float64
KINDS = [ExactGram, Float64Gram]
ALPHAS = torch.tensor([1e3, 1.0, 1e-3, 1e-7, 1e-11, 1e-16], dtype=F64)


def equations_of(
    x, y, weight=None, intercept=True, kind: type[Gram] = ExactGram, **options
) -> StandardizedEquations:
    gram = kind(x.shape[1], y.shape[1])
    gram.update(Batch(x, y, weight))
    return standardize_equations(gram.normal_equations(intercept), **options)


class Rational(NamedTuple):
    coefficients: list[Fraction]  # the intercept first, if there is one
    freedom: Fraction
    residual: Fraction


def solve_rational(matrix: list[list[Fraction]], right: list[list[Fraction]]) -> list[list]:
    """Return matrix^-1 right by Gaussian elimination."""
    rows = [[*a, *b] for a, b in zip(matrix, right, strict=True)]
    count = len(matrix)
    for k in range(count):
        pivot = next(i for i in range(k, count) if rows[i][k])
        rows[k], rows[pivot] = rows[pivot], rows[k]
        rows[k] = [v / rows[k][k] for v in rows[k]]
        for i in range(count):
            if i != k and rows[i][k]:
                share = rows[i][k]
                rows[i] = [a - share * b for a, b in zip(rows[i], rows[k], strict=True)]
    return [row[count:] for row in rows]


def rational_ridge(
    x, y, alpha: float, weight=None, intercept=True, standardize=True, unpenalized=()
) -> Rational:
    """Minimise the objective in rational numbers; no column may be constant."""
    w = [Fraction(v) for v in ([1.0] * len(x) if weight is None else weight.tolist())]
    z = [[Fraction(1)] * intercept + [Fraction(v) for v in row] for row in x.tolist()]
    t = [Fraction(v) for v in y.flatten().tolist()]
    total, count = sum(w), len(z[0])

    def dot(i, j):
        return sum(u * row[i] * row[j] for u, row in zip(w, z, strict=True))

    gram = [[dot(i, j) for j in range(count)] for i in range(count)]
    right = [sum(u * row[i] * v for u, row, v in zip(w, z, t, strict=True)) for i in range(count)]
    penalised = [row[:] for row in gram]
    for j in range(intercept, count):
        if j - intercept not in unpenalized:
            square = gram[j][j] - (gram[0][j] ** 2 / total if intercept else 0)
            penalised[j][j] += Fraction(alpha) * (square if standardize else total)
    solved = solve_rational(penalised, [[a, *b] for a, b in zip(right, gram, strict=True)])
    b = [row[0] for row in solved]
    predicted = [sum(a * c for a, c in zip(row, b, strict=True)) for row in z]
    residual = sum(u * (v - q) ** 2 for u, v, q in zip(w, t, predicted, strict=True)) / total
    return Rational(b, sum(solved[i][1 + i] for i in range(count)), residual)


def error(value: float, truth: Fraction) -> float:
    return float(abs(Fraction(value) - truth) / abs(truth)) if truth else abs(value)


def largest_error(path: RidgePath, place: int, truth: Rational, intercept=True) -> float:
    found = path.intercept[place].tolist() * intercept + path.coefficients[place, :, 0].tolist()
    errors = [error(a, b) for a, b in zip(found, truth.coefficients, strict=True)]
    return max(*errors, error(float(path.degrees_of_freedom[place, 0]), truth.freedom))


def draw(rows: int, features: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, features, dtype=F64, generator=generator)
    y = x.sum(1, keepdim=True) + torch.randn(rows, 1, dtype=F64, generator=generator)
    return x, y, torch.rand(rows, dtype=F64, generator=generator) + 0.25


def hard_rows(name: str) -> tuple[Tensor, Tensor]:
    x, y, _ = draw(6 if name == "wide" else 12, 9 if name == "wide" else 4)
    if name == "scales":
        x = x * torch.tensor([1e-8, 1.0, 1e8, 1e4])
    elif name == "offsets":
        x, y = x + 1e9, y - 3e9
    elif name == "duplicates":
        x[:, 2] = x[:, 0]
        x[:, 3] = x[:, 1] - x[:, 0]
    elif name == "near duplicates":
        x[:, 2] = x[:, 0] + 1e-9 * x[:, 2]
    elif name == "perfect":
        y = x.sum(1, keepdim=True) + 1e-6 * y
    return x, y


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize(
    "name", ["scales", "offsets", "duplicates", "near duplicates", "perfect", "wide"]
)
def test_hard_rows_have_the_coefficients_of_rationals(name: str, standardize: bool) -> None:
    x, y = hard_rows(name)
    path = ridge_path(equations_of(x, y, standardize=standardize), ALPHAS)
    variance = float(y.var(correction=0))
    for place, alpha in enumerate(ALPHAS.tolist()):
        truth = rational_ridge(x, y, alpha, standardize=standardize)
        assert largest_error(path, place, truth) < 1e-12
        residual = float(path.residual[place, 0])
        assert residual == pytest.approx(float(truth.residual), rel=1e-12, abs=1e-29 * variance)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    weighted=st.booleans(),
    intercept=st.booleans(),
    standardize=st.booleans(),
    unpenalized=st.sampled_from([(), (1,), (0, 2)]),
    alpha=st.floats(-6, 3).map(lambda power: 10.0**power),
    kind=st.sampled_from(KINDS),
)
def test_every_option_agrees_with_rationals(
    seed, weighted, intercept, standardize, unpenalized, alpha, kind
) -> None:
    x, y, weight = draw(9, 3, seed)
    options = {"standardize": standardize, "unpenalized": unpenalized}
    weight = weight if weighted else None
    equations = equations_of(x, y, weight, intercept, kind, **options)
    path = ridge_path(equations, torch.tensor([alpha]).double())
    truth = rational_ridge(x, y, float(path.alphas[0, 0]), weight, intercept, **options)
    assert largest_error(path, 0, truth, intercept) < (1e-12 if kind is ExactGram else 1e-9)
    assert error(float(path.residual[0, 0]), truth.residual) < 1e-11


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("intercept", [True, False])
def test_a_constant_column_has_the_coefficient_0(kind: type[Gram], intercept: bool) -> None:
    x, y, weight = draw(12, 3)
    constant = 0.0 if not intercept else 0.1
    with_constant = torch.cat((x[:, :1], torch.full_like(y, constant), x[:, 1:]), 1)
    path = ridge_path(equations_of(with_constant, y, weight, intercept, kind), ALPHAS)
    without = ridge_path(equations_of(x, y, weight, intercept, kind), ALPHAS)
    assert (path.coefficients[:, 1] == 0).all()
    assert torch.allclose(path.coefficients[:, [0, 2, 3]], without.coefficients, rtol=1e-12)
    assert torch.allclose(path.degrees_of_freedom, without.degrees_of_freedom, rtol=1e-12)


def test_without_a_column_to_penalise_the_fit_is_least_squares() -> None:
    x, y, weight = draw(12, 2)
    truth = least_squares(x, y, weight)
    for columns in (x, torch.cat((x, torch.ones_like(y)), 1)):
        path = ridge_path(equations_of(columns, y, weight, unpenalized=(0, 1)), ALPHAS[:2])
        assert torch.allclose(path.coefficients[:, :2], truth.coefficients, rtol=1e-13)
        assert torch.allclose(path.intercept, truth.intercept, rtol=1e-13)
        assert (path.degrees_of_freedom == 3).all()
    empty = ridge_path(equations_of(x[:, :0], y), ALPHAS[:2])
    assert torch.allclose(empty.intercept, y.mean(), rtol=1e-13)


def test_a_repeated_column_without_penalty_is_left_out() -> None:
    x, y, _ = draw(12, 3)
    repeated = torch.cat((x, x[:, :1]), 1)
    path = ridge_path(equations_of(repeated, y, unpenalized=(0, 3)), ALPHAS[:2])
    truth = ridge_path(equations_of(x, y, unpenalized=(0,)), ALPHAS[:2])
    assert torch.allclose(path.coefficients[:, :3], truth.coefficients, rtol=1e-12)
    assert (path.coefficients[:, 3] == 0).all()


def test_targets_have_paths_of_their_own() -> None:
    x, y, weight = draw(20, 3)
    both = torch.cat((y, 1e5 * y.square(), torch.full_like(y, 3.0)), 1)
    equations = equations_of(x, both, weight)
    alphas = alpha_grid(equations, 0.0, 5)
    path = ridge_path(equations, torch.where(alphas > 0, alphas, 1.0))
    for target in (0, 1):
        alone = equations_of(x, both[:, target : target + 1], weight)
        single = ridge_path(alone, alphas[:, target])
        for found, truth in zip(path, single, strict=True):
            assert torch.allclose(found[..., target], truth[..., 0], rtol=1e-12)
    assert (path.coefficients[:, :, 2] == 0).all()
    assert (path.intercept[:, 2] == 3).all()
    assert (path.residual[:, 2] == 0).all()


def test_batches_and_order_of_the_rows_change_no_bit() -> None:
    x, y, weight = draw(50, 4)
    gram = ExactGram(4)
    for part in torch.randperm(50).split(7):
        gram.update(Batch(x[part], y[part], weight[part]))
    equations = standardize_equations(gram.normal_equations())
    for a, b in zip(
        ridge_path(equations, ALPHAS), ridge_path(equations_of(x, y, weight), ALPHAS), strict=True
    ):
        assert torch.equal(a, b)


@pytest.mark.parametrize("kind", KINDS)
def test_no_number_is_nan_where_float64_sums_hide_duplicates(kind: type[Gram]) -> None:
    x, y, _ = draw(40, 6)
    x[:, 3:] = x[:, :3] @ torch.rand(3, 3, dtype=F64)
    path = ridge_path(equations_of(x, y, kind=kind), ALPHAS)
    assert all(v.isfinite().all() for v in path)
    assert float(path.coefficients[:5].abs().max()) < 10
    assert (path.degrees_of_freedom.diff(dim=0) > 0).all()


@pytest.mark.parametrize("name", ["offsets", "duplicates", "near duplicates", "wide"])
def test_no_more_digits_are_promised_than_float64_sums_give(name: str) -> None:
    x, y = hard_rows(name)
    alphas = 10.0 ** torch.arange(3, -13, -1, dtype=F64)
    path = ridge_path(equations_of(x, y, kind=Float64Gram), alphas)
    truth = ridge_path(equations_of(x, y), alphas)
    relative = (path.coefficients / truth.coefficients - 1).abs().amax(1)
    assert (relative <= 10**-path.digits).all()
    assert float(path.digits[:3].min()) > 11
    assert (float(path.digits[-1]) < 8) == (name != "offsets")
    assert float(truth.digits.min()) > 15


def test_too_large_a_variance_is_refused() -> None:
    x, y, _ = draw(8, 2)
    with pytest.raises(InputError, match="a variance leaves the range of float64"):
        equations_of(x * 1e200, y, standardize=False)
    path = ridge_path(equations_of(x * 1e200, y * 1e-100), torch.tensor([0.5]))
    truth = ridge_path(equations_of(x, y), torch.tensor([0.5])).coefficients
    assert torch.allclose(path.coefficients * 1e300, truth, rtol=1e-12, atol=0)


# The table of `penalty_scale`.


def ridge_of_scikit_learn(x, y, weight, standardize: bool, alpha: float) -> tuple:
    model = Ridge(alpha * float(weight.sum()), solver="cholesky")
    return fit_scikit_learn(model, x, y, weight, standardize)


def fit_scikit_learn(model, x, y, weight, standardize: bool) -> tuple:
    """Return the coefficients and the intercept in the units of x."""
    x, y, weight = x.numpy(), y[:, 0].numpy(), weight.numpy()
    scaler = StandardScaler(with_std=standardize).fit(x, sample_weight=weight)
    model.fit(scaler.transform(x), y, sample_weight=weight)
    scale = scaler.scale_ if standardize else 1.0
    coefficients = model.coef_ / scale
    return coefficients, model.intercept_ - scaler.mean_ @ coefficients


@pytest.mark.parametrize("standardize", [True, False])
def test_alpha_times_the_sum_of_weights_is_that_of_ridge_in_scikit_learn(standardize) -> None:
    x, y, weight = draw(30, 4)
    x = x * torch.tensor([1.0, 10.0, 0.1, 3.0]) + 5
    path = ridge_path(equations_of(x, y, weight, standardize=standardize), ALPHAS[:4])
    for place, alpha in enumerate(ALPHAS[:4].tolist()):
        coefficients, level = ridge_of_scikit_learn(x, y, weight, standardize, alpha)
        np.testing.assert_allclose(path.coefficients[place, :, 0], coefficients, rtol=1e-9)
        np.testing.assert_allclose(path.intercept[place, 0], level, rtol=1e-9)


def test_alpha_times_the_sum_of_weights_is_the_ridge_of_least_squares() -> None:
    x, y, weight = draw(30, 4)
    path = ridge_path(equations_of(x, y, weight, standardize=False), torch.tensor([0.25]))
    truth = least_squares(x, y, weight, ridge=0.25 * float(weight.sum()))
    assert torch.allclose(path.coefficients[0], truth.coefficients, rtol=1e-13)
    assert torch.allclose(path.intercept[0], truth.intercept, rtol=1e-13)


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("l1_ratio", [1.0, 0.4])
def test_alpha_is_that_of_lasso_and_elastic_net_in_scikit_learn(l1_ratio, standardize) -> None:
    x, y, weight = draw(30, 5)
    x, y = x * torch.tensor([1.0, 4.0, 0.3, 2.0, 1.0]) + 5, 1000 * y
    equations = equations_of(x, y, weight, standardize=standardize)
    alpha = 0.3 * float(largest_alpha(equations, l1_ratio))
    options = {"alpha": alpha, "tol": 1e-14, "max_iter": 10**5}
    model = Lasso(**options) if l1_ratio == 1 else ElasticNet(l1_ratio=l1_ratio, **options)
    coefficients, level = fit_scikit_learn(model, x, y, weight, standardize)
    unit = 2.0 ** float(equations.target_exponent[0])
    g = torch.tensor(coefficients) / unit
    if standardize:
        g = g * torch.tensor(np.sqrt(np.cov(x.T, aweights=weight, ddof=0).diagonal()))
    # At the minimum: the part of alpha on |g| is in the unit of the target, that on g^2 is not.
    limit = alpha * l1_ratio / unit
    slope = equations.xy.high[:, 0] - equations.cross.high @ g - alpha * (1 - l1_ratio) * g
    assert (g == 0).any()
    assert (slope[g == 0].abs() < limit).all()
    assert torch.allclose(slope[g != 0], limit * g[g != 0].sign(), rtol=1e-9)
    found, intercept = equations.coefficients(g[:, None])
    np.testing.assert_allclose(found[0, :, 0], coefficients, rtol=1e-12)
    np.testing.assert_allclose(intercept[0, 0], level, rtol=1e-9)


@pytest.mark.parametrize("mixing", [0.0, 0.3, 1.0])
def test_a_penalty_of_glmnet_depends_on_the_scale_of_the_target_as_the_table_says(mixing) -> None:
    x, y = (v.numpy() for v in draw(30, 4)[:2])
    y, penalty = 100 * y[:, 0], 30.0
    scale = y.std()
    options = {"tol": 1e-14, "max_iter": 10**5}
    # glmnet divides the target and its lambda by the scale of the target.
    model = ElasticNet(alpha=penalty / scale, l1_ratio=mixing, **options).fit(x, y / scale)
    share = mixing + (1 - mixing) / scale
    here = ElasticNet(alpha=penalty * share, l1_ratio=mixing / share, **options).fit(x, y)
    np.testing.assert_allclose(scale * model.coef_, here.coef_, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("l1_ratio", [1.0, 0.3])
@pytest.mark.parametrize("unpenalized", [(), (0,)])
def test_the_largest_alpha_is_the_smallest_without_coefficients(l1_ratio, unpenalized) -> None:
    x, y, weight = draw(30, 4)
    equations = equations_of(x, y, weight, standardize=False, unpenalized=unpenalized)
    rest_x, rest_y = x[:, len(unpenalized) :], y
    if unpenalized:
        # What a least-squares fit of the first column leaves.
        rest_x = rest_x - least_squares(x[:, :1], rest_x, weight).predict(x[:, :1])
        rest_y = y - least_squares(x[:, :1], y, weight).predict(x[:, :1])
    largest = float(largest_alpha(equations, l1_ratio))
    for share, zeros in ((1 + 1e-9, True), (1 - 1e-6, False)):
        model = ElasticNet(alpha=largest * share, l1_ratio=l1_ratio, tol=1e-14)
        coefficients, _ = fit_scikit_learn(model, rest_x, rest_y, weight, standardize=False)
        assert (coefficients == 0).all() == zeros


def test_the_grid_falls_by_a_constant_ratio() -> None:
    x, y, _ = draw(30, 4)
    grid = alpha_grid(equations_of(x, y))
    assert grid.shape == (100, 1)
    assert torch.allclose(grid[1:] / grid[:-1], grid[1] / grid[0], rtol=1e-12)
    assert float(grid[-1] / grid[0]) == pytest.approx(1e-4)
    wide = alpha_grid(equations_of(x[:4], y[:4]))
    assert float(wide[-1] / wide[0]) == pytest.approx(1e-2)
    # That of ridge does not depend on the unit of the target, as those of the penalty.
    ridge = alpha_grid(equations_of(x, 1e5 * y), 0.0)
    assert torch.allclose(ridge, alpha_grid(equations_of(x, y), 0.0), rtol=1e-12)
    assert float(ridge[-1] / ridge[0]) == pytest.approx(1e-7)
    wide = alpha_grid(equations_of(x[:4], y[:4]), 0.0)
    assert float(wide[-1] / wide[0]) == pytest.approx(1e-5)
    correlation = np.corrcoef(x.T, y.T)[-1, :-1]
    assert float(ridge[0]) == pytest.approx(1000 * np.abs(correlation).max())
    assert (alpha_grid(equations_of(x, torch.ones_like(y))) == 0).all()


# Criteria.


def hat_matrix(x: Tensor, penalty: Tensor, weight: Tensor) -> Tensor:
    """Return S of y -> S y for columns [1, x] with a penalty of each on (1/2) sum w r^2."""
    z = torch.cat((torch.ones_like(x[:, :1]), x), 1)
    inside = (z.T * weight) @ z + torch.cat((torch.zeros(1), penalty)).diag()
    return z @ torch.linalg.solve(inside, z.T * weight)


def test_ridge_criteria_are_those_of_the_rows() -> None:
    x, y, weight = draw(25, 4)
    gram = ExactGram(4)
    gram.update(Batch(x, y, weight))
    equations = standardize_equations(gram.normal_equations(), standardize=False)
    path = ridge_path(equations, torch.tensor([0.5]))
    noise = noise_variance(gram.normal_equations())
    found = selection_criteria(equations, path.residual, path.degrees_of_freedom, noise)
    total, n = weight.sum(), 25
    smoother = hat_matrix(x, 0.5 * total * torch.ones(4, dtype=F64), weight)
    rest, df = y[:, 0] - smoother @ y[:, 0], float(smoother.trace())
    squares = float((weight * rest.square()).sum())
    density = torch.distributions.Normal(0.0, (squares / n / weight).sqrt())
    deviance = -2 * float(density.log_prob(rest).sum())
    full = least_squares(x, y, weight).statistics
    assert float(noise) == pytest.approx(full["residual_sd"] ** 2, rel=1e-12)
    assert float(path.degrees_of_freedom) == pytest.approx(df, rel=1e-12)
    assert float(found.aic) == pytest.approx(2 * df + deviance, rel=1e-12)
    assert float(found.bic) == pytest.approx(df * np.log(n) + deviance, rel=1e-12)
    assert float(found.cp) == pytest.approx(squares / float(noise) - n + 2 * df, rel=1e-12)
    expected = squares / float(total) / (1 - df / n) ** 2
    assert float(found.gcv) == pytest.approx(expected, rel=1e-12)


def test_criteria_of_a_tiny_penalty_are_those_of_least_squares() -> None:
    x, y, weight = draw(25, 3)
    gram = ExactGram(3)
    gram.update(Batch(x, y, weight))
    equations = standardize_equations(gram.normal_equations())
    path = ridge_path(equations, torch.tensor([1e-15]))
    noise = noise_variance(gram.normal_equations())
    found = selection_criteria(equations, path.residual, path.degrees_of_freedom, noise)
    truth = least_squares(x, y, weight).statistics
    assert float(found.aic) == pytest.approx(truth["aic"], rel=1e-12)
    assert float(found.bic) == pytest.approx(truth["bic"], rel=1e-12)
    assert float(found.cp) == pytest.approx(4, rel=1e-11)


def test_criteria_without_residual_degrees_of_freedom_are_nan() -> None:
    x, y, _ = draw(4, 6)
    gram = ExactGram(6)
    gram.update(Batch(x, y))
    equations, noise = standardize_equations(gram.normal_equations()), torch.tensor([torch.nan])
    assert noise_variance(gram.normal_equations()).isnan().all()
    path = ridge_path(equations, torch.tensor([1.0]))
    found = selection_criteria(equations, path.residual, path.degrees_of_freedom, noise)
    assert found.cp.isnan().all()
    assert found.gcv.isfinite().all()
    full = selection_criteria(equations, path.residual, torch.tensor([[4.0]]), noise)
    assert full.gcv.isnan().all()


def test_lasso_criteria_are_those_of_scikit_learn() -> None:
    x, y, _ = draw(40, 5)
    y = y - x[:, 1:].sum(1, keepdim=True)  # one column matters
    model = LassoLarsIC(criterion="bic").fit(x.numpy(), y[:, 0].numpy())
    gram = ExactGram(5)
    gram.update(Batch(x, y))
    equations = standardize_equations(gram.normal_equations(), standardize=False)
    noise = noise_variance(gram.normal_equations())
    assert float(noise) == pytest.approx(model.noise_variance_, rel=1e-10)
    unit = 2.0 ** float(equations.target_exponent[0])
    g = torch.tensor(model.coef_)[None, :, None] / unit
    df = sparse_degrees_of_freedom(equations, g, torch.tensor([model.alpha_]), 1.0)
    assert float(df) == 1 + np.count_nonzero(model.coef_) == 2
    rest = y[:, 0].numpy() - model.predict(x.numpy())
    residual = torch.tensor([[(rest**2).mean()]])
    cp = float(selection_criteria(equations, residual, df, noise).cp)
    # scikit-learn does not count the intercept and has log n for 2.
    count, constant = float(df) - 1, 40 * np.log(2 * np.pi * model.noise_variance_) + 40
    expected = cp - 2 * float(df) + np.log(40) * count + constant
    assert model.criterion_.min() == pytest.approx(expected, rel=1e-9)


def test_degrees_of_freedom_of_sparse_fits() -> None:
    x, y, weight = draw(30, 5)
    equations = equations_of(x, y, weight, standardize=False, unpenalized=(4,))
    g = torch.tensor([[0.0, 1.0, 0.0, -2.0], [0.0, 0.0, 0.0, 0.0]], dtype=F64)[:, :, None]
    lasso = sparse_degrees_of_freedom(equations, g, torch.tensor([0.5, 0.5]), 1.0)
    assert lasso.flatten().tolist() == [4, 2]
    net = sparse_degrees_of_freedom(equations, g, torch.tensor([0.5, 0.5]), 0.25)
    penalty = 0.375 * weight.sum() * torch.tensor([0.0, 1.0, 1.0], dtype=F64)
    smoother = hat_matrix(x[:, [4, 1, 3]], penalty, weight)
    assert float(net[0]) == pytest.approx(float(smoother.trace()), rel=1e-12)
    assert float(net[1]) == 2
    repeated = equations_of(x[:, [0, 0, 1]], y)
    both = torch.ones(1, 3, 1, dtype=F64)
    assert float(sparse_degrees_of_freedom(repeated, both, torch.tensor([0.1]), 1.0)) == 3
