"""Targets that are categories: y is the number of a class."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.preprocessing import LabelEncoder

from linreg_lightning import Batch, InputError, TabularData
from linreg_lightning.data import SupervisedDataModule
from linreg_lightning.data.split_reader import SplitReader

ROWS = 120
KINDS: dict[str, list[Any]] = {
    "words": ["setosa", "Virginica", "été", "versicolor"],
    "whole numbers": [10, 9, -2, 100],
    "truth values": [True, False],
    "floats of whole numbers": [2.0, 0.0, 1.0],
}


def table(labels: list[Any], rows: int = ROWS) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    drawn = [labels[k] for k in generator.integers(len(labels), size=rows)]
    place = np.arange(rows, dtype=float)
    return pd.DataFrame({"x": place, "c": generator.choice(["u", "v"], rows), "kind": drawn})


def write(frame: pd.DataFrame, source: str) -> Any:
    if source == "csv":
        frame.to_csv("t.csv", index=False)
    elif source == "parquet":
        frame.to_parquet("t.parquet")
    return frame if source == "frame" else f"t.{source}"


def rows_of(batches: Any) -> Batch:
    return Batch.concatenate(list(batches))


def load(source: Any, stage: str = "fit", **options: Any) -> TabularData:
    data = TabularData(source, "kind", **{"classes": True, **options})
    data.setup(stage)
    return data


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("source", ["csv", "parquet", "frame"])
@pytest.mark.parametrize("kind", KINDS)
def test_y_has_the_codes_of_pandas_and_scikit_learn(kind: str, source: str, stream: bool) -> None:
    frame = table(KINDS[kind])
    data = load(write(frame, source), stream=stream, val_fraction=0.3, batch_size=16)
    encoder = LabelEncoder().fit(frame.kind)
    codes = pd.Categorical(frame.kind).codes
    for batches in (data.train_dataloader(), data.val_dataloader()):
        x, y, _ = rows_of(batches)
        place = x[:, 0].long().numpy()
        assert y.dtype == torch.int64
        assert y.tolist() == codes[place].tolist()
        assert y.tolist() == encoder.transform(frame.kind[place]).tolist()
    names = [f"{name:g}" if kind.startswith("floats") else str(name) for name in encoder.classes_]
    assert data.class_names == [name.lower() if kind == "truth values" else name for name in names]
    assert data.target_names == ["kind"]


@pytest.mark.parametrize("missing", ["drop", "mean"])
@pytest.mark.parametrize("stream", [False, True])
def test_rows_without_a_class_are_left_out(
    missing: Any, stream: bool, recwarn: pytest.WarningsRecorder
) -> None:
    frame = table(["a", "b"])
    frame.loc[[3, 50], "kind"] = None
    frame.loc[7, "x"] = np.nan
    data = load(frame, missing=missing, stream=stream, shuffle=False)
    y = rows_of(data.train_dataloader()).y
    expected = frame if missing == "mean" else frame[frame.x.notna()]
    assert y.tolist() == pd.Categorical(expected.kind.dropna()).codes.tolist()
    left_out = [str(w.message) for w in recwarn if "left out" in str(w.message)]
    assert left_out
    assert all("kind 2" in text for text in left_out)


def test_a_missing_class_is_refused() -> None:
    frame = table(["a", "b"])
    frame.loc[3, "kind"] = None
    with pytest.raises(InputError, match="column 'kind': row 4 has no class; fill it in"):
        load(frame)


def test_rows_of_weight_zero_may_hold_any_class() -> None:
    frame = table(["a", "b"]).assign(w=1.0)
    frame.loc[4, ["kind", "w"]] = ["unknown", 0.0]
    frame.loc[5, ["kind", "w"]] = [None, 0.0]
    data = load(frame, weight="w")
    assert data.class_names == ["a", "b"]
    rows = data.splits["train"]
    assert rows.weight is not None
    counts = rows.weight > 0
    assert int(counts.sum()) == ROWS - 2
    kept = frame.kind.drop(index=[4, 5])
    assert rows.y[counts].tolist() == pd.Categorical(kept).codes.tolist()


def test_classes_are_those_of_the_rows_to_train_on_also_for_other_files() -> None:
    frame = table(["b", "a", "c"])
    design = load(frame).hparams["design"]
    only_c = frame[frame.kind == "c"].reset_index(drop=True)
    data = load(only_c, "test", test_fraction=1.0, design=design)
    assert data.class_names == ["a", "b", "c"]
    assert set(rows_of(data.test_dataloader()).y.tolist()) == {2}
    # Rows to predict need no target.
    data = load(only_c.drop(columns="kind"), "predict", design=design)
    assert rows_of(data.predict_dataloader()).y.shape == (len(only_c), 0)


@pytest.mark.parametrize("stream", [False, True])
def test_an_unknown_class_is_refused_by_its_name_and_row(stream: bool) -> None:
    frame = table(["a", "b"])
    other = frame.assign(kind=["a"] * 6 + ["z"] + ["b"] * (ROWS - 7))
    match = r"target: column 'kind': row 7 holds 'z', a class that no row .* had \('a', 'b'\)"
    with pytest.raises(InputError, match=match):
        rows_of(load(frame, val_path=other, stream=stream, unseen="zero").val_dataloader())
    other.loc[6, "x"] = np.nan  # left out, so its class does not matter
    data = load(frame, val_path=other, stream=stream, missing="drop")
    assert len(rows_of(data.val_dataloader()).y) == ROWS - 1


def test_processes_share_the_rows_of_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = table(["a", "b", "c"])
    data = load(frame, stream=True)
    monkeypatch.setattr(SplitReader, "_all_gather", lambda self, value: [value, value])
    monkeypatch.setattr(TabularData, "rank_and_world_size", (0, 2))
    shares = []
    for rank in range(2):
        monkeypatch.setattr(TabularData, "rank_and_world_size", (rank, 2))
        shares.append(rows_of(data.loader("train")).y)
    assert torch.cat(shares).tolist() == pd.Categorical(frame.kind).codes.tolist()


def test_a_resumed_stream_goes_on_with_the_same_batches() -> None:
    frame = table(["a", "b", "c"])

    def make() -> TabularData:
        return load(frame, stream=True, batch_size=16)

    torch.manual_seed(1)
    first = make()
    batches = iter(first.train_dataloader())
    for _ in range(4):
        next(batches)
    state, rest = first.state_dict(), [batch.y.tolist() for batch in batches]
    torch.manual_seed(2)
    second = make()
    second.load_state_dict(state)
    resumed = [batch.y.tolist() for batch in second.train_dataloader()]
    assert resumed == rest
    assert len(resumed) == 4


def csv(content: str) -> Callable[[], str]:
    def make() -> str:
        Path("t.csv").write_text(content)
        return "t.csv"

    return make


REFUSED: dict[str, tuple[Callable[[], Any], dict[str, Any], str]] = {
    "text, not classes": (
        lambda: table(["a", "b"]),
        {"classes": False},
        "target: column 'kind' of the frame holds text, .* if it holds classes, set classes to",
    ),
    "text of a file, not classes": (
        csv("x,kind\n1,a\n2,b\n3,group 1\n"),
        {"classes": False},
        "target: column 'kind' of t.csv holds text, .* if it holds classes, set classes to true",
    ),
    "fractions": (
        lambda: table([1.0, 2.5]),
        {},
        r"column 'kind': row \d+ holds 2.5, which is no class; .* set classes to false",
    ),
    "fractions of a file": (
        csv("x;kind\n1;1\n2;0,5\n3;1\n"),
        {"delimiter": ";", "decimal": ","},
        "column 'kind': row 2 holds 0,5, which is no class",
    ),
    "infinity": (lambda: table([1.0, np.inf]), {}, "holds inf, which is no class"),
    "dates": (
        lambda: table([pd.Timestamp("2024-01-01"), pd.Timestamp("2024-01-02")]),
        {},
        "target: column 'kind' of the frame holds values of type timestamp",
    ),
    "dates of a file": (
        csv("x,kind\n1,2024-01-01\n2,2024-01-02\n3,2024-01-01\n"),
        {},
        "target: column 'kind' of t.csv holds values of type date",
    ),
    "one class": (lambda: table(["a"]), {}, "target: column 'kind' has a single class, 'a'"),
    "no class": (lambda: table([None]), {}, "holds no value .*; name another column as target"),
    "an identifier": (
        lambda: table(["a"]).assign(kind=[f"n{k}" for k in range(ROWS)]),
        {},
        "another level in each of the 120 rows, .* name another column as target",
    ),
    "too many": (lambda: table(list("abcd")), {"max_levels": 3}, "more than 3 levels"),
    "two targets": (
        lambda: table(["a", "b"]),
        {"target": ["kind", "c"]},
        "target: 'kind', 'c' were given, and classes is true, which takes one",
    ),
    "groups": (lambda: table(["a", "b"]), {"by": "c"}, "classes: it is true, and the fits of"),
    "no truth value": (lambda: table(["a", "b"]), {"classes": "yes"}, "classes: 'yes' was given"),
    "a design of numbers": (
        lambda: table(["a", "b"]),
        {"design": {"features": ["x"]}},
        "classes: true was given, but the target of the checkpoint holds numbers",
    ),
    "a design of classes": (
        lambda: table([1, 2]),
        {"classes": False, "design": {"features": ["x"], "classes": ["1", "2"]}},
        "classes: false was given, but the target of the checkpoint holds classes",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_targets_that_are_no_classes_are_refused(case: str) -> None:
    make, options, match = REFUSED[case]
    options = {"target": "kind", "classes": True, **options}
    with pytest.raises(InputError, match=match):
        TabularData(make(), **options).setup("fit")


# Data of any shape


class Images(SupervisedDataModule):
    """Random images, and the number of each one's class."""

    def __init__(self, rows: int = 23, classes: int = 3, **options: Any) -> None:
        super().__init__(**options)
        self.save_hyperparameters()
        self.rows, self.class_names = rows, [f"class {k}" for k in range(classes)]

    def load(self, stage: str) -> None:
        generator = torch.Generator().manual_seed(self.seed)
        x = torch.rand(self.rows, 1, 16, 16, generator=generator)
        x[:, 0, 0, 0] = torch.arange(self.rows)
        y = torch.randint(len(self.class_names), (self.rows,), generator=generator)
        self.splits["train"] = Batch(x, y)


