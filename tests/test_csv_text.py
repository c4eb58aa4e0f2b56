"""CSV files as people have them: lines around the table, nameless columns, missing values."""

from __future__ import annotations

import csv
import gzip
import io
import math
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st

from linreg_lightning import InputError, LeastSquares, TabularData
from linreg_lightning.tables.csv_format import CsvFormat
from linreg_lightning.tables.dataset import TableDataset

CSV_MODULE = "linreg_lightning.tables.csv"
PLAIN = "x,c,y\n1,a,2.5\n2,b,3\n4,a,5.5\n7,b,6\n"
ROWS = PLAIN.partition("\n")[2]


@contextmanager
def small_sections() -> Iterator[None]:
    with patch.multiple(CSV_MODULE, _SECTION_BYTES=40, _THREAD_BYTES=20):
        yield


def write(content: str | bytes, name: str = "t.csv") -> str:
    content = content.encode() if isinstance(content, str) else content
    Path(name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return name


def training_rows(content: str | bytes, **options: Any) -> tuple[list[str], list[list[float]]]:
    """Return the names of the columns of x, and the rows of x and y."""
    data = TabularData(write(content), "y", **options)
    data.setup("fit")
    batch = data.splits["train"]
    rows = np.column_stack([batch.x.numpy(), batch.y.numpy()])
    return data.feature_names, rows.tolist()


def message(content: str | bytes, **options: Any) -> str:
    with pytest.raises(InputError) as error:
        training_rows(content, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


# What surrounds the table, the message about it, and the options that the message names.
SURROUNDED: dict[str, tuple[str | bytes, str, dict[str, Any]]] = {
    "comments above": ('# by x\n#, a, "b\n' + PLAIN, "type comment '#'", {"comment": "#"}),
    "a comment as long": ("# a, b, c\n" + PLAIN, "type comment '#'", {"comment": "#"}),
    "percent comments": ("% 1\n% 2\n" + PLAIN, "type comment '%'", {"comment": "%"}),
    "a comment between": (PLAIN + "# pause\n", "type comment '#'", {"comment": "#"}),
    "a comment in a line": (PLAIN[:-1] + " # last\n", "type comment '#'", {"comment": "#"}),
    "a title": ("Sales of 2024\n" + PLAIN, "type skip_rows 1", {"skip_rows": 1}),
    "a title, a blank line": ("Sales, 2024\n\n" + PLAIN, "type skip_rows 2", {"skip_rows": 2}),
    "a title of a spreadsheet": ("Sales,,\n,,\n" + PLAIN, "type skip_rows 2", {"skip_rows": 2}),
    "sep=": ("sep=,\n" + PLAIN, "type skip_rows 1", {"skip_rows": 1}),
    "units below": ("x,c,y\nm,,kg\n" + ROWS, "type skip_rows '[1]' if", {"skip_rows": [1]}),
    "units above": ("m,-,kg\n" + PLAIN, ", skip_rows 1 if it has the names", {"skip_rows": 1}),
    "title and units": (
        "Sales\nx,c,y\nm,,kg\nSmp,Avg,Avg\n" + ROWS,
        "type skip_rows '[0,2,3]'",
        {"skip_rows": [0, 2, 3]},
    ),
    "a total": (PLAIN + "Total,,17\n", "type skip_footer 1 to", {"skip_footer": 1}),
    "totals": (PLAIN + "Subtotal,,8\nTotal,,17\n", "type skip_footer 2 to", {"skip_footer": 2}),
    "a source": (PLAIN + "\nSource: x\n", "or type skip_footer 1", {"skip_footer": 1}),
    "notes": (PLAIN + "Note\n\n1) a, b\nEnd", "or type skip_footer 4", {"skip_footer": 4}),
    "semicolons": (PLAIN.replace(",", ";"), "type delimiter ';'", {"delimiter": ";"}),
    "tabs": (PLAIN.replace(",", "\t"), "type delimiter tab", {"delimiter": "tab"}),
    "bars": (PLAIN.replace(",", "|"), "type delimiter '|'", {"delimiter": "|"}),
    "spaces": (PLAIN.replace(",", " "), "type delimiter ' '", {"delimiter": " "}),
    "sep=;": (
        "sep=;\n" + PLAIN.replace(",", ";"),
        "type delimiter ';' and skip_rows 1",
        {"delimiter": ";", "skip_rows": 1},
    ),
    "a comment and semicolons": (
        "; made by x\n" + PLAIN.replace(",", ";"),
        "type delimiter ';'",
        {"delimiter": ";", "skip_rows": 1},
    ),
    "semicolons and decimal commas": (
        PLAIN.replace(",", ";").replace(".", ","),
        "type delimiter ';'",
        {"delimiter": ";", "decimal": ","},
    ),
}


@pytest.mark.parametrize("case", SURROUNDED)
def test_what_is_around_the_table_is_named_and_left_out(case: str) -> None:
    content, part, options = SURROUNDED[case]
    assert part in message(content)
    assert training_rows(content, **options) == training_rows(PLAIN)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("x,y\n1,2\nx,y\n2,3\n", "has its header again in row 2"),
        ('x, "y"\n1, "2"\n2, "3"\n', """has spaces before quotes; delete them, such as by sed"""),
        (" x   y\n1.5  2\n 10 30\n", "aligned by spaces; write it with commas, such as by sed"),
        ("x,y\n1,é\n".encode("latin1"), "iconv -f WINDOWS-1252 -t UTF-8 OLD.csv > NEW.csv"),
        ("x,y\n1,2\n".encode("utf-16"), "iconv -f UTF-16 -t UTF-8 OLD.csv > NEW.csv"),
        ("x,y\n1,2\n".encode("utf-16-be"), "iconv -f UTF-16BE -t UTF-8 OLD.csv > NEW.csv"),
        ("x,c,y\n1,'a, b',2\n2,'b',3\n", "quote a value that has ',' in it: \"a,b\""),
        ("x,y,\n" + "1,2,\n" * 50 + "1,2,3\n", "has '3' in row 51, in column 3, which has no name"),
    ],
)
def test_text_that_cannot_be_read_is_explained(content: str | bytes, part: str) -> None:
    with patch(f"{CSV_MODULE}._SAMPLE_BYTES", 150):  # so that the last row is not in the sample
        assert part in message(content)


