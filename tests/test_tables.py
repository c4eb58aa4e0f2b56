"""TabularData agrees with other libraries, and every way of reading gives the same numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet
import pytest
import statsmodels.formula.api as smf
import torch
from hypothesis import given, settings, strategies as st
from lightning.pytorch import LightningModule, Trainer
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression as ScikitLinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from linreg_lightning import Batch, InputError, LeastSquares, LinearRegression, TabularData
from linreg_lightning.data.stream_loader import StreamLoader
from linreg_lightning.design_matrix.exact_sum import ExactSum
from linreg_lightning.design_matrix.row_subset import TEST, VAL, HashSplit, RowSubset
from linreg_lightning.tables.csv import CsvFile
from linreg_lightning.tables.csv_format import CsvFormat
from linreg_lightning.tables.dataset import TableDataset
from linreg_lightning.tables.discovery import find_files

MakeTrainer = Callable[..., Trainer]


def mixed(rows: int = 300, seed: int = 0) -> pd.DataFrame:
    """Return numbers, whole numbers, text and booleans; price depends on all of them."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "area": random.normal(100, 30, rows),
            "city": random.choice(["Oslo", "Paris", "Rome, Lazio"], rows),
            "new": random.random(rows) < 0.5,
            "rooms": random.integers(1, 7, rows),
            "kind": random.choice(["flat", "house"], rows),
        }
    )
    frame["price"] = (
        20 + 3 * frame.area + 50 * (frame.city == "Paris") - 9 * frame.rooms + 7 * frame.new
    )
    frame["price"] += 4 * (frame.kind == "house") + random.normal(0, 2, rows)
    return frame


def write(frame: pd.DataFrame, name: str) -> str:
    if name.endswith(".parquet"):
        frame.to_parquet(name, row_group_size=37, index=False)
    elif name.endswith(".arrow"):
        pyarrow.feather.write_feather(frame, name, chunksize=37)
    else:
        frame.to_csv(name, index=False)
    return name


def fitted(trainer: MakeTrainer, data: TabularData, **options: Any) -> dict[str, float]:
    model = LeastSquares("exact", **options)
    trainer(max_epochs=1).fit(model, data)
    return {row["name"]: row["estimate"] for row in model.coefficients()}


def rows_of(batches: Any) -> Batch:
    parts = list(batches)
    return Batch(
        *(torch.cat(tensors) for tensors in zip(*(part[:2] for part in parts), strict=True))
    )


# Against statsmodels and scikit-learn


@pytest.mark.parametrize("file", ["t.csv", "t.csv.gz", "t.parquet", "t.arrow"])
@pytest.mark.parametrize("stream", [False, True])
def test_coefficients_of_a_mixed_table_agree_with_statsmodels(
    trainer: MakeTrainer, file: str, stream: bool
) -> None:
    frame = mixed()
    found = fitted(trainer, TabularData(write(frame, file), "price", stream=stream))
    formula = "price ~ area + C(city) + new + rooms + C(kind)"
    expected = smf.ols(formula, frame.astype({"new": float})).fit().params
    assert list(found) == [
        "intercept",
        "area",
        "city[Paris]",
        "city[Rome, Lazio]",
        "new",
        "rooms",
        "kind[house]",
    ]
    names = {"Intercept": "intercept", "C(city)[T.Paris]": "city[Paris]"}
    names |= {"C(city)[T.Rome, Lazio]": "city[Rome, Lazio]", "C(kind)[T.house]": "kind[house]"}
    for name, value in expected.items():
        assert found[names.get(name, name)] == pytest.approx(value, rel=1e-8)


def test_without_an_intercept_the_first_categorical_column_keeps_all_its_levels(
    trainer: MakeTrainer,
) -> None:
    frame = mixed()
    found = fitted(trainer, TabularData(write(frame, "t.csv"), "price"), intercept=False)
    formula = "price ~ 0 + C(city) + C(kind) + area + new + rooms"
    expected = smf.ols(formula, frame.astype({"new": float})).fit().params
    assert "city[Oslo]" in found
    assert "kind[flat]" not in found
    assert found["city[Oslo]"] == pytest.approx(expected["C(city)[Oslo]"], rel=1e-8)
    assert found["kind[house]"] == pytest.approx(expected["C(kind)[T.house]"], rel=1e-8)


