"""Runs that public reports are about: predictions, frames, checkpoints, settings and streams.

`pytest -n 2 tests/faults/test_user_reports_runs.py`; README.md lists the reports.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import torch
from user_reports import Report, fit, quiet_trainer, text

from linreg_lightning import InputError, LeastSquares, TabularData, TensorData, cli

Run = Callable[..., tuple[int, str, str]]
LIGHTNING = "https://github.com/Lightning-AI/pytorch-lightning/"
STATSMODELS = "https://github.com/statsmodels/statsmodels/issues/"
REPORTS: list[Report] = []
LINES = "".join(f"{x},{2 * x + 1 + x % 3 / 10}\n" for x in range(1, 21))
SGD = "fit --data TabularData --data.path t.csv --data.target y --model.standardize true"
MAKES = pd.DataFrame(
    {
        "make": ["Toyota", "Mazda", "BMW", "BMW", "Mazda", "Toyota"],
        "x": [1.0, 2, 3, 4, 5, 7],
        "y": [23.0, 15, 7, 9, 21, 35],  # 1 + 2 x, 10 more for Mazda, 20 for Toyota
    }
)


def report(source: str, met: str, ours: str) -> Callable[[Any], Any]:
    """List a report that a test is about."""
    REPORTS.append(Report(source, met, ours))
    return lambda test: test


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs `linreg`; it returns the status, stdout and stderr."""
    text("t.csv", "x,y\n" + LINES)()

    def call(*words: str, bar: bool = False) -> tuple[int, str, str]:
        line = [*" ".join(words).split(), "--trainer.accelerator", "cpu"]
        line += [] if bar else ["--trainer.enable_progress_bar", "false"]
        line += ["--figures", "false"] if line[0] == "fit" else []
        capsys.readouterr()
        try:
            cli.main(line)
        except SystemExit as stop:
            return (int(stop.code or 0), *capsys.readouterr())
        return (0, *capsys.readouterr())

    return call


def fit_tensors(x: Any, y: Any, **more: Any) -> dict[str, float]:
    model = LeastSquares()
    quiet_trainer().fit(model, TensorData(x, y, **more))
    return {row["name"]: row["estimate"] for row in model.coefficients()}


@report(
    STATSMODELS + "206",
    "rows of a target with another index are paired by their place",
    "pairs them by their labels; refuses labels that do not match",
)
def test_target_with_another_index() -> None:
    index = pd.date_range("2000-01-01", periods=8, freq="QS")
    x = pd.DataFrame({"rate": np.arange(8.0) ** 2, "gdp": np.arange(8.0)}, index=index)
    y = (1 + x.rate + 3 * x.gdp).rename("y")
    expected = pytest.approx({"intercept": 1, "rate": 1, "gdp": 3})
    assert fit_tensors(x, y.sample(frac=1, random_state=1)) == expected
    with pytest.raises(InputError, match=r"y: its index .* reset_index\(drop=True\)"):
        fit_tensors(x[:-1], y[1:])
    shifted = x[:-1].reset_index(drop=True), y[1:].reset_index(drop=True)
    reference = sm.OLS(shifted[1], sm.add_constant(shifted[0])).fit().params
    assert list(fit_tensors(*shifted).values()) == pytest.approx(reference.tolist())


@report(
    STATSMODELS + "500",
    "weights in a Series stop the fit",
    "go by their labels too",
)
def test_weights_with_another_index() -> None:
    x, y = pd.DataFrame({"x": [1.0, 2, 4, 7]}), pd.Series([3.0, 4, 9, 17])
    weight = pd.Series([1.0, 2, 3, 4])
    reference = sm.WLS(y, sm.add_constant(x), weights=weight).fit().params.tolist()
    answer = fit_tensors(x, y, weight=weight[::-1])
    assert list(answer.values()) == pytest.approx(reference)


@report(
    "https://github.com/pandas-dev/pandas/issues/8918",
    "dummies of new rows lack the levels that these rows do not have",
    "the levels are those of the fit, in any order of columns and categories",
)
def test_new_rows_with_fewer_levels() -> None:
    model = fit(MAKES).model
    new = pd.DataFrame({"x": [2.0, 3], "make": pd.Categorical(["Toyota", "BMW"])})
    assert model.predict(new).y.tolist() == pytest.approx([25, 7])


