"""Each callback alone, in short runs."""

import json
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import CSVLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from torch.utils.data import DataLoader, TensorDataset

from linreg_lightning import (
    InputError,
    LeastSquares,
    LinearRegression,
    RunLogger,
    SyntheticData,
    TensorData,
)
from linreg_lightning.callbacks import (
    CoefficientFile,
    CoefficientMonitor,
    CustomScalars,
    FitMonitor,
    LogInterval,
    PredictionWriter,
    RunCheckpoint,
    RunSummary,
)

MakeTrainer = Callable[..., Trainer]


def events(folder: str) -> EventAccumulator:
    accumulator = EventAccumulator(folder)
    accumulator.Reload()
    return accumulator


def test_coefficients_are_logged_at_the_start_and_after_every_epoch(trainer: MakeTrainer) -> None:
    model = LinearRegression()
    trainer(max_epochs=5, logger=RunLogger(), callbacks=[CoefficientMonitor()]).fit(
        model, SyntheticData(batch_size=50)
    )
    scalars = events("logs/version_0")
    for row in model.coefficients():
        points = scalars.Scalars(f"coefficient/{row['name']}")
        assert [point.step for point in points] == [0, 2, 4, 6, 8, 10]
        assert abs(points[-1].value - row["estimate"]) < 1e-6


def test_each_target_has_its_own_tags_and_too_many_coefficients_are_not_logged(
    trainer: MakeTrainer,
) -> None:
    data = SyntheticData(targets=2)
    for max_coefficients in (6, 5):
        trainer(
            max_epochs=1, logger=RunLogger(), callbacks=[CoefficientMonitor(max_coefficients)]
        ).fit(LinearRegression(), data)
    tags = events("logs/version_0").Tags()["scalars"]
    assert {"coefficient/y1/x2", "coefficient/y2/intercept"} <= set(tags)
    assert not [tag for tag in events("logs/version_1").Tags()["scalars"] if "coefficient" in tag]


@pytest.mark.parametrize("callback", [CoefficientMonitor, CustomScalars])
def test_a_negative_max_coefficients_is_refused(callback: Any) -> None:
    with pytest.raises(InputError, match="max_coefficients: -1 was given; type a whole number, 0"):
        callback(max_coefficients=-1)


def test_the_log_interval_follows_the_length_of_the_epoch(trainer: MakeTrainer) -> None:
    for batch_size, limit, expected in ((None, 1.0, 1), (30, 1.0, 4), (1, 1.0, 50), (1, 3, 3)):
        runner = trainer(
            max_epochs=1,
            log_every_n_steps=99,
            limit_train_batches=limit,
            callbacks=[LogInterval()],
        )
        runner.fit(LinearRegression(lr=0.01), SyntheticData(batch_size=batch_size))
        assert runner.log_every_n_steps == expected


def test_coefficients_json_writes_nan_as_null(
    trainer: MakeTrainer,
) -> None:
    x = torch.randn(20, 1)
    data = TensorData(x, torch.full((20,), 3.0))
    runner = trainer(max_epochs=1, logger=CSVLogger("csv"), callbacks=[CoefficientFile()])
    runner.fit(LinearRegression(), data)
    path = Path(runner.log_dir) / "coefficients.json"
    answer = json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(name))
    assert answer["fit"]["r2"] is None
    assert answer["rows"] == 20


def test_a_fast_dev_run_writes_nothing(trainer: MakeTrainer) -> None:
    trainer(fast_dev_run=True, callbacks=[CoefficientFile()]).fit(
        LinearRegression(), SyntheticData()
    )
    assert not list(Path().iterdir())


def test_the_prediction_file_holds_the_models_predictions(trainer: MakeTrainer) -> None:
    x = torch.randn(10, 2, dtype=torch.float64)
    model = LinearRegression(in_features=2, out_features=2)
    trainer(callbacks=[PredictionWriter()], default_root_dir="run").predict(
        model, TensorData(x, batch_size=4), return_predictions=False
    )
    header, *rows = Path("run/predictions.csv").read_text().splitlines()
    assert header == "y1,y2"
    written = torch.tensor([[float(cell) for cell in row.split(",")] for row in rows])
    expected = torch.cat([model(part) for part in x.split(4)])
    torch.testing.assert_close(written, expected, rtol=1e-6, atol=0)