def table_with_missing_values() -> pd.DataFrame:
    frame = mixed()
    for column, rows in {"area": [3, 40], "rooms": [7, 40], "city": [9]}.items():
        frame[column] = frame[column].astype(object)
        frame.loc[rows, column] = None
    return frame


@pytest.mark.parametrize("stream", [False, True])
def test_rows_with_missing_values_are_dropped_and_counted(
    trainer: MakeTrainer, stream: bool
) -> None:
    frame = table_with_missing_values()
    data = TabularData(write(frame, "t.csv"), "price", missing="drop", stream=stream)
    message = "4 of 300 rows were left out of those to train on; .*: area 2, city 1, rooms 2"
    with pytest.warns(UserWarning, match=message) as caught:
        found = fitted(trainer, data)
    assert len([warning for warning in caught if "left out of" in str(warning.message)]) == 1
    complete = frame.dropna().astype({"area": float, "rooms": float, "new": float})
    expected = smf.ols("price ~ area + C(city) + new + rooms + C(kind)", complete).fit().params
    assert found["area"] == pytest.approx(expected["area"], rel=1e-8)
    assert found["city[Paris]"] == pytest.approx(expected["C(city)[T.Paris]"], rel=1e-8)


@pytest.mark.parametrize("stream", [False, True])
def test_missing_values_are_filled_with_means_of_the_training_rows(
    trainer: MakeTrainer, stream: bool
) -> None:
    frame = table_with_missing_values().drop(columns=["city", "kind"])
    data = TabularData(
        write(frame, "t.csv"), "price", missing="mean", val_fraction=0.3, stream=stream
    )
    model = LeastSquares("exact")
    trainer(max_epochs=1).fit(model, data)
    train = HashSplit(0.3).parts(0, 300) == 0
    x = frame[["area", "new", "rooms"]].astype(float)
    pipeline = make_pipeline(SimpleImputer(), ScikitLinearRegression())
    pipeline.fit(x[train], frame.price[train])
    predicted = trainer().predict(model, data)
    assert torch.cat(predicted).flatten().numpy() == pytest.approx(pipeline.predict(x), rel=1e-8)


def test_predictions_agree_with_a_scikit_learn_pipeline(trainer: MakeTrainer) -> None:
    frame, new = mixed(), mixed(50, seed=1)
    encode = make_column_transformer(
        (OneHotEncoder(drop="first"), ["city", "kind"]), remainder="passthrough"
    )
    pipeline = make_pipeline(encode, ScikitLinearRegression())
    pipeline.fit(frame.drop(columns="price"), frame.price)
    model = LeastSquares()
    runner = trainer(max_epochs=1)
    runner.fit(model, TabularData(write(frame, "t.parquet"), "price"))
    runner.save_checkpoint("fitted.ckpt")
    # The new file has another column, another order, another format and no target.
    new.insert(0, "note", "x")
    other = write(new[["kind", "note", "rooms", "city", "new", "area"]], "new.csv")
    data = TabularData.load_from_checkpoint("fitted.ckpt", path=other)
    (predicted,) = trainer().predict(model, data)
    assert predicted.flatten().numpy() == pytest.approx(pipeline.predict(new), rel=1e-8)


def test_a_missing_level_is_filled_with_the_shares_of_the_levels(trainer: MakeTrainer) -> None:
    frame = mixed(40)
    frame.loc[3, "city"] = None
    data = TabularData(write(frame, "t.csv"), "price", missing="mean", features="city")
    data.setup("fit")
    shares = frame.city.value_counts(normalize=True)
    expected = [shares["Paris"], shares["Rome, Lazio"]]
    assert data.splits["train"].x[3].tolist() == pytest.approx(expected, rel=1e-15)


def test_rows_with_missing_values_get_no_prediction_and_keep_their_place(
    trainer: MakeTrainer,
) -> None:
    frame = table_with_missing_values()
    data = TabularData(write(frame, "t.csv"), "price", missing="drop")
    model = LeastSquares()
    trainer(max_epochs=1).fit(model, data)
    with pytest.warns(UserWarning, match="4 of 300 rows were given no prediction"):
        (predicted,) = trainer().predict(model, data)
    assert predicted.isnan().flatten().nonzero().flatten().tolist() == [3, 7, 9, 40]


class ForeignModel(LightningModule):
    """A model from another package, which unpacks x and y of a batch."""

    def predict_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        x, _, *_ = batch
        assert batch.kept.column("rooms").to_pylist() == x[:, 0].int().tolist()
        return x[:, :1]


