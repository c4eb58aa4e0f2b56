"""Levels that come after a fit, missing values counted, labels of rows, broken collinearities."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from lightning.pytorch import Trainer

from linreg_lightning import InputError, LeastSquares, TabularData, TensorData
from linreg_lightning.algebra import grouped_least_squares, least_squares
from linreg_lightning.algebra.gram_columns import with_columns
from linreg_lightning.algebra.gram_exact import ExactGram
from linreg_lightning.algebra.gram_float64 import Float64Gram
from linreg_lightning.batch import Batch
from linreg_lightning.estimator import LinearRegressor

MakeTrainer = Callable[..., Trainer]
Refused = Callable[..., str]
Command = Callable[..., dict[str, Any]]


def sales(cities: str, fuels: str, rows: int, seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({"area": random.normal(50, 3, rows)})
    frame["city"] = [cities[i % len(cities)] for i in range(rows)]
    frame["fuel"] = random.choice(list(fuels), rows)
    frame["w"] = random.integers(0, 4, rows) * 1.0
    frame["y"] = 2 * frame.area + frame.city.map(ord) + random.normal(size=rows)
    frame["z"] = frame.area - random.normal(size=rows)
    return frame


def fit(trainer: MakeTrainer, data: Any, model: LeastSquares | None = None) -> LeastSquares:
    model = model or LeastSquares()
    runner = trainer(max_epochs=1)
    runner.fit(model, data)
    runner.save_checkpoint("fit.ckpt")
    return model


def add(trainer: MakeTrainer, model: LeastSquares, path: Any, **options: Any) -> LeastSquares:
    data = TabularData.load_from_checkpoint("fit.ckpt", path=path, **options)
    runner = trainer(max_epochs=9)
    runner.fit(model, data, ckpt_path="fit.ckpt")
    runner.save_checkpoint("fit.ckpt")
    return model


def messages(action: Callable[[], Any], word: str) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        action()
    return [str(each.message) for each in caught if word in str(each.message)]


def table(model: LeastSquares) -> dict[tuple[str, str], tuple[float, float]]:
    return {
        (row["target"], row["name"]): (row["estimate"], row["std_error"])
        for row in model.coefficients()
    }


@pytest.mark.parametrize("accuracy", ["exact", "float64"])
@pytest.mark.parametrize(("intercept", "weight"), [(None, "w"), (False, None)])
@pytest.mark.filterwarnings("ignore:Left out")
def test_added_levels_give_the_fit_of_all_rows(
    trainer: MakeTrainer, accuracy: Any, intercept: bool | None, weight: str | None
) -> None:
    parts = [sales("bd", "g", 60, 1), sales("abce", "gh", 40, 2), sales("eb", "kg", 30, 3)]
    whole = pd.concat(parts, ignore_index=True)
    options: dict[str, Any] = {"target": ["y", "z"], "weight": weight}
    options["features"] = ["area", "city", "fuel"]

    def model() -> LeastSquares:
        return LeastSquares(accuracy=accuracy, intercept=intercept)

    fit(trainer, TabularData(parts[0], **options), model())
    add(trainer, model(), parts[1], unseen="add")
    # From files, streamed, into a model that has the earlier columns.
    parts[2].to_csv("third.csv", index=False)
    loaded = LeastSquares.load_from_checkpoint("fit.ckpt")
    result = add(trainer, loaded, "third.csv", unseen="add", stream=True, batch_size=7)
    design = result.frame_reader.design  # type: ignore[union-attr]
    first = ["b", "a", "c", "d", "e"] if intercept is None else ["a", "b", "c", "d", "e"]
    assert design.levels == {"city": first, "fuel": ["g", "h", "k"]}
    anew = model()
    trainer(max_epochs=1).fit(anew, TabularData(whole, design=design.state(), **options))
    if accuracy == "exact":
        assert table(result) == table(anew)  # the same bits
    else:
        assert table(result) == {
            name: pytest.approx(row, rel=1e-9) for name, row in table(anew).items()
        }
    x = pd.get_dummies(whole[["area", "city", "fuel"]], dtype=float).assign(one=1.0).to_numpy()
    root = np.sqrt(whole.w.to_numpy() if weight else np.ones(len(whole)))[:, None]
    y = whole[["y", "z"]].to_numpy()
    expected = x @ np.linalg.lstsq(x * root, y * root, rcond=None)[0]
    reloaded = LeastSquares.load_from_checkpoint("fit.ckpt")
    np.testing.assert_allclose(reloaded.predict(whole), expected, rtol=1e-9)


def test_added_levels_are_filled_in_by_the_means_of_the_first_rows(trainer: MakeTrainer) -> None:
    first, second = sales("ab", "g", 40, 1), sales("abc", "gh", 30, 2)
    first.loc[3, "city"] = None
    second.loc[[2, 4], "city"] = None
    second.loc[5, "area"] = np.nan
    options: dict[str, Any] = {"target": "y", "exclude": ["z", "w"], "missing": "mean"}
    means = fit(trainer, TabularData(first, **options)).frame_reader.design.means  # type: ignore[union-attr]
    said = messages(lambda: add(trainer, LeastSquares(), second, unseen="add"), "means")
    text = "In the 30 rows to train on, 3 missing values were replaced by means: area 1, city 2"
    assert said == [text]
    model = LeastSquares.load_from_checkpoint("fit.ckpt")
    share = means["city"]
    assert model.frame_reader.design.means["city"] == [*share, 0.0]  # type: ignore[union-attr]
    whole = pd.concat([first, second])
    x = pd.DataFrame({"one": 1.0, "area": whole.area.fillna(means["area"][0])})
    for level, mean in zip("bc", (share[1], 0.0), strict=True):
        x[level] = (whole.city == level).where(whole.city.notna(), mean).astype(float)
    x["h"] = (whole.fuel == "h").astype(float)
    expected = np.linalg.lstsq(x.to_numpy(), whole.y.to_numpy(), rcond=None)[0]
    np.testing.assert_allclose([row["estimate"] for row in model.coefficients()], expected)


def test_rows_of_unseen_levels_are_refused_or_counted(
    trainer: MakeTrainer, command: Command, refused: Refused, capsys: pytest.CaptureFixture[str]
) -> None:
    sales("abd", "gh", 30, 1)[["area", "city", "fuel", "y"]].to_csv("t.csv", index=False)
    new = sales("azq", "gh", 6, 2)[["area", "city", "fuel"]]
    new.to_csv("new.csv", index=False)
    sales("az", "gh", 6, 2)[["area", "city", "fuel", "y"]].to_csv("more.csv", index=False)
    command("fit --model LeastSquares --data TabularData --data.path t.csv --data.target y")
    capsys.readouterr()
    command("predict --ckpt_path last --data.path new.csv --data.unseen zero --data.batch_size 2")
    errors = capsys.readouterr().err.splitlines()
    text = (
        "4 of 6 rows to predict have a level that no row trained on had, and are predicted as "
        "another: column 'city', 4 rows as 'a' (such as 'z', 'q')"
    )
    assert [line for line in errors if "level" in line] == [f"linreg: warning: {text}"]
    message = refused("fit --ckpt_path last --data.path more.csv")
    assert "unseen to add" in message
    assert "zero" not in message
    path = next(Path().glob("**/*.ckpt"))
    arguments: dict[str, Any] = {"path": "new.csv", "unseen": "zero"}
    data = TabularData.load_from_checkpoint(path, **arguments)
    model = LeastSquares.load_from_checkpoint(path)
    assert messages(lambda: trainer().predict(model, data), "level") == [text]
    model = LeastSquares.load_from_checkpoint(path)
    model.frame_reader = type(model.frame_reader)(model.frame_reader.design, unseen="zero")  # type: ignore[union-attr,misc]
    assert messages(lambda: model.predict(new), "level") == [text]


def test_only_rows_that_count_are_counted_and_a_model_without_constant_says_none(
    trainer: MakeTrainer,
) -> None:
    first, new = sales("ab", "gh", 40, 1), sales("zb", "gk", 10, 2)
    new["w"] = [0.0, 0.0, *[1.0] * 8]
    new.loc[2, "y"] = np.nan  # a row of level z, which is left out
    options: dict[str, Any] = {"target": "y", "weight": "w", "missing": "drop", "unseen": "zero"}
    fit(trainer, TabularData(first, **options), LeastSquares(intercept=False))
    data = TabularData.load_from_checkpoint("fit.ckpt", path=new, test_fraction=1.0)
    model = LeastSquares.load_from_checkpoint("fit.ckpt")
    (text,) = messages(lambda: trainer().test(model, data), "level")
    used = new[(new.w > 0) & new.y.notna()]
    cities, fuels = (used.city == "z").sum(), (used.fuel == "k").sum()
    rows = ((used.city == "z") | (used.fuel == "k")).sum()
    assert text.startswith(f"{rows} of 10 rows to test on have a level")
    assert f"column 'city', {cities} rows as none of its levels (such as 'z')" in text
    assert f"column 'fuel', {fuels} rows as 'g' (such as 'k')" in text


def test_levels_that_cannot_be_added_are_refused(trainer: MakeTrainer) -> None:
    numbers = sales("ab", "gh", 6, 2).assign(city=range(6))
    numbers.to_csv("numbers.csv", index=False)
    fit(trainer, TabularData(sales("ab", "gh", 40, 1), target="y", max_levels=4))
    with pytest.raises(InputError, match="rows to add hold the number '0', and earlier rows text"):
        add(trainer, LeastSquares(), "numbers.csv", unseen="add")
    with pytest.raises(InputError, match=r"more than 4 levels, such as '0'.*fit all rows anew"):
        add(trainer, LeastSquares(), numbers.assign(city=numbers.city.astype(str)), unseen="add")


@pytest.mark.parametrize("kind", [ExactGram, Float64Gram])
def test_new_columns_of_a_gram_are_exact_zeros(kind: Any) -> None:
    generator = torch.Generator().manual_seed(1)
    x = 1e6 + torch.randn(50, 2, generator=generator, dtype=torch.float64)
    y, zero = torch.randn(50, 1, generator=generator, dtype=torch.float64), torch.zeros(50, 1)
    short, long = kind(2), kind(3)
    short.update(Batch(x, y))
    long.update(Batch(torch.cat([x[:, 1:], zero, x[:, :1]], 1), y))
    for intercept in (True, False):
        got = with_columns(short, [1, None, 0]).normal_equations(intercept)
        expected = long.normal_equations(intercept)
        for one, other in ((got.mean, expected.mean), (got.cross, expected.cross)):
            assert torch.equal(getattr(one, "high", one), getattr(other, "high", other))


VALUES: dict[str, list[Any]] = {
    "whole numbers": [10, 9, -2, 100],
    "floats": [1.0, 2.0, 0.5, -10.0],
    "booleans": [True, False, True, True],
}


@pytest.mark.parametrize("kind", VALUES)
def test_categories_are_the_same_from_every_format(trainer: MakeTrainer, kind: str) -> None:
    frame = pd.DataFrame({"c": VALUES[kind] * 10, "y": np.random.default_rng(1).normal(size=40)})
    category = frame.assign(c=frame.c.astype("category"))
    frame.to_csv("t.csv", index=False)
    frame.to_parquet("plain.parquet")
    category.to_parquet("category.parquet")
    category.to_feather("category.feather")
    text = pl.Series([str(value) for value in frame.c])
    sources: list[Any] = ["t.csv", "plain.parquet", frame, pl.from_pandas(frame)]
    declared = len(sources)
    sources += ["category.parquet", "category.feather", category]
    sources += [pl.DataFrame({"c": text.cast(pl.Categorical), "y": frame.y.to_numpy()})]
    sources += [pl.DataFrame({"c": text.cast(pl.Enum(text.unique())), "y": frame.y.to_numpy()})]
    sources += [pa.table({"c": pa.array(frame.c).dictionary_encode(), "y": frame.y})]
    if kind == "whole numbers":
        sources += [frame.assign(c=frame.c.astype("Int64").astype("category"))]
    mean = frame.groupby("c").y.transform("mean").to_numpy()
    names = [f"{level:g}" for level in sorted(map(float, set(frame.c)))]
    names = ["false", "true"] if kind == "booleans" else names
    for number, source in enumerate(sources):
        options = {"categorical": "c"} if number < declared else {}
        assert TabularData(source, target="y", **options).fit_design().levels == {"c": names}
    model = fit(trainer, TabularData("t.csv", target="y", categorical="c"))
    runner = trainer()
    for source in sources:
        data = TabularData.load_from_checkpoint("fit.ckpt", path=source)
        (got,) = runner.predict(model, data)  # type: ignore[misc]
        np.testing.assert_allclose(got[:, 0], mean, atol=1e-9)


def test_labels_pair_rows_wherever_frames_and_series_meet(trainer: MakeTrainer) -> None:
    random = np.random.default_rng(1)
    x = pd.DataFrame(random.normal(size=(30, 2)), [f"r{i}" for i in range(30)], ["a", "b"])
    by, weight = pd.Series(["p", "q"] * 15, x.index), pd.Series(range(1, 31), x.index, float)
    y = pd.Series(2 * x.a + 3 * x.b + random.normal(size=30), name="y")

    def shuffled(rows: Any) -> Any:
        return rows.sample(frac=1, random_state=1)

    expected = least_squares(x.to_numpy(), y.to_numpy(), weight.to_numpy()).estimate
    data = TensorData(x, shuffled(y), shuffled(weight))
    rows = [row["estimate"] for row in fit(trainer, data).coefficients()]
    torch.testing.assert_close(torch.tensor(rows, dtype=torch.float64), expected)
    groups = grouped_least_squares(x.to_numpy(), y.to_numpy(), by.to_numpy()).estimate
    for values in (x, x.to_numpy()):
        got = least_squares(values, y, shuffled(weight)).estimate
        assert torch.equal(got, expected)
        got = grouped_least_squares(values, y, shuffled(by)).estimate
        torch.testing.assert_close(got, groups)
    pairs = pd.MultiIndex.from_product([range(5), range(6)])
    with pytest.raises(InputError, match="by: its index does not match"):
        grouped_least_squares(x, y, by.set_axis([*x.index[1:], "new"]))
    for labels in (x.index, pairs, [0, 1] * 15):
        one, other = x.set_axis(labels), shuffled(y.set_axis(labels))
        with pytest.raises(ValueError, match="y: its index has the labels of X in another order"):
            LinearRegressor().fit(one, other)
        model = LinearRegressor().partial_fit(one, y.set_axis(labels))
        with pytest.raises(ValueError, match="y: its index has the labels of X in another order"):
            model.score(one, other)
    # As in scikit-learn, whose tools give rows new labels.
    positional = LinearRegressor().fit(x.reset_index(drop=True), y)
    np.testing.assert_array_equal(positional.coef_, LinearRegressor().fit(x, y).coef_)


def test_rows_that_break_a_collinearity_are_counted_once(
    trainer: MakeTrainer, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(1)
    x = pd.DataFrame(random.normal(1e6, 1, size=(30, 2)), columns=["a", "b"])
    x = x.assign(c=x.a + x.b, k=7.3)
    y = x.a + random.normal(size=30)
    new = x.iloc[:6].copy()
    new.loc[[1, 4], "c"] += 1e-4
    new.loc[5, "k"] = 7.4
    new.loc[0, "c"] = np.nan  # has no prediction
    text = (
        "3 of 6 rows to predict break a collinearity of the rows trained on, in column 'c' (2), "
        "'k' (1), which predictions leave out: nobody knows its effect there"
    )
    x.assign(y=y).to_csv("t.csv", index=False)
    model = fit(trainer, TabularData("t.csv", target="y", missing="drop"))
    model = LeastSquares.load_from_checkpoint("fit.ckpt")
    for action in (model.predict, model.prediction, lambda x: model.predict(x, intervals=True)):
        assert messages(lambda action=action: action(new), "break") == [text]
    data = TabularData.load_from_checkpoint("fit.ckpt", path=new, batch_size=2)
    assert messages(lambda: trainer().predict(model, data), "break") == [text]
    far = pd.DataFrame(random.normal(-1e4, 1e5, size=(50, 2)), columns=["a", "b"])
    assert not messages(lambda: model.predict(far.assign(c=far.a + far.b, k=7.3)), "break")
    fits = least_squares(x, y), LinearRegressor().fit(x, y)
    for each in fits:
        assert messages(lambda each=each: each.predict(new.iloc[1:]), "break") == [
            text.replace("of 6", "of 5")
        ]


@pytest.mark.parametrize(
    ("dtype", "accuracy"), [("f4", "exact"), ("f8", "exact"), ("f8", "float64")]
)
def test_rounding_breaks_no_collinearity(dtype: str, accuracy: Any) -> None:
    for seed in range(20):
        check_rounded_sums(np.random.default_rng(seed), dtype, accuracy)


def check_rounded_sums(random: np.random.Generator, dtype: str, accuracy: Any) -> None:
    """Fit a column that is a rounded sum of others; only a sum that is off breaks it."""
    scale, offset = 10.0 ** random.integers(-6, 7, 3), 10.0 ** random.integers(-2, 8, 3)
    slope = random.integers(1, 4, 3) * 1.0

    def rows(spread: float) -> Any:
        x = random.normal(size=(50, 3)) * spread * scale + offset
        return np.c_[x, x @ slope].astype(dtype)

    x = rows(1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = least_squares(x, x[:, 0], accuracy=accuracy)
    if model.collinear != (3,):
        return  # rounding has hidden a column
    assert not messages(lambda: model.predict(rows(100.0)), "break")
    wrong = rows(1.0)
    wrong[7, 3] *= 1.01
    assert "1 of 50 rows" in messages(lambda: model.predict(wrong), "break")[0]


def columns_and_batches(data: TabularData) -> list[Any]:
    data.setup("fit")
    return list(data.train_dataloader())


@pytest.mark.parametrize("city", [["Oslo", "Rome"] * 4, [1.0, 2.5] * 4])
@pytest.mark.parametrize("stream", [None, True])
def test_the_emptiest_column_is_named_where_no_row_is_complete(city: Any, stream: Any) -> None:
    frame = pd.DataFrame({"city": city, "age": [None] * 7 + [3.0], "y": range(8)})
    frame.loc[7, "y"] = None
    refused = "8 of 8 rows lack a value .age 7, y 1.; leave 'age' out by exclude, or set missing"
    data = TabularData(frame, "y", missing="drop", stream=stream)
    with pytest.raises(InputError, match=refused):
        columns_and_batches(data)
    data = TabularData(frame, "y", missing="drop", exclude="age")
    data.setup("fit")
    assert data.splits["train"].rows == 7


def test_the_levels_of_complete_rows_are_said_to_be_so() -> None:
    frame = pd.DataFrame({"key": [*"abcd", None, None], "y": range(6)})
    with pytest.raises(InputError, match="another level in each of the 4 complete rows"):
        TabularData(frame, "y", missing="drop").setup("fit")


def test_a_later_month_needs_a_fit_of_all_rows(trainer: MakeTrainer) -> None:
    days = pd.date_range("2024-01-01", periods=40)
    frame = pd.DataFrame({"day": days, "y": np.arange(40.0) ** 2})
    model = fit(trainer, TabularData(frame, "y", dates="parts"))
    later = frame.assign(day=days + pd.Timedelta(days=300))
    for unseen in ("error", "add"):
        with pytest.raises(InputError, match=r"month 10.*mend it, leave such .*fit all rows anew"):
            add(trainer, model, later, unseen=unseen)
