"""From rows of a table to a Batch: missing values, unknown levels, checks."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from linreg_lightning.batch import Batch, FoldBatch, GroupBatch, KeyBatch
from linreg_lightning.design_matrix.column_roles import ColumnRoles
from linreg_lightning.design_matrix.design import Design
from linreg_lightning.design_matrix.formula_rows import refuse_or_drop
from linreg_lightning.design_matrix.level_names import RowNumbers, to_categories
from linreg_lightning.design_matrix.row_counts import RowCounts, UnseenLevels
from linreg_lightning.design_matrix.row_subset import RowBlock
from linreg_lightning.errors import InputError
from linreg_lightning.frames import Floats, parse_numbers
from linreg_lightning.validation import check_finite, check_intercept, check_weight

Missing = Literal["error", "drop", "mean"]
Unseen = Literal["error", "zero", "add"]
_MISSING_HINT = ", or set missing to drop, which leaves such rows out, or to mean"
_KEY_KINDS = {"group": "group", "cluster": "cluster", "absorb": "level"}
_TEXT_HINT = '; where NA is a category of a CSV file, write it in quotes: "NA"'
_ZERO_HINT = ", or set unseen to zero to count it as {}"
_EXAMPLES = 3
Folds = Callable[[RowBlock], tuple[NDArray[Any], dict[str, NDArray[np.bool_]]]]
"""Numbers for each row of a block, and by column, which rows lack the keys they come from."""


@dataclass(frozen=True)
class BatchBuilder:
    """Builds a Batch of a block of rows; `missing` and `unseen` are those of `TabularData`.

    Without targets, for rows to predict, no row is left out: a missing value may stay NaN. Where
    the target is a category, y has the number of each row's class, int64 (rows,). With a
    column of groups, the last column of y has the number of each row's group in `groups`. Unless
    `unseen` is `zero`, an unknown level is refused; `unseen_hint` or, for a date, `date_hint` then
    says what to do about it. `folds` returns the fold of each row of a block or, where `roles` have
    a `group`, clusters or levels to absorb, numbers for these; and by column, which rows lack
    these. Batches are then `FoldBatch`, `GroupBatch` or `KeyBatch`.
    """

    design: Design
    roles: ColumnRoles
    missing: Missing
    unseen: Unseen
    groups: dict[str, int] = field(default_factory=dict)  # numbered as they are read
    unseen_hint: str = _ZERO_HINT
    date_hint: str = _ZERO_HINT
    folds: Folds | None = None

    @property
    def drops_rows(self) -> bool:
        """Whether rows may be left out."""
        return self.missing != "error" and bool(self.roles.targets)

    def build(self, block: RowBlock) -> tuple[Batch | FoldBatch, RowCounts]:
        """Return the rows of a block, and how many of them lack a value or have an unknown level.

        Raises:
            InputError: a value that is missing, infinite or an unknown level is to be refused; a
                weight is below 0; a column named `intercept` is not all ones.
        """
        table, roles = block.table, self.roles
        try:
            x, unknown = self.design.matrix(table)
            fold, lacks_key = (None, {}) if self.folds is None else self.folds(block)
            y, unknown_classes = self._values(table, lacks_key)
        except pa.ArrowInvalid as error:
            reason = f"a column holds text among numbers ({error})"
            raise InputError(f"path: {reason}; mend it") from None
        # A row of weight 0 does not count, whatever it holds.
        absent = np.zeros(table.num_rows, bool) if roles.weight is None else y[-1] == 0
        if unknown or len(unknown_classes):
            ignored = absent
            if self.missing == "drop":
                ignored = ignored | np.isnan(x).any(axis=0)
            if self.missing != "error":
                ignored = ignored | np.isnan(y).any(axis=0)
            if self.unseen != "zero":
                self._refuse_unknown(block, unknown, ignored)
            self._refuse_unknown_class(block, unknown_classes, ignored)
        counts = RowCounts(table.num_rows)
        incomplete = np.zeros(table.num_rows, bool)
        rows = np.arange(table.num_rows)
        # The sums tell at once whether a closer look is needed.
        with np.errstate(over="ignore", invalid="ignore"):
            finite = np.isfinite(x.sum()) and np.isfinite(y.sum())
        if not finite:
            for values in (x, y):
                values[~np.isfinite(values) & absent] = 0.0
            incomplete, counts = self._fill_or_refuse(block, x, y)
        if unknown:
            counts += self._count_unknown(block, unknown, absent | incomplete)
        if counts.incomplete and roles.targets:
            rows = np.flatnonzero(~incomplete)
            x, y, absent = x[:, rows], y[:, rows], absent[rows]
        features = torch.from_numpy(x).T
        check_intercept(features, self.design.names, torch.from_numpy(absent))
        columns = len(roles.targets) + (roles.by is not None)
        targets = torch.from_numpy(y[:columns]).T
        batch = Batch(features, targets[:, 0].long() if roles.has_classes else targets)
        if roles.weight is not None:
            weight = torch.from_numpy(y[-1].copy())
            check_weight(weight, lambda row: block.row_name(rows[row]), roles.weight)
            batch = batch._replace(weight=weight)
        if fold is None:
            return batch, counts
        kind = KeyBatch if fold.ndim == 2 else FoldBatch if roles.group is None else GroupBatch
        return kind(*batch, torch.from_numpy(fold[rows])), counts

    def _values(
        self, table: pa.RecordBatch, lacks_key: dict[str, NDArray[np.bool_]]
    ) -> tuple[Floats, RowNumbers]:
        """Return the columns beside x, NaN for a missing value, and the rows of unknown classes."""
        roles, unknown = self.roles, np.empty(0, np.intp)
        y = np.empty((len(roles.values), table.num_rows))
        for k, name in enumerate(roles.values):
            column = table.column(name)
            if self.design.formula_matrix is not None and k < len(roles.targets):
                y[k] = self.design.formula_matrix.target(k, parse_numbers(column, name))
            elif roles.has_classes and k == 0:
                y[k], unknown = self.design.class_numbers(column)
            elif name in lacks_key:
                # A missing group is refused as any missing value.
                y[k] = np.where(lacks_key[name], np.nan, 0.0)
            else:
                is_group = name == roles.by
                y[k] = self._group_numbers(column) if is_group else parse_numbers(column, name)
        return y, unknown

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
    ) -> tuple[NDArray[np.bool_], RowCounts]:
        """Fill in or refuse what is missing; say which rows still lack a value, and count them."""
        if self.design.formula_matrix is not None:
            refuses = self.missing == "error"
            return refuse_or_drop(block, self.design.formula_matrix, self.roles, x, y, refuses)
        names = [*self.design.sources, *self.roles.values]
        rows = Batch(torch.from_numpy(x).T, torch.from_numpy(y).T)
        if self.missing == "error":
            self._refuse_no_class_or_key(block, y)
        hint = _MISSING_HINT + (_TEXT_HINT if self.design.levels else "")
        check_finite(rows, names, block.row_name, hint, self.missing != "error")
        # The same in all columns of a category.
        lacks = {name: np.isnan(values) for name, values in zip(names, [*x, *y], strict=True)}
        fills = self.missing == "mean"
        if fills:
            self.design.fill(x)
        still = [lacks[name] for name in (self.roles.values if fills else lacks)]
        incomplete = np.logical_or.reduce([np.zeros(block.table.num_rows, bool), *still])
        missing: Counter[str] = Counter()
        filled: Counter[str] = Counter()
        for name, rows_without in lacks.items():
            is_filled = fills and name not in self.roles.values
            total = int((rows_without & ~incomplete).sum() if is_filled else rows_without.sum())
            if total:
                (filled if is_filled else missing)[name] = total
        count = int(incomplete.sum())
        return incomplete, RowCounts(len(incomplete), count, missing, filled)

    def _refuse_no_class_or_key(self, block: RowBlock, y: Floats) -> None:
        """Refuse rows without a class or a key: no number can be filled in for it."""
        roles = self.roles
        classes = [("target", roles.targets[0], "class")] if roles.has_classes else []
        keys = [(argument, name, _KEY_KINDS[argument]) for argument, name in roles.keys]
        for argument, name, kind in [*classes, *keys]:
            numbers = y[roles.values.index(name)]
            for row in np.flatnonzero(np.isnan(numbers))[:1].tolist():
                raise InputError(
                    f"{argument}: column {name!r}: {block.row_name(row)} has no {kind}; "
                    f"fill it in, leave the row out, or set missing to drop{_TEXT_HINT}"
                )

    def _count_unknown(
        self, block: RowBlock, unknown: dict[str, RowNumbers], ignored: NDArray[np.bool_]
    ) -> RowCounts:
        """Count the rows of unknown levels that count as another level."""
        counted_as, is_unseen = self._counted_as(), np.zeros(len(ignored), bool)
        unseen = {}
        for name, rows in unknown.items():
            rows = rows[~ignored[rows]]
            if len(rows):
                is_unseen[rows] = True
                levels = to_categories(block.table.column(name).take(pa.array(rows.tolist())))
                examples = [str(level) for level in levels.unique().to_pylist()[:_EXAMPLES]]
                unseen[name] = UnseenLevels(len(rows), tuple(examples), counted_as[name])
        return RowCounts(unseen_rows=int(is_unseen.sum()), unseen=unseen)

    def _counted_as(self) -> dict[str, str | None]:
        """Return, by column, the level whose indicators are all 0; None where there is none."""
        return {term.column: term.base for term in self.design.terms}

    def _refuse_unknown(
        self, block: RowBlock, unknown: dict[str, RowNumbers], ignored: NDArray[np.bool_]
    ) -> None:
        """Refuse unknown levels in rows that count and are not left out."""
        for name, rows in unknown.items():
            for row in rows[~ignored[rows]].tolist():
                value = self.design.unseen_value(name, block.table.column(name), row)
                level = self._counted_as()[name]
                other = "none of the levels" if level is None else repr(level)
                hint = self.unseen_hint if name in self.design.levels else self.date_hint
                raise InputError(
                    f"column {name!r}: {block.row_name(row)} holds {value}, which no row that "
                    f"was trained on had; mend it{hint.format(other)}"
                )

    def _refuse_unknown_class(
        self, block: RowBlock, rows: RowNumbers, ignored: NDArray[np.bool_]
    ) -> None:
        """Refuse unknown classes in rows that count and are not left out."""
        name, classes = self.roles.targets[:1], self.design.classes
        for row in rows[~ignored[rows]].tolist():
            value = block.table.column(name[0])[row].as_py()
            known = ", ".join(map(repr, classes[:_EXAMPLES])) + ", ..." * (len(classes) > _EXAMPLES)
            raise InputError(
                f"target: column {name[0]!r}: {block.row_name(row)} holds {value!r}, a class that "
                f"no row that was trained on had ({known}); mend it, or leave the row out"
            )