class NamedPredictions(LightningModule):
    """Predicts (rows, 2) from images of 3 x 3 pixels; `columns` makes its prediction columns."""

    def __init__(self, columns: Callable[[Any], Any]) -> None:
        super().__init__()
        self.prediction_columns = columns

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([x.mean((1, 2, 3)), x.amax((1, 2, 3))], dim=1)

    def predict_step(self, batch: Any, batch_idx: int) -> Any:
        return {"mean and largest": self(batch[0])}


def named_columns(prediction: dict[str, torch.Tensor]) -> dict[str, Any]:
    values = prediction["mean and largest"]
    kind = ["dark, mostly" if each < 0 else 'bright "é"' for each in values[:, 0].tolist()]
    number = values.argmax(1)
    return {"kind": kind, "number": number, "is bright": values[:, 0] > 0, "mean": values[:, 0]}


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_a_model_names_the_columns_of_its_predictions(trainer: MakeTrainer, format: Any) -> None:
    x = torch.randn(10, 1, 3, 3, dtype=torch.float64)
    x[3] = torch.nan
    writer, model = PredictionWriter(format=format), NamedPredictions(named_columns)
    trainer(callbacks=[writer]).predict(model, DataLoader(TensorDataset(x), batch_size=4))
    assert writer.path == Path(f"predictions.{format}").absolute()
    table = pd.read_csv(writer.path) if format == "csv" else pd.read_parquet(writer.path)
    expected = pd.DataFrame(named_columns({"mean and largest": model(x)}))
    pd.testing.assert_frame_equal(table, expected, check_dtype=format == "parquet")
    assert table["mean"].isna().tolist() == [k == 3 for k in range(10)]


def test_rows_without_a_prediction_have_no_class(trainer: MakeTrainer) -> None:
    def columns(prediction: torch.Tensor) -> dict[str, Any]:
        number = prediction.argmax(1)
        return {"kind": [["dark", "bright"][k] for k in number.tolist()], "number": number}

    x = torch.randn(5, 1, 3, 3)
    x[3] = torch.nan
    model = NamedPredictions(columns)
    model.predict_step = lambda batch, batch_idx: model(batch[0])
    rows = DataLoader(TensorDataset(x), batch_size=5)
    trainer(callbacks=[PredictionWriter()]).predict(model, rows)
    written = pd.read_csv("predictions.csv").isna()
    assert written["kind"].tolist() == written["number"].tolist() == [k == 3 for k in range(5)]


@pytest.mark.parametrize("none", [None, {}])
def test_without_columns_of_its_own_a_model_has_those_of_others(
    trainer: MakeTrainer, none: Any
) -> None:
    model = NamedPredictions(lambda prediction: none)
    model.predict_step = lambda batch, batch_idx: model(batch[0])
    rows = DataLoader(TensorDataset(torch.randn(5, 1, 3, 3)), batch_size=4)
    trainer(callbacks=[PredictionWriter()]).predict(model, rows)
    assert list(pd.read_csv("predictions.csv").columns) == ["y1", "y2"]


@pytest.mark.parametrize("columns", [{"a": 3}, {"a": ["one", 1]}, [("a", torch.zeros(4))]])
def test_prediction_columns_that_cannot_be_written_are_refused(
    trainer: MakeTrainer, columns: Any
) -> None:
    model = NamedPredictions(lambda prediction: columns)
    rows = DataLoader(TensorDataset(torch.randn(2, 1, 3, 3)), batch_size=2)
    message = "it returned what cannot be written .*; return a dict of tensors"
    with pytest.raises(InputError, match=message):
        trainer(callbacks=[PredictionWriter()]).predict(model, rows)


@pytest.mark.parametrize(
    ("columns", "shape"),
    [
        ({"a": torch.zeros(4), "b": torch.zeros(4, 1)}, r"'b' of shape \(4, 1\)"),
        ({"a": ["one"]}, r"'a' of shape \(1,\)"),
        ({"a": torch.zeros(())}, r"'a' of shape \(\)"),
    ],
)
def test_prediction_columns_of_another_length_are_refused(
    trainer: MakeTrainer, columns: Any, shape: str
) -> None:
    x = torch.randn(4, 1, 3, 3)
    x[0] = torch.nan
    rows = DataLoader(TensorDataset(x), batch_size=4)
    message = rf"prediction_columns: {shape} was returned; \(4,\) is needed"
    with pytest.raises(InputError, match=message):
        trainer(callbacks=[PredictionWriter()]).predict(NamedPredictions(lambda _: columns), rows)
    model = NamedPredictions(lambda _: columns)
    model.predict_step = lambda batch, batch_idx: model(batch[0])
    with pytest.raises(InputError, match=message):
        trainer(callbacks=[PredictionWriter()]).predict(model, rows)
    assert not list(Path().glob("**/predictions*"))


