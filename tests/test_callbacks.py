"""Each callback alone, in short runs."""

import json
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import CSVLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from linreg_lightning import (
    InputError,
    LinearRegression,
    RunLogger,
    SyntheticData,
    TensorData,
)
from linreg_lightning.callbacks import (
    CoefficientFile,
    CoefficientMonitor,
    CustomScalars,
    LogInterval,
    PredictionWriter,
    RunCheckpoint,
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
