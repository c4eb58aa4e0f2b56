"""The way most users go: a table by its path, a fit, its report, and answers to wrong options."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from conftest import estimates
from sklearn.linear_model import LinearRegression as Reference
from sklearn.metrics import mean_squared_error, r2_score

from linreg_lightning import cli
from linreg_lightning.cli.setting_values import dump_settings, load_value

Linreg = Callable[..., dict[str, Any]]
Refused = Callable[..., str]
Printed = Callable[..., str]

HOUSES = "--data.path houses.csv --data.target price"
SETTINGS = "data: {path: houses.csv, target: price}\n"


@pytest.fixture
def printed(command: Linreg, capsys: pytest.CaptureFixture[str]) -> Printed:
    """Return a function that runs `linreg` and returns its standard output."""

    def run(*args: str) -> str:
        capsys.readouterr()
        command(*args)
        return capsys.readouterr().out

    return run


def reference(names: list[str]) -> dict[str, float]:
    """Return the coefficients of scikit-learn for the price of the houses."""
    frame = pd.read_csv("houses.csv")
    fitted = Reference().fit(frame[names], frame["price"])
    return {"intercept": fitted.intercept_, **dict(zip(names, fitted.coef_, strict=True))}


def config() -> dict[str, Any]:
    """Return the settings of the newest run."""
    newest = max(Path().glob("**/config.yaml"), key=lambda file: file.stat().st_mtime_ns)
    settings: dict[str, Any] = yaml.safe_load(newest.read_text())
    return settings


# A path chooses the data


def test_a_path_chooses_the_table_and_standardised_columns(command: Linreg, houses: Path) -> None:
    answer = command(f"fit {HOUSES}")
    expected = reference(["sqft", "beds", "age"])
    assert estimates(answer) == pytest.approx(expected, rel=1e-4)
    settings = config()
    assert settings["data"]["class_path"].endswith("TabularData")
    arguments = settings["model"]["init_args"]
    assert (arguments["standardize"], arguments["lr"], arguments["momentum"]) == (True, 0.01, 0.9)
    assert settings["trainer"]["max_epochs"] == 500


def test_an_optimizer_takes_no_momentum_from_the_defaults_of_a_table(
    command: Linreg, houses: Path
) -> None:
    answer = command(f"fit {HOUSES} --optimizer SGD --optimizer.lr 0.1")
    assert estimates(answer) == pytest.approx(reference(["sqft", "beds", "age"]), rel=1e-3)
    arguments = config()["model"]["init_args"]
    assert (arguments["standardize"], arguments["lr"], arguments["momentum"]) == (True, 0.1, 0.0)
    command("fit --ckpt_path last --trainer.max_epochs 501")  # the table is the checkpoint's


@pytest.mark.parametrize("words", ["-c table.yaml", "--data data.yaml"])
def test_a_path_in_a_settings_file_chooses_the_table(
    command: Linreg, houses: Path, words: str
) -> None:
    Path("table.yaml").write_text(SETTINGS)
    Path("data.yaml").write_text("path: houses.csv\ntarget: price\n")
    answer = command(f"fit {words} --trainer.max_epochs 2")
    assert answer["targets"] == ["price"]
    assert config()["model"]["init_args"]["standardize"] is True


@pytest.mark.parametrize("words", [f"--model LeastSquares {HOUSES}", "-c exact.yaml"])
def test_a_path_chooses_the_table_for_least_squares(
    command: Linreg, houses: Path, words: str
) -> None:
    Path("exact.yaml").write_text(f"{SETTINGS}model: LeastSquares\n")
    answer = command(f"fit {words}")
    assert answer["model"] == "LeastSquares"
    assert estimates(answer) == pytest.approx(reference(["sqft", "beds", "age"]), rel=1e-10)


def test_what_the_user_types_goes_before_the_defaults_of_a_table(
    printed: Printed, houses: Path
) -> None:
    out = printed(f"fit {HOUSES} --model LinearRegression --model.lr 0.02 --trainer.max_epochs 9")
    assert "--model.standardize true --model.momentum 0.9 --model.lr 0.02" in out
    settings = config()
    assert settings["model"]["init_args"]["lr"] == 0.02
    assert settings["trainer"]["max_epochs"] == 9


def test_the_defaults_of_a_table_are_shown_before_the_fit(
    houses: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        cli.main(f"fit {HOUSES} --print_config".split())
    settings = yaml.safe_load(capsys.readouterr().out)
    assert settings["model"]["init_args"]["standardize"] is True
    assert settings["data"]["init_args"]["path"] == "houses.csv"


def test_generated_rows_keep_the_settings_of_the_tutorial(printed: Printed) -> None:
    out = printed("fit --trainer.max_epochs 1")
    arguments = config()["model"]["init_args"]
    assert (arguments["standardize"], arguments["lr"], arguments["momentum"]) == (False, 0.1, 0.0)
    assert "settings" not in out


def test_a_path_measures_a_model_whose_checkpoint_has_no_table(
    command: Linreg, printed: Printed, houses: Path
) -> None:
    command("fit --data.features 1 --trainer.max_epochs 2")
    frame = pd.DataFrame({"intercept": 1, "x1": [1.0, 2, 3], "y": [3.0, 5, 7]})
    frame.to_csv("rows.csv", index=False)
    words = "--data.path rows.csv --data.target y --data.test_fraction 1"
    assert "test_rmse" in printed(f"test --ckpt_path last {words}")
    assert "test_rmse" in printed("test --ckpt_path last")


def test_a_diverged_fit_names_standardisation_before_the_rate(
    refused: Refused, houses: Path
) -> None:
    message = refused(f"fit {HOUSES} --model.standardize false")
    assert "diverged" in message
    assert 0 <= message.find("--model.standardize") < message.find("--model.lr")


# The report at the end of a fit


def numbers(out: str, label: str) -> dict[str, float]:
    """Return the statistics in the line of the report that begins with a label."""
    (line,) = [line for line in out.splitlines() if line.startswith(label)]
    words = line.removeprefix(label).split()
    return {name: float(value) for name, value in zip(words[::2], words[1::2], strict=True)}


@pytest.mark.parametrize("model", ["LinearRegression", "LeastSquares"])
def test_the_report_has_the_metrics_of_the_validation_rows(
    printed: Printed, houses: Path, model: str
) -> None:
    frame = pd.read_csv(houses)
    frame[:150].to_csv("train.csv", index=False)
    frame[150:].to_csv("val.csv", index=False)
    data = "--data.path train.csv --data.val_path val.csv --data.target price"
    once = "--trainer.max_epochs 250 --trainer.check_val_every_n_epoch 250"
    out = printed(f"fit {data} --model {model}", once if model == "LinearRegression" else "")
    names = ["sqft", "beds", "age"]
    predicted = (
        Reference().fit(frame[names][:150], frame["price"][:150]).predict(frame[names][150:])
    )
    error = mean_squared_error(frame["price"][150:], predicted)
    values = numbers(out, "validation  ")
    assert values["loss"] == pytest.approx(error, rel=1e-3)
    assert values["rmse"] == pytest.approx(error**0.5, rel=1e-3)
    assert values["r2"] == pytest.approx(r2_score(frame["price"][150:], predicted), rel=1e-4)


def test_the_report_says_when_the_validation_is_older_than_the_coefficients(
    printed: Printed,
) -> None:
    out = printed("fit --trainer.max_epochs 10 --trainer.check_val_every_n_epoch 4")
    assert "validation after step 8 of 10  loss " in out
    assert "validation" not in printed("fit --trainer.max_epochs 2 --data.val_rows 0")


def test_the_report_says_why_a_fit_stopped_early(printed: Printed) -> None:
    stop = "--trainer.callbacks EarlyStopping --trainer.callbacks.monitor val_loss"
    out = printed(f"fit {stop}")
    (line,) = [line for line in out.splitlines() if line.startswith("stopped")]
    (checkpoint,) = Path("logs/version_0/checkpoints").glob("*.ckpt")
    epochs = int(checkpoint.name.partition("=")[2].partition("-")[0]) + 1
    assert 3 < epochs < 100
    assert f"by EarlyStopping after {epochs} epochs: val_loss did not improve" in line
    assert "stopped" not in printed("fit --trainer.max_epochs 2")


def test_the_report_has_what_a_model_from_outside_logged_last(printed: Printed) -> None:
    classes = "--model third_party.plain.CubicModel --data third_party.plain.CubicData"
    values = numbers(printed(f"fit {classes} --trainer.max_epochs 2"), "logged  ")
    assert values.keys() == {"train_loss", "val_loss"}


def test_a_callback_that_watches_a_missing_metric_is_refused(
    refused: Refused, houses: Path
) -> None:
    line = f"fit {HOUSES} --trainer.max_epochs 2 --trainer.callbacks"
    message = refused(f"{line} EarlyStopping --trainer.callbacks.monitor val_loss")
    assert "--trainer.callbacks: there is no metric val_loss; the metrics are train_loss" in message
    assert message.endswith("--data.val_fraction 0.2")
    message = refused(
        f"{line} ModelCheckpoint --trainer.callbacks.monitor val_los --data.val_fraction 0.2"
    )
    assert "there is no metric val_los; the metrics are train_loss, val_loss, val_rmse" in message
    assert "val_fraction" not in message


# Numbers with a colon, and names that read as numbers or truths


@pytest.mark.parametrize(
    ("option", "settings"),
    [
        ("--trainer.max_epochs 1:30", "trainer: {max_epochs: 1:30}"),
        ("--model.lr 1:30", "model: {init_args: {lr: 1:30}}"),
        ("--model.lr 1:30.5", "model: {init_args: {lr: 1:30.5}}"),
        ("--data.weights [1,1:30,3]", "data: {init_args: {weights: [1, 1:30, 3]}}"),
    ],
)
def test_a_number_with_a_colon_is_refused(refused: Refused, option: str, settings: str) -> None:
    Path("colon.yaml").write_text(f"{settings}\n")
    for message in (refused(f"fit {option}"), refused("fit -c colon.yaml")):
        assert option.split()[0] in message
        assert "1:30" in message
        assert "type a" in message


def test_texts_with_colons_are_times_and_names(command: Linreg) -> None:
    Path("time.yaml").write_text("trainer: {max_time: 1:00:00:30, max_epochs: 1}\n")
    command("fit -c time.yaml")
    assert config()["trainer"]["max_time"] == "1:00:00:30"
    command("fit --trainer.max_time 00:00:30:00 --trainer.max_epochs 1")
    pd.DataFrame({"1:30": [1.0, 2, 3], "y": [3.0, 5, 8]}).to_csv("t.csv", index=False)
    answer = command(
        "fit --model LeastSquares --data.path t.csv --data.target y --data.features [1:30]"
    )
    assert list(estimates(answer)) == ["intercept", "1:30"]
    # The parser turns the text into a time.
    assert load_value("timeout: 2:00:00", "run.yaml") == {"timeout": "2:00:00"}


def test_names_that_read_as_truths_or_numbers_are_names(
    command: Linreg, refused: Refused, houses: Path
) -> None:
    frame = pd.read_csv(houses).rename(columns={"sqft": "no", "beds": "1e3", "age": "on"})
    frame.to_csv("names.csv", index=False)
    line = "fit --model LeastSquares --data.path names.csv --data.target price --data.features"
    assert list(estimates(command(f"{line} [no,on]"))) == ["intercept", "no", "on"]
    assert list(estimates(command(f"{line} 1e3"))) == ["intercept", "1e3"]
    answer = command(f'{line} ["1e3",no]')
    assert list(estimates(answer)) == ["intercept", "1e3", "no"]
    assert command("fit -c logs/version_2/config.yaml") == answer
    command("predict --ckpt_path last --data.path names.csv --keep [on,no]")
    assert "with quotes around a name" in refused(f"{line} [1e3,on]")


def test_yes_and_no_are_truths_where_an_argument_is_one(command: Linreg) -> None:
    Path("run.yaml").write_text(
        "trainer: {max_epochs: 1, enable_model_summary: no}\ndata: {init_args: {ones: yes}}\n"
    )
    command("fit -c run.yaml --data.shuffle off --model.standardize yes")
    settings = config()
    assert settings["trainer"]["enable_model_summary"] is False
    assert settings["data"]["init_args"]["ones"] is True
    assert settings["data"]["init_args"]["shuffle"] is False
    assert settings["model"]["init_args"]["standardize"] is True


def test_settings_read_back_as_they_were_written() -> None:
    settings = {"a": ["1e3", "no", "1:30", "true", "1_0", "x: y", ""], "b": [1e-7, 3, True, None]}
    assert load_value(dump_settings(settings), "run.yaml") == settings


# Help


@pytest.mark.parametrize("name", ["fit", "validate", "test", "predict"])
def test_the_help_of_a_command_has_whole_sentences_and_a_short_usage(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main([name, "--help"])
    assert stop.value.code == 0
    usage, blank, *text = capsys.readouterr().out.splitlines()
    assert (usage, blank) == (f"usage: linreg {name} [options]", "")
    description = " ".join(text[: text.index("")])
    assert description.endswith("explains them.")
    assert "fit, validate, test, predict, summary" in description
    assert any(line.startswith("  --data.help") for line in text)


def test_a_shell_completes_commands_and_options(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab")
    with pytest.raises(SystemExit) as stop:
        cli.main(["--print_completion", "shtab-bash"])
    assert stop.value.code == 0
    Path("completions").write_text(capsys.readouterr().out)
    script = (
        "source completions; complete_() { COMP_WORDS=($@); COMP_CWORD=$(($# - 1)); _shtab_linreg; "
        'echo "${COMPREPLY[*]}"; }; complete_ linreg s; complete_ linreg fit --data.pa'
    )
    answer = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["summary", "--data.path"]
