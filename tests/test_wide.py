"""Tables of many columns: the numbers are right, time and memory bearable or announced."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer

from linreg_lightning import LeastSquares, TensorData
from linreg_lightning.algebra import (
    ExactGram,
    Float64Gram,
    Gram,
    cholesky,
    cost,
    least_squares,
    solve,
)
from linreg_lightning.algebra.cholesky import condition_number
from linreg_lightning.algebra.cost import cost_note
from linreg_lightning.algebra.double_double import DoubleDouble
from linreg_lightning.algebra.multiprecision import matrix_product
from linreg_lightning.batch import Batch

F64 = torch.float64
MakeTrainer = Callable[..., Trainer]


def gram_of(kind: type[Gram], x: torch.Tensor, y: torch.Tensor) -> Gram:
    gram = kind(x.shape[1], y.shape[1])
    gram.update(Batch(x, y))
    return gram


def sample(rows: int, features: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    x = torch.randn(rows, features, dtype=F64)
    return x, x[:, :3].sum(1, keepdim=True) + torch.randn(rows, 1, dtype=F64)


@pytest.mark.parametrize(("rows", "inner", "columns"), [(3, 5, 2), (40, 700, 9), (5, 342, 33)])
def test_a_matrix_product_in_106_bits_agrees_with_fractions(rows, inner, columns) -> None:
    torch.manual_seed(0)

    def numbers(*shape: int) -> DoubleDouble:
        high = torch.randn(shape, dtype=F64) * 2.0 ** torch.randint(-40, 40, shape)
        return DoubleDouble.of(high) + torch.randn(shape, dtype=F64) * high.abs() * 2.0**-54

    a, b = numbers(rows, inner), numbers(inner, columns)
    product = matrix_product(a, b)

    def exact(value: DoubleDouble, i: int, j: int) -> Fraction:
        return Fraction(float(value.high[i, j])) + Fraction(float(value.low[i, j]))

    for i, j in ((0, 0), (rows - 1, columns - 1), (rows // 2, columns // 2)):
        truth = sum(exact(a, i, k) * exact(b, k, j) for k in range(inner))
        size = float(a.high[i].abs().max() * b.high[:, j].abs().max())
        assert abs(exact(product, i, j) - truth) <= inner * size * Fraction(2) ** -104


def test_exact_sums_of_many_columns_are_those_of_few() -> None:
    x, y = sample(70, 530)
    wide, few = gram_of(ExactGram, x, y), gram_of(ExactGram, x[:, 500:], y)
    cross, expected = (gram.normal_equations().cross for gram in (wide, few))
    unit = [gram.normal_equations().exponent for gram in (wide, few)]
    assert torch.equal(unit[0][500:], unit[1])
    assert torch.equal(cross.high[500:, 500:], expected.high)
    assert torch.equal(cross.low[500:, 500:], expected.low)


@pytest.mark.parametrize("kind", [ExactGram, Float64Gram])
def test_columns_after_a_rank_of_several_blocks_are_left_out(kind: type[Gram]) -> None:
    x, y = sample(150, 400)
    x[:, 70] = x[:, 3] - 2 * x[:, 8]
    x[:, 5] = 7.0
    solution = solve(gram_of(kind, x, y).normal_equations())
    kept = [j for j in range(151) if j not in (5, 70)]
    assert solution.kept.tolist() == kept
    centred = x[:, kept] - x[:, kept].mean(0)
    truth = torch.linalg.solve(torch.cat((torch.ones(150, 1, dtype=F64), x[:, kept]), 1), y)
    torch.testing.assert_close(solution.coefficients[kept], truth[1:], rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(solution.intercept, truth[0], rtol=1e-8, atol=1e-8)
    values = torch.linalg.svdvals(centred / centred.norm(dim=0))
    assert solution.condition == pytest.approx(float(values[0] / values[-1]), rel=1e-3)


def test_many_columns_in_exact_agree_with_a_reference_in_106_bits() -> None:
    x, y = sample(260, 200)
    fit = least_squares(x, y, accuracy="exact")
    reference = torch.linalg.lstsq(torch.cat((torch.ones(260, 1, dtype=F64), x), 1), y)
    torch.testing.assert_close(fit.estimate, reference.solution, rtol=1e-10, atol=1e-12)
    assert (fit.rank, fit.digits, fit.error_digits) == (201, 15.9, 15.9)
    leverage = (fit.prediction(x).mean_error / fit.statistics["residual_sd"]).square()
    assert float(leverage.sum()) == pytest.approx(201, rel=1e-12)
    rows = torch.randperm(260)
    again = least_squares(x[rows], y[rows], accuracy="exact")
    for name in ("estimate", "standard_error", "t", "p"):
        assert torch.equal(getattr(fit, name), getattr(again, name))


def test_a_penalty_keeps_more_columns_than_rows() -> None:
    x, y = sample(30, 100)
    exact, rough = (
        solve(gram_of(kind, x, y).normal_equations(), 2.0) for kind in (ExactGram, Float64Gram)
    )
    assert exact.rank == rough.rank == 101
    torch.testing.assert_close(exact.coefficients, rough.coefficients, rtol=1e-10, atol=1e-12)
    centred, target = x - x.mean(0), y - y.mean(0)
    penalised = centred.T @ centred + 2.0 * torch.eye(100, dtype=F64)
    truth = torch.linalg.solve(penalised, centred.T @ target)
    torch.testing.assert_close(exact.coefficients, truth, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("ridge", [0.0, 1e-3])
@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("rows", [5, 40])
def test_few_columns_are_solved_as_many_are(monkeypatch, rows, offset, ridge) -> None:
    x, y = sample(rows, 9)
    x[:, 3] = x[:, 0] - 2 * x[:, 1]
    x[:, 6] = x[:, 5] + 1e-3 * x[:, 6]
    gram = ExactGram(9, 3)
    weight = torch.rand(rows, dtype=F64)
    gram.update(Batch(x + offset, torch.cat((y, x[:, :1], 2 + 0 * y), 1), weight))
    few = solve(gram.normal_equations(), ridge)
    monkeypatch.setattr(cholesky, "_FEW_COLUMNS", 0)
    many = solve(gram.normal_equations(), ridge)
    assert few.kept.tolist() == many.kept.tolist()
    assert (few.collinear == ()) == (ridge > 0)
    assert (few.digits, few.error_digits) == pytest.approx((many.digits, many.error_digits))
    assert torch.equal(few.residual.high == 0, many.residual.high == 0)
    torch.testing.assert_close(few.factor, many.factor, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(few.intercept, many.intercept, rtol=1e-12, atol=1e-12)
    names = "scaled_coefficients residual inverse_factor inverse_diagonal intercept_inverse"
    for name in names.split():
        difference = getattr(few, name) - getattr(many, name)
        size = float(getattr(many, name).high.abs().max())
        assert float(difference.high.abs().max()) <= 1e-24 * size  # 1e-32, less the condition


def test_the_condition_number_of_many_columns_is_estimated() -> None:
    x, _ = sample(700, 600)
    x[:, 5] = x[:, 6] + 1e-3 * x[:, 5]
    factor = torch.linalg.cholesky(x.T @ x, upper=True)
    estimate = condition_number(factor, torch.cholesky_inverse(factor, upper=True))
    truth = float(torch.linalg.cond(factor / torch.linalg.vector_norm(factor, dim=0)))
    assert estimate == pytest.approx(truth, rel=1e-3)


def test_only_very_wide_fits_are_announced() -> None:
    assert cost_note("float64", 5000, 200) is None
    assert cost_note("exact", 2500, 200) is None
    assert "and in float64 1 s and 1.6 GB" in str(cost_note("exact", 5000, 200))
    assert "20,000 columns in float64 take about" in str(cost_note("float64", 20_000, 1000))


def test_the_cost_is_announced_before_the_first_row_is_added(
    monkeypatch: pytest.MonkeyPatch, trainer: MakeTrainer
) -> None:
    class AddedError(Exception):
        pass

    def add(*_: Any) -> None:
        raise AddedError

    x, y = sample(20, 3)
    monkeypatch.setattr(cost, "_BYTES", 0)
    monkeypatch.setattr(ExactGram, "_add", add)
    with (
        pytest.warns(UserWarning, match="3 columns in exact take about"),
        pytest.raises(AddedError),
    ):
        least_squares(x, y)
    with (
        pytest.warns(UserWarning, match="3 columns in exact take about"),
        pytest.raises(AddedError),
    ):
        trainer(max_epochs=1).fit(LeastSquares(), TensorData(x, y))