class Measured(LinearRegression):
    """A model with a metric of its own, as another task has."""

    def on_validation_epoch_end(self) -> None:
        self.log("val_loss", 0.5)
        self.log("val_accuracy", 0.75)

    def on_train_end(self) -> None:
        self.fit_statistics = {"rows": 100, "loss": 0.5, "accuracy": 0.75, "f1": [0.25, 1.0]}


def test_metrics_of_any_task_are_logged_charted_and_written(trainer: MakeTrainer) -> None:
    callbacks = [FitMonitor(), CustomScalars(), RunSummary()]
    runner = trainer(max_epochs=2, logger=RunLogger(), callbacks=callbacks)
    runner.fit(Measured(), SyntheticData())
    run = events("logs/version_0")
    (step,) = {run.Scalars(tag)[-1].step for tag in run.Tags()["scalars"] if tag[:4] == "fit/"}
    assert step == runner.global_step
    logged = {k: run.Scalars(k)[-1].value for k in run.Tags()["scalars"] if k[:4] == "fit/"}
    assert logged == {"fit/loss": 0.5, "fit/accuracy": 0.75, "fit/f1/1": 0.25, "fit/f1/2": 1.0}
    (layout,) = run.Tensors("custom_scalars__config__")
    charts = Layout.FromString(layout.tensor_proto.string_val[0]).category[0].chart
    assert [chart.title for chart in charts] == [
        *("training loss", "validation loss", "validation accuracy")
    ]
    assert list(charts[2].multiline.tag) == ["^val/accuracy$"]
    (text,) = run.Tensors("result/text_summary")
    assert b"| accuracy | 0.75 |" in text.tensor_proto.string_val[0]


@pytest.mark.parametrize("intercept", [True, False])
def test_statistics_of_inference_are_not_logged(trainer: MakeTrainer, intercept: bool) -> None:
    runner = trainer(max_epochs=1, logger=RunLogger(), callbacks=[FitMonitor()])
    x = torch.randn(20, 3)
    runner.fit(LeastSquares(intercept=intercept), TensorData(x[:, :2], x[:, 2]))
    tags = events("logs/version_0").Tags()["scalars"]
    r2 = "fit/r2" if intercept else "fit/r2_uncentered"
    assert {tag for tag in tags if tag.startswith("fit/")} == {"fit/loss", "fit/rmse", r2}


@pytest.mark.parametrize("sanity", [0, 2])
@pytest.mark.parametrize(("every", "metrics"), [(1, 4), (2, 4), (9, 0)])
def test_charts_are_laid_out_once_metrics_are_known(
    trainer: MakeTrainer, sanity: int, every: int, metrics: int
) -> None:
    options = {"num_sanity_val_steps": sanity, "check_val_every_n_epoch": every}
    runner = trainer(max_epochs=3, logger=RunLogger(), callbacks=[CustomScalars()], **options)
    runner.fit(LinearRegression(), SyntheticData())
    (layout,) = events("logs/version_0").Tensors("custom_scalars__config__")
    charts = Layout.FromString(layout.tensor_proto.string_val[0]).category[0].chart
    assert len(charts) == 1 + (4 if sanity else metrics)


class Interrupt(Callback):
    def on_predict_batch_start(self, trainer: Any, *args: Any) -> None:
        if args[2] == 2:
            raise InputError("enough")


def test_an_interrupted_prediction_leaves_no_file(trainer: MakeTrainer) -> None:
    runner = trainer(callbacks=[PredictionWriter(), Interrupt()], default_root_dir="run")
    with pytest.raises(InputError, match="enough"):
        runner.predict(LinearRegression(in_features=2), TensorData(torch.randn(9, 2), batch_size=3))
    assert not [path for path in Path("run").glob("**/*") if path.is_file()]