@pytest.mark.parametrize("shuffle", [True, "blocks"])
def test_a_pass_over_images_resumes_where_it_stopped(shuffle: Any) -> None:
    torch.manual_seed(1)
    whole, stopped = (Images(batch_size=4, shuffle=shuffle) for _ in range(2))
    whole.setup("fit")
    batches = list(whole.train_dataloader())
    assert sorted(rows_of(batches).x[:, 0, 0, 0].tolist()) == list(range(23))
    torch.manual_seed(1)
    stopped.setup("fit")
    iterator = iter(stopped.train_dataloader())
    for _ in range(2):
        next(iterator)
    torch.manual_seed(2)
    resumed = Images(batch_size=4, shuffle=shuffle)
    resumed.setup("fit")
    resumed.load_state_dict(stopped.state_dict())
    rest = list(resumed.train_dataloader())
    assert len(rest) == len(batches) - 2
    for one, other in zip(rest, batches[2:], strict=True):
        assert torch.equal(one.x, other.x)
        assert torch.equal(one.y, other.y)


def test_processes_share_images_and_chunks_have_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    data = Images(batch_size=4)
    data.setup("fit")
    seen: list[float] = []
    for rank in range(2):
        monkeypatch.setattr(Images, "rank_and_world_size", (rank, 2))
        share = rows_of(data.loader("train", shuffle_seed=5))
        assert share.y.dtype == torch.int64
        rows = data.splits["train"]
        assert torch.equal(share.y, rows.y[share.x[:, 0, 0, 0].long()])
        seen += share.x[:, 0, 0, 0].tolist()
        chunk = rows_of(data.loader("train").chunks(float("inf")))
        assert torch.equal(chunk.x, rows.x[rank::2])
    assert sorted(seen) == list(range(23))


