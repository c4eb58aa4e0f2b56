"""Models of any task: classes and images, beside loops of plain torch and scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from sklearn.metrics import accuracy_score, f1_score, log_loss, r2_score
from third_party.tasks import KINDS, Classifier, ImageNetwork, Images, Trees, Unweighted
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassConfusionMatrix,
)

from linreg_lightning import (
    Batch,
    InputError,
    LinearRegression,
    RegressionMetrics,
    SupervisedModule,
    SyntheticData,
    TabularData,
    TensorData,
    TightLoop,
)
from linreg_lightning.metrics.task_metrics import TaskMetrics
from linreg_lightning.protocols import prediction_columns_of

MakeTrainer = Callable[..., Trainer]


ONE_IMAGE = Batch(torch.ones(1, 1, 4, 4), torch.tensor([0]))


def rows_of(split: Any) -> Batch:
    data = Trees()
    data.setup("fit")
    return data.splits[split]


def refused(message: str) -> Any:
    return pytest.raises(InputError, match=message)


def weights(model: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


def assert_same(a: list[Tensor], b: list[Tensor]) -> None:
    assert all(torch.equal(one, other) for one, other in zip(a, b, strict=True))


# A fit


def test_a_fit_of_images_takes_the_steps_of_a_plain_torch_loop(trainer: MakeTrainer) -> None:
    model, data = ImageNetwork(), Images(batch_size=None)
    network = nn.Sequential(*ImageNetwork().layers)
    network.load_state_dict(model.layers.state_dict())
    trainer(max_epochs=15).fit(model, data)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    x, y, _ = data.splits["train"]
    for _ in range(15):
        optimizer.zero_grad()
        functional.cross_entropy(network(x), y).backward()
        optimizer.step()
    assert_same(weights(model), weights(network))
    assert model.class_names == ["upper", "lower"]


def test_a_fit_of_classes_takes_the_steps_of_a_plain_torch_loop(trainer: MakeTrainer) -> None:
    model, data = Classifier(), Trees(batch_size=20, shuffle=False)
    network = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 3))
    torch.manual_seed(0)
    trainer(max_epochs=0).fit(model, data)  # makes the layers
    network.load_state_dict(model.layers.state_dict())
    trainer(max_epochs=5).fit(model, data)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.05)
    x, y, _ = data.splits["train"]
    z = model.standardization(x).float()
    np.testing.assert_allclose(z.mean(dim=0), 0, atol=1e-6)
    np.testing.assert_allclose(z.std(dim=0, correction=0), 1, rtol=1e-6)
    for _ in range(5):
        for rows in torch.arange(61).split(20):
            optimizer.zero_grad()
            functional.cross_entropy(network(z[rows]), y[rows]).backward()
            optimizer.step()
    assert_same(weights(model), weights(network))


@pytest.mark.parametrize("batch_size", [None, 7])
def test_metrics_are_those_of_scikit_learn_over_all_rows(
    batch_size: int | None, trainer: MakeTrainer
) -> None:
    model, data = Classifier(), Trees(batch_size=batch_size)
    runner = trainer(max_epochs=2)
    runner.fit(model, data)
    logged = {name: value.item() for name, value in runner.callback_metrics.items()}
    assert logged.keys() == {"train_loss", "val_loss", "val_accuracy", "val_f1"}
    (tested,) = runner.test(model, data, verbose=False)
    found = [{k.split("_")[1]: v for k, v in logged.items() if k != "train_loss"}]
    found += [{k.split("_")[1]: v for k, v in tested.items()}, dict(model.fit_statistics)]
    assert found[2].pop("rows") == 61
    for values, split in zip(found, ("val", "test", "train"), strict=True):
        x, y, _ = data.splits[split]
        logits = model(x).detach().double()
        assert values["loss"] == pytest.approx(log_loss(y, logits.softmax(dim=1)), rel=1e-6)
        predicted = logits.argmax(dim=1)
        assert values["accuracy"] == pytest.approx(accuracy_score(y, predicted), rel=1e-6)
        assert values["f1"] == pytest.approx(f1_score(y, predicted, average="macro"), rel=1e-6)
    assert model.summary().startswith("rows 61  loss 0.")


def test_groups_of_steps_change_nothing(trainer: MakeTrainer, group_sizes: list[int]) -> None:
    runs = []
    for callbacks in ([], [TightLoop(steps=4)]):
        torch.manual_seed(0)
        runner, model = (
            trainer(max_epochs=3, callbacks=callbacks, log_every_n_steps=50),
            Classifier(),
        )
        runner.fit(model, Trees(batch_size=6))
        runs.append((model, runner.callback_metrics))
    assert max(group_sizes) == 4
    assert_same(*(weights(model) for model, _ in runs))
    assert runs[0][1] == runs[1][1]
    assert runs[0][0].fit_statistics == runs[1][0].fit_statistics


@pytest.mark.parametrize("kind", [Classifier, ImageNetwork])
def test_a_fit_resumed_within_an_epoch_has_the_same_bits(
    kind: type[SupervisedModule], trainer: MakeTrainer, tmp_path: Path
) -> None:
    data = {Classifier: Trees, ImageNetwork: Images}[kind]
    saver = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=6, save_top_k=-1)
    whole = kind()
    runner = trainer(max_epochs=3, callbacks=[saver], enable_checkpointing=True)
    runner.fit(whole, data(batch_size=7))
    torch.manual_seed(5)
    resumed = kind()
    again = trainer(max_epochs=3)
    again.fit(resumed, data(batch_size=7), ckpt_path=tmp_path / "step=6.ckpt")
    assert_same(weights(whole), weights(resumed))
    assert whole.fit_statistics == resumed.fit_statistics
    assert runner.callback_metrics == again.callback_metrics


def test_a_loaded_checkpoint_predicts_classes_of_frames(trainer: MakeTrainer) -> None:
    model, runner = Classifier(), trainer(max_epochs=4)
    runner.fit(model, Trees())
    runner.save_checkpoint("trees.ckpt")
    again = Classifier.load_from_checkpoint("trees.ckpt")
    assert again.class_names == KINDS
    x = torch.tensor([[0.1, 1e6], [0.13, 1e6 + 3000]], dtype=torch.float64)
    logits = again.predict(x)
    assert torch.equal(logits, model(x))
    frame = pd.DataFrame(x.numpy(), columns=["length", "weight"], index=[7, 9])
    answer = again.predict(frame[["weight", "length"]])
    assert answer["kind"].tolist() == [KINDS[k] for k in logits.argmax(dim=1)]
    assert answer.index.tolist() == [7, 9]
    expected = logits.softmax(dim=1)[:, 0].numpy()
    np.testing.assert_array_equal(answer["elm_probability"], expected)
    rows = rows_of("val")
    assert again.evaluate([rows]) == model.evaluate([rows])
    data = TensorData(frame)  # which does not know the classes
    (predicted,) = trainer().predict(Classifier(), data, ckpt_path="trees.ckpt")
    assert torch.equal(predicted, logits)
    (tested,) = trainer().test(Classifier(), Trees(), ckpt_path="trees.ckpt", verbose=False)
    assert tested["test_loss"] == pytest.approx(model.evaluate([rows])["loss"])


def test_classes_without_names_of_columns_are_not_written_into_frames(
    trainer: MakeTrainer,
) -> None:
    class Nameless(Classifier):
        prediction_columns = None

    model = Nameless()
    trainer(max_epochs=1).fit(model, Trees())
    with refused("predict: Nameless predicts 3 columns for kind; define prediction_columns"):
        model.predict(pd.DataFrame({"length": [0.1], "weight": [1e6]}))


def test_rows_without_a_prediction_have_no_class() -> None:
    class Guess:
        def prediction_columns(self, prediction: Tensor) -> dict[str, Any]:
            return {"kind": ["elm"] * 2, "rank": torch.tensor([1, 2]), "p": prediction[:, 1]}

    answer = prediction_columns_of(Guess(), torch.tensor([[1.0, 0.5], [torch.nan, 0.5]]))
    assert answer is not None
    assert answer["kind"] == ["elm", None]
    for name in ("rank", "p"):
        assert answer[name].isnan().tolist() == [False, True]
    assert prediction_columns_of(nn.Identity(), torch.ones(1, 1)) is None


# Row weights


def test_row_weights_scale_losses_by_their_share_of_the_mean(trainer: MakeTrainer) -> None:
    model, data = Unweighted(), Trees(weighted=True, batch_size=None)
    trainer(max_epochs=0).fit(model, data)
    network = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 3))
    network.load_state_dict(model.layers.state_dict())
    runner = trainer(max_epochs=4)
    runner.fit(model, data)
    x, y, weight = data.splits["train"]
    assert weight is not None
    share, z = weight.double() / weight.double().mean(), model.standardized(x)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.05)
    for _ in range(4):
        optimizer.zero_grad()
        losses = functional.cross_entropy(network(z), y, reduction="none")
        (losses.double() * share).mean().backward()
        optimizer.step()
    for one, other in zip(weights(model), weights(network), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    x, y, weight = data.splits["val"]
    expected = log_loss(y, model(x).detach().double().softmax(dim=1), sample_weight=weight)
    assert runner.callback_metrics["val_loss"].item() == pytest.approx(expected, rel=1e-6)
    assert model.fit_statistics.keys() == {"rows", "loss"}


def test_weights_that_the_metrics_would_ignore_are_refused(trainer: MakeTrainer) -> None:
    with refused("weight: rows with weights .* metrics count each row once"):
        trainer().fit(Classifier(), Trees(weighted=True))


class Regressor(Unweighted):
    def forward(self, x: Tensor) -> Tensor:
        return self.standardization.unscale_target(super().forward(x))

    def row_loss(self, prediction: Tensor, y: Tensor) -> Tensor:
        return (prediction - y).abs().mean(dim=1)

    def make_metrics(self) -> RegressionMetrics:
        return RegressionMetrics(len(self.target_names))

    prediction_columns = None


def test_a_network_of_numbers_has_its_own_loss_beside_the_metrics(trainer: MakeTrainer) -> None:
    random = torch.Generator().manual_seed(0)
    x = torch.randn(80, 2, generator=random, dtype=torch.float64)
    y = 1e6 + 1000 * x.sin().sum(dim=1)
    weight = torch.rand(80, generator=random)
    model, data = Regressor(hidden=16), TensorData(x, y, weight, val_fraction=0.5, batch_size=9)
    runner = trainer(max_epochs=30)
    runner.fit(model, data)
    logged = {name: value.item() for name, value in runner.callback_metrics.items()}
    rows = data.splits["val"]
    residual, share = (rows.y - model(rows.x).detach())[:, 0].numpy(), rows.weight
    assert logged["val_loss"] == pytest.approx(np.average(abs(residual), weights=share), rel=1e-6)
    mse = np.average(residual**2, weights=share)
    assert logged["val_rmse"] == pytest.approx(mse**0.5, rel=1e-6)
    r2 = r2_score(rows.y, model(rows.x).detach(), sample_weight=share)
    assert logged["val_r2"] == pytest.approx(r2, abs=1e-6)
    assert r2 > 0.8


# Any loader, any precision


def test_a_plain_loader_of_images_is_enough(trainer: MakeTrainer) -> None:
    data, model = Images(), ImageNetwork()
    data.setup("fit")
    x, y, _ = data.splits["train"]
    loader = DataLoader(TensorDataset(x.double(), y.int()), batch_size=8)
    runner = trainer(max_epochs=20)
    runner.fit(model, loader, loader)
    loss = functional.cross_entropy(model(x).double(), y).item()
    assert model.fit_statistics["rows"] == 30
    assert model.fit_statistics["loss"] == pytest.approx(loss, rel=1e-4)
    assert runner.callback_metrics["val_loss"].item() == pytest.approx(loss, rel=1e-4)
    accuracy = (model(x).argmax(dim=1) == y).double().mean().item()
    assert runner.callback_metrics["val_MulticlassAccuracy"].item() == pytest.approx(accuracy)
    assert accuracy > 0.9
    predicted = torch.cat(trainer().predict(model, DataLoader(x.double(), batch_size=8)))
    torch.testing.assert_close(predicted, model(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true"])
@pytest.mark.parametrize("kind", [Classifier, ImageNetwork])
def test_losses_are_exact_means_in_any_precision(
    kind: type[SupervisedModule], precision: str, trainer: MakeTrainer
) -> None:
    model, data = kind(), Trees() if kind is Classifier else Images()
    runner = trainer(max_epochs=3, precision=precision)
    runner.fit(model, data)
    x, y, _ = data.splits["val"]
    with runner.precision_plugin.val_step_context(), torch.no_grad():
        logits = model(x.to(model.dtype) if precision == "bf16-true" or kind is ImageNetwork else x)
    loss = log_loss(y, logits.double().softmax(dim=1))
    assert runner.callback_metrics["val_loss"].item() == pytest.approx(loss, rel=1e-5)
    assert model.fit_statistics["rows"] == data.splits["train"].rows
    assert model.fit_statistics["loss"] < 1.2


# Refusals

IMAGES = torch.ones(4, 1, 4, 4)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ((IMAGES, torch.ones(3).long()), r"y: a shape of \(3,\) was given beside x"),
        ((IMAGES, torch.ones(4)), r"y: a shape of \(4,\) .* model predicts \(4, 2\)"),
        ((IMAGES,), "batch: a (tuple|list) of 1 was given"),
        ({"x": IMAGES, "y": torch.ones(4)}, "batch: a dict of 2 was given"),
        ((IMAGES, torch.ones(4).long(), torch.ones(4)), "weight: rows with weights were given"),
    ],
)
def test_batches_of_other_shapes_are_refused(
    batch: Any, message: str, trainer: MakeTrainer
) -> None:
    with refused(message):
        trainer(max_epochs=1).fit(ImageNetwork(), DataLoader([batch], batch_size=None))


class Reduced(ImageNetwork):
    def row_loss(self, prediction: Tensor, y: Tensor) -> Tensor:
        return functional.cross_entropy(prediction, y)


class Numbers(ImageNetwork):
    def make_metrics(self) -> Metric:
        return RegressionMetrics(2)


class Matrix(ImageNetwork):
    def make_metrics(self) -> Metric:
        return MulticlassConfusionMatrix(2)


class Measured(ImageNetwork):
    """Measures what a test asks for."""

    def __init__(self, metric: Any) -> None:
        super().__init__()
        self.metric = metric

    def make_metrics(self) -> Any:
        return self.metric


class Computes(Metric):
    """Computes a given value."""

    full_state_update = False

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value

    def update(self, *_: Tensor) -> None: ...

    def compute(self) -> Any:
        return self.value


@pytest.mark.parametrize("value", [0.5, np.float64(0.5), torch.tensor([0.5])])
def test_a_metric_may_compute_any_number(value: Any, trainer: MakeTrainer) -> None:
    fit = trainer(max_epochs=1)
    fit.fit(model := Measured(Computes(value)), Images())
    assert fit.callback_metrics["val_Computes"] == model.fit_statistics["Computes"] == 0.5


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Measured(Computes((1, 2))), "make_metrics: Computes has the type tuple; give metrics of"),
        (Measured(Computes(None)), "make_metrics: Computes has the type NoneType; give metrics"),
        (Measured({"a": Computes(1)}), "make_metrics: a dict was returned; return a metric"),
        (Reduced(), r"row_loss: a shape of \(\) was returned for 8 rows; return .* \(8,\)"),
        (Matrix(), r"make_metrics: MulticlassConfusionMatrix has the shape \(2, 2\)"),
        (ImageNetwork(classes=3), "class_names: the data have 2 classes, upper, lower, and the"),
        (
            Numbers(),
            "class_names: the data have the classes upper, lower, and Numbers predicts num",
        ),
        (ImageNetwork(lr=1e38), r"lr: the loss is (nan|inf).*lower lr \(1e\+38 was given\)"),
    ],
)
def test_models_that_do_not_fit_the_data_are_refused(
    model: SupervisedModule, message: str, trainer: MakeTrainer
) -> None:
    with refused(message):
        trainer(max_epochs=5).fit(model, Images())


def test_names_of_classes_are_texts_and_each_another(trainer: MakeTrainer) -> None:
    trainer(max_epochs=1).fit(model := ImageNetwork(), named_images([0, 1]))
    assert model.class_names == ["0", "1"]
    with refused("class_names: 1 was given twice"):
        trainer(max_epochs=1).fit(ImageNetwork(), named_images(["1", 1]))


def named_images(names: list[Any]) -> Images:
    data = Images()
    data.class_names = names
    return data


def test_metrics_of_classes_need_their_names(trainer: MakeTrainer) -> None:
    with refused("class_names: the data have none, and Classifier makes its metrics of them"):
        trainer().fit(Classifier(), SyntheticData(val_rows=0))


def test_a_name_of_two_classes_is_refused() -> None:
    with refused("class_names: a was given twice"):
        Classifier().set_class_names(["a", "b", "a"])


def test_a_model_needs_a_loss(trainer: MakeTrainer) -> None:
    class NoLoss(ImageNetwork):
        row_loss = SupervisedModule.row_loss

    with pytest.raises(NotImplementedError, match="NoLoss defines neither row_loss nor training"):
        trainer(max_epochs=1).fit(NoLoss(), Images())


def test_linear_models_refuse_classes(trainer: MakeTrainer) -> None:
    with refused("class_names: the data have the classes elm, oak, yew, and LinearRegression"):
        trainer().fit(LinearRegression(), Trees())


@pytest.mark.parametrize("task", ["validate", "test", "predict"])
@pytest.mark.parametrize("kind", [Classifier, ImageNetwork])
def test_a_model_without_a_fit_predicts_nothing(
    kind: type[SupervisedModule], task: str, trainer: MakeTrainer
) -> None:
    with refused(f"{kind.__name__}: it has not been fitted in this process"):
        getattr(trainer(), task)(kind(), Trees() if kind is Classifier else Images())


def test_other_classes_and_other_arguments_are_refused(trainer: MakeTrainer) -> None:
    model, runner = Classifier(), trainer(max_epochs=1)
    runner.fit(model, Trees())
    runner.save_checkpoint("trees.ckpt")
    other = ["elm", "yew", "oak"]
    with refused("class_names: the model has elm, oak, yew, in this order; the data have elm, yew"):
        trainer().test(model, Trees(other))
    with refused("ckpt_path: the model was fitted on the classes elm, oak, yew, in this order"):
        trainer().test(Classifier(), Trees(other), ckpt_path="trees.ckpt")
    with refused("hidden: 9 was given to Classifier, but the checkpoint was made with 8"):
        trainer().test(Classifier(hidden=9), Trees(), ckpt_path="trees.ckpt")
    with refused("ckpt_path: a checkpoint of .*Classifier was given to ImageNetwork"):
        ImageNetwork.load_from_checkpoint("trees.ckpt")
    numbers = Regressor()
    x = torch.rand(8, 2)
    trainer(max_epochs=1).fit(numbers, TensorData(x, x[:, 0], feature_names=["length", "weight"]))
    with refused("class_names: the model was made to predict numbers, and the data have the class"):
        trainer().fit(numbers, Trees())


def test_a_table_of_classes_is_fitted_loaded_and_predicted(trainer: MakeTrainer) -> None:
    x, y, _ = rows_of("train")
    frame = pd.DataFrame(x.numpy(), columns=["length", "weight"])
    frame["soil"] = np.where(np.arange(61) % 2, "sand", "clay")
    frame.loc[5, "length"] = np.nan
    target = [KINDS[k] for k in y]
    frame.assign(kind=target).to_csv("trees.csv", index=False)
    options: dict[str, Any] = {"missing": "drop", "classes": True, "val_fraction": 0.2}
    model, runner = Classifier(), trainer(max_epochs=20)
    runner.fit(model, TabularData("trees.csv", "kind", **options))
    runner.save_checkpoint("trees.ckpt")
    again = Classifier.load_from_checkpoint("trees.ckpt")
    assert again.class_names == KINDS
    assert again.feature_names == ["length", "weight", "soil[sand]"]
    answer = again.predict(frame)
    assert pd.isna(answer["kind"][5])
    assert np.isnan(answer["elm_probability"][5])
    assert again.predict(frame[:0]).shape == (0, 2)
    right = answer["kind"] == target
    assert right.sum() > 45
    data = TabularData("trees.csv", "kind", **options)
    (tested,) = trainer().validate(Classifier(), data, ckpt_path="trees.ckpt", verbose=False)
    assert tested["val_loss"] == pytest.approx(runner.callback_metrics["val_loss"].item())


def test_metrics_that_agree_on_the_first_batch_are_measured_apart() -> None:
    accuracies = {f"top{k}": MulticlassAccuracy(3, top_k=k) for k in (1, 2)}
    metrics = TaskMetrics(MetricCollection(accuracies, prefix="best_"))
    perfect, y = torch.eye(3), torch.arange(3)
    for target in (y, y.roll(1), y.roll(1)):
        metrics.update(perfect, target, losses=torch.ones(3))
    for k in (1, 2):
        alone = MulticlassAccuracy(3, top_k=k)
        alone.update(perfect.repeat(3, 1), torch.cat([y, y.roll(1), y.roll(1)]))
        assert metrics.compute()[f"best_top{k}"] == alone.compute()
    assert metrics.compute()["best_top1"] < metrics.compute()["best_top2"]


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"valid": ONE_IMAGE}, "splits: 'valid' was given; the names are train, val, test, pre"),
        ({"val": tuple(ONE_IMAGE)}, r"splits\['val'\]: a tuple was given; give Batch\(x, y\)"),
        ({"val": ONE_IMAGE.map(Tensor.numpy)}, r"splits\['val'\]: a ndarray was given; give B"),
    ],
)
def test_splits_of_another_kind_are_refused(splits: Any, message: str) -> None:
    class Other(Images):
        def load(self, stage: str) -> None:
            super().load(stage)
            self.splits |= splits

    with refused(message):
        Other().setup("fit")