def test_the_commands_that_messages_name_make_the_file_readable(tmp_path: Path) -> None:
    plain = training_rows(PLAIN)
    rows = PLAIN.replace("a,", '"a",').replace("b,", '"b",')
    for content in (
        PLAIN.encode("utf-16"),
        PLAIN.replace(",", "  ").encode(),
        rows.replace(',"', ', "').encode(),
    ):
        command = message(content).partition("such as by ")[2]
        for old in ("OLD.csv", "OLD.txt"):
            command = command.replace(old, "t.csv")
        subprocess.run(command, shell=True, check=True)
        assert training_rows(Path("NEW.csv").read_bytes()) == plain


# Columns without a name


@pytest.mark.parametrize(
    "content",
    [
        PLAIN.replace("\n", ",\n"),
        ("x,c,y\n" + ROWS.replace("\n", ",\n")),
        ("x,c,y,\n" + ROWS),
        PLAIN.replace("\n", ",,,\n"),
        "".join(f",{line}\n" for line in PLAIN.splitlines()),
    ],
    ids=["header and rows", "rows only", "header only", "several", "in front"],
)
def test_empty_columns_without_a_name_are_left_out(content: str) -> None:
    assert training_rows(content) == training_rows(PLAIN)


FRAME = pd.DataFrame({"x": [1.0, 2, 4, 7], "c": list("abab"), "y": [2.5, 3, 5.5, 6]})


@pytest.mark.parametrize(
    "content",
    [
        FRAME.to_csv(),
        FRAME.set_index(pd.Index(["ann", "bob", "cid", "dan"])).to_csv(),
        FRAME.set_index(pd.Index(list("1234"))).to_csv(quoting=csv.QUOTE_NONNUMERIC),
        '"x","c","y"\n"1",1,"a",2.5\n"2",2,"b",3\n"3",4,"a",5.5\n"4",7,"b",6\n',
        pd.read_csv(io.StringIO(FRAME.to_csv())).to_csv(index=False),
    ],
    ids=["pandas", "pandas, names", "R write.csv", "R write.table", "pandas, twice"],
)
def test_row_names_are_left_out_with_a_word(content: str) -> None:
    plain = training_rows(PLAIN)
    with pytest.warns(UserWarning, match=r"t\.csv: left out columns without a name, 'Unnamed: 0'"):
        assert training_rows(content) == plain
    names, rows = training_rows(content, features=["x", "c"])
    assert (names, rows) == plain
    assert training_rows(content, exclude="") == plain
    assert training_rows(content, exclude="Unnamed: 0") == plain


def test_row_numbers_that_pandas_wrote_twice_are_left_out() -> None:
    content = pd.read_csv(io.StringIO(FRAME.to_csv())).to_csv()
    assert content.startswith(",Unnamed: 0,x")
    with pytest.warns(UserWarning, match=r"'Unnamed: 0\.1', 'Unnamed: 0'"):
        assert training_rows(content) == training_rows(PLAIN)


def test_a_nameless_column_of_numbers_can_be_a_feature() -> None:
    names, rows = training_rows(FRAME.to_csv(), features=["Unnamed: 0", "x"])
    assert names == ["Unnamed: 0", "x"]
    assert [row[0] for row in rows] == [0, 1, 2, 3]