def with_value(part: str, value: float) -> Callable[[Batch], Batch]:
    def change(rows: Batch) -> Batch:
        values = getattr(rows, part).clone()
        values[2] = value
        return rows._replace(**{part: values})

    return change


BAD: dict[str, tuple[Callable[[Batch], Batch], str]] = {
    "NaN": (with_value("x", np.nan), r"splits\['train'\].x: row 3 holds nan; give finite"),
    "infinity": (with_value("x", -np.inf), r"splits\['train'\].x: row 3 holds -inf"),
    "a class too many": (with_value("y", 3), r"splits\['train'\].y: row 3 holds the class 3; "),
    "a negative class": (with_value("y", -1), "row 3 holds the class -1; .* from 0 to 2"),
    "fewer y": (lambda rows: rows._replace(y=rows.y[1:]), r"\['train'\].y: a shape of \(22,\)"),
    "floats": (lambda rows: rows._replace(y=rows.y.float()), "torch.float32 and shape .* int64"),
    "columns": (lambda rows: rows._replace(y=rows.y[:, None]), r"shape \(23, 1\) was given"),
    "weights": (lambda rows: rows._replace(weight=rows.x), r"weight: a shape of \(23, 1, 16, 16\)"),
    "negative weights": (
        lambda rows: rows._replace(weight=torch.full((23,), -1.0)),
        "weight: -1 was given in row 1",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_values_that_no_model_can_use_are_refused(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, match = BAD[case]
    load_rows = Images.load

    def load_bad(self: Images, stage: str) -> None:
        load_rows(self, stage)
        self.splits["train"] = change(self.splits["train"])

    monkeypatch.setattr(Images, "load", load_bad)
    with pytest.raises(InputError, match=match):
        Images().setup("fit")


def test_a_split_that_load_does_not_fill_is_named() -> None:
    data = Images()
    data.setup("fit")
    with pytest.raises(InputError, match=r"Images: no rows for test; .* splits\['test'\] in load"):
        data.test_dataloader()
    data.splits.clear()
    with pytest.raises(InputError, match="Images: no rows for train"):
        data.train_dataloader()
