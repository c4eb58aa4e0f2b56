import csv
import os
import shutil
import signal
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from conftest import CONFIGS, estimates, least_squares
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException

from linreg_lightning import LinearRegression, SyntheticData, TensorData, TightLoop, cli
from linreg_lightning.cli import run
from linreg_lightning.cli.checkpoint_info import CheckpointInfo
from linreg_lightning.cli.default_callbacks import default_callbacks
from linreg_lightning.cli.error_messages import add_flags
from linreg_lightning.cli.help_text import help_text
from linreg_lightning.cli.linreg import linreg

TABULAR = "TabularData --data.path {} --data.target price"

Linreg = Callable[..., dict[str, Any]]
Refused = Callable[..., str]


def run_process(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, check=False)


def newest_checkpoint() -> Path:
    return max(Path().glob("**/*.ckpt"), key=lambda file: file.stat().st_mtime_ns)


# The command without a subcommand


def test_help_and_version_import_no_torch() -> None:
    code = (
        "import sys; from linreg_lightning.cli import main\n"
        "main(['--help']); main(['--version'])\n"
        "assert not {'torch', 'lightning', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: linreg")
    assert done.stdout.splitlines()[-1].startswith("linreg 0.")


def test_linreg_without_arguments_fails_and_shows_the_help(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main([])
    assert stop.value.code == 2
    assert "linreg fit" in capsys.readouterr().err


def test_the_examples_in_the_help_run(command: Linreg, houses: Path) -> None:
    frame = pd.read_csv(houses)
    frame.drop(columns="price").to_csv("new.csv", index=False)
    frame.to_csv("held_out.csv", index=False)
    lines = [line.strip() for line in help_text(linreg).splitlines() if line.startswith("  linreg")]
    lines = [line for line in lines if "help" not in line and "print_" not in line]
    fit, sgd, exact, chosen, predict, test, named, resumed, *callbacks = lines
    assert named.split()[:4] == ["linreg", "fit", "-c", "NAME"]
    short = [f"{line} --trainer.max_epochs 2" for line in callbacks]
    for line in (fit, sgd, exact, chosen, predict, test, *short, fit, resumed):
        command(line.removeprefix("linreg "))


def test_help_names_every_class_and_subcommand(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["--help"])
    text = capsys.readouterr().out
    for word in ("fit", "validate", "test", "predict", "TabularData", "ManualLinearRegression"):
        assert word in text


# fit


def test_fit_without_options_runs_the_tutorial() -> None:
    line = "-m linreg_lightning fit --trainer.accelerator cpu"
    done = run_process(sys.executable, *line.split())
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    words = [line.split() for line in lines]
    head = words.index(["term", "true", "estimate"])
    table = words[head + 1 : head + 4]
    assert [row[0] for row in table] == ["intercept", "x1", "x2"]
    data = SyntheticData()
    data.setup("fit")
    exact = least_squares(*data.splits["train"][:2]).flatten()
    for row, truth, estimate in zip(table, (1, 2, 3), exact, strict=True):
        assert float(row[1]) == truth
        assert abs(float(row[2]) - estimate) < 1e-4
    assert lines[-1] == "curves        tensorboard --logdir logs"
    for noise in ("Warning", "warning", "Tip", "litlogger", "deprecated", ".py:"):
        assert noise not in done.stderr + done.stdout
    written = {str(path.parent) for path in Path().glob("**/*") if path.is_file()}
    assert written == {"logs/version_0", "logs/version_0/checkpoints"}
    assert Path("logs/version_0/config.yaml").exists()


def test_coefficients_json_reads_back_exactly(command: Linreg) -> None:
    answer = command("fit")
    assert answer["model"] == "LinearRegression"
    assert answer["rows"] == 100
    assert answer["targets"] == ["y"]
    assert [row["name"] for row in answer["coefficients"]] == ["intercept", "x1", "x2"]
    assert [row["true"] for row in answer["coefficients"]] == [1.0, 2.0, 3.0]
    assert {"r2", "rmse"} <= set(answer["fit"])
    model = LinearRegression.load_from_checkpoint(newest_checkpoint())
    assert [row["estimate"] for row in answer["coefficients"]] == [
        row["estimate"] for row in model.coefficients()
    ]
    assert not list(Path().glob("**/*-part*"))


def test_main_can_be_called_repeatedly(command: Linreg) -> None:
    line = "fit --trainer.max_epochs 3"
    first, other, again = command(line), command(f"{line} --seed_everything 1"), command(line)
    assert first == again
    assert first != other
    assert sorted(path.name for path in Path("logs").iterdir()) == [
        "version_0",
        "version_1",
        "version_2",
    ]


def test_a_fit_of_several_targets_recovers_the_true_coefficients(command: Linreg) -> None:
    answer = command("fit --data.features 3 --data.targets 2 --trainer.max_epochs 60")
    assert answer["targets"] == ["y1", "y2"]
    for row in answer["coefficients"]:
        assert abs(row["estimate"] - row["true"]) < 0.2
    assert [row["true"] for row in answer["coefficients"]] == list(range(1, 9))


def test_a_fit_of_a_csv_table_agrees_with_least_squares(command: Linreg, houses: Path) -> None:
    answer = command(
        f"fit -c {CONFIGS}/tabular.yaml --data.path {houses} --data.target price",
        "--data.val_fraction 0",
    )
    frame = pd.read_csv(houses)
    x = torch.tensor(frame[["sqft", "beds", "age"]].to_numpy())
    x = torch.cat([torch.ones(len(x), 1).double(), x], dim=1)
    exact = least_squares(x, torch.tensor(frame[["price"]].to_numpy())).flatten()
    ours = torch.tensor(list(estimates(answer).values())).double()
    torch.testing.assert_close(ours, exact, rtol=1e-4, atol=0)
    assert list(estimates(answer)) == ["intercept", "sqft", "beds", "age"]
    assert "true" not in answer["coefficients"][0]


@pytest.mark.parametrize("data", ["SyntheticData", TABULAR])
def test_a_short_class_name_and_a_class_path_give_the_same_fit(
    command: Linreg, houses: Path, data: str
) -> None:
    lr = "--model.lr 1e-8 --trainer.max_epochs 1"
    short = command(f"fit --model ManualLinearRegression --data {data.format(houses)} {lr}")
    path = "linreg_lightning.models.ManualLinearRegression"
    assert short == command(f"fit --model {path} --data {data.format(houses)} {lr}")
    assert short["model"] == "ManualLinearRegression"


def test_without_a_logger_coefficients_json_is_in_the_root_folder(command: Linreg) -> None:
    command("fit --trainer.logger false --trainer.default_root_dir here")
    assert Path("here/coefficients.json").exists()
    assert {path.parts[0] for path in Path().glob("*")} == {"here"}


def test_a_saved_configuration_repeats_the_run(command: Linreg) -> None:
    first = command("fit --model.lr 0.05 --data.rows 50")
    assert command("fit -c logs/version_0/config.yaml") == first


# Checkpoints

TABLE = f"--data {TABULAR} --model.standardize true"


def test_a_checkpoint_alone_is_enough_to_test_and_to_predict(
    command: Linreg, houses: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = command(f"fit {TABLE.format(houses)} --data.test_fraction 0.25")
    command("test --ckpt_path last")
    assert "test_rmse" in capsys.readouterr().out

    frame = pd.read_csv(houses)
    frame["note"] = "not a number"
    frame[["age", "note", "beds", "sqft"]].to_csv("new.csv", index=False)
    command("predict --ckpt_path last --data.path new.csv --data.batch_size 64")
    (path,) = Path().glob("**/predictions.csv")
    assert f"predictions  {path}" in capsys.readouterr().out
    with path.open() as stream:
        header, *rows = csv.reader(stream)
    assert header == ["price"]
    predicted = torch.tensor([float(row[0]) for row in rows])
    equation = estimates(answer)
    expected = equation["intercept"] + sum(
        equation[name] * torch.tensor(frame[name].to_numpy()) for name in ("sqft", "beds", "age")
    )
    torch.testing.assert_close(predicted.double(), expected, rtol=1e-6, atol=0)


def test_the_command_predicts_from_a_checkpoint_saved_in_python(
    command: Linreg, houses: Path, trainer: Callable[..., Any]
) -> None:
    frame = pd.read_csv(houses)
    model = LinearRegression(standardize=True)
    runner = trainer()
    runner.fit(model, TensorData(frame[["sqft", "beds", "age"]], frame["price"]))
    runner.save_checkpoint("python.ckpt")
    command(
        f"predict --ckpt_path python.ckpt --data TabularData --data.path {houses}",
        "--data.target price",
    )
    (path,) = Path().glob("**/predictions.csv")
    assert len(path.read_text().splitlines()) == 201


RESUMABLE = "--data.batch_size 16 --data.rows 101 --model.momentum 0.9 --model.lr 0.01"


@pytest.mark.parametrize("options", ["", RESUMABLE, "--model ManualLinearRegression"])
def test_a_resumed_run_gives_the_result_of_an_uninterrupted_run(
    command: Linreg, options: str
) -> None:
    whole = command(f"fit {options} --trainer.max_epochs 8 --trainer.default_root_dir whole")
    command(f"fit {options} --trainer.max_epochs 3 --trainer.default_root_dir halves")
    resumed = command(
        "fit --ckpt_path last --seed_everything 9 --trainer.max_epochs 8",
        "--trainer.default_root_dir halves",
    )
    assert resumed == whole


class Copy(Callback):
    """Copies the run's folder within an epoch: what a power failure would leave of it."""

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == 18:
            shutil.copytree("killed", "left")


def test_a_run_killed_within_an_epoch_resumes_within_the_epoch(command: Linreg) -> None:
    whole = command(f"fit {RESUMABLE} --trainer.max_epochs 5 --trainer.default_root_dir whole")
    command(
        f"fit {RESUMABLE} --trainer.max_epochs 5 --trainer.default_root_dir killed",
        "--trainer.callbacks+=test_cli.Copy --trainer.callbacks+=ModelCheckpoint",
        "--trainer.callbacks.every_n_train_steps=1",
    )
    shutil.rmtree("killed")
    Path("left").rename("killed")
    assert newest_checkpoint().name == "epoch=2-step=17.ckpt"
    resumed = command(
        "fit --ckpt_path last --trainer.max_epochs 5 --trainer.default_root_dir killed"
    )
    assert resumed == whole


def test_a_run_stopped_by_max_steps_resumes_within_the_epoch(command: Linreg) -> None:
    line = f"fit {RESUMABLE} --trainer.max_epochs -1 --trainer.max_steps"
    whole = command(f"{line} 18 --trainer.default_root_dir whole")
    command(f"{line} 10 --trainer.default_root_dir halves")
    resumed = command(
        "fit --ckpt_path last --trainer.max_steps 18 --trainer.default_root_dir halves"
    )
    assert resumed == whole


class Fail(Callback):
    """Raises an exception within an epoch."""

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == 18:
            raise RuntimeError("failed on purpose")


def test_a_resumed_run_keeps_its_settings(command: Linreg, refused: Refused) -> None:
    line = "fit --trainer.max_epochs 130 --trainer.default_root_dir"
    whole = command(f"{line} whole")
    with pytest.raises(RuntimeError, match="failed on purpose"):
        command(f"{line} failed --trainer.callbacks+=test_cli.Fail")
    assert command("fit --ckpt_path last --trainer.default_root_dir failed") == whole
    message = refused("fit --ckpt_path last --trainer.default_root_dir failed")
    assert "--trainer.max_epochs: it is 130" in message


def test_best_is_the_best_checkpoint_of_the_newest_run(command: Linreg) -> None:
    command(
        "fit --trainer.max_epochs 3 --trainer.callbacks+=ModelCheckpoint",
        "--trainer.callbacks.monitor=epoch --trainer.callbacks.mode=min",
        "--trainer.callbacks.save_last=true",
    )
    assert CheckpointInfo.read("best", "logs").path.name == "epoch=0-step=1.ckpt"
    assert CheckpointInfo.read("last", "logs").path.name != "epoch=0-step=1.ckpt"
    command("validate --ckpt_path best")


# Classes from other packages


def test_a_model_and_data_of_another_package_run_by_their_class_paths(
    command: Linreg, capsys: pytest.CaptureFixture[str]
) -> None:
    outside = "--model third_party.plain.CubicModel --data third_party.plain.CubicData"
    command(f"fit {outside} --trainer.max_epochs 1")
    settings = yaml.safe_load(Path("logs/version_0/config.yaml").read_text())
    assert settings["model"]["init_args"] == {"lr": 0.05}
    assert settings["data"]["init_args"] == {"rows": 64}
    command(f"fit {outside} --trainer.max_epochs 60 --model.lr 0.1")
    command("test --ckpt_path last")
    command("predict --ckpt_path last")
    out = capsys.readouterr().out
    loss = next(line for line in out.splitlines() if "test_loss" in line)
    assert float(loss.replace("│", " ").replace("|", " ").split()[-1]) < 1e-3
    (path,) = Path().glob("**/predictions.csv")
    assert len(path.read_text().splitlines()) == 65


def test_a_model_of_another_package_accepts_our_data(command: Linreg) -> None:
    command(
        "fit --model third_party.plain.CubicModel --data SyntheticData --data.features 1",
        "--data.ones false --trainer.max_epochs 2",
    )
    assert newest_checkpoint().name == "epoch=1-step=2.ckpt"


def test_data_of_another_package_need_the_argument_in_features(
    command: Linreg, refused: Refused
) -> None:
    assert "in_features" in refused("fit --data third_party.plain.CubicData")


# Default callbacks


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({}, [None]),
        ({"callbacks": [TightLoop(steps=1)]}, [1]),
        ({"callbacks": TightLoop(steps=1)}, [1]),
        ({"barebones": True}, []),
    ],
)
def test_tight_loop_is_a_default_callback(settings: dict[str, Any], steps: list[Any]) -> None:
    trainer = {"callbacks": None, "barebones": False, "log_every_n_steps": None}
    trainer |= {"enable_progress_bar": None, "enable_checkpointing": None, **settings}
    callbacks = default_callbacks(Namespace(**trainer), figures=False, command=["linreg"])
    assert [each.steps for each in callbacks if isinstance(each, TightLoop)] == steps


