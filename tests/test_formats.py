"""JSON lines, workbooks, files of Stata, SPSS and SAS: the same rows as their frame."""

from __future__ import annotations

import gzip
import json
import warnings
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pandas as pd
import pyarrow as pa
import pyreadstat
import pytest

import linreg_lightning as ll
from linreg_lightning.tables.csv_format import CsvFormat
from linreg_lightning.tables.dataset import TableDataset
from linreg_lightning.tables.json_lines import JsonLinesFile


def _rows(count: int = 60) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    x = generator.normal(size=count)
    city = generator.choice(["Oslo", "Paris", "Rome"], count)
    k = generator.integers(0, 5, count)
    y = 1 + 2 * x + k + (city == "Rome") + 0.1 * generator.normal(size=count)
    return pd.DataFrame({"x": x, "k": k, "city": city, "y": y})


def _write_jsonl(rows: pd.DataFrame, file: str) -> None:
    rows.to_json(file, orient="records", lines=True, double_precision=15)


def _write_workbook(rows: pd.DataFrame, file: str) -> None:
    rows.to_excel(file, index=False)


WRITERS: dict[str, Any] = {
    "rows.jsonl": _write_jsonl,
    "rows.ndjson.gz": _write_jsonl,
    "rows.xlsx": _write_workbook,
    "rows.dta": pyreadstat.write_dta,
    "rows.sav": pyreadstat.write_sav,
    "rows.xpt": pyreadstat.write_xport,
}


def _coefficients(source: Any, **options: Any) -> dict[str, float]:
    model = ll.LeastSquares(accuracy="exact")
    trainer = ll.Trainer(
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, ll.TabularData(source, "y", **options))
    return {each["name"]: each["estimate"] for each in model.coefficients()}


@pytest.mark.parametrize("file", WRITERS)
def test_a_file_gives_the_fit_of_its_frame(file: str) -> None:
    rows = _rows()
    WRITERS[file](rows, file)
    # pandas writes 15 digits into JSON, and openpyxl 16 into a workbook.
    tolerance = 1e-12 if "json" in file or "xlsx" in file else 0
    assert _coefficients(file) == pytest.approx(_coefficients(rows), rel=tolerance, abs=tolerance)


@pytest.mark.parametrize("file", WRITERS)
def test_a_part_of_the_rows_can_be_read(file: str) -> None:
    rows = _rows()
    WRITERS[file](rows, file)
    dataset = TableDataset([file])
    assert dataset.count_rows() == 60
    chunks = list(dataset.read({"k": pa.float64()}, size=7, start=20, stop=41))
    assert [chunk.start for chunk in chunks] == [20, 27, 34]
    read = [value for chunk in chunks for value in chunk.table["k"].to_pylist()]
    assert read == rows["k"][20:41].tolist()


def test_json_lines_have_the_types_of_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("linreg_lightning.tables.json_lines._SECTION_BYTES", 40)
    lines = [{"x": i, "when": "2024-01-01", "y": None} for i in range(9)]
    lines += [{"x": 2.5, "when": "soon", "y": 2, "late": True}]
    Path("rows.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    dataset = TableDataset(["rows.jsonl"])
    types = dict(zip(dataset.schema.names, map(str, dataset.schema.types), strict=True))
    assert types == {"x": "double", "when": "string", "y": "int64", "late": "bool"}
    chunks = list(dataset.read({"x": pa.float64(), "late": pa.bool_()}, size=100))
    read = pa.Table.from_batches([chunk.table for chunk in chunks])
    assert read["x"].to_pylist() == [*range(9), 2.5]
    assert read["late"].to_pylist() == [None] * 9 + [True]
    # In one section or many, the rows are the same.
    monkeypatch.setattr("linreg_lightning.tables.json_lines._SECTION_BYTES", 2**20)
    (whole,) = TableDataset(["rows.jsonl"]).read({"x": pa.float64()}, size=100)
    assert whole.table["x"].equals(read["x"].combine_chunks())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"x": 1, "y": 2}\n{"x": "a", "y": 3}\n', "a string in column 'x', row 2"),
        ('{"x": 1, "y": 2}\n{"x": 2, "y"\n', "is no JSON in row 2"),
        ('{"x": 1, "x": 2, "y": 2}\n', "two members named 'x' in row 1"),
        ('{"x": 9007199254740993, "y": 1}\n{"x": 0.5, "y": 2}\n', "9007199254740993 in column 'x'"),
        ('[{"x": 1, "y": 2}, {"x": 2, "y": 3}]', r"JSON array.*read_json\('rows.json'\).to_json"),
        (
            '{"x": [1, 2], "y": 2}\n{"x": [1], "y": 3}\n',
            "'x' of .* holds values of type list",
        ),
    ],
)
def test_json_that_cannot_be_used_is_refused(text: str, message: str) -> None:
    Path("rows.json").write_text(text)
    with pytest.raises(ll.InputError, match=message):
        _coefficients("rows.json")


