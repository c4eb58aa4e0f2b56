"""From rows of a table to a Batch: missing values, unknown levels, checks."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from linreg_lightning.batch import Batch
from linreg_lightning.design_matrix.column_roles import ColumnRoles
from linreg_lightning.design_matrix.design import (
    Design,
    RowNumbers,
    to_categories,
)
from linreg_lightning.design_matrix.row_subset import RowBlock
from linreg_lightning.errors import InputError
from linreg_lightning.frames import Floats, parse_numbers
from linreg_lightning.validation import check_finite, check_intercept, check_weight

Missing = Literal["error", "drop", "mean"]
Unseen = Literal["error", "zero"]
_MISSING_HINT = ", or set missing to drop, which leaves such rows out, or to mean"


@dataclass(frozen=True)
class MissingCounts:
    """How many of the `rows` read lack a value after means were filled in, and in which column."""

    rows: int = 0
    incomplete: int = 0
    by_column: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: MissingCounts) -> MissingCounts:
        by_column = self.by_column + other.by_column
        return MissingCounts(self.rows + other.rows, self.incomplete + other.incomplete, by_column)

    def describe(self, outcome: str) -> str:
        """Say what happened to the incomplete rows.

        >>> counts = MissingCounts(10, 2, Counter(age=1, city=1))
        >>> counts.describe("left out of those to train on")
        '2 of 10 rows were left out of those to train on; missing values: age 1, city 1'
        """
        columns = ", ".join(f"{name} {count}" for name, count in sorted(self.by_column.items()))
        rows = f"{self.incomplete} of {self.rows} rows"
        return f"{rows} were {outcome}; missing values: {columns}"


@dataclass(frozen=True)
class BatchBuilder:
    """Builds a Batch of a block of rows; `missing` and `unseen` are those of `TabularData`.

    Without targets, for rows to predict, no row is left out: a missing value may stay NaN. With a
    column of groups, the last column of y has the number of each row's group in `groups`.
    """

    design: Design
    roles: ColumnRoles
    missing: Missing
    unseen: Unseen
    groups: dict[str, int] = field(default_factory=dict)  # numbered as they are read

    @property
    def drops_rows(self) -> bool:
        """Whether rows may be left out."""
        return self.missing != "error" and bool(self.roles.targets)

    def build(self, block: RowBlock) -> tuple[Batch, MissingCounts]:
        """Return the rows of a block, and how many of them lack a value.

        Raises:
            InputError: a value that is missing, infinite or an unknown level is to be refused; a
                weight is below 0; a column named `intercept` is not all ones.
        """
        table, roles = block.table, self.roles
        try:
            x, unknown = self.design.matrix(table)
            y = np.empty((len(roles.values), table.num_rows))
            for k, name in enumerate(roles.values):
                column = table.column(name)
                is_group = name == roles.by
                y[k] = self._group_numbers(column) if is_group else parse_numbers(column, name)
        except pa.ArrowInvalid as error:
            reason = f"a column holds text among numbers ({error})"
            raise InputError(f"path: {reason}; mend it") from None
        # A row of weight 0 does not count, whatever it holds.
        absent = np.zeros(table.num_rows, bool) if roles.weight is None else y[-1] == 0
        if unknown and self.unseen == "error":
            ignored = absent
            if self.missing == "drop":
                ignored = absent | np.isnan(x).any(axis=0) | np.isnan(y).any(axis=0)
            _refuse_unknown(block, self.design, unknown, ignored)
        counts = MissingCounts(table.num_rows)
        rows = np.arange(table.num_rows)
        # The sums tell at once whether a closer look is needed.
        with np.errstate(over="ignore", invalid="ignore"):
            finite = np.isfinite(x.sum()) and np.isfinite(y.sum())
        if not finite:
            for values in (x, y):
                values[~np.isfinite(values) & absent] = 0.0
            incomplete, counts = self._fill_or_refuse(block, x, y)
            if counts.incomplete and roles.targets:
                rows = np.flatnonzero(~incomplete)
                x, y, absent = x[:, rows], y[:, rows], absent[rows]
        features = torch.from_numpy(x).T
        check_intercept(features, self.design.names, torch.from_numpy(absent))
        columns = len(roles.targets) + (roles.by is not None)
        batch = Batch(features, torch.from_numpy(y[:columns]).T)
        if roles.weight is not None:
            weight = torch.from_numpy(y[-1].copy())
            check_weight(weight, lambda row: block.row_name(rows[row]), roles.weight)
            batch = batch._replace(weight=weight)
        return batch, counts

    def _group_numbers(self, column: pa.Array) -> Floats:
        """Return the number of each row's group, NaN where it is missing."""
        categories = to_categories(column)
        levels = [
            math.nan if level is None else self.groups.setdefault(level, len(self.groups))
            for level in categories.dictionary.to_pylist()
        ]
        index = categories.indices.fill_null(len(levels)).to_numpy(zero_copy_only=False)
        numbers: Floats = np.array([*levels, math.nan])[index]
        return numbers

    def _fill_or_refuse(
        self, block: RowBlock, x: Floats, y: Floats
    ) -> tuple[NDArray[np.bool_], MissingCounts]:
        """Fill in or refuse what is missing; say which rows still lack a value, and count them."""
        names = [*self.design.sources, *self.roles.values]
        rows = Batch(torch.from_numpy(x).T, torch.from_numpy(y).T)
        check_finite(rows, names, block.row_name, _MISSING_HINT, self.missing != "error")
        if self.missing == "mean":
            self.design.fill(x)
        incomplete = np.zeros(block.table.num_rows, bool)
        by_column: Counter[str] = Counter()
        for name, values in zip(names, [*x, *y], strict=True):
            lacks = np.isnan(values)
            if lacks.any():
                by_column[name] = int(lacks.sum())  # the same in all columns of a category
            incomplete |= lacks
        return incomplete, MissingCounts(len(incomplete), int(incomplete.sum()), by_column)


def _refuse_unknown(
    block: RowBlock, design: Design, unknown: dict[str, RowNumbers], absent: NDArray[np.bool_]
) -> None:
    """Refuse unknown levels in rows that count and are not left out."""
    for name, rows in unknown.items():
        for row in rows[~absent[rows]].tolist():
            value = design.unseen_value(name, block.table.column(name), row)
            raise InputError(
                f"column {name!r}: {block.row_name(row)} holds {value}, which no row that was "
                "trained on had; mend it, or set unseen to zero to count it as none of the levels"
            )
