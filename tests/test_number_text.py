"""Numbers as people write them: read exactly by an option, or refused with the right option."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow
import pytest
from conftest import estimates
from hypothesis import given, settings, strategies as st

from linreg_lightning import InputError, TabularData
from linreg_lightning.tables.csv_format import CsvFormat

Options = dict[str, Any]


def read(texts: Sequence[str], name: str = "t.csv", **options: Any) -> list[list[float]]:
    """Read a CSV file whose column x has the texts, in quotes, and return its x."""
    lines = "".join(f'"{text}",{k * k}\n' for k, text in enumerate(texts))
    Path(name).write_text(f"x,y\n{lines}", encoding="utf-8")
    data = TabularData(name, "y", **options)
    data.setup("fit")
    x: list[list[float]] = data.splits["train"].x.tolist()
    return x


def refusal(texts: Sequence[str], **options: Any) -> str:
    with pytest.raises(InputError) as error:
        read(texts, **options)
    return str(error.value)


def advised(message: str) -> list[tuple[float, Options]]:
    """Return each number that a message names, with the options that give it."""
    if found := re.search(r"; type (.+?), which reads it as (\S+), or", message):
        readings = [(found[2], found[1])]
    else:
        found = re.search(r"which is (.+); type the right one", message)
        assert found, message
        readings = re.findall(r"(\S+) with (.+?)(?:, or|$)", found[1])
    words = {"true": True, "space": "space"}
    pattern = r"(decimal|thousands|percent|currency) (?:'(.)'|\"(')\"|(\w+))"
    return [
        (float(value), {m[0]: words.get(m[3], m[1] or m[2]) for m in re.findall(pattern, text)})
        for value, text in readings
    ]


def with_groups(digits: str, mark: str) -> str:
    return re.sub(r"(?<=\d)(?=(\d{3})+$)", mark, digits)


def write(number: Decimal, mark: str, point: str, pattern: str, negative: str) -> str:
    """Write a number in a notation: `pattern` has # for the number, `negative` for one below 0."""
    whole, _, rest = format(abs(number), "f").partition(".")
    text = pattern.replace("#", with_groups(whole, mark) + (rest and point + rest))
    return negative.replace("#", text) if number < 0 else text


numbers = st.lists(
    st.one_of(
        st.decimals(-(10**7), 10**7, places=2),
        st.floats(-1e9, 1e9).map(lambda value: Decimal(repr(value))),
        st.integers(-(10**6), 10**6).map(Decimal),
    ),
    min_size=3,
    max_size=8,
)
marks = st.sampled_from(["", ",", ".", " ", "\u00a0", "\u202f", "'", "\u2019", "_"])
patterns = st.sampled_from(["#", "#%", "# %", "$#", "# €", "USD #", "#\u00a0kr", "R$ #"])
negatives = st.sampled_from(["-#", "\u2212#", "(#)", "#-"])


@settings(max_examples=40, deadline=None)
@given(numbers, marks, st.sampled_from(".,"), patterns, negatives)
def test_a_notation_is_read_exactly_by_the_options_that_its_refusal_names(
    values: list[Decimal], mark: str, point: str, pattern: str, negative: str
) -> None:
    if mark == point:
        return
    texts = [write(value, mark, point, pattern, negative) for value in values]
    factor = Fraction(1, 100) if "%" in pattern else Fraction(1)
    expected = [[float(Fraction(value) * factor)] for value in values]
    options: Options = {}
    try:
        found = read(texts)
    except InputError as error:
        results = []
        for value, options in advised(str(error)):
            results.append(read(texts, **options))
            assert [value] in results[-1]  # the message has told the truth
        assert expected in results
        return
    assert found == expected or (mark == "." and all("," not in text for text in texts))


@pytest.mark.parametrize("separator", [",", "'", " ", "_"])
def test_thousands_are_those_of_pandas(separator: str) -> None:
    texts = [f"{value:,}".replace(",", separator) for value in (0, 1234, -56789.25, 1e7, 999)]
    frame = pd.read_csv(
        io.StringIO("x\n" + "".join(f'"{t}"\n' for t in texts)), thousands=separator
    )
    assert read(texts, thousands=separator) == [[value] for value in frame.x]


