"""Columns of dates: their parts and days agree with pandas and Python, in files and frames."""

from __future__ import annotations

import datetime as dt
import re
import warnings
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest
import statsmodels.formula.api as smf
import torch
from lightning.pytorch import Trainer

from linreg_lightning import InputError, LeastSquares, TabularData
from linreg_lightning.design_matrix.dates import DateStatistics, Moments, date_term
from linreg_lightning.design_matrix.design import Design
from linreg_lightning.design_matrix.frame_reader import FrameReader
from linreg_lightning.tables.date_text import find_formats, parse_dates

MakeTrainer = Callable[..., Trainer]
Columns = dict[str, list[float]]
DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def columns(source: Any, **arguments: Any) -> Columns:
    """Return the columns of x by name."""
    data = TabularData(source, "y", **arguments)
    data.setup("fit")
    return dict(zip(data.feature_names, data.splits["train"].x.T.tolist(), strict=True))


def transform(values: Any, dates: Any, fitted: Any) -> tuple[list[str], np.ndarray]:
    """Return the columns that a pyarrow array gives, and their names."""
    statistics = DateStatistics(dates, fitted)
    statistics.add(values)
    term = date_term("t", statistics.state(), keeps_all=False)
    out = np.empty((len(term.names), len(values)))
    assert not len(term.transform(values, out))
    return term.names, out


def indicators(times: pd.Series) -> pd.DataFrame:
    """Return the parts of times as pandas finds them, each without its first level."""
    parts = pd.DataFrame(
        {"month": times.dt.month, "weekday": times.dt.dayofweek, "hour": times.dt.hour}
    )
    frame = pd.DataFrame({"t[year]": times.dt.year})
    for part, values in parts.items():
        for level in sorted(values.dropna().unique())[1:]:
            label = DAYS[int(level)] if part == "weekday" else int(level)
            frame[f"t[{part}={label}]"] = (values == level).astype(float).where(values.notna())
    return frame.astype(float)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin", "America/St_Johns", "+05:45"])
def test_parts_are_those_of_pandas(unit: str, zone: str | None) -> None:
    generator = np.random.default_rng(len(unit) + 7 * len(zone or ""))
    # From 1680 to 2260, where nanoseconds end; and the hours in which clocks are set.
    seconds = generator.integers(-9_150_000_000, 9_150_000_000, 300)
    seconds = np.concatenate([seconds, 1711846800 + np.arange(-3, 4) * 3600, [-1, 0, 951782400]])
    times = pd.Series(pd.DatetimeIndex(seconds.astype("datetime64[s]")).as_unit(unit))
    times = times if zone is None else times.dt.tz_localize("UTC").dt.tz_convert(zone)
    times[3] = pd.NaT
    names, x = transform(pa.array(times), "parts", pa.timestamp("us", zone))
    expected = indicators(times)
    assert names == list(expected)
    np.testing.assert_array_equal(x.T, expected.to_numpy())


@pytest.mark.parametrize("unit", [*UNITS, "day"])
def test_days_are_exact_differences(unit: str) -> None:
    generator = np.random.default_rng(3)
    limit = 9_150_000_000 if unit == "ns" else 62_135_596_800  # year 1
    if unit == "day":
        ticks, per_day = generator.integers(-719_162, 2_932_896, 200).tolist(), 1
        values = pa.array(ticks, pa.date32())
    else:
        per_day = 86_400 * UNITS[unit]
        ticks = (generator.integers(-limit, limit, 200) * UNITS[unit] + 1).tolist()
        values = pa.array(ticks, pa.timestamp(unit, "Asia/Tokyo"))
    zone = None if unit == "day" else "Asia/Tokyo"
    names, x = transform(values, "days", pa.timestamp("us", zone))
    exact = np.array([float(Fraction(tick - min(ticks), per_day)) for tick in ticks])
    assert names == ["t[days]"]
    np.testing.assert_array_less(np.abs(x[0] - exact), np.spacing(exact) * 1.01)
    whole = exact == np.floor(exact)
    np.testing.assert_array_equal(x[0][whole], exact[whole])


