"""Where tables lie: folders column=value, patterns and object stores, named in any way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from lightning.pytorch import Trainer
from s3_server import S3Server, serve

from linreg_lightning import InputError, LeastSquares, TabularData
from linreg_lightning.tables import discovery
from linreg_lightning.tables.dataset import TableDataset


def write(path: str, **columns: Any) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    if path.endswith(".csv"):
        pd.DataFrame(columns).to_csv(path, index=False)
    else:
        pq.write_table(pa.table(columns), path)


def column(path: Any, name: str) -> list[Any]:
    dataset = TableDataset(path if isinstance(path, list) else [path])
    chunks = dataset.read({name: dataset.schema.field(name).type}, 1000)
    return [value for chunk in chunks for value in chunk.table.column(name).to_pylist()]


def feature_names(path: Any, **options: Any) -> list[str]:
    data = TabularData(path, "y", **options)
    data.setup("fit")
    return data.feature_names


@pytest.fixture
def groups() -> list[str]:
    for k, group in enumerate("uvw"):
        write(f"run=3/h/g={group}/p.parquet", x=[1.0, 2.0, 4.0], y=[k + 1.0, k + 2.0, k + 4.0])
    Path("run=3/h/g=empty").mkdir()
    Path("run=3/h/_SUCCESS").write_text("")
    return [group for group in "uvw" for _ in range(3)]


@pytest.mark.parametrize(
    "names",
    [
        ["h"],
        ["./h/"],
        ["h/*/*.parquet"],
        ["h/*"],
        ["h/g=*"],
        ["h/**/*.parquet"],
        ["**/p.parquet"],
        ["h/g=[uv]", "h/g=w/p.parquet"],
        ["h/g=u", "h/g=v", "h/g=w"],
    ],
    ids=str,
)
@pytest.mark.parametrize("place", ["", "absolute", "file://"])
def test_folders_give_their_column_however_they_are_named(
    groups: list[str], names: list[str], place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("run=3")
    prefix = {"": "", "absolute": f"{Path.cwd()}/", "file://": f"file://{Path.cwd()}/"}[place]
    paths = [prefix + name for name in names]
    assert column(paths, "g") == groups
    assert feature_names(paths) == ["x", "g[v]", "g[w]"]  # not run, which all rows share


def test_a_folder_that_all_rows_share_is_a_column_for_those_who_name_it(groups: list[str]) -> None:
    for path in ("run=3/h/g=v", "run=3/h/g=v/p.parquet", str(Path("run=3/h/g=v").resolve())):
        assert column(path, "g") == ["v"] * 3
        assert column(path, "run") == [3] * 3
        assert feature_names(path) == ["x"]
        assert feature_names(path, features=["x", "run"]) == ["x", "run"]
        assert feature_names(path, categorical="g") == ["x", "g[v]"]
    assert feature_names(["run=3/h/g=u", "run=3/h/g=v/p.parquet"]) == ["x", "g[v]"]


def test_a_model_of_all_partitions_predicts_one_of_them(
    groups: list[str], trainer: Callable[..., Trainer]
) -> None:
    for k, month in enumerate(("01", "02", "10", "11")):
        for part in (1, 2):
            write(f"m/month={month}/{part}.csv", x=[1.5 * part, 5.0], y=[k + 1.5 * part, k + 5.0])
    for path, one, categorical in (("run=3/h", "g=v", None), ("m", "month=10", "month")):
        model, data = LeastSquares(), TabularData(path, "y", categorical=categorical)
        trainer(max_epochs=1).fit(model, data)
        design = data.hparams["design"]
        rows = TabularData(f"{path}/{one}", "y", categorical=categorical, design=design)
        predicted = torch.cat(trainer().predict(model, rows)).flatten().tolist()
        assert predicted == pytest.approx(column(f"{path}/{one}", "y"))


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        (["01", "02", "10"], [1, 2, 10]),
        (["0.5", "1"], [0.5, 1.0]),
        (["-1", "__HIVE_DEFAULT_PARTITION__"], [-1, None]),
        (["1", "x"], ["1", "x"]),
        (["2024-01-31"], [pd.Timestamp("2024-01-31").date()]),
        (["2024-13-31"], ["2024-13-31"]),
        (["a%2Fb%20%25", "é"], ["a/b %", "é"]),
    ],
)
def test_all_values_of_a_key_decide_its_type(texts: list[str], values: list[Any]) -> None:
    for text in texts:
        write(f"t/my%20key={text}/_z=1/p.csv", x=[1.5])
    assert column("t", "my key") == values
    assert column("t", "_z") == [1] * len(texts)
    assert column(f"{Path('t').resolve().as_uri()}/my%20key=*", "my key") == values
    assert column(f"file://{Path('t').resolve()}/my%20key={texts[0]}", "_z") == [1]


@pytest.mark.parametrize(
    "key",
    [
        pl.Series([1997, 1998], dtype=pl.Int32),
        pl.Series(["a b/c%", "é"]),
        pl.Series(["p", "q"], dtype=pl.Categorical),
        pl.Series([True, False]),
        pl.Series([0.5, float("nan")]),
        pl.Series([None, 1]),
        pl.Series(["2024-01-31", "2024-02-01"]).str.to_date(),
        pl.Series(["2024-01-31 01:02:03.5", None]).str.to_datetime(),
        pl.Series(["1.50", "2"]).cast(pl.Decimal(10, 2)),
    ],
    ids=lambda key: str(key.dtype),
)
def test_a_key_that_is_a_column_too_is_accepted_where_it_agrees(key: pl.Series) -> None:
    pl.DataFrame({"k": key, "x": [1.0, 2.0]}).write_parquet("keys", partition_by="k")
    expected = [
        v
        for name in sorted(Path("keys").glob("*/*"))
        for v in pq.ParquetFile(name).read()["k"].to_pylist()
    ]
    assert repr(column("keys", "k")) == repr(expected)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_key_that_differs_from_its_column_is_refused(kind: str) -> None:
    file = f"b/year=1997/p.{kind}"
    write(file, year=[1997, 1998, 1997], x=[1.0, 2.0, 4.0], y=[1.0, 2.0, 3.0])
    expected = rf"path: {file} has 1998(\.0)? in column 'year', row 2, but lies in .* year=1997; "
    for path in ("b", "b/*", "b/year=1997"):
        with pytest.raises(InputError, match=expected + ".* exclude"):
            feature_names(path)
        assert feature_names(path, exclude="year") == ["x"]
    write(file, year=[1997], x=[1.0], y=[1.0])
    write(f"b/year=1998/p.{kind}", x=[2.0], y=[1.0])
    assert column("b", "year") == [1997, 1998]
    write(f"b/year=z/p.{kind}", x=[2.0], y=[1.0])
    with pytest.raises(InputError, match=r"p\.\w+ lies in a folder year=z, and column 'year'"):
        TableDataset(["b"])


# Object stores


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with pytest.MonkeyPatch.context() as patch, serve() as server:
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setattr(discovery, "_RETRIES", 2)
        table = pa.table({"x": [1.0, 2.0, 4.0], "y": [1.0, 2.0, 3.0]})
        for group in ("u", "New%20York"):
            buffer = pa.BufferOutputStream()
            pq.write_table(table, buffer)
            server.objects[f"h/g={group}/p.parquet"] = buffer.getvalue().to_pybytes()
        rows = "".join(f"{k}.5,{k % 7}\n" for k in range(20_000))
        for k in (1, 2):
            server.objects[f"sales-{k}.csv"] = f"x,y\n{rows}".encode()
        server.objects["a b#é.csv"] = b"x,y\n1.5,2\n"
        yield server


def test_object_stores_are_read_as_folders_are(server: S3Server) -> None:
    for name in ("h", "h/*/*.parquet", "h/g=*"):
        assert column(server.address(name), "g") == ["New York"] * 3 + ["u"] * 3
    assert column(server.address("h/g=New%20York"), "g") == ["New York"] * 3
    expected = [k + 0.5 for k in range(20_000)]
    for name in ("sales-1.csv", "sales-?.csv", "sales-[12].csv"):
        assert column(server.address(name), "x") == expected * (1 if name[6] == "1" else 2)
    assert column(server.address("a b#é.csv"), "x") == [1.5]


def test_a_lost_connection_is_made_again_or_refused(
    server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.cuts = 1
    assert len(column(server.address("sales-1.csv"), "x")) == 20_000
    assert server.cuts == 0
    server.cuts = 10**9
    monkeypatch.setattr(discovery, "_RETRIES", 1)
    try:
        with pytest.raises(InputError, match=r"the connection to its store failed .*; start again"):
            column(server.address("sales-1.csv"), "x")
    finally:
        server.cuts = 0


def test_what_a_store_does_not_give_is_named_without_the_secret(server: S3Server) -> None:
    server.forbidden.add("sales-2.csv")
    store = "s3://key:qwerty@bucket"
    for name, reason in (
        (server.address("absent.csv", store), "there is no file"),
        (server.address("absent-*.csv", store), "matches no file"),
        (server.address("x.csv", "s3://key:qwerty@other"), "there is no file"),
        (server.address("sales-2.csv", store), "cannot be opened .*ACCESS_DENIED"),
        (server.address("sales-*.csv", store), "(not yours to read|ACCESS_DENIED)"),
        ("s3://key:qwe/rty@bucket/x.csv", "cannot be opened"),
        ("https://host/x.csv", r"cannot be opened \(no such store"),
    ):
        with pytest.raises(InputError, match=reason) as error:
            TableDataset([name])
        assert "rty" not in str(error.value)
        assert "\n" not in str(error.value)
    server.forbidden.clear()
