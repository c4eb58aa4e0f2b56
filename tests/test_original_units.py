"""Predictions of transformed targets in the units of their columns, against explicit formulas."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import torch

import linreg_lightning as ll
from linreg_lightning import cli
from linreg_lightning.design_matrix.formula_expressions import Expression
from linreg_lightning.design_matrix.target_inverse import TargetInverse

FUNCTIONS = [
    *("log(y)", "np.log10(y)", "log2(y)", "log1p(y)", "sqrt(y)", "cbrt(y)", "exp(y)", "exp2(y)"),
    *("exp10(y / 9)", "expm1(y)", "I(y / 1000)", "2 - 3 * y", "-(y + 1)", "log(y + 1) / log(2)"),
    *("3 - log(y)", "log10(sqrt(y))", "sqrt(y - 0.5) * -2", "log(`y` / 1e3)"),
]


@pytest.mark.parametrize("text", FUNCTIONS)
def test_the_median_undoes_the_target(text: str) -> None:
    expression, y = Expression(text), np.linspace(0.6, 9, 50)
    inverse, t = TargetInverse(expression), torch.from_numpy(expression.evaluate({"y": y}, {}))
    np.testing.assert_allclose(inverse.median(t), y, rtol=1e-12)
    np.testing.assert_allclose(inverse.end(t), y, rtol=1e-12)
    assert inverse.column == "y"
    assert inverse.is_decreasing == bool(t[0] > t[-1])


@pytest.mark.parametrize(
    "text",
    ["abs(y)", "y ** 2", "1 / y", "y * log(y)", "y * 0", "sin(y)", "y - y", "y > 1", "y / 0"],
)
def test_a_target_without_inverse_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ll.InputError, match="has no inverse that is known; leave") as error:
        TargetInverse(Expression(text))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["log(y)", "log10(2 * y + 1) * 3", "1 - log1p(y)", "log2(y) / 5"])
def test_the_mean_is_that_of_normal_errors(text: str) -> None:
    """Gauss-Hermite quadrature of the inverse over normal errors needs no formula."""
    inverse, sd = TargetInverse(Expression(text)), 0.4
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    for t in (-0.3, 0.8):
        errors = torch.from_numpy(t + sd * nodes)
        expected = inverse.end(errors).numpy() @ weights / math.sqrt(2 * math.pi)
        found = inverse.mean(torch.tensor([t], dtype=torch.float64), sd).item()
        assert found == pytest.approx(expected, rel=1e-9)


def table(function: Any = np.exp, rows: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(5)
    x = rng.uniform(0, 3, rows)
    return pd.DataFrame({"price": function(1 + x + rng.normal(0, 0.5, rows)), "x": x})


def fit(formula: str, frame: pd.DataFrame, **options: Any) -> ll.LeastSquares:
    model = ll.LeastSquares(**options)
    trainer = ll.Trainer(max_epochs=1, barebones=True)
    trainer.fit(model, ll.TabularData(frame, formula=formula))
    return model


def test_predictions_of_a_logarithm_are_those_of_explicit_formulas() -> None:
    frame = table()
    model, new = fit("log(price) ~ x", frame), frame[["x"]][:9]
    result = sm.OLS(np.log(frame["price"]), sm.add_constant(frame["x"])).fit()
    expected = np.exp(result.get_prediction(sm.add_constant(new)).summary_frame())
    median = model.predict(new, intervals=True, original_units="median")
    columns = {"price": "mean", "price_median_low": "mean_ci_lower"}
    columns |= {"price_median_high": "mean_ci_upper"}
    columns |= {"price_low": "obs_ci_lower", "price_high": "obs_ci_upper"}
    assert [*median] == [*columns]
    for name, other in columns.items():
        np.testing.assert_allclose(median[name], expected[other], rtol=1e-10)
    mean = model.predict(new, original_units="mean")
    assert [*mean] == ["price"]
    factor = math.exp(result.mse_resid / 2)
    np.testing.assert_allclose(mean["price"], expected["mean"] * factor, rtol=1e-10)
    assert [*model.predict(new)] == ["log(price)"]


def test_a_falling_target_changes_the_ends_of_intervals() -> None:
    frame = table()
    new = frame[["x"]][:3]
    found = fit("I(3 - log(price)) ~ x", frame).predict(new, True, "median")
    expected = fit("log(price) ~ x", frame).predict(new, True, "median")
    np.testing.assert_allclose(found, expected[[*found]], rtol=1e-10)


def test_a_linear_target_has_means() -> None:
    frame = table()
    new = frame[["x"]][:3]
    expected = fit("price ~ x", frame).predict(new, True)
    for unit in ("median", "mean"):
        found = fit("I(price / 1000) ~ x", frame).predict(new, True, unit)
        ends = ["", "_mean_low", "_mean_high", "_low", "_high"]
        assert [*found] == [f"price{end}" for end in ends]
        np.testing.assert_allclose(found, expected[[*found]], rtol=1e-10)


def test_predictions_that_no_value_has_are_missing_and_said_so() -> None:
    frame = table(np.square)
    model = fit("sqrt(price) ~ x", frame)
    new = pd.DataFrame({"x": [-50.0, 1.0, 2.0]})
    with pytest.warns(UserWarning, match=r"sqrt\(price\) is beyond the values that it can have"):
        found = model.predict(new, True, "median")
    assert found["price"].isna().tolist() == [True, False, False]
    assert found.loc[0, "price_low"] == 0.0
    with pytest.raises(ll.InputError, match=r"mean of price is not known from that of sqrt\(pri"):
        model.predict(new, original_units="mean")


@pytest.mark.parametrize(
    ("formula", "options", "arguments", "message"),
    [
        ("price ~ x", {}, {}, "predictions have its units already"),
        ("log(price) ~ x", {"ridge": 1.0}, {"original_units": "mean"}, "which the model lacks"),
        ("log(price) ~ x", {}, {"original_units": "mode"}, "'mode' was given; type median or"),
        (
            "log(price) ~ x",
            {},
            {"original_units": "mean", "intervals": True},
            "ends of intervals are not known for the mean of price; type median",
        ),
    ],
)
def test_what_is_unknown_is_refused_in_one_line(
    formula: str, options: dict[str, Any], arguments: dict[str, Any], message: str
) -> None:
    model = fit(formula, table(), **options)
    with pytest.raises(ll.InputError, match=message) as error:
        model.predict(table(), **({"original_units": "median"} | arguments))
    assert "\n" not in str(error.value)


def test_the_command_writes_medians_and_means_of_the_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    frame = table()
    frame.to_csv("t.csv", index=False)
    formula = ["--data", "TabularData", "--data.path", "t.csv", "--data.formula", "log(price) ~ x"]
    cli.main(["fit", "--model", "LeastSquares", *formula, "--figures", "false"])
    model = fit("log(price) ~ x", frame)
    for unit, text in (("median", "price is the median, not the mean"), ("mean", "if the errors")):
        capsys.readouterr()
        cli.main(["predict", "--ckpt_path", "last", "--original_units", unit, "--keep", "price"])
        assert text in capsys.readouterr().out
        written = pd.read_csv(max(Path("logs").glob("*/predictions.csv")))
        expected = model.predict(frame, original_units=unit)
        assert [*written] == ["price", "price_predicted"]
        np.testing.assert_allclose(written["price_predicted"], expected["price"], rtol=1e-10)
