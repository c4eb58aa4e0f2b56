"""A fit by gradient descent says when it has not converged, or has diverged."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from sklearn.linear_model import LinearRegression as ScikitLinearRegression

from linreg_lightning import (
    Batch,
    InputError,
    LinearRegression,
    ManualLinearRegression,
    SyntheticData,
    TensorData,
)
from linreg_lightning.metrics import residual_moments
from linreg_lightning.metrics.residual_moments import ResidualMoments

MakeTrainer = Callable[..., Trainer]
WARNING = "the fit has not converged"
MODELS = [LinearRegression, ManualLinearRegression]


def warning_of(fit: Callable[[], None]) -> str:
    """Return what a fit says of its convergence."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit()
    messages = [str(each.message) for each in caught if WARNING in str(each.message)]
    assert len(messages) <= 1
    return messages[0] if messages else ""


def rows(
    count: int = 400, features: int = 4, targets: int = 1, noise: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(count, features, generator=generator, dtype=torch.float64) + 1
    slopes = torch.randn(features, targets, generator=generator, dtype=torch.float64)
    return x, 3 + x @ slopes + noise * torch.randn(count, targets, generator=generator).double()


# The fractions that one coefficient would save


@pytest.mark.parametrize("constant", [True, False])
def test_savings_are_those_of_fits_that_change_one_coefficient(constant: bool) -> None:
    generator = torch.Generator().manual_seed(2)
    x, y = rows(targets=2)
    prediction = x @ torch.ones(4, 2, dtype=torch.float64)
    weight = torch.rand(len(x), generator=generator, dtype=torch.float64)
    parts = [Batch(x, y, weight).select(slice(k, k + 150)) for k in (0, 150, 300)]
    whole = ResidualMoments.of(parts[0], prediction[:150])
    for k, part in enumerate(parts[1:], 1):
        whole = whole.merge(ResidualMoments.of(part, prediction[150 * k : 150 * (k + 1)]))
    savings = whole.savings(constant, precision=0.0)
    residual, w = (y - prediction).numpy(), weight.numpy()
    for k in range(2):
        error = w @ residual[:, k] ** 2
        expected = [w.sum() * np.average(residual[:, k], weights=w) ** 2 if constant else 0.0]
        for j in range(4):
            column = x[:, j : j + 1].numpy()
            fit = ScikitLinearRegression(fit_intercept=constant)
            fit.fit(column, residual[:, k], sample_weight=w)
            change = fit.predict(column)
            if constant:  # the constant saves this by itself
                change -= np.average(residual[:, k], weights=w)
                left = residual[:, k] - change
                expected.append(error - w @ left**2)
            else:
                expected.append(error - w @ (residual[:, k] - change) ** 2)
        np.testing.assert_allclose(savings[:, k], np.array(expected) / error, atol=1e-12)


def test_processes_join_their_residual_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = rows()
    prediction = torch.zeros_like(y)
    first, second = (
        ResidualMoments.of(Batch(x[part], y[part]), prediction[part])
        for part in (slice(123), slice(123, None))
    )
    sent: list[torch.Tensor] = []

    def exchange(tensor: torch.Tensor) -> list[torch.Tensor]:
        sent.append(tensor)
        return sent

    monkeypatch.setattr(residual_moments, "gather_all_tensors", exchange)
    second.gather()
    joined = first.gather().savings(True, 0.0)
    expected = ResidualMoments.of(Batch(x, y), prediction).savings(True, 0.0)
    torch.testing.assert_close(joined, expected, rtol=1e-12, atol=0)


# Fits that have converged


@pytest.mark.parametrize("model", MODELS)
def test_the_default_fit_of_the_tutorial_has_converged(model: Any, trainer: MakeTrainer) -> None:
    assert warning_of(lambda: trainer().fit(model(), SyntheticData())) == ""


@pytest.mark.parametrize(("lr", "batch_size"), [(0.1, 32), (0.01, 7)])
def test_mini_batches_leave_less_than_the_tolerance(
    lr: float, batch_size: int, trainer: MakeTrainer
) -> None:
    x, y = rows(1000, features=8)
    data = TensorData(x - 1, y, batch_size=batch_size)
    assert warning_of(lambda: trainer(max_epochs=8).fit(LinearRegression(lr=lr), data)) == ""


def test_a_fit_without_noise_has_converged_when_rounding_errors_are_left(
    trainer: MakeTrainer,
) -> None:
    x, y = rows(noise=0.0)
    data = TensorData(x, y + 1e6)
    assert warning_of(lambda: trainer().fit(LinearRegression(standardize=True), data)) == ""


@pytest.mark.parametrize("standardize", [True, False])
def test_a_fit_without_intercept_converges_although_its_residuals_have_a_mean(
    standardize: bool, trainer: MakeTrainer
) -> None:
    x, y = rows()
    model = LinearRegression(lr=0.05, intercept=False, standardize=standardize)
    assert warning_of(lambda: trainer(max_epochs=300).fit(model, TensorData(x, y))) == ""
    assert (y - model(x)).mean().abs() > 0.3
    model = LinearRegression(lr=0.05, intercept=False, standardize=standardize)
    assert WARNING in warning_of(lambda: trainer(max_epochs=3).fit(model, TensorData(x, y)))


def test_weight_decay_and_a_single_debug_batch_give_no_warning(trainer: MakeTrainer) -> None:
    data = TensorData(*rows())
    decayed = LinearRegression(lr=0.01, weight_decay=10.0)
    assert warning_of(lambda: trainer().fit(decayed, data)) == ""
    assert warning_of(lambda: trainer(fast_dev_run=True).fit(LinearRegression(), data)) == ""


# Fits that have not


@pytest.mark.parametrize("model", MODELS)
def test_a_fit_that_stops_early_says_what_would_change(model: Any, trainer: MakeTrainer) -> None:
    x, y = rows()
    y = y + 30 * x[:, :1]
    message = warning_of(lambda: trainer(max_epochs=2).fit(model(lr=0.01), TensorData(x, y)))
    standardize, epochs, lr = map(message.index, ("standardize", "epochs", "lr (0.01 was given)"))
    assert standardize < epochs < lr
    assert "coefficient x1 alone" in message
    assert "\n" not in message


def test_a_standardized_fit_is_not_told_to_standardize(trainer: MakeTrainer) -> None:
    model = LinearRegression(standardize=True)
    message = warning_of(lambda: trainer(max_epochs=3).fit(model, TensorData(*rows())))
    assert WARNING in message
    assert "standardize" not in message


def test_one_target_of_several_that_has_not_converged_is_reported(trainer: MakeTrainer) -> None:
    x, y = rows(targets=2)
    y[:, 1] = 1e6 * x[:, 0]  # of so large a scale that it decides the loss
    model = LinearRegression(in_features=4, out_features=2, standardize=True)
    with torch.no_grad():
        model.linear.weight.zero_()
        model.linear.weight[1, 0] = 1e6 * x[:, 0].std(correction=0)
        model.linear.bias.zero_()
    message = warning_of(
        lambda: trainer(max_epochs=1).fit(model, TensorData(x, y, target_names=["a", "b"]))
    )
    assert model.fit_statistics["r2"] < 1
    assert WARNING in message


def test_row_weights_decide_which_rows_must_have_converged(trainer: MakeTrainer) -> None:
    x, y = rows()
    far = torch.arange(len(x)) % 2 == 0
    y[far] += 1e3  # rows of no weight
    data = TensorData(x, y, weight=(~far).double())
    assert warning_of(lambda: trainer().fit(LinearRegression(standardize=True), data)) == ""


def test_houses_at_a_rate_low_enough_for_raw_columns_have_not_converged(
    houses: Path, command: Callable[..., Any], capfd: pytest.CaptureFixture[str]
) -> None:
    table = "fit --data TabularData --data.path houses.csv --data.target price "
    command(table + "--model.standardize false --model.lr 1e-7")
    (line,) = [line for line in capfd.readouterr().err.splitlines() if WARNING in line]
    assert line.startswith("linreg: warning: ")
    command(table + "--model.standardize true")
    assert WARNING not in capfd.readouterr().err


# Fits that have diverged


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("epochs", [20, 1000])
def test_a_divergence_is_refused_whether_the_loss_is_finite_or_not(
    model: Any, epochs: int, trainer: MakeTrainer
) -> None:
    x = torch.arange(1, 6).repeat(40).double().unsqueeze(1)
    y = 10 + 2 * x
    with pytest.raises(InputError, match=r"has diverged; .*standardize.*, or lower lr") as stop:
        trainer(max_epochs=epochs).fit(model(), TensorData(x, y))
    assert ("rose from" in str(stop.value)) == (epochs == 20)
    names = {LinearRegression: "standardize, lr: ", ManualLinearRegression: "lr: "}
    assert str(stop.value).startswith(names[model])


def test_a_standardized_fit_that_diverges_is_told_to_lower_lr_alone(trainer: MakeTrainer) -> None:
    with pytest.raises(InputError, match=r"^lr: the loss is \w+: .*; lower lr \(3 was given\)"):
        trainer().fit(LinearRegression(lr=3.0, standardize=True), TensorData(*rows()))


def test_a_first_step_far_from_the_targets_is_no_divergence(trainer: MakeTrainer) -> None:
    x, y = rows()
    data = TensorData(x * 100, y)
    message = warning_of(lambda: trainer(max_epochs=1).fit(LinearRegression(lr=1e-9), data))
    assert WARNING in message
