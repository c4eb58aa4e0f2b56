import math
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import least_squares
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging
from lightning.pytorch.tuner import Tuner
from sklearn.linear_model import LinearRegression as ScikitLinearRegression
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from linreg_lightning import (
    Batch,
    InputError,
    LeastSquares,
    LinearRegression,
    ManualLinearRegression,
    RegressionMetrics,
    RegressionModule,
    SyntheticData,
    TableModule,
    TensorData,
)
from linreg_lightning.design_matrix.standardization import Standardization

MODELS = [LinearRegression, ManualLinearRegression]
MakeTrainer = Callable[..., Trainer]


def estimates(model: RegressionModule) -> torch.Tensor:
    return torch.tensor([row["estimate"] for row in model.coefficients()], dtype=torch.float64)


# Fits


@pytest.mark.parametrize("model", MODELS)
def test_fit_of_the_tutorial_data_reaches_least_squares(model: type, trainer: MakeTrainer) -> None:
    fit, data = model(), SyntheticData()
    trainer().fit(fit, data)
    rows = fit.coefficients()
    assert [row["name"] for row in rows] == ["intercept", "x1", "x2"]
    assert [row["true"] for row in rows] == [1, 2, 3]
    x, y, _ = data.splits["train"]
    torch.testing.assert_close(estimates(fit), least_squares(x, y).flatten(), rtol=0, atol=1e-5)
    assert fit.fit_statistics["rows"] == 100
    assert abs(fit.fit_statistics["rmse"] - 0.5) < 0.05


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch_size", [None, 7])
def test_fit_converges_for_any_precision_of_the_data_and_batch_size(
    dtype: torch.dtype, batch_size: int | None, trainer: MakeTrainer
) -> None:
    x = torch.randn(50, 2, dtype=dtype)
    y = x @ torch.tensor([2.0, -1.0], dtype=dtype) + 0.5
    fit = LinearRegression()
    trainer().fit(fit, TensorData(x, y, batch_size=batch_size))
    assert fit.linear.weight.dtype == torch.float32
    torch.testing.assert_close(
        estimates(fit), torch.tensor([0.5, 2, -1]).double(), rtol=0, atol=1e-5
    )


def test_standardize_fits_columns_of_very_different_units(
    trainer: MakeTrainer,
) -> None:
    generator = torch.Generator().manual_seed(3)
    z = torch.randn(80, 3, generator=generator, dtype=torch.float64)
    x = z * torch.tensor([1e6, 1.0, 1e-5]).double() + torch.tensor([1e9, 5.0, 0.0]).double()
    y = z @ torch.tensor([[1.0, 0.5], [2.0, -1.0], [3.0, 0.0]]).double() + 7
    fit = LinearRegression(standardize=True)
    trainer(max_epochs=300).fit(fit, TensorData(x, y))
    reference = ScikitLinearRegression().fit(z.numpy(), y.numpy())
    weight, intercept = fit.weight_and_intercept()
    scale = np.array([1e6, 1.0, 1e-5])
    np.testing.assert_allclose(weight.numpy() * scale, reference.coef_, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        intercept + weight @ torch.tensor([1e9, 5.0, 0.0]).double(),
        reference.intercept_,
        rtol=1e-4,
    )
    predicted = x @ weight.T + intercept
    torch.testing.assert_close(fit(x).double(), predicted, rtol=1e-4, atol=1e-4)


def test_standardize_keeps_the_digits_of_targets_far_from_zero(trainer: MakeTrainer) -> None:
    x = torch.randn(50, 1, dtype=torch.float64)
    y = 1.7e9 + 3 * x
    fit = LinearRegression(standardize=True)
    trainer(max_epochs=200).fit(fit, TensorData(x, y))
    assert estimates(fit)[1].item() == pytest.approx(3, rel=1e-4)
    assert fit.fit_statistics["r2"] > 0.999999
    torch.testing.assert_close(fit(x), y, rtol=0, atol=1e-3)


def test_standardize_without_intercept_adds_no_intercept(trainer: MakeTrainer) -> None:
    x = torch.rand(60, 2, dtype=torch.float64) * torch.tensor([1000.0, 1.0]).double()
    y = x @ torch.tensor([[0.002], [5.0]]).double() + 1
    fit = LinearRegression(standardize=True, intercept=False)
    trainer(max_epochs=1000).fit(fit, TensorData(x, y))
    torch.testing.assert_close(estimates(fit), least_squares(x, y).flatten(), rtol=1e-3, atol=1e-6)


