"""Inverts the function of a target of a formula: from log(price) back to price."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple, final

import numpy as np
import torch
from torch import Tensor

from linreg_lightning.design_matrix.formula_expressions import Expression, function_name
from linreg_lightning.errors import InputError


class _Step(NamedTuple):
    """One function t(z) of a target, increasing unless its slope is below 0."""

    inverse: Callable[[Tensor], Tensor]  # z(t)
    slope: float | None = None  # of a linear function
    base: float | None = None  # of a logarithm
    low: float = -math.inf  # the lower end of the values of t


_STEPS = {
    "log": _Step(torch.exp, base=math.e),
    "log2": _Step(torch.exp2, base=2.0),
    "log10": _Step(lambda t: torch.pow(10.0, t), base=10.0),
    "log1p": _Step(torch.expm1, base=math.e),
    "exp": _Step(torch.log, low=0.0),
    "exp2": _Step(torch.log2, low=0.0),
    "exp10": _Step(torch.log10, low=0.0),
    "expm1": _Step(torch.log1p, low=-1.0),
    "sqrt": _Step(torch.square, low=0.0),
    "cbrt": _Step(lambda t: t**3),
    "I": _Step(lambda t: t, slope=1.0),
}


@final
class TargetInverse:
    """The inverse of a target t = f(y), such as log(price), which increases or decreases with y.

    `f` consists of log, log2, log10, log1p, exp, exp2, exp10, expm1, sqrt, cbrt, and of sums and
    products with numbers. Predictions of t are (rows,), float64.

    >>> inverse = TargetInverse(Expression("log10(price / 2)"))
    >>> inverse.column, inverse.median(torch.tensor([1.0, 2.0]).double())
    ('price', tensor([ 20., 200.], dtype=torch.float64))

    Raises:
        InputError: `f` has something else, or the column more than once, or not at all.
    """

    def __init__(self, expression: Expression) -> None:
        self.text = expression.text
        self.column = expression.columns[0]
        self._steps = list(self._read(expression, expression.tree))
        slopes = [step.slope for step in self._steps if step.slope is not None]
        self.is_decreasing = math.prod(slopes) < 0
        """Whether y falls where t rises, so that the ends of an interval change places."""
        curves = [step for step in self._steps if step.slope is None]
        self.is_linear = not curves
        """Whether t is a linear function of y; then the mean of y is the inverse of that of t."""
        self.has_mean = not curves or (len(curves) == 1 and curves[0].base is not None)
        """Whether the mean of y is known where t is normal: t is linear, or has one logarithm."""

    def median(self, t: Tensor) -> Tensor:
        """Return the median of y where t is that of f(y): the inverse, NaN where there is none."""
        for step in self._steps:
            t = step.inverse(torch.where(t >= step.low, t, torch.nan))
        return torch.where(t.isfinite(), t, torch.nan)

    def end(self, t: Tensor) -> Tensor:
        """Return the end of an interval of y, from that of f(y): the inverse of its nearest value.

        It is infinite where f(y) is below every value that f takes, such as exp(y) < 0.
        """
        for step in self._steps:
            t = step.inverse(t.clamp(min=step.low))
        return t

    def mean(self, t: Tensor, sd: float) -> Tensor:
        """Return the mean of y where f(y) is normal, with mean t and standard deviation sd.

        For a logarithm to the base b, t = log_b(y), it is b^(t + log(b) sd^2 / 2); `sd` does not
        matter where f is linear. NaN where the mean is beyond float64. Only if it `has_mean`.
        """
        for step in self._steps:
            if step.slope is not None:
                sd = abs(sd / step.slope)
            else:
                assert step.base is not None
                t = t + math.log(step.base) * sd**2 / 2
            t = step.inverse(t)
        return torch.where(t.isfinite(), t, torch.nan)

    def _read(self, expression: Expression, node: ast.AST) -> Iterator[_Step]:
        """Yield the functions from the outermost to the one of the column itself."""
        while not isinstance(node, ast.Name):
            node, step = self._outermost(expression, node)
            yield step

    def _outermost(self, expression: Expression, node: ast.AST) -> tuple[ast.AST, _Step]:
        if isinstance(node, ast.Call) and (step := _STEPS.get(function_name(node))):
            return node.args[0], step
        if isinstance(node, ast.UnaryOp):
            sign = -1.0 if isinstance(node.op, ast.USub) else 1.0
            return node.operand, _Step(lambda t: sign * t, slope=sign)
        if isinstance(node, ast.BinOp):
            left, right = _constant(expression, node.left), _constant(expression, node.right)
            if (left is None) != (right is None):
                rest = node.right if right is None else node.left
                if step := _arithmetic(node.op, left, right):
                    return rest, step
        raise InputError(
            f"original_units: {self.text} has no inverse that is known; leave original_units out, "
            "or fit one of log, log2, log10, log1p, exp, sqrt or linear functions of the column"
        )


def _constant(expression: Expression, node: ast.AST) -> float | None:
    """Return the value of a part without columns; None if it has one."""
    try:
        with np.errstate(all="ignore"):
            return float(expression.value(node, {}, {}))
    except KeyError:  # of the values of a column
        return None


def _arithmetic(operator: ast.AST, left: float | None, right: float | None) -> _Step | None:
    """Return a linear function, `left` or `right` of whose operator is a number; else None."""
    number = right if left is None else left
    if number is None or not math.isfinite(number):
        return None
    if isinstance(operator, ast.Add):
        return _Step(lambda t: t - number, slope=1.0)
    if isinstance(operator, ast.Sub):
        is_minus_column = left is not None
        inverse = (lambda t: number - t) if is_minus_column else (lambda t: t + number)
        return _Step(inverse, slope=-1.0 if is_minus_column else 1.0)
    if isinstance(operator, ast.Mult) and number != 0:
        return _Step(lambda t: t / number, slope=number)
    if isinstance(operator, ast.Div) and left is None and number != 0:
        return _Step(lambda t: t * number, slope=1 / number)
    return None