def test_a_text_in_a_later_section_is_named_with_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("linreg_lightning.tables.json_lines._SECTION_BYTES", 10)
    Path("rows.jsonl").write_text('{"x": 1}\n{"x": 2}\n{"x": true}\n')
    with pytest.raises(ll.InputError, match="column 'x', row 3"):
        TableDataset(["rows.jsonl"])


def test_the_advised_conversion_of_a_json_array_works() -> None:
    rows = _rows()
    rows.to_json("rows.json", orient="records", double_precision=15)
    with pytest.raises(ll.InputError) as refusal:
        TableDataset(["rows.json"])
    advice = str(refusal.value).partition("in Python: ")[2]
    assert advice.startswith("pandas.read_json")
    eval(advice, {"pandas": pd})
    assert _coefficients("rows.jsonl") == pytest.approx(_coefficients(rows), rel=1e-9)


def _workbook(sheets: dict[str, list[list[Any]]], file: str = "rows.xlsx") -> None:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(file)


DATA = [["x", "y"], [1, 2], [2, 4.1], [3, 5.9], [4, 8.2]]
SLOPE = np.polyfit([1, 2, 3, 4], [2, 4.1, 5.9, 8.2], 1)[0]


def test_a_sheet_is_chosen_by_its_name() -> None:
    _workbook({"data": DATA, "2024": [["x", "y"], [1, 1], [2, 3], [3, 5.5]]})
    with pytest.raises(ll.InputError, match=r"2 sheets \('data', '2024'\).*sheet 'data'"):
        TableDataset(["rows.xlsx"])
    assert _coefficients("rows.xlsx", sheet="data")["x"] == pytest.approx(SLOPE)
    with pytest.raises(ll.InputError, match="no sheet 'Data'; did you mean 'data'"):
        TableDataset(["rows.xlsx"], sheet="Data")


def test_rows_that_a_sheet_cannot_skip_are_refused() -> None:
    _workbook({"data": DATA})
    with pytest.raises(ll.InputError, match="row 100 of 'data'; lower skip_rows"):
        _coefficients("rows.xlsx", skip_rows=99)


def test_an_empty_sheet_is_none_to_choose() -> None:
    _workbook({"Sheet1": [], "data": DATA})
    assert _coefficients("rows.xlsx")["x"] == pytest.approx(SLOPE)


def test_text_among_the_numbers_of_a_sheet_is_refused_wherever_it_is() -> None:
    rows = [["x", "y"], *([i, 2 * i + i % 3] for i in range(1500)), ["text", 3]]
    _workbook({"data": rows})
    with pytest.raises(ll.InputError, match="'text' in column 'x', row 1501, which is no number"):
        _coefficients("rows.xlsx")


