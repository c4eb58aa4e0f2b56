"""Fits a formula: learns levels, centres, polynomials and knots from the rows to train on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow.compute as pc

from linreg_lightning.design_matrix.batch_builder import Missing
from linreg_lightning.design_matrix.column_roles import ColumnRoles
from linreg_lightning.design_matrix.design import Design
from linreg_lightning.design_matrix.formula_categories import Category, read_category
from linreg_lightning.design_matrix.formula_expressions import (
    Columns,
    Expression,
    is_name,
)
from linreg_lightning.design_matrix.formula_functions import StateLearner
from linreg_lightning.design_matrix.formula_matrix import category_values
from linreg_lightning.design_matrix.formula_terms import Formula, coding, term_structure
from linreg_lightning.design_matrix.level_counts import LevelCounts, sort_levels
from linreg_lightning.design_matrix.level_names import to_categories
from linreg_lightning.design_matrix.row_subset import RowBlock, RowSubset
from linreg_lightning.errors import InputError
from linreg_lightning.frames import Floats, parse_numbers
from linreg_lightning.tables.dataset import TableDataset
from linreg_lightning.tables.table_file import dtype_kind

_BLOCK_ROWS = 2**16
_REMEDY = "leave it out of the formula"


def formula_roles(
    formula: Formula, dataset: TableDataset, weight: str | None, by: str | None
) -> ColumnRoles:
    """Return the roles that a formula gives to the columns of a table.

    Raises:
        InputError: the table lacks a column, or has one of a type that its use does not fit.
    """
    targets = formula.target_columns()
    categories = _categories(formula, dataset)
    features: dict[str, None] = {}
    numbers: set[str] = set()
    for factor in formula.factors:
        category = categories.get(factor)
        expression = formula.expression(factor) if category is None else category.of
        columns = expression.columns
        if not columns:
            raise InputError(f"formula: {factor} depends on no column; leave it out")
        dataset.check_columns("formula", columns)
        features |= dict.fromkeys(columns)
        if category is not None and is_name(expression):
            continue
        numbers.update(columns)
        for name in columns:
            dtype = dataset.schema.field(name).type
            if dtype_kind(dtype) != "numbers":
                text = f"formula: column {name!r} of {dataset.name} holds values of type {dtype}"
                remedy = f"turn it into numbers, or type C({name}) if it holds categories"
                raise InputError(f"{text}, and {factor} needs numbers; {remedy}")
    dataset.check_columns("formula", targets)
    for argument, other in (("weight", weight), ("by", by)):
        if other in features:
            raise InputError(f"{argument}: {other!r} is in the formula too; leave it out there")
    for name in targets:
        if name in features or name == weight:
            kind = "is on both sides of ~" if name in features else "is the weight too"
            raise InputError(f"formula: {name!r} {kind}; use another column")
    texts = [name for name in features if name not in numbers]
    return ColumnRoles(list(features), texts, targets, weight, by)


def _categories(formula: Formula, dataset: TableDataset) -> dict[str, Category]:
    """Return the factors that are categories: `C(...)`, and columns of text."""
    categories = {}
    for factor in formula.factors:
        expression = formula.expression(factor)
        category = None if factor in formula.names else read_category(expression)
        if category is None and is_name(expression):
            name = expression.columns[0]
            dataset.check_columns("formula", [name])
            if dtype_kind(dataset.schema.field(name).type) == "text":
                category = Category(expression)
        if category is not None:
            categories[factor] = category
    return categories


def fit_formula(
    formula: Formula,
    subset: RowSubset,
    roles: ColumnRoles,
    missing: Missing,
    max_levels: int,
    constant: bool,
) -> Design:
    """Learn from the rows to train on what the columns of x of a formula depend on.

    Functions within functions, polynomials and scales take several passes over the columns that
    they need. Where `missing` is `drop`, only complete rows count.

    Raises:
        InputError: as `formula_roles`; a column has no level, too many or one for each row; a
            function has no value to learn from.
    """
    _check(formula, constant)
    dataset = subset.dataset
    roles.check(dataset)
    categories = _categories(formula, dataset)
    expressions = {
        name: categories[name].of if name in categories else formula.expression(name)
        for name in formula.factors
    }
    counts = {
        name: _LevelSet(name, category, max_levels, dataset)
        for name, category in categories.items()
        if category.levels is None
    }
    states = _learn(subset, roles, expressions, counts, missing == "drop")
    levels = {
        name: category.levels if category.levels is not None else counts[name].sorted()
        for name, category in categories.items()
    }
    columns = {
        name: _columns(expression, states[name])
        for name, expression in expressions.items()
        if name not in categories
    }
    terms = term_structure(formula, columns, categories, levels)
    factors: dict[str, dict[str, Any]] = {
        name: {"expression": each.text, "states": states[name], "levels": None, "coding": {}}
        for name, each in expressions.items()
    }
    for name, category in categories.items():
        ranks = sorted(_ranks(terms).get(name, []))
        codings = {rank: coding(category, levels[name], rank == "reduced") for rank in ranks}
        factors[name] |= {"levels": levels[name], "coding": codings}
    state = {"text": formula.text, "terms": terms, "factors": factors}
    state |= {"targets": [formula.expression(target).text for target in formula.targets]}
    state |= {"target_names": formula.targets}
    plain = {
        category.of.columns[0]: levels[name]
        for name, category in categories.items()
        if category.of.columns[0] in roles.categories
    }
    return Design(roles.features, plain, constant=constant, formula=state)


def _check(formula: Formula, constant: bool) -> None:
    if not formula.factors:
        text = f"formula: {formula.text!r} has no term with a column"
        raise InputError(f"{text}; name one after ~")
    if formula.constant and not constant:
        text = "formula: it has a constant, and intercept is false"
        raise InputError(f"{text}; leave intercept out, or add - 1 to the formula")
    if not formula.constant and constant:
        text = f"formula: {formula.text!r} leaves the constant out, and the model has one"
        raise InputError(f"{text}; set intercept to false, or type the formula without - 1 or + 0")


def _ranks(terms: list[dict[str, Any]]) -> dict[str, set[str]]:
    """Return for each factor whether terms need its full or its reduced rank, or both."""
    ranks: dict[str, set[str]] = {}
    for term in terms:
        for part in term["parts"]:
            for name, reduced in part["factors"]:
                ranks.setdefault(name, set()).add("reduced" if reduced else "full")
    return ranks


def _columns(expression: Expression, states: Mapping[str, Any]) -> Columns | None:
    """Return the names of the columns of a factor of numbers; None for a single one."""
    ones = {name: np.ones(1) for name in expression.columns}
    values = expression.evaluate(ones, states)
    return values if isinstance(values, Columns) else None


def _learn(
    subset: RowSubset,
    roles: ColumnRoles,
    expressions: Mapping[str, Expression],
    counts: Mapping[str, _LevelSet],
    drops: bool,
) -> dict[str, dict[str, Any]]:
    """Return the states of the functions in each factor, and count levels, in as few passes."""
    states: dict[str, dict[str, Any]] = {name: {} for name in expressions}
    waiting = {
        name: [StateLearner(expression, call) for call in expression.stateful_calls()]
        for name, expression in expressions.items()
    }
    counting = dict(counts)
    while counting or any(waiting.values()):
        learning = {name: learners[0] for name, learners in waiting.items() if learners}
        needed = [expressions[name] for name in learning] + [
            c.expression for c in counting.values()
        ]
        columns = list(dict.fromkeys(column for each in needed for column in each.columns))
        # Complete rows are known only from all columns.
        pass_roles = roles if drops else roles.reading(columns, [])
        categories = [name for name in roles.categories if name in pass_roles.features]
        pass_roles = pass_roles._replace(categories=categories)
        rows = 0
        for block in subset.read(pass_roles.types(subset.dataset), _BLOCK_ROWS):
            block = block.select(roles.weight, complete=drops)
            rows += block.table.num_rows
            numbers = _numbers(block, expressions, learning, counting)
            for name, learner in learning.items():
                learner.add(numbers, states[name])
            for level_set in counting.values():
                level_set.add(block, numbers)
        if not rows:
            remedy = "set missing to error to see which value is missing" if drops else "give rows"
            raise InputError(f"path: {subset.dataset.name} has no row left to train on; {remedy}")
        for level_set in counting.values():
            level_set.check(rows, "complete rows" if drops else "rows")
        counting = {}
        for name, learner in learning.items():
            learner.end_pass()
            if learner.is_done:
                states[name][learner.key] = learner.state
                waiting[name].pop(0)
    return states


def _numbers(
    block: RowBlock,
    expressions: Mapping[str, Expression],
    learning: Mapping[str, StateLearner],
    counting: Mapping[str, _LevelSet],
) -> dict[str, Floats]:
    needed = [expressions[name] for name in learning]
    needed += [c.expression for c in counting.values() if not is_name(c.expression)]
    names = dict.fromkeys(column for each in needed for column in each.columns)
    return {name: parse_numbers(block.table.column(name), name) for name in names}


class _LevelSet:
    """The levels of a category, which may be computed, such as C(age > 65)."""

    def __init__(
        self, factor: str, category: Category, max_levels: int, dataset: TableDataset
    ) -> None:
        self.factor, self.expression = factor, category.of
        self._max_levels = max_levels
        self._levels: Counter[str] = Counter()
        self._counts: LevelCounts | None = None
        if is_name(category.of):
            is_declared = factor.startswith("C(")
            column = category.of.columns[0]
            self._counts = LevelCounts(column, max_levels, dataset, is_declared, _REMEDY)

    def add(self, block: RowBlock, numbers: Mapping[str, Floats]) -> None:
        if self._counts is not None:
            self._counts.add(block)
            return
        values = to_categories(category_values(self.expression, numbers, block.table))
        self._levels.update(each for each in pc.unique(values.dictionary).to_pylist() if each)
        if len(self._levels) > self._max_levels:
            text = f"formula: {self.factor} has more than {self._max_levels} levels"
            raise InputError(f"{text}; {_REMEDY}, or raise max_levels")

    def check(self, rows: int, kind: str) -> None:
        if self._counts is not None:
            self._counts.check(rows, kind)
        elif not self._levels:
            text = f"formula: {self.factor} has no value in any row to train on"
            raise InputError(f"{text}; {_REMEDY}")

    def sorted(self) -> list[str]:
        return sort_levels(self._levels) if self._counts is None else self._counts.sorted()