def test_standardize_does_not_change_the_column_of_ones(trainer: MakeTrainer) -> None:
    fit, data = LinearRegression(standardize=True), SyntheticData()
    trainer().fit(fit, data)
    x, y, _ = data.splits["train"]
    torch.testing.assert_close(estimates(fit), least_squares(x, y).flatten(), rtol=0, atol=1e-5)


def test_standardize_warns_of_constant_columns_and_ignores_them(trainer: MakeTrainer) -> None:
    x = torch.randn(30, 3).double()
    x[:, 1] = 0.1
    y = 4 * x[:, 0] - x[:, 2] + 1
    fit = LinearRegression(standardize=True)
    with pytest.warns(UserWarning, match="do not vary, so the model ignores them: x2"):
        trainer().fit(fit, TensorData(x, y))
    expected = torch.tensor([1.0, 4, 0, -1]).double()
    torch.testing.assert_close(estimates(fit), expected, rtol=0, atol=1e-5)
    assert fit.coefficients()[2]["estimate"] == 0
    far = x.clone()
    far[:, 1] = 1e6
    torch.testing.assert_close(fit(far), fit(x))


@pytest.mark.parametrize("precision", ["32-true", "64-true"])
def test_standardize_fits_a_column_of_spread_1_far_from_zero(
    precision: str, trainer: MakeTrainer
) -> None:
    x = torch.randn(200, 2).double()
    x[:, 0] = (8 * x[:, 0]).round() / 8 + 1e15  # as near to each other as float64 has them
    y = 3 * (x[:, :1] - 1e15) - 2 * x[:, 1:] + 1
    fit = LinearRegression(standardize=True)
    trainer(precision=precision).fit(fit, TensorData(x, y, batch_size=50))
    spread = (x[:, 0] - 1e15).std(correction=0)
    torch.testing.assert_close(fit.standardization.scale[0], spread, rtol=1e-2, atol=0)
    torch.testing.assert_close(fit(x).double(), y, rtol=0, atol=1e-3)
    torch.testing.assert_close(estimates(fit)[1:], torch.tensor([3.0, -2.0]).double())


def test_standardize_warns_of_a_column_that_float32_made_constant(trainer: MakeTrainer) -> None:
    x = torch.randn(30, 2).double()
    x[:, 0] += 1e15
    fit = LinearRegression(standardize=True)
    with pytest.warns(UserWarning, match="do not vary, so the model ignores them: x1"):
        trainer(max_epochs=1).fit(fit, TensorData(x.float(), x[:, 1].float()))


@pytest.mark.parametrize("standardize", [False, True])
def test_weight_2_counts_a_row_twice_and_weight_0_drops_it(
    standardize: bool, trainer: MakeTrainer
) -> None:
    x, y = torch.randn(40, 2), torch.randn(40)
    weight = torch.randint(0, 3, (40,)).float()
    counts = weight.long()
    repeated = x.repeat_interleave(counts, dim=0), y.repeat_interleave(counts)
    fits = []
    for data in (TensorData(x, y, weight), TensorData(*repeated)):
        torch.manual_seed(0)
        fits.append(LinearRegression(standardize=standardize))
        trainer().fit(fits[-1], data)
    torch.testing.assert_close(estimates(fits[0]), estimates(fits[1]), rtol=1e-4, atol=1e-5)
    for name in ("loss", "mae", "r2"):
        one, other = (fit.fit_statistics[name] for fit in fits)
        assert abs(one - other) < 1e-5
    assert fits[0].fit_statistics["rows"] == int((weight > 0).sum())


def test_each_batch_counts_by_the_weights_of_its_rows(trainer: MakeTrainer) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(400, 1, generator=generator)
    weight = torch.where(x.squeeze(1) > 0, 10.0, 0.1)
    fit = LinearRegression(lr=0.004)
    data = TensorData(x, x**2, weight, batch_size=4)
    trainer(max_epochs=20).fit(fit, data)
    root = weight.double().sqrt().unsqueeze(1)
    design = torch.cat([torch.ones(400, 1), x], dim=1)
    exact = least_squares(root * design, root * x.double() ** 2).flatten()
    torch.testing.assert_close(estimates(fit), exact, rtol=0, atol=0.1)


