"""Formulas: the columns of formulaic, block by block, in tables, checkpoints and predictions."""

import json
from pathlib import Path
from typing import Any

import formulaic
import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import torch

import linreg_lightning as ll
from linreg_lightning.design_matrix.design import Design
from linreg_lightning.design_matrix.formula_expressions import Expression
from linreg_lightning.design_matrix.formula_fit import fit_formula, formula_roles
from linreg_lightning.design_matrix.formula_terms import Formula
from linreg_lightning.design_matrix.row_subset import RowSubset
from linreg_lightning.tables.csv_format import CsvFormat
from linreg_lightning.tables.dataset import TableDataset

FORMULAS = """x
x * z
(x + z + age) ** 2
city - 1
0 + city + fuel
city * fuel
city:fuel - 1
x:city - 1
city / x
fuel + city:fuel
C(city, Treatment('Oslo')) * age
C(city, contr.treatment("Paris"))
C(city, Sum) * fuel
C(city, Helmert(reverse=False, scale=True)):x
C(city, contr.SAS) + C(city, Diff)
C(k, Poly) + x
C(k) * city * fuel
C(k, Treatment(2))
C(city, {"north": [1, -1, 0, 0], "south": [0, 0, 1, -1]})
C(city, levels=["Rome", "Oslo", "Bonn", "Paris"])
log(x) + exp(z) + np.sqrt(x)
I(x ** 2) + {x / 3} + I(-z)
np.log(x + 1):city
center(x) + scale(z) + standardize(age)
scale(x, ddof=0) + center(log(x))
scale(log(x)):fuel
poly(age, 3)
poly(x, 2, raw=True)
poly(log(x), 2) * fuel
bs(x, df=5)
bs(x, df=4, degree=2, include_intercept=True)
bs(x, knots=[3, 5], degree=3)
bs(x, df=6, include_intercept=True) - 1
bs(x, df=4, extrapolation="clip"):fuel
cr(x, df=4)
cr(x, df=4, constraints="center")
cc(x, df=4)
cc(age, df=3, constraints="center")
`a b` + np.log(`a b` + 10)
2:x + flag * z
log(x) * city * C(k, Sum)
x %in% z
.
1 + x + z - x
C(city, spans_intercept=False)
C(k) + k""".splitlines()