def test_the_command_takes_steps_in_groups_by_default(
    command: Linreg, group_sizes: list[int]
) -> None:
    line = "fit --data.rows 400 --data.batch_size 10 --trainer.max_epochs 3"
    fast = command(line)
    assert sum(group_sizes) > 0
    group_sizes.clear()
    assert command(f"{line} --trainer.callbacks+=TightLoop --trainer.callbacks.steps=1") == fast
    assert not group_sizes


# Errors


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("rows: 1 was given", "--data.rows: 1 was given"),
        ("lr: 3 was given", "--model.lr: 3 was given"),
        ("precision: 16-true was given", "--trainer.precision: 16-true was given"),
        ("rows, lr: 1 and 2 were given", "--data.rows, --model.lr: 1 and 2 were given"),
        ("batch: a list was given", "batch: a list was given"),
        ("rows and lr: 1 and 2 were given", "rows and lr: 1 and 2 were given"),
        ("the loss is nan: lower lr", "the loss is nan: lower lr"),
    ],
)
def test_messages_get_the_flags_of_arguments(message: str, expected: str) -> None:
    classes = {"model": LinearRegression, "data": SyntheticData, "trainer": Trainer}
    assert add_flags(message, classes) == expected


def test_an_argument_of_two_classes_gets_no_flag() -> None:
    message = "rows: 1 was given"
    assert add_flags(message, {"model": SyntheticData, "data": SyntheticData}) == message


