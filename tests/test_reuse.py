"""A run's own files used again: its config.yaml, its best checkpoint, its model on other rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from linreg_lightning import LinearRegression, TabularData, Trainer, cli
from linreg_lightning.cli.command_words import arrange

Command = Callable[..., dict[str, Any]]
Refused = Callable[..., str]

FIT = "fit --data.path houses.csv --data.target price --trainer.max_epochs 3"
CONFIG = "logs/version_0/config.yaml"


def newest(name: str) -> Path:
    return max(Path().glob(f"**/{name}"), key=lambda file: file.stat().st_mtime_ns)


@pytest.fixture
def other(houses: Path) -> Path:
    """Write a table of the last rows of the houses."""
    header, *rows = houses.read_text().splitlines()
    path = Path("other.csv")
    path.write_text("\n".join([header, *rows[150:]]) + "\n")
    return path


# config.yaml


def test_a_fits_config_serves_every_command_with_and_without_a_checkpoint(
    command: Command, other: Path
) -> None:
    optimizer = "--optimizer Adam --lr_scheduler StepLR --lr_scheduler.step_size 2"
    first = command(FIT, "--data.val_fraction 0.2", optimizer)
    (checkpoint,) = Path("logs").glob("**/*.ckpt")
    command("predict --data.path other.csv --ckpt_path", str(checkpoint))
    expected = newest("predictions.csv").read_bytes()
    for words in (f"-c {CONFIG} --ckpt_path {checkpoint}", "-c logs/version_0"):
        command("predict --data.path other.csv", words)
        assert newest("predictions.csv").read_bytes() == expected
    command("validate -c logs/version_0")
    command("test --data.path other.csv --data.test_fraction 1 -c logs/version_0")
    assert command("fit -c", CONFIG) == first
    predict_config = str(newest("predictions.csv").with_name("config.yaml"))
    command("predict -c", predict_config)
    assert newest("predictions.csv").read_bytes() == expected


def test_options_with_lists_are_read_from_the_command_and_from_its_config(
    command: Command, houses: Path
) -> None:
    pd.read_csv(houses).assign(street=["a", "b"] * 100).to_csv(houses, index=False)
    plain = command(FIT)
    assert command(FIT, '--data.na_values ["?","-"]') == plain
    assert "- '?'" in newest("config.yaml").read_text()
    assert command("fit -c", str(newest("config.yaml").parent)) == plain


def test_a_typed_rate_of_the_optimizer_replaces_that_of_a_config(
    command: Command, refused: Refused, houses: Path
) -> None:
    command(FIT, "--optimizer Adam --optimizer.lr 0.05")
    expected = command(FIT, "--optimizer Adam --optimizer.lr 0.02")
    assert command("fit -c logs/version_0 --optimizer.lr 0.02") == expected
    typed = "fit -c logs/version_0 --optimizer.lr 0.02 --model.lr 0.5"
    assert "--model.lr 0.5; leave one out" in refused(typed)


def test_data_of_a_checkpoint_are_loaded_with_a_frame_in_the_place_of_the_file(
    command: Command, other: Path
) -> None:
    command(FIT)
    rows = TabularData.load_from_checkpoint(newest("*.ckpt"), path=pd.read_csv(other))
    predictions = Trainer(logger=False).predict(
        LinearRegression.load_from_checkpoint(newest("*.ckpt")), rows
    )
    command("predict --ckpt_path last --data.path", str(other))
    expected = pd.read_csv(newest("predictions.csv")).iloc[:, 0]
    assert predictions
    assert predictions[0].flatten().tolist() == pytest.approx(expected.tolist())


def test_a_resumed_fits_config_repeats_it_and_predicts_with_its_own_checkpoint(
    command: Command, refused: Refused, houses: Path
) -> None:
    command(FIT)
    resumed = command("fit --ckpt_path last --trainer.max_epochs 5")
    assert command("fit -c logs/version_1") == resumed
    anew = command("fit -c logs/version_1 --ckpt_path null")
    assert anew == command(FIT, "--trainer.max_epochs 5")
    Path("logs").rename("runs")
    command("predict -c runs/version_1")
    settings = yaml.safe_load(newest("config.yaml").read_text())
    assert settings["ckpt_path"] == "runs/version_1/checkpoints/epoch=4-step=5.ckpt"
    assert settings["trainer"]["default_root_dir"] == "runs"
    assert command("fit -c runs/version_1") == resumed
    for file in Path("runs/version_0").glob("checkpoints/*"):
        file.unlink()
    assert "(named in runs/version_1/config.yaml)" in refused("fit -c runs/version_1")


def test_a_value_of_a_file_that_contradicts_the_checkpoint_is_refused_with_the_file(
    command: Command, refused: Refused, houses: Path
) -> None:
    command(FIT, "--model.intercept false")
    command(FIT)
    message = refused("predict -c logs/version_0 --ckpt_path last")
    assert f"--model.intercept: False was given in {CONFIG}, but" in message
    assert f"; remove intercept from {CONFIG}" in message


# Words


def test_an_option_wins_over_a_file_wherever_it_stands(command: Command, houses: Path) -> None:
    Path("my.yaml").write_text("{trainer: {max_epochs: 3}, model: {init_args: {lr: 0.5}}}")
    words = "--data.path houses.csv --data.target price"
    first = command("fit --model.lr 0.25 -c my.yaml", words)
    assert yaml.safe_load(newest("config.yaml").read_text())["model"]["init_args"]["lr"] == 0.25
    assert command("fit -c my.yaml --model.lr 0.25", words) == first
    assert command("-c my.yaml fit --model.lr 0.25", words) == first


def test_files_of_settings_keep_their_order() -> None:
    args = ["-c", "a", "-c", "b", "fit", "--config=c", "--seed_everything", "1", "-cd"]
    first, last = ["-c", "a", "fit"], ["--seed_everything", "1"]
    assert arrange(args, ["a"]) == [*first, "-c", "b", "-c", "c", "-c", "d", *last]


@pytest.mark.parametrize(
    ("words", "joined"),
    [
        ("--data.path a.csv b.csv --keep x", '--data.path=["a.csv", "b.csv"] --keep x'),
        ("--data.target=a 1", '--data.target=["a", "1"]'),
        ("--keep x y", '--keep=["x", "y"]'),
        ("--data.features [x, y]", "--data.features=[x, y]"),
        ("--data.weights 1 2", "--data.weights=[1, 2]"),
        ("--data TabularData a.csv", "--data TabularData a.csv"),
        ("--model.lr 1 2", "--model.lr 1 2"),
    ],
)
def test_several_words_after_an_option_of_the_data_are_a_list(words: str, joined: str) -> None:
    assert " ".join(arrange(["fit", *words.split(" ")])) == f"fit {joined}"


def test_files_that_the_shell_has_found_are_one_table(command: Command, other: Path) -> None:
    answer = command(
        "fit --data.path other.csv houses.csv --data.target price --trainer.max_epochs 1"
    )
    assert answer["rows"] == 250


def test_null_means_none(command: Command, refused: Refused, houses: Path) -> None:
    command(FIT, "--trainer.logger null --data.weight null --ckpt_path null --optimizer null")
    assert Path("logs/coefficients.json").is_file()
    assert not list(Path("logs").glob("version_*"))
    command("predict --ckpt_path last --keep null")
    assert refused(FIT, "--data.delimiter null").endswith("leave it out, or type a value")


# Other rows


@pytest.mark.parametrize(
    "fit",
    [
        "--data.val_fraction 0.3 --data.test_fraction 0.3 --data.weight beds",
        "--model LeastSquares --data.val_path copy.csv --data.test_path copy.csv",
    ],
)
def test_a_fit_is_tested_and_validated_on_another_file(
    command: Command, other: Path, capsys: pytest.CaptureFixture[str], fit: str
) -> None:
    Path("copy.csv").write_text(Path("houses.csv").read_text())
    command(FIT, fit)
    results = []
    for words in ("path other.csv --data.{}_fraction 1", "{}_path other.csv"):
        for task, split in (("test", "test"), ("validate", "val")):
            capsys.readouterr()
            command(task, "--ckpt_path last", f"--data.{words.format(split)}")
            results.append(capsys.readouterr().out.replace("test", "").replace("val", ""))
    assert len({"".join(c for c in text if c.isdigit()) for text in results}) == 1


@pytest.mark.parametrize(
    ("line", "fact"),
    [
        ("test --data.test_path ./houses.csv", "the fit has trained on rows of"),
        ("test --data.path ./houses.csv --data.test_fraction 1", "from the same rows"),
        ("validate --data.path houses.csv other.csv --data.val_fraction 1", "trained on rows of"),
        ("test --data.path other.csv", "type --data.test_path other.csv"),
    ],
)
def test_rows_of_the_fit_are_no_test(
    command: Command, refused: Refused, other: Path, line: str, fact: str
) -> None:
    Path("copy.csv").write_text(Path("houses.csv").read_text())
    command(FIT, "--data.test_path copy.csv" if line.endswith("other.csv") else "")
    assert fact in refused(line, "--ckpt_path last")


# Moved folders


@pytest.mark.parametrize("name", ["best", "{epoch}/best"])
def test_best_and_last_survive_a_move(command: Command, houses: Path, name: str) -> None:
    monitor = "--trainer.callbacks ModelCheckpoint --trainer.callbacks.monitor val_loss"
    command(FIT, f"--data.val_fraction 0.2 {monitor} --trainer.callbacks.filename", name)
    Path("elsewhere").mkdir()
    Path("logs").rename("elsewhere/runs")
    for path in ("best", "last"):
        command("predict --trainer.default_root_dir elsewhere/runs --ckpt_path", path)
        used = yaml.safe_load(newest("config.yaml").read_text())["ckpt_path"]
        assert used.startswith("elsewhere/runs/version_0/checkpoints/")
        assert used.endswith("best.ckpt")


# Streams


@pytest.mark.parametrize("bar", ["", "--trainer.enable_progress_bar true"])
def test_standard_output_holds_the_result_alone(
    houses: Path, capsys: pytest.CaptureFixture[str], bar: str
) -> None:
    cpu = "--trainer.accelerator cpu --figures false"
    cli.main(f"{FIT} {cpu} {bar}".split())
    out, err = capsys.readouterr()
    assert out.startswith("LinearRegression: price on sqft, beds, age\n")
    assert "\r" not in out
    assert ("Epoch 3/3" in err) == bool(bar)  # there is no terminal


# Metrics


@pytest.mark.parametrize(
    ("words", "option"),
    [
        ("--trainer.callbacks EarlyStopping --trainer.callbacks.monitor val_loss", "callbacks"),
        ("--trainer.callbacks ModelCheckpoint --trainer.callbacks.monitor val_loss", "callbacks"),
        (
            "--lr_scheduler ReduceLROnPlateau --lr_scheduler.monitor val_loss",
            "lr_scheduler.monitor",
        ),
    ],
)
def test_a_metric_that_is_not_logged_is_named_in_one_line(
    refused: Refused, houses: Path, words: str, option: str
) -> None:
    message = refused(FIT, words)
    assert f"{option}: there is no metric val_loss; the metrics are train_loss; to have" in message