def test_momentum_and_weight_decay_agree_with_a_plain_torch_loop(trainer: MakeTrainer) -> None:
    data = SyntheticData()
    data.setup("fit")
    x, y, _ = data.splits["train"]
    fit = LinearRegression(0.05, momentum=0.9, weight_decay=0.1, intercept=False, in_features=3)
    linear = torch.nn.Linear(3, 1, bias=False)
    linear.load_state_dict(fit.linear.state_dict())
    trainer(max_epochs=20).fit(fit, data)
    optimizer = torch.optim.SGD(linear.parameters(), lr=0.05, momentum=0.9, weight_decay=0.1)
    for _ in range(20):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(linear(x), y).backward()
        optimizer.step()
    assert torch.equal(fit.linear.weight, linear.weight)


def test_fit_accepts_any_loader_of_pairs(trainer: MakeTrainer) -> None:
    x = torch.randn(40, 2)
    loader = DataLoader(TensorDataset(x, x.sum(dim=1, keepdim=True)), batch_size=8)
    fit = LinearRegression(in_features=2)
    trainer(max_epochs=30).fit(fit, loader, loader)
    torch.testing.assert_close(
        estimates(fit), torch.tensor([0.0, 1, 1]).double(), rtol=0, atol=1e-4
    )


def test_validation_metrics_do_not_depend_on_the_batch_size(
    trainer: MakeTrainer,
) -> None:
    fit, data = LinearRegression(), SyntheticData(targets=2, batch_size=7)
    runner = trainer(max_epochs=2)
    runner.fit(fit, data)
    logged = runner.callback_metrics
    x, y, _ = data.splits["val"]
    prediction = fit(x).detach()
    mse = mean_squared_error(y, prediction)
    assert abs(logged["val_loss"].item() - mse) < 1e-6
    assert abs(logged["val_rmse"].item() - mse**0.5) < 1e-6
    assert abs(logged["val_mae"].item() - mean_absolute_error(y, prediction)) < 1e-6
    assert abs(logged["val_r2"].item() - r2_score(y, prediction)) < 1e-6
    (tested,) = runner.test(fit, data, verbose=False)
    assert (
        abs(
            tested["test_r2"] - r2_score(data.splits["test"].y, fit(data.splits["test"].x).detach())
        )
        < 1e-6
    )


def test_predictions_are_in_the_order_of_the_rows(trainer: MakeTrainer) -> None:
    x = torch.randn(10, 2)
    fit = LinearRegression(in_features=2)
    for data in (
        TensorData(x, batch_size=3),
        DataLoader(TensorDataset(x), batch_size=3),
        DataLoader(x, batch_size=3),
    ):
        predicted = torch.cat(trainer().predict(fit, data))
        torch.testing.assert_close(predicted, fit(x), rtol=1e-5, atol=1e-6)


def test_standardize_uses_only_the_training_rows(trainer: MakeTrainer) -> None:
    x = torch.randn(20, 1).double()
    x[10:] += 1e6
    fit = LinearRegression(standardize=True)
    data = TensorData(x, x.squeeze(1), batch_size=10, shuffle=False)
    trainer(max_epochs=1, limit_train_batches=1).fit(fit, data)
    assert abs(fit.standardization.mean.item()) < 10
    assert fit.fit_statistics["rows"] == 10


# Checkpoints