@pytest.mark.parametrize(
    ("line", "facts"),
    [
        ("fitt", "fitt: there is no such command; type fit, validate, test, predict, summary"),
        ("-c tutorial fitt", "fitt: there is no such command; type fit, validate, test, predict"),
        (
            "fit foo",
            "foo: a command takes options only & --data.path foo & predict, summary",
        ),
        ("fit --max_epochs 3", "--max_epochs: there is no such option; type --trainer.max_epochs"),
        ("fit --lr 3", "--lr: there is no such option; type --model.lr"),
        ("fit --batch_size=3", "--batch_size=3: & type --data.batch_size=3"),
        ("fit --config", "--config: it has no value; type one after it"),
        ("fit --model", "--model: it has no value; type one after it"),
        ("fit --foo 3", "--foo: there is no such option; type linreg fit --help"),
        ("fit --model.lr -1", "--model.lr: & -1"),
        ("fit --model.lr x", "--model.lr: x was given; type a number"),
        ("fit --model.foo 1", "--model: LinearRegression has no option foo; --model.help"),
        ("fit --model Nonsense", "--model: there is no class Nonsense"),
        (
            "fit --data linreg_lightning.LinearRegression",
            "--data: & was given; type the name of a class: a LightningDataModule",
        ),
        ("fit --model.in_features 5", "in_features & 5 & 3"),
        ("fit --model.intercept true", "--model.intercept: "),
        (
            "fit --model.lr 3",
            "--model.standardize, --model.lr: the loss is & has diverged; & lower lr (3 was given)",
        ),
        ("fit --data.batch_size 0", "--data.batch_size: & 0"),
        ("fit --data TabularData", "--data: TabularData needs --data.path"),
        (
            "fit --data SyntheticData --data.path x",
            "--data: SyntheticData has no option path, TabularData has; type --data TabularData in",
        ),
        (
            "fit --data.path x",
            "--data.target: no column was given; type the name",
        ),
        (
            "fit --data.target y",
            "--data: SyntheticData & TabularData has; type --data.path FILE in",
        ),
        ("fit --model.ridge 1", "type --model LeastSquares in front"),
        ("fit --data.rows 1", "--data.rows: & 1"),
        ("fit --trainer.max_epochs x", "--trainer.max_epochs: x was given; type a whole number"),
        (
            "fit --model LeastSquares --model.accuracy best",
            "--model.accuracy: best was given; type auto, exact or float64",
        ),
        ("fit --data.help Tabular", "--data.help: there is no class Tabular; type one of linreg"),
        ("fit --trainer.callbacks Nope", "--trainer.callbacks: there is no class Nope; type pack"),
        ("fit --data null", "--data: no class was given; type the name of one"),
        ("fit --model null", "--model: no class was given; type the name of one"),
        ("fit --trainer.strategy ddp_spawn", "--trainer.strategy: ddp_spawn was given, whose"),
        ("fit --trainer.strategy nonsense", "--trainer: You selected an invalid strategy name"),
        ("fit -c nowhere.yaml", "--config: File does not exist"),
        ("fit -c nothing_such", "--config: & nothing_such & debug, gpu, least_squares, manual"),
        (
            "test",
            "--ckpt_path: none was given, and test needs a fitted model; type --ckpt_path last",
        ),
        ("predict --data.path x", "--ckpt_path: none was given, and predict needs"),
        ("validate", "--ckpt_path: none was given"),
        ("test --ckpt_path last", "--ckpt_path: there is no checkpoint below logs; fit a model"),
        ("test --ckpt_path nowhere.ckpt", "--ckpt_path: there is no file nowhere.ckpt"),
        ("fit --seed_everything -5", "--seed_everything: -5 was given; type 0 to 4294967295"),
        ("fit --data.seed 99999999999999999999", "--data.seed: & 99999999999999999999"),
        ("fit --trainer.max_epochs 0", "no batch was trained on, so nothing has been fitted"),
        ("fit --trainer.limit_train_batches 0", "no batch was trained on"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(refused: Refused, line: str, facts: str) -> None:
    message = refused(line)
    for fact in facts.split(" & "):
        assert fact in message


def test_batches_to_accumulate_are_at_least_one(refused: Refused) -> None:
    message = refused("fit --trainer.accumulate_grad_batches 0")
    assert "--trainer.accumulate_grad_batches: 0 was given; type 1 or more" in message


def test_a_file_in_place_of_a_class_name_is_refused(refused: Refused, houses: Path) -> None:
    message = refused(f"fit --data {houses}")
    assert message.endswith(f"type --data TabularData --data.path {houses}")
    assert f"--model: {houses} is a file, not a class" in refused(f"fit --model {houses}")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("trainer: 5", "--config: bad.yaml has trainer: 5; write its settings there"),
        ("fit: other.yaml", "--config: bad.yaml has fit: other.yaml"),
        ("ckpt_path: 5", "--ckpt_path: there is no file 5"),
        ("model: 5", "--model: 5 was given; type the name of a class"),
    ],
)
def test_a_bad_configuration_is_refused(refused: Refused, settings: str, message: str) -> None:
    Path("bad.yaml").write_text(f"{settings}\n")
    assert message in refused("fit -c bad.yaml")


def test_trainer_settings_can_be_in_a_separate_file(command: Linreg) -> None:
    Path("trainer.yaml").write_text("max_epochs: 3\ndefault_root_dir: elsewhere\n")
    Path("run.yaml").write_text("trainer: trainer.yaml\n")
    command("fit -c run.yaml")
    command("fit -c run.yaml --ckpt_path last --trainer.max_epochs 4")


def test_a_bad_table_is_refused_and_leaves_no_file(refused: Refused) -> None:
    Path("bad.csv").write_text("a,y\n1,2\n3,oops\n")
    message = refused("fit --data TabularData --data.path bad.csv --data.target y")
    for fact in ("bad.csv", "'oops'", "'y'", "row 2"):
        assert fact in message
    assert not list(Path("logs").glob("*"))
    Path("bad.csv").write_text("a,y\n1,2\n")
    message = refused("fit --data TabularData --data.path bad.csv --data.target y")
    assert "1 row to train on" in message
    assert not list(Path().glob("**/coefficients.json*"))


def test_an_option_that_contradicts_the_checkpoint_is_refused(
    command: Linreg, refused: Refused
) -> None:
    command("fit --trainer.max_epochs 3")
    for line, message in (
        ("fit --ckpt_path last --model.lr 0.5", "--model.lr: 0.5 was given, but logs/version_0"),
        ("test --ckpt_path last --model.standardize true", "--model.standardize: True was given"),
        (
            "test --ckpt_path last --model ManualLinearRegression",
            "--model: linreg_lightning.Manual",
        ),
        ("fit --ckpt_path last --trainer.max_epochs 3", "has run 3 epochs already; type a larger"),
        ("fit --ckpt_path last --trainer.max_epochs 9 --data.seed 5", "--data.seed: 5 was given"),
        ("test --ckpt_path last --data.features 3", "intercept, x1, x2, x3"),
        ("validate --ckpt_path last --data.val_rows 0", "val_rows"),
    ):
        assert message in refused(line)
    agreeing = "fit --ckpt_path last --model LinearRegression --model.lr 0.1 --trainer.max_epochs 4"
    assert command(agreeing)["rows"] == 100


def test_a_configuration_that_contradicts_the_checkpoint_is_refused(
    command: Linreg, refused: Refused
) -> None:
    command("fit --trainer.max_epochs 3")
    Path("other.yaml").write_text("model: {class_path: LinearRegression, init_args: {lr: 0.2}}\n")
    assert "--model.lr: 0.2 was given" in refused("fit -c other.yaml --ckpt_path last")
    Path("path.yaml").write_text("ckpt_path: last\nmodel: {init_args: {lr: 0.2}}\n")
    assert "--model.lr: 0.2 was given" in refused("fit -c path.yaml")


def test_options_that_change_the_held_out_rows_of_a_checkpoint_are_refused(
    command: Linreg, refused: Refused, houses: Path
) -> None:
    command(f"fit {TABLE.format(houses)} --data.val_fraction 0.2 --trainer.max_epochs 2")
    for subcommand in ("fit", "validate", "test"):
        for option in ("seed 1", "val_fraction 0.5", "test_fraction 0.5"):
            name, _ = option.split()
            line = f"{subcommand} --ckpt_path last --trainer.max_epochs 5 --data.{option}"
            assert f"--data.{name}: " in refused(line)
    Path("other.csv").write_text(houses.read_text())
    command(
        "test --ckpt_path last --data.path other.csv --data.val_fraction 0 --data.test_fraction 1"
    )


def test_a_checkpoint_named_in_a_configuration_before_fit_is_read(
    command: Linreg, refused: Refused
) -> None:
    command("fit --trainer.max_epochs 2")
    Path("sub.yaml").write_text("fit:\n  ckpt_path: last\n  model: {init_args: {lr: 0.2}}\n")
    assert "--model.lr: 0.2 was given" in refused("--config sub.yaml fit")


def test_a_checkpoint_without_class_paths_needs_the_model_and_data_options(
    refused: Refused, command: Linreg
) -> None:
    classes = "--model third_party.no_hparams.Model --data third_party.no_hparams.Data"
    command(f"fit {classes} --trainer.max_epochs 1")
    assert "--model: " in refused("test --ckpt_path last")
    assert "--data: " in refused("test --ckpt_path last --model third_party.no_hparams.Model")
    command(f"test --ckpt_path last {classes}")


def test_predictions_that_cannot_be_written_are_an_error(refused: Refused, command: Linreg) -> None:
    classes = "--model third_party.no_hparams.Model --data third_party.no_hparams.Data"
    command(f"fit {classes} --trainer.max_epochs 1")
    assert "predict: nothing was written" in refused(f"predict --ckpt_path last {classes}")


def test_files_that_are_not_checkpoints_are_refused(refused: Refused) -> None:
    Path("text.ckpt").write_text("hello")
    torch.save({"weights": torch.ones(1)}, "other.ckpt")
    damaged = Path("other.ckpt").read_bytes().replace(b"weights", b"we\xff\x80hts")
    Path("damaged.ckpt").write_bytes(damaged)
    assert "damaged.ckpt is damaged or cut off" in refused("test --ckpt_path damaged.ckpt")
    for file in ("text.ckpt", "other.ckpt"):
        assert f"{file} is not a checkpoint of a Lightning model" in refused(
            f"test --ckpt_path {file}"
        )


def test_a_table_that_lacks_a_column_of_the_checkpoint_is_refused(
    command: Linreg, refused: Refused, houses: Path
) -> None:
    command(f"fit {TABLE.format(houses)} --trainer.max_epochs 2")
    Path("new.csv").write_text("sqft,beds\n1,2\n")
    message = refused("predict --ckpt_path last --data.path new.csv")
    assert "new.csv" in message
    assert "'age'" in message
    assert not list(Path().glob("**/predictions.csv*"))


def test_a_run_that_sigterm_ends_reports_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def terminated(*_: Any) -> None:
        raise SIGTERMException

    monkeypatch.setattr(run, "TrainerCLI", terminated)
    with pytest.raises(SystemExit) as stop:
        run.run(["fit"], os.getppid())
    assert stop.value.code == 128 + signal.SIGTERM
    assert "ended by SIGTERM before it was done" in capsys.readouterr().err


@pytest.mark.parametrize("reason", ["closed by peer", "reset by peer", "Broken pipe"])
def test_a_lost_connection_reports_that_another_process_has_ended(
    reason: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lost_connection(*_: Any) -> None:
        raise RuntimeError(f"[pair.cc:537] Read error [127.0.0.1]:53455: Connection {reason}.")

    monkeypatch.setattr(run, "TrainerCLI", lost_connection)
    with pytest.raises(SystemExit) as stop:
        run.run(["fit"], os.getppid())
    assert stop.value.code == 1
    assert "another process has ended" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "step"),
    [("predict", "predict_step"), ("test --data.test_fraction 1", "test_step")],
)
def test_sigterm_ends_predict_and_test_and_leaves_no_file(
    words: str,
    step: str,
    command: Linreg,
    houses: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command(f"fit --data {TABULAR.format(houses)} --trainer.max_epochs 1 --model.lr 1e-12")
    before = signal.getsignal(signal.SIGTERM)

    def send_sigterm(self: LinearRegression, batch: Any, batch_idx: int) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(LinearRegression, step, send_sigterm)
    shutil.copy(houses, "new.csv")
    with pytest.raises(SystemExit) as stop:
        cli.main(f"{words} --ckpt_path last --data.path new.csv".split())
    assert stop.value.code == 128 + signal.SIGTERM
    assert "ended by SIGTERM before it was done" in capsys.readouterr().err
    assert not list(Path().glob("**/predictions.csv*"))
    assert signal.getsignal(signal.SIGTERM) is before


# A process of its own

MY_CLASSES = """
import atexit
import sys
from pathlib import Path

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, TensorDataset

from linreg_lightning import LeastSquares

atexit.register(lambda: Path("modules.txt").write_text(" ".join(sys.modules)))

class Mine(LeastSquares):
    pass

class EqualColumns(LightningDataModule):
    def train_dataloader(self):
        x = torch.arange(6.0).repeat(2, 1).T
        return DataLoader(TensorDataset(x, x[:, :1] ** 2), batch_size=6)
"""


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Fit classes of the working folder without figures; return what the process leaves.

    The process takes seconds to start, so that several tests look at it.
    """
    folder = tmp_path_factory.mktemp("fitted")
    (folder / "my_classes.py").write_text(MY_CLASSES)
    line = (
        "fit --model my_classes.Mine --model.in_features 2 --data my_classes.EqualColumns "
        "--figures false --trainer.enable_progress_bar false --trainer.accelerator cpu"
    )
    linreg = Path(sys.executable).parent / "linreg"
    done = subprocess.run(
        [linreg, *line.split()], capture_output=True, text=True, check=True, cwd=folder
    )
    modules = (folder / "modules.txt").read_text()
    pictures = " ".join(map(str, folder.rglob("*.png")))
    return {"out": done.stdout, "err": done.stderr, "modules": modules, "pictures": pictures}


def test_a_class_in_the_working_folder_is_found_and_its_warning_takes_one_line(
    fitted: dict[str, str],
) -> None:
    assert "my_classes" in fitted["modules"].split()
    (warning,) = [line for line in fitted["err"].splitlines() if "warning" in line.lower()]
    assert warning.startswith("linreg: warning: ")
    assert warning.endswith("x2")


def test_without_figures_no_plotting_code_is_imported(fitted: dict[str, str]) -> None:
    modules = fitted["modules"].split()
    assert "linreg_lightning.callbacks" in modules
    assert "linreg_lightning.plots" not in modules
    assert not fitted["pictures"]


def test_the_process_ends_as_python_would_end_it(fitted: dict[str, str]) -> None:
    # The process skips Python's slow shutdown, but not what the user's classes have asked for.
    assert fitted["modules"]
    assert "coefficients.json" in fitted["out"]
    refused = run_process(sys.executable, "-m", "linreg_lightning", "new", "torch")
    assert refused.returncode == 1
    assert refused.stderr.startswith("linreg: error: ")
