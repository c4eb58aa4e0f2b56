"""Data modules tell a model with a `fold_rule` which fold each row is in."""

import re
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import pytest
import torch

from linreg_lightning import (
    InputError,
    LeastSquares,
    SupervisedDataModule,
    SyntheticData,
    TabularData,
    TensorData,
)
from linreg_lightning.algebra.folds import FoldRule, group_numbers
from linreg_lightning.batch import Batch, FoldBatch
from linreg_lightning.data.split_reader import SplitReader
from linreg_lightning.design_matrix.row_subset import splitmix64
from linreg_lightning.models.batches import as_batch

RULE = FoldRule(folds=5, seed=3)


class Recorder(pl.LightningModule):
    """Keeps the batches that it is given to train on, and to validate on."""

    one_pass = True

    def __init__(self, rule: FoldRule | None = RULE) -> None:
        super().__init__()
        self.fold_rule = rule
        self.automatic_optimization = False
        self.batches: list[Any] = []
        self.others: list[Any] = []

    def training_step(self, batch: Any, batch_idx: int) -> None:
        self.batches.append(batch)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.others.append(batch)

    def configure_optimizers(self) -> None:
        return None


def fit(data: SupervisedDataModule, model: Any = None) -> Any:
    """Return the model after one epoch."""
    model = Recorder() if model is None else model
    quiet: Any = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    quiet |= {"enable_checkpointing": False, "accelerator": "cpu"}
    pl.Trainer(max_epochs=1, **quiet).fit(model, data)
    return model


def rows_of(data: SupervisedDataModule, rule: FoldRule | None = RULE) -> FoldBatch:
    """Return the rows that a model is given in a fit."""
    model = fit(data, Recorder(rule))
    assert all(type(batch) is FoldBatch for batch in model.batches)
    return FoldBatch.concatenate(model.batches)