def test_any_model_can_predict_batches_with_kept_columns(trainer: MakeTrainer) -> None:
    frame = mixed()
    data = TabularData(
        write(frame, "t.parquet"), "price", features=["rooms", "area"], batch_size=70
    )
    model = LinearRegression(standardize=True)
    trainer(max_epochs=1).fit(model, data)
    plain = torch.cat(trainer().predict(model, data))
    data.keep(["rooms", "city"])
    assert torch.equal(torch.cat(trainer().predict(model, data)), plain)
    predicted = torch.cat(trainer().predict(ForeignModel(), data))
    assert predicted.flatten().tolist() == frame.rooms.tolist()
    (first, *_) = data.predict_dataloader()
    assert first.kept.column("city").to_pylist() == frame.city[:70].tolist()


def test_the_design_is_fitted_in_setup_and_not_before(trainer: MakeTrainer) -> None:
    data = TabularData(write(mixed(), "t.csv"), "price", features=["city"])
    Path("t.csv").rename("later.csv")
    assert data.feature_names == []
    Path("later.csv").rename("t.csv")
    data.setup("fit")
    assert data.feature_names == ["city[Paris]", "city[Rome, Lazio]"]
    known = TabularData("no.csv", "price", design=data.hparams["design"])
    assert known.feature_names == data.feature_names


# The same bits for every way of reading


@pytest.mark.parametrize("batch_size", [1, 7, 64, None])
def test_a_stream_and_a_table_in_memory_give_the_same_bits(
    trainer: MakeTrainer, batch_size: int
) -> None:
    frame = mixed(150)
    expected = None
    for name in ("t.csv", "t.parquet"):
        write(frame, name)
        for stream in (False, True):
            data = TabularData(
                name, "price", val_fraction=0.2, stream=stream, batch_size=batch_size
            )
            found = fitted(trainer, data)
            expected = expected or found
            assert found == expected
            validation = rows_of(data.val_dataloader())
            rows = HashSplit(0.2).parts(0, 150) == VAL
            assert validation.y.flatten().tolist() == frame.price[rows].tolist()


cells = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: round(value, 6))
tables = st.integers(20, 40).flatmap(
    lambda rows: st.fixed_dictionaries(
        {
            "a": st.lists(cells, min_size=rows, max_size=rows),
            "b": st.lists(st.integers(-9, 9), min_size=rows, max_size=rows),
            "c": st.lists(st.sampled_from(["p", 'q "r"', "é,s"]), min_size=rows, max_size=rows),
            "d": st.lists(st.booleans(), min_size=rows, max_size=rows),
            "y": st.lists(cells, min_size=rows, max_size=rows),
        }
    )
)


@settings(max_examples=12, deadline=None)
@given(table=tables, batch_size=st.integers(1, 9), seed=st.integers(0, 9))
def test_random_tables_are_read_correctly_from_every_format(
    table: dict[str, list[Any]], batch_size: int, seed: int
) -> None:
    frame = pd.DataFrame(table)
    seen = []
    for name in ("t.csv", "t.parquet", "t.arrow"):
        write(frame, name)
        for stream in (False, True):
            data = TabularData(
                name,
                "y",
                features=["a", "b", "c", "d"],
                unseen="zero",
                test_fraction=0.5,
                seed=seed,
                stream=stream,
                batch_size=batch_size,
            )
            data.setup("test")
            rows = rows_of(data.test_dataloader())
            seen.append((data.feature_names, rows.x.tolist(), rows.y.tolist()))
    assert all(one == seen[0] for one in seen)
    chosen = frame[HashSplit(0, 0.5, seed).parts(0, len(frame)) == TEST]
    assert seen[0][2] == [[value] for value in chosen.y]
    assert [row[0] for row in seen[0][1]] == list(chosen.a)


# Splits


@given(st.integers(0, 3000), st.integers(1, 500), st.integers(0, 2**63 - 1))
def test_the_split_of_a_row_depends_only_on_its_number(start: int, rows: int, seed: int) -> None:
    split = HashSplit(0.25, 0.1, seed)
    assert (split.parts(start, start + rows) == split.parts(0, start + rows)[start:]).all()


