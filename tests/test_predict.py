"""Predictions of data frames: columns go by their names, and frames come back as they went in."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
import torch
from lightning.pytorch import Trainer
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression as SklearnRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from linreg_lightning import (
    InputError,
    LeastSquares,
    LinearRegression,
    ManualLinearRegression,
    TabularData,
    TensorData,
    grouped_least_squares,
    least_squares,
)
from linreg_lightning.callbacks import PredictionWriter

MakeTrainer = Callable[..., Trainer]
SUFFIXES = {
    "": "mean",
    "_std_error": "mean_se",
    "_mean_low": "mean_ci_lower",
    "_mean_high": "mean_ci_upper",
    "_low": "obs_ci_lower",
    "_high": "obs_ci_upper",
}


def homes(rows: int = 60, seed: int = 0) -> pd.DataFrame:
    """Numbers, a boolean and a category, with a price that is not exactly linear in them."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "sqft": random.uniform(400, 4000, rows),
            "age": random.integers(0, 80, rows),
            "new": random.random(rows) < 0.3,
            "city": random.choice(["Bergen", "Oslo", "Rome"], rows),
        }
    )
    noise = random.normal(0, 1000, rows)
    frame["price"] = 150.0 * frame.sqft - 500 * frame.age + 9000 * (frame.city == "Rome") + noise
    return frame


def new_homes() -> pd.DataFrame:
    """Rows to predict: columns in another order, one more than needed, and an index of text."""
    frame = homes(7, seed=1).assign(street=[1, "x", None, 2.5, "y", 3, 4])
    columns = ["city", "street", "new", "age", "sqft"]
    return frame[columns].set_index(pd.Index(list("abcdefg"), name="home"))


def fit(trainer: MakeTrainer, data: Any, model: Any = None) -> Any:
    model = model or LeastSquares()
    trainer(max_epochs=1).fit(model, data)
    return model


@pytest.fixture
def model(trainer: MakeTrainer) -> LeastSquares:
    homes().to_csv("homes.csv", index=False)
    fitted: LeastSquares = fit(trainer, TabularData("homes.csv", target="price"))
    return fitted


def of_kind(kind: str, frame: pd.DataFrame) -> Any:
    if kind == "pandas":
        return frame
    plain = frame.assign(street=0).reset_index(drop=True)
    if kind == "pandas nullable":
        return plain.convert_dtypes()
    if kind == "pandas pyarrow":
        return plain.convert_dtypes(dtype_backend="pyarrow")
    if kind == "pandas category":
        return plain.astype({"city": "category"})
    if kind == "duckdb":
        return duckdb.from_arrow(pa.Table.from_pandas(plain))
    table = pa.Table.from_pandas(plain)
    polars = pl.from_arrow(table)
    assert isinstance(polars, pl.DataFrame)
    kinds = {"polars": polars, "lazy": polars.lazy(), "pyarrow": table}
    kinds["polars category"] = polars.with_columns(pl.col("city").cast(pl.Categorical))
    kinds["stream"] = table.to_reader(max_chunksize=3)
    return kinds[kind]


KINDS = {
    "pandas": pd.DataFrame,
    "pandas nullable": pd.DataFrame,
    "pandas pyarrow": pd.DataFrame,
    "pandas category": pd.DataFrame,
    "polars": pl.DataFrame,
    "polars category": pl.DataFrame,
    "lazy": pl.DataFrame,
    "pyarrow": pa.Table,
    "duckdb": pa.Table,
    "stream": pa.Table,
}


def columns_of(frame: Any) -> dict[str, Any]:
    """Return the columns of any frame as lists of numbers by name."""
    table = frame if isinstance(frame, pa.Table) else pa.table(frame)
    names = [name for name in table.column_names if name not in ("home", "__index_level_0__")]
    return {name: np.array(table.column(name).to_pylist()) for name in names}


def test_intervals_of_frames_of_every_kind_are_those_of_statsmodels(model: LeastSquares) -> None:
    new = new_homes()
    result = smf.ols("price ~ sqft + age + new + city", homes()).fit()
    expected = result.get_prediction(new).summary_frame(alpha=0.05)
    for kind, frame_class in KINDS.items():
        answer = model.predict(of_kind(kind, new), intervals=True)
        assert isinstance(answer, frame_class), kind
        columns = columns_of(answer)
        assert list(columns) == [f"price{suffix}" for suffix in SUFFIXES], kind
        for suffix, name in SUFFIXES.items():
            np.testing.assert_allclose(columns[f"price{suffix}"], expected[name], rtol=1e-10)
        only = columns_of(model.predict(of_kind(kind, new)))
        assert list(only) == ["price"]
        np.testing.assert_allclose(only["price"], expected["mean"], rtol=1e-10)