def test_a_cell_with_an_error_lacks_its_value() -> None:
    _workbook({"data": [*DATA, ["#N/A", 5], ["#DIV/0!", 5]]})
    with pytest.raises(ll.InputError, match="missing"):
        _coefficients("rows.xlsx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert _coefficients("rows.xlsx", missing="drop")["x"] == pytest.approx(SLOPE)


NAMES, UNITS, TOTAL = [["x", "y"]], [["m", "kg"]], [["Total", 20]]
AROUND: list[tuple[list[list[Any]], str, dict[str, Any]]] = [
    ([*DATA, *TOTAL], "skip_footer 1", {"skip_footer": 1}),
    ([["Sales"], [], *DATA], "skip_rows 2", {"skip_rows": 2}),
    ([*NAMES, *UNITS, *DATA[1:]], "has 'm' in column 'x', row 1", {"skip_rows": [1]}),
    ([["S"], *NAMES, *UNITS, *DATA[1:]], "", {"skip_rows": [0, 2]}),
    ([*NAMES, *UNITS, *DATA[1:], *TOTAL], "", {"skip_rows": [1], "skip_footer": 1}),
    ([*DATA, ["?", 9]], "na_values '\\?'", {"na_values": "?", "missing": "drop"}),
    ([*DATA, [-999, 9]], "", {"na_values": -999, "missing": "drop"}),
]


@pytest.mark.parametrize(("rows", "message", "options"), AROUND)
@pytest.mark.filterwarnings("ignore:1 of 5 rows")
def test_the_options_that_messages_about_a_sheet_name_work(
    rows: list[list[Any]], message: str, options: dict[str, Any]
) -> None:
    _workbook({"data": rows})
    if message:
        with pytest.raises(ll.InputError, match=message):
            _coefficients("rows.xlsx")
    assert _coefficients("rows.xlsx", **options)["x"] == pytest.approx(SLOPE)


def test_a_total_of_a_sheet_is_no_level_of_its_labels() -> None:
    names = ["a", "b", "a", "b"]
    rows = [["shop", *DATA[0]], *([n, *row] for n, row in zip(names, DATA[1:], strict=True))]
    _workbook({"data": [*rows, ["Total", 10, 20.2]]})
    with pytest.raises(ll.InputError, match="ends with a total, 'Total'; type skip_footer 1 to"):
        _coefficients("rows.xlsx")
    assert set(_coefficients("rows.xlsx", skip_footer=1)) == {"intercept", "x", "shop[b]"}


def test_row_labels_that_pandas_writes_into_a_sheet_are_left_out() -> None:
    pd.DataFrame(DATA[1:], columns=DATA[0]).to_excel("rows.xlsx")
    with pytest.warns(UserWarning, match="left out columns without a name, 'Unnamed: 0'"):
        assert _coefficients("rows.xlsx") == {
            "intercept": pytest.approx(-0.0, abs=9),
            "x": pytest.approx(SLOPE),
        }


def test_a_date_of_a_workbook_is_a_date() -> None:
    _workbook({"data": [["when", "y"], [date(2024, 1, 1), 1], [date(2024, 1, 2), 2]]})
    assert pa.types.is_temporal(TableDataset(["rows.xlsx"]).schema.field("when").type)


@pytest.mark.parametrize("write", [pyreadstat.write_dta, pyreadstat.write_sav])
def test_labels_name_the_levels_of_categories(write: Any) -> None:
    rows = _rows().drop(columns="city")
    labels = {0: "none", 1: "one", 2: "two", 3: "three"}  # 4 has none
    write(rows, "rows.dta", variable_value_labels={"k": labels})
    named = _coefficients("rows.dta", categorical="k")
    assert set(named) == {"intercept", "x", "k[none]", "k[one]", "k[three]", "k[two]"}
    frame = rows.assign(k=rows["k"].map({**labels, 4: "4"}))
    assert named == _coefficients(frame)
    with pytest.warns(UserWarning, match="labels for its numbers \\(0 'none', 1 'one', 2 'two', "):
        assert "k" in _coefficients("rows.dta")


def test_values_declared_missing_are_missing() -> None:
    rows = pd.DataFrame({"x": [1.0, 2, 3, 4, 99], "y": [2, 4.1, 5.9, 8.2, 0]})
    pyreadstat.write_sav(rows, "rows.sav", missing_ranges={"x": [99]})
    with pytest.raises(ll.InputError, match=r"column 'x'.*row 5"):
        _coefficients("rows.sav")


def test_a_damaged_file_is_refused() -> None:
    for file in ("rows.dta", "rows.sav", "rows.xlsx"):
        WRITERS[file](_rows(), file)
        Path(file).write_bytes(Path(file).read_bytes()[:700])
        with pytest.raises(ll.InputError, match=f"path: {file} cannot be read"):
            TableDataset([file])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.db", b"SQLite format 3\0", "an SQLite database.*read_sql"),
        ("t.h5", b"\x89HDF\r\n", "an HDF5 file.*read_hdf\\('t.h5'\\)"),
        ("t.rds", gzip.compress(b"X\n", mtime=0), "a file of R.*write.csv"),
        ("t.csv", b"<!doctype HTML><html>", "a web page"),
        ("t.npy", b"\x93NUMPY\x01", "a NumPy array.*TensorData"),
    ],
)
def test_other_formats_are_named(name: str, content: bytes, message: str) -> None:
    Path(name).write_bytes(content)
    with pytest.raises(ll.InputError, match=message):
        TableDataset([name])


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    WRITERS["rows.xlsx"](_rows(), "rows.xlsx")
    monkeypatch.setitem(__import__("sys").modules, "fastexcel", None)
    with pytest.raises(ll.InputError, match=r"pip install 'linreg_lightning\[formats\]'"):
        TableDataset(["rows.xlsx"])


