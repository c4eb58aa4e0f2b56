"""Predictions keep the digits that the coefficients have."""

import copy
import warnings
from fractions import Fraction

import pytest
import torch

from linreg_lightning import LeastSquares, TensorData, Trainer
from linreg_lightning.algebra import Fit, least_squares

F64 = torch.float64


def nearly_collinear(nearness: float) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    x = torch.randn(60, 2, dtype=F64) + 5
    x[:, 1] = x[:, 0] + nearness * x[:, 1]
    return x, x.sum(1) + torch.randn(60, dtype=F64)


@pytest.mark.parametrize("nearness", [1e-2, 1e-5, 1e-8, 1e-11])
def test_leverages_of_an_exact_fit_sum_to_the_rank(nearness: float) -> None:
    x, y = nearly_collinear(nearness)
    fit = least_squares(x, y, accuracy="exact")
    assert fit.rank == 3
    leverage = (fit.prediction(x).mean_error / fit.statistics["residual_sd"]).square()
    assert float(leverage.sum()) == pytest.approx(3, abs=1e-9)


@pytest.mark.parametrize("accuracy", ["exact", "float64"])
def test_predictions_keep_their_digits_where_the_mean_has_no_fraction(accuracy) -> None:
    x, y = nearly_collinear(1.0)
    x[:, 0] = (8 * x[:, 0]).round() / 8 + 1e15  # the next number in float64 is 1e15 + 1 / 8
    y = (x[:, 0] - 1e15) + 2 * x[:, 1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = least_squares(x, y, accuracy=accuracy)
    torch.testing.assert_close(fit.predict(x), y, rtol=1e-13, atol=1e-13)
    fit = least_squares(x, y + torch.randn(60, dtype=F64), accuracy=accuracy)
    leverage = (fit.prediction(x).mean_error / fit.statistics["residual_sd"]).square()
    assert float(leverage.sum()) == pytest.approx(3, abs=1e-12)


def test_means_of_an_ill_conditioned_exact_fit_agree_with_rational_arithmetic() -> None:
    x, y = nearly_collinear(1e-8)
    fit = least_squares(x, y, accuracy="exact")
    rows = [[Fraction(1), *(Fraction(v) for v in row)] for row in x.tolist()]
    target = [Fraction(v) for v in y.tolist()]
    gram = [[sum(r[i] * r[j] for r in rows) for j in range(3)] for i in range(3)]
    right = [sum(r[i] * t for r, t in zip(rows, target, strict=True)) for i in range(3)]
    for k in range(3):
        for i in range(3):
            if i != k:
                share = gram[i][k] / gram[k][k]
                gram[i] = [a - share * b for a, b in zip(gram[i], gram[k], strict=True)]
                right[i] -= share * right[k]
    b = [right[i] / gram[i][i] for i in range(3)]
    truth = [sum(r[i] * b[i] for i in range(3)) for r in rows]
    for value, exact in zip(fit.predict(x).tolist(), truth, strict=True):
        assert abs(Fraction(value) - exact) <= abs(exact) * Fraction(1, 10**15)


def test_predictions_in_106_bits_do_not_depend_on_blocks_of_rows() -> None:
    x, y = nearly_collinear(1e-8)
    fit = least_squares(x, y, accuracy="exact")
    many = x.repeat(100, 1)
    whole, part = fit.prediction(many), fit.prediction(x)
    for one, other in zip(whole, part, strict=True):
        assert torch.equal(one, other.repeat(100))
    assert fit.predict(x[:0]).shape == (0,)


def test_predictions_beyond_the_range_of_106_bits_are_those_of_float64() -> None:
    x, y = nearly_collinear(1e-8)
    fit = least_squares(x, y, accuracy="exact")
    far = fit.prediction([[1e300, 1e300], [1e300, -1e300]])
    assert not bool(torch.cat((far.mean, far.mean_error)).isnan().any())


def far_from_zero(offset: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Times in nanoseconds since 1970: far from 0, a short way from each other."""
    torch.manual_seed(0)
    x = torch.randn(300, 2, dtype=F64)
    x[:, 0] = (x[:, 0] * 1e9).round() * 1024 + offset
    return x, (x[:, :1] - offset) / 1e12 + x[:, 1:] + 3


def fitted(x: torch.Tensor, y: torch.Tensor, names: list[str] | None = None) -> LeastSquares:
    model = LeastSquares()
    trainer = Trainer(
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    trainer.fit(model, TensorData(x, y, feature_names=names))
    return model


@pytest.fixture(scope="module")
def distant() -> tuple[LeastSquares, torch.Tensor, torch.Tensor]:
    x, y = far_from_zero(2.0**60)
    return fitted(x, y), x, y


def test_forward_keeps_its_digits_far_from_zero(distant) -> None:
    model, x, y = distant
    with torch.no_grad():
        assert float((model(x) - y).square().mean().sqrt()) < 1e-12
    torch.testing.assert_close(model(x).detach(), model.prediction(x).mean, rtol=1e-14, atol=1e-14)


def test_forward_far_from_zero_is_still_a_function_of_its_parameters(distant) -> None:
    model, x, _ = copy.deepcopy(distant)
    before = model(x)
    before.sum().backward()
    torch.testing.assert_close(model.bias.grad, torch.tensor([300.0], dtype=F64))
    torch.testing.assert_close(model.weight.grad[0], x.sum(0))
    with torch.no_grad():
        model.bias += 256.0  # a step that float64 has near the intercept
        model.weight[0, 1] += 2.0
    change = (model(x) - before).detach()
    torch.testing.assert_close(change, 256 + 2 * x[:, 1:], rtol=1e-12, atol=1e-9)


def test_forward_far_from_zero_survives_a_state_dict(distant) -> None:
    model, x, _ = distant
    again = LeastSquares(in_features=2)
    again.load_state_dict(model.state_dict())
    assert torch.equal(again(x), model(x))


def test_a_state_dict_without_a_center_predicts_by_weight_and_bias(distant) -> None:
    model, x, _ = distant
    state = {name: v for name, v in model.state_dict().items() if name in ("weight", "bias")}
    again = copy.deepcopy(model)
    again.load_state_dict(state)
    assert torch.equal(again(x), x @ again.weight.T + again.bias)


def test_forward_near_zero_is_the_plain_formula() -> None:
    x, y = far_from_zero(0.0)
    model = fitted(x, y)
    assert torch.equal(model(x), x @ model.weight.T + model.bias)
    assert not bool(model.center.any())


def test_columns_left_out_do_not_move_the_center() -> None:
    x, y = far_from_zero(2.0**60)
    doubled = torch.cat((x, x[:, :1], torch.full((300, 1), 7.0, dtype=F64)), 1)
    with pytest.warns(UserWarning, match="Left out"):
        model = fitted(doubled, y)
    assert model.center[2:].tolist() == [0.0, 0.0]
    with torch.no_grad():
        assert float((model(doubled) - y).square().mean().sqrt()) < 1e-12


def test_a_column_of_ones_has_its_own_center() -> None:
    x, y = far_from_zero(2.0**60)
    x = torch.cat((x[:, :1], torch.ones(300, 1, dtype=F64), x[:, 1:]), 1)
    model = fitted(x, y, ["time", "intercept", "z"])
    assert not model.has_intercept
    with torch.no_grad():
        assert float((model(x) - y).square().mean().sqrt()) < 1e-12


def test_several_targets_have_a_center_prediction_each() -> None:
    x, y = far_from_zero(2.0**60)
    targets = torch.cat((y, -2 * y), 1)
    model = fitted(x, targets)
    with torch.no_grad():
        assert float((model(x) - targets).square().mean().sqrt()) < 1e-12
    fit: Fit = model._fit
    torch.testing.assert_close(model(x).detach(), fit.predict(x), rtol=1e-14, atol=1e-14)
