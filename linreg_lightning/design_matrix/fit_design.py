"""What is learned from the rows to train on: the levels of categories, and means."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pyarrow.compute as pc

from linreg_lightning.design_matrix.column_roles import Columns
from linreg_lightning.design_matrix.design import Design, categories, in_order, numbers
from linreg_lightning.design_matrix.encoder import Missing
from linreg_lightning.design_matrix.fsum import ExactSum
from linreg_lightning.design_matrix.row_subset import RowBlock, RowSubset
from linreg_lightning.errors import InputError
from linreg_lightning.tables.csv import not_a_number

_ROWS = 2**16
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")


def learn(
    selection: RowSubset,
    columns: Columns,
    declared: list[str],
    missing: Missing,
    max_levels: int,
    constant: bool,
) -> Design:
    """Read what has to be known of some columns, and no others.

    Args:
        selection: the rows to train on.
        columns: the parts that the columns play.
        declared: the columns of categories that may hold numbers.
        missing: what is done where a value is missing: means are learned to fill them in; levels
            from rows that are not left out.
        max_levels: the most levels of a column.
        constant: whether there is a constant beside x.

    Raises:
        InputError: a column with more levels, with one for each row, with none, or one whose text
            is numbers in other rows; a column without any value where means are needed.
    """
    source = selection.source
    means, drops = missing == "mean", missing == "drop"
    features = columns.features if means else columns.categories
    counts = {name: _Levels(name, max_levels) for name in columns.categories}
    sums = {name: ExactSum() for name in features if name not in counts}
    rows = 0
    if features:
        wanted = columns if drops else Columns(features, columns.categories, [], columns.weight)
        Columns([], [], wanted.targets, columns.weight).check(source)
        guessed = set(columns.categories) - set(declared) if source.is_text else set()
        for selected in selection.read(wanted.types(source), _ROWS):
            if columns.weight is not None:
                selected = selected.but_absent(columns.weight)
            if drops:
                selected = selected.complete()
            rows += selected.table.num_rows
            for name, levels in counts.items():
                levels.add(selected, source.name if name in guessed else None)
            for name, total in sums.items():
                values = numbers(selected.table.column(name))
                total.add(values[np.isfinite(values)])
    if features and not rows:
        remedy = "lower --data.val_fraction or --data.test_fraction"
        if drops:
            remedy = "every one lacks a value; type --data.missing mean, or exclude what is empty"
        raise InputError(f"path: {source.name} has no row left to train on; {remedy}")
    for levels in counts.values():
        levels.check(rows)
    for name, total in sums.items():
        if not total.count:
            raise _no_value(name)
    shares: dict[str, list[float]] = {}
    if means:
        shares = {name: [total.mean] for name, total in sums.items()}
        shares |= {name: levels.shares for name, levels in counts.items()}
    return Design(
        columns.features,
        {name: levels.sorted for name, levels in counts.items()},
        shares,
        constant,
    )


class _Levels:
    """The levels of one column, and how often each occurs."""

    def __init__(self, name: str, most: int) -> None:
        self._name, self._most = name, most
        self._count: dict[str, int] = {}
        self._first: dict[bool, tuple[str, str]] = {}

    def add(self, selected: RowBlock, guessed_from: str | None) -> None:
        """Count those of some rows; where text was guessed at, refuse numbers among it."""
        column = categories(selected.table.column(self._name))
        strange = []
        for item in pc.value_counts(column).to_pylist():
            level = item["values"]
            if level is None:
                continue
            if level not in self._count:
                strange.append(level)
            self._count[level] = self._count.get(level, 0) + item["counts"]
        if guessed_from is not None:
            self._refuse_numbers(selected, column, strange, guessed_from)
        if len(self._count) > self._most:
            raise InputError(
                f"column {self._name!r}: it has more than {self._most} levels, such as "
                f"{strange[0]!r}; is it an identifier? leave it out by --data.exclude "
                f"{self._name}, or raise --data.max_levels"
            )

    def check(self, rows: int) -> None:
        """Refuse a column that says nothing."""
        if not self._count:
            raise _no_value(self._name)
        if len(self._count) == rows > 2:
            raise InputError(
                f"column {self._name!r}: it has another level in each of the {rows} rows, such as "
                f"{self.sorted[0]!r}; is it an identifier? leave it out by --data.exclude "
                f"{self._name}"
            )

    @property
    def sorted(self) -> list[str]:
        """The levels in their order."""
        return in_order(set(self._count))

    @property
    def shares(self) -> list[float]:
        """How many of the rows with a value have each level, as fractions."""
        total = sum(self._count.values())
        return [self._count[level] / total for level in self.sorted]

    def _refuse_numbers(
        self, selected: RowBlock, column: Any, strange: list[str], path: str
    ) -> None:
        """Refuse a column that holds numbers and text: is the text a slip, or are they names?"""
        for level in strange:
            looks = _NUMBER.fullmatch(level) is not None
            if looks not in self._first:
                row = pc.index(column.dictionary_decode(), level).as_py()
                self._first[looks] = level, selected.where(row)
        if len(self._first) == 2:
            level, where = self._first[False]
            raise InputError(f"path: {path} {not_a_number(self._name, level, where)}")


def _no_value(name: str) -> InputError:
    return InputError(
        f"column {name!r}: it holds no value in any row to train on; leave it out by "
        f"--data.exclude {name}"
    )
