"""Data frames of every library are fitted as the files of the same rows are."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import narwhals
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
import statsmodels.formula.api as smf
import torch
from lightning.pytorch import Trainer
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression as ScikitLinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from linreg_lightning import InputError, LeastSquares, TabularData, TensorData, frames
from linreg_lightning.frames import column_names, frame_like, is_frame, is_series, to_arrow
from linreg_lightning.tables.dataset import TableDataset
from linreg_lightning.tables.frame import FrameTable

MakeTrainer = Callable[..., Trainer]
BIG = 2**53 + 1  # the first whole number that float64 does not have


def houses(rows: int = 200, seed: int = 0) -> pd.DataFrame:
    """Return numbers, whole numbers, truth values, text, categories and weights."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "area": random.normal(100, 20, rows),
            "rooms": random.integers(1, 7, rows),
            "new": random.random(rows) < 0.5,
            "city": random.choice(["Oslo", "Paris", "Rome"], rows),
            "zone": pd.Categorical(random.choice([3, 7, 10], rows)),
        }
    )
    frame["price"] = 2.0 * frame.area + 9 * frame.rooms + 30 * (frame.city == "Rome")
    frame["price"] += 5.0 * frame.zone.astype(int) + random.normal(0, 5, rows)
    frame["weight"] = random.integers(0, 3, rows)
    return frame