def table(rows: int = 150, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = {"y": rng.normal(size=rows), "x": rng.uniform(1, 9, rows), "z": rng.normal(size=rows)}
    frame |= {"age": rng.integers(18, 80, rows), "k": np.arange(rows) % 4}
    frame |= {"city": np.resize(["Oslo", "Paris", "Rome", "Bonn", "Oslo"], rows)}
    frame |= {"fuel": rng.choice(["gas", "oil"], rows), "a b": rng.normal(size=rows)}
    return pd.DataFrame(frame | {"flag": rng.random(rows) > 0.5})


def read(frame: pd.DataFrame, text: str, size: int) -> tuple[list[str], np.ndarray]:
    """Return the columns of x that a fit to a frame gives, by way of a checkpoint's values."""
    dataset = TableDataset([frame], "path", CsvFormat(), None)
    formula = Formula.parse(f"y ~ {text}", [name for name in frame if name != "y"])
    roles = formula_roles(formula, dataset, None, None)
    design = fit_formula(formula, RowSubset(dataset), roles, "error", 100, formula.constant)
    design = Design(**json.loads(json.dumps(design.state())))
    blocks = RowSubset(dataset).read(roles.types(dataset), size)
    return design.names, np.concatenate([design.matrix(block.table)[0].T for block in blocks])


@pytest.mark.parametrize("part", range(4))
def test_columns_are_those_of_formulaic_for_any_size_of_blocks(part: int) -> None:
    frame = table()
    for text in FORMULAS[part::4]:
        data = frame.drop(columns=["y", "flag"])
        expected = formulaic.model_matrix(text, data if text == "." else frame)
        expected = expected.drop(columns="Intercept", errors="ignore")
        names, x = read(frame.drop(columns="flag") if text == "." else frame, text, 37)
        assert names == [*expected.columns], text
        values = expected.to_numpy(float)
        np.testing.assert_allclose(x, values, rtol=1e-11, atol=1e-12, err_msg=text)


def fit(source: Any, formula: str, **options: Any) -> tuple[ll.LeastSquares, ll.TabularData]:
    model, data = (
        ll.LeastSquares(accuracy="exact"),
        ll.TabularData(source, formula=formula, **options),
    )
    trainer = ll.Trainer(
        logger=False, enable_progress_bar=False, enable_checkpointing=False, max_epochs=1
    )
    trainer.fit(model, data)
    return model, data


def estimates(model: ll.LeastSquares) -> dict[str, tuple[float, float]]:
    return {row["name"]: (row["estimate"], row["std_error"]) for row in model.coefficients()}


def test_coefficients_and_errors_are_those_of_statsmodels(tmp_path: Path) -> None:
    frame = table(400)
    frame["y"] = np.exp(frame["x"] / 5 + frame["y"])
    formula = "log(y) ~ C(city, Treatment('Oslo')) * age + poly(z, 2) + bs(x, df=4)"
    y, x = formulaic.model_matrix(formula, frame)
    expected = sm.OLS(y, x).fit()
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_csv(tmp_path / "t.csv", index=False)
    found = []
    for name, stream, size in (
        ("t.parquet", True, 33),
        ("t.csv", True, 77),
        ("t.csv", False, None),
    ):
        model, _ = fit(str(tmp_path / name), formula, stream=stream, batch_size=size)
        assert model.target_names == ["log(y)"]
        found.append(estimates(model))
    names = ["intercept", *x.columns[1:]]
    assert [*found[0]] == names
    values = np.array([found[0][name] for name in names])
    np.testing.assert_allclose(values[:, 0], expected.params, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(values[:, 1], expected.bse, rtol=1e-9)
    assert found[0] == found[1] == found[2]


def test_a_formula_without_a_constant_decides_that_of_the_model() -> None:
    frame = table()
    model, _ = fit(frame, "y ~ 0 + city + scale(x)")
    expected = sm.OLS(*formulaic.model_matrix("y ~ 0 + city + scale(x)", frame)).fit()
    assert [*estimates(model)] == [*expected.params.index]
    values = [estimate for estimate, _ in estimates(model).values()]
    np.testing.assert_allclose(values, expected.params, rtol=1e-10)
    assert model.hparams["intercept"] is False


def test_predictions_from_raw_rows_use_what_the_fit_learned() -> None:
    frame = table(200)
    formula = "y ~ center(x) * city + poly(age, 2) + cr(z, df=4)"
    model, data = fit(frame, formula)
    y, x = formulaic.model_matrix(formula, frame)
    expected = sm.OLS(y, x).fit()
    rows = table(200, seed=1)[:7]
    matrix = x.model_spec.get_model_matrix(rows)
    found = model.predict(rows[[*reversed(rows.columns)]].drop(columns="y"))
    np.testing.assert_allclose(found.iloc[:, 0], expected.predict(matrix), rtol=1e-9)
    design = data.hparams["design"]
    assert json.loads(json.dumps(design)) == design


def test_state_has_the_same_bits_for_any_order_of_rows() -> None:
    frame = table(300)
    formula = "y ~ scale(x) + poly(z, 3) + bs(age, df=5) + cc(x, df=3, constraints='center')"
    other = frame.sample(frac=1, random_state=3)
    states = [fit(each, formula)[1].hparams["design"]["formula"] for each in (frame, other)]
    assert states[0] == states[1]


def test_incomplete_rows_are_left_out_before_anything_is_learned() -> None:
    frame = table()
    frame.loc[3, "x"], frame.loc[7, "city"] = np.nan, None
    formula = "y ~ center(x) * city"
    model, _ = fit(frame, formula, missing="drop")
    complete, _ = fit(frame.drop(index=[3, 7]), formula)
    assert estimates(model) == estimates(complete)


REFUSED = {
    "y ~ x + ages": "has no column 'ages'; did you mean 'age'",
    "y ~ citty * x": "did you mean 'city'",
    "y ~ x +": "cannot be read",
    "y ~ x | city": "name the columns of fixed effects as absorb",
    "x + z": "names no target",
    "y ~ 1": "no term with a column",
    "y ~ log(city)": "column 'city' .* log\\(city\\) needs numbers",
    "y ~ lag(x)": "lag\\(\\.\\.\\.\\) is no function that formulas know",
    "y ~ x.mean()": "is no function that formulas know",
    "y ~ log(z)": "row \\d+: log\\(z\\) has no value where z = -",
    "log(z) ~ x": "row \\d+: log\\(z\\) has no value where z = -",
    "y ~ x + y": "'y' is on both sides",
    "center(y) ~ x": "depends on all rows",
    "y ~ C(city, Treatment('Bergen'))": "'Bergen' is no level of city",
    "y ~ C(city, open('f'))": "is no contrast that is known",
    "y ~ bs(x, df=2)": "df=2 is too small",
    "y ~ poly(k, 4)": "more than 4 different values",
    "y ~ poly(x, 2, degre=3)": "poly does not take",
    "y ~ log(poly(x, 2))": "several columns, which stand alone",
    "y ~ scale(x, z)": "an argument that is no constant",
    "y ~ I(x if x else z)": "cannot be",
    "y ~ I(f'{x}')": "cannot be",
    "y ~ bs(x, df='4')": "bs has df='4', which it does not take",
    "y ~ scale(x, True, 'x')": "scale has scale='x', which it does not take",
    "y ~ bs(x, df={[]: 1})": "an argument that is no constant",
    "y ~ C(poly(k, 2))": "levels that depend on all rows",
    "y ~ C(city, [1, 2])": "is no contrast that is known",
    "y ~ C(city, levels='Oslo')": "needs a list of levels",
    "y ~ x + 1e4": "the term 1e4 is no column",
    "y ~ 1e400:x": "the term 1e400:x is no column, nor a finite multiple",
}


@pytest.mark.parametrize("formula", REFUSED)
def test_a_formula_that_cannot_be_computed_is_refused_in_one_line(formula: str) -> None:
    with pytest.raises(ll.InputError, match=REFUSED[formula]) as error:
        fit(table(), formula)
    assert "\n" not in str(error.value)


def test_rows_to_predict_that_do_not_fit_are_refused_in_one_line() -> None:
    frame = table()
    model, _ = fit(frame, "y ~ city * x + bs(age, df=4)")
    row = frame[:1].drop(columns="y")
    for change, message in {
        "city": ("Nice", "column 'city': row 1 holds 'Nice', which no row that was trained on had"),
        "x": (np.nan, "column 'x': row 1 holds a missing value"),
        "age": (99, "bs\\(age, df=4\\) has no value where age = 99.*extrapolation"),
    }.items():
        value, text = message
        with pytest.raises(ll.InputError, match=text):
            model.predict(row.assign(**{change: value}))
    with pytest.raises(ll.InputError, match="column"):
        model.predict(row.drop(columns="x"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "y"}, "target: 'y' was given, and a formula too"),
        ({"missing": "mean"}, "missing: mean"),
        ({"unseen": "add"}, "unseen: add"),
        ({"weight": "x"}, "weight: 'x' is in the formula too"),
    ],
)
def test_arguments_that_contradict_a_formula_are_refused(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ll.InputError, match=message):
        fit(table(), "y ~ x", **options)