def test_the_first_and_the_last_year_and_leap_days() -> None:
    dates = [dt.date(1, 1, 1), dt.date(9999, 12, 31), dt.date(2024, 2, 29), dt.date(1900, 2, 28)]
    parts = Moments.of(pa.array(dates)).parts()
    assert parts["year"].tolist() == [d.year for d in dates]
    assert parts["month"].tolist() == [d.month for d in dates]
    assert parts["weekday"].tolist() == [d.weekday() for d in dates]


def frame(rows: int = 120) -> pd.DataFrame:
    generator = np.random.default_rng(5)
    t = pd.Timestamp("2021-03-01") + pd.to_timedelta(generator.integers(0, 40_000, rows), unit="h")
    y = generator.normal(size=rows) + t.month + 0.1 * t.hour
    return pd.DataFrame({"t": t.as_unit("us"), "z": generator.normal(size=rows), "y": y})


def sources() -> list[tuple[Any, dict[str, Any]]]:
    """Return the same rows as files and as frames, with the arguments that each needs."""
    rows = frame()
    rows.to_csv("t.csv", index=False)
    rows.to_parquet("t.parquet")
    rows.to_feather("t.feather")
    text = rows.assign(t=rows.t.dt.strftime("%d.%m.%Y %H:%M"))
    text.to_csv("text.csv", index=False)
    frames = [
        rows.assign(t=rows.t.dt.as_unit("ns")),
        pl.from_pandas(rows),
        duckdb.sql("select * from 't.parquet'"),
        pa.RecordBatch.from_pandas(rows),
    ]
    plain = [(source, {}) for source in ["t.csv", "t.parquet", "t.feather", *frames]]
    return [*plain, ("text.csv", {"date_format": "%d.%m.%Y %H:%M"})]


@pytest.mark.parametrize("dates", ["parts", "days"])
def test_files_and_frames_give_the_same_columns(dates: str) -> None:
    given = sources()  # the first is a file
    first, *others = (columns(source, dates=dates, **a) for source, a in given)
    rows = frame()
    if dates == "parts":
        expected = indicators(rows.t)
    else:
        expected = pd.DataFrame({"t[days]": (rows.t - rows.t.min()) / pd.Timedelta(days=1)})
    assert first == {**expected.to_dict("list"), "z": rows.z.tolist()}
    for other in others:
        assert other == first


def test_dates_and_times_of_day_of_every_type() -> None:
    day, time = dt.date(2024, 2, 29), dt.time(23, 30)
    days = [day, day + dt.timedelta(1), day + dt.timedelta(31)]
    rows = pd.DataFrame({"t": days, "y": [1.0, 2.0, 4.0]})  # objects
    expected = {"t[days]": [0.0, 1.0, 31.0]}
    date64 = pa.table({"t": pa.array(days, pa.date64()), "y": [1.0, 2.0, 4.0]})
    categories = rows.assign(t=pd.Categorical(pd.to_datetime(rows.t)))
    rows.to_csv("t.csv", index=False)
    for source in (rows, pl.from_pandas(rows), date64, categories, "t.csv"):
        assert columns(source, dates="days") == expected
    parts = {"t[year]": [2024.0] * 3, "t[month=3]": [0.0, 1.0, 1.0]}
    assert columns("t.csv", dates="parts") == parts | {
        "t[weekday=Fri]": [0.0, 1.0, 0.0],
        "t[weekday=Sun]": [0.0, 0.0, 1.0],
    }
    rows["t"] = [time, dt.time(1), time]
    rows.to_csv("t.csv", index=False)
    for source in (rows, pl.from_pandas(rows), "t.csv"):
        assert columns(source, dates="parts") == {"t[hour=23]": [1.0, 0.0, 1.0]}
        with pytest.raises(
            InputError, match=r"dates: column 't' of .* which have no date; type pa"
        ):
            columns(source, dates="days")