def test_a_fit_of_a_frame_in_memory_predicts_as_one_of_a_file(
    model: LeastSquares, trainer: MakeTrainer
) -> None:
    expected = model.predict(new_homes(), intervals=True)
    for kind in ("pandas nullable", "polars category", "pyarrow", "duckdb"):
        frame = of_kind(kind, homes())
        data = TabularData(frame, target="price", exclude="street")
        in_memory = fit(trainer, data)
        in_memory.trainer.save_checkpoint("fit.ckpt")
        again = LeastSquares.load_from_checkpoint("fit.ckpt")
        for each in (in_memory, again):
            answer = each.predict(new_homes(), intervals=True)
            pd.testing.assert_frame_equal(answer, expected, rtol=1e-12)


def test_pandas_keeps_its_index(model: LeastSquares) -> None:
    new = new_homes()
    pd.testing.assert_index_equal(model.predict(new).index, new.index)


def test_predictions_are_those_of_a_scikit_learn_pipeline(model: LeastSquares) -> None:
    encoder = OneHotEncoder(drop="first")
    columns = make_column_transformer((encoder, ["city"]), remainder="passthrough")
    pipeline = make_pipeline(columns, SklearnRegression())
    names = ["city", "sqft", "age", "new"]
    pipeline.fit(homes()[names], homes().price)
    expected = pipeline.predict(new_homes()[names])
    np.testing.assert_allclose(model.predict(new_homes()).price, expected, rtol=1e-10)
    mean = model.prediction(new_homes()).mean[:, 0]
    np.testing.assert_allclose(mean.numpy(), expected, rtol=1e-10)


@pytest.mark.parametrize("kind", [LinearRegression, ManualLinearRegression])
def test_other_models_predict_frames_by_name(trainer: MakeTrainer, kind: Any) -> None:
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 2)), columns=["a", "b"])
    fitted = kind(lr=0.1)
    trainer(max_epochs=3).fit(fitted, TensorData(frame, frame.a - frame.b))
    shuffled = fitted.predict(frame[["b", "a"]])["y"]
    rows = torch.as_tensor(frame.to_numpy())
    np.testing.assert_allclose(shuffled, fitted(rows)[:, 0].detach(), rtol=1e-6)
    torch.testing.assert_close(fitted.predict(frame.to_numpy()), fitted(rows).detach())
    with pytest.raises(InputError, match=f"intervals: {kind.__name__} has none"):
        fitted.predict(frame, intervals=True)


def test_a_checkpoint_predicts_frames(
    model: LeastSquares, trainer: MakeTrainer, tmp_path: Path
) -> None:
    expected = model.predict(new_homes())
    model.trainer.save_checkpoint("fit.ckpt")
    again = LeastSquares.load_from_checkpoint("fit.ckpt")
    pd.testing.assert_frame_equal(again.predict(new_homes()), expected)
    resumed = LeastSquares()
    homes(20, seed=5).to_csv("more.csv", index=False)
    design = model.trainer.datamodule.hparams["design"]  # type: ignore[attr-defined]
    data = TabularData("more.csv", target="price", design=design)
    trainer(max_epochs=1).fit(resumed, data, ckpt_path="fit.ckpt")
    both = pd.concat([homes(), homes(20, seed=5)])
    result = smf.ols("price ~ sqft + age + new + city", both).fit()
    answer = resumed.predict(new_homes()).price
    np.testing.assert_allclose(answer, result.predict(new_homes()), rtol=1e-10)


def test_a_checkpoint_without_a_design_predicts_frames_of_numbers(trainer: MakeTrainer) -> None:
    frame = homes()[["sqft", "age"]]
    fitted = fit(trainer, TensorData(frame, homes().price))
    fitted.trainer.save_checkpoint("fit.ckpt")
    again = LeastSquares.load_from_checkpoint("fit.ckpt")
    pd.testing.assert_frame_equal(again.predict(frame[["age", "sqft"]]), fitted.predict(frame))


def test_a_design_of_another_data_module_is_ignored(model: LeastSquares) -> None:
    model.trainer.save_checkpoint("fit.ckpt")
    checkpoint = torch.load("fit.ckpt", weights_only=True)
    for design in ("plain", {"features": ["other"]}, {"steps": 3}, {"features": 3}):
        checkpoint["datamodule_hyper_parameters"]["design"] = design
        torch.save(checkpoint, "other.ckpt")
        assert LeastSquares.load_from_checkpoint("other.ckpt").frame_reader is None


