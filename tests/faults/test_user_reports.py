"""Tables that public reports are about: ours gives the right numbers, or names what to type.

`pytest -n 2 tests/faults/test_user_reports.py`; README.md lists the reports. Each input is made
here, so that its coefficients are known: nearly all have no noise. What a refusal advises is typed.
"""

from __future__ import annotations

import subprocess
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyreadstat
import pytest
from user_reports import (
    README,
    Report,
    all_reports,
    fit,
    parquet,
    partitions,
    table,
    text,
    workbook,
)

GITHUB = "https://github.com/"


def rows(header: str, *lines: str) -> str:
    return "\n".join([header, *lines]) + "\n"


def dates(form: str) -> str:
    """Write y = 1 + 2 days as CSV, with a date on each of 40 days."""
    days = [datetime(2018, 1, 1) + timedelta(day) for day in range(40)]
    return rows("date,y", *(f"{day.strftime(form)},{2 * k + 1}" for k, day in enumerate(days)))


def spark_folder() -> str:
    for k in range(2):
        lines = (f"{i},{3 * i + 1}" for i in range(4 * k, 4 * k + 4))
        text(f"spark.csv/part-0000{k}-6c9f.csv", rows("x,y", *lines))()
        text(f"spark.csv/.part-0000{k}-6c9f.csv.crc", "crc\0")()
    text("spark.csv/_SUCCESS", "")()
    return "spark.csv"


def delta_folder() -> str:
    live, removed = {"x": [1.0, 2, 4], "y": [3.0, 5, 9]}, {"x": [1.0, 2, 4], "y": [900.0, 5, 9]}
    parquet("table", live=live, removed=removed)()
    log = '{"add":{"path":"live.parquet"}}\n{"remove":{"path":"removed.parquet"}}\n'
    text("table/_delta_log/00000000000000000000.json", log)()
    return "table"


def zones() -> str:
    Path("zones").mkdir()
    frame = pl.DataFrame({"t": [datetime(2024, 1, day, 12) for day in (1, 2, 5)], "y": [1.0, 3, 9]})
    frame.write_parquet("zones/naive.parquet")
    frame.with_columns(pl.col("t").dt.replace_time_zone("UTC")).write_parquet("zones/utc.parquet")
    return "zones"


def labelled(write: Any, name: str, codes: list[int], labels: dict[int, str], **more: Any) -> str:
    """Write y = x + 100 code with labels for the codes."""
    frame = pd.DataFrame({"code": codes, "x": [1.0, 2, 4, 4, 5, 7, 8, 8][: len(codes)]})
    frame["y"] = frame.x + 100 * frame.code
    write(frame, name, variable_value_labels={"code": labels}, **more)
    return name


def collinear() -> pd.DataFrame:
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(9, 3)))
    frame[3] = frame[2] + 2
    return frame.assign(y=1 + frame[0] + 2 * frame[1] - frame[2])


def salaries() -> pd.DataFrame:
    names = pd.MultiIndex.from_tuples([("salary", 5), ("tax", 5), ("y", "")])
    salary, tax = np.array([20.0, 10, 7, 8]), np.array([2.0, 1.5, 3, 4])
    return pd.DataFrame(np.c_[salary, tax, 1 + 2 * salary - tax], columns=names)


def exact_line(x: list[int], y: list[Fraction]) -> dict[str, float]:
    """Return the least squares line in rational numbers."""
    mean_x, mean_y = Fraction(sum(x), len(x)), Fraction(sum(y), len(y))
    slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    slope /= sum((a - mean_x) ** 2 for a in x)
    return {"intercept": float(mean_y - slope * mean_x), "x": float(slope)}


