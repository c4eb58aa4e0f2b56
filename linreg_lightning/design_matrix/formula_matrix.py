"""Computes the columns of x of a formula, block by block, from what was learned of it."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from linreg_lightning.design_matrix.formula_expressions import Columns, Expression, is_name
from linreg_lightning.design_matrix.level_names import (
    MISSING,
    UNKNOWN,
    RowNumbers,
    level_numbers,
)
from linreg_lightning.frames import Floats, parse_numbers


class CategorySource(NamedTuple):
    """A column of categories, as the other terms of a design name theirs."""

    column: str
    base: str | None = None
    names: tuple[str, ...] = ()


class _Indicators(NamedTuple):
    """Columns of zeros and ones: the number of the column with a one for each row, or -1."""

    columns: RowNumbers
    width: int


@final
@dataclass(frozen=True)
class Factor:
    """A factor of terms: an expression of numbers, or the levels of a category."""

    expression: Expression
    states: Mapping[str, dict[str, Any]]
    levels: list[str] | None
    coding: Mapping[str, Mapping[str, Any]]

    @property
    def is_plain_category(self) -> bool:
        """Whether its levels are those of a column, which need not hold numbers."""
        return self.levels is not None and is_name(self.expression)

    def read(self, numbers: Mapping[str, Floats], table: Any) -> Any:
        """Return the values of the rows, (rows,) or `Columns`, or the numbers of their levels."""
        if self.levels is None:
            return self.expression.evaluate(numbers, self.states)
        return level_numbers(category_values(self.expression, numbers, table), self.levels)

    def columns(self, values: Any, reduced: bool) -> _Indicators | Floats:
        """Return the columns of x that the values become: indicators, or (columns, rows)."""
        if self.levels is None:
            if not isinstance(values, Columns):
                return np.asarray(values)[None]
            return values.values[1:] if reduced else values.values
        coding = self.coding["reduced" if reduced else "full"]
        count = len(self.levels)
        if "matrix" in coding:
            # Levels -1 and -2 are missing and unknown: columns of zeros.
            matrix = np.array(coding["matrix"]).reshape(count, -1)
            padded = np.vstack([matrix, np.zeros((2, matrix.shape[1]))])
            return np.ascontiguousarray(padded[values].T)
        left_out = coding["left_out"]
        columns = np.append(np.arange(count), [-1, -1])
        if left_out is not None:
            columns[left_out] = -1
            columns[left_out + 1 : count] -= 1
            count -= 1
        return _Indicators(columns[values], count)


def category_values(expression: Expression, numbers: Mapping[str, Floats], table: Any) -> Any:
    """Return the values of a category: a column of the table, or a computed one."""
    if is_name(expression):
        return table.column(expression.columns[0])
    values = np.asarray(expression.evaluate(numbers, {}))
    missing = np.isnan(values)
    if isinstance(expression.tree, ast.Compare):
        values = values == 1.0
    return pa.array(values, mask=missing)


@final
class FormulaMatrix:
    """The columns of x of a formula.

    Args:
        state: what `fit_formula` has learned, plain values as a checkpoint holds them.
    """

    def __init__(self, state: Mapping[str, Any]) -> None:
        self.terms = state["terms"]
        self.names: list[str] = [name for term in self.terms for name in term["names"]]
        self.targets = [Expression(text) for text in state["targets"]]
        self.target_columns = [target.columns[0] for target in self.targets]
        self.factors = {
            name: Factor(
                Expression(each["expression"]), each["states"], each["levels"], each["coding"]
            )
            for name, each in state["factors"].items()
        }
        self.sources: list[str] = []
        for term in self.terms:
            factors = [name for part in term["parts"] for name, _ in part["factors"]]
            columns = self.factors[factors[0]].expression.columns
            self.sources += [columns[0]] * len(term["names"])
        categories = [f for f in self.factors.values() if f.levels is not None]
        self.categories = [CategorySource(f.expression.columns[0]) for f in categories]
        self._numbers = list(
            dict.fromkeys(
                column
                for factor in self.factors.values()
                if not factor.is_plain_category
                for column in factor.expression.columns
            )
        )

    def matrix(self, table: Any) -> tuple[Floats, dict[str, RowNumbers]]:
        """Compute x transposed, (columns of x, rows), as `Design.matrix` does."""
        numbers = {name: parse_numbers(table.column(name), name) for name in self._numbers}
        values = {name: factor.read(numbers, table) for name, factor in self.factors.items()}
        x = np.empty((len(self.names), table.num_rows))
        unknown: dict[str, RowNumbers] = {}
        start = 0
        for term in self.terms:
            missing = np.zeros(table.num_rows, bool)
            for part in term["parts"]:
                columns = []
                for name, reduced in part["factors"]:
                    columns.append(self.factors[name].columns(values[name], reduced))
                    if self.factors[name].levels is not None:
                        missing |= values[name] == MISSING
                stop = start + _width(columns)
                _write_products(x[start:stop], columns, part["scale"])
                if missing.any():
                    x[start:stop, missing] = np.nan
                start = stop
        for name, factor in self.factors.items():
            if factor.levels is not None:
                rows = np.flatnonzero(values[name] == UNKNOWN)
                if len(rows):
                    column = factor.expression.columns[0]
                    unknown[column] = np.union1d(unknown.get(column, rows), rows)
        return x, unknown

    def target(self, number: int, values: Floats) -> Floats:
        """Return y of one target from the values of its column, (rows,)."""
        expression = self.targets[number]
        result: Floats = np.asarray(expression.evaluate({expression.columns[0]: values}, {}))
        return result

    def valueless(self, table: Any, row: int, targets: Floats) -> str:
        """Say which factor or target has no finite value in a row that lacks nothing."""
        one = table.slice(row, 1)
        for target, value in zip(self.targets, targets.tolist(), strict=False):
            if not np.isfinite(value):
                column = target.columns[0]
                return f"{target.text} has no value where {column} = {one.column(column)[0]}"
        numbers = {name: parse_numbers(one.column(name), name) for name in self._numbers}
        for name, factor in self.factors.items():
            values = factor.read(numbers, one)
            if factor.levels is not None:
                continue
            flat = values.values if isinstance(values, Columns) else values
            if not np.isfinite(flat).all():
                given = {c: one.column(c)[0].as_py() for c in factor.expression.columns}
                shown = ", ".join(f"{c} = {v!r}" for c, v in given.items())
                beyond = ", beyond the rows to train on (add extrapolation='clip' or 'extend')"
                is_spline = re.match(r"(bs|cr|cs|cc)\(", name)
                return f"{name} has no value where {shown}{beyond * bool(is_spline)}"
        return "a product of terms is not finite"


def _width(columns: list[Any]) -> int:
    widths = [c.width if isinstance(c, _Indicators) else len(c) for c in columns]
    return int(np.prod(widths, dtype=int))


def _write_products(out: Floats, columns: list[Any], scale: float) -> None:
    """Write the products of the columns of all factors; the first factor varies fastest."""
    place: Any = 0  # of the ones of indicators among the columns of `out`
    chosen: NDArray[np.bool_] | None = None
    dense: list[tuple[int, Floats | None]] = [(0, None)]
    stride = 1
    for each in columns:
        if isinstance(each, _Indicators):
            has_one = each.columns >= 0
            chosen = has_one if chosen is None else chosen & has_one
            place = place + stride * each.columns
            stride *= each.width
            continue
        dense = [
            (start + stride * k, column if product is None else product * column)
            for k, column in enumerate(each)
            for start, product in dense
        ]
        stride *= len(each)
    if chosen is None:
        for start, product in dense:
            out[start] = scale if product is None else product if scale == 1 else scale * product
        return
    out.fill(0.0)
    rows = np.flatnonzero(chosen)
    place = place[rows]
    for start, product in dense:
        values: Any = scale if product is None else scale * product[rows]
        out[start + place, rows] = values
        if product is not None and not np.isfinite(product).all():
            # Indicators of zero do not hide a value that is missing.
            out[:, ~np.isfinite(product)] = np.nan
