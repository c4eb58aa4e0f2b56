"""Unusual tables: each one gives the right numbers or one clear error."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.csv
import pyarrow.ipc
import pyarrow.parquet
import pytest
from lightning.pytorch import Trainer

from linreg_lightning import InputError, LeastSquares, TabularData, TensorData
from linreg_lightning.callbacks.prediction_writer import PredictionWriter
from linreg_lightning.tables.csv_lines import count_lines
from linreg_lightning.tables.dataset import TableDataset
from linreg_lightning.tables.prediction_file import PredictionFile

MakeTrainer = Callable[..., Trainer]
TABLE = "a,b,y\n" + "".join(
    f"{k / 8},{k % 3 == 0},{2 + k / 4 + 5 * (k % 3 == 0)}\n" for k in range(9)
)


def text(content: str | bytes, name: str = "t.csv") -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_bytes(content.encode() if isinstance(content, str) else content)
    return name


def parquet(columns: dict[str, Any], name: str = "t.parquet") -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.table(columns), name)
    return name


def table_with_column(values: Any) -> str:
    return parquet({"c": values, "y": [1.0, 2.0, 3.0]})


REFUSED: dict[str, tuple[Callable[[], Any], dict[str, Any], str]] = {
    "a whole number that float64 rounds": (
        lambda: table_with_column([1, 2**53 + 1, 3]),
        {},
        "column 'c': 9007199254740993 is a whole number that float64 cannot hold; leave the",
    ),
    "lines that end by carriage returns": (
        lambda: text(TABLE.replace("\n", "\r")),
        {},
        "ends its lines by carriage",
    ),
    "blank": (lambda: text("\n\n \n"), {}, "is empty; it needs a header"),
    "compressed without .gz": (lambda: text(gzip.compress(TABLE.encode())), {}, "end in .gz"),
    "archive": (lambda: text(b"PK\x03\x04" + bytes(99), "t.zip"), {}, "unpack it"),
    "semicolons and decimal commas": (
        lambda: text("a;y\n1,5;2\n"),
        {},
        "separates its columns by ';'; type delimiter ';'",
    ),
    "flags and numbers": (
        lambda: [text("a,y\ntrue,1\n", "1.csv"), text("a,y\n2,1\n", "2.csv")],
        {},
        "has '2' in column 'a', row 1, which is neither true nor false",
    ),
    "lists as categories": (
        lambda: table_with_column([[1], [2], [3]]),
        {"categorical": "c"},
        r"categorical: column 'c' .* values of type list",
    ),
    "bytes as categories": (
        lambda: table_with_column([b"\xff", b"a", b"b"]),
        {"categorical": "c"},
        "categorical: column 'c' .* values of type binary",
    ),
    "a file and its folder": (
        lambda: ["./d", text(TABLE, "d/1.csv")],
        {},
        "1.csv is named 2 times; name each file once",
    ),
    "no row to train on": (
        lambda: table_with_column(["u", "v", "u"]),
        {"val_fraction": 1.0},
        "no row left to train on; lower val_fraction",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_table_that_cannot_be_used_is_refused(case: str) -> None:
    make, options, message = REFUSED[case]
    with pytest.raises(InputError, match=message):
        TabularData(make(), "y", **options).setup("fit")


def test_a_column_can_be_empty_in_some_files() -> None:
    empty = {"c": pyarrow.nulls(2), "y": [1.0, 2.0]}
    full = {"c": ["v", "u"], "y": [3.0, 4.0]}
    for paths in (
        [parquet(empty, "1.parquet"), parquet(full, "2.parquet")],
        [parquet(full, "2.parquet"), parquet(empty, "1.parquet")],
        [text("c,y\n,1\n", "1.csv"), text("c,y\nv,3\nu,4\n", "2.csv")],
    ):
        data = TabularData(paths, "y", missing="drop")
        data.setup("fit")
        assert data.feature_names == ["c[v]"]
        assert data.splits["train"].x.tolist() == [[1.0], [0.0]]
        assert data.splits["train"].y.tolist() == [[3.0], [4.0]]


def predicted(
    trainer: MakeTrainer, fit: TabularData, new: str | Sequence[str], **options: Any
) -> pd.DataFrame:
    """Fit a table, and return the file that PredictionWriter writes for new rows."""
    model, run = LeastSquares(), trainer(max_epochs=1)
    run.fit(model, fit)
    run.save_checkpoint("fitted.ckpt")
    again = {name: options.pop(name) for name in ("missing", "batch_size") if name in options}
    data = TabularData.load_from_checkpoint("fitted.ckpt", path=new, **again)
    writer = PredictionWriter(**options)
    trainer(callbacks=[writer], default_root_dir="out").predict(model, data)
    assert writer.path is not None
    if writer.format == "parquet":
        return pd.read_parquet(writer.path)
    return pd.read_csv(writer.path, dtype={"id": str}, keep_default_na=False, na_values=[""])


def test_kept_columns_can_be_features_or_targets(trainer: MakeTrainer) -> None:
    rows = TABLE.replace(",", ";").replace(".", ",")
    data = TabularData(text(rows), "y", delimiter=";", decimal=",")
    found = predicted(trainer, data, "t.csv", keep=["b", "a", "y"])
    assert list(found) == ["b", "a", "y", "y_predicted"]
    assert list(found.b) == [k % 3 == 0 for k in range(9)]
    assert list(found.a) == [k / 8 for k in range(9)]
    assert list(found.y) == [
        value.replace(".", ",") for value in (line.split(",")[2] for line in TABLE.splitlines()[1:])
    ]
    expected = [2 + k / 4 + 5 * (k % 3 == 0) for k in range(9)]
    assert list(found.y_predicted) == pytest.approx(expected, rel=1e-12)


def test_kept_texts_that_look_like_missing_values_stay_text(trainer: MakeTrainer) -> None:
    cities = ["u", "v", "NA"]
    keys = ["NA", "null", "", "007", "#N/A", "nan", "a b", "1e5", "x"]
    new = "id,c,a\n" + "".join(f"{key},{cities[k % 2]},{k}\n" for k, key in enumerate(keys))
    fit = "c,a,y\n" + "".join(f"{cities[k % 3]},{k},{k}\n" for k in range(9))
    data = TabularData(text(fit, "fit.csv"), "y", missing="drop")
    with pytest.warns(UserWarning, match="3 of 9 rows were left out"):
        found = predicted(trainer, data, text(new), keep=["id"])
    assert list(found.id.fillna("")) == keys
    assert list(found.y) == pytest.approx(list(range(9)), abs=1e-9)


def test_a_kept_column_with_the_name_of_a_prediction_is_refused(trainer: MakeTrainer) -> None:
    table = text(TABLE.replace("a,b,y", "a,y_predicted,y"))
    data = TabularData(table, "y", features="a")
    with pytest.raises(InputError, match="'y_predicted' is also the name of a column of pred"):
        predicted(trainer, data, table, keep=["y", "y_predicted"])


def test_a_kept_column_has_one_type_over_all_files(trainer: MakeTrainer) -> None:
    rows = {"a": [0.0, 1.0, 3.0], "y": [1.0, 2.0, 4.0]}
    for folder, key in (("k=1", pyarrow.array([1, 2, 3])), ("k=x", pyarrow.array([4.0, 5.0, 6.0]))):
        parquet({**rows, "key": key}, f"d/{folder}/1.parquet")
    data = TabularData("d", "y", features="a")
    found = predicted(trainer, data, "d", keep=["k", "key"], format="parquet", batch_size=2)
    assert list(found.k) == ["1"] * 3 + ["x"] * 3
    assert list(found.key) == [1, 2, 3, 4, 5, 6]
    for first, then, kept in (
        ([None] * 3, [4, 5, 6], [None, None, None, 4, 5, 6]),
        ([1, 2, 3], [0.5, 1.0, 2.0], [1, 2, 3, 0.5, 1, 2]),
        ([True, False, True], [4, 5, 6], [1, 0, 1, 4, 5, 6]),
        (["u", "v", "w"], pyarrow.array(["x"] * 3).dictionary_encode(), [*"uvwxxx"]),
    ):
        parquet({**rows, "key": first}, "d/k=1/1.parquet")
        parquet({**rows, "key": then}, "d/k=x/1.parquet")
        found = predicted(trainer, data, "d", keep=["key"], format="parquet")
        assert found.key.replace({np.nan: None}).tolist() == kept
    parquet({**rows, "key": [2**60 + 1] * 3}, "d/k=1/1.parquet")
    parquet({**rows, "key": [0.5, 1.0, 2.0]}, "d/k=x/1.parquet")
    with pytest.raises(InputError, match=r"column 'key' of d/k=1/1.parquet is int64, and in other"):
        predicted(trainer, data, "d", keep=["key"])


def test_parts_of_processes_with_different_types_are_merged() -> None:
    files = [PredictionFile(Path("p.parquet"), rank) for rank in (0, 1)]
    for file, values in zip(files, ([1, 2], [3.0]), strict=True):
        file.write(pyarrow.table({"key": values}))
        file.close()
    assert files[0].merge(2)
    assert pd.read_parquet("p.parquet").key.tolist() == [1, 2, 3]


def test_string_views_are_read_as_text(trainer: MakeTrainer) -> None:
    keys = ["a", 'b"c', "d,e", None] * 10
    view = pyarrow.array(keys, pyarrow.string_view())
    levels = pyarrow.array(["u", "v"], pyarrow.string_view())
    codes = pyarrow.array([0, 1] * 20, pyarrow.int8())
    table = pyarrow.table(
        {
            "id": view,
            "c": pyarrow.DictionaryArray.from_arrays(codes, levels),
            "d": pyarrow.array(["p", "q", "q", "p"] * 10, pyarrow.string_view()),
            "w": [0.0, 1.0, 1.0, 1.0, 1.0] * 8,
            "y": [float(k) for k in range(40)],
        }
    )
    with pyarrow.ipc.new_file("t.arrow", table.schema) as file:
        file.write_table(table)
    data = TabularData("t.arrow", "y", exclude="id", weight="w", val_fraction=0.3)
    found = predicted(trainer, data, "t.arrow", keep=["id", "c"])
    assert list(found.id.replace({np.nan: None})) == keys
    assert list(found.c) == ["u", "v"] * 20
    assert data.feature_names == ["c[v]", "d[q]"]


def test_a_row_without_a_prediction_gives_no_empty_line(trainer: MakeTrainer) -> None:
    new = parquet({"a": [1.0, None, 3.0]}, "new.parquet")
    data = TabularData(text(TABLE), "y", features="a", missing="drop")
    with pytest.warns(UserWarning, match="1 of 3 rows were given no prediction"):
        found = predicted(trainer, data, new)
    assert len(found) == 3
    assert np.isnan(found.y[1])
    assert not Path("out/predictions.csv").read_text().count("\n\n")


def test_missing_values_cannot_be_filled_if_the_fit_learned_no_means(trainer: MakeTrainer) -> None:
    data = TabularData(text(TABLE), "y")
    with pytest.raises(InputError, match="missing: mean was given, but the fit has learned no"):
        predicted(trainer, data, "t.csv", missing="mean")


def test_a_categorical_column_of_lists_is_refused_in_a_prediction(trainer: MakeTrainer) -> None:
    data = TabularData(table_with_column(["u", "v", "u"]), "y")
    new = parquet({"c": pyarrow.array([[1], [2]])}, "new.parquet")
    with pytest.raises(InputError, match=r"features: column 'c' of new.parquet .* of type list"):
        predicted(trainer, data, new)


def test_a_fit_without_features_predicts_the_mean(trainer: MakeTrainer) -> None:
    data = TabularData(text(TABLE), "y", features=[], missing="mean")
    found = predicted(trainer, data, "t.csv")
    assert list(found.y) == pytest.approx([2 + 1 + 5 / 3] * 9)


def test_the_index_of_a_frame_is_a_feature_only_if_it_is_named() -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0, 5.0], "y": [1.0, 2.0, 4.0, 3.0]}).drop(index=1)
    frame.to_parquet("t.parquet")
    assert TabularData("t.parquet", "y").fit_design().names == ["a"]
    index = "__index_level_0__"
    assert TabularData("t.parquet", "y", features=[index]).fit_design().names == [index]


def test_frames_and_arrow_tables_say_how_precise_each_column_is() -> None:
    single, double = pyarrow.array([1, 2, 3], pyarrow.float32()), pyarrow.array([1.0, 2.0, 4.0])
    table = pyarrow.table({"a": single, "b": double})
    frames = [table, table.to_pandas(), table.to_pandas(types_mapper=pd.ArrowDtype)]
    frames.append(frames[1].astype({"a": "Float32"}))
    for frame in frames:
        assert TensorData(frame, [1, 2, 3]).feature_bits() == [24, 53]
    for column in (frames[3]["a"], np.array(1.0)):
        with pytest.raises(InputError, match=r"^x: a shape of"):
            TensorData(column, [1, 2, 3])


def test_count_lines_agrees_with_pyarrow(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    several = 0
    for _ in range(300):
        cells = []
        for _ in range(2 * random.integers(1, 9)):
            letters = "".join(random.choice(list('a1"x'), random.integers(1, 5)))
            quoted = '"' + letters.replace('"', '""') + random.choice(["", "\n", "\r\n"]) + '"'
            cells.append(str(random.choice([quoted, "q" + letters, "7"])))
        rows = [",".join(pair) for pair in zip(cells[::2], cells[1::2], strict=True)]
        end = random.choice(["\n", "\r\n", "\r"], len(rows)).tolist()
        content = "".join(row + e for row, e in zip(rows, [*end[:-1], "\n"], strict=True)).encode()
        table = pyarrow.csv.read_csv(
            pyarrow.BufferReader(content),
            pyarrow.csv.ReadOptions(column_names=["a", "b"], use_threads=False),
            pyarrow.csv.ParseOptions(newlines_in_values=True),
        )
        assert count_lines(content, ",") == table.num_rows == len(rows)
        several += content.count(b"\n") > len(rows)
    assert several > 50


def test_very_long_rows_are_read(trainer: MakeTrainer) -> None:
    long = "k" * 2_500_000
    rows = "".join(
        f"{'NA' if k == 3 else k},{long if k in (2, 5) else 'c'},{k}\n" for k in range(9)
    )
    data = TabularData(text("id,c,y\n" + rows), "y", features=[])
    found = predicted(trainer, data, "t.csv", keep=["id"])
    assert list(found.id) == ["0", "1", "2", "NA", "4", "5", "6", "7", "8"]


def test_the_last_row_can_contain_a_line_break_and_end_without_one() -> None:
    rows = "".join(f"{k},n,{k}\n" for k in range(9)) + '9,"two\nlines",9'
    assert TableDataset([text("x,note,y\n" + rows)]).count_rows() == 10
    assert count_lines(b'9,"two\nlines",9', ",") == 1


def test_a_quote_within_a_value_is_an_ordinary_character(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        sizes = ['3"' if k in (3, 60) else "4in" for k in range(80)]
        rows = [f"{size},{k % 7},{2 * (k % 7)}" for k, size in enumerate(sizes)]
        text("\n".join(['pipe 3",a,y', *rows]), f"two/{folder}.csv")
    whole = TabularData("two", "y", "a")
    whole.setup("fit")
    assert whole.splits["train"].rows == 160
    source = TableDataset(["two"])
    assert source.count_rows() == 160
    for start, stop in ((0, 70), (70, 160)):  # the shares of two processes
        chunks = source.read({"a": pyarrow.float64()}, 1000, start, stop)
        assert sum(chunk.table.num_rows for chunk in chunks) == stop - start


def test_nan_in_a_categorical_column_of_numbers_is_a_missing_value(trainer: MakeTrainer) -> None:
    path = parquet({"c": [1.0, 2.0, float("nan"), 2.0, 1.0], "y": [1.0, 2.0, 9.0, 2.5, 1.5]})
    data = TabularData(path, "y", categorical="c", missing="drop")
    data.setup("fit")
    assert data.feature_names == ["c[2]"]
    with pytest.raises(InputError, match="column 'c': row 3 holds nan, a missing value"):
        trainer(max_epochs=1).fit(LeastSquares(), TabularData(path, "y", categorical="c"))


def test_levels_come_only_from_rows_that_are_not_dropped(trainer: MakeTrainer) -> None:
    rows = [f"{'vw'[k % 2]},{k},{2 * k + 5 * (k % 2)}" for k in range(18)]
    path = text("\n".join(["c,a,y", *rows, "rare,,3", "other,3,"]))
    data = TabularData(path, "y", missing="drop")
    model = LeastSquares()
    trainer(max_epochs=1).fit(model, data)
    found = {row["name"]: row["estimate"] for row in model.coefficients()}
    assert found == pytest.approx({"intercept": 0.0, "c[w]": 5.0, "a": 2.0}, abs=1e-9)
    empty = text("c,a,y\nv,,1\nw,2,\n", "empty.csv")
    with pytest.raises(InputError, match=r"no row left to train on; .* rows lack a value"):
        trainer(max_epochs=1).fit(LeastSquares(), TabularData(empty, "y", missing="drop"))


def test_missing_values_in_a_column_of_one_level_are_found(trainer: MakeTrainer) -> None:
    table = text("site,x,y\nOslo,1,1\n,2,9\nOslo,3,3.5\n,4,-5\nOslo,5,5.5\n")
    with pytest.raises(InputError, match="column 'site': row 2 holds nan, a missing value"):
        trainer(max_epochs=1).fit(LeastSquares(), TabularData(table, "y"))
    model = LeastSquares()
    with pytest.warns(UserWarning, match=r"2 of 5 rows were left out|site\[Oslo\]"):
        trainer(max_epochs=1).fit(model, TabularData(table, "y", missing="drop"))
    found = {row["name"]: row["estimate"] for row in model.coefficients()}
    assert found["x"] == pytest.approx(1.125)
    assert np.isnan(found["site[Oslo]"])
    assert model.fit_statistics["rows"] == 3


def test_a_link_to_a_file_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    path = Path(text(TABLE, "d/t.csv"))
    (path.parent / "latest.csv").symlink_to("t.csv")
    with pytest.raises(InputError, match=r"t\.csv is named 2 times"):
        TabularData("d", "y").setup("fit")


@pytest.mark.parametrize(
    ("option", "name"), [("target", "#w"), ("features", "@home"), ("exclude", "&a")]
)
def test_column_names_that_yaml_would_change_are_taken_literally(
    option: str, name: str, command: Any, refused: Any
) -> None:
    path = text(f'"{name}",b,y\n' + "".join(f"{k},{k * k % 7},{k * k % 5}\n" for k in range(9)))
    fit = f"fit --model LeastSquares --data TabularData --data.path {path}".split()
    options = {"target": "y", option: name}
    words = [word for key, value in options.items() for word in (f"--data.{key}", value)]
    result = command(*fit, *words)
    names = {row["name"] for row in result["coefficients"]}
    assert (name in names) == (option == "features")
    assert {row["target"] for row in result["coefficients"]} == {options["target"]}
    if option == "features":
        path = text('"#w",b,y\n' + "".join(f"{k % 3},{k * k % 7},{k}\n" for k in range(9)))
        command(*fit, "--data.target", "y", "--data.weight", "#w")
    message = refused(*fit, "--data.target y --data.features 1e3")
    assert "t.csv has no column '1e3'" in message


def test_reading_complete_rows_does_not_import_pandas() -> None:
    table = pyarrow.table({"a": [1.0, 2.0, 3.0] * 4, "c": list("xyz") * 4})
    pyarrow.parquet.write_table(table, "t.parquet")
    code = (
        "import sys\n"
        "from linreg_lightning.design_matrix.design import Design\n"
        "from linreg_lightning.design_matrix.row_subset import HashSplit, RowSubset\n"
        "from linreg_lightning.tables.dataset import TableDataset\n"
        "data = TableDataset(['t.parquet'])\n"
        "types = {field.name: field.type for field in data.schema}\n"
        "design = Design(['a', 'c'], {'c': ['x', 'y', 'z']})\n"
        "for block in RowSubset(data, HashSplit(0.5)).read(types, 100):\n"
        "    print(design.matrix(block.table)[0].shape[0])\n"
        "print('pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3", "False"]


def test_prefetch_threads_end_before_python_ends() -> None:
    # Python calls registered functions in reverse order.
    code = (
        "import atexit, itertools, threading\n"
        "atexit.register(lambda: print([each.name for each in threading.enumerate()]))\n"
        "from linreg_lightning.tables.prefetch import prefetch\n"
        "held = prefetch(prefetch(itertools.count()))\n"
        "print(next(held), next(held))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["0 1", "['MainThread']"]


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([10, 9, 1, 9], ["c[9]", "c[10]"]),
        (["b", "10", "a", "a"], ["c[a]", "c[b]"]),
        (["10", "9", "nan", "9"], ["c[9]", "c[nan]"]),
    ],
)
def test_levels_are_in_the_order_of_numbers_or_of_text(values: list[Any], names: list[str]) -> None:
    path = parquet({"c": values, "y": [1.0, 2.0, 3.0, 4.0]})
    data = TabularData(path, "y", categorical="c")
    data.setup("fit")
    assert data.feature_names == names


def test_large_whole_numbers_that_float64_holds_are_read() -> None:
    data = TabularData(table_with_column([2**60, None, -(2**63)]), "y", missing="drop")
    data.setup("fit")
    assert data.splits["train"].x[:, 0].tolist() == [2.0**60, -(2.0**63)]