@pytest.mark.parametrize("model", MODELS)
def test_a_checkpoint_predicts_and_refuses_other_columns_and_arguments(
    model: type, trainer: MakeTrainer
) -> None:
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 2)), columns=["width", "height"])
    target = pd.Series(3 * frame["width"] - frame["height"] + 2, name="area")
    options = {"standardize": True} if model is LinearRegression else {}
    fit, runner = model(**options), trainer()
    runner.fit(fit, TensorData(frame, target))
    runner.save_checkpoint("model.ckpt")
    again = model.load_from_checkpoint("model.ckpt")
    assert again.coefficients() == fit.coefficients()
    assert [row["name"] for row in again.coefficients()] == ["intercept", "width", "height"]
    x = torch.randn(5, 2, dtype=torch.float64)
    assert torch.equal(again(x), fit(x))
    with pytest.raises(InputError, match=r"fitted on width, height.*data have height, width"):
        trainer().predict(again, TensorData(frame[["height", "width"]]))
    other = TensorData(x, x[:, 0], test_fraction=1.0)
    with pytest.raises(InputError, match=r"fitted on width, height.*data have x1, x2"):
        trainer().test(model(**options), other, ckpt_path="model.ckpt")
    other = TensorData(frame, target.rename("volume"), test_fraction=1.0)
    with pytest.raises(InputError, match=r"target: .* fitted on area.*data have volume"):
        trainer().test(model(**options), other, ckpt_path="model.ckpt")
    predicted = trainer().predict(model(**options), other, ckpt_path="model.ckpt")
    expected = fit(torch.tensor(frame.to_numpy())).double()
    torch.testing.assert_close(torch.cat(predicted).double(), expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(InputError, match=r"lr: 0.7 was given .* was made with 0.1"):
        trainer().predict(model(**{**options, "lr": 0.7}), other, ckpt_path="model.ckpt")
    (another,) = {*MODELS} - {model}
    with pytest.raises(InputError, match=f"was given to {another.__name__}"):
        another.load_from_checkpoint("model.ckpt")


# Invalid input


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (LinearRegression, {"lr": -0.1}, "lr: -0.1 was given; type a number above 0"),
        (LinearRegression, {"lr": float("nan")}, "lr: nan was given"),
        (ManualLinearRegression, {"lr": 0.0}, "lr: 0.0 was given"),
        (LinearRegression, {"momentum": 1.0}, "momentum: 1.0 was given"),
        (LinearRegression, {"weight_decay": -1.0}, "weight_decay: -1.0 was given"),
        (LinearRegression, {"in_features": -1}, "in_features: -1 was given"),
        (LinearRegression, {"in_features": 2, "out_features": 0}, "out_features: 0 was given"),
    ],
)
def test_hyper_parameters_outside_their_range_are_refused(
    model: type, options: dict, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        model(**options)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"intercept": True}, "intercept: .* was asked for, but the data have a column of ones"),
        ({"in_features": 3}, "intercept: .* was made, but the data have a column of ones"),
        ({"in_features": 4}, "in_features and out_features: the model has 4 and 1 columns; the"),
    ],
)
def test_data_with_other_columns_are_refused(
    model: type, options: dict, message: str, trainer: MakeTrainer
) -> None:
    with pytest.raises(InputError, match=message):
        trainer().fit(model(**options), SyntheticData())


def test_data_without_names_need_in_features(trainer: MakeTrainer) -> None:
    loader = DataLoader(TensorDataset(torch.ones(4, 2), torch.ones(4, 1)))
    with pytest.raises(InputError, match=r"LinearRegression\(in_features=...\)"):
        trainer().fit(LinearRegression(), loader)


@pytest.mark.parametrize("y", [torch.ones(8), torch.ones(8, 2)])
def test_targets_of_another_shape_never_broadcast(y: torch.Tensor, trainer: MakeTrainer) -> None:
    loader = DataLoader(TensorDataset(torch.ones(8, 2), y), batch_size=8)
    with pytest.raises(InputError, match=r"y: a .*shape"):
        trainer().fit(LinearRegression(in_features=2), loader)


@pytest.mark.parametrize("model", MODELS)
def test_divergence_stops_the_run_and_the_message_says_to_standardize_or_lower_lr(
    model: type, trainer: MakeTrainer
) -> None:
    with pytest.raises(InputError, match=r"diverged.* standardize .* lower lr \(3 was given\)"):
        trainer().fit(model(lr=3.0), SyntheticData())


def test_divergence_in_the_last_step_is_refused(trainer: MakeTrainer) -> None:
    x = torch.full((4, 1), 1e30)
    with pytest.raises(InputError, match="has diverged"):
        trainer(max_epochs=1).fit(LinearRegression(lr=1e10), TensorData(x, x * 1e-30))


def test_manual_regression_refuses_row_weights(trainer: MakeTrainer) -> None:
    data = TensorData(torch.ones(4, 1), torch.ones(4), torch.ones(4))
    with pytest.raises(InputError, match="counts each row once; use LinearRegression"):
        trainer().fit(ManualLinearRegression(), data)