def test_json_is_read_as_text_of_lines() -> None:
    Path("rows.json").write_text('{"x": 1, "y": 2}\n{"x": 2, "y": 4}\n{"x": 3, "y": 5}')
    assert isinstance(TableDataset(["rows.json"])._files[0], JsonLinesFile)


@pytest.mark.parametrize("source", ["rows.parquet", "rows.arrow", "rows.jsonl", "frame"])
def test_an_option_without_a_use_for_a_format_is_refused_in_a_fit(source: str) -> None:
    rows = pd.DataFrame({"x": [1.0, 2, 4], "y": [3.0, 5, 9]})
    rows.to_parquet("rows.parquet")
    rows.to_feather("rows.arrow")
    _write_jsonl(rows, "rows.jsonl")
    given = {"decimal": ",", "thousands": " ", "percent": True, "skip_rows": 1, "sheet": "a"}
    for name, value in given.items():
        with pytest.raises(ll.InputError, match=f"^{name}: .* counts in .* leave {name} out$"):
            _coefficients(rows if source == "frame" else source, **{name: value})


def test_options_from_a_checkpoint_of_csv_do_not_hinder_other_formats() -> None:
    Path("rows.csv").write_text("x;y\n1,5;4\n-999;7\n2,5;6\n4,5;10\n")
    new = pd.DataFrame({"x": [1, -999, 3]})
    new.to_parquet("new.parquet")
    model, trainer = ll.LeastSquares(), ll.Trainer(logger=False, enable_progress_bar=False)
    options = {"delimiter": ";", "decimal": ",", "na_values": -999, "missing": "drop"}
    trainer.fit(model, ll.TabularData("rows.csv", "y", **options))
    trainer.save_checkpoint("rows.ckpt")
    expected = pytest.approx([3, np.nan, 7], nan_ok=True)
    assert model.predict(new).y.tolist() == expected
    data = ll.TabularData.load_from_checkpoint("rows.ckpt", path="new.parquet")
    predictions = [float(value) for batch in trainer.predict(model, data) or [] for value in batch]
    assert predictions == expected


@pytest.mark.parametrize(
    ("values", "marker"),
    [
        (pa.array([1, -999, 4, 7], pa.int32()), -999),
        (pa.array([1, -999, 4, 7], pa.decimal128(9, 2)), "-999.0"),
        (pa.array(["a", "?", "b", "a"]), ["?", -1]),
        (pa.array(["a", "?", "b", "a"]).dictionary_encode(), "?"),
        (pa.array([date(2024, 1, 1), date(1900, 1, 1), date(2024, 1, 3), None]), "1900-01-01"),
    ],
)
def test_markers_of_missing_values_count_in_all_types(values: pa.Array, marker: Any) -> None:
    table = TableDataset([pa.table({"x": values})], csv_format=CsvFormat(na_values=marker))
    read = next(table.read({"x": values.type}, 9))
    if values.type != pa.string():  # read as keys, they stay
        assert read.table["x"].is_valid().to_pylist() == [True, False, True, values[3].is_valid]
    rows = pa.table({"x": values, "y": [3.0, 5, 9, 15]})
    with pytest.warns(UserWarning, match=f"{1 + values.null_count} of 4 rows were left out"):
        _coefficients(rows, na_values=marker, missing="drop", dates="days")


@pytest.mark.parametrize(
    ("log", "files", "kind"),
    [
        ("_delta_log/00000.json", "year=2024/part.parquet", "Delta"),
        ("metadata/v2.metadata.json", "data/year=2024/part.parquet", "Iceberg"),
        (".hoodie/hoodie.properties", "part.parquet", "Hudi"),
    ],
)
def test_a_table_with_a_log_of_its_files_is_refused(log: str, files: str, kind: str) -> None:
    for name in (log, files):
        Path("t", name).parent.mkdir(parents=True, exist_ok=True)
    Path("t", log).write_text("{}")
    pd.DataFrame({"x": [1.0, 2, 4], "y": [3.0, 5, 9]}).to_parquet(Path("t", files))
    named = Path("t", files)
    for path in ("t", str(Path("t").resolve()), str(named.parent), str(named), "t/**/*.parquet"):
        with pytest.raises(ll.InputError, match=rf"path: .*t is an? {kind} table, .*; convert it"):
            TableDataset([path])
