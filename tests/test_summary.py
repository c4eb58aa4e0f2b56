"""Summaries, data frames and notebooks show what was fitted, in one look."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import markdown
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from lightning.pytorch import Trainer
from statsmodels import api

from linreg_lightning import (
    Fit,
    InputError,
    LeastSquares,
    LinearRegression,
    ManualLinearRegression,
    RegressionModule,
    SyntheticData,
    TabularData,
    TensorData,
    cli,
    grouped_least_squares,
    least_squares,
)
from linreg_lightning.text_table import Report, Table

NASTY = ["<script>alert(1)</script>", "a|b_*`$", "50% & {more}\\~^", "[-1]\n\x1b[31m"]
NUMBERS = ["estimate", "std_error", "t", "p", "ci_low", "ci_high"]


def problem(rows: int = 40, targets: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows, 3, generator=generator, dtype=torch.float64)
    slopes = torch.tensor([[2.0, 1.0], [0.1, -3.0], [50.0, 0.0]], dtype=torch.float64)
    noise = torch.randn(rows, 2, generator=generator, dtype=torch.float64)
    return x, (1 + x @ slopes + noise)[:, :targets]


class TableParser(HTMLParser):
    """Reads the cells of all tables, and every tag and attribute."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.open_tags: list[str] = []
        self.tags: set[str] = set()
        self.attributes: dict[str, set[str | None]] = {}
        self.feed(text)
        self.close()
        assert not self.open_tags

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open_tags.append(tag)
        self.tags.add(tag)
        for name, value in attrs:
            self.attributes.setdefault(name, set()).add(value)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("th", "td"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open_tags.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open_tags and self.open_tags[-1] in ("th", "td"):
            self.tables[-1][-1][-1] += data


def text_rows(text: str) -> list[list[str]]:
    """Return the cells of the lines of a text, which two blanks separate."""
    return [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()]


def latex_rows(text: str) -> list[list[str]]:
    lines = [line[:-3].split(" & ") for line in text.splitlines() if line.endswith(r" \\")]
    return [[cell.replace("$", "").replace(r"\%", "%") for cell in line] for line in lines]


def test_all_formats_have_the_numbers_of_statsmodels() -> None:
    x, y = problem()
    fit = least_squares(x, y[:, 0], confidence=0.9)
    result = api.OLS(y[:, 0].numpy(), api.add_constant(x.numpy())).fit()
    expected = result.summary2(alpha=0.1).tables[1].to_numpy()
    texts = {name: fit.summary(name) for name in ("text", "html", "latex", "markdown")}  # type: ignore[arg-type]
    tables = {
        "text": text_rows(texts["text"])[1:6],
        "html": TableParser(texts["html"]).tables[0],
        "latex": latex_rows(texts["latex"]),
        "markdown": TableParser(markdown.markdown(texts["markdown"], extensions=["tables"])).tables[
            0
        ],
    }
    head = ["term", "estimate", "std error", "t", "p", "90% low", "90% high"]
    for name, (first, *rows) in tables.items():
        assert first == head, name
        assert [row[0] for row in rows] == ["intercept", "x1", "x2", "x3"]
        for row, numbers in zip(rows, expected, strict=True):
            for cell, number, column in zip(row[1:], numbers, head[1:], strict=True):
                if column == "p" and number < 1e-16:
                    assert cell == "<1e-16"
                else:
                    assert float(cell) == pytest.approx(number, rel=6e-3 if column == "p" else 6e-6)
    assert "<1e-16" in texts["text"]
    for text in texts.values():
        for name, number in (("r2", result.rsquared), ("f", result.fvalue), ("aic", result.aic)):
            found = re.search(rf"\b{name} ([\d.]+)", text)
            assert found is not None
            assert float(found[1]) == pytest.approx(number, rel=6e-6)


@pytest.mark.parametrize(
    ("kind", "cls"),
    [
        (None, pd.DataFrame),
        ("pandas", pd.DataFrame),
        ("polars", pl.DataFrame),
        ("pyarrow", pa.Table),
    ],
)
def test_frames_have_every_digit(kind: Any, cls: type) -> None:
    x, y = problem(targets=2)
    fit = least_squares(x, y)
    frame = fit.to_frame(kind)
    assert isinstance(frame, cls)
    columns = {
        name: list(frame[name].to_pylist() if kind == "pyarrow" else frame[name])
        for name in ["target", "term", *NUMBERS]
    }
    assert list(columns) == list(frame.column_names if kind == "pyarrow" else frame.columns)
    assert columns["target"] == ["y1"] * 4 + ["y2"] * 4
    assert columns["term"] == ["intercept", "x1", "x2", "x3"] * 2
    for name, values in zip(
        NUMBERS, (fit.estimate, fit.standard_error, fit.t, fit.p, fit.low, fit.high), strict=True
    ):
        assert columns[name] == values.T.flatten().tolist()


def test_a_frame_of_a_library_that_is_not_installed_is_refused() -> None:
    fit = least_squares(*problem())
    for kind in ("numpy", "Pandas"):
        with pytest.raises(InputError, match=f"kind: '{kind}' was given; type pandas, polars or"):
            fit.to_frame(kind)  # type: ignore[arg-type]


def test_without_pandas_a_frame_is_of_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("linreg_lightning.coefficient_table.find_spec", {"pyarrow": True}.get)
    fit = least_squares(*problem())
    assert isinstance(fit.to_frame(), pa.Table)
    with pytest.raises(InputError, match="kind: pandas is not installed; install it, or type py"):
        fit.to_frame("pandas")


def test_several_targets_have_their_statistics_in_a_second_table() -> None:
    x, y = problem(targets=2)
    fit = least_squares(x, y)
    coefficients, statistics = TableParser(fit.summary("html")).tables
    assert coefficients[0][:2] == ["target", "term"]
    assert [row[0] for row in coefficients[1:]] == ["y1"] * 4 + ["y2"] * 4
    assert statistics[0][0] == "target"
    for row, r2 in zip(statistics[1:], fit.statistics["r2"], strict=True):
        assert float(row[statistics[0].index("r2")]) == pytest.approx(r2, rel=6e-6)
    assert fit.summary().splitlines()[-3].split()[0] == "target"
    assert "r2" not in fit.summary().splitlines()[-4]


@pytest.mark.parametrize(
    ("change", "options", "reason"),
    [
        ({"columns": [0, 1, 2, 0]}, {}, "NA: left out, as a linear combination of earlier"),
        ({"rows": 4}, {}, "NA: unknown, because no residual degree of freedom is left"),
        ({}, {"ridge": 1.0}, "NA: unknown with a ridge penalty, which biases the estimates"),
        ({"scale": 0.0}, {}, "NA: 0 / 0, because a target is constant"),
        ({"columns": []}, {}, "NA: 0 / 0, because there is nothing to test"),
        ({}, {}, None),
    ],
)
@pytest.mark.filterwarnings("ignore:Left out")
def test_missing_numbers_are_explained_once(
    change: dict[str, Any], options: dict[str, Any], reason: str | None
) -> None:
    x, y = problem()
    x, y = x[: change.get("rows")], y[: change.get("rows")] * change.get("scale", 1.0)
    fit = least_squares(x[:, change.get("columns", [0, 1, 2])], y, **options)
    for text in (fit.summary(), fit.summary("markdown"), fit.summary("html")):
        if reason is None:
            assert "NA" not in text
        else:
            assert len(re.findall("NA: ", text)) == 1
            assert re.search(reason, text)


def test_html_is_safe_and_takes_the_colours_of_its_page() -> None:
    rows = [{"term": name, "estimate": 1.0} for name in NASTY]
    html = Report(NASTY[0], [Table.from_rows(rows), NASTY]).render("html")
    parser = TableParser(html)
    assert [row[0] for row in parser.tables[0][1:]] == [*NASTY[:3], "[-1]  [31m"]
    assert parser.tags <= {"div", "p", "b", "table", "thead", "tbody", "tr", "th", "td"}
    assert parser.attributes.keys() == {"class", "style", "scope"}
    assert not re.search(
        "color|background|url|http", " ".join(map(str, parser.attributes["style"]))
    )


def test_names_are_escaped_in_latex_and_markdown() -> None:
    rows = [{"term": name, "estimate": -1.0} for name in NASTY]
    report = Report(NASTY[1], [Table.from_rows(rows), ["1. first", *NASTY]])
    lines = report.render("latex").splitlines()
    body = lines[lines.index(r"\hline", 5) + 1 :][:4]
    assert body == [
        r"$<$script$>$alert(1)$<$/script$>$ & $-$1 \\",
        r"a$|$b\_{*}`\$ & $-$1 \\",
        r"50\% \& \{more\}\textbackslash{}\textasciitilde{}\textasciicircum{} & $-$1 \\",
        r"{[}-1{]}  {[}31m & $-$1 \\",
    ]
    html = markdown.markdown(report.render("markdown"), extensions=["tables"])
    parser = TableParser(html)
    assert [row[0] for row in parser.tables[0][1:]] == [*NASTY[:3], "[-1]  [31m"]
    assert parser.tags <= {"p", "strong", "table", "thead", "tbody", "tr", "th", "td"}


def test_text_is_aligned_also_for_wide_and_combining_characters() -> None:
    rows = [{"term": name, "estimate": -22.25} for name in ("価格", "e\u0301t\u00e9", "plain")]
    rows.append({"term": "none", "estimate": None})
    assert Report("title", [Table.from_rows(rows)]).render("text").splitlines() == [
        "title",
        "term   estimate",
        "価格     -22.25",
        "e\u0301t\u00e9      -22.25",
        "plain    -22.25",
        "none",
    ]


@pytest.mark.parametrize("cls", [LeastSquares, LinearRegression, ManualLinearRegression])
def test_models_say_that_they_are_not_fitted(cls: type[RegressionModule]) -> None:
    model = cls()
    assert repr(model) == f"<{cls.__name__}: not fitted>"
    assert model._repr_html_() is None
    for call in (model.summary, model.to_frame):
        with pytest.raises(InputError, match="fit it first"):
            call()
    assert repr(cls(in_features=2)) == f"<{cls.__name__}: not fitted>"


def test_repr_says_what_was_fitted(trainer: Callable[..., Trainer]) -> None:
    x, y = problem(targets=2)
    fit = least_squares(x, y[:, 0])
    assert repr(fit) == f"<Fit: y on x1, x2, x3; 40 rows, r2 {fit.statistics['r2']:.6g}>"
    assert "y1, y2 on x1, x2, x3; 40 rows, r2 0.9" in repr(least_squares(x, y))
    wide = repr(least_squares(torch.randn(40, 30), y[:, 0]))
    assert "y on x1, x2, x3, x4, x5, ..., x30 (30 features); 40 rows" in wide
    frame = pd.DataFrame(x.numpy(), columns=["sqft", "age", "rooms"])
    for cls in (LeastSquares, LinearRegression):
        model = cls()
        trainer(max_epochs=1).fit(
            model, TensorData(frame, pd.Series(y[:, 0].numpy(), name="price"))
        )
        assert repr(model).startswith(f"<{cls.__name__}: price on sqft, age, rooms; 40 rows, r2 ")


def test_sgd_shows_estimates_beside_the_true_coefficients(trainer: Callable[..., Trainer]) -> None:
    model = LinearRegression()
    trainer().fit(model, SyntheticData())
    frame = model.to_frame()
    assert list(frame.columns) == ["target", "term", "true", "estimate"]
    assert frame["true"].tolist() == [1, 2, 3]
    assert frame["estimate"].tolist() == [row["estimate"] for row in model.coefficients()]
    lines = text_rows(model.summary())
    assert lines[0] == ["LinearRegression: y on x1, x2"]
    assert lines[1] == ["term", "true", "estimate"]
    html = model._repr_html_()
    assert html is not None
    assert TableParser(html).tables[0][1:] == lines[2:5]
    with pytest.raises(InputError, match="format: 'pdf' was given; type text, html, latex or mark"):
        model.summary("pdf")  # type: ignore[arg-type]


def test_levels_that_others_are_compared_to_are_named(trainer: Callable[..., Trainer]) -> None:
    x, y = problem()
    frame = pd.DataFrame({"area": x[:, 0], "price": y[:, 0], "land": "N"})
    frame["city"], frame["fuel"] = ["Rome", "Oslo"] * 20, ["oil", "oil", "gas", "gas"] * 10
    model = LeastSquares()
    with pytest.warns(UserWarning, match="Left out"):
        trainer().fit(model, TabularData(frame, target="price"))
    text = model.summary()
    assert text.startswith("LeastSquares: price on area, land, city, fuel\n")
    assert "city: compared to Oslo  fuel: compared to gas" in text
    assert text.count("compared") == 2  # `land` keeps its only level
    model = LeastSquares(intercept=False)
    trainer().fit(model, TabularData(frame.drop(columns="land"), target="price"))
    assert "fuel: compared to gas" in model.summary()
    assert model.summary().count("compared") == 1  # `city` keeps all levels


def test_a_fit_of_a_frame_has_the_names_of_its_columns() -> None:
    x, y = problem()
    frame = pd.DataFrame(x.numpy(), columns=["sqft", "age", "rooms"])
    fit = least_squares(frame, pd.Series(y[:, 0].numpy(), name="price"))
    assert repr(fit).startswith("<Fit: price on sqft, age, rooms; 40 rows")
    assert fit.to_frame()["term"].tolist() == ["intercept", "sqft", "age", "rooms"]


def test_groups_have_the_same_look(trainer: Callable[..., Trainer]) -> None:
    x, y = problem(targets=2)
    shop = torch.arange(40) // 10
    fits = grouped_least_squares(x, y[:, 0], shop, confidence=0.9)
    assert repr(fits) == "<GroupedFit: y on x1, x2, x3; 4 groups, 40 rows>"
    lines = text_rows(fits.summary())
    assert lines[1] == [
        "group",
        "rows",
        "term",
        "estimate",
        "std error",
        "t",
        "p",
        "90% low",
        "90% high",
    ]
    assert "4 groups, the first 3 of them above; 40 rows" in fits.summary()
    frame = fits.to_frame()
    assert list(frame.columns) == ["group", "rows", "target", "term", *NUMBERS]
    for group in range(4):
        alone = least_squares(x[shop == group], y[shop == group, 0])
        estimates = frame[frame["group"] == group]["estimate"]
        assert estimates.tolist() == pytest.approx(alone.estimate.tolist(), rel=1e-9)
    frame = pd.DataFrame({"area": x[:, 0], "price": y[:, 0], "shop": shop})
    model = LeastSquares(confidence=0.9)
    trainer().fit(model, TabularData(frame, target="price", by="shop"))
    assert repr(model) == "<LeastSquares: price on area; 4 groups, 40 rows>"
    assert text_rows(model.summary())[1] == lines[1]
    assert list(model.to_frame().columns) == list(fits.to_frame().columns)
    both = grouped_least_squares(x, y, shop, intercept=False).to_frame("polars")
    assert both["target"].to_list() == (["y1"] * 3 + ["y2"] * 3) * 4
    assert both["term"].to_list() == ["x1", "x2", "x3"] * 8


def test_the_command_prints_every_format(
    command: Callable[..., Any], houses: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command(f"fit -c least_squares --data.path {houses} --data.target price")
    printed = capsys.readouterr().out
    parsed = {}
    for name in ("text", "html", "latex", "markdown", "json"):
        cli.main(["summary", "--format", name])
        parsed[name] = capsys.readouterr().out
    assert parsed["text"] in printed
    assert parsed["text"].startswith("LeastSquares: price on sqft, beds, age\n")
    terms = ["intercept", "sqft", "beds", "age"]
    assert [row[0] for row in TableParser(parsed["html"]).tables[0][1:]] == terms
    assert [row[0] for row in latex_rows(parsed["latex"])[1:]] == terms
    assert [row["name"] for row in json.loads(parsed["json"])["coefficients"]] == terms
    assert "| sqft |" in parsed["markdown"]


def test_an_infinite_t_is_shown() -> None:
    x = torch.arange(6.0)[:, None]
    fit: Fit = least_squares(x, 3 * x[:, 0])
    assert math.isinf(float(fit.t[1]))
    assert "inf  <1e-16" in fit.summary()