LARGE = [13 * 10**13 + 6666666666667 * k for k in range(10)]
FALLING = [1 - Fraction(k, 9) + Fraction((-1) ** k, 1000) for k in range(10)]
FLAGS = {"a": [0.5, 0.25, 4, 7, 2], "b": [1, 2, 3, 2, 1], "c": [True, False, False, True, True]}
MONEY = {"x": "1.10 2.20 4.40", "y": "3.20 5.40 9.80"}
MILLISECONDS = 1.7e12 + 1000 * np.arange(20.0)
CODES = rows(
    "zip,x,y",
    *(
        f"{zip_},{x},{2 * x + 10 * k}"
        for k, zip_ in enumerate(["01001", "02007", "11013"], 1)
        for x in (1, 2, 4, 7)
    ),
)
REPORTS = [
    Report(
        GITHUB + "pandas-dev/pandas/issues/22584",
        "`1,000` in quotes stays text, although the separator of thousands is given",
        "names both readings, 1 and 1000; with `thousands ','` reads 1000",
        text(
            "t.csv", rows("code,pop,y", *(f'a{i},"{i},037",{2000 * i + 75}' for i in range(1, 8)))
        ),
        {"intercept": 1, "pop": 2},
        {"thousands": ",", "exclude": "code"},
        refused=(({"exclude": "code"}, ("1037 with thousands ','", "1.037 with decimal ','")),),
    ),
    Report(
        GITHUB + "Rdatatable/data.table/issues/6604",
        "decimal commas in quotes between commas cannot be read",
        "names `decimal ','`, which reads them",
        text("t.csv", rows("n,a,y", *(f'{n},"{n * n},5",{3 * n * n + n}' for n in range(1, 8)))),
        {"intercept": -1.5, "n": 1, "a": 3},
        {"decimal": ","},
        refused=(({}, ("type decimal ','", "1.5")),),
    ),
    Report(
        GITHUB + "SheetJS/sheetjs/issues/2239",
        "`A;B` above `1,1;2,2` is split at the commas",
        "names `delimiter ';'`, then `decimal ','`",
        text("t.csv", rows("x;y", "1,5;4", "2,5;6", "4,5;10", "0,5;2")),
        {"intercept": 1, "x": 2},
        {"delimiter": ";", "decimal": ","},
        refused=(
            ({}, ("type delimiter ';'",)),
            ({"delimiter": ";"}, ("type decimal ','",)),
        ),
    ),
    Report(
        GITHUB + "tidyverse/readr/issues/521",
        "with decimal commas set, `6739.5362` is read as 67395362",
        "names `decimal '.'`",
        text("t.csv", rows("x;y", "6739.5362;13480.0724", "153.25;307.5", "1.5;4", "2;5")),
        {"intercept": 1, "x": 2},
        {"delimiter": ";"},
        refused=(({"delimiter": ";", "decimal": ","}, ("type decimal '.'",)),),
    ),
    Report(
        "https://stat.ethz.ch/pipermail/r-help/2014-October/422751.html",
        "`123.4-` with the minus behind makes a factor of a column",
        "names `currency true`, which reads -123.4, and (12) as -12",
        text("t.csv", rows("x,y", "123.5-,246-", "123,247", "(2),(3)", "7,15")),
        {"intercept": 1, "x": 2},
        {"currency": True},
        refused=(({}, ("type currency true", "-123.5")),),
    ),
    Report(
        "https://errorhandle.ai/r-why-does-a-data-frame-turn-columns-consisting-only-of-numbers"
        "-into-a-character-vector",
        "one word among numbers turns the column into text",
        "names word and row, and `na_values`",
        text("t.csv", rows("x,y", "1,3", "2,5", "unknown,9", "4,9", "7,15")),
        {"intercept": 1, "x": 2},
        {"na_values": "unknown", "missing": "drop"},
        ("1 of 5 rows", "x 1"),
        (({}, ("'unknown' in column 'x', row 3", "type na_values 'unknown'")),),
    ),
    Report(
        GITHUB + "pola-rs/polars/issues/12692",
        "a column whose first rows are whole numbers stops at 2.1",
        "reads it",
        text("t.csv", rows("x,y", *(f"{i % 7},{2 * (i % 7) + 1}" for i in range(3000)), "2.5,6")),
        {"intercept": 1, "x": 2},
    ),
    Report(
        GITHUB + "pandas-dev/pandas/issues/20591",
        "True and False with a gap become text",
        "refuses the gap; with `missing drop`, True is 1",
        text("t.csv", rows("t,x,y", "True,1,5", "False,2,4", ",3,9", "True,4,11", "False,7,14")),
        {"intercept": 0, "t": 3, "x": 2},
        {"missing": "drop"},
        ("1 of 5 rows", "t 1"),
        (({}, ("column 't': row 3", "missing to drop")),),
    ),
    Report(
        GITHUB + "CSSEGISandData/COVID-19/issues/2330",
        "codes such as 01001 lose their zeros and are numbers to a regression",
        "says so and names `categorical`, which keeps the zeros",
        text("t.csv", CODES),
        {"intercept": 10, "x": 2, "zip[02007]": 10, "zip[11013]": 20},
        {"categorical": "zip"},
        refused=(({}, ("'zip'", "categorical")),),
        may_warn=True,
    ),
    Report(
        GITHUB + "serapeum-org/earthlens/issues/1046",
        "-999 in a Parquet file counts as a measurement",
        "`na_values -999` leaves it out, or is refused for Parquet; it is never ignored",
        parquet("t", a={"x": [1.0, 2, -999, 4, 7], "y": [3.0, 5, 7, 9, 15]}),
        {"intercept": 1, "x": 2},
        {"na_values": -999, "missing": "drop"},
        or_refused="na_values",
    ),
    Report(
        GITHUB + "pandas-dev/pandas/issues/4793",
        "a byte order mark and quotes stay in the first name",
        "reads the name",
        text(
            "t.csv",
            rows('"Name","x","y"', *(f'"n",{x},{2 * x + 1}' for x in range(4))),
            "utf-8-sig",
        ),
        {"intercept": 1, "x": 2},
        {"features": "x", "exclude": "Name"},
    ),
    Report(
        GITHUB + "wireservice/csvkit/issues/280",
        "days and months of 02/01/2014 and 31/12/2012 are mixed up row by row",
        "looks at the whole column and names `date_format '%d/%m/%Y'`, or both where either may be",
        text("t.csv", dates("%d/%m/%Y")),
        {"intercept": 1, "date[days]": 2},
        {"dates": "days", "date_format": "%d/%m/%Y"},
        refused=(({}, ("type '%d/%m/%Y'", "dates parts or days")),),
    ),
    Report(
        GITHUB + "pandas-dev/pandas/issues/37895",
        "13/06/2018 and 12/06/2018 are read in two ways, without a word",
        "a date of another form among the others is refused",
        text(
            "t.csv", rows("date,y", "13/06/2018,1", "12/06/2018,0", "06/14/2018,2", "15/06/2018,3")
        ),
        refused=(
            ({}, ("06/14/2018", "exclude", "categorical")),
            ({"dates": "days", "date_format": "%d/%m/%Y"}, ("06/14/2018",)),
        ),
    ),
    Report(
        GITHUB + "fecgov/openFEC/pull/2083",
        "dates such as 20180101 are stored as whole numbers, and must be cast",
        "says so (31 January and 1 February are 70 apart) and names `date_format`",
        text("t.csv", dates("%Y%m%d")),
        {"intercept": 1, "date[days]": 2},
        {"dates": "days", "date_format": "%Y%m%d"},
        refused=(({}, ("'date'", "date_format")),),
        may_warn=True,
    ),
    Report(
        GITHUB + "pandas-dev/pandas/issues/8185",
        "durations such as `0 days 08:30:00` come back from CSV as text",
        "says so, instead of a coefficient for each duration without a word",
        text(
            "t.csv", rows("t,y", *(f"0 days {8 + i % 4:02}:30:00,{2 * (i % 4)}" for i in range(12)))
        ),
        refused=(({}, ("'t'", "exclude", "categorical")),),
        may_warn=True,
    ),
    Report(
        GITHUB + "pandas-dev/pandas/issues/26259",
        "nanoseconds above 2^53 lose their last digits",
        "refuses them and says how to write them",
        text("t.csv", rows("t,y", *(f"{1556559573141592653 + k},{2 * k}" for k in range(9)))),
        refused=(({}, ("1556559573141592653 in column 't'", "subtract a constant")),),
    ),
    Report(
        GITHUB + "melihbirim/csvql/issues/102",
        "of two columns with one name the second is taken, without a word",
        "refuses the header and names the column",
        text("t.csv", rows("x,x,y", "1,2,3", "2,1,4", "3,5,8", "4,4,8.5")),
        refused=(
            ({}, ("'x'", "name")),
            ({"features": "x"}, ("'x'",)),
            ({"exclude": "x"}, ("'x'",)),
        ),
    ),
    Report(
        GITHUB + "pandas-dev/pandas/issues/9067",
        "blanks in a header become part of the name, and hours go into a key error",
        "asks whether the padded name is meant",
        text("t.csv", rows("name,    amount,y", *(f"n,{x},{2 * x + 1}" for x in range(5)))),
        {"intercept": 1, "    amount": 2},
        {"features": "    amount", "exclude": "name"},
        refused=(({"features": "amount"}, ("did you mean '    amount'",)),),
    ),
    Report(
        GITHUB + "pandas-dev/pandas/issues/9082",
        "a delimiter at the end of each row shifts the columns",
        "reads the rows",
        text("t.csv", rows("id,x,y", *(f"a,{x},{2 * x + 1}," for x in range(5)))),
        {"intercept": 1, "x": 2},
        {"exclude": "id"},
    ),
    Report(
        GITHUB + "pandas-dev/pandas/issues/10646",
        "the index that `to_csv` writes becomes a feature",
        "leaves the column without a name out and says so",
        text("t.csv", rows(",x,y", "0,3,7", "1,1,3", "2,2,5", "3,5,11")),
        {"intercept": 1, "x": 2},
        says=("columns without a name", "Unnamed: 0"),
    ),
    Report(
        GITHUB + "apache/arrow/issues/51368",
        "where blocks meet, a line end within quotes loses its line feed: a level becomes two",
        "keeps two levels over 16 MB",
        text(
            "t.csv",
            "note,x,y\r\n"
            + "".join(
                f'"Dear {"ab"[i % 2]},\r\nHow?",{i % 10007},{2 * (i % 10007) + i % 2}\r\n'
                for i in range(600_000)
            ),
        ),
        {"intercept": 0, "note[Dear b,\r\nHow?]": 1, "x": 2},
    ),
    Report(
        GITHUB + "h2oai/h2o-3/issues/16409",
        "`_SUCCESS` and `.crc` beside Spark's parts are read as data",
        "passes over them; each part has its own header",
        spark_folder,
        {"intercept": 1, "x": 3},
    ),
    Report(
        GITHUB + "tidyverse/readxl/issues/101",
        "lines above the header of a sheet are taken for it",
        "names `skip_rows`, with the right number",
        workbook(
            ["Run 7"], ["Device", "X2"], ["Well", "x", "y"], ["A", 1, 3], ["B", 2, 5], ["C", 4, 9]
        ),
        {"intercept": 1, "x": 2},
        {"skip_rows": 2, "exclude": "Well"},
        refused=(({}, ("skip_rows 2",)),),
    ),
    Report(
        GITHUB + "pandas-dev/pandas/pull/3758",
        "markers of missing values given for a workbook do nothing",
        "`na_values` holds for a workbook too, as its message advises",
        workbook(["x", "y"], [1, 3], [2, 5], ["three", 7], [4, 9], [7, 15]),
        {"intercept": 1, "x": 2},
        {"na_values": "three", "missing": "drop"},
        refused=(({}, ("'three' in column 'x', row 3",)),),
        or_refused="na_values",
    ),
    Report(
        GITHUB + "MarkPflug/Sylvan.Data.Excel/issues/74",
        "below its data, a sheet has a row of sums, which is read as data",
        "`skip_footer 1` leaves the sums of a sheet out, or is refused; it is not ignored",
        workbook(["Well", "x", "y"], ["A", 1, 3], ["B", 2, 5], ["C", 4, 9], ["Total", 7, 17]),
        {"intercept": 1, "x": 2},
        {"skip_footer": 1, "exclude": "Well"},
        or_refused="skip_footer",
    ),
    Report(
        GITHUB + "pandas-dev/pandas/issues/13923",
        "two codes of a Stata file with one label cannot be read",
        "keeps the codes apart, or refuses; it never merges them without a word",
        lambda: labelled(
            pyreadstat.write_dta,
            "t.dta",
            [1, 2, 3, 1, 2, 3],
            {1: "other", 2: "other", 3: "degree"},
        ),
        refused=(({"categorical": "code"}, ("'code'", "other")),),
        may_warn=True,
    ),
    Report(
        GITHUB + "tidyverse/haven/issues/327",
        "labels of a Stata file that are not sorted by their codes are mixed up",
        "gives each code its label",
        lambda: labelled(
            pyreadstat.write_dta,
            "t.dta",
            [3, 1, 2, 3, 1, 2],
            {1: "Democrat", 3: "Independent", 2: "Republican"},
        ),
        {"intercept": 100, "x": 1, "code[Independent]": 200, "code[Republican]": 100},
        {"categorical": "code"},
    ),
    Report(
        GITHUB + "tidyverse/haven/issues/74",
        "of values declared missing in SPSS, one reader gives the number, another a gap",
        "lacks a value there",
        lambda: labelled(
            pyreadstat.write_sav,
            "t.sav",
            [1, 2, 2, 9, 1, 2],
            {1: "yes", 2: "no", 9: "don't know"},
            missing_ranges={"code": [9]},
        ),
        {"intercept": 0, "x": 1, "code": 100},
        {"missing": "drop"},
        ("1 of 6 rows", "labels for its numbers"),
        (({}, ("column 'code': row 4", "missing to drop")),),
    ),
    Report(
        GITHUB + "apache/arrow/issues/39660",
        "folders `code=01` give the number 1",
        "says so and names `categorical`, which keeps the zeros",
        partitions("code", "01", "02", "10"),
        {"intercept": 10, "x": 2, "code[02]": 10, "code[10]": 20},
        {"categorical": "code"},
        refused=(({}, ("'code'", "categorical")),),
        may_warn=True,
    ),
    Report(
        GITHUB + "pola-rs/polars/issues/13177",
        "folders `code=01001` and `code=2A001`: the type is guessed from the first",
        "all are text",
        partitions("code", "01001", "11164", "2A001"),
        {"intercept": 10, "x": 2, "code[11164]": 10, "code[2A001]": 20},
    ),
    Report(
        GITHUB + "apache/arrow/issues/47592",
        "folders `run_date=2025-09-17` are to be numbers",
        "are dates: names `dates`",
        partitions("run_date", "2025-09-17", "2025-09-18", "2025-09-19"),
        {"intercept": 10, "x": 2, "run_date[days]": 10},
        {"dates": "days"},
        refused=(({}, ("'run_date'", "parts", "days", "exclude", "categorical")),),
    ),
    Report(
        GITHUB + "duckdb/duckdb/pull/20512",
        "the folder of missing keys, `__HIVE_DEFAULT_PARTITION__`, is a level",
        "lacks a value there, and names `missing`",
        partitions("city", "Oslo", "Rome", "__HIVE_DEFAULT_PARTITION__"),
        {"intercept": 10, "x": 2, "city[Rome]": 10},
        {"missing": "drop"},
        ("4 of 12 rows",),
        (({}, ("'city'", "missing to drop")),),
    ),
    Report(
        GITHUB + "apache/gluten/issues/6879",
        "`app=Ai%20Chat` stays escaped",
        "reads the blank, the slash and the umlaut",
        partitions("app", "Ai%20Chat", "a%2Fb", "%C3%BC=1"),
        {"intercept": 10, "x": 2, "app[a/b]": 10, "app[ü=1]": 20},
    ),
    Report(
        GITHUB + "derekwisong/datui/issues/237",
        "the folder of a Delta table is read with the rows that were deleted",
        "refuses it",
        delta_folder,
        refused=(({}, ("path: table", "Delta")),),
    ),
    Report(
        GITHUB + "dask/dask/issues/5759",
        "a text column without a value in one of the files has another type there",
        "lacks values there, and names `missing`",
        parquet(
            "t",
            a={"k": ["u", "v", "u"], "x": [1.0, 2, 4], "y": [3.0, 6, 9]},
            b={"k": [None] * 3, "x": [1.5, 2, 3], "y": [4.0, 5, 7]},
        ),
        {"intercept": 1, "x": 2, "k[v]": 1},
        {"missing": "drop"},
        ("3 of 6 rows",),
        (({}, ("'k'", "missing to drop")),),
    ),
    Report(
        GITHUB + "pola-rs/polars/issues/29458",
        "times with and without a zone become one column, by the order of the files",
        "refuses, and names both files and types",
        zones,
        refused=(({"dates": "days"}, ("naive.parquet", "utc.parquet", "tz=UTC")),),
    ),
    Report(
        GITHUB + "derekwisong/datui/pull/197",
        "int64 in one file and float64 in another stop the read",
        "reads both",
        parquet("t", a={"x": [1, 2, 4], "y": [3, 5, 9]}, b={"x": [1.5, 2, 3], "y": [4.0, 5, 7]}),
        {"intercept": 1, "x": 2},
    ),
    Report(
        GITHUB + "dask/dask/issues/5647",
        "decimals of a Parquet file cannot be read",
        "reads them",
        parquet("t", a={c: [Decimal(v) for v in vs.split()] for c, vs in MONEY.items()}),
        {"intercept": 1, "x": 2},
    ),
    Report(
        GITHUB + "statsmodels/statsmodels/issues/8982",
        "pandas' Float64 with pd.NA is no number",
        "is one, and refuses the gap",
        lambda: pd.DataFrame({"x": pd.array([1, 2, None, 7], "Float64"), "y": [3.0, 5, 7, 15]}),
        {"intercept": 1, "x": 2},
        {"missing": "drop"},
        ("1 of 4 rows",),
        (({}, ("column 'x': row 3", "missing to drop")),),
    ),
    Report(
        GITHUB + "statsmodels/statsmodels/issues/9127",
        "a column of booleans beside numbers stops the fit",
        "True is 1",
        lambda: pd.DataFrame(FLAGS).assign(y=lambda flags: 2 * flags.a + flags.b + 5 * flags.c),
        {"intercept": 0, "a": 2, "b": 1, "c": 5},
    ),
    Report(
        GITHUB + "statsmodels/statsmodels/issues/6886",
        "floats in a column of type object become categories",
        "are numbers",
        lambda: pd.DataFrame({"x": pd.Series([1.0, 2.5, 3, 4], dtype=object), "y": [3.0, 6, 7, 9]}),
        {"intercept": 1, "x": 2},
    ),
    Report(
        GITHUB + "dmlc/xgboost/issues/2670",
        "names of several levels, from a pivot table, are not unique",
        "shows each as a tuple, by which it is named",
        salaries,
        {"intercept": 1, "('salary', 5)": 2, "('tax', 5)": -1},
        target="('y', '')",
    ),
    Report(
        GITHUB + "pola-rs/polars/issues/19096",
        "a level `null` and a missing value give one name twice",
        "tells them apart",
        lambda: pl.DataFrame(
            {"k": ["a", "b", "null", None, "b"], "x": [1.0, 2, 3, 4, 7], "y": [3.0, 6, 9, 0, 16]}
        ),
        {"intercept": 1, "x": 2, "k[b]": 1, "k[null]": 2},
        {"missing": "drop"},
        ("1 of 5 rows", "k 1"),
    ),
    Report(
        GITHUB + "scikit-learn/scikit-learn/issues/9073",
        "a column and the same plus 2 get coefficients of 3e11",
        "leaves the later one out and says so; names are whole numbers",
        collinear,
        {"intercept": 1, "0": 1, "1": 2, "2": -1, "3": float("nan")},
        says=("linear combinations of earlier columns: 3",),
    ),
    Report(
        GITHUB + "statsmodels/statsmodels/issues/9258",
        "x of about 1e14: the line passes beside the points",
        "agrees with rational arithmetic",
        lambda: pd.DataFrame({"x": LARGE, "y": [float(y) for y in FALLING]}),
        exact_line(LARGE, [Fraction(float(y)) for y in FALLING]),
    ),
    Report(
        GITHUB + "simple-statistics/simple-statistics/pull/857",
        "milliseconds since 1970 as x give a slope that is 69% wrong",
        "the slope is right",
        lambda: pd.DataFrame({"t": MILLISECONDS, "y": 2 * (MILLISECONDS - 1.7e12) + 5}),
        {"intercept": 5 - 3.4e12, "t": 2},
    ),
    Report(
        GITHUB + "numpy/numpy/issues/5702",
        "whole numbers near 2^32 as x give a wrong line",
        "the line is right",
        lambda: pd.DataFrame({"x": np.arange(4155915305, 4155921005, 190)}).assign(
            y=lambda frame: 3 * frame.x + 7
        ),
        {"intercept": 7, "x": 3},
    ),
    Report(
        GITHUB + "Quantco/glum/issues/503",
        "asks why negative weights are not taken",
        "are refused, with their row",
        lambda: pd.DataFrame({"x": [1.0, 2, 3], "y": [1.0, 3, 2], "w": [1, -1, 2]}),
        refused=(({"weight": "w"}, ("weight: -1 was given in row 2", "0 or above")),),
    ),
]