def test_fractions_hold_in_every_hundred_rows_and_seeds_differ() -> None:
    parts = HashSplit(0.3, 0.1, seed=5).parts(0, 10_000).reshape(-1, 100)
    assert ((parts == VAL).sum(axis=1) == 30).all()
    assert ((parts == TEST).sum(axis=1) == 10).all()
    assert abs((HashSplit(0.0001).parts(0, 1_000_000) == VAL).sum() - 100) < 40
    other = HashSplit(0.3, 0.1, seed=6).parts(0, 10_000).reshape(-1, 100)
    both = ((parts == VAL) & (other == VAL)).mean()
    assert both == pytest.approx(0.09, abs=0.01)
    # Every position within a hundred rows is equally likely.
    assert ((parts == VAL).sum(axis=0) < 52).all()


def test_validation_and_test_rows_can_come_from_separate_files(trainer: MakeTrainer) -> None:
    for seed, name in enumerate(("train.csv", "val.csv", "test.parquet")):
        write(mixed(50, seed), name)
    data = TabularData("train.csv", "price", val_path="val.csv", test_path="test.parquet")
    model = LeastSquares()
    runner = trainer(max_epochs=1)
    runner.fit(model, data)
    assert data.splits["val"].y.flatten().tolist() == mixed(50, 1).price.tolist()
    assert runner.test(model, data)[0]["test_rmse"] > 0
    with pytest.raises(InputError, match=r"val_path: val_fraction is 0\.1; set val_fraction to 0"):
        TabularData("train.csv", "price", val_path="val.csv", val_fraction=0.1)
    with pytest.raises(InputError, match=r"val_path: there is no file absent\.csv"):
        TabularData("train.csv", "price", val_path="absent.csv").setup("fit")


# Files


def test_several_files_are_one_table_in_their_order() -> None:
    frame = mixed(100)
    Path("folder").mkdir()
    for k in range(4):
        write(frame[25 * k : 25 * k + 25], f"folder/part-{k}.csv")
    frame[25:50][[*reversed(frame.columns)]].to_csv("folder/part-1.csv", index=False)
    Path("folder/_SUCCESS").write_text("")
    whole = write(frame, "whole.csv")
    expected = None
    for path in (
        whole,
        "folder",
        "folder/*.csv",
        [f"folder/part-{k}.csv" for k in range(4)],
        str(Path("folder").resolve()),
        Path("folder").resolve().as_uri(),
    ):
        data = TabularData(path, "price", features=["area", "city"], val_fraction=0.2)
        data.setup("fit")
        expected = expected or data.splits["val"]
        assert torch.equal(data.splits["val"].x, expected.x)
        assert torch.equal(data.splits["val"].y, expected.y)


def test_the_folders_of_a_partitioned_table_become_columns() -> None:
    frame = mixed(60)
    frame["year"] = [2020 + k // 20 for k in range(60)]
    for format in ("parquet", "csv"):
        for (year, kind), part in frame.groupby(["year", "kind"]):
            folder = Path(f"{format}/year={year}/kind={kind}")
            folder.mkdir(parents=True)
            write(part.drop(columns=["year", "kind"]), f"{folder}/a.{format}")
        data = TabularData(format, "price", features=["year", "kind", "area"])
        data.setup("fit")
        ordered = frame.sort_values(["year", "kind"], kind="stable")
        assert data.feature_names == ["year", "kind[house]", "area"]
        x = data.splits["train"].x
        assert x[:, 0].tolist() == ordered.year.tolist()
        assert x[:, 1].tolist() == (ordered.kind == "house").astype(float).tolist()
        assert x[:, 2].tolist() == ordered.area.tolist()


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("a;y\n1,5;2\n2,5;3\n", {"delimiter": ";", "decimal": ","}),
        ("a\ty\n1.5\t2\n2.5\t3\n", {"delimiter": "tab"}),
        ("\ufeffa,y\r\n1.5,2\r\n\r\n2.5,3", {}),
        ('\n"a",y,note\n1.5,2,"two\nlines"\n2.5,3,"a ""quote"""\n', {"exclude": "note"}),
    ],
)
def test_csv_dialects_are_read(text: str, options: dict[str, Any]) -> None:
    Path("t.csv").write_text(text, encoding="utf-8", newline="")
    data = TabularData("t.csv", "y", **options)
    data.setup("fit")
    assert data.splits["train"].x.tolist() == [[1.5], [2.5]]
    csv_format = CsvFormat(options.get("delimiter", ","), options.get("decimal", "."))
    assert CsvFile(*find_files("t.csv"), csv_format).count_rows() == 2


