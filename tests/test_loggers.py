"""Loggers beside TensorBoard's: what they get, and what their absence says."""

import csv
import sys
import types
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, MLFlowLogger
from lightning.pytorch.loggers.logger import DummyLogger

from linreg_lightning import LinearRegression, RunLogger, SyntheticData
from linreg_lightning.callbacks.coefficient_monitor import CoefficientMonitor
from linreg_lightning.callbacks.fit_plots import FitPlots

PLOTS = {"predicted", "residuals", "coefficients", "descent"}
PNG = b"\x89PNG\r\n\x1a\n"


class ImageLogger(DummyLogger):
    """Takes pictures as WandbLogger does."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures: dict[str, bytes] = {}

    def log_image(self, key: str, images: list[Any], step: int | None = None) -> None:
        (file,) = images
        assert step == 2
        self.pictures[key] = Path(file).read_bytes()


class Artifacts:
    """Takes files as MLflow's client does."""

    def __init__(self) -> None:
        self.files: list[tuple[str, str, str]] = []

    def log_artifact(self, run_id: str, local_path: str, artifact_path: str | None = None) -> None:
        assert Path(local_path).read_bytes().startswith(PNG)
        self.files.append((run_id, Path(local_path).stem, str(artifact_path)))


class FakeMLFlowLogger(MLFlowLogger):
    """MLFlowLogger without the package mlflow, which the tests do not have."""

    def __init__(self) -> None:
        self.artifacts = Artifacts()

    experiment = property(lambda self: self.artifacts)
    run_id = property(lambda self: "run 7")
    save_dir = name = version = property(lambda self: None)

    def log_metrics(self, metrics: Any, step: int | None = None) -> None: ...
    def log_hyperparams(self, params: Any) -> None: ...
    def finalize(self, status: str = "success") -> None: ...


def test_each_logger_gets_the_plots_in_its_own_way(trainer: Callable[..., Trainer]) -> None:
    images, mlflow, ours = ImageLogger(), FakeMLFlowLogger(), RunLogger()
    loggers = [ours, images, mlflow, CSVLogger("csv")]
    run = trainer(max_epochs=2, logger=loggers, callbacks=[FitPlots(), CoefficientMonitor()])
    run.fit(LinearRegression(), SyntheticData())
    files = {file.stem: file.read_bytes() for file in Path(ours.log_dir).glob("*.png")}
    assert files.keys() == PLOTS
    assert images.pictures == files
    assert set(mlflow.artifacts.files) == {("run 7", name, "figures") for name in files}


def test_the_csv_logger_has_metrics_settings_and_files_of_the_run(
    command: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    logger = "--trainer.logger CSVLogger --trainer.logger.save_dir logs --trainer.logger.name csv"
    answer = command("fit --trainer.max_epochs 3 --figures true --optimizer Adam", logger)
    folder = Path("logs/csv/version_0")
    assert {file.stem for file in folder.glob("*.png")} == PLOTS
    with (folder / "metrics.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    (last,) = [row["coefficient/x1"] for row in rows if row["coefficient/x1"]][-1:]
    assert float(last) == pytest.approx(answer["coefficients"][1]["estimate"])
    assert any(row["fit_r2"] for row in rows)
    settings = yaml.safe_load((folder / "hparams.yaml").read_text())
    assert settings["lr"] == 0.1
    assert settings["optimizer"] == "Adam"
    assert str(folder / "coefficients.json") in capsys.readouterr().out


def test_a_logger_without_a_folder_leaves_files_in_the_root_folder(
    command: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    module: Any = types.ModuleType("no_folder")
    module.NoFolder = type("NoFolder", (ImageLogger,), {"__module__": "no_folder"})
    monkeypatch.setitem(sys.modules, "no_folder", module)
    command("fit --trainer.max_epochs 2 --trainer.logger no_folder.NoFolder")
    assert Path("logs/config.yaml").is_file()
    assert Path("logs/coefficients.json").is_file()


@pytest.mark.parametrize(
    ("logger", "message"),
    [
        ("MLFlowLogger", "MLFlowLogger needs a package; type pip install 'mlflow>="),
        ("WandbLogger", "WandbLogger needs a package; type pip install 'wandb>="),
        ("CometLogger", "CometLogger needs a package; type pip install 'comet-ml>="),
        ("CSVLogger", "CSVLogger needs --trainer.logger.save_dir"),
        ("Nope", "there is no class Nope"),
    ],
)
def test_a_logger_that_cannot_be_made_says_why_in_one_line(
    logger: str, message: str, refused: Callable[..., str]
) -> None:
    module = logger.removesuffix("Logger").lower()
    if module in ("mlflow", "wandb") and find_spec(module):
        pytest.skip(f"{module} is installed")
    assert refused("fit --trainer.logger", logger).startswith(
        f"linreg: error: --trainer.logger: {message}"
    )


def test_another_error_of_a_logger_is_one_line_too(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Strict(ImageLogger):
        def __init__(self, project: str = "") -> None:
            raise RuntimeError("the file store\nis in maintenance mode")

    module: Any = types.ModuleType("strict")
    module.Strict, Strict.__module__, Strict.__qualname__ = Strict, "strict", "Strict"
    monkeypatch.setitem(sys.modules, "strict", module)
    message = refused("fit --trainer.logger strict.Strict")
    expected = "--trainer.logger: Strict: the file store is in maintenance mode; "
    assert message.startswith(f"linreg: error: {expected}")