def test_a_second_fit_forgets_the_table_of_the_first(trainer: MakeTrainer) -> None:
    frame = pd.DataFrame({"a": [1.0, 2, 3, 4], "b": [1.0, 0, 0, 1], "y": [1.0, 2, 4, 3]})
    frame.to_csv("numbers.csv", index=False)
    data = TabularData("numbers.csv", target="y", missing="drop")
    fitted = fit(trainer, data)
    assert fitted.frame_reader.missing == "drop"
    fit(trainer, TensorData(frame[["a", "b"]], frame.y), fitted)
    assert fitted.frame_reader is None


def test_missing_and_unknown_values_are_treated_as_in_the_fit(trainer: MakeTrainer) -> None:
    homes().to_csv("homes.csv", index=False)
    new = new_homes().astype({"age": float})
    new.loc["b", "age"] = np.nan
    new.loc["c", "city"] = None
    result = smf.ols("price ~ sqft + age + new + city", homes()).fit()
    expected = result.predict(new)
    dropping = fit(trainer, TabularData("homes.csv", target="price", missing="drop"))
    with pytest.warns(UserWarning, match="2 of 7 rows were given no prediction; .*age 1, city 1"):
        answer = dropping.predict(new, intervals=True)
    assert answer.isna().any(axis=1).tolist() == [False, True, True, False, False, False, False]
    np.testing.assert_allclose(answer.price, expected, rtol=1e-10)
    filling = fit(trainer, TabularData("homes.csv", target="price", missing="mean", unseen="zero"))
    unknown = new_homes().assign(city="Paris")
    np.testing.assert_allclose(
        filling.predict(unknown).price, result.predict(unknown.assign(city="Bergen")), rtol=1e-10
    )
    filled = new.assign(age=new.age.fillna(homes().age.mean())).dropna(subset="city")
    answer = filling.predict(new)
    np.testing.assert_allclose(answer.price[filled.index], result.predict(filled), rtol=1e-10)
    assert not answer.isna().any().any()


def test_missing_and_unknown_values_refused_in_a_fit_are_refused_later(model: LeastSquares) -> None:
    new = new_homes().astype({"age": float})
    new.loc["b", "age"] = np.nan
    with pytest.raises(InputError, match="column 'age': row 2 holds nan"):
        model.predict(new)
    with pytest.raises(InputError, match="column 'city': row 1 holds 'Paris'"):
        model.predict(new_homes().assign(city="Paris"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"age": None}, r"x: the DataFrame has no column 'age'; it has city, "),
        ({"age": None, "Age": 3}, r"x: the DataFrame has no column 'age'; did you mean 'Age'\?"),
        ({"age": "3"}, "x: column 'age' holds values of type .*string, .* fitted on numbers"),
        ({"city": 3.5}, "x: column 'city' holds values of type double, .* such as 'Bergen'"),
        ({"city": True}, "x: column 'city' holds values of type bool, .* such as 'Bergen'"),
        ({"age": pd.Timestamp("2026-01-01")}, "x: column 'age' holds values of type timestamp"),
        ({"city": pd.Timestamp("2026-01-01")}, "x: column 'city' holds values of type timestamp"),
        ({"age": np.inf}, "column 'age': row 1 holds inf"),
        ({"age": 2**53 + 1}, "column 'age': 9007199254740993 is a whole number"),
    ],
)
def test_a_missing_column_or_one_of_another_kind_is_named(
    model: LeastSquares, change: dict[str, Any], message: str
) -> None:
    new = new_homes().drop(columns=[name for name, value in change.items() if value is None])
    new = new.assign(**{name: value for name, value in change.items() if value is not None})
    for predict in (model.predict, model.prediction):
        with pytest.raises(InputError, match=message):
            predict(new)


