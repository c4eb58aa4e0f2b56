"""Two fits side by side, and tests of the smaller one where its columns are among the other's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from linreg_lightning.algebra.fit_table import as_rows
from linreg_lightning.algebra.nested import nested_tests
from linreg_lightning.coefficient_table import CoefficientTable
from linreg_lightning.errors import InputError
from linreg_lightning.text_table import Report, Table, named_statistics

_LABELS = ("A", "B")
_STATISTICS = (
    *("rows", "rank", "df_residual", "residual_sd", "r2", "r2_adjusted", "r2_uncentered"),
    *("r2_adjusted_uncentered", "log_likelihood", "aic", "bic"),
)


@dataclass(frozen=True, eq=False)
class Comparison(CoefficientTable):
    """Two fits, A and B, side by side; `compare` makes it.

    `tests` has for each target the row of the F test, or of the Wald test with robust errors, and
    with classical errors that of the likelihood-ratio test: `target`, `test`, `statistic`, `df`
    (by how many coefficients the fits differ), `df_residual` (None where the distribution is
    chi-squared) and `p`.
    """

    titles: list[str]  # of A and B
    statistics: list[dict[str, Any]]  # of A and B, as in `Fit`, and `errors`
    coefficients: list[dict[str, Any]]  # `target`, `term`, `A_estimate` .. `B_ci_high`
    tests: list[dict[str, Any]]  # empty where there is none
    finding: str  # which fit is nested in the other, or why nothing is tested

    def __repr__(self) -> str:
        return f"<Comparison of {self.titles[0]} and {self.titles[1]}; {self.finding}>"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, `models` with the title and the statistics of each fit."""
        models = [
            {"label": label, "title": title, **statistics}
            for label, title, statistics in zip(_LABELS, self.titles, self.statistics, strict=True)
        ]
        names = "coefficients", "tests", "finding"
        return {"models": models, **{name: getattr(self, name) for name in names}}

    def _report(self) -> Report:
        shown = (
            "target",
            "term",
            *(f"{a}_{b}" for a in _LABELS for b in ("estimate", "std_error")),
        )
        rows = [{name: row[name] for name in shown} for row in self.coefficients]
        many = len({row["target"] for row in rows}) > 1
        named = [named_statistics(each) for each in self.statistics]
        statistics = [
            {
                "statistic": name,
                **{a: each.get(name) for a, each in zip(_LABELS, named, strict=True)},
            }
            for name in (*_STATISTICS, "errors")
            if any(name in each for each in named)
        ]
        labelled = zip(_LABELS, self.titles, strict=True)
        parts: list[Table | list[str]] = [[f"{label}: {title}"] for label, title in labelled]
        parts += [_table(rows, many), Table.from_rows(statistics), [self.finding]]
        if self.tests:
            parts.append(_table(self.tests, many))
        return Report("Comparison of A and B", parts)

    def _frame_columns(self) -> dict[str, list[Any]]:
        return {name: [row[name] for row in self.coefficients] for name in self.coefficients[0]}


def compare(first: Any, second: Any) -> Comparison:
    """Compare two fits of the same target: coefficients, AIC, BIC, adjusted R2, and tests.

    Fit A is nested in B where both have the same rows and targets, and the columns of A are among
    those of B: their names, sums and products decide. With q coefficients more in B, F is
    ((SSR_A - SSR_B) / q) / (SSR_B / (n - k_B)), and the likelihood ratio 2 (log L_B - log L_A) is
    compared to chi-squared. Where the larger fit has robust errors, a Wald test with its covariance
    takes the place of both, because they suppose equal variances.

    Args:
        first: the `Fit` A.
        second: the `Fit` B; either may be the larger one.

    Raises:
        InputError: one of them is no `Fit`.

    >>> import torch
    >>> from linreg_lightning import least_squares
    >>> x = torch.tensor([[0.0, 1.0], [1.0, 1.0], [2.0, 0.0], [3.0, 2.0], [4.0, 0.0]])
    >>> y = torch.tensor([2.0, 3.0, 5.0, 9.0, 8.0])
    >>> comparison = compare(least_squares(x[:, :1], y), least_squares(x, y))
    >>> print(comparison.finding)
    A is nested in B, which also has x2
    >>> [(row["test"], round(row["statistic"], 3)) for row in comparison.tests]
    [('F', 7.529), ('likelihood ratio', 7.806)]
    """
    from linreg_lightning.algebra.fit import Fit  # which imports this room's tables

    fits = first, second
    for label, fit in zip(_LABELS, fits, strict=True):
        if not isinstance(fit, Fit):
            kind = type(fit).__name__
            text = f"a {kind} was given as {label}; give what least_squares returned"
            raise InputError(f"compare: {text}")
    tests, finding = nested_tests(*fits, _LABELS)
    return Comparison(
        titles=[fit._title() for fit in fits],
        statistics=[
            {**fit.statistics, "errors": fit.errors.options.kind if fit.errors else "classical"}
            for fit in fits
        ],
        coefficients=_side_by_side(fits),
        tests=tests,
        finding=finding,
    )


def _side_by_side(fits: Sequence[Any]) -> list[dict[str, Any]]:
    """Return a row for each target and term of any fit; None where a fit lacks the term."""
    tables = [
        {(row.pop("target"), row.pop("term")): row for row in as_rows(fit._frame_columns())}
        for fit in fits
    ]
    numbers = list(next(iter(tables[0].values())))
    targets = list(dict.fromkeys(target for table in tables for target, _ in table))
    keys = dict.fromkeys(key for table in tables for key in table)
    return [
        {
            "target": target,
            "term": term,
            **{
                f"{label}_{name}": table.get((target, term), {}).get(name)
                for label, table in zip(_LABELS, tables, strict=True)
                for name in numbers
            },
        }
        for wanted in targets
        for target, term in keys
        if target == wanted
    ]


def _table(rows: Sequence[Mapping[str, Any]], has_targets: bool) -> Table:
    return Table.from_rows(
        [{k: v for k, v in row.items() if has_targets or k != "target"} for row in rows]
    )
