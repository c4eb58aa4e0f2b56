"""Which fold of a cross-validation each row to train on is in, where the model asks for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from lightning.pytorch.trainer.states import TrainerFn

from linreg_lightning.algebra.folds import FoldRule
from linreg_lightning.batch import Batch, FoldBatch
from linreg_lightning.design_matrix.batch_builder import BatchBuilder
from linreg_lightning.design_matrix.design import to_categories
from linreg_lightning.design_matrix.row_subset import RowBlock
from linreg_lightning.errors import InputError
from linreg_lightning.frames import Floats
from linreg_lightning.protocols import AssignsFolds
from linreg_lightning.tables.dataset import TableDataset


def fold_rule(trainer: Any, has_groups: bool = False) -> FoldRule | None:
    """Return the rule of the model that the Trainer fits; None: it asks for no folds.

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


def with_folds(rows: Batch | FoldBatch, rule: FoldRule | None) -> Batch | FoldBatch:
    """Return all rows to train on, with a fold for each by its number if there is a rule.

    Rows with folds of their own keep these; without a rule, they come without folds.
    """
    if rule is None:
        return rows.batch if isinstance(rows, FoldBatch) else rows
    if isinstance(rows, FoldBatch):
        return rows
    return FoldBatch(*rows, rule.of_rows(0, rows.rows, rows.rows).to(rows.x.device))


def add_folds(builder: BatchBuilder, dataset: TableDataset, rule: FoldRule | None) -> BatchBuilder:
    """Return a builder of the rows to train on whose batches have folds if there is a rule."""
    if rule is None:
        return replace(builder, roles=builder.roles._replace(group=None))
    rows = dataset.count_rows() if rule.blocks else 0
    return replace(builder, folds=TableFolds(rule, rows, builder.roles.group))


@dataclass(frozen=True)
class TableFolds:
    """Finds the folds of a table's rows, by their number in the table or by a column of groups.

    Args:
        rule: how rows, or groups, go to folds.
        rows: of the table; needed for blocks of rows only.
        group: the column whose values are whole groups; None: by the number of the row.
    """

    rule: FoldRule
    rows: int
    group: str | None

    def __call__(self, block: RowBlock) -> Floats:
        """Return the fold of each row of a block, NaN where its group is missing."""
        if self.group is not None:
            return self._of_groups(block.table.column(self.group))
        start = block.chunk.start
        stop = start + block.chunk.table.num_rows
        fold: Floats = self.rule.of_rows(start, stop, self.rows).double().numpy()
        return fold if block.positions is None else fold[block.positions]

    def _of_groups(self, column: pa.Array) -> Floats:
        fold: Floats
        dtype = column.type
        if pa.types.is_floating(dtype) or (pa.types.is_integer(dtype) and dtype != pa.uint64()):
            # As numbers, which is much faster where each row has a group of its own.
            missing = column.is_null(nan_is_null=True).to_numpy(zero_copy_only=False)
            values = column.fill_null(0).to_numpy(zero_copy_only=False)
            fold = self.rule.of_groups(torch.from_numpy(values.copy())).double().numpy()
            fold[missing] = np.nan
            return fold
        categories = to_categories(column)
        levels = categories.dictionary.to_pylist()
        of_level = self.rule.of_groups(torch.arange(len(levels)), levels).double().numpy()
        index = categories.indices.fill_null(len(levels)).to_numpy(zero_copy_only=False)
        fold = np.append(of_level, np.nan)[index]
        return fold