def test_categories_that_look_like_numbers_may_be_numbers(trainer: MakeTrainer) -> None:
    frame = pd.DataFrame({"zip": [10, 9, 10, 9, 11], "y": [1.0, 2, 3, 5, 4]})
    frame.to_csv("zip.csv", index=False)
    data = TabularData("zip.csv", target="y", categorical="zip")
    fitted = fit(trainer, data)
    means = frame.groupby("zip").y.transform("mean")
    for zips in (frame.zip, frame.zip.astype(float), frame.zip.astype(str)):
        answer = fitted.predict(pd.DataFrame({"zip": zips})).y
        np.testing.assert_allclose(answer, means, rtol=1e-12)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (new_homes().iloc[0], r"x: a Series was given; give a data frame, .* frame.iloc\[\[0\]\]"),
        (pl.Series([1.0]), "x: a Series was given; give a data frame"),
        ({"age": 3}, "x: a dict was given; give a data frame"),
        (np.ones((2, 3)), r"x: a batch of shape \(2, 3\) .* 5 columns: sqft, age, new, city\[Oslo"),
        (np.ones(5), r"x: a batch of shape \(5,\)"),
        (pd.concat([new_homes(), new_homes()], axis=1), "columns: Expected unique column names"),
    ],
)
def test_values_that_are_no_table_of_the_columns_are_refused(
    model: LeastSquares, rows: Any, message: str
) -> None:
    for predict in (model.predict, model.prediction):
        with pytest.raises(InputError, match=message):
            predict(rows)


def test_arrays_are_taken_by_position(model: LeastSquares) -> None:
    new = new_homes()
    columns = new.sqft, new.age, new.new, new.city == "Oslo", new.city == "Rome"
    x = np.column_stack([column.astype(float) for column in columns])
    expected = model.predict(new).price
    for rows in (x, torch.as_tensor(x), x.tolist()):
        answer = model.predict(rows)
        assert isinstance(answer, torch.Tensor)
        np.testing.assert_allclose(answer[:, 0], expected, rtol=1e-14)
    with pytest.raises(InputError, match=r"intervals: .*call prediction"):
        model.predict(x, intervals=True)


def test_a_model_without_names_takes_frames_by_position(trainer: MakeTrainer) -> None:
    x, y = torch.randn(20, 2), torch.randn(20, 1)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=20)
    fitted = LeastSquares(in_features=2)
    trainer(max_epochs=1).fit(fitted, loader)
    answer = fitted.predict(pl.DataFrame({"p": x[:, 0].numpy(), "q": x[:, 1].numpy()}))
    np.testing.assert_allclose(answer["y"], fitted(x)[:, 0].detach(), rtol=1e-12)
    with pytest.raises(InputError, match=r"x: a batch of shape \(1, 1\)"):
        fitted.predict(pl.DataFrame({"p": [1.0]}))


def test_models_that_are_not_fitted_refuse_to_predict(trainer: MakeTrainer) -> None:
    for fresh in (LeastSquares(), LinearRegression(), LeastSquares(in_features=2)):
        with pytest.raises(InputError, match="predict: the model has not been fitted"):
            fresh.predict(pd.DataFrame({"a": [1.0], "b": [2.0]}))
    frame = pd.DataFrame(
        {"g": list("aaabbb"), "a": [1.0, 2, 3, 1, 2, 4], "y": [1.0, 3, 2, 4, 3, 6]}
    )
    frame.to_csv("groups.csv", index=False)
    grouped = fit(trainer, TabularData("groups.csv", target="y", by="g"))
    with pytest.raises(InputError, match="predict: each of the 2 groups"):
        grouped.predict(frame)


def test_frames_without_rows_and_models_without_features_predict(
    trainer: MakeTrainer, model: LeastSquares
) -> None:
    assert model.predict(new_homes().iloc[:0], intervals=True).shape == (0, 6)
    homes().to_csv("homes.csv", index=False)
    data = TabularData("homes.csv", target="price", features=[])
    constant = fit(trainer, data).predict(new_homes()).price
    np.testing.assert_allclose(constant, np.full(7, homes().price.mean()), rtol=1e-12)


def test_several_targets_have_a_column_each(trainer: MakeTrainer) -> None:
    frame = homes().assign(rent=lambda d: d.price / 200 + d.age)
    y = frame[["price", "rent"]]
    fitted = fit(trainer, TensorData(frame[["sqft", "age"]], y))
    answer = fitted.predict(pl.from_pandas(frame[["age", "sqft"]]), intervals=True)
    expected = sm.OLS(frame.rent, sm.add_constant(frame[["sqft", "age"]])).fit().get_prediction()
    for suffix, name in SUFFIXES.items():
        values = expected.summary_frame(alpha=0.05)[name]
        np.testing.assert_allclose(answer[f"rent{suffix}"], values, rtol=1e-10)
    assert len(answer.columns) == 12


def test_the_file_and_the_frame_of_predictions_have_the_same_columns(
    model: LeastSquares, trainer: MakeTrainer
) -> None:
    new_homes().to_csv("new.csv", index=False)
    design = model.trainer.datamodule.hparams["design"]  # type: ignore[attr-defined]
    writer = PredictionWriter(intervals=True)
    data = TabularData("new.csv", target="price", design=design)
    trainer(callbacks=[writer]).predict(model, data)
    assert writer.path is not None
    answer = model.predict(new_homes(), intervals=True).reset_index(drop=True)
    pd.testing.assert_frame_equal(answer, pd.read_csv(writer.path), rtol=1e-12)