def test_pyarrow_parses_memory_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    # pyarrow 26 aborts the process at its exit if one of its threads still frees Python's memory.
    sizes: list[int] = []
    read_csv = pyarrow.csv.read_csv

    def read_and_measure(reader: pyarrow.BufferReader, *args: Any) -> pyarrow.Table:
        held = pyarrow.total_allocated_bytes()
        sizes.append(held - before)
        return read_csv(reader, *args)

    monkeypatch.setattr("linreg_lightning.tables.csv.csv.read_csv", read_and_measure)
    Path("a.csv").write_text("a,b\n" + 1000 * "1,2\n")
    (file,) = find_files("a.csv")
    before = pyarrow.total_allocated_bytes()
    CsvFile(file, CsvFormat())
    assert min(sizes) > 0
    assert max(sizes) >= 4000


def test_a_column_of_numbers_is_categorical_if_the_argument_names_it() -> None:
    frame = pd.DataFrame({"zip": [1010, 9, 1010, 80], "y": [1.0, 2, 3, 4]})
    for name in ("t.csv", "t.parquet"):
        data = TabularData(write(frame, name), "y", categorical="zip")
        data.setup("fit")
        assert data.feature_names == ["zip[80]", "zip[1010]"]


def test_files_with_different_dictionaries_are_read() -> None:
    for name, levels in {"1.arrow": ["b", "a"], "2.arrow": ["c", "b"]}.items():
        column = pyarrow.array(levels).dictionary_encode()
        write(pyarrow.table({"c": column, "y": [1.0, 2.0]}).to_pandas(), name)
    data = TabularData(["1.arrow", "2.arrow"], "y")
    data.setup("fit")
    assert data.feature_names == ["c[b]", "c[c]"]
    assert data.splits["train"].x.tolist() == [[1, 0], [0, 0], [0, 1], [1, 0]]


@pytest.mark.parametrize("levels", [127, 128])
def test_a_dictionary_can_use_every_index_of_its_type_and_a_missing_value(levels: int) -> None:
    indices = pyarrow.array([*range(levels), 0, None], pyarrow.int8())
    names = [f"level {k:03}" for k in range(levels)]
    column = pyarrow.DictionaryArray.from_arrays(indices, names)
    table = pyarrow.table({"c": column, "y": [1.0] * len(column)})
    pyarrow.feather.write_feather(table, "t.arrow", compression="uncompressed")
    data = TabularData("t.arrow", "y", missing="drop")
    with pytest.warns(UserWarning, match="1 of .* rows were left out"):
        data.setup("fit")
    assert data.feature_names == [f"c[{name}]" for name in names[1:]]
    assert data.splits["train"].x.argmax(1)[1:-1].tolist() == list(range(levels - 1))


@pytest.mark.parametrize(
    "values",
    [
        pyarrow.array([1, 2**40, 3]),
        pyarrow.array([1.5, 2.5, -3.25], pyarrow.float32()),
        pyarrow.array([True, False, True]),
        pyarrow.array([1, 2, 3], pyarrow.decimal128(7, 2)),
    ],
)
def test_numbers_of_every_type_become_float64(values: pyarrow.Array) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"a": values, "y": [1.0, 2.0, 3.0]}), "t.parquet")
    data = TabularData("t.parquet", "y")
    data.setup("fit")
    expected = [float(value) for value in values.to_pylist()]
    assert data.splits["train"].x.flatten().tolist() == expected


# Several processes