@pytest.mark.parametrize(
    ("texts", "options", "expected"),
    [
        (["1,23,456.5", "12"], {"thousands": ","}, [123456.5, 12]),
        (["$ -", "($1,554.50)", "$(3)"], {"thousands": ",", "currency": True}, [0, -1554.5, -3]),
        (["5-", "-4", "+3"], {"currency": True}, [-5, -4, 3]),
        (["%5", "0", "-2.5%"], {"percent": True}, [0.05, 0, -0.025]),
        (["Rs.5", "Rs. 7.5"], {"currency": True}, [5, 7.5]),
        (["\u22123", "+5", "1.5e3", "\u00a04"], {}, [-3, 5, 1500, 4]),
        (["1,5e3", "2"], {"decimal": ","}, [1500, 2]),
    ],
)
def test_unusual_numbers_are_read(
    texts: list[str], options: Options, expected: list[float]
) -> None:
    assert read(texts, **options) == [[value] for value in expected]


REFUSED: dict[str, tuple[list[str], str]] = {
    "both readings": (["0", "777", "1,554"], "'1,554' & row 3 & 1.554 with decimal & 1554 with th"),
    "a price in thousands": (["$1.554", "$2.300"], "1.554 with currency & 1554 with decimal"),
    "a unit": (["12 kg", "3.5 kg"], "'12 kg' & row 1 & unit 'kg'"),
    "several units": (["5 kg", "300 g"], "'kg' and others"),
    "millions": (["€110.5M", "€600K"], "'€110.5M' & digits"),
    "credit": (["5,234.56", "1,234.56 CR"], "'1,234.56 CR' & row 2"),
    "fractions": (["1/2", "3/4"], "'1/2' & fractions"),
    "truth": (["TRUE", "yes", "no"], "'yes' & row 2 & 'true' in row 1"),  # TRUE is the level true
    "two currencies": (["$5", "€6"], "'€6' & row 2 & '$5'"),
    "percent and not": (["3%", "0", "4"], "'4' & row 3 & '3%'"),
    "a stray word": (["3%", "4%", "none"], "'none' & row 3"),
    "digits in other groups": (["1,234", "1,23", "7"], "'1,234' & 'x'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_numbers_in_disguise_are_refused(case: str) -> None:
    texts, facts = REFUSED[case]
    message = refusal(texts * 3)
    assert "identifier" not in message
    for fact in ("t.csv", "'x'", *facts.split(" & ")):
        assert fact in message
    assert len(read(texts * 3, categorical="x")[0]) == len(set(texts)) - 1


@pytest.mark.parametrize(
    "texts",
    [
        ["1-2", "3-4"],
        ["3+", "5+"],
        ["<5", "5-9"],
        ["A1", "B2"],
        ["10k", "21k"],
        ["5-9 years", "10-14 years"],
        ["< 1 year", "10+ years", "2 years"],
        ["S", "M"],
        ["yes", "no"],
        ["1.2.3", "1.2.4"],
        ["1,2", "1,2,3"],
        ["12-34", "55-66"],
        ["555-1234", "555-9999"],
        ["1st", "2nd"],
        ["4th", "5th"],
        ["2WD", "4WD"],
        ["SW1A 1AA", "M1 1AE"],
        ["123 45", "543 21"],
        ["1 Main St", "2 Oak Ave"],
    ],
)
def test_real_categories_stay(texts: list[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(read(texts * 3)[0]) == len(texts) - 1


def test_a_column_in_disguise_may_have_more_levels_than_the_limit() -> None:
    texts = [f"{k}.5%" for k in range(50)]
    assert "type percent true" in refusal(texts, max_levels=20)
    assert "identifier" in refusal([*texts, "10% or so1"], max_levels=20)
    assert read(texts, percent=True)[3] == [0.035]


@pytest.mark.parametrize("size", [50, 2**23])
def test_a_notation_may_begin_after_the_first_rows(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("linreg_lightning.tables.csv._SAMPLE_BYTES", 30)
    monkeypatch.setattr("linreg_lightning.tables.csv._SECTION_BYTES", size)
    plain = [str(k) for k in range(40)]
    message = refusal([*plain, "1,554"])
    assert "'1,554' in column 'x', row 41" in message
    assert [value for value, _ in advised(message)] == [1.554, 1554]
    assert read([*plain, "1,554"], thousands=",")[-1] == [1554]
    message = refusal([*plain, "3%"])
    assert "'1' in column 'x', row 2, and a percentage, '3%', in row 41" in message
    message = refusal(["3%", *plain], percent=True)
    assert "'1' in column 'x', row 3" in message
    assert read([*plain, "(7)"], currency=True)[-1] == [-7]
    assert "'oops' in column 'x', row 41, which is no number" in refusal([*plain, "oops"])


def test_large_whole_numbers_are_not_rounded() -> None:
    texts = ["9,007,199,254,740,993", "1,000"]
    assert "'9,007,199,254,740,993' in column 'x', row 1" in refusal(texts, thousands=",")
    assert read(["9,007,199,254,740,992"] * 3, thousands=",")[0] == [2.0**53]


def test_targets_and_weights_in_disguise_are_refused_and_read() -> None:
    Path("t.csv").write_text("x,price,w\n" + "".join(f"{k},${k}.50,{k}%\n" for k in range(1, 9)))
    with pytest.raises(InputError, match=r"'\$1.50' in column 'price', row 1.*type currency true"):
        TabularData("t.csv", "price", exclude="w").setup("fit")
    with pytest.raises(InputError, match=r"'1%' in column 'w', row 1.*type percent true"):
        TabularData("t.csv", "price", weight="w", currency=True).setup("fit")
    data = TabularData("t.csv", "price", weight="w", currency=True, percent=True)
    data.setup("fit")
    rows = data.splits["train"]
    assert rows.y.flatten().tolist() == [k + 0.5 for k in range(1, 9)]
    assert rows.weight is not None
    assert rows.weight.tolist() == [k / 100 for k in range(1, 9)]


def test_a_column_that_is_text_only_in_other_rows_is_refused() -> None:
    texts = ["5", *["7"] * 200, "x"]
    lines = "".join(f"{text},{k}\n" for k, text in enumerate(texts))
    for seed in range(20):
        data = TabularData("t.csv", "y", val_fraction=0.3, seed=seed)
        Path("t.csv").write_text("x,y\n" + lines)
        with pytest.raises(InputError, match=r"text in rows that are not|'x' in column 'x'"):
            data.setup("fit")


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["3%", "4.5%"], [0.03, 0.045]),
        (["1,5", "-2,25"], [1.5, -2.25]),
        (["$7.50", "($1,234.00)"], [7.5, -1234.0]),
        (["1.234,5 kr.", "7,25 kr."], [1234.5, 7.25]),
        (["1'234", "\u22125"], [1234.0, -5.0]),
    ],
)
def test_text_of_a_frame_is_refused_with_a_conversion_that_works(
    texts: list[str], expected: list[float]
) -> None:
    frame = pd.DataFrame({"x": texts * 2, "y": [1.0, 2.0, 4.0, 3.0]})
    with pytest.raises(InputError) as error:
        TabularData(frame, "y").setup("fit")
    found = re.search(r"in pandas by (df.+?) \(", str(error.value))
    assert found, error.value
    assert eval(found[1], {"df": frame}).tolist() == expected * 2
    frame.x = eval(found[1], {"df": frame})
    TabularData(frame, "y").setup("fit")


def test_plain_numbers_as_text_in_a_frame_are_categories_with_a_warning() -> None:
    columns = {"x": ["10", "2.5", "10"], "y": [1.0, 2.0, 3.0]}
    for frame in (pd.DataFrame(columns), pyarrow.table(columns)):
        data = TabularData(frame, "y")
        with pytest.warns(UserWarning, match=r"'10' in column 'x', row 1.*df\['x'\].astype\(float"):
            data.setup("fit")
        assert data.feature_names == ["x[10]"]
    silent: list[tuple[Any, Options]] = [
        (pd.DataFrame(columns), {"categorical": "x"}),
        (pd.DataFrame(columns).astype({"x": "category"}), {}),
        (pd.DataFrame({**columns, "x": ["0150", "9990", "0150"]}), {}),
        (pd.DataFrame({**columns, "x": ["10", "b", "10"]}), {}),
    ]
    for frame, options in silent:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            TabularData(frame, "y", **options).setup("fit")
    with pytest.raises(InputError, match=r"convert it in pandas by df\['x'\].astype\(float\)"):
        TabularData(pd.DataFrame({**columns, "x": ["1", "2", "3"]}), "y").setup("fit")


def test_predictions_use_the_options_of_the_fit(
    command: Callable[..., dict[str, Any]], refused: Callable[..., str]
) -> None:
    lines = "".join(f'"{1000 * k:,}",{k % 3}%,{2 * k + k % 3}\n' for k in range(9))
    Path("t.csv").write_text(f"a,p,y\n{lines}")
    fit = "fit --model LeastSquares --data TabularData --data.target y --data.path t.csv"
    found = estimates(command(f"{fit} --data.thousands , --data.percent true"))
    assert [found["a"], found["p"]] == pytest.approx([0.002, 100])
    again = "predict --ckpt_path last --data.path"
    Path("new.csv").write_text('a,p\n"7,000",1%\n')
    command(f"{again} new.csv")
    (path,) = Path().glob("**/predictions.csv")
    assert pd.read_csv(path).y.tolist() == pytest.approx([15])
    Path("other.csv").write_text('a,p\n"7,000",1%\n"7.000,5",1%\n')
    message = refused(f"{again} other.csv")
    assert "'7.000,5' in column 'a', row 2" in message
    Path("other.csv").write_text('a,p\n"7,000",1\n')
    assert "other.csv has no number with %" in refused(f"{again} other.csv")


def test_a_format_refuses_marks_that_numbers_have() -> None:
    for thousands in ("5", "-", "ab", "", "(", '"'):
        with pytest.raises(InputError, match="thousands"):
            CsvFormat(thousands=thousands)


@pytest.mark.parametrize("marker", [".", "NA", "-", ""])
def test_numbers_as_text_beside_markers_are_no_silent_categories_of_a_frame(marker: str) -> None:
    frame = pd.DataFrame({"x": ["1", "0", marker] * 4, "y": range(12)})
    with pytest.warns(UserWarning, match="a number as text, so that the column holds cat") as all_:
        TabularData(frame, "y").setup("fit")
    advice = re.search(r"in pandas by (.*), or name", str(all_[0].message))
    assert advice
    assert eval(advice[1], {"df": frame}).tolist()[:2] == [1.0, 0.0]
    frame["x"] = ["1%", "4%", marker] * 4
    with pytest.raises(InputError, match="the column holds numbers with %") as error:
        TabularData(frame, "y").setup("fit")
    advice = re.search(r"in pandas by (.*?) \(", str(error.value))
    assert advice
    assert eval(advice[1], {"df": frame}).tolist()[:2] == [0.01, 0.04]


def test_words_beside_numbers_are_categories_of_a_frame() -> None:
    frame = pd.DataFrame({"x": ["1", "0", "a"] * 4, "y": range(12)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TabularData(frame, "y").setup("fit")


def test_percent_is_an_option_of_csv_files_alone() -> None:
    lines = "".join(f'{{"x": "{k}%", "y": {k}}}\n' for k in range(5))
    Path("t.jsonl").write_text("\ufeff" + lines, encoding="utf-8")
    with pytest.raises(InputError, match=r"numbers with %; convert it in pandas by df\['x'\]"):
        TabularData("t.jsonl", "y", percent=True).setup("fit")


@pytest.mark.parametrize("argument", ["path", "val_path"])
def test_a_column_has_percentages_in_all_files_or_in_none(argument: str) -> None:
    Path("a.csv").write_text("x,z,y\n1%,5%,1\n4%,6%,2\n", encoding="utf-8")
    Path("b.csv").write_text("x,z,y\n1,7%,1\n4,8%,2\n", encoding="utf-8")
    paths: Options = {"path": ["a.csv", "b.csv"]}
    if argument == "val_path":
        paths = {"path": "a.csv", "val_path": "b.csv"}
    data = TabularData(target="y", percent=True, **paths)
    with pytest.raises(InputError, match=f"{argument}: b.csv has '1'.*row 1, which is no perc"):
        data.setup("fit")