def test_the_hparams_tab_holds_only_arguments_and_metrics(trainer: MakeTrainer) -> None:
    data = SyntheticData(weights=[1.0, 2.0])
    runner = trainer(max_epochs=3, logger=RunLogger())
    runner.fit(LinearRegression(lr=0.05), data)
    accumulator = events("logs/version_0")
    content = accumulator.PluginTagToContent("hparams")
    experiment = HParamsPluginData.FromString(content["_hparams_/experiment"]).experiment
    metrics = {info.name.tag for info in experiment.metric_infos}
    assert metrics == {"train/loss", "val/loss", "val/rmse", "val/mae", "val/r2"}
    for metric in metrics:
        points = accumulator.Scalars(metric)
        assert len(points) == 3
        assert all(torch.isfinite(torch.tensor(point.value)) for point in points)
    start = HParamsPluginData.FromString(content["_hparams_/session_start_info"])
    shown = start.session_start_info.hparams
    assert shown["lr"].number_value == 0.05
    assert shown["weights"].string_value == "[1.0, 2.0]"
    assert not [name for name in shown if name.startswith("_")]
    assert "hp_metric" not in accumulator.Tags()["scalars"]


def test_a_failed_run_is_absent_from_the_hparams_tab(trainer: MakeTrainer) -> None:
    logging.getLogger("lightning").setLevel(logging.ERROR)
    with pytest.raises(InputError, match="diverged"):
        trainer(logger=RunLogger()).fit(LinearRegression(lr=3.0), SyntheticData())
    with pytest.raises(KeyError):
        events("logs/version_0").PluginTagToContent("hparams")


@pytest.mark.parametrize(
    ("seconds", "saved"), [(0, [1, 2, 3, 4, 5]), (1000, [1, 5])], ids=["each epoch", "first, last"]
)
@pytest.mark.parametrize("end", [{"max_epochs": 5}, {"max_epochs": 9, "max_steps": 5}], ids=str)
def test_the_first_and_the_last_epoch_are_saved(
    trainer: MakeTrainer,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    saved: list[int],
    end: Any,
) -> None:
    epochs: list[int] = []
    save = Trainer.save_checkpoint

    def save_and_count(self: Trainer, *args: Any, **kwargs: Any) -> None:
        epochs.append(self.global_step)
        save(self, *args, **kwargs)

    monkeypatch.setattr(Trainer, "save_checkpoint", save_and_count)
    options = {"enable_checkpointing": True, "callbacks": [RunCheckpoint(seconds)], **end}
    trainer(**options).fit(LinearRegression(), SyntheticData(batch_size=1000))
    assert epochs == saved
    (file,) = Path().rglob("*.ckpt")  # the newest alone is kept
    assert file.name == "epoch=4-step=5.ckpt"
    assert torch.load(file, weights_only=True)["global_step"] == 5


def test_early_stopping_saves_its_last_epoch(trainer: MakeTrainer) -> None:
    stopping = EarlyStopping("val_loss", patience=1, min_delta=1e9)
    options = {"enable_checkpointing": True, "callbacks": [stopping, RunCheckpoint(1000)]}
    trainer(**options, max_epochs=9).fit(LinearRegression(), SyntheticData(batch_size=1000))
    (file,) = Path().rglob("*.ckpt")
    assert file.name == "epoch=1-step=2.ckpt"


def test_a_logger_whose_run_has_ended_can_be_used_again(trainer: MakeTrainer) -> None:
    runner = trainer(max_epochs=1, logger=RunLogger())
    model, data = LinearRegression(), SyntheticData()
    runner.fit(model, data)
    runner.test(model, data, verbose=False)
    runner.predict(model, data)
    runner.logger.experiment.close()
    runner.logger.log_metrics({"test_again": 1.0}, 1)
    runner.logger.finalize("success")
    assert {"val/r2", "test/r2", "test/again"} <= set(events("logs/version_0").Tags()["scalars"])
    copy = pickle.loads(pickle.dumps(runner.logger))
    assert copy.log_dir == runner.logger.log_dir


def test_a_run_that_fails_before_it_logs_leaves_no_folder(trainer: MakeTrainer) -> None:
    class Refused(LinearRegression):
        def on_fit_start(self) -> None:
            assert self.trainer.loggers[0].experiment.log_dir == "logs/version_0"
            raise InputError("refused")

    with pytest.raises(InputError, match="refused"):
        trainer(logger=RunLogger()).fit(Refused(), SyntheticData())
    assert not Path("logs/version_0").exists()