def test_data_without_features_are_refused(trainer: MakeTrainer) -> None:
    with pytest.raises(
        InputError, match="the data have none; name a column to predict from, or use"
    ):
        trainer().fit(LinearRegression(), TensorData(torch.empty(5, 0), torch.ones(5)))


def test_rows_without_targets_cannot_be_fitted(trainer: MakeTrainer) -> None:
    with pytest.raises(InputError, match="no y was given; a fit needs targets"):
        trainer().fit(LinearRegression(in_features=2), TensorData(torch.ones(5, 2)))


def test_an_unfitted_model_has_no_coefficients() -> None:
    with pytest.raises(InputError, match="fit it first"):
        LinearRegression().coefficients()


# Metrics and helpers


@pytest.mark.parametrize("offset", [0.0, 1e8])
@pytest.mark.parametrize("weighted", [False, True])
def test_metrics_agree_with_scikit_learn(offset: float, weighted: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    y = offset + torch.randn(101, 2, generator=generator, dtype=torch.float64)
    prediction = y + 0.3 * torch.randn(101, 2, generator=generator, dtype=torch.float64)
    weight = torch.rand(101, generator=generator, dtype=torch.float64) if weighted else None
    metrics = RegressionMetrics(2)
    for part in torch.arange(101).split(40):
        metrics.update(prediction[part], y[part], None if weight is None else weight[part])
    values = {name: value.item() for name, value in metrics.compute().items()}
    mse = mean_squared_error(y, prediction, sample_weight=weight)
    assert values["rows"] == 101
    np.testing.assert_allclose(values["loss"], mse, rtol=1e-12)
    np.testing.assert_allclose(values["rmse"], mse**0.5, rtol=1e-12)
    mae = mean_absolute_error(y, prediction, sample_weight=weight)
    np.testing.assert_allclose(values["mae"], mae, rtol=1e-12)
    r2 = r2_score(y, prediction, sample_weight=weight)
    np.testing.assert_allclose(values["r2"], r2, rtol=1e-6)


def test_r2_of_a_constant_target_is_undefined() -> None:
    metrics = RegressionMetrics(1)
    metrics.update(torch.ones(3, 1), torch.ones(3, 1))
    assert metrics.compute()["r2"].isnan()
    assert metrics.compute()["loss"] == 0


def test_merged_metrics_of_several_processes_equal_the_metrics_of_all_rows() -> None:
    y, prediction = torch.randn(30, 2), torch.randn(30, 2)
    whole = RegressionMetrics(2)
    whole.update(prediction, y)
    parts = []
    for part in torch.arange(30).split(11):
        metrics = RegressionMetrics(2)
        metrics.update(prediction[part], y[part])
        parts.append(metrics)
    gathered = RegressionMetrics(2)  # torchmetrics combines the states like this before `compute`
    gathered._update_count = 1
    gathered.sums = torch.stack([metrics.sums for metrics in parts])
    gathered.rows = torch.stack([metrics.rows for metrics in parts]).sum()
    for name, value in gathered.compute().items():
        torch.testing.assert_close(value, whole.compute()[name])


def test_standardization_is_the_identity_until_it_is_fitted() -> None:
    x = torch.randn(4, 2)
    assert torch.equal(Standardization(2, 1)(x).float(), x)


@pytest.mark.parametrize("model", [LeastSquares, *MODELS])
def test_an_unfitted_model_refuses_to_predict_validate_and_test(
    model: type[RegressionModule], trainer: MakeTrainer
) -> None:
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    data = TensorData(x, x.sum(dim=1), val_fraction=0.5, test_fraction=0.2)
    for task in ("validate", "test", "predict"):
        with pytest.raises(InputError, match="has not been fitted in this process"):
            getattr(trainer(), task)(model(), data)
    fitted = model()
    trainer(max_epochs=1).fit(fitted, data)
    assert len(trainer().predict(fitted, data)) == 1
    with pytest.raises(InputError, match=r"x: a batch of shape \(20, 1\) .* 2 columns: x1, x2"):
        trainer().predict(fitted, DataLoader(x[:, :1], batch_size=20))


@pytest.mark.parametrize("columns", [1, 4])
def test_batches_of_one_or_four_tensors_are_refused(columns: int, trainer: MakeTrainer) -> None:
    loader = DataLoader(TensorDataset(*[torch.ones(6, 1)] * columns), batch_size=3)
    with pytest.raises(InputError, match=rf"batch: a list of {columns} was given; give loaders"):
        trainer(max_epochs=1).fit(LinearRegression(in_features=1), loader)


class Stream(IterableDataset):
    """A dataset without a length, finite or endless."""

    def __init__(self, rows: float) -> None:
        self.rows = rows

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        random = torch.Generator().manual_seed(0)
        row = 0
        while row < self.rows:
            x = torch.randn(2, generator=random)
            yield x, x.sum(0, keepdim=True)
            row += 1


@pytest.mark.parametrize("model", [LinearRegression, ManualLinearRegression])
@pytest.mark.parametrize(
    ("rows", "limits", "seen"),
    [(20, {"max_epochs": 2}, 20), (math.inf, {"max_steps": 5}, 40)],
)
def test_fit_accepts_loaders_without_a_length(
    model: type, rows: float, limits: dict, seen: int, trainer: MakeTrainer
) -> None:
    fit = model(in_features=2)
    trainer(**limits).fit(fit, DataLoader(Stream(rows), batch_size=8))
    assert fit.fit_statistics["rows"] == seen


def test_two_loaders_are_refused(trainer: MakeTrainer) -> None:
    loader = DataLoader(TensorDataset(torch.ones(6, 1), torch.ones(6, 1)), batch_size=3)
    with pytest.raises(InputError, match=r"batch: \(list, list\) was given; give one loader"):
        trainer(max_epochs=1).fit(ManualLinearRegression(in_features=1), [loader, loader])


@pytest.mark.parametrize("in_features", [None, 2])
def test_validation_uses_the_averaged_coefficients(
    in_features: int | None, trainer: MakeTrainer
) -> None:
    data = SyntheticData(batch_size=10, ones=False)
    finals = []
    for callbacks in ([], [EMAWeightAveraging(decay=0.9)]):
        torch.manual_seed(0)
        model = LinearRegression(standardize=True, in_features=in_features)
        trainer(max_epochs=3, callbacks=callbacks).fit(model, data)
        finals.append(estimates(model))
        measured = trainer().validate(model, data, verbose=False)[0]["val_loss"]
        assert measured == pytest.approx(model.evaluate([data.splits["val"]])["loss"])
    assert not torch.allclose(*finals, rtol=1e-4)
    torch.testing.assert_close(*finals, rtol=0.2, atol=0.2)


class ModelWithoutLoss(TableModule):
    """Its training step returns no loss."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def build(self, in_features: int, out_features: int) -> None:
        self.net = nn.Linear(in_features, out_features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(nn.functional.mse_loss(self(batch.x), batch.y))
        optimizer.step()

    def make_metrics(self) -> RegressionMetrics:
        return RegressionMetrics(len(self.target_names))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_a_training_step_without_a_returned_loss_is_accepted(trainer: MakeTrainer) -> None:
    model = ModelWithoutLoss()
    trainer(max_epochs=9).fit(model, SyntheticData(batch_size=10))
    assert model.fit_statistics["r2"] > 0.9


def test_lr_find_runs_without_validation_rows(trainer: MakeTrainer) -> None:
    x = torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
    model, data = LinearRegression(), TensorData(x, x.sum(dim=1), batch_size=5)
    runner = trainer(max_epochs=1, enable_checkpointing=True)
    Tuner(runner).lr_find(model, datamodule=data, num_training=20)
    trainer(max_epochs=1).fit(model, data)
    assert estimates(model).isfinite().all()


class StopLearning(Callback):
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.optimizers[0].param_groups[0]["lr"] = 0.0


def test_manual_regression_uses_the_learning_rate_that_a_callback_sets(
    trainer: MakeTrainer,
) -> None:
    weights = []
    for epochs in (1, 2):
        torch.manual_seed(0)
        model = ManualLinearRegression(lr=0.2)
        trainer(max_epochs=epochs, callbacks=[StopLearning()]).fit(model, SyntheticData(rows=50))
        weights.append(model.weight.detach().clone())
    assert torch.equal(*weights)


def test_an_intercept_that_is_no_truth_value_is_refused() -> None:
    with pytest.raises(InputError, match="intercept: 5 was given; type true, false or null"):
        LeastSquares(intercept=5)  # type: ignore[arg-type]