@report(
    "https://stackoverflow.com/questions/36376178/dummy-variables-and-in-and-out-of-sample-prediction",
    "a zone that no row of the fit has stops the prediction",
    "refuses it and names `unseen zero`, which counts such rows",
)
def test_zone_that_the_fit_does_not_know() -> None:
    zones = MAKES.assign(zone=[3, 4, 6, 6, 4, 3]).drop(columns="make")
    data = TabularData(zones, "y", categorical="zone")
    model, trainer = LeastSquares(), quiet_trainer()
    trainer.fit(model, data)
    trainer.save_checkpoint("t.ckpt")
    new = pd.DataFrame({"x": [2.0, 3], "zone": [8, 4]})
    with pytest.raises(InputError, match=r"row 1 holds 8.* set unseen to zero to count it as '3'"):
        model.predict(new)
    data = TabularData.load_from_checkpoint("t.ckpt", path=new, unseen="zero")
    with pytest.warns(UserWarning, match="1 of 2 rows to predict .* 1 row as '3'"):
        predictions = torch.cat(trainer.predict(model, data)).flatten().tolist()
    assert predictions == pytest.approx([25, 17])  # those of zone 3 and 4


@report(
    "https://stackoverflow.com/questions/22315394/factor-has-new-levels-error-for-variable-im-not-using",
    "a new level stops the prediction in a column that the model does not use",
    "predicts",
)
def test_new_level_of_an_excluded_column() -> None:
    model = fit(MAKES.assign(id=list("abcdef")), exclude="id").model
    new = pd.DataFrame({"x": [2.0], "make": ["BMW"], "id": ["q"]})
    assert model.predict(new).y.tolist() == pytest.approx([5])


@report(
    STATSMODELS + "3087",
    "a prediction for a row with a gap fails, or the row vanishes",
    "the row stays and its prediction is NaN, under its label",
)
def test_prediction_of_a_row_with_a_gap() -> None:
    frame = pd.DataFrame({"x": [1.0, 2, np.nan, 4, 7], "y": [3.0, 5, 7, 9, 15]})
    model = fit(frame, missing="drop").model
    answer = model.predict(pd.DataFrame({"x": [3.0, np.nan]}, index=["a", "b"]))
    assert answer.y.to_dict() == {"a": pytest.approx(7), "b": pytest.approx(np.nan, nan_ok=True)}


@report(
    "https://imathworks.com/cv/solved-calculating-r-squared-coefficient-of-determination-with-"
    "centered-vs-un-centered-sums-of-squares",
    "R2 without a constant differs between programs, as its sums are centred or not",
    "says `r2 (uncentered)` where it is",
)
def test_r2_without_a_constant() -> None:
    x, y = np.array([1.0, 2, 3, 4]), np.array([11.0, 12, 13.5, 14])
    model = LeastSquares(intercept=False)
    quiet_trainer().fit(model, TensorData(pd.DataFrame({"x": x}), y))
    shown = re.search(r"r2 \(uncentered\) ([\d.]+)", model.summary())
    assert shown
    assert float(shown[1]) == pytest.approx(sm.OLS(y, x).fit().rsquared, rel=1e-5)


@report(
    "https://github.com/scikit-learn/scikit-learn/issues/33032",
    "float32 with many rows: the residuals are far larger than they need be",
    "agrees with float64, near-collinear columns included",
)
def test_many_rows_of_float32() -> None:
    x = np.random.default_rng(1).normal(size=(600_000, 3)).astype(np.float32)
    x[:, 2] = x[:, 0] + np.float32(0.01) * x[:, 2]
    y = (x.astype(float) @ [1.0, 2, 3] + 0.5).astype(np.float32)
    design = np.c_[np.ones(len(x)), x.astype(float)]
    reference = np.linalg.lstsq(design, y.astype(float), rcond=None)[0]
    answer = fit_tensors(torch.tensor(x), torch.tensor(y))
    assert list(answer.values()) == pytest.approx(reference.tolist(), rel=1e-6)


@report(
    LIGHTNING + "issues/16014",
    "a checkpoint alone does not say where the data are",
    "`--ckpt_path last` is enough, for predict too",
)
@report(
    LIGHTNING + "issues/20310",
    "the settings in a checkpoint are not used",
    "the model's and the data's are",
)
def test_checkpoint_alone(run: Run) -> None:
    assert run(SGD, "--model.lr 0.02 --trainer.max_epochs 3")[0] == 0
    status, out, _ = run("fit --ckpt_path last --trainer.max_epochs 5")
    assert status == 0
    assert "--model.lr 0.02" in out
    assert run("predict --ckpt_path last")[0] == 0
    assert len(Path("logs/version_2/predictions.csv").read_text().splitlines()) == 21


