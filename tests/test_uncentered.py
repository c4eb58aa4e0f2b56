"""R2 of a model without a constant: the same number, with the same name, wherever it is shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch import Trainer
from sklearn.metrics import r2_score
from statsmodels import api

from linreg_lightning import (
    LeastSquares,
    LinearRegression,
    ManualLinearRegression,
    RegressionMetrics,
    TableModule,
    TabularData,
    TensorData,
    cli,
    grouped_least_squares,
    least_squares,
)
from linreg_lightning.callbacks.coefficient_file import report
from linreg_lightning.estimator import LinearRegressor
from linreg_lightning.plots import SplitPredictions, predicted

MODELS = [LeastSquares, LinearRegression, ManualLinearRegression]


def rows(count: int = 60) -> tuple[Any, Any, Any]:
    """Return two columns that vary, three indicators that add up to 1, and y far from 0."""
    random = np.random.default_rng(0)
    x, level = random.normal(size=(count, 2)), np.eye(3)[np.arange(count) % 3]
    return x, level, 30 + x[:, 0] + level[:, 1] + random.normal(size=count)


def design(kind: str) -> Any:
    x, level, _ = rows()
    ones = np.ones((len(x), 1))
    return {
        "none": x,
        "nearly constant": np.column_stack([x, 2000 + np.arange(len(x)) / 12]),
        "all levels but one": np.column_stack([x, level[:, 1:]]),
        "ones": np.column_stack([x, ones]),
        "two constants": np.column_stack([3 * ones, x, ones]),
        "all levels": np.column_stack([x, level]),
        "a column left out": np.column_stack([level, x, level[:, 0] - x[:, 0]]),
        "as many columns as rows": np.column_stack([x, level])[:5],
    }[kind]


@pytest.mark.filterwarnings("ignore")  # of columns left out
@pytest.mark.parametrize("accuracy", ["exact", "float64"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "kind",
    [
        *("none", "nearly constant", "all levels but one", "ones", "two constants"),
        *("all levels", "a column left out"),
    ],
)
def test_constants_are_found_as_statsmodels_finds_them(
    kind: str, weighted: bool, accuracy: Any
) -> None:
    x, y = design(kind), rows()[2]
    weight = np.random.default_rng(1).uniform(0.5, 2, len(x)) if weighted else np.ones(len(x))
    fit = least_squares(x, np.column_stack([y, -y]), weight, intercept=False, accuracy=accuracy)
    answer = api.WLS(y, x, weights=weight).fit()
    assert fit.statistics.get("r2_uncentered", False) is not bool(answer.k_constant)
    expected = {"r2": answer.rsquared, "r2_adjusted": answer.rsquared_adj, "f": answer.fvalue}
    expected |= {"f_p": answer.f_pvalue, "aic": answer.aic, "bic": answer.bic}
    for name, value in expected.items():
        np.testing.assert_allclose(fit.statistics[name], [value, value], rtol=1e-9)
    label = "r2" if answer.k_constant else "r2 (uncentered)"
    assert f"{label} {answer.rsquared:.6g}, {answer.rsquared:.6g}>" in repr(fit)


def test_columns_that_span_all_rows_hold_a_constant() -> None:
    x = design("as many columns as rows")
    fit = least_squares(x[:, :4], rows()[2][:5], intercept=False)
    assert fit.statistics["r2_uncentered"]
    fit = least_squares(x, rows()[2][:5], intercept=False)
    assert "r2_uncentered" not in fit.statistics  # as of an intercept with four columns


@pytest.mark.parametrize("kind", ["none", "all levels"])
def test_a_ridge_does_not_hide_a_constant(kind: str) -> None:
    x, y = design(kind), rows()[2]
    fit = least_squares(np.column_stack([x, 2 * x[:, 0]]), y, intercept=False, ridge=0.5)
    rest = np.sum((y - fit.predict(np.column_stack([x, 2 * x[:, 0]])).numpy()) ** 2)
    total = np.sum((y - y.mean() * (kind == "all levels")) ** 2)
    assert fit.statistics["r2"] == pytest.approx(1 - rest / total, rel=1e-10)


@pytest.mark.parametrize("format", ["text", "html", "latex", "markdown"])
def test_tables_of_all_formats_say_uncentered(format: Any) -> None:
    x, y = design("none"), rows()[2]
    for targets in (y, np.column_stack([y, y])):
        centered = least_squares(x, targets).summary(format)
        assert "uncentered" not in centered
        text = least_squares(x, targets, intercept=False).summary(format)
        assert text.count("r2 (uncentered)") == text.count("r2 adjusted (uncentered)") == 1
        assert "True" not in text


def frame() -> pd.DataFrame:
    x, level, y = rows()
    return pd.DataFrame({"a": x[:, 0], "city": np.array(list("uvw"))[level.argmax(1)], "price": y})


@pytest.mark.parametrize("model_class", MODELS)
@pytest.mark.parametrize("column", ["a", "city"])
def test_fit_validation_and_test_show_one_r2(
    trainer: Callable[..., Trainer], model_class: Any, column: str, tmp_path: Path
) -> None:
    table = frame()
    y = table["price"].to_numpy()
    options: Any = {"target": "price", "features": [column], "val_fraction": 0.5}
    data = TabularData(table, test_path=table, **options)
    model = model_class(intercept=False)
    run = trainer(max_epochs=2, enable_checkpointing=False)
    run.fit(model, data)
    is_uncentered = column == "a"
    name = "r2_uncentered" if is_uncentered else "r2"
    assert {k for k in run.callback_metrics if "r2" in k} == {f"val_{name}"}
    assert report(model)["fit"].get("r2_uncentered", False) is is_uncentered
    label = "r2 (uncentered)" if is_uncentered else "r2"
    assert f"{label} {model.fit_statistics['r2']:.6g}" in repr(model)
    assert f"{label} {model.fit_statistics['r2']:.6g}" in model.summary()

    run.save_checkpoint(tmp_path / "model.ckpt")
    model = model_class.load_from_checkpoint(tmp_path / "model.ckpt")
    (tested,) = run.test(model, data, verbose=False)
    total = np.sum((y - y.mean() * (not is_uncentered)) ** 2)
    expected = 1 - np.sum((y - np.ravel(model.predict(table)["price"])) ** 2) / total
    assert tested[f"test_{name}"] == pytest.approx(expected, rel=1e-5)
    assert f"test_{'r2' if is_uncentered else 'r2_uncentered'}" not in tested


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("kind", ["none", "ones", "all levels"])
def test_sgd_finds_the_constants_that_least_squares_finds(
    trainer: Callable[..., Trainer], kind: str, standardize: bool
) -> None:
    x, y = design(kind), rows()[2]
    weight = np.random.default_rng(1).uniform(0.5, 2, len(x))
    model = LinearRegression(intercept=False, standardize=standardize)
    trainer(max_epochs=2).fit(model, TensorData(x, y, weight))
    prediction = np.ravel(model.predict(x).numpy())
    mean = 0.0 if kind == "none" else np.average(y, weights=weight)
    r2 = 1 - np.sum(weight * (y - prediction) ** 2) / np.sum(weight * (y - mean) ** 2)
    assert model.fit_statistics["r2"] == pytest.approx(r2, rel=1e-5)
    assert model.fit_statistics.get("r2_uncentered", False) is (kind == "none")


def test_checkpoints_of_earlier_versions_keep_their_centered_r2(
    trainer: Callable[..., Trainer], tmp_path: Path
) -> None:
    data = TabularData(frame(), target="price", features=["a"], test_fraction=0.5)
    run = trainer(max_epochs=1)
    run.fit(LinearRegression(intercept=False), data)
    run.save_checkpoint(tmp_path / "new.ckpt")
    content = torch.load(tmp_path / "new.ckpt", weights_only=True)
    assert content.pop("r2_uncentered") is True
    torch.save(content, tmp_path / "old.ckpt")
    model = LinearRegression.load_from_checkpoint(tmp_path / "old.ckpt")
    assert "test_r2" in run.test(model, data, verbose=False)[0]


def test_a_model_of_ones_own_keeps_the_centered_r2(trainer: Callable[..., Trainer]) -> None:
    class Slope(TableModule):
        def build(self, in_features: int, out_features: int) -> None:
            self.layer = torch.nn.Linear(in_features, out_features, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            answer: torch.Tensor = self.layer(x.float())
            return answer

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            return torch.nn.functional.mse_loss(self(batch.x), batch.y.float())

        def make_metrics(self) -> RegressionMetrics:
            return RegressionMetrics()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), 0.1)

    x, y = design("none"), rows()[2]
    model = Slope()
    trainer(max_epochs=1).fit(model, TensorData(x, y))
    with torch.no_grad():
        expected = r2_score(y, model(torch.tensor(x).float()).numpy())
    assert model.fit_statistics["r2"] == pytest.approx(expected, rel=1e-5)
    assert "uncentered" not in model.summary()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["none", "ones", "all levels", "constant in some groups"])
def test_groups_have_the_r2_of_their_own_fits(kind: str, weighted: bool) -> None:
    by = np.arange(60) % 5
    x, y = design("none" if "groups" in kind else kind), rows()[2]
    if "groups" in kind:
        x = np.column_stack([x, 1 + (by < 2) * np.arange(60)])
    weight = np.random.default_rng(1).uniform(0.5, 2, 60) if weighted else np.ones(60)
    fits = grouped_least_squares(x, y, by, weight, intercept=False)
    flags = fits.r2_uncentered
    assert flags is not None
    for group in range(5):
        at = by == group
        answer = api.WLS(y[at], x[at], weights=weight[at]).fit()
        assert bool(flags[group]) is not bool(answer.k_constant)
        assert float(fits.r2[group]) == pytest.approx(answer.rsquared, rel=1e-9)


def test_the_estimator_keeps_the_score_of_scikit_learn() -> None:
    x, y = design("none"), rows()[2]
    model = LinearRegressor(fit_intercept=False).fit(x, y)
    assert model.score(x, y) < 0
    assert model.score(x, y) == r2_score(y, model.predict(x))
    assert model.fit_.statistics["r2"] == pytest.approx(api.OLS(y, x).fit().rsquared)


def test_plots_name_the_r2_that_they_show() -> None:
    y = torch.tensor([10.0, 11.0, 12.0])
    splits = [SplitPredictions("training", y, y + 1)]

    def labels(**arguments: Any) -> list[str]:
        (axes,) = predicted(splits, "y", **arguments).axes
        return [str(label) for label in axes.get_legend_handles_labels()[1]]

    assert "training, R² −0.5000" in labels()
    assert "training, R² (uncentered) 0.9918" in labels(uncentered=True)


@pytest.mark.parametrize("model", ["LeastSquares", "LinearRegression"])
def test_the_command_shows_one_name(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    frame().to_csv("prices.csv", index=False)
    table = "--data.path=prices.csv --data.target=price --data.features=[a]"
    options = f"--model {model} --model.intercept false --figures false {table}"
    quiet = "--trainer.enable_progress_bar false"
    fractions = "--data.val_fraction 0.3 --data.test_fraction 0.3"
    epochs = "" if model == "LeastSquares" else "--trainer.max_epochs 5"
    cli.main(f"fit {options} {fractions} {epochs} {quiet}".split())
    fitted = capsys.readouterr().out
    assert fitted.count("r2 (uncentered) ") == 2  # training and validation
    assert " r2 0" not in fitted
    answer = json.loads(Path("logs/version_0/coefficients.json").read_text())
    assert answer["fit"]["r2_uncentered"] is True
    assert f"r2 (uncentered) {answer['fit']['r2']:.6g}" in fitted
    cli.main(f"test --ckpt_path last {quiet}".split())
    assert "test_r2_uncentered" in capsys.readouterr().out
