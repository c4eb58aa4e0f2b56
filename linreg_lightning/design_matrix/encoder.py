"""From columns of a table to batches, with a watch on what is missing."""

from __future__ import annotations

from collections import Counter
from typing import Literal, NamedTuple, final

import numpy as np
import pyarrow as pa
import torch

from linreg_lightning.batch import Batch
from linreg_lightning.design_matrix.design import Design, Floats, numbers
from linreg_lightning.design_matrix.row_subset import RowBlock
from linreg_lightning.errors import InputError

Missing = Literal["error", "drop", "mean"]
Unseen = Literal["error", "zero"]


class MissingCounts(NamedTuple):
    """How many rows lacked a value.

    Attributes:
        rows: all rows that were looked at.
        incomplete: those that lacked a value that was not filled in.
        lacking: how many did, by column.
    """

    rows: int
    incomplete: int
    lacking: Counter[str]

    def plus(self, other: MissingCounts) -> MissingCounts:
        """Both together."""
        return MissingCounts(
            self.rows + other.rows,
            self.incomplete + other.incomplete,
            self.lacking + other.lacking,
        )

    def report(self, what: str) -> str | None:
        """A sentence on what became of the incomplete ones; None if there were none.

        >>> MissingCounts(10, 2, Counter(age=1, city=1)).report("left out of the rows to train on")
        '2 of 10 rows were left out of the rows to train on, for want of a value in: age 1, city 1'
        """
        if not self.incomplete:
            return None
        columns = ", ".join(f"{name} {count}" for name, count in sorted(self.lacking.items()))
        return (
            f"{self.incomplete} of {self.rows} rows were {what}, for want of a value in: {columns}"
        )