@report(
    LIGHTNING + "issues/12118",
    "a fit that resumes ignores the new learning rate",
    "refuses it and names `--change`, which takes it and says so",
)
def test_learning_rate_on_resume(run: Run) -> None:
    run(SGD, "--model.lr 0.02 --trainer.max_epochs 3")
    resume = "fit --ckpt_path last --trainer.max_epochs 5 --model.lr 0.05"
    status, _, err = run(resume)
    assert status == 1
    assert re.search(r"--model.lr: 0.05 was given, .* 0.02; .* --change", err)
    status, out, err = run(resume, "--change")
    assert status == 0
    assert "--model.lr 0.02 -> 0.05" in err
    assert "--model.lr 0.05" in out


@report(
    "https://github.com/deepinsight/insightface/pull/2143",
    "a schedule for 4 epochs stops a fit that resumes for 8",
    "says so in one line and names the option and `--change`",
)
@report(
    LIGHTNING + "issues/19865",
    "another scheduler on resume is ignored",
    "`--change` takes it",
)
def test_schedule_that_has_run_out(run: Run) -> None:
    schedule = "--lr_scheduler OneCycleLR --lr_scheduler.max_lr 0.1 --lr_scheduler.total_steps"
    sgd = f"{SGD} --optimizer SGD --optimizer.lr 0.1 {schedule} 4"
    assert run(sgd, "--trainer.max_epochs 4")[0] == 0
    status, _, err = run("fit --ckpt_path last --trainer.max_epochs 8")
    assert status == 1
    assert len(err.splitlines()) == 1
    assert re.search("ends after 4 steps.* --lr_scheduler.total_steps.* --change", err)
    resume = "fit --ckpt_path last --trainer.max_epochs"
    assert run(resume, "8", schedule, "8 --change")[0] == 0
    constant = "--lr_scheduler ConstantLR --lr_scheduler.factor 1.0 --change"
    status, _, err = run(resume, "9", constant)
    assert status == 0
    assert "OneCycleLR -> ConstantLR" in err


@report(
    LIGHTNING + "issues/524",
    "a fit stops over night, as there is no `val_loss` to watch",
    "stops at once in one line, and names the metrics and the option for validation rows",
)
def test_early_stopping_without_validation(run: Run) -> None:
    watch = "--trainer.callbacks EarlyStopping --trainer.callbacks.monitor val_loss"
    status, _, err = run(SGD, "--trainer.max_epochs 3", watch)
    assert status == 1
    assert len(err.splitlines()) == 1
    assert "train_loss; to have validation rows, type --data.val_fraction 0.2" in err
    assert run(SGD, "--trainer.max_epochs 3 --data.val_fraction 0.2", watch)[0] == 0


@report(
    "https://github.com/Unbabel/COMET/issues/23",
    "the bar of progress is in the file that stdout goes to",
    "stdout holds the table alone",
)
def test_progress_is_no_part_of_the_table(run: Run) -> None:
    _, out, _ = run(SGD, "--trainer.max_epochs 3", bar=True)
    assert out.splitlines()[0] == "LinearRegression: y on x"
    assert "Epoch" not in out
    assert "\r" not in out


@report(
    "https://github.com/mauvilsa/jsonargparse/issues/67",
    "`lr: 1e-3` in a YAML file is text",
    "is a number",
)
@report(
    LIGHTNING + "issues/17533",
    "options are overruled by the settings file",
    "the option counts, before `-c` or after it",
)
@report(
    LIGHTNING + "issues/17447",
    "the settings that a run saved do not work as settings",
    "`-c` takes them",
)
def test_settings_file(run: Run) -> None:
    init = {"path": "t.csv", "target": "y"}
    settings = {"data": {"class_path": "TabularData", "init_args": init}}
    settings["model"] = {"class_path": "LinearRegression", "init_args": {"lr": "LR"}}
    Path("my.yaml").write_text(json.dumps(settings).replace('"LR"', "1e-3"))
    status, out, _ = run("fit -c my.yaml --model.standardize true --trainer.max_epochs 2")
    assert status == 0
    assert "--model.lr 0.001" in out
    flag, short = "--model.lr 0.25", "--trainer.max_epochs 2 --model.standardize true"
    for line in (f"fit {flag} -c my.yaml {short}", f"fit -c my.yaml {short} {flag}"):
        assert flag in run(line)[1]
    status, out, _ = run("fit -c logs/version_2/config.yaml")
    assert status == 0
    assert flag in out