# Missing values


@pytest.mark.parametrize("marker", ["?", ".", "-", "--", "missing", "None", "na", "#DIV/0!", "*"])
def test_the_message_about_a_marker_names_na_values(marker: str) -> None:
    content = PLAIN.replace("4,a", f"{marker},a")
    assert f"if it means a missing value, type na_values {marker!r}" in message(content)
    options = {"na_values": marker, "missing": "drop"}
    with pytest.warns(UserWarning, match="1 of 4 rows were left out"):
        _, rows = training_rows(content, **options)
    assert rows == [row for row in training_rows(PLAIN)[1] if row[0] != 4]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(["1", "2.5", "-999", "-999.0", "-9.99e2", "?", "n", "NA", ""])),
    st.sampled_from(["?", -999, "-999", ["?", "n"], ["?", "n", -999], [-999.0, "2.5"], "NA"]),
)
def test_na_values_are_those_of_pandas(values: list[str], na_values: Any) -> None:
    content = "x,c,y\n" + "".join(f"{value},{value}a,1\n" for value in ["1", *values])
    expected = pd.read_csv(io.StringIO(content), na_values=na_values)
    dataset = TableDataset([write(content)], csv_format=CsvFormat(na_values=na_values))
    chunks = dataset.read({"x": pa.float64()}, 100)
    if not pd.api.types.is_numeric_dtype(expected.x):
        with pytest.raises(InputError, match="na_values"):
            list(chunks)
        return
    read = [value for chunk in chunks for value in chunk.table.column("x").to_pylist()]
    assert read == [None if math.isnan(value) else value for value in expected.x]


def test_na_values_hold_for_categories_in_quotes_or_not() -> None:
    content = 'c,y\n"?",1\n?,2\na,3\n"",4\nb,5\n,6\n-999.0,7\na,8\n'
    with pytest.warns(UserWarning, match="5 of 8 rows were left out"):
        names, rows = training_rows(content, na_values=["?", -999], missing="drop", categorical="c")
    assert names == ["c[b]"]
    assert rows == [[0, 3], [1, 5], [0, 8]]


@pytest.mark.parametrize("numbers", ["plain", "in quotes"])
def test_na_in_quotes_is_a_category_and_without_is_missing(numbers: str) -> None:
    frame = pd.DataFrame({"c": ["NA", "EU", "AS"] * 4, "x": np.arange(12.0) ** 2, "y": range(12)})
    frame.loc[4, "x"] = None
    quoting = csv.QUOTE_NONNUMERIC if numbers == "plain" else csv.QUOTE_ALL
    content = frame.to_csv(index=False, quoting=quoting).replace('""', "")
    content = content if numbers == "plain" else content.replace(",,", ',"NA",')
    with small_sections(), pytest.warns(UserWarning, match="missing values: x 1"):
        names, rows = training_rows(content, missing="drop")
    assert names == ["c[EU]", "c[NA]", "x"]
    assert [row[1] for row in rows] == [float(k % 3 == 0) for k in range(12) if k != 4]
    text = message(content.replace('"NA",1', "NA,1"))
    assert 'write it in quotes: "NA"' in text


# The options in sections, compressed files and several processes


VALUES = st.text(st.sampled_from('ab#,"\n;é'), max_size=6).filter(lambda text: text.strip())
COMMENTS = st.text(st.sampled_from('ab#,"; '), max_size=8)


@st.composite
def decorated_files(draw: st.DrawFn) -> tuple[str, str, dict[str, Any]]:
    """A file with lines around the table, the table with its comments alone, and the options."""
    end = draw(st.sampled_from(["\n", "\r\n"]))
    lines = ["x,c,y"]
    for k in range(draw(st.integers(1, 12))):
        if draw(st.booleans()):
            lines.append(draw(st.sampled_from(["", f"#{draw(COMMENTS)}"])))
        value = draw(VALUES).replace('"', '""')
        comment = draw(st.sampled_from(["", f" #{draw(COMMENTS)}"]))
        lines.append(f'{k},"{value}",{k % 3}{comment}')
    above = draw(st.lists(COMMENTS, max_size=3))
    units = draw(st.booleans())
    below = draw(st.lists(COMMENTS, max_size=3))
    skip: Any = list(range(len(above)))
    content = [*above, lines[0], *(['"m,#'] if units else []), *lines[1:], *below]
    skip = [*skip, len(above) + 1] if units else draw(st.sampled_from([skip, len(above)]))
    last_end = end if below or draw(st.booleans()) else ""
    options = {"comment": "#", "skip_rows": skip, "skip_footer": len(below)}
    return end.join(content) + last_end, end.join(lines), options


