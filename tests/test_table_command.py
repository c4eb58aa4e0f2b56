"""Tables through the `linreg` command: errors in one line, and prediction files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
import pytest
from conftest import estimates
from test_tables import mixed, write

from linreg_lightning import InputError, TabularData
from linreg_lightning.atomic_file import UnfinishedFile
from linreg_lightning.tables.prediction_file import PredictionFile

Command = Callable[..., dict[str, Any]]
Refused = Callable[..., str]

FIT = "fit --model LeastSquares --data TabularData --data.target price --data.path"


def truncated() -> str:
    write(mixed(), "whole.parquet")
    Path("bad.parquet").write_bytes(Path("whole.parquet").read_bytes()[:-300])
    return "bad.parquet"


def damaged() -> str:
    content = bytearray(Path(write(mixed(), "whole.parquet")).read_bytes())
    content[40:900] = bytes(860)
    Path("bad.parquet").write_bytes(content)
    return "bad.parquet"


def folder(first: pd.DataFrame, second: pd.DataFrame, names: str = "a.parquet b.parquet") -> str:
    Path("folder").mkdir()
    for frame, name in zip((first, second), names.split(), strict=True):
        write(frame, f"folder/{name}")
    return "folder"


def text(content: str | bytes) -> str:
    Path("bad.csv").write_bytes(content.encode() if isinstance(content, str) else content)
    return "bad.csv"


def numbered(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    return frame.assign(**{column: [f"n{k}" for k in range(len(frame))]})


BAD: dict[str, tuple[Callable[[], str], str]] = {
    "empty": (lambda: text(""), "bad.csv & empty"),
    "header only": (lambda: text("a,price\n"), "bad.csv & rows"),
    "no rows in Parquet": (lambda: write(mixed()[:0], "bad.parquet"), "bad.parquet & rows"),
    "ragged": (lambda: text("a,price\n1,2\n3\n"), "bad.csv & row 2"),
    "duplicate names": (lambda: text("a,a,price\n1,2,3\n"), "bad.csv & 'a'"),
    "latin1": (lambda: text("a,price\né,2\nb,1".encode("latin1")), "bad.csv & UTF-8 & row 1"),
    "utf16": (lambda: text("a,price\n1,2\n".encode("utf16")), "bad.csv & UTF-8"),
    "truncated": (truncated, "bad.parquet & damaged"),
    "damaged": (damaged, "bad.parquet & damaged"),
    "a missing column": (
        lambda: folder(mixed(), mixed().drop(columns="area")),
        "a.parquet & 'area' & folder/b.parquet",
    ),
    "another type": (
        lambda: folder(mixed(), mixed().assign(area="x")),
        "'area' & double & folder/a.parquet",
    ),
    "another format": (
        lambda: folder(mixed(), mixed(), "a.parquet b.csv"),
        "folder/a.parquet & folder/b.csv",
    ),
    "text target": (
        lambda: write(mixed().assign(price="much"), "bad.csv"),
        "bad.csv & 'much' & 'price' & row 1",
    ),
    "text target in Parquet": (
        lambda: write(mixed().assign(price="much"), "bad.parquet"),
        "target: & 'price' & bad.parquet & text",
    ),
    "all missing": (
        lambda: write(mixed().assign(area=np.nan), "bad.csv"),
        "'area' & row 1",
    ),
    "all text missing": (
        lambda: write(mixed().assign(city=None).astype({"city": "string"}), "bad.parquet"),
        "'city'",
    ),
    "thousands of levels": (
        lambda: write(numbered(mixed(2100), "area"), "bad.csv"),
        "'area' & 1000",
    ),
    "a level in each row": (
        lambda: write(numbered(mixed(), "area"), "bad.csv"),
        "'area' & 300",
    ),
    "times": (
        lambda: write(mixed().assign(area=pd.Timestamp("2026-01-01")), "bad.csv"),
        "dates: & 'area' & parts & days & exclude & categorical",
    ),
    "numbers and text": (
        lambda: text("a,price\n" + "1,2\n" * 9 + "1 m,3\n"),
        "bad.csv & '1 m' & 'a' & row 10",
    ),
    "decimal commas": (
        lambda: text('a;price\n"1,5";2\n'),
        "columns by ';' & delimiter ';'",
    ),
    "no folder": (lambda: "nowhere/*.csv", "nowhere/*.csv"),
    "no such address": (lambda: "nonsense://bucket/file", "nonsense://bucket/file"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_refused_in_one_line(refused: Refused, case: str) -> None:
    make, facts = BAD[case]
    message = refused(f"{FIT} {make()}")
    for fact in facts.split(" & "):
        assert fact in message
    assert not list(Path().glob("**/coefficients.json*"))


def test_a_file_without_read_permission_is_refused(houses: Path) -> None:
    houses.chmod(0)
    Path().chmod(0o777)
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)  # root may read everything
    try:
        with pytest.raises(InputError, match=r"houses\.csv"):
            TabularData(str(houses), "price").setup("fit")
    finally:
        os.seteuid(before)


@pytest.mark.parametrize(
    ("options", "facts"),
    [
        ("--data.exclude nothing", "--data.exclude: & t.csv & 'nothing'"),
        ("--data.features area --data.exclude area", "--data.exclude: & 'area'"),
        ("--data.categorical price", "--data.categorical: & 'price'"),
        ("--data.delimiter ;;", "--data.delimiter: & ';;'"),
        ("--data.decimal ,", "t.csv & 'area' & type decimal '.'"),
        ("--data.thousands ab", "--data.thousands: 'ab' was given; type one character"),
        ("--data.thousands .", "--data.thousands: '.' was given & type decimal ','"),
        ("--data.percent true", "t.csv has no number with % & percent false"),
        ("--data.missing ignore", "--data.missing: ignore was given; type error, drop or mean"),
        ("--data.weight 1e3", "--data.weight: t.csv has no column '1e3'"),
        ("--data.seed null", "--data.seed: null was given; leave it out, or type a value"),
        ("--data.design {}", "--data.design: & {}"),
        ("--model.ridge null", "--model.ridge: null was given"),
        ("--data.val_path none.csv", "none.csv"),
    ],
)
def test_bad_arguments_of_data_are_refused(refused: Refused, options: str, facts: str) -> None:
    write(mixed(50), "t.csv")
    message = refused(f"{FIT} t.csv {options}")
    for fact in facts.split(" & "):
        assert fact in message


# Predictions


@pytest.fixture
def checkpoint(command: Command) -> dict[str, float]:
    """Fit the mixed table, keep the checkpoint in the logs folder, and return the coefficients."""
    return estimates(command(f"{FIT} {write(mixed(), 'train.csv')} --data.val_fraction 0.2"))


def expected(coefficients: dict[str, float], frame: pd.DataFrame) -> list[float]:
    value = coefficients["intercept"] + sum(
        coefficients[name] * frame[name].astype(float) for name in ("area", "new", "rooms")
    )
    for column in ("city", "kind"):
        for level in frame[column].unique():
            value += coefficients.get(f"{column}[{level}]", 0.0) * (frame[column] == level)
    return list(value)


def predictions(format: str = "csv") -> Path:
    files = Path().glob(f"**/predictions.{format}")
    return max(files, key=lambda file: file.stat().st_mtime_ns)


@pytest.mark.parametrize("file", ["new.csv", "new.parquet", "new.arrow"])
@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_predictions_stand_beside_the_kept_columns(
    command: Command, checkpoint: dict[str, float], file: str, format: str
) -> None:
    frame = mixed(70, seed=3).drop(columns="price")
    frame["id"] = [f"0{k}" if k % 2 else f'a,"{k}"' for k in range(70)]
    write(frame[["id", "rooms", "kind", "city", "new", "area"]], file)
    command(
        f"predict --ckpt_path last --data.path {file} --keep [id,rooms] --format {format}",
        "--data.batch_size 16",
    )
    path = predictions(format)
    types = {"id": str, "rooms": int}
    found = pd.read_csv(path, dtype=types) if format == "csv" else pd.read_parquet(path)
    assert list(found) == ["id", "rooms", "price"]
    assert list(found.id) == list(frame.id)
    assert list(found.rooms.astype(int)) == list(frame.rooms)
    assert list(found.price) == pytest.approx(expected(checkpoint, frame), rel=1e-12)
    assert not list(Path().glob("**/*-part*"))


def test_a_kept_target_keeps_its_name(command: Command, checkpoint: dict[str, float]) -> None:
    command("predict --ckpt_path last --keep price --intervals true")
    found = pd.read_csv(predictions(), engine="pyarrow")
    assert list(found)[:3] == ["price", "price_predicted", "price_std_error"]
    assert list(found.price) == list(mixed().price)
    assert list(found.price_predicted) == pytest.approx(expected(checkpoint, mixed()), rel=1e-12)


def test_new_tables_with_wrong_columns_or_unknown_levels_are_refused(
    command: Command, refused: Refused
) -> None:
    command(f"{FIT} {write(mixed(), 'train.parquet')}")
    new = mixed(9, seed=1)
    again = "predict --ckpt_path last --data.path"
    write(new.drop(columns="city"), "less.csv")
    write(new.assign(area="x"), "text.parquet")
    write(new.assign(area="x"), "text.csv")
    write(new.assign(city=["Oslo"] * 8 + ["Bonn"]), "bonn.csv")
    for options, facts in (
        ("less.csv", ("less.csv", "'city'")),
        ("text.parquet", ("text.parquet", "'area'", "text")),
        ("text.csv", ("text.csv", "'x'", "'area'", "row 1")),
        ("text.csv --keep area", ("text.csv", "'x'", "'area'", "row 1")),
        ("bonn.csv", ("'city'", "row 9", "'Bonn'")),
        ("bonn.csv --keep idd", ("keep: ", "bonn.csv", "'idd'")),
        ("bonn.csv --data.features area", ("--data.features: ",)),
    ):
        message = refused(f"{again} {options}")
        for fact in facts:
            assert fact in message
    command(f"{again} bonn.csv --data.unseen zero")
    assert not list(Path().glob("**/*-part*"))


def test_added_rows_use_the_levels_of_the_first_fit(command: Command, refused: Refused) -> None:
    frame = mixed()
    command(f"{FIT} {write(frame[:200], 'a.csv')} --model.accuracy exact")
    write(frame[200:][frame.city[200:] != "Oslo"], "b.parquet")
    found = command("fit --ckpt_path last --data.path b.parquet")
    assert found["rows"] == 200 + (frame.city[200:] != "Oslo").sum()
    command(f"{FIT} {write(frame[:200], 'c.csv')} --model.accuracy exact")
    write(frame[200:], "d.csv")
    found = command("fit --ckpt_path last --data.path d.csv")
    write(frame, "all.csv")
    assert found["coefficients"] == command(f"{FIT} all.csv --model.accuracy exact")["coefficients"]
    assert "holds the statistics of these rows already" in refused(
        "fit --ckpt_path last --data.path ./all.csv --data.stream true"
    )


def test_keep_is_refused_for_data_that_are_not_tables(command: Command, refused: Refused) -> None:
    command("fit --trainer.max_epochs 1")
    message = refused("predict --ckpt_path last --keep id")
    assert "keep: " in message
    assert "SyntheticData" in message


def test_a_full_disk_is_an_error_and_leaves_no_file(
    refused: Refused, checkpoint: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = UnfinishedFile.__init__

    def begin_on_full_disk(self: UnfinishedFile, path: Path, *args: Any, **kwargs: Any) -> None:
        begin(self, path, *args, **kwargs)
        if path.name.startswith("predictions"):
            self.path.unlink()
            self.path.symlink_to("/dev/full")

    monkeypatch.setattr(UnfinishedFile, "__init__", begin_on_full_disk)
    (ckpt,) = Path().glob("logs/**/*.ckpt")
    line = f"predict --ckpt_path {ckpt} --trainer.logger false --trainer.default_root_dir disk"
    for format in ("csv", "parquet"):
        message = refused(f"{line} --format {format}")
        assert f"predictions.{format}" in message
        assert "No space left" in message
    assert not list(Path("disk").glob("predictions*"))


def test_parts_of_a_killed_run_are_ignored() -> None:
    path = Path("predictions.csv")
    for rank in (0, 1):
        path.with_name(f"predictions.csv.linreg-part{rank}").write_text("y\n9\n")
    files = [PredictionFile(path, rank) for rank in (0, 1)]
    files[0].write(pyarrow.table({"y": [1.0]}))
    for file in files:
        file.close()
    assert files[0].merge(2)
    for file in files:
        file.discard()
    assert path.read_text() == "y\n1\n"
    assert [file.name for file in Path().iterdir()] == ["predictions.csv"]