def fitted(trainer: MakeTrainer, data: TabularData, **arguments: Any) -> LeastSquares:
    model = LeastSquares(**arguments)
    trainer(max_epochs=1).fit(model, data)
    return model


@pytest.mark.filterwarnings("ignore")
def test_a_fit_agrees_with_statsmodels_and_predicts_frames_and_files(trainer: MakeTrainer) -> None:
    rows = frame(400)
    zoned = rows.assign(t=rows.t.dt.tz_localize("UTC").dt.tz_convert("America/New_York"))
    formula = "y ~ t.dt.year + C(t.dt.month) + C(t.dt.dayofweek) + C(t.dt.hour) + z"
    peer = smf.ols(formula, zoned).fit()
    data = TabularData(pl.from_pandas(zoned), "y", dates="parts", val_fraction=0.0)
    model = fitted(trainer, data)
    fitted_values = peer.fittedvalues.to_numpy()[:, None]
    np.testing.assert_allclose(model.predict(zoned), fitted_values, rtol=1e-9)
    # An instant is the same in every zone; a CSV file has UTC.
    rows.assign(t=rows.t.dt.strftime("%Y-%m-%dT%H:%M:%SZ")).to_csv("t.csv", index=False)
    assert "t: compared to month 1, weekday Mon, hour 0" in str(model.summary())
    in_utc = zoned.assign(t=zoned.t.dt.tz_convert("UTC"))
    np.testing.assert_allclose(model.predict(in_utc), fitted_values, rtol=1e-9)
    later = TabularData("t.csv", "y", design=data.hparams["design"])
    later.setup("predict")
    x = torch.cat([batch.x for batch in later.predict_dataloader()])
    assert torch.equal(x, data.splits["train"].x)
    with pytest.raises(InputError, match=r"timestamp.*fitted on dates with a time zone"):
        model.predict(rows)
    with pytest.raises(InputError, match=r"of type (large_)?string"):
        model.predict(rows.assign(t="2024-01-01"))


def test_a_streamed_fit_with_a_split_has_the_design_of_its_training_rows() -> None:
    rows = frame(300)
    rows.to_csv("t.csv", index=False)
    designs = []
    for stream in (True, False):
        data = TabularData("t.csv", "y", dates="days", val_fraction=0.3, stream=stream)
        data.setup("fit")
        designs.append(data.hparams["design"])
    assert designs[0] == designs[1]
    first = pd.Timestamp(0) + pd.Timedelta(days=designs[0]["dates"]["t"]["first"][0])
    whole = TabularData("t.csv", "y", dates="days", val_fraction=0.3, stream=False)
    whole.setup("fit")
    assert min(whole.splits["train"].x[:, 0].tolist()) == 0.0
    assert first == rows.t[rows.t >= first].min().normalize()


def test_missing_dates_are_left_out_or_filled_with_means() -> None:
    rows = frame(40)
    rows.loc[[3, 5], "t"] = pd.NaT
    rows.to_csv("t.csv", index=False)
    complete = rows.dropna().reset_index(drop=True)
    for dates in ("parts", "days"):
        with pytest.raises(InputError, match=r"column 't'.*row 4"):
            columns("t.csv", dates=dates)
        expected = columns(complete, dates=dates)
        assert columns("t.csv", dates=dates, missing="drop") == expected
        filled = columns("t.csv", dates=dates, missing="mean")
        assert list(filled) == list(expected)
        for name, values in filled.items():
            if name != "z":
                assert values[3] == values[5] == pytest.approx(np.mean(expected[name]), rel=1e-14)
                assert values[:3] + values[4:5] + values[6:] == expected[name]