def with_gaps(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with missing values in some columns; in `area` as NaN."""
    frame = frame.convert_dtypes().astype({"area": "float64", "zone": frame.zone.dtype})
    for column, row in {"area": 3, "rooms": 11, "new": 12, "city": 30, "zone": 31}.items():
        frame.loc[row, column] = None
    return frame


def in_polars(frame: pd.DataFrame) -> pl.DataFrame:
    zone = frame.zone.astype(object)
    text = zone.where(zone.isna(), zone.astype(str)).astype(object).where(zone.notna(), None)
    return pl.DataFrame(pl.from_pandas(frame.assign(zone=text)))


DIALECTS: dict[str, Callable[[pd.DataFrame], Any]] = {
    "pandas": lambda frame: frame,
    "pandas with other labels": lambda frame: frame.set_axis(range(len(frame), 0, -1)),
    "pandas of objects": lambda frame: frame.astype({"rooms": object, "new": object}),
    "pandas nullable": lambda frame: frame.convert_dtypes().astype({"zone": frame.zone.dtype}),
    "pandas in pyarrow": lambda frame: frame.convert_dtypes(dtype_backend="pyarrow").assign(
        zone=frame.zone
    ),
    "two of pandas": lambda frame: [frame[:77], frame[77:]],
    "polars": in_polars,
    "polars lazy": lambda frame: in_polars(frame).lazy(),
    "polars categories": lambda frame: in_polars(frame).with_columns(
        pl.col("city").cast(pl.Categorical), pl.col("zone").cast(pl.Enum(["10", "7", "3"]))
    ),
    "polars in many chunks": lambda frame: pl.concat(
        [in_polars(frame)[k : k + 3] for k in range(0, len(frame), 3)], rechunk=False
    ),
    "pyarrow": pa.Table.from_pandas,
    "an Arrow stream": lambda frame: pa.Table.from_pandas(frame).to_reader(),
    "DuckDB": lambda frame: duckdb.from_arrow(pa.table(in_polars(frame))),
    "narwhals": lambda frame: narwhals.from_native(frame),
}


def fitted(trainer: MakeTrainer, data: Any, **options: Any) -> dict[str, float]:
    model = LeastSquares("exact", **options)
    trainer(max_epochs=1).fit(model, data)
    return {row["name"]: row["estimate"] for row in model.coefficients()}


# Every kind of frame


@pytest.mark.parametrize("dialect", DIALECTS)
def test_each_kind_of_frame_gives_the_same_bits_as_the_file(
    trainer: MakeTrainer, dialect: str
) -> None:
    frame = houses()
    frame.to_parquet("rows.parquet")
    expected = fitted(trainer, TabularData("rows.parquet", "price", weight="weight"))
    source = DIALECTS[dialect](frame)
    assert fitted(trainer, TabularData(source, "price", weight="weight")) == expected


def test_frames_agree_with_statsmodels_and_a_pipeline_of_scikit_learn(trainer: MakeTrainer) -> None:
    frame = houses()
    found = fitted(trainer, TabularData(frame, "price", weight="weight"))
    formula = "price ~ area + rooms + new + C(city) + C(zone)"
    numbers = frame.astype({"new": float})
    peer = smf.wls(formula, numbers, weights=frame.weight).fit().params
    names = {"Intercept": "intercept"} | {
        f"C({column})[T.{level}]": f"{column}[{level}]"
        for column, levels in {"city": ["Paris", "Rome"], "zone": [7, 10]}.items()
        for level in levels
    }
    assert found == pytest.approx(
        {names.get(name, name): value for name, value in peer.items()}, rel=1e-10
    )
    x = frame.drop(columns=["price", "weight"])
    encode = make_column_transformer(
        (OneHotEncoder(drop="first"), ["city", "zone"]), remainder="passthrough"
    )
    pipeline = make_pipeline(encode, ScikitLinearRegression())
    pipeline.fit(x, frame.price, linearregression__sample_weight=frame.weight)
    model, data = LeastSquares(), TabularData(in_polars(frame), "price", weight="weight")
    runner = trainer(max_epochs=1)
    runner.fit(model, data)
    (predicted,) = runner.predict(model, data)
    np.testing.assert_allclose(predicted[:, 0].numpy(), pipeline.predict(x), rtol=1e-10)


@pytest.mark.parametrize(
    ("dialect", "missing"),
    [
        ("pandas", "drop"),
        ("pandas in pyarrow", "mean"),
        ("polars lazy", "drop"),
        ("DuckDB", "mean"),
    ],
)
def test_missing_values_of_each_library_are_those_of_the_file(
    trainer: MakeTrainer, dialect: str, missing: Any
) -> None:
    frame = with_gaps(houses())
    frame.to_csv("rows.csv", index=False)
    options: dict[str, Any] = {"missing": missing, "weight": "weight", "categorical": "zone"}
    expected = fitted(trainer, TabularData("rows.csv", "price", **options))
    data = TabularData(DIALECTS[dialect](frame), "price", **options)
    assert fitted(trainer, data) == expected
    with pytest.raises(InputError, match=r"column 'area': row 4 holds nan, a missing value"):
        fitted(trainer, TabularData(DIALECTS[dialect](frame), "price", exclude="weight"))


@pytest.mark.parametrize("stream", [False, True])
def test_splits_kept_columns_and_batches_are_those_of_the_file(
    trainer: MakeTrainer, stream: bool
) -> None:
    frame = houses()
    frame.to_feather("rows.arrow")
    found = []
    for source in ("rows.arrow", in_polars(frame).lazy()):
        data = TabularData(
            source, "price", exclude="new", val_fraction=0.3, batch_size=64, stream=stream
        )
        model = LeastSquares("exact")
        runner = trainer(max_epochs=1)
        runner.fit(model, data)
        assert ("train" in data.splits) != stream
        validation = runner.validate(model, data, verbose=False)
        data.keep(["city"])
        data.setup("predict")
        batches = list(data.predict_dataloader())
        cities = [city for batch in batches for city in batch.kept["city"].to_pylist()]
        x = torch.cat([batch.x for batch in batches])
        found.append((model.coefficients(), validation, cities, x.tolist()))
    assert found[0] == found[1]


def test_each_split_may_have_a_frame_of_its_own() -> None:
    frame, other = houses(), houses(40, seed=1)
    data = TabularData(frame, "price", val_path=in_polars(other), test_path=other[::2])
    for stage in ("fit", "test"):
        data.setup(stage)
    assert [data.splits[split].rows for split in ("train", "val", "test")] == [200, 40, 20]
    assert data.splits["val"].x[:, 0].tolist() == other.area.tolist()
    assert data.splits["test"].y[:, 0].tolist() == other.price[::2].tolist()


def test_groups_of_a_frame_have_fits_of_their_own(trainer: MakeTrainer) -> None:
    frame = houses()
    model = LeastSquares()
    source = in_polars(frame).lazy()
    trainer(max_epochs=1).fit(model, TabularData(source, "price", features="area", by="city"))
    table = model.group_table()
    assert table is not None
    rows = zip(table["group"], table["term"], table["estimate"], strict=True)
    slopes = {city: estimate for city, term, estimate in rows if term == "area"}
    expected = {
        city: np.polyfit(rows.area, rows.price, 1)[0] for city, rows in frame.groupby("city")
    }
    assert slopes == pytest.approx(expected, rel=1e-10)


def test_intervals_and_sparse_columns_of_pandas_are_plain_columns(trainer: MakeTrainer) -> None:
    frame = houses()[["area", "rooms", "price"]]
    frame["size"] = pd.cut(frame.area, 3)
    frame["flag"] = pd.arrays.SparseArray((frame.rooms > 3).astype(float))
    plain = frame.assign(size=frame["size"].astype(str), flag=np.asarray(frame.flag))
    assert fitted(trainer, TabularData(frame, "price")) == fitted(
        trainer, TabularData(plain, "price")
    )


@pytest.mark.parametrize("file", ["t.parquet", "t.arrow"])
def test_categories_of_numbers_mean_the_same_in_files_and_frames(
    trainer: MakeTrainer, file: str
) -> None:
    frame = houses()[["area", "zone", "price"]]
    (frame.to_parquet if file.endswith("parquet") else frame.to_feather)(file)
    for stream in (False, True):
        found = fitted(trainer, TabularData(file, "price", stream=stream))
        assert list(found) == ["intercept", "area", "zone[7]", "zone[10]"]
        assert found == fitted(trainer, TabularData(frame, "price", stream=stream))


def test_a_category_that_is_a_missing_value_counts_as_missing(trainer: MakeTrainer) -> None:
    indices = np.tile([0, 1, 2, 3], 10)
    levels = pa.array([1.5, np.nan, None, 2.5])
    table = pa.table(
        {
            "c": pa.DictionaryArray.from_arrays(pa.array(indices), levels),
            "y": np.arange(40.0) ** 2,
        }
    )
    rows = pd.DataFrame({"c": levels.to_pandas()[indices].to_numpy(), "y": table["y"].to_numpy()})
    expected = smf.ols("y ~ C(c)", rows.dropna()).fit().params.to_numpy()
    found = fitted(trainer, TabularData(table, "y", missing="drop"))
    assert list(found) == ["intercept", "c[2.5]"]
    assert list(found.values()) == pytest.approx(expected, rel=1e-10)


# Checkpoints


def test_a_checkpoint_predicts_and_adds_rows_of_a_frame_given_anew(trainer: MakeTrainer) -> None:
    january, february = houses(), houses(60, seed=1)
    model, data = LeastSquares("exact"), TabularData(in_polars(january), "price")
    runner = trainer(max_epochs=1)
    runner.fit(model, data)
    runner.save_checkpoint("january.ckpt")
    content = torch.load("january.ckpt", weights_only=True)["datamodule_hyper_parameters"]
    assert content["path"] == "<polars DataFrame in memory>"
    again = LeastSquares.load_from_checkpoint("january.ckpt")
    shuffled = february[february.columns[::-1]].drop(columns="price")
    shuffled.to_csv("new.csv", index=False)
    predicted = [
        trainer().predict(again, TabularData.load_from_checkpoint("january.ckpt", path=rows))[0]
        for rows in (shuffled, in_polars(february).lazy(), "new.csv")
    ]
    (expected,) = trainer().predict(model, TabularData(february, "price", design=content["design"]))
    assert [rows.tolist() for rows in predicted] == [expected.tolist()] * 3

    added = LeastSquares("exact")
    rows = TabularData.load_from_checkpoint("january.ckpt", path=february)
    trainer(max_epochs=1).fit(added, rows, ckpt_path="january.ckpt")
    both = fitted(trainer, TabularData([january, february], "price"))
    assert {row["name"]: row["estimate"] for row in added.coefficients()} == both

    lost = TabularData.load_from_checkpoint("january.ckpt")
    message = "path: the checkpoint does not keep the rows of its <polars DataFrame in memory>"
    with pytest.raises(InputError, match=message):
        trainer().predict(again, lost)


def test_a_record_batch_is_predicted_by_name_and_data_are_printed(trainer: MakeTrainer) -> None:
    frame = houses()[["area", "rooms", "price"]]
    data, model = TabularData(frame, target="price"), LeastSquares()
    trainer().fit(model, data)
    assert "TabularData" in str(data)
    rows = pa.RecordBatch.from_pandas(frame[["rooms", "area"]][:5])
    expected = smf.ols("price ~ area + rooms", frame).fit().predict(frame[:5])
    predicted = pa.table(model.predict(rows)).column("price").to_numpy()
    np.testing.assert_allclose(predicted, expected, rtol=1e-10)


def test_hyper_parameters_hold_no_frame(trainer: MakeTrainer) -> None:
    frame = houses(20)
    data = TabularData([frame, frame], "price", val_path=in_polars(frame).lazy())
    assert data.hparams["path"] == ["<pandas DataFrame in memory>"] * 2
    assert data.hparams_initial["val_path"] == "<polars LazyFrame in memory>"


# Tensors of frames


def problem() -> tuple[pd.DataFrame, pd.Series, pd.Series]:
    random = np.random.default_rng(0)
    x = pd.DataFrame({"a": random.integers(0, 9, 30), "b": random.normal(size=30)})
    return x, pd.Series(2.0 * x.a + 3 * x.b + 1, name="c"), pd.Series(1.0, index=x.index)


FRAMES: dict[str, Callable[[pd.DataFrame], Any]] = {
    "pandas nullable": lambda frame: frame.convert_dtypes(),
    "pandas in pyarrow": lambda frame: frame.convert_dtypes(dtype_backend="pyarrow"),
    "polars": pl.from_pandas,
    "polars lazy": lambda frame: pl.from_pandas(frame).lazy(),
    "pyarrow": lambda frame: pa.Table.from_pandas(frame, preserve_index=False),
    "an Arrow stream": lambda frame: pa.table(pl.from_pandas(frame)).to_reader(),
    "DuckDB": lambda frame: duckdb.from_arrow(pa.table(pl.from_pandas(frame))),
}
SERIES: list[Callable[[pd.Series], Any]] = [
    lambda series: series.convert_dtypes(),
    pl.from_pandas,
    lambda series: pa.array(series, from_pandas=True),
    lambda series: pa.chunked_array([series[:9], series[9:]]),
]


@pytest.mark.parametrize(
    ("dialect", "to_series"), zip(FRAMES, [*SERIES, *SERIES][: len(FRAMES)], strict=True)
)
def test_tensors_of_nullable_frames_may_lack_values_in_rows_of_weight_0(
    trainer: MakeTrainer, dialect: str, to_series: Callable[[pd.Series], Any]
) -> None:
    x, y, weight = problem()
    x, y = x.convert_dtypes(), y.convert_dtypes()
    x.loc[3, "a"], x.loc[4, "b"], y[5] = pd.NA, pd.NA, pd.NA
    weight[3:6] = 0
    make = FRAMES[dialect]
    data = TensorData(make(x), to_series(y), to_series(weight))
    assert data.feature_names == ["a", "b"]
    assert fitted(trainer, data) == pytest.approx({"intercept": 1, "a": 2, "b": 3}, rel=1e-12)
    with pytest.raises(InputError, match="column 'a': row 4 holds nan, a missing value"):
        fitted(trainer, TensorData(make(x), to_series(y)))


def test_rows_of_pandas_are_paired_by_their_labels(trainer: MakeTrainer) -> None:
    x, y, weight = problem()
    y[7], weight[7] = 99.0, 0.0
    mixed = y.sample(frac=1, random_state=1), weight.sample(frac=1, random_state=2)
    expected = pytest.approx({"intercept": 1, "a": 2, "b": 3}, rel=1e-12)
    assert fitted(trainer, TensorData(x, *mixed)) == expected
    assert fitted(trainer, TensorData(x, mixed[0].to_frame(), mixed[1])) == expected
    text = {label: f"row {label}" for label in x.index}
    assert fitted(trainer, TensorData(x.rename(text), *(v.rename(text) for v in mixed))) == expected
    same = [0] * 30  # in the same order there is nothing to guess
    assert fitted(trainer, TensorData(*(v.set_axis(same) for v in (x, y, weight)))) == expected


@pytest.mark.parametrize(
    "labels",
    [
        range(1, 31),
        [0] * 30,
        [f"{k}" for k in range(30)],
        pd.MultiIndex.from_product([range(3), range(10)]),
    ],
    ids=["shifted", "all the same", "text", "two levels"],
)
def test_rows_with_other_labels_are_refused(labels: Any) -> None:
    x, y, weight = problem()
    with pytest.raises(InputError, match="y: its index does not match that of x"):
        TensorData(x, y.set_axis(labels))
    with pytest.raises(InputError, match=r"weight: its index does not match .* call reset_index"):
        TensorData(x, y, weight.set_axis(labels))


def test_a_frame_of_floats_is_not_copied_and_keeps_its_precision() -> None:
    values = np.asfortranarray(np.random.default_rng(0).normal(size=(6, 2)).astype(np.float32))
    values.flags.writeable = True
    data = TensorData(pd.DataFrame(values, columns=["a", "b"], copy=False))
    data.setup("predict")
    x = data.splits["predict"].x
    assert x.dtype == torch.float32
    assert torch.equal(x, torch.from_numpy(values))
    assert data.feature_bits() == [24, 24]
    short = pl.DataFrame({"a": [1.5, 2.5], "b": [2.5, 3.5]}, schema=dict.fromkeys("ab", pl.Float32))
    data = TensorData(short)
    data.setup("predict")
    assert data.splits["predict"].x.dtype == torch.float32
    mixed = TensorData(short.with_columns(pl.col("b").cast(pl.Float64)))
    mixed.setup("predict")
    assert mixed.splits["predict"].x.dtype == torch.float64
    assert mixed.feature_bits() == [24, 53]


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        (pd.Categorical([1, 2, 3]), "column 'c' has categories, of which TabularData makes"),
        (["u", "v", "w"], "it has 'u' in column 'c', row 1, which is no number"),
        (pd.to_datetime(["2024-01-01"] * 3), "column 'c' has the type timestamp"),
        (pd.Series([1, "u", 2], dtype=object), "Could not convert 'u' .* column c with type obj"),
    ],
)
def test_columns_that_hold_no_numbers_are_no_tensors(column: Any, reason: str) -> None:
    with pytest.raises(InputError, match=f"x: .*{reason}"):
        TensorData(pd.DataFrame({"a": [1.0, 2.0, 3.0], "c": column}))


# Whole numbers beyond float64


WHOLE: dict[str, Callable[[list[int]], Any]] = {
    "int64": lambda values: pa.array(values),
    "uint64": lambda values: pa.array(values, pa.uint64()),
    "decimal(38)": lambda values: pa.array(map(Decimal, values), pa.decimal128(38, 0)),
    "decimal(40, 2)": lambda values: pa.array(map(Decimal, values), pa.decimal256(40, 2)),
    "pandas Int64": lambda values: pd.array(values, dtype="Int64"),
    "pandas objects": lambda values: np.array(values, dtype=object),
    "pandas decimals": lambda values: [Decimal(value) for value in values],
    "Int128": lambda values: pl.Series(values, dtype=pl.Int128),
    "UInt128": lambda values: pl.Series(values, dtype=pl.UInt128),
    "text": lambda values: values,
}


def table_of(kind: str, role: str, values: list[int]) -> Any:
    """Return a table whose column `role` holds values of a kind; a file where it is text."""
    columns: dict[str, Any] = {"x": [0.0, 1.0, 5.0], "y": [1.0, 2.0, 4.0], "weight": [1.0, 1, 1]}
    columns[role] = WHOLE[kind](values)
    if kind.startswith("pandas"):
        return pd.DataFrame(columns)
    if kind.endswith("128"):
        return pl.DataFrame(columns)
    if kind != "text":
        return pa.table(columns)
    pd.DataFrame(columns).to_csv("rows.csv", index=False)
    return "rows.csv"


def columns_of(data: Any) -> list[list[float]]:
    data.setup("fit")
    x, y, weight = data.splits["train"]
    return [x[:, 0].tolist(), y[:, 0].tolist(), weight.tolist()]


@pytest.mark.parametrize("kind", WHOLE)
@pytest.mark.parametrize("role", ["x", "y", "weight"])
def test_whole_numbers_that_float64_rounds_are_refused(kind: str, role: str) -> None:
    names = ["x", "y", "weight"]
    large = [2**53 + 4, 2**53 + 2, 2**54]  # float64 has these
    table = table_of(kind, role, large)
    assert columns_of(TabularData(table, "y", weight="weight"))[names.index(role)] == large
    table = table_of(kind, role, [2**53, BIG, 2**53 + 3])
    message = rf"{BIG}(\.00)?.* a whole number that float64 cannot hold; leave the column out"
    sources = [table]
    if isinstance(table, pa.Table):
        pyarrow.parquet.write_table(table, "rows.parquet")
        sources.append("rows.parquet")
    for source in sources:
        with pytest.raises(InputError, match=message):
            TabularData(source, "y", weight="weight").setup("fit")
    if kind != "text":
        x = table[["x"]] if isinstance(table, pd.DataFrame) else table.select(["x"])
        with pytest.raises(InputError, match=message):
            TensorData(x, table["y"], table["weight"])


def test_text_is_read_to_the_nearest_float64_unless_it_is_a_whole_number() -> None:
    exact = [1e300, 0.1, 12345678901234567.5, 9007199254740993.0, 2.0**60, 18014398509481984]
    texts = ["1e300", "0.1", "12345678901234567.5", "9007199254740993.0", str(2**60), str(2**54)]
    Path("rows.csv").write_text("x,y\n" + "".join(f" {text} ,1\n" for text in texts))
    data = TabularData("rows.csv", "y")
    data.setup("predict")
    (batch,) = data.predict_dataloader()
    assert batch.x[:, 0].tolist() == exact
    with Path("rows.csv").open("a") as file:
        file.write(f"-{BIG},1\n")
    message = f"rows.csv has -{BIG} in column 'x', row 7, a whole number that float64 cannot hold"
    with pytest.raises(InputError, match=message):
        TabularData("rows.csv", "y").setup("fit")


def test_decimals_are_read_to_the_nearest_float64() -> None:
    prices = [Decimal(k).scaleb(-2) for k in range(1, 3000, 7)]
    column = pa.array(prices, pa.decimal128(38, 2))
    found = frames.parse_numbers(column, "price")
    assert found.tolist() == [float(price) for price in prices]
    files = {"a.parquet": column, "b.parquet": pa.array([0.5], pa.float32())}
    for file, values in files.items():
        pyarrow.parquet.write_table(pa.table({"price": values}), file)
    chunks = TableDataset(list(files)).read({"price": pa.float64()}, size=1000)
    assert next(chunks).table["price"].to_pylist() == found.tolist()


# What is refused


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pd.DataFrame(np.eye(3), columns=["a", "a", "y"]), "'a' 2 times; give them diff"),
        (lambda: pa.table([[1], [2]], names=["a", "a"]), "'a' 2 times; give them different names"),
        (lambda: pd.DataFrame({"a": [1, "b"], "y": 1}), "path: the DataFrame cannot be read as a"),
        (lambda: pl.LazyFrame({"a": [1]}).select("z"), "path: the LazyFrame cannot be read .*z"),
        (lambda: pl.DataFrame({"a": [1]}), "target: the frame has no column 'y'; it has a"),
        (lambda: pl.DataFrame({"a": [[1]], "y": [1]}), "'a' of the frame holds values of type lar"),
        (lambda: pd.DataFrame({"": [1], "y": [1]}), "path: column 1 of the frame has no name"),
        (lambda: pd.DataFrame({"a": [1], "y": [1]})[:0], "path: the frame has a header but no"),
        (
            lambda: [pl.DataFrame({"a": [1], "y": [1]}), "t.csv"],
            "frame 1 is a data frame and t.csv",
        ),
        (lambda: np.eye(3), "path: a ndarray was given"),
        (lambda: pl.Series("y", [1]), "path: a Series was given; give the name of a"),
        (lambda: pl.DataFrame({"a": [datetime.date(2024, 1, 1)], "y": [1]}), "dates: column 'a'"),
    ],
)
def test_frames_that_cannot_be_fitted_are_refused(
    trainer: MakeTrainer, make: Callable[[], Any], message: str
) -> None:
    Path("t.csv").write_text("a,y\n1,2\n")
    with pytest.raises(InputError, match=message):
        fitted(trainer, TabularData(make(), "y"))


# The helpers


def test_frames_and_series_are_recognised() -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0], 3: [1, 2]})
    tables = [FRAMES[dialect](frame[["a"]]) for dialect in FRAMES]
    assert all(map(is_frame, [*tables, frame, pa.record_batch({"a": [1]})]))
    series = [frame["a"], pl.Series([1]), pa.array([1]), pa.chunked_array([[1]])]
    assert all(map(is_series, series))
    others = [np.eye(2), torch.eye(2), [[1]], None, "rows.csv", {"a": [1]}, Path("rows.csv")]
    assert not any(map(is_frame, [*series, *others]))
    assert not any(map(is_series, [*tables, *others]))
    assert [column_names(table) for table in tables] == [["a"]] * len(tables)
    assert column_names(frame) == to_arrow(frame).column_names == ["a", "3"]
    pairs = frame.set_axis(pd.MultiIndex.from_tuples([("a", 1), ("a", 2)]), axis=1)
    assert column_names(pairs) == to_arrow(pairs).column_names == ["('a', 1)", "('a', 2)"]


def test_results_are_frames_of_the_same_library() -> None:
    columns = {"prediction": np.array([1.5, 2.5])}
    frame = pd.DataFrame({"a": [1, 2]}, index=["u", "v"])
    expected = pd.DataFrame(columns, index=["u", "v"])
    pd.testing.assert_frame_equal(frame_like(frame, columns), expected)
    for source in (pl.from_pandas(frame), pl.from_pandas(frame).lazy()):
        assert frame_like(source, columns).equals(pl.DataFrame(columns))
    for source in (pa.table({"a": [1]}), duckdb.from_arrow(pa.table({"a": [1]}))):
        assert frame_like(source, columns).equals(pa.table(columns))


def test_arrow_shares_the_memory_of_a_frame() -> None:
    values = np.arange(1000.0)
    frame = pd.DataFrame({"a": values}, copy=False)
    address = frame["a"].to_numpy().ctypes.data
    assert to_arrow(frame)["a"].chunk(0).buffers()[1].address == address
    frame = pl.DataFrame({"a": values})
    address = frame["a"].to_numpy().ctypes.data
    assert to_arrow(frame)["a"].chunk(0).buffers()[1].address == address
    text = pl.DataFrame({"a": ["a text of more than twelve letters"] * 1000})
    assert to_arrow(text)["a"].type == pa.string_view()  # the memory of polars, as it is


def test_rows_that_were_appended_one_by_one_are_read_in_blocks() -> None:
    frame = pl.concat([pl.DataFrame({"a": [float(k)]}) for k in range(300)], rechunk=False)
    (batch,) = (batch for _, batch in FrameTable(frame, "path").read({"a": None}, 0, None, 1000))
    assert batch["a"].to_pylist() == list(range(300))


def test_dates_among_times_keep_the_times() -> None:
    noon = datetime.datetime(2024, 1, 2, 12)
    objects = [datetime.date(2024, 1, 1), noon, None, datetime.date(2024, 1, 4)]
    column = pd.Series(objects, dtype=object)
    table = to_arrow(pd.DataFrame({"at": column}))
    assert table["at"].to_pylist() == [
        None if pd.isna(time) else time for time in pd.to_datetime(column)
    ]
