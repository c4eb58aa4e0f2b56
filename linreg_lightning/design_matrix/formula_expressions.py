"""Expressions of a formula: checked before they are evaluated, so that none can run code.

A checkpoint holds formulas as text. Names of columns, numbers, arithmetic, comparisons and a fixed
list of functions have a meaning; anything else is refused. `eval` is never called.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, final

import numpy as np

from linreg_lightning.errors import InputError
from linreg_lightning.frames import Floats

State = dict[str, Any]
_FUNCTIONS: dict[str, Callable[[Floats], Floats]] = {
    name: getattr(np, name)
    for name in (
        *("log", "log2", "log10", "log1p", "exp", "exp2", "expm1", "sqrt", "cbrt", "square"),
        *("abs", "sign", "floor", "ceil", "sin", "cos", "tan", "arctan", "sinh", "cosh", "tanh"),
    )
}
_FUNCTIONS |= {"exp10": lambda x: np.power(10.0, x), "I": lambda x: x}
STATEFUL = frozenset({"center", "scale", "standardize", "poly", "bs", "cr", "cs", "cc"})
SEVERAL_COLUMNS = STATEFUL - {"center", "scale", "standardize"}
_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.FloorDiv: np.floor_divide,
    ast.Mod: np.mod,
    ast.Pow: np.power,
    ast.USub: np.negative,
    ast.UAdd: np.positive,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Eq: np.equal,
    ast.NotEq: np.not_equal,
}
NO_LITERAL = (ValueError, TypeError, MemoryError, RecursionError)  # of `ast.literal_eval`
_QUOTED = re.compile(r"`([^`]+)`")


class Columns(NamedTuple):
    """Several columns of one function, such as of a spline: (columns, rows), with their names."""

    values: Floats
    fields: list[Any]
    spans_constant: bool = False


@final
@dataclass(frozen=True)
class Expression:
    """One factor of a term, such as `log(age)`; text in backticks is the name of a column.

    >>> expression = Expression("I(`living area` / 10) + 1")
    >>> expression.columns, expression.evaluate({"living area": np.array([70.0])}, {})
    (['living area'], array([8.]))

    Raises:
        InputError: the expression has something other than names of columns, numbers, arithmetic,
            comparisons and the functions that formulas know.
    """

    text: str
    aliases: dict[str, str] = field(default_factory=dict, compare=False)

    @cached_property
    def tree(self) -> ast.expr:
        """The expression, parsed and checked."""

        def alias(quoted: re.Match[str]) -> str:
            name = f"_column_{len(self.aliases)}"
            self.aliases[name] = quoted[1]
            return name

        try:
            tree = ast.parse(_QUOTED.sub(alias, self.text).strip(), mode="eval").body
        except SyntaxError:
            raise self.refusal(self.text, "is no expression") from None
        if not (isinstance(tree, ast.Call) and function_name(tree) == "C"):
            self._check(tree, is_outermost=True)
        return tree

    def refusal(self, part: str, reason: str) -> InputError:
        """Return the error for a part of the expression that cannot be computed."""
        known = ", ".join(sorted(_FUNCTIONS.keys() | STATEFUL, key=str.lower))
        return InputError(
            f"formula: {part} {reason}; use names of columns (in backticks if they have spaces), "
            f"numbers, + - * / ** and the functions C, {known}"
        )

    @property
    def columns(self) -> list[str]:
        """The columns of the table that the expression needs."""
        return list(dict.fromkeys(self.column(node) for node in self._names(self.tree)))

    def column(self, node: ast.Name) -> str:
        """Return the column that a name in the expression stands for."""
        return self.aliases.get(node.id, node.id)

    def _names(self, node: ast.AST) -> Iterator[ast.Name]:
        if isinstance(node, ast.Name):
            yield node
        elif isinstance(node, ast.Call):
            yield from self._names(node.args[0])  # the others are constants
        else:
            for child in ast.iter_child_nodes(node):
                yield from self._names(child)

    def stateful_calls(self, node: ast.AST | None = None) -> list[ast.Call]:
        """Return the calls of functions that learn from the rows, the innermost first."""
        node = self.tree if node is None else node
        children = [node.args[0]] if isinstance(node, ast.Call) else ast.iter_child_nodes(node)
        calls = [call for child in children for call in self.stateful_calls(child)]
        if isinstance(node, ast.Call) and function_name(node) in STATEFUL and not is_raw(node):
            calls.append(node)
        return calls

    def _check(self, node: ast.AST, is_outermost: bool = False) -> None:
        """Refuse whatever is not on the list of what formulas know."""
        if isinstance(node, ast.Name):
            return
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            return
        if isinstance(node, ast.BinOp | ast.UnaryOp) and type(node.op) in _OPERATORS:
            operands = [node.operand] if isinstance(node, ast.UnaryOp) else [node.left, node.right]
        elif (
            isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _OPERATORS
        ):
            operands = [node.left, *node.comparators]
        elif isinstance(node, ast.Call):
            operands = [self._check_call(node, is_outermost)]
        else:
            raise self.refusal(ast.unparse(node), "cannot be computed")
        for operand in operands:
            self._check(operand)

    def _check_call(self, node: ast.Call, is_outermost: bool) -> ast.expr:
        """Check the name and the constants of a call; return its first argument."""
        name, shown = function_name(node), ast.unparse(node.func)
        if name not in _FUNCTIONS and name not in STATEFUL:
            raise self.refusal(f"{shown}(...)", "is no function that formulas know")
        if not node.args or any(isinstance(arg, ast.Starred) for arg in node.args):
            raise self.refusal(ast.unparse(node), "lacks an argument")
        if name in SEVERAL_COLUMNS and not is_outermost:
            text = f"formula: {ast.unparse(node)} gives several columns, which stand alone"
            raise InputError(f"{text}; take it out of the function or the arithmetic around it")
        if name in _FUNCTIONS and (len(node.args) > 1 or node.keywords):
            raise self.refusal(ast.unparse(node), "has more than one argument")
        literals(self, node)
        return node.args[0]

    def evaluate(self, columns: Mapping[str, Floats], states: Mapping[str, State]) -> Any:
        """Compute the values of all rows, (rows,), or `Columns`; NaN where a value is missing."""
        with np.errstate(all="ignore"):
            return self.value(self.tree, columns, states)

    def value(
        self, node: ast.AST, columns: Mapping[str, Floats], states: Mapping[str, State]
    ) -> Any:
        """Compute one part of the expression."""
        if isinstance(node, ast.Name):
            return columns[self.column(node)]
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
            return float(node.value)
        if isinstance(node, ast.UnaryOp):
            return _OPERATORS[type(node.op)](self.value(node.operand, columns, states))
        if isinstance(node, ast.BinOp):
            left, right = (self.value(each, columns, states) for each in (node.left, node.right))
            return _OPERATORS[type(node.op)](left, right)
        if isinstance(node, ast.Compare):
            operands = (node.left, node.comparators[0])
            left, right = (self.value(each, columns, states) for each in operands)
            # A comparison with NaN is false in NumPy, and here the value stays missing.
            missing = np.isnan(left) | np.isnan(right)
            return np.where(missing, np.nan, _OPERATORS[type(node.ops[0])](left, right))
        assert isinstance(node, ast.Call)
        if function_name(node) not in _FUNCTIONS.keys() | STATEFUL:
            raise self.refusal(ast.unparse(node), "is no function of numbers")
        name, x = function_name(node), self.value(node.args[0], columns, states)
        if name in _FUNCTIONS:
            return _FUNCTIONS[name](x)
        from linreg_lightning.design_matrix.formula_functions import apply

        return apply(name, x, literals(self, node), states.get(ast.unparse(node), {}))


def function_name(node: ast.AST) -> str:
    """Return the name of a called function without `np.`, or an empty text."""
    function = node.func if isinstance(node, ast.Call) else None
    if isinstance(function, ast.Name):
        return function.id
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        return function.attr if function.value.id in ("np", "numpy") else ""
    return ""


def is_name(expression: Expression) -> bool:
    """Whether an expression is the name of a column alone."""
    return isinstance(expression.tree, ast.Name)


def is_raw(node: ast.AST) -> bool:
    """Whether a call is of plain powers, which learn nothing."""
    return isinstance(node, ast.Call) and any(
        word.arg == "raw" and getattr(word.value, "value", False) is True for word in node.keywords
    )


def literals(expression: Expression, node: ast.Call) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments of a call after the first; raise InputError for one not a constant."""
    try:
        values = [ast.literal_eval(each) for each in node.args[1:]]
        return values, {str(word.arg): ast.literal_eval(word.value) for word in node.keywords}
    except NO_LITERAL:
        raise expression.refusal(ast.unparse(node), "has an argument that is no constant") from None
