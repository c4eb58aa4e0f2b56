"""Tables that are damaged, or change while they are read; `tests/faults` has the long form."""

from __future__ import annotations

import base64
import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import damage
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lightning.pytorch import Callback, Trainer
from pyarrow import ipc

from linreg_lightning import InputError, LinearRegression, TabularData
from linreg_lightning.tables.dataset import TableDataset

MakeTrainer = Callable[..., Trainer]


def read_all(path: str, **options: Any) -> list[dict[str, Any]]:
    dataset = TableDataset([path])
    types = dict(zip(dataset.schema.names, dataset.schema.types, strict=True))
    return [row for chunk in dataset.read(types, 50, **options) for row in chunk.table.to_pylist()]


def write_arrow(table: pa.Table, name: str, chunk: int = 50, **options: Any) -> str:
    writer = ipc.new_stream if name.endswith(".arrows") else ipc.new_file
    with writer(name, table.schema, options=ipc.IpcWriteOptions(**options)) as file:
        file.write_table(table, max_chunksize=chunk)
    return name


def numbers(rows: int = 120) -> pa.Table:
    return pa.table({name: values for name, values in damage.columns(rows).items() if name != "c"})


# Damage


@pytest.mark.filterwarnings("ignore")
def test_damaged_tables_are_refused_or_read_right(tmp_path: Path) -> None:
    counts = damage.campaign(8, 0, tmp_path, damage.attempt)
    assert set(counts) <= {"refused", "survived", "other values"}


@pytest.mark.parametrize("kind", ["arrow", "arrows"])
def test_positions_outside_of_a_damaged_batch_are_refused(kind: str) -> None:
    text = ["Oslo", "Paris", "Rome"] * 40
    name = write_arrow(pa.table({"c": text, "y": range(120)}), f"t.{kind}", chunk=120)
    content = Path(name).read_bytes()
    positions = pa.array(text).buffers()[1].to_pybytes()[:484]
    damaged = positions[:40] + b"\xff\xff\xff\x7f" + positions[44:]
    assert content.count(positions) == 1
    Path(name).write_bytes(content.replace(positions, damaged))
    with pytest.raises(InputError, match=f"path: {name} cannot be read as Arrow.*get it again"):
        read_all(name)


def test_text_of_a_parquet_file_that_is_not_utf8_is_refused() -> None:
    pq.write_table(pa.table({"c": ["Oslo", "Rome"], "y": [1, 2]}), "t.parquet", compression="none")
    content = Path("t.parquet").read_bytes()
    Path("t.parquet").write_bytes(content.replace(b"Oslo", b"\xfflso"))
    with pytest.raises(InputError, match=r"t.parquet cannot be read as Parquet.*UTF"):
        read_all("t.parquet")


def test_a_wrong_checksum_of_a_parquet_page_is_refused() -> None:
    options = {"compression": "none", "use_dictionary": False, "write_page_checksum": True}
    pq.write_table(numbers(), "t.parquet", **options)
    content = bytearray(Path("t.parquet").read_bytes())
    content[500] ^= 1
    Path("t.parquet").write_bytes(content)
    with pytest.raises(InputError, match=r"t.parquet cannot be read as Parquet.*(CRC|corrupt)"):
        read_all("t.parquet")


def test_a_footer_that_lists_fewer_batches_is_refused() -> None:
    name = write_arrow(numbers(), "t.arrow")
    content = bytearray(Path(name).read_bytes())
    length = int.from_bytes(content[-10:-6], "little")
    footer = bytes(content[-10 - length : -10])
    # The list of batches begins with their number.
    place = footer.index((3).to_bytes(4, "little"))
    content[len(content) - 10 - length + place] = 2
    Path(name).write_bytes(content)
    with ipc.open_file(name) as file:
        assert file.read_all().num_rows == 100
    with pytest.raises(InputError, match=r"t.arrow has a footer that does not fit its rows"):
        read_all(name)


@pytest.mark.parametrize("end", ['2.5,"Os', '2.5,"Os""', '2.5,"'])
def test_a_file_that_ends_within_a_quoted_value_is_refused(end: str) -> None:
    text = 'a,c\n1.5,"Oslo"\n' + end
    Path("t.csv").write_text(text)
    with pytest.raises(InputError, match=r"t.csv ends within a quoted value, in the row .*'2.5,"):
        read_all("t.csv")
    Path("t.csv").write_text(text + '"')
    assert len(read_all("t.csv")) == 2