@pytest.mark.parametrize("report", REPORTS, ids=lambda report: report.source.split("//")[1][-40:])
def test_input_of_a_report_is_fitted_or_refused_with_a_remedy(report: Report) -> None:
    path = report.make()
    for options, words in report.refused:
        answer = fit(path, report.target, **options)
        said = answer.refusal + (answer.warnings if report.may_warn else "")
        missing = [word for word in words if word not in said]
        assert not missing, (answer.refusal, answer.warnings, answer.coefficients)
    if report.expected:
        answer = fit(path, report.target, **report.options)
        if report.or_refused and answer.refusal.startswith(f"{report.or_refused}: "):
            return
        assert not answer.refusal
        assert answer.coefficients.keys() == report.expected.keys(), answer.coefficients
        for name, value in report.expected.items():
            close = pytest.approx(value, rel=1e-9, abs=1e-9, nan_ok=True)
            assert answer.coefficients[name] == close, name
        assert not [word for word in report.says if word not in answer.warnings], answer.warnings


def test_a_file_of_another_encoding_is_read_as_its_refusal_says() -> None:
    path = text("t.csv", rows("x,y", "1,3", "2,5", "4,9"), "utf-16")()
    command = fit(path).refusal.partition("such as by ")[2]
    command = command.replace("OLD.csv", path).replace("NEW.csv", "new.csv")
    subprocess.run(command, shell=True, check=True)
    assert fit("new.csv").coefficients == pytest.approx({"intercept": 1, "x": 2})


def test_readme_lists_the_reports() -> None:
    assert README.read_text().endswith(table(all_reports()))