def test_an_unseen_month_is_refused_or_zero_and_a_year_is_not() -> None:
    dates = pd.to_datetime(["2024-01-01", "2024-02-06", "2024-02-05", "2024-01-09"])
    names = ["t[year]", "t[month=2]", "t[weekday=Tue]"]
    data = TabularData(pd.DataFrame({"t": dates, "y": [1.0, 2, 3, 5]}), "y", dates="parts")
    data.setup("fit")
    assert data.feature_names == names
    design = Design(**data.hparams["design"])
    assert design.state() == data.hparams["design"]
    later = pd.DataFrame({"t": pd.to_datetime(["2025-02-04", "2025-07-01"])})
    message = r"column 't': row 2 holds 2025-07-01[ :.0]* \(month 7\), which no row that was"
    with pytest.raises(InputError, match=message):
        FrameReader(design).read(later)
    x = FrameReader(design, unseen="zero").read(later)[0]
    assert x.tolist() == [[2025.0, 1.0, 1.0], [2025.0, 0.0, 1.0]]
    with pytest.raises(InputError, match=r"\(weekday Sun\)"):
        FrameReader(design).read(later.assign(t=pd.Timestamp("2024-02-04")))


def test_without_a_constant_the_first_part_keeps_all_levels() -> None:
    parts = {"zone": None, "month": [1, 2], "weekday": [0, 1], "hour": []}
    names = ["t[year]", "t[month=1]", "t[month=2]", "t[weekday=Tue]", "c[b]"]
    design = Design(["t", "c"], {"c": ["a", "b"]}, constant=False, dates={"t": parts})
    assert design.names == names
    design = Design(["c", "t"], {"c": ["a", "b"]}, constant=False, dates={"t": parts})
    assert design.names == ["c[a]", "c[b]", "t[year]", "t[month=2]", "t[weekday=Tue]"]
    # A design from a checkpoint that is older than dates.
    assert Design(**{"features": ["a"], "levels": {}, "means": {}, "constant": True}).names == ["a"]


def test_dates_are_refused_unless_told_what_they_are() -> None:
    rows = frame(8)
    rows.to_csv("t.csv", index=False)
    with pytest.raises(InputError) as refusal:
        columns("t.csv")
    message = str(refusal.value)
    assert message.startswith("dates: column 't' of t.csv holds values of type timestamp[s]; type ")
    for remedy in ("parts", "days", "exclude", "categorical"):
        assert remedy in message
    assert list(columns("t.csv", exclude="t")) == ["z"]
    assert list(columns("t.csv", features="z", dates="parts")) == ["z"]
    rows.assign(t=rows.t.dt.normalize().where(rows.index < 4, rows.t[0])).to_csv(
        "t.csv", index=False
    )
    assert all("t[20" in name or name == "z" for name in columns("t.csv", categorical="t"))
    with pytest.raises(InputError, match="dates: 'week' was given; type refuse, parts or days"):
        columns("t.csv", dates="week")
    with pytest.raises(InputError, match=r"column 't' .* duration"):
        columns(rows.assign(t=rows.t - rows.t.min()), dates="days")


TEXTS = {
    "day first": ("%d/%m/%Y", ["03/04/2024", "13/04/2024", "14/05/2024"]),
    "without zeros": ("%d.%m.%Y", ["3.4.2024", "30.4.2024", "1.12.2024"]),
    "month first": ("%m/%d/%y", ["3/4/24", "3/31/24", "12/1/24"]),
    "names": ("%b %d, %Y", ["Jan 5, 2024", "feb 29, 2024", "Mar 1, 2024"]),
    "full names": ("%d %B %Y", ["5 January 2024", "29 February 2024", "1 May 2024"]),
    "slashes": ("%Y/%m/%d", ["2024/01/05", "2024/02/29", "2024/03/01"]),
    "months": ("%Y-%m", ["2024-01", "2024-02", "2024-12"]),
    "am and pm": (
        "%m/%d/%Y %I:%M %p",
        ["1/31/2024 2:30 PM", "2/1/2024 12:05 am", "3/1/2024 9:00 AM"],
    ),
    "fractions": ("%Y/%m/%d %H:%M:%S.%f", ["2024/01/05 10:00:00.5", "2024/02/05 0:00:00.25"]),
    "offsets": (
        "%d-%b-%Y %H:%M:%S %z",
        ["05-Jan-2024 23:00:00 -0500", "06-Feb-2024 01:00:00 +0530"],
    ),
    "the end of time": (
        "%Y-%m-%d %H:%M:%S.%f",
        ["9999-12-31 00:00:00.000", "2024-01-01 00:00:00.000"],
    ),
}


