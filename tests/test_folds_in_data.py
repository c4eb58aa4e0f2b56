"""Data modules tell a model with a `fold_rule` which fold each row is in."""

from typing import Any

import lightning.pytorch as pl
import pytest
import torch

from linreg_lightning import (
    InputError,
    RegressionDataModule,
    SyntheticData,
    TensorData,
)
from linreg_lightning.algebra.folds import FoldRule
from linreg_lightning.batch import Batch, FoldBatch
from linreg_lightning.models.batches import as_batch, folds_of_batch

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


def fit(data: RegressionDataModule, model: Any = None) -> Any:
    """Return the model after one epoch."""
    model = Recorder() if model is None else model
    quiet: Any = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    quiet |= {"enable_checkpointing": False, "accelerator": "cpu"}
    pl.Trainer(max_epochs=1, **quiet).fit(model, data)
    return model


def rows_of(data: RegressionDataModule, rule: FoldRule | None = RULE) -> FoldBatch:
    """Return the rows that a model is given in a fit."""
    model = fit(data, Recorder(rule))
    assert all(type(batch) is FoldBatch for batch in model.batches)
    return FoldBatch.concatenate(model.batches)


def turned(rows: int, folds: int, seed: int) -> list[int]:
    """Return the folds by the definition in `folds_of_rows`, in Python's whole numbers."""
    size = 2**64

    def mix(z: int) -> int:
        z = (z + 0x9E3779B97F4A7C15) % size
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % size
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % size
        return z ^ (z >> 31)

    return [(row + mix(row // folds ^ mix(seed)) % 2**63) % folds for row in range(rows)]


def test_a_fold_batch_keeps_its_rows_and_folds_together() -> None:
    rows = FoldBatch(torch.arange(4.0)[:, None], torch.ones(4, 1), None, torch.tensor([0, 1, 1, 0]))
    parts = [rows.select(slice(0, 1)), rows.select(torch.tensor([3, 1]))]
    joined = FoldBatch.concatenate(parts)
    assert joined.x[:, 0].tolist() == [0, 3, 1]
    assert joined.fold.tolist() == [0, 0, 1]
    assert joined.weight is None
    weighted = rows._replace(weight=torch.arange(4))
    assert FoldBatch.concatenate([weighted, weighted]).weight.tolist() == [0, 1, 2, 3] * 2  # type: ignore[union-attr]
    assert type(as_batch(rows)) is Batch
    assert folds_of_batch(rows) is rows.fold
    with pytest.raises(InputError, match=r"fold: a shape of \(2,\) was given"):
        as_batch(rows._replace(fold=rows.fold[:2]))
    with pytest.raises(InputError, match="a Batch without folds was given"):
        folds_of_batch(rows.batch)


@pytest.mark.parametrize("batch_size", [None, 7])
def test_rows_in_memory_have_folds_by_their_number(batch_size: int | None) -> None:
    data = SyntheticData(rows=23, val_rows=4, batch_size=batch_size)
    model = fit(data)
    rows = FoldBatch.concatenate(model.batches)
    assert torch.equal(rows.x, data.splits["train"].x)
    assert rows.fold.dtype is torch.uint8
    assert rows.fold.tolist() == turned(23, RULE.folds, RULE.seed)
    assert type(model.others[0]) is Batch
    assert type(data.splits["train"]) is Batch


def test_folds_follow_rows_that_are_shuffled() -> None:
    model = Recorder()
    model.one_pass = False
    x = torch.arange(40.0)[:, None]
    rows = FoldBatch.concatenate(fit(TensorData(x, x, batch_size=6), model).batches)
    assert rows.x[:, 0].tolist() != x[:, 0].tolist()
    expected = turned(40, RULE.folds, RULE.seed)
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


def test_folds_stay_whole_numbers_in_the_precision_of_a_module() -> None:
    model = Recorder().half()
    rows = fit(TensorData(torch.rand(9, 2), torch.rand(9)), model).batches[0]
    assert (rows.x.dtype, rows.fold.dtype) == (torch.float16, torch.uint8)
