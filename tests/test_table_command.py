"""Tables through the `linreg` command: what is refused, in one line, and what is written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
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
from linreg_lightning.tables.prediction_file import PredictionFile, merge_parts

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
    "empty": (lambda: text(""), "bad.csv is empty; it needs a header and rows"),
    "header only": (lambda: text("a,price\n"), "has a header but no rows"),
    "no rows in Parquet": (lambda: write(mixed()[:0], "bad.parquet"), "a header but no rows"),
    "ragged": (lambda: text("a,price\n1,2\n3\n"), "has 1 values in row 2 where its header has 2"),
    "duplicate names": (lambda: text("a,a,price\n1,2,3\n"), "has two columns named 'a'"),
    "latin1": (lambda: text("a,price\né,2\nb,1".encode("latin1")), "is not UTF-8 text, in row 1"),
    "utf16": (lambda: text("a,price\n1,2\n".encode("utf16")), "is not UTF-8 text; save it as"),
    "truncated": (truncated, "bad.parquet cannot be read as Parquet: it is damaged, cut off"),
    "damaged": (damaged, "bad.parquet cannot be read as Parquet: it is damaged, cut off"),
    "a column less": (
        lambda: folder(mixed(), mixed().drop(columns="area")),
        "a.parquet has a column 'area', and folder/b.parquet has none",
    ),
    "another type": (
        lambda: folder(mixed(), mixed().assign(area="x")),
        "column 'area' is double in folder/a.parquet and",
    ),
    "another format": (
        lambda: folder(mixed(), mixed(), "a.parquet b.csv"),
        "folder/a.parquet is Parquet and folder/b.csv is CSV",
    ),
    "text target": (
        lambda: write(mixed().assign(price="much"), "bad.csv"),
        "has 'much' in column 'price', row 1, which is no number",
    ),
    "text target in Parquet": (
        lambda: write(mixed().assign(price="much"), "bad.parquet"),
        "target: column 'price' of bad.parquet holds text, and numbers are needed",
    ),
    "all missing": (
        lambda: write(mixed().assign(area=np.nan), "bad.csv"),
        "column 'area': row 1 and the 299 rows after it hold no value; leave it out",
    ),
    "all text missing": (
        lambda: write(mixed().assign(city=None).astype({"city": "string"}), "bad.parquet"),
        "column 'city': it holds no value in any row to train on; leave it out",
    ),
    "thousands of levels": (
        lambda: write(numbered(mixed(2100), "area"), "bad.csv"),
        "column 'area': it has more than 1000 levels, such as 'n",
    ),
    "a level in each row": (
        lambda: write(numbered(mixed(), "area"), "bad.csv"),
        "column 'area': it has another level in each of the 300 rows",
    ),
    "times": (
        lambda: write(mixed().assign(area=pd.Timestamp("2026-01-01")), "bad.csv"),
        "turn it into a number, such as days since a date",
    ),
    "numbers and text": (
        lambda: text("a,price\n" + "1,2\n" * 9 + "1 m,3\n"),
        "has '1 m' in column 'a', row 10, which is no number; mend it",
    ),
    "decimal commas": (
        lambda: text('a;price\n"1,5";2\n'),
        "it has one column, with ; or tabs in it: type what separates",
    ),
    "no folder": (lambda: "nowhere/*.csv", "nowhere/*.csv matches no file"),
    "no such address": (lambda: "nonsense://bucket/file", "cannot be opened"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_refused_in_one_line(refused: Refused, case: str) -> None:
    make, message = BAD[case]
    assert message in refused(f"{FIT} {make()}")
    assert not list(Path().glob("**/coefficients.json*"))


def test_a_file_that_may_not_be_read(houses: Path) -> None:
    houses.chmod(0)
    Path().chmod(0o777)
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)  # root may read everything
    try:
        with pytest.raises(InputError, match=r"houses.csv is not yours to read; change its"):
            TabularData(str(houses), "price").setup("fit")
    finally:
        os.seteuid(before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--data.exclude nothing", "exclude: t.csv has no column 'nothing'"),
        ("--data.features area --data.exclude area", "exclude: 'area' is one of the features"),
        ("--data.categorical price", "categorical: 'price' is not one of the features"),
        ("--data.delimiter ;;", "delimiter: ';;' was given; type one character"),
        ("--data.decimal ,", "decimal: ',' was given, which separates the columns too"),
        ("--data.missing ignore", "missing"),
        ("--data.weight 1e3", "weight: 1000.0 was given, a number to YAML; name it otherwise"),
        ("--data.seed null", "--data.seed: null was given; leave it out, or type a value"),
        ("--data.design {}", "design: {} was given; it comes with a checkpoint"),
        ("--model.ridge null", "--model.ridge: null was given"),
        ("--data.val_path none.csv", "there is no file none.csv"),
    ],
)
def test_what_cannot_be_meant_is_refused(refused: Refused, options: str, message: str) -> None:
    write(mixed(50), "t.csv")
    assert message in refused(f"{FIT} t.csv {options}")


# Predictions


@pytest.fixture
def checkpoint(command: Command) -> dict[str, float]:
    """A fit of the mixed table in the logs folder; its coefficients."""
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
def test_predictions_stand_beside_the_keys(
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
    assert not list(Path().glob("**/*.part*"))


def test_a_kept_target_keeps_its_name(command: Command, checkpoint: dict[str, float]) -> None:
    command("predict --ckpt_path last --keep price --intervals true")
    found = pd.read_csv(predictions(), engine="pyarrow")
    assert list(found)[:3] == ["price", "price_predicted", "price_std_error"]
    assert list(found.price) == list(mixed().price)
    assert list(found.price_predicted) == pytest.approx(expected(checkpoint, mixed()), rel=1e-12)


def test_what_the_checkpoint_has_not_learned(command: Command, refused: Refused) -> None:
    command(f"{FIT} {write(mixed(), 'train.parquet')}")
    new = mixed(9, seed=1)
    again = "predict --ckpt_path last --data.path"
    write(new.drop(columns="city"), "less.csv")
    assert "features: less.csv has no column 'city'" in refused(f"{again} less.csv")
    write(new.assign(area="x"), "text.parquet")
    message = "features: column 'area' of text.parquet holds text, and numbers are needed"
    assert message in refused(f"{again} text.parquet")
    write(new.assign(area="x"), "text.csv")
    assert "has 'x' in column 'area', row 1" in refused(f"{again} text.csv")
    assert "has 'x' in column 'area', row 1" in refused(f"{again} text.csv --keep area")
    write(new.assign(city=["Oslo"] * 8 + ["Bonn"]), "bonn.csv")
    message = "column 'city': row 9 holds 'Bonn', which no row that was trained on had"
    assert message in refused(f"{again} bonn.csv")
    command(f"{again} bonn.csv --data.unseen zero")
    assert "keep: bonn.csv has no column 'idd'" in refused(f"{again} bonn.csv --keep idd")
    assert "--data.features: " in refused(f"{again} bonn.csv --data.features area")
    assert not list(Path().glob("**/*.part*"))


def test_added_rows_have_the_levels_of_the_first(command: Command, refused: Refused) -> None:
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


def test_only_tables_have_columns_to_keep(command: Command, refused: Refused) -> None:
    command("fit --trainer.max_epochs 1")
    assert "keep: SyntheticData has no columns to keep" in refused(
        "predict --ckpt_path last --keep id"
    )


def test_a_full_disk_is_said_and_leaves_nothing(
    refused: Refused, checkpoint: dict[str, float]
) -> None:
    Path("disk").mkdir()
    for part in ("predictions.csv.part0", "predictions.parquet.part0"):
        Path("disk", part).symlink_to("/dev/full")
    (ckpt,) = Path().glob("logs/**/*.ckpt")
    line = f"predict --ckpt_path {ckpt} --trainer.logger false --trainer.default_root_dir disk"
    for format in ("csv", "parquet"):
        message = refused(f"{line} --format {format}")
        assert f"predictions.{format} cannot be written (" in message
        assert "make room" in message
    assert not list(Path("disk").glob("predictions*"))


def test_parts_of_a_run_that_was_killed_are_not_taken_for_this_ones() -> None:
    path = Path("predictions.csv")
    for rank in (0, 1):
        stale = PredictionFile(path, rank)
        stale.write(pyarrow.table({"y": [9.0] * 70_000}))
    assert not path.exists()
    files = [PredictionFile(path, rank) for rank in (0, 1)]
    files[0].write(pyarrow.table({"y": [1.0]}))
    for file in files:
        file.close()
    assert merge_parts(path, 2)
    assert path.read_text() == "y\n1\n"
    assert [file.name for file in Path().iterdir()] == ["predictions.csv"]


def test_two_processes_do_what_one_does(command: Command) -> None:
    frame = mixed(200)
    frame["rooms"] = frame["rooms"].astype(float)
    frame.loc[[5, 150], "rooms"] = np.nan
    write(frame, "t.csv")
    line = f"{FIT} t.csv --data.missing drop --data.val_fraction 0.2 --model.accuracy exact"
    one = command(f"{line} --trainer.default_root_dir one")
    write(frame.assign(id=range(200)), "new.csv")
    again = "predict --ckpt_path last --data.path new.csv --keep id --trainer.default_root_dir one"
    command(again)
    alone = predictions().read_text()
    assert alone.splitlines()[151] == "150,"
    two = "--trainer.devices 2 --trainer.accelerator cpu --trainer.enable_progress_bar false"
    # One script does both, so that two processes have to be started, and to import, once.
    lines = (
        f"{line} {two} --data.stream true --data.batch_size 16 --figures false "
        "--trainer.default_root_dir two",
        f"{again} {two}",
    )
    Path("both.py").write_text(
        f"from linreg_lightning import cli\nfor line in {lines}:\n    cli.main(line.split())\n"
    )
    process = [sys.executable, "both.py"]
    done = subprocess.run(process, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for number in ("1", "2"):
        assert f"Process {number}: 1 of 100 rows were given no prediction" in done.stderr
    assert "2 of 160 rows were left out" in done.stderr
    found = json.loads(Path("two/version_0/coefficients.json").read_text())
    assert found["coefficients"] == one["coefficients"]
    assert found["rows"] == one["rows"]
    assert predictions().read_text() == alone
    assert predictions().parent.name != "version_1"