def test_a_quote_that_nothing_closes_is_refused_in_a_long_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("linreg_lightning.tables.csv._SECTION_BYTES", 64)
    monkeypatch.setattr("linreg_lightning.tables.csv._THREAD_BYTES", 32)
    Path("t.csv").write_text('a,y\n1,2\n"3,4\n' + "5,6\n" * 100)
    with pytest.raises(InputError, match=r"ends within a quoted value, in the row .*\"3,4"):
        read_all("t.csv")


def test_line_breaks_in_quotes_are_kept_where_threads_share_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("linreg_lightning.tables.csv._THREAD_BYTES", 32)
    values = ["k" * k + "\r\n" for k in range(25)]
    Path("t.csv").write_bytes(("c,y\n" + "".join(f'"{each}",1\n' for each in values)).encode())
    assert [row["c"] for row in read_all("t.csv")] == values


@pytest.mark.parametrize("value", ["5\u200b", "\u0665", '"\r5"'])
def test_a_column_of_numbers_does_not_become_categories_by_one_value(value: str) -> None:
    rows = "".join(f"{k % 7},{k}\n" for k in range(40))
    Path("t.csv").write_text(f"a,y\n{rows}{value},1\n", encoding="utf-8", newline="")
    with pytest.raises(InputError, match=r"in column 'a', row 41, which is no number; mend it"):
        TabularData("t.csv", "y").setup("fit")


# Arrow streams


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
@pytest.mark.parametrize("text", [pa.string(), pa.string_view(), pa.dictionary("int8", "string")])
def test_an_arrow_stream_has_the_rows_of_its_table(compression: str, text: pa.DataType) -> None:
    c = pa.array(["Oslo", "Paris", None, "Rome"] * 30)
    c = c.dictionary_encode() if pa.types.is_dictionary(text) else c.cast(text)
    table = numbers().append_column("c", c)
    name = write_arrow(table, "t.arrows", compression=compression)
    assert read_all(name) == table.to_pylist()
    assert TableDataset([name]).count_rows() == 120
    assert read_all(name, start=45, stop=110) == table.to_pylist()[45:110]


def test_a_stream_without_its_end_or_with_more_after_it_is_refused() -> None:
    content = Path(write_arrow(numbers(), "t.arrows")).read_bytes()
    Path("t.arrows").write_bytes(content[:-8])
    with pytest.raises(InputError, match=r"path: t.arrows ends within its rows; let it be written"):
        read_all("t.arrows")
    Path("t.arrows").write_bytes(content + content)
    with pytest.raises(InputError, match=r"path: t.arrows goes on after the end of its rows"):
        read_all("t.arrows")


# Types that cannot be used


@pytest.mark.parametrize("kind", ["arrow", "arrows", "parquet"])
def test_integers_of_128_bits_are_not_called_damage(kind: str) -> None:
    table = pa.table({"y": [1.5], "wide": [1], "c": ["u"]})
    # A schema of these as Polars writes it differs in the width alone, which is once in this one.
    narrow, wide = ((64).to_bytes(4, "little"), (128).to_bytes(4, "little"))
    if kind == "parquet":
        pq.write_table(table, "t.parquet")
        stored = pq.read_metadata("t.parquet").metadata[b"ARROW:schema"]
        narrow, wide = stored, base64.b64encode(base64.b64decode(stored).replace(narrow, wide))
    else:
        write_arrow(table, f"t.{kind}")
    content = Path(f"t.{kind}").read_bytes()
    Path(f"t.{kind}").write_bytes(content.replace(narrow, wide))
    message = (
        f"t.{kind} has a type or compression that cannot be read .*more than 64 bits.*; write it"
    )
    with pytest.raises(InputError, match=message):
        TableDataset([f"t.{kind}"])


OTHER: dict[str, pa.Array] = {
    "list": pa.array([[1], [2], [3]]),
    "struct": pa.array([{"u": 1}] * 3),
    "map": pa.array([[("k", 1)]] * 3, pa.map_(pa.string(), pa.int64())),
    "binary": pa.array([b"a"] * 3),
    "month_day_nano_interval": pa.array([pa.MonthDayNano([1, 2, 3])] * 3),
    "run_end_encoded": pa.RunEndEncodedArray.from_arrays(pa.array([3], pa.int32()), [1.0]),
}