@pytest.mark.parametrize("case", TEXTS)
def test_dates_as_text_are_refused_with_the_format_that_reads_them(case: str) -> None:
    date_format, texts = TEXTS[case]
    table = "t;y\n" + "".join(f"{text};{k}\n" for k, text in enumerate(texts * 2))
    Path("t.csv").write_text(table)
    with pytest.raises(InputError) as refusal:
        columns("t.csv", delimiter=";")
    message = str(refusal.value)
    assert message.startswith("date_format: column 't' of t.csv holds dates as text, such as ")
    (advised,) = re.findall("'(%[^']*)'", message)
    assert advised == date_format
    x = columns("t.csv", delimiter=";", dates="days", date_format=advised)
    expected = [dt.datetime.strptime(text, date_format) for text in texts * 2]
    days = [(time - min(expected)) / dt.timedelta(days=1) for time in expected]
    np.testing.assert_allclose(x["t[days]"], days, rtol=1e-15)
    assert next(iter(columns("t.csv", delimiter=";", categorical="t"))).startswith("t[")


def test_a_day_that_may_be_a_month_is_asked_for() -> None:
    rows = "".join(f"{day:02}/04/2024,{day % 3}\n" for day in range(1, 13))
    Path("t.csv").write_text("t,y\n" + rows)
    message = "'%d/%m/%Y' if the day comes first or '%m/%d/%Y' if the month comes first"
    with pytest.raises(InputError, match=re.escape(message)):
        columns("t.csv")
    for date_format, last in (("%d/%m/%Y", 11.0), ("%m/%d/%Y", 335.0)):
        assert columns("t.csv", dates="days", date_format=date_format)["t[days]"][-1] == last
    with pytest.raises(InputError, match=r"date_format: both .* as other dates; leave one out"):
        columns("t.csv", dates="days", date_format=["%d/%m/%Y", "%m/%d/%Y"])
    # A later row decides.
    Path("t.csv").write_text("t,y\n" + rows + "13/04/2024,1\n")
    with pytest.raises(InputError, match="type '%d/%m/%Y', and dates parts or days; or leave"):
        columns("t.csv")


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["2024Q1", "2024Q2"], "categorical: column 't' of t.csv holds quarters or weeks, such as"),
        (["1:30 PM", "2:00 PM"], "categorical: column 't' of t.csv holds times of day as text"),
        (["2024-01-05", "soon", "2024-02-05"], "holds 'soon' among dates such as '2024-01-05'"),
    ],
)
def test_other_times_as_text_are_refused_too(texts: list[str], message: str) -> None:
    Path("t.csv").write_text("t,y\n" + "".join(f"{text},{k}\n" for k, text in enumerate(texts * 2)))
    with pytest.raises(InputError, match=message):
        columns("t.csv", dates="parts")


