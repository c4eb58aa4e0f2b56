"""What a formula says of a category: `C(...)`, its contrast and its levels."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from linreg_lightning.design_matrix.formula_expressions import NO_LITERAL, Expression, function_name
from linreg_lightning.errors import InputError

_CONTRASTS = {"Treatment", "Sum", "Poly", "Helmert", "Diff"}
_CONTRASTS_OF_R = {"treatment", "sum", "poly", "helmert", "diff", "SAS"}


class Category(NamedTuple):
    """What `C(...)` says: of what, compared how, with which levels."""

    of: Expression
    contrast: str = "treatment"
    arguments: tuple[Any, ...] = ()
    options: Mapping[str, Any] = {}
    levels: list[str] | None = None
    spans_constant: bool = True


def read_category(expression: Expression) -> Category | None:
    """Return what a factor `C(...)` says; None for a factor of numbers.

    >>> read_category(Expression("C(city, Treatment('Oslo'))"))[1:3]
    ('treatment', ('Oslo',))
    """
    node = expression.tree
    if not (isinstance(node, ast.Call) and function_name(node) == "C"):
        return None
    if len(node.args) not in (1, 2):
        raise expression.refusal(expression.text, "needs a column")
    words = {str(word.arg): word.value for word in node.keywords}
    contrast = node.args[1] if len(node.args) > 1 else words.pop("contrasts", None)
    inner = ast.unparse(node.args[0])
    for alias, column in expression.aliases.items():
        inner = re.sub(rf"\b{alias}\b", f"`{column}`", inner)
    category = Category(Expression(inner))
    if category.of.stateful_calls():
        raise expression.refusal(expression.text, "has levels that depend on all rows")
    try:
        options = {name: ast.literal_eval(value) for name, value in words.items()}
    except NO_LITERAL:
        raise expression.refusal(expression.text, "has an argument that is no constant") from None
    if unknown := options.keys() - {"levels", "spans_intercept"}:
        raise expression.refusal(expression.text, f"has an unknown argument {min(unknown)!r}")
    levels = options.get("levels")
    if not isinstance(levels, list | tuple | None):
        raise expression.refusal(expression.text, "needs a list of levels")
    return category._replace(
        **_read_contrast(expression, contrast),
        levels=None if levels is None else [str(level) for level in levels],
        spans_constant=bool(options.get("spans_intercept", True)),
    )


def _read_contrast(expression: Expression, node: ast.expr | None) -> dict[str, Any]:
    if node is None:
        return {}
    call = node if isinstance(node, ast.Call) else None
    name = node.func if isinstance(node, ast.Call) else node
    named = ""
    if isinstance(name, ast.Name) and name.id in _CONTRASTS:
        named = name.id.lower()
    elif isinstance(name, ast.Attribute) and getattr(name.value, "id", "") == "contr":
        named = name.attr if name.attr in _CONTRASTS_OF_R else ""
    try:
        if not named:
            weights = ast.literal_eval(node)
            if not isinstance(weights, dict) and np.ndim(weights) != 2:
                raise ValueError
            return {"contrast": "custom", "arguments": (weights,)}
        arguments = [ast.literal_eval(each) for each in call.args] if call else []
        keywords = call.keywords if call else []
        words = {str(word.arg): ast.literal_eval(word.value) for word in keywords}
    except NO_LITERAL:
        known = ", ".join([*sorted(_CONTRASTS), *(f"contr.{n}" for n in sorted(_CONTRASTS_OF_R))])
        text = f"formula: {ast.unparse(node)} in {expression.text} is no contrast that is known"
        raise InputError(f"{text}; use {known}, or rows of numbers") from None
    return {"contrast": named, "arguments": tuple(arguments), "options": words}