def folds_by_definition(rows: int, folds: int, seed: int) -> list[int]:
    """Return the folds by the definition in `folds_of_rows`, with the hash that splits tables."""
    row = np.arange(rows, dtype=np.uint64)
    turn = splitmix64(row // folds ^ splitmix64(np.array([seed], np.uint64))) % 2**63
    return [int(fold) for fold in (row + turn) % folds]


def test_a_fold_batch_keeps_its_rows_and_folds_together() -> None:
    rows = FoldBatch(torch.arange(4.0)[:, None], torch.ones(4, 1), None, torch.tensor([0, 1, 1, 0]))
    parts = [rows.select(slice(0, 1)), rows.select(torch.tensor([3, 1]))]
    joined = FoldBatch.concatenate(parts)
    assert joined.x[:, 0].tolist() == [0, 3, 1]
    assert joined.fold.tolist() == [0, 0, 1]
    assert joined.weight is None
    weighted = rows._replace(weight=torch.arange(4))
    assert FoldBatch.concatenate([weighted, weighted]).weight.tolist() == [0, 1, 2, 3] * 2
    assert type(as_batch(rows)) is Batch
    with pytest.raises(InputError, match=r"fold: a shape of \(2,\) was given"):
        as_batch(rows._replace(fold=rows.fold[:2]))


def test_a_number_is_the_same_group_in_any_type() -> None:
    def folds(values: Any, labels: Any = None) -> list[int]:
        return group_numbers(torch.as_tensor(values), labels).tolist()

    whole = [0, 1, -7, 2**53 + 1, 2**63 - 1, -(2**63)]
    assert folds(whole) == folds(range(6), whole) == folds(range(6), [*map(str, whole)])
    other = torch.tensor([0.0, -0.0, 0.1, 3.0, -(2.0**63), 1e19, torch.inf], dtype=torch.float64)
    assert folds(other) == folds(range(7), other.tolist())
    assert folds([3, 1, 0]) == folds(range(3), ["3.0", "true", False])
    large = [2**64 - k for k in range(50)]  # uint64, which no tensor of int64 holds
    assert len(set(folds(range(50), large))) == 50
    assert folds([0, 1], ["9" * 5000, "9" * 400])[0] == folds([0], ["inf"])[0]


@pytest.mark.parametrize("batch_size", [None, 7])
def test_rows_in_memory_have_folds_by_their_number(batch_size: int | None) -> None:
    data = SyntheticData(rows=23, val_rows=4, batch_size=batch_size)
    model = fit(data)
    rows = FoldBatch.concatenate(model.batches)
    assert torch.equal(rows.x, data.splits["train"].x)
    assert rows.fold.dtype is torch.uint8
    assert rows.fold.tolist() == folds_by_definition(23, RULE.folds, RULE.seed)
    assert type(model.others[0]) is Batch
    assert type(data.splits["train"]) is Batch


def test_folds_follow_rows_that_are_shuffled() -> None:
    model = Recorder()
    model.one_pass = False
    x = torch.arange(40.0)[:, None]
    rows = FoldBatch.concatenate(fit(TensorData(x, x, batch_size=6), model).batches)
    assert rows.x[:, 0].tolist() != x[:, 0].tolist()
    expected = folds_by_definition(40, RULE.folds, RULE.seed)
    assert rows.fold.tolist() == [expected[int(row)] for row in rows.x[:, 0]]


def test_blocks_are_consecutive_rows() -> None:
    x = torch.arange(7.0)[:, None]
    rule = FoldRule(folds=3, blocks=True)
    assert rows_of(TensorData(x, x, batch_size=2), rule).fold.tolist() == [0, 0, 0, 1, 1, 2, 2]
    with pytest.raises(InputError, match="folds: 9 was given for 7 rows"):
        rows_of(TensorData(x, x), FoldRule(folds=9, blocks=True))


def test_a_model_without_a_rule_gets_plain_batches() -> None:
    data = TensorData(torch.rand(9, 2), torch.rand(9), torch.ones(9))
    for model in (Recorder(), Recorder(None), Recorder()):
        kind = Batch if model.fold_rule is None else FoldBatch
        assert type(fit(data, model).batches[0]) is kind


class Images(SupervisedDataModule):
    """Images of classes, with folds of their own."""

    class_names = ["even", "odd"]  # noqa: RUF012

    def load(self, stage: str) -> None:
        rows = torch.arange(10)
        self.splits["train"] = FoldBatch(torch.rand(10, 1, 2, 2), rows % 2, None, rows // 5)


def test_a_data_module_may_have_folds_of_its_own() -> None:
    rows = FoldBatch.concatenate(fit(Images(batch_size=4, shuffle=False)).batches)
    assert rows.fold.tolist() == [0] * 5 + [1] * 5
    assert type(fit(Images(), Recorder(None)).batches[0]) is Batch
    wrong = Images()
    wrong.load = lambda stage: wrong.splits.update(train=rows._replace(fold=rows.fold[:3]))
    with pytest.raises(InputError, match=r"splits\['train'\].fold: a shape of \(3,\) was given"):
        fit(wrong)


def test_folds_stay_whole_numbers_in_the_precision_of_a_module() -> None:
    model = Recorder().half()
    rows = fit(TensorData(torch.rand(9, 2), torch.rand(9)), model).batches[0]
    assert (rows.x.dtype, rows.fold.dtype) == (torch.float16, torch.uint8)


def table(rows: int = 60) -> pd.DataFrame:
    """Return a table with groups as text, numbers, truth values and dates; row 4 has no y."""
    generator = np.random.default_rng(0)
    shop = generator.integers(0, 12, rows)
    frame = pd.DataFrame({"row": np.arange(float(rows)), "y": generator.normal(size=rows)})
    frame = frame.assign(shop=[f"shop {k}" for k in shop], number=shop, half=shop / 2)
    frame = frame.assign(open=shop % 2 == 0, day=pd.Timestamp("2024-01-01"))
    frame["day"] += pd.to_timedelta(shop, "D")
    frame.loc[4, "y"] = np.nan
    return frame


def by_row(rows: FoldBatch) -> dict[int, int]:
    """Return the fold of each row by its number in the table."""
    return dict(zip(rows.x[:, 0].int().tolist(), rows.fold.tolist(), strict=True))


@pytest.fixture
def files(tmp_path: Path) -> list[Any]:
    frame = table()
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet", row_group_size=13)
    for part in range(3):
        frame[part * 20 : part * 20 + 20].to_csv(tmp_path / f"part-{part}.csv", index=False)
    return [frame, *(str(tmp_path / name) for name in ("t.csv", "t.parquet", "part-*.csv"))]


READ: dict[str, Any] = {"target": "y", "features": ["row"], "missing": "drop"}


@pytest.mark.parametrize("options", [{}, {"batch_size": 7}, {"stream": True, "batch_size": 9}])
def test_rows_of_a_table_have_folds_by_their_number(files: list[Any], options: Any) -> None:
    expected = folds_by_definition(60, RULE.folds, RULE.seed)
    for path in files:
        folds = by_row(rows_of(TabularData(path, **READ, **options)))
        assert folds == {row: expected[row] for row in range(60) if row != 4}
    data = TabularData(files[1], val_fraction=0.3, **READ, **options)
    model = fit(data)
    folds = by_row(FoldBatch.concatenate(model.batches))
    held_out = {int(row) for batch in model.others for row in batch.x[:, 0]}
    assert folds == {row: expected[row] for row in {*range(60)} - held_out - {4}}
    assert len(held_out) in (17, 18)
    assert len(folds) == 59 - len(held_out)


@pytest.mark.parametrize("stream", [False, True])
def test_blocks_are_consecutive_rows_of_the_table(files: list[Any], stream: bool) -> None:
    rule = FoldRule(folds=7, blocks=True)
    block = np.repeat(np.arange(7), [9, 9, 9, 9, 8, 8, 8])
    for path in files:
        data = TabularData(path, val_fraction=0.2, stream=stream, **READ)
        folds = by_row(rows_of(data, rule))
        assert len(folds) > 40
        assert all(block[row] == fold for row, fold in folds.items())


@pytest.mark.parametrize("group", ["shop", "number", "half", "open", "day"])
def test_whole_groups_lie_in_a_fold(files: list[Any], group: str) -> None:
    values = table()[group]
    folds_of_group = {"open": 2}.get(group, 5)
    rule, found = FoldRule(folds_of_group, seed=3), []
    for path, stream in zip(files, [False, True, False, True], strict=True):
        folds = by_row(rows_of(TabularData(path, group=group, stream=stream, **READ), rule))
        assert sorted(folds) == [row for row in range(60) if row != 4]
        found.append(folds)
    of_group = {values[row]: fold for row, fold in found[0].items()}
    assert all(of_group[values[row]] == fold for row, fold in found[0].items())
    assert len(set(of_group.values())) == folds_of_group
    if group != "day":  # whose text differs from format to format
        assert all(folds == found[0] for folds in found)


@pytest.mark.parametrize("options", [{"batch_size": 5}, {"stream": True, "batch_size": 6}])
@pytest.mark.parametrize("rule", [RULE, FoldRule(7, blocks=True)], ids=["hash", "blocks"])
def test_processes_share_the_rows_and_not_the_folds(
    files: list[Any], monkeypatch: pytest.MonkeyPatch, options: Any, rule: FoldRule
) -> None:
    group = None if rule.blocks else "shop"
    data = {name: TabularData(files[3], group=name, **READ, **options) for name in (None, group)}
    expected = {name: by_row(rows_of(each, rule)) for name, each in data.items()}
    monkeypatch.setattr(SplitReader, "_all_gather", lambda self, value: [value] * self.world_size)
    for name in data:
        found: dict[int, int] = {}
        for rank in range(3):
            place = property(lambda _, rank=rank: (rank, 3))
            monkeypatch.setattr(TabularData, "rank_and_world_size", place)
            share = by_row(rows_of(TabularData(files[3], group=name, **READ, **options), rule))
            assert len(share) in (19, 20)
            assert not share.keys() & found.keys()
            found |= share
        assert found == expected[name]


def test_groups_of_tensors_lie_in_the_folds_of_a_table() -> None:
    frame = table().drop(index=4)
    expected = by_row(rows_of(TabularData(frame, "y", ["row"], group="shop")))
    pairs = {row: k for k, row in enumerate(frame["row"].astype(int))}
    for group in (frame["shop"], frame["shop"].sample(frac=1, random_state=1)):
        data = TensorData(frame[["row"]], frame["y"], group=group, batch_size=7)
        folds = by_row(rows_of(data))
        assert folds == {row: expected[k] for k, row in zip(expected, pairs, strict=True)}
    data = TensorData(frame[["row"]], frame["y"], group=frame["shop"], val_fraction=0.3)
    folds = by_row(rows_of(data))
    assert len(folds) == 41
    of_group = {frame["shop"][row]: fold for row, fold in folds.items()}
    assert all(of_group[frame["shop"][row]] == fold for row, fold in folds.items())
    assert type(data.splits["val"]) is Batch
    with pytest.raises(InputError, match=r"group: a shape of \(3,\) was given; \(59,\) is needed"):
        TensorData(frame[["row"]], frame["y"], group=[1, 2, 3])


def test_a_group_may_be_missing_only_where_its_row_does_not_count() -> None:
    frame = table().drop(columns=["open", "day"]).assign(w=1.0).dropna()
    frame.loc[[7, 9], "shop"] = None
    frame.loc[[7, 9], "number"] = np.nan
    for group in ("shop", "number"):
        given: Any = {"target": "y", "features": ["row"], "group": group}
        for stream in (False, True):
            with pytest.raises(InputError, match=f"group: column '{group}': row 7 has no group"):
                rows_of(TabularData(frame, stream=stream, **given))
            folds = by_row(rows_of(TabularData(frame, missing="drop", stream=stream, **given)))
            assert sorted(folds) == sorted({*range(60)} - {4, 7, 9})
            weighted = frame.assign(w=frame["shop"].notna())
            rows = rows_of(TabularData(weighted, weight="w", stream=stream, **given))
            assert rows.weight is not None
            assert rows.rows == 59
            counted = {row: fold for row, fold in by_row(rows).items() if row not in (7, 9)}
            assert counted == folds


def test_a_group_is_no_feature_unless_it_is_listed(files: list[Any]) -> None:
    given: Any = {"target": "y", "missing": "drop", "exclude": ["day", "open"]}
    for path in files[1:3]:
        data = TabularData(path, group="number", **given)
        plain = rows_of(data)
        assert not [name for name in data.feature_names if name.startswith("number")]
        listed = ["row", "number"]
        both = rows_of(TabularData(path, "y", listed, missing="drop", group="number"))
        assert by_row(both) == by_row(plain)
        assert both.x[:, 1].tolist() == table()["number"].drop(index=4).tolist()
        listed = ["row", "shop"]
        text = rows_of(TabularData(path, "y", listed, missing="drop", group="shop"))
        assert text.x.shape == (59, 12)
        assert by_row(text) == by_row(rows_of(TabularData(path, group="shop", **given)))


def test_only_a_fit_needs_the_groups(files: list[Any], tmp_path: Path) -> None:
    other = str(tmp_path / "without.csv")
    table()[["row", "y"]].dropna().to_csv(other, index=False)
    data = TabularData(files[1], val_path=other, group="shop", **READ)
    model = fit(data)
    assert {type(batch) for batch in model.others} == {Batch}
    assert data.hparams["group"] == "shop"
    later = TabularData(**{**data.hparams, "path": other})
    later.setup("predict")
    assert [batch.rows for batch in later.predict_dataloader()] == [59]


def test_each_fit_gets_the_folds_that_its_model_asks_for(files: list[Any]) -> None:
    for stream in (False, True):
        data = TabularData(files[1], stream=stream, **READ)
        first = by_row(rows_of(data))
        assert type(fit(data, Recorder(None)).batches[0]) is Batch
        other = FoldRule(folds=5, seed=4)
        assert by_row(rows_of(data, other)) != first
        assert by_row(rows_of(data)) == first


@pytest.mark.parametrize(
    ("options", "model", "message"),
    [
        ({"group": "shop"}, LeastSquares(), "group: LeastSquares puts no rows into folds"),
        ({"group": "shop"}, Recorder(FoldRule(3, blocks=True)), "group: the folds of the model"),
        ({"group": "nix"}, None, "t.csv has no column 'nix'"),
        ({"group": "y"}, None, "group: 'y' was given as target too; name another"),
        ({"group": "half", "weight": "half"}, None, "'half' was given as weight too"),
        ({"group": "shop", "by": "shop"}, None, "'shop' was given as by too"),
        ({"group": 3}, None, "group: 3 is a number; quote it"),
    ],
)
def test_groups_that_cannot_be_are_refused(
    files: list[Any], options: Any, model: Any, message: str
) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        fit(TabularData(files[1], **READ, **options), model)
    if model is not None:
        with pytest.raises(InputError, match=re.escape(message)):
            fit(TensorData(torch.rand(9, 2), torch.rand(9), group=range(9)), model)