def test_text_that_is_no_date_stays_a_category() -> None:
    for texts in (
        ["A1", "B2"],
        ["2019-2020", "2020-2021"],
        ["1/2", "3/4"],
        ["Jan", "May"],
        ["1-3", "4-6"],
    ):
        assert find_formats(texts) == ([], [])
    frame_of_text = pd.DataFrame({"t": ["03/04/2024", "13/04/2024"] * 3, "y": range(6)})
    with pytest.warns(UserWarning, match="'t': it holds dates as text, such as '03/04/2024', and"):
        assert list(columns(frame_of_text)) == ["t[13/04/2024]"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        columns(frame_of_text, categorical="t")
    with pytest.raises(InputError, match=r"it holds dates as text.*pandas\.to_datetime"):
        columns(pd.DataFrame({"t": ["2024-01-01", "2024-01-02", "2024-01-03"], "y": range(3)}))


@pytest.mark.parametrize(
    ("text", "date_format"),
    [
        ("31/04/2024", "%d/%m/%Y"),
        ("29/02/2023", "%d/%m/%Y"),
        ("03/04/24", "%d/%m/%Y"),
        ("04/13/2024", "%d/%m/%Y"),
        ("tomorrow", "%d/%m/%Y"),
    ],
)
def test_a_text_that_is_no_date_is_refused_with_its_row(text: str, date_format: str) -> None:
    dates = [dt.date(2024, 4, day).strftime(date_format) for day in (3, 4, 13)]
    Path("t.csv").write_text("t,y\n" + "".join(f"{each},1\n" for each in [*dates, text]))
    with pytest.raises(InputError) as refusal:
        columns("t.csv", dates="days", date_format=date_format)
    assert text in str(refusal.value)
    data = TabularData("t.csv", "y", date_format=date_format, design=_days_design())
    data.setup("predict")
    with pytest.raises(
        InputError, match=f"t.csv has '{text}' in column 't', row 4, which is no da"
    ):
        list(data.predict_dataloader())


def _days(texts: pd.Series) -> pd.Series:
    times = pd.to_datetime(texts, format="%d/%m/%Y")
    return (times - times.min()) / pd.Timedelta(days=1)


def _days_design() -> dict[str, Any]:
    return Design(["t"], dates={"t": {"zone": None, "first": [0, 0]}}).state()


def test_a_date_that_no_later_row_has_is_named() -> None:
    Path("t.csv").write_text("t,y\n2024-01-05,1\nlater,2\n")
    data = TabularData("t.csv", "y", design=_days_design())
    data.setup("predict")
    with pytest.raises(
        InputError, match=r"has 'later' in column 't', row 2, which is no date; .*mend it"
    ):
        list(data.predict_dataloader())


def test_digits_are_dates_only_in_a_format() -> None:
    Path("t.csv").write_text("t,n,y\n20240105,20249999,1\n20240229,5,2\n")
    assert columns("t.csv")["t"] == [20240105.0, 20240229.0]
    x = columns("t.csv", dates="days", date_format="%Y%m%d")
    assert x == {"t[days]": [0.0, 55.0], "n": [20249999.0, 5.0]}
    Path("t.csv").write_text("t,y\n01112024,1\n1112024,2\n")
    with pytest.raises(
        InputError, match="has no column of dates in the format '%d%m%Y'; type that"
    ):
        columns("t.csv", dates="days", date_format="%d%m%Y")
    Path("t.csv").write_text("t,y\n5,1\n7,2\n")
    with pytest.raises(
        InputError, match="has no column of dates in the format '%Y%m%d'; type that"
    ):
        columns("t.csv", dates="days", date_format="%Y%m%d")
    for wrong in ("%H:%M", "dd/mm/yyyy", "%Y-%m-%d %Z", ""):
        with pytest.raises(InputError, match=r"date_format: .* was given; type codes of strptime"):
            columns("t.csv", date_format=wrong)


def test_parsed_dates_agree_with_python_for_random_texts() -> None:
    generator = np.random.default_rng(1)
    for date_format in ("%d/%m/%Y %H:%M", "%m-%d-%y", "%B %d, %Y", "%Y%m%dT%H%M%S"):
        seconds = generator.integers(0, 2_000_000_000, 200).tolist()
        texts = [dt.datetime.fromtimestamp(s, dt.UTC).strftime(date_format) for s in seconds]
        expected = [dt.datetime.strptime(text, date_format) for text in texts]
        parsed = parse_dates(pa.array(texts), date_format).cast(pa.timestamp("us"))
        assert parsed.to_pylist() == expected


def test_files_with_dates_of_two_types_are_one_table_or_refused() -> None:
    Path("f").mkdir()
    day, time = [dt.date(2024, 1, 1)] * 2, [dt.datetime(2024, 1, 2, 12)] * 2
    pyarrow.parquet.write_table(pa.table({"t": day, "y": [1.0, 2.0]}), "f/a.parquet")
    pyarrow.parquet.write_table(pa.table({"t": time, "y": [1.0, 2.0]}), "f/b.parquet")
    assert columns("f", dates="days")["t[days]"] == [0.0, 0.0, 1.5, 1.5]
    zoned = pa.array(time, pa.timestamp("us", "UTC"))
    pyarrow.parquet.write_table(pa.table({"t": zoned, "y": [1.0, 2.0]}), "f/b.parquet")
    with pytest.raises(InputError, match=r"column 't' is date32.* and timestamp.*; name files"):
        columns("f", dates="days")
    berlin = pa.array(time, pa.timestamp("s", "Europe/Berlin"))
    pyarrow.parquet.write_table(pa.table({"t": berlin, "y": [1.0, 2.0]}), "f/a.parquet")
    assert columns("f", dates="days")["t[days]"] == [0.0] * 4


@pytest.mark.filterwarnings("ignore")
def test_groups_and_kept_columns_have_dates(
    command: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = frame(60).assign(g=["a", "b"] * 30)
    rows["t"] = rows.t.dt.strftime("%d/%m/%Y")
    rows.to_csv("t.csv", index=False)
    known = "--data.path t.csv --data.target y --data.date_format %d/%m/%Y"
    answer = command(f"fit --model LeastSquares {known} --data.dates days --data.exclude g")
    peer = smf.ols("y ~ days + z", rows.assign(days=_days(rows.t))).fit()
    estimates = [row["estimate"] for row in answer["coefficients"]]
    names = [row["name"] for row in answer["coefficients"]]
    expected = dict(zip(["intercept", "t[days]", "z"], peer.params, strict=True))
    np.testing.assert_allclose(estimates, [expected[name] for name in names], rtol=1e-9)
    capsys.readouterr()
    command("predict --ckpt_path last --keep t")
    (file,) = Path("logs").glob("**/predictions.csv")
    later = pd.read_csv(file)
    assert pd.to_datetime(later["t"]).tolist() == pd.to_datetime(rows.t, dayfirst=True).tolist()
    np.testing.assert_allclose(later.iloc[:, -1], peer.fittedvalues, rtol=1e-9)


def test_a_zone_that_is_not_known_is_refused() -> None:
    times = pa.array([0, 86400], pa.timestamp("s", "Mars/Olympus"))
    with pytest.raises(InputError, match="whose time zone is not known here; convert it to UTC"):
        columns(pa.table({"t": times, "y": [1.0, 2.0]}), dates="parts")


def test_summer_time_goes_on_after_2037() -> None:
    times = pd.Series(
        pd.to_datetime(["2037-07-01", "2038-01-01", "2045-07-01", None, "2500-07-01"])
    )
    times = times.dt.as_unit("s").dt.tz_localize("UTC").dt.tz_convert("Europe/Berlin")
    hours = Moments.of(pa.array(times)[1:], "Europe/Berlin").parts()["hour"]
    assert hours[[0, 1, 3]].tolist() == [1, 2, 2] == times.dt.hour[[1, 2, 4]].tolist()


def test_a_text_is_a_date_in_random_columns_only_where_python_reads_it() -> None:
    generator = np.random.default_rng(2)
    digits = generator.integers(0, 40, (100, 3))
    for sign in "/.-":
        texts = [f"{a}{sign}{b}{sign}{2000 + c}" for a, b, c in digits.tolist()]
        for date_format in (f"%d{sign}%m{sign}%Y", f"%m{sign}%d{sign}%Y"):
            for text in texts:
                try:
                    expected: Any = dt.datetime.strptime(text, date_format).date()
                except ValueError:
                    expected = None
                try:
                    (read,) = parse_dates(pa.array([text]), date_format).to_pylist()
                except ValueError:
                    read = None
                assert read == expected


def test_a_year_of_four_digits_is_no_year_and_time() -> None:
    texts = pd.Series(pd.date_range("2024-01-05", periods=20, freq="9D"))
    for form in ("%b %d, %Y", "%B %d, %Y", "%d %b %Y", "%d.%m.%Y", "%b. %d, %Y"):
        assert find_formats(texts.dt.strftime(form)) == ([form], [])
