"""Which fold of a cross-validation each row to train on is in, where the model asks for it."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.trainer.states import TrainerFn

from linreg_lightning.algebra.folds import FoldRule
from linreg_lightning.batch import Batch, FoldBatch
from linreg_lightning.errors import InputError
from linreg_lightning.protocols import AssignsFolds


def fold_rule(trainer: Any) -> FoldRule | None:
    """Return the rule of the model that the Trainer fits; None: it asks for no folds."""
    if trainer is None or trainer.state.fn != TrainerFn.FITTING:
        return None
    model = trainer.lightning_module
    return model.fold_rule if isinstance(model, AssignsFolds) else None


def with_folds(rows: Batch | FoldBatch, rule: FoldRule | None) -> Batch | FoldBatch:
    """Return all rows to train on, with a fold for each by its number if there is a rule.

    Rows with folds of their own keep these; without a rule, they come without folds.
    """
    if rule is None:
        return rows.batch if isinstance(rows, FoldBatch) else rows
    if isinstance(rows, FoldBatch):
        return rows
    return FoldBatch(*rows, rule.of_rows(0, rows.rows, rows.rows).to(rows.x.device))


def check_group(rule: FoldRule | None, model: Any) -> None:
    """Refuse groups for a model that makes no folds, or makes them of consecutive rows."""
    if rule is None:
        raise InputError(
            f"group: {type(model).__name__} puts no rows into folds; take the model "
            "RegularizedLeastSquares, or leave group out"
        )
    if rule.blocks:
        raise InputError(
            "group: the model takes blocks of consecutive rows for folds; leave group out, or let "
            "the model make folds without blocks"
        )
