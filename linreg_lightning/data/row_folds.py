"""Which fold of a cross-validation each row to train on is in, where the model asks for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn
from numpy.typing import NDArray
from torch import Tensor

from linreg_lightning.algebra.folds import MAX_KNOWN_GROUPS, FoldRule, check_groups
from linreg_lightning.batch import Batch, FoldBatch, GroupBatch, KeyBatch
from linreg_lightning.data.row_keys import TableKeys, column_keys
from linreg_lightning.data.split_reader import SplitReader
from linreg_lightning.design_matrix.batch_builder import BatchBuilder, Missing
from linreg_lightning.design_matrix.column_roles import ColumnRoles
from linreg_lightning.design_matrix.row_subset import RowBlock, RowSubset
from linreg_lightning.errors import InputError
from linreg_lightning.protocols import AssignsFolds
from linreg_lightning.tables.dataset import TableDataset

_BLOCK_ROWS = 2**16


def fold_rule(trainer: Any, has_groups: bool = False) -> FoldRule | None:
    """Return the rule of the model that the Trainer fits; None if it fits none that asks for folds.

    Raises:
        InputError: groups were given, and the model makes no folds, or makes them of consecutive
            rows.
    """
    if trainer is None or trainer.state.fn != TrainerFn.FITTING:
        return None
    model = trainer.lightning_module
    rule: FoldRule | None = model.fold_rule if isinstance(model, AssignsFolds) else None
    if has_groups and rule is None:
        raise InputError(
            f"group: {type(model).__name__} puts no rows into folds; take the model "
            "RegularizedLeastSquares, or leave group out"
        )
    if has_groups and rule is not None and rule.blocks:
        raise InputError(
            "group: the folds of the model are blocks of consecutive rows; leave group out, or set "
            "blocks to false"
        )
    return rule


def forget_groups(trainer: Any) -> None:
    """Remove the groups of an earlier fit from the model's rule, until this fit has its own."""
    rule = fold_rule(trainer)
    if rule is not None:
        trainer.lightning_module.fold_rule = replace(rule, groups=None)


def learn_groups(trainer: Any, rows: Batch | FoldBatch | SplitReader) -> FoldRule | None:
    """Put the groups of all rows to train on, if any, into the model's rule, and return the rule.

    Groups of a checkpoint stay there instead, so that all their rows stay in one fold. Where single
    rows are held out, a warning says that their groups may be among those to train on.

    Raises:
        InputError: fewer groups than folds; rows without groups beside those of a checkpoint.
    """
    rule = fold_rule(trainer)
    if rule is None:
        return rule
    from_file = isinstance(rows, SplitReader) and rows.builder.roles.group is not None
    if rule.groups is not None:
        if not (from_file or isinstance(rows, GroupBatch)):
            raise InputError(
                "group: none was given, and the folds of the checkpoint are of whole groups; give "
                "the group of these rows too, or fit all rows anew without ckpt_path"
            )
        return rule
    if from_file:
        assert isinstance(rows, SplitReader)
        numbers = _read_groups(rows.subset, rows.builder.roles, rows.builder.missing)
    elif isinstance(rows, GroupBatch):
        numbers = rows.fold if rows.weight is None else rows.fold[rows.weight != 0]
    else:
        return rule
    check_groups(len(numbers.unique()), rule.folds, where=" in the rows to train on")
    trainer.lightning_module.fold_rule = rule = rule.with_groups(numbers)
    if any(trainer.datamodule.hparams.get(f"{split}_fraction") for split in ("val", "test")):
        rank_zero_warn(
            "group: val_fraction and test_fraction hold out single rows, not whole groups, so "
            "their errors may be too small for rows of new groups; hold out none, since the folds "
            "tell the error for new groups"
        )
    return rule


def with_folds(rows: Batch | FoldBatch, rule: FoldRule | None) -> Batch | FoldBatch:
    """Return rows with the fold of each, by its group or its number; without a rule, without folds.

    Rows that have folds keep them, and so do those with keys.
    """
    if isinstance(rows, KeyBatch):
        return rows
    if rule is None:
        return rows.batch if isinstance(rows, FoldBatch) else rows
    if isinstance(rows, GroupBatch):
        return FoldBatch(*rows.batch, rule.of_groups(rows.fold))
    if isinstance(rows, FoldBatch):
        return rows
    return FoldBatch(*rows, rule.of_rows(0, rows.rows, rows.rows).to(rows.x.device))


def add_folds(builder: BatchBuilder, dataset: TableDataset, rule: FoldRule | None) -> BatchBuilder:
    """Return the builder of rows to train on, whose batches have folds by the rule, or keys."""
    if rule is None:
        roles = builder.roles._replace(group=None)
        keys = (*roles.clusters, *roles.absorbed)
        return replace(builder, roles=roles, folds=TableKeys(keys) if keys else None)
    rows = dataset.count_rows() if rule.blocks else 0
    return replace(builder, folds=TableFolds(rule, rows, builder.roles.group))


@dataclass(frozen=True)
class TableFolds:
    """Finds the folds, or the groups, of a table's rows.

    Args:
        rule: how rows go to folds by their number in the table.
        rows: how many rows the table has; only a rule of blocks needs it.
        group: the column of groups; None: rows go to folds by their number.
    """

    rule: FoldRule
    rows: int
    group: str | None

    def __call__(self, block: RowBlock) -> tuple[NDArray[Any], dict[str, NDArray[np.bool_]]]:
        """Return each row's fold or, with groups, its group's number; and which have no group."""
        if self.group is not None:
            number, missing = column_keys(block.table.column(self.group))
            return number, {self.group: missing}
        start = block.chunk.start
        stop = start + block.chunk.table.num_rows
        fold = self.rule.of_rows(start, stop, self.rows).numpy()
        fold = fold if block.positions is None else fold[block.positions]
        return fold, {}


def _read_groups(subset: RowSubset, roles: ColumnRoles, missing: Missing) -> Tensor:
    """Return a number for each group of the rows to train on, or for the first 1,025 or more."""
    name = roles.group
    assert name is not None
    if missing != "drop":  # complete rows are known only from all columns
        features, categories = (
            [each for each in names if each == name] for names in (roles.features, roles.categories)
        )
        targets = roles.targets if missing == "mean" else []
        roles = roles._replace(features=features, categories=categories, targets=targets)
    groups: set[int] = set()
    for block in subset.read(roles.types(subset.dataset), _BLOCK_ROWS):
        block = block.select(roles.weight, complete=missing != "error")
        number, is_missing = column_keys(block.table.column(name))
        groups.update(np.unique(number[~is_missing]).tolist())
        if len(groups) > MAX_KNOWN_GROUPS:
            break
    return torch.tensor([*groups], dtype=torch.int64)