@pytest.mark.parametrize("file", ["t.csv", "t.csv.gz", "t.parquet", "t.arrow"])
def test_processes_read_each_row_once_and_in_order(
    file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("linreg_lightning.tables.csv._SECTION_BYTES", 300)
    frame = mixed(100)
    selection = RowSubset(TableDataset([write(frame, file)]), HashSplit(0.3), VAL)
    expected = frame.price[HashSplit(0.3).parts(0, 100) == VAL].tolist()
    for world_size in (1, 2, 3, 7):
        shares = [selection.share(rank, world_size) for rank in range(world_size)]
        read = [
            [
                value
                for part in share.read({"price": pyarrow.float64()}, 11)
                for value in part.table.column("price").to_pylist()
            ]
            for share in shares
        ]
        assert [value for part in read for value in part] == expected
        assert [len(part) for part in read] == [share.count_rows() for share in shares]


def test_processes_take_equal_numbers_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = table_with_missing_values()
    data = TabularData(
        write(frame, "t.csv"), "price", missing="drop", val_fraction=0.2, stream=True
    )
    data.setup("fit")
    reader = data._reader("train")
    counts = [sum(batch.rows for batch in reader.share(rank, 3).blocks()) for rank in range(3)]
    monkeypatch.setattr(
        "linreg_lightning.data.split_reader.SplitReader._all_gather",
        lambda self, value: counts if isinstance(value, int) else [value],
    )
    seen: list[float] = []
    for rank in range(3):
        share = reader.share(rank, 3)
        rows, batches = share.count_rows_and_batches(16)
        loader = StreamLoader(share.blocks, 16, rows=rows, batches=batches)
        sizes = [batch.rows for batch in loader]
        assert len(sizes) == len(loader) == -(-max(counts) // 16)
        assert max(sizes) - min(sizes) <= 1
        assert max(sizes) <= 16
        seen += rows_of(loader).y.flatten().tolist()
    train = frame[HashSplit(0.2).parts(0, 300) == 0].dropna()
    assert seen == train.price.tolist()


# Streams


def numbered(rows: int, block: int) -> Callable[[], Iterator[Batch]]:
    def blocks() -> Iterator[Batch]:
        for start in range(0, rows, block):
            number = torch.arange(start, min(start + block, rows)).double().unsqueeze(1)
            yield Batch(number, number, number.squeeze(1))

    return blocks


@given(st.integers(1, 60), st.integers(1, 20), st.integers(1, 20), st.none() | st.integers(0, 9))
def test_a_stream_has_each_row_once(
    rows: int, block: int, batch_size: int, seed: int | None
) -> None:
    loader = StreamLoader(numbered(rows, block), batch_size, seed, shuffle_buffer=7, rows=rows)
    batches = list(loader)
    assert [batch.rows for batch in batches[:-1]] == [batch_size] * (len(loader) - 1)
    assert len(batches) == len(loader)
    numbers = torch.cat([batch.x for batch in batches]).flatten().tolist()
    assert sorted(numbers) == list(range(rows))
    if seed is None:
        assert numbers == list(range(rows))
    assert all(torch.equal(batch.x.squeeze(1), batch.weight) for batch in batches)


def test_a_stream_is_shuffled_anew_in_each_pass_and_resumes_within_a_pass() -> None:
    def order(batches: list[Batch]) -> list[float]:
        return torch.cat([batch.x for batch in batches]).flatten().tolist()

    for rows in (100, None):
        loader = StreamLoader(numbered(100, 30), 7, 1, rows=rows)
        passes = [order(list(loader)) for _ in range(2)]
        assert passes[0] != passes[1] != sorted(passes[1])
        stopped = StreamLoader(numbered(100, 30), 7, 1, rows=rows)
        list(stopped)
        batches = iter(stopped)
        begun = [next(batches) for _ in range(4)]
        if rows is None:
            next(batches)  # Lightning prefetches one batch if it does not know the length
        resumed = StreamLoader(numbered(100, 30), 7, 1, rows=rows)
        resumed.load_state_dict(stopped.state_dict())
        assert order(begun + list(resumed)) == passes[1]


def test_an_error_in_the_reading_thread_is_raised(trainer: MakeTrainer) -> None:
    lines = "".join(f"{k},{k % 7}\n" for k in range(1000))
    Path("t.csv").write_text(f"a,y\n{lines}oops,1\n")
    data = TabularData("t.csv", "y", stream=True)
    with pytest.raises(InputError, match="'oops' in column 'a', row 1001"):
        trainer(max_epochs=1).fit(LeastSquares(), data)


def test_gradient_descent_can_use_a_stream(trainer: MakeTrainer) -> None:
    write(mixed(), "t.csv")
    data = TabularData("t.csv", "price", stream=True, batch_size=50, val_fraction=0.2)
    model = LinearRegression(standardize=True, lr=0.2)
    trainer(max_epochs=60).fit(model, data)
    exact = fitted(trainer, TabularData("t.csv", "price", val_fraction=0.2))
    for row in model.coefficients():
        assert row["estimate"] == pytest.approx(exact[row["name"]], rel=0.05, abs=1)


@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=30), st.integers(1, 5))
def test_exact_sums_do_not_depend_on_the_size_of_their_parts(
    values: list[float], size: int
) -> None:
    from fractions import Fraction

    total = ExactSum()
    for start in range(0, len(values), size):
        total.add(np.array(values[start : start + size]))
    assert total.mean == float(sum(map(Fraction, values)) / len(values))