@settings(max_examples=60, deadline=None)
@given(decorated_files(), st.sampled_from(["t.csv", "t.csv.gz"]), st.integers(1, 3))
def test_decorated_files_are_read_as_by_pandas(
    file: tuple[str, str, dict[str, Any]], name: str, processes: int
) -> None:
    content, table, options = file
    expected = pd.read_csv(io.StringIO(table), comment="#", keep_default_na=False)
    types = {"x": pa.float64(), "c": pa.string(), "y": pa.float64()}
    with small_sections():
        dataset = TableDataset([write(content, name)], csv_format=CsvFormat(**options))
        whole = [chunk.table for chunk in dataset.read(types, 5)]
        rows = dataset.count_rows()
        assert rows == len(expected)
        parts = [
            chunk.table
            for k in range(processes)
            for chunk in dataset.read(types, 5, rows * k // processes, rows * (k + 1) // processes)
        ]
    for tables in (whole, parts):
        frame = pa.Table.from_batches(tables).to_pandas()
        assert frame.x.tolist() == expected.x.tolist()
        assert frame.c.tolist() == expected.c.tolist()
        assert frame.y.tolist() == expected.y.tolist()


def test_a_message_counts_rows_without_comments_and_skipped_lines() -> None:
    rows = "".join(f"{k},{k}\n# {k}\n\n" for k in range(60))
    content = f"title\nx,y\nm,kg\n{rows}61,z\n"
    options = {"skip_rows": [0, 2], "comment": "#"}
    with small_sections():
        assert "has 'z' in column 'y', row 61, which is no number" in message(content, **options)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"skip_rows": -1}, "skip_rows: -1 was given; type how many lines"),
        ({"skip_rows": 99}, "skip_rows: 99 was given, and t.csv has 5 lines"),
        ({"skip_rows": [3]}, "skip_rows: [3] was given, and rows of t.csv come before them"),
        ({"skip_footer": 1.5}, "skip_footer: 1.5 was given"),
        ({"skip_footer": 5}, "is empty; it needs a header"),
        ({"comment": "//"}, "comment: '//' was given; type one character"),
        ({"comment": ","}, "comment: ',' was given, which is the delimiter or decimal too"),
        ({"na_values": "[?,-9]"}, """type quotes in the list: "['?', '-9']\""""),
    ],
)
def test_options_without_a_meaning_are_refused(options: dict[str, Any], part: str) -> None:
    assert part in message(PLAIN, **options)


def test_a_row_that_looks_like_units_or_a_total_can_be_kept() -> None:
    names, rows = training_rows(
        "c,x,y\na,?,3\nTotal,2,3\n", na_values="?", missing="mean", skip_footer=0
    )
    assert (names, len(rows)) == (["c[a]", "x"], 2)
    content = "c,d\na,u\nb,1\nc,1\n"
    with pytest.raises(InputError, match="skip_rows 0 if it is a row"):
        TableDataset([write(content)])
    assert TableDataset([write(content)], csv_format=CsvFormat(skip_rows=0)).count_rows() == 3


def test_a_checkpoint_keeps_the_options(trainer: Any) -> None:
    content = "title\n" + PLAIN.replace("4,", "?,") + "Total,,1\n"
    options: dict[str, Any] = {"skip_rows": 1, "skip_footer": 1, "na_values": "?"}
    data = TabularData(write(content), "y", features="x", missing="mean", **options)
    model, run = LeastSquares(), trainer(max_epochs=1)
    run.fit(model, data)
    run.save_checkpoint("fitted.ckpt")
    again = TabularData.load_from_checkpoint("fitted.ckpt", path="t.csv")
    (predicted,) = trainer().predict(model, again)
    assert len(predicted) == 4


@pytest.mark.parametrize("name", ["t.csv", "t.xlsx"])
@pytest.mark.parametrize("last", ["9,3", "Total,12", ",12"])
def test_a_row_that_the_footer_of_a_fit_would_swallow_is_named(name: str, last: str) -> None:
    text = f"x,y\n1,2\n2,4\n{last}\n"
    if name == "t.csv":
        Path(name).write_text(text)
    else:
        pd.read_csv(io.StringIO(text)).to_excel(name, index=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert TableDataset([name], csv_format=CsvFormat(skip_footer=1)).count_rows() == 2
    found = [
        str(w.message) for w in caught if "looks like a row; type skip_footer 0" in str(w.message)
    ]
    assert len(found) == (last == "9,3")


def test_a_total_below_many_rows_is_named() -> None:
    rows = "North,1,2\nSouth,2,3.5\n" * 250_000  # more than the types are guessed from
    Path("t.csv").write_text(f"region,x,y\n{rows}Total,750000,1375000\n")
    with pytest.raises(InputError, match="ends with a total, 'Total,750000,1375000'; type skip_f"):
        TableDataset(["t.csv"])
