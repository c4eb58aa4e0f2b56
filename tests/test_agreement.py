"""The raw loops, the Trainer and least squares give the same coefficients."""

from collections.abc import Callable

import pytest
import torch
from conftest import least_squares
from lightning.pytorch import Callback, Trainer

from linreg_lightning import (
    LinearRegression,
    ManualLinearRegression,
    SyntheticData,
    gradient_descent,
    gradient_descent_nn,
)
from linreg_lightning.models import RegressionModule


class Recorder(Callback):
    """Records each step's loss and the coefficients after the step, (features, targets)."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.coefficients: list[torch.Tensor] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.losses.append(outputs["loss"].item())
        (weight, *_) = pl_module.parameters()
        manual = isinstance(pl_module, ManualLinearRegression)
        self.coefficients.append((weight if manual else weight.T).detach().clone())


def fitted(
    model: RegressionModule, start: torch.Tensor, data: SyntheticData, trainer: Trainer
) -> Recorder:
    (weight,) = model.parameters()
    shaped = start if isinstance(model, ManualLinearRegression) else start.T
    weight.data.copy_(shaped)
    recorder = Recorder()
    trainer.callbacks.append(recorder)
    trainer.fit(model, data)
    assert len(recorder.losses) == trainer.global_step
    return recorder


PAIRS = [(gradient_descent, ManualLinearRegression), (gradient_descent_nn, LinearRegression)]


@pytest.mark.parametrize(("descend", "model"), PAIRS)
@pytest.mark.parametrize("targets", [1, 2])
@pytest.mark.parametrize("precision", ["32-true", "64-true"])
def test_the_trainer_and_the_raw_loop_take_the_same_steps_bit_for_bit(
    descend: Callable, model: type, targets: int, precision: str, trainer: Callable[..., Trainer]
) -> None:
    data = SyntheticData(targets=targets)
    data.setup("fit")
    dtype = torch.float32 if precision == "32-true" else torch.float64
    x, y = (tensor.to(dtype) for tensor in data.splits["train"][:2])
    start = torch.randn(3, targets, generator=torch.Generator().manual_seed(7), dtype=dtype)
    epochs = 40
    recorder = fitted(
        model(intercept=False, in_features=3, out_features=targets).to(dtype),
        start,
        data,
        trainer(max_epochs=epochs, precision=precision),
    )
    _, losses = descend(x, y, start, epochs=epochs)
    assert recorder.losses == losses
    for epoch, coefficients in enumerate(recorder.coefficients, start=1):
        assert coefficients.shape == (3, targets)
        assert torch.equal(coefficients, descend(x, y, start, epochs=epoch)[0])


def test_the_manual_and_the_nn_model_agree_and_reach_least_squares(
    trainer: Callable[..., Trainer],
) -> None:
    data = SyntheticData()
    data.setup("fit")
    x, y, _ = data.splits["train"]
    start = torch.tensor([[0.5], [-0.5], [0.25]])
    by_hand, by_sgd = (
        fitted(model(intercept=False, in_features=3), start, data, trainer()) for _, model in PAIRS
    )
    torch.testing.assert_close(by_hand.losses, by_sgd.losses, rtol=1e-5, atol=1e-6)
    for one, other in zip(by_hand.coefficients, by_sgd.coefficients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    exact = least_squares(x, y)
    for recorder in (by_hand, by_sgd):
        torch.testing.assert_close(recorder.coefficients[-1].double(), exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("model", [LinearRegression, ManualLinearRegression])
def test_a_column_of_ones_and_an_intercept_give_the_same_coefficients(
    model: type[RegressionModule], trainer: Callable[..., Trainer]
) -> None:
    answers = []
    for ones in (True, False):
        fit = model()
        trainer(max_epochs=150).fit(fit, SyntheticData(ones=ones))
        answers.append(fit.coefficients())
    for one, other in zip(*answers, strict=True):
        assert (one["name"], one["true"]) == (other["name"], other["true"])
        assert abs(one["estimate"] - other["estimate"]) < 1e-5