@final
class Encoder:
    """Turns rows into a Batch, whole columns at a time.

    Args:
        design: what the columns of x are.
        targets: the columns of y; none where rows are only to be predicted. Those rows are never
            left out: one that lacks a value stays NaN unless it is refused or filled in.
        weight: the column of weights.
        missing: what to do where a feature lacks a value: refuse it, leave the row out, or fill in
            the mean of the rows to train on. Targets and weights are never filled in.
        unseen: what to do with a level that no row to train on had: refuse it, or set all
            indicators of its column to zero.
    """

    def __init__(
        self,
        design: Design,
        targets: list[str],
        weight: str | None,
        missing: Missing,
        unseen: Unseen,
    ) -> None:
        self.design = design
        self._names = design.names
        self._targets, self._weight = targets, weight
        self._missing, self._unseen = missing, unseen
        self.tally = MissingCounts(0, 0, Counter())
        self._weighs = weight is None

    def __call__(self, selected: RowBlock) -> Batch:
        """The rows of a chunk, those left out that are to be.

        Raises:
            InputError: a value is missing, not finite, or a level is unknown, with its column and
                row; a weight below 0; a column named `intercept` that is not all ones.
        """
        table = selected.table
        try:
            x, unknown = self.design.matrix(table)
            others = [*self._targets, *([] if self._weight is None else [self._weight])]
            y = np.empty((len(others), table.num_rows))
            for k, name in enumerate(others):
                y[k] = numbers(table.column(name))
        except pa.ArrowInvalid:
            raise self._no_number(selected) from None
        # Rows of weight 0 are as good as absent, whatever they hold.
        absent = y[-1] == 0 if self._weight is not None else np.zeros(len(y.T), bool)
        if self._unseen == "error" and unknown:
            out = absent
            if self._missing == "drop":
                out = absent | np.isnan(x).any(axis=0) | np.isnan(y).any(axis=0)
            for name, rows in unknown.items():
                if not out[rows].all():
                    raise _unknown(selected, name, int(rows[~out[rows]][0]))
        # One look at the sums tells whether a closer one is needed.
        with np.errstate(over="ignore", invalid="ignore"):
            finite = np.isfinite(x.sum()) and np.isfinite(y.sum())
        tally = MissingCounts(table.num_rows, 0, Counter())
        if not finite:
            for values in (x, y):
                values[~np.isfinite(values) & absent] = 0.0
            x, y, tally = self._complete(selected, x, y)
        self.tally = self.tally.plus(tally)
        self._check_intercept(x if self._weight is None else x[:, y[-1] > 0])
        batch = Batch(torch.from_numpy(x).T, torch.from_numpy(y[: len(self._targets)]).T)
        if self._weight is not None:
            batch = batch._replace(weight=self._checked_weight(y[-1], selected))
        return batch

    def finish(self) -> None:
        """Refuse rows none of which counts, behind the last of them."""
        if self.tally.rows and not self._weighs:
            raise InputError("weight: it is 0 in every row; at least one row must count")

    @property
    def drops(self) -> bool:
        """Whether it may leave rows out."""
        return self._missing != "error" and bool(self._targets)

    def _complete(
        self, selected: RowBlock, x: Floats, y: Floats
    ) -> tuple[Floats, Floats, MissingCounts]:
        """Without missing values, or with them where rows are to be predicted."""
        names = [*self.design.columns, *self._targets]
        names += [] if self._weight is None else [self._weight]
        columns = [*x, *y]
        found = []
        for place, values in enumerate(columns):
            bad = ~np.isfinite(values) if self._missing == "error" else np.isinf(values)
            if bad.any():
                found.append((int(bad.argmax()), place))
        if found:
            row, place = min(found)
            raise _not_finite(selected, names[place], columns[place], row)
        if self._missing == "mean":
            self.design.fill(x)
        lacks = np.zeros(selected.table.num_rows, bool)
        lacking: Counter[str] = Counter()
        for name, values in zip(names, columns, strict=True):
            missing = np.isnan(values)
            if name not in lacking and missing.any():
                lacking[name] = int(missing.sum())
            lacks |= missing
        tally = MissingCounts(len(lacks), int(lacks.sum()), lacking)
        if self._targets and lacks.any():
            x, y = x[:, ~lacks], y[:, ~lacks]
        return x, y, tally

    def _checked_weight(self, weight: Floats, selected: RowBlock) -> torch.Tensor:
        negative = np.flatnonzero(weight < 0)
        if len(negative):
            value = weight[negative[0]]
            # Rows may have been left out: the value says where it stands.
            column = numbers(selected.table.column(self._weight))
            where = selected.where(int(np.flatnonzero(column == value)[0]))
            raise InputError(f"weight: {value:g} was given in {where}; weights must be 0 or above")
        self._weighs = self._weighs or bool(weight.any())
        return torch.from_numpy(weight.copy())

    def _check_intercept(self, x: Floats) -> None:
        if "intercept" in self._names and (x[self._names.index("intercept")] != 1).any():
            raise InputError(
                "column 'intercept': this name is the constant's, but the column is not all ones; "
                "rename it"
            )

    def _no_number(self, selected: RowBlock) -> InputError:
        """Which text of a column that is kept, and so was read as text, is no number."""
        for name in [*self.design.features, *self._targets]:
            column = selected.table.column(name)
            if name in self.design.levels:
                continue
            for row in range(len(column)):
                try:
                    numbers(column.slice(row, 1))
                except pa.ArrowInvalid:
                    value = str(column[row].as_py())
                    where = selected.where(row)
                    return InputError(
                        f"column {name!r}: {where} holds {value!r}, which is no number; mend it"
                    )
        raise AssertionError("some column cannot be read as numbers")


def _unknown(selected: RowBlock, column: str, row: int) -> InputError:
    value = selected.table.column(column)[row].as_py()
    return InputError(
        f"column {column!r}: {selected.where(row)} holds {value!r}, which no row that was trained "
        "on had; mend it, or type --data.unseen zero to count it as none of the levels"
    )


def _not_finite(selected: RowBlock, name: str, values: Floats, row: int) -> InputError:
    if np.isnan(values).all() and len(values) > 1:
        rows = f"{selected.where(0)} and the {len(values) - 1} rows after it hold no value"
        return InputError(f"column {name!r}: {rows}; leave it out by --data.exclude {name}")
    value = values[row]
    remedy = "remove the row or fill in a number"
    what = f"{value}"
    if np.isnan(value):
        what += ", a missing value"
        remedy = (
            "fill it in, or type --data.missing drop to leave such rows out, or mean to fill in "
            "means"
        )
    return InputError(f"column {name!r}: {selected.where(row)} holds {what}; {remedy}")