def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    text = f"C(__import__('pathlib').Path({str(tmp_path / 'f')!r}).touch())"
    for expression in (text, text[1:], "x.__class__", "(lambda: 1)()", "[x for x in x]"):
        with pytest.raises(ll.InputError):
            Expression(expression).evaluate({"x": np.ones(1)}, {})
    assert not [*tmp_path.iterdir()]


def test_unseen_levels_count_as_none_if_asked() -> None:
    frame = table()
    model, _ = fit(frame, "y ~ city:x", unseen="zero")
    with pytest.warns(UserWarning, match="'Nice'"):
        found = model.predict(frame[:1].assign(city="Nice"))
    assert found.iloc[0, 0] == estimates(model)["intercept"][0]


def test_absorbed_effects_take_the_constant_of_a_formula() -> None:
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"x": random.normal(size=60), "y": random.normal(size=60)})
    frame["city"], frame["shop"] = random.choice(["a", "b", "c"], 60), np.arange(60) % 5
    model, _ = fit(frame, "y ~ x + C(city)", absorb="shop")
    names = ["x", "C(city)[T.b]", "C(city)[T.c]"]
    assert [row["name"] for row in model.coefficients()] == names
    plain, _ = fit(frame, "y ~ x + C(city) + C(shop)")
    expected = [row["estimate"] for row in plain.coefficients() if row["name"] in names]
    assert [row["estimate"] for row in model.coefficients()] == pytest.approx(expected, rel=1e-9)


def test_sgd_fits_the_columns_of_a_formula() -> None:
    frame = table(300)
    frame["y"] = 2 + 3 * frame["x"] * (frame["city"] == "Rome")
    model, data = (
        ll.LinearRegression(lr=0.1, momentum=0.9, standardize=True),
        ll.TabularData(frame, formula="y ~ x * city"),
    )
    ll.Trainer(logger=False, enable_progress_bar=False, max_epochs=100).fit(model, data)
    slope = {row["name"]: row["estimate"] for row in model.coefficients()}["x:city[T.Rome]"]
    torch.testing.assert_close(slope, 3.0, rtol=0.1, atol=0.1)


def test_a_formula_and_absorbed_effects_give_the_slopes_of_dummies() -> None:
    frame = table()
    model, _ = fit(frame, "y ~ x * fuel", absorb="city")
    dummies, _ = fit(frame, "y ~ x * fuel + C(city)")
    expected = {row["name"]: row["estimate"] for row in dummies.coefficients()}
    for row in model.coefficients():
        assert row["estimate"] == pytest.approx(expected[row["name"]], rel=1e-9)
    for options in ({"absorb": "x"}, {"absorb": "y"}):
        with pytest.raises(ll.InputError, match=r"'[xy]' is in the formula too"):
            fit(frame, "y ~ x", **options)