@pytest.mark.parametrize("dtype", OTHER)
@pytest.mark.parametrize("argument", ["features", "categorical", "target", "weight"])
def test_a_column_of_an_unusable_type_is_named_with_its_type(dtype: str, argument: str) -> None:
    table = pa.table({"c": OTHER[dtype], "z": [1.0, 2.0, 4.0], "y": [1.0, 2.0, 3.0]})
    name = write_arrow(table, "t.arrow")
    options = {"target": "y"} | ({} if argument == "features" else {argument: "c"})
    remedy = (
        "leave it out by exclude" if argument in ("features", "categorical") else "name another"
    )
    message = f"{argument}: column 'c' of t.arrow holds values of type {dtype}.*; {remedy}"
    with pytest.raises(InputError, match=message):
        TabularData(name, **options).setup("fit")
    TabularData(name, "y", exclude="c").setup("fit")


# Files that change


def longer(path: Path) -> None:
    path.write_bytes(path.read_bytes() * 2)


def shorter(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def other_values(path: Path) -> None:
    """Keep the size, but not the time."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(1, 1))


def other_end(path: Path) -> None:
    """Keep the size and the time, as a file system does that counts seconds."""
    times = path.stat().st_mtime_ns
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(times, times))


def removed(path: Path) -> None:
    path.unlink()


CHANGES = (longer, shorter, other_values, other_end, removed)


@pytest.mark.parametrize("kind", damage.undamaged())
@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_before_a_pass_is_refused(
    kind: str, change: Callable[[Path], None]
) -> None:
    path = Path(f"t.{kind}")
    path.write_bytes(damage.undamaged()[kind][0])
    data = TabularData(str(path), "y", stream=True)
    data.setup("fit")
    change(path)
    with pytest.raises(InputError, match=f"path: {path} has changed since it was opened.*start ag"):
        list(data.loader("train"))


@pytest.mark.parametrize("kind", damage.undamaged())
def test_a_file_that_changes_while_it_is_read_is_refused(kind: str) -> None:
    path = Path(f"t.{kind}")
    path.write_bytes(damage.undamaged()[kind][0])
    dataset = TableDataset([str(path)])
    chunks = dataset.read({"a": pa.float64()}, 10)
    next(chunks)
    other_end(path)
    with pytest.raises(InputError, match=f"path: {path} has changed since it was opened"):
        list(chunks)


def test_a_fit_stops_at_a_file_that_changes_between_epochs(trainer: MakeTrainer) -> None:
    path = Path("t.csv")
    path.write_bytes(damage.undamaged()["csv"][0])

    class Change(Callback):
        def on_train_epoch_end(self, *_: Any) -> None:
            longer(path)

    data = TabularData("t.csv", "y", features="a", stream=True)
    with pytest.raises(InputError, match=r"t.csv has changed since it was opened"):
        trainer(max_epochs=3, callbacks=[Change()]).fit(LinearRegression(), data)


def test_a_pipe_is_refused_because_it_can_be_read_only_once() -> None:
    os.mkfifo("t.csv")
    with pytest.raises(InputError, match=r"path: t.csv is a pipe or device, and rows"):
        TableDataset(["t.csv"])


# Text without line ends


@pytest.mark.parametrize(
    "content",
    [b"FEA1" + bytes(9) + b"\n", bytes(5000), gzip.compress(b"PAR1" + bytes(9))],
    ids=["Feather 1", "zeros", "compressed Parquet"],
)
def test_a_file_that_is_not_text_is_not_said_to_be_empty_or_in_another_code(content: bytes) -> None:
    name = "t.gz" if content.startswith(b"\x1f") else "t"
    Path(name).write_bytes(content)
    with pytest.raises(InputError, match=f"path: {name} is neither text nor a Parquet or Arrow"):
        TableDataset([name])


def test_text_without_line_ends_is_refused_after_64_megabytes() -> None:
    with gzip.open("t.csv.gz", "wb", compresslevel=1) as file:
        for _ in range(200):
            file.write(b"1234567," * 2**17)
    message = r"path: t.csv.gz has no line end within 67,108,864 bytes of text; is it a CSV file\?"
    with pytest.raises(InputError, match=message):
        TableDataset(["t.csv.gz"])
    Path("t.csv").write_text("1234567," * 1000)
    with pytest.raises(InputError, match=r"t.csv has no line end within 8,000 bytes of text; is"):
        TableDataset(["t.csv"])


def test_sections_of_long_lines_are_the_same_in_each_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("linreg_lightning.tables.csv._SECTION_BYTES", 64)
    lines = [f"{'k' * (37 * k % 300)},{k}" for k in range(60)]
    Path("t.csv").write_text("\n".join(["c,y", *lines, ""]))
    dataset = TableDataset(["t.csv"])
    for start in range(0, dataset.count_rows(), 7):
        chunks = dataset.read({"y": pa.float64()}, 100, start, 60)
        rows = [row for chunk in chunks for row in chunk.table["y"].to_pylist()]
        assert rows == list(range(start, 60))