def test_the_trainer_refuses_columns_in_another_order(trainer: MakeTrainer) -> None:
    frame = homes()[["sqft", "age"]]
    fitted = fit(trainer, TensorData(frame, homes().price))
    shuffled = TensorData(frame[["age", "sqft"]], homes().price, test_fraction=0.5)
    for run in (trainer().predict, trainer().test):
        with pytest.raises(InputError, match="features: the model was fitted on sqft, age, in"):
            run(fitted, shuffled)


def test_least_squares_remembers_the_names_of_a_frame() -> None:
    frame, numbers = homes(), ["sqft", "age", "new"]
    result = sm.OLS(frame.price, sm.add_constant(frame[numbers].astype(float))).fit()
    new = new_homes()
    rows = sm.add_constant(new[numbers].astype(float))
    expected = result.get_prediction(rows).summary_frame(alpha=0.05)
    one = least_squares(frame[numbers].astype(float), frame.price)
    assert (one.feature_names, one.target_names) == (numbers, ["price"])
    plain = new.astype({"street": str})
    for other in (plain, pl.from_pandas(plain), pa.Table.from_pandas(plain)):
        np.testing.assert_allclose(one.predict(other), expected["mean"], rtol=1e-10)
        answer = one.prediction(other)
        np.testing.assert_allclose(answer.row_low, expected["obs_ci_lower"], rtol=1e-10)
    array = new[numbers].to_numpy(float)
    np.testing.assert_allclose(one.predict(array), expected["mean"], rtol=1e-10)
    with pytest.raises(InputError, match="x: the DataFrame has no column 'age'"):
        one.predict(new.drop(columns="age"))
    with pytest.raises(InputError, match="x: it has 'old' in column 'age', row 1"):
        one.predict(new.assign(age="old"))


def test_least_squares_names_columns_that_are_left_out() -> None:
    frame = homes()[["sqft"]].assign(double=lambda d: 2 * d.sqft)
    with pytest.warns(UserWarning, match="earlier columns: double"):
        result = least_squares(frame, homes().price)
    assert "double" in result.notes()[0].message
    numbered = least_squares(homes()[["sqft", "age"]].to_numpy(), homes().price.to_numpy())
    assert (numbered.feature_names, numbered.target_names) == (None, None)
    by_position = numbered.predict(homes()[["sqft", "age"]])
    named = least_squares(homes()[["sqft", "age"]], homes().price)
    assert torch.equal(by_position, named.predict(homes()[["age", "sqft"]]))


def test_rows_of_pandas_are_matched_by_their_index() -> None:
    frame = homes().assign(w=np.arange(60) % 3 + 1.0, half=[0, 1] * 30)
    x, y, w = frame[["sqft", "age"]], frame.price, frame.w
    expected = sm.WLS(y, sm.add_constant(x), weights=w).fit().params
    mixed = (frame.sample(frac=1, random_state=k) for k in itertools.count())
    result = least_squares(x, next(mixed).price, next(mixed).w)
    np.testing.assert_allclose(result.estimate, expected, rtol=1e-10)
    result = least_squares(x.to_numpy(), y, next(mixed).w)
    np.testing.assert_allclose(result.estimate, expected, rtol=1e-10)
    groups = grouped_least_squares(x, next(mixed).price, by=next(mixed).half, weight=next(mixed).w)
    for half, estimate in zip((0, 1), groups.estimate, strict=True):
        part = frame[frame.half == half]
        model = sm.WLS(part.price, sm.add_constant(part[["sqft", "age"]]), weights=part.w)
        np.testing.assert_allclose(estimate, model.fit().params, rtol=1e-10)


@pytest.mark.parametrize("index", [range(1, 61), [*range(59), 0], [*range(59), "a"]])
def test_rows_of_pandas_with_other_labels_are_refused(index: Any) -> None:
    frame = homes()
    x, y = frame[["sqft"]], frame.price.set_axis(list(index))
    with pytest.raises(InputError, match="y: its index does not match"):
        least_squares(x, y)
    with pytest.raises(InputError, match="weight: its index does not match"):
        least_squares(x, frame.price, y.abs())
    with pytest.raises(InputError, match="by: its index does not match"):
        grouped_least_squares(x, frame.price, by=y)
    assert least_squares(x, y.to_numpy()).rank == 2
