"""Rows that lack a value of a formula: refused, or left out."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from linreg_lightning.design_matrix.column_roles import ColumnRoles
from linreg_lightning.design_matrix.formula_matrix import FormulaMatrix
from linreg_lightning.design_matrix.level_names import to_categories
from linreg_lightning.design_matrix.row_counts import RowCounts
from linreg_lightning.design_matrix.row_subset import RowBlock
from linreg_lightning.errors import InputError
from linreg_lightning.frames import Floats
from linreg_lightning.tables.table_file import dtype_kind


def refuse_or_drop(
    block: RowBlock,
    formula: FormulaMatrix,
    roles: ColumnRoles,
    x: Floats,
    y: Floats,
    refuses: bool,
) -> tuple[NDArray[np.bool_], RowCounts]:
    """Say which rows lack a value of a column, and count them.

    Raises:
        InputError: it `refuses` missing values, and a row lacks one; a row has all values, but a
            term or the target is not a finite number, such as log(x) where x is 0.
    """
    rows = block.table.num_rows
    invalid = ~(np.isfinite(x).all(axis=0) & np.isfinite(y).all(axis=0))
    lacks = {name: _is_null(block.table.column(name)) & invalid for name in roles.features}
    for k, name in enumerate(roles.values):
        is_target = k < len(roles.targets)
        lacks[name] = _is_null(block.table.column(name)) & invalid if is_target else np.isnan(y[k])
    incomplete = np.logical_or.reduce([np.zeros(rows, bool), *lacks.values()])
    for row in np.flatnonzero(invalid & ~incomplete)[:1].tolist():
        text = formula.valueless(block.table, row, y[: len(roles.targets), row])
        remedy = "mend it, leave the row out, or change the formula"
        raise InputError(f"formula: {block.row_name(row)}: {text}; {remedy}")
    if refuses:
        for row in np.flatnonzero(incomplete)[:1].tolist():
            name = next(name for name, is_null in lacks.items() if is_null[row])
            text = f"column {name!r}: {block.row_name(row)} holds a missing value"
            remedy = "fill it in, leave the row out, or set missing to drop"
            raise InputError(f"{text}; {remedy}, which leaves such rows out")
    totals = {name: int(is_null.sum()) for name, is_null in lacks.items()}
    counted = Counter({name: total for name, total in totals.items() if total})
    return incomplete, RowCounts(rows, int(incomplete.sum()), counted)


def _is_null(column: Any) -> NDArray[np.bool_]:
    values = column if dtype_kind(column.type) == "numbers" else to_categories(column).indices
    null: NDArray[np.bool_] = values.is_null(nan_is_null=True).to_numpy(zero_copy_only=False)
    return null
