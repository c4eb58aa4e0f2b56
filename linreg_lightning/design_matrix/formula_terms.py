"""Terms of a formula: formulaic parses it, orders terms, reduces their rank and names columns."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from linreg_lightning.design_matrix.formula_categories import Category, read_category
from linreg_lightning.design_matrix.formula_expressions import (
    Columns,
    Expression,
)
from linreg_lightning.design_matrix.level_names import plain_level
from linreg_lightning.errors import InputError

_MARKED = re.compile("\x1b\\[[0-9;]*m|[⧛⧚]")


def import_formulaic() -> Any:
    """Import the library of the extra `formula`; raise InputError without it."""
    try:
        import formulaic
        import formulaic.parser
        import formulaic.transforms
    except ImportError:
        text = "formula: the library formulaic, which reads formulas, is not installed"
        raise InputError(f"{text}; type pip install 'linreg_lightning[formula]'") from None
    return formulaic


@final
@dataclass(frozen=True)
class Formula:
    """A formula as it was parsed: a term is a list of the texts of its factors.

    >>> formula = Formula.parse("log(price) ~ area * C(city) - 1")
    >>> formula.targets, formula.constant, formula.terms[-1]
    (['log(price)'], False, ['area', 'C(city)'])
    """

    text: str
    targets: list[str]
    terms: list[list[str]]
    constant: bool
    names: frozenset[str]
    """The factors that are the name of a column alone."""

    @classmethod
    def parse(cls, text: str, columns: Sequence[str] = ()) -> Formula:
        """Parse a formula; `columns` are those that `.` on its right side stands for.

        Raises:
            InputError: it is no formula, lacks a target or has no use.
        """
        library = import_formulaic()
        context = {"__formulaic_variables_available__": list(columns)}
        parser = library.parser.DefaultFormulaParser(feature_flags={"twosided"})
        try:
            parsed = library.Formula(text, _parser=parser, _context=context)
        except Exception as error:
            first = _MARKED.sub("", str(error)).split("\n\n")[0].split(" This can be ")[0]
            reason = " ".join(first.split()).rstrip(".")
            if "|" in text:
                remedy = "leave | out, and name the columns of fixed effects as absorb"
                raise InputError(f"formula: {text!r} has a |; {remedy}") from None
            text = f"formula: {text!r} cannot be read ({reason})"
            raise InputError(f"{text}; type one such as 'y ~ x1 + C(city) * x2'") from None
        if not hasattr(parsed, "lhs") or not len(parsed.lhs):
            remedy = "type the target before ~, such as 'y ~ x1 + x2'"
            raise InputError(f"formula: {text!r} names no target; {remedy}")
        sides = [list(parsed.lhs), list(parsed.rhs)]
        factors = [factor for side in sides for term in side for factor in term.factors]
        names = frozenset(f.expr for f in factors if f.eval_method.value == "lookup")
        targets = [[factor.expr for factor in term.factors] for term in sides[0]]
        for factors_of_target in targets:
            if len(factors_of_target) > 1 or _is_number(factors_of_target[0]):
                shown = ":".join(factors_of_target)
                text = f"formula: the target {shown} is no column, or function of one"
                raise InputError(f"{text}; name a column before ~")
        terms = [[factor.expr for factor in term.factors] for term in sides[1]]
        for factors_of_term in terms:
            numbers = [factor for factor in factors_of_term if _is_number(factor)]
            is_alone = len(numbers) == len(factors_of_term) and factors_of_term != ["1"]
            if is_alone or not all(np.isfinite(float(number)) for number in numbers):
                shown = ":".join(factors_of_term)
                text = f"formula: the term {shown} is no column, nor a finite multiple of one"
                raise InputError(f"{text}; leave it out")
        constant = ["1"] in terms
        return cls(text, [t[0] for t in targets], terms, constant, names)

    def expression(self, factor: str) -> Expression:
        """Return the expression of a factor."""
        return Expression(f"`{factor}`" if factor in self.names else factor)

    @property
    def factors(self) -> list[str]:
        """All factors of the right side that depend on columns, each once."""
        factors = dict.fromkeys(factor for term in self.terms for factor in term)
        return [factor for factor in factors if not _is_number(factor)]

    def target_columns(self) -> list[str]:
        """Return the column of each target; raise InputError for one of none or of several."""
        columns = []
        for target in self.targets:
            expression = self.expression(target)
            if read_category(expression) is not None or expression.stateful_calls():
                text = f"formula: the target {target} depends on all rows"
                raise InputError(f"{text}; use a function of one row, such as log")
            if len(expression.columns) != 1:
                count = len(expression.columns)
                text = f"formula: the target {target} has {count} columns, and one is needed"
                raise InputError(f"{text}; compute it in a column of its own")
            columns += expression.columns
        if len(set(columns)) < len(columns):
            raise InputError("formula: two targets have the same column; fit them one by one")
        return columns


def _is_number(factor: str) -> bool:
    return re.fullmatch(r"[0-9.]+(e[+-]?[0-9]+)?", factor) is not None


def term_structure(
    formula: Formula,
    columns: Mapping[str, Columns | None],
    categories: Mapping[str, Category],
    levels: Mapping[str, list[str]],
) -> list[dict[str, Any]]:
    """Return the terms with the rank of each factor and the names of columns, by formulaic.

    Args:
        formula: the formula.
        columns: for each factor of numbers, the names of its columns; None for a single one.
        categories: the factors that are categories.
        levels: their levels.

    Returns:
        For each term, plain values: `names`, and `parts` with the `scale` and the `factors` of
        each, as [factor, whether its rank is reduced].
    """
    library = import_formulaic()
    import pandas as pd
    from formulaic.parser.types import Factor, Term

    values = _placeholders(columns, categories, levels)
    # Factors are looked up, never evaluated: their values are placeholders of one row.
    terms = [
        Term([Factor(f, eval_method="lookup" if f in values else "literal") for f in factors])
        for factors in formula.terms
    ]
    frame = pd.DataFrame(index=range(1))
    try:
        matrix = library.Formula(terms).get_model_matrix(frame, context=values, na_action="ignore")
    except Exception as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise InputError(f"formula: {formula.text!r}: {reason}; mend the formula") from None
    structure = []
    for term, scoped, names in matrix.model_spec.structure:
        parts = [
            {
                "scale": float(each.scale),
                "factors": [[f.factor.expr, f.reduced] for f in each.factors],
            }
            for each in scoped
        ]
        is_constant = all(not part["factors"] for part in parts)
        if parts and not is_constant:
            structure.append({"term": str(term), "parts": parts, "names": [str(n) for n in names]})
    return structure


def _placeholders(
    columns: Mapping[str, Columns | None],
    categories: Mapping[str, Category],
    levels: Mapping[str, list[str]],
) -> dict[str, Any]:
    """Return one row of values of each factor, from which formulaic sees its kind and columns."""
    library = import_formulaic()
    import pandas as pd
    from formulaic.materializers.types import FactorValues

    values: dict[str, Any] = {}
    for name, several in columns.items():
        values[name] = FactorValues(np.ones(1), kind="numerical")
        if several is not None:
            values[name] = FactorValues(
                {each: np.ones(1) for each in several.fields},
                kind="numerical",
                spans_intercept=several.spans_constant,
                drop_field=several.fields[0],
                format="{name}[{field}]",
            )
    for name, category in categories.items():
        values[name] = library.transforms.C(
            pd.Series(levels[name][:1], dtype=object),
            contrast(category, levels[name]),
            levels=levels[name],
            spans_intercept=category.spans_constant,
        )
    return values


def contrast(category: Category, levels: Sequence[str]) -> Any:
    """Return formulaic's object of a contrast, whose base level is one of `levels`."""
    transforms = import_formulaic().transforms
    if category.contrast == "custom":
        return transforms.ContrastsRegistry.custom(category.arguments[0])
    kind = getattr(transforms.ContrastsRegistry, category.contrast)
    arguments, options = list(category.arguments), dict(category.options)
    if "reference" in options:
        options["base"] = options.pop("reference")
    if category.contrast in ("treatment", "SAS"):
        base = arguments[0] if arguments else options.get("base")
        if base is not None:
            level = plain_level(str(base))
            if level not in levels:
                shown = ", ".join(map(repr, levels[:3])) + ", ..." * (len(levels) > 3)
                column = category.of.text
                text = f"formula: {base!r} is no level of {column} in the rows to train on"
                raise InputError(f"{text} ({shown}); name one of them")
            arguments, options = [level], {}
    try:
        return kind(*arguments, **options)
    except TypeError:
        text = f"formula: the contrast of {category.of.text} has arguments that it does not take"
        raise InputError(f"{text}; see the documentation of formulaic") from None


def coding(category: Category, levels: Sequence[str], reduced: bool) -> dict[str, Any]:
    """Return how levels become columns, as plain values.

    `left_out` is the number of the level without an indicator, or None; `matrix`, (levels,
    columns), is there only for contrasts that are no indicators.
    """
    matrix = np.asarray(contrast(category, levels).get_coding_matrix(levels, reduced), float)
    count = len(levels)
    identity = np.eye(count)
    if matrix.shape == identity.shape and (matrix == identity).all():
        return {"left_out": None}
    if category.contrast in ("treatment", "SAS") and reduced:
        left_out = int(np.flatnonzero(~matrix.any(axis=1))[0])
        return {"left_out": left_out}
    return {"matrix": matrix.tolist()}
