"""The tables of `Fit` and `GroupedFit`, with names: for people, and for data frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from linreg_lightning.coefficient_table import (
    CoefficientTable,
    coefficient_report,
    equation,
    one_line,
)
from linreg_lightning.text_table import Report

_NUMBERS = {
    "estimate": "estimate",
    "std_error": "standard_error",
    "t": "t",
    "p": "p",
    "ci_low": "low",
    "ci_high": "high",
}
_GROUP_ROWS_SHOWN = 12


class FitTable(CoefficientTable):
    """The table of a `Fit`."""

    feature_names: list[str] | None = None
    target_names: list[str] | None = None

    def __repr__(self) -> str:
        return one_line(self._equation(), self._fit().statistics)

    def _fit(self) -> Any:
        return self

    def _names(self) -> tuple[list[str], list[str]]:
        intercept = self._fit().intercept
        targets = len(intercept) if intercept.ndim else 1
        features = self._fit().solution.equations.features
        return (
            self.feature_names or _numbered("x", features),
            self.target_names or _numbered("y", targets),
        )

    def _equation(self) -> str:
        features, targets = self._names()
        return equation("Fit", targets, features)

    def _report(self) -> Report:
        fit = self._fit()
        options: Any = {"confidence": fit.confidence, "ridge": fit.solution.ridge}
        rows = as_rows(self._frame_columns())
        return coefficient_report(self._equation(), rows, fit.statistics, **options)

    def _frame_columns(self) -> dict[str, list[Any]]:
        return _named_columns(
            {name: v[None] for name, v in numbers_of(self).items()}, *self._names()
        )


class GroupedFitTable(CoefficientTable):
    """The table of a `GroupedFit`, of which a summary shows the first groups."""

    def __repr__(self) -> str:
        fit = self._fit()
        return f"<{self._equation()}; {len(fit.groups)} groups, {int(fit.rows.sum())} rows>"

    def table(
        self, features: Sequence[str], targets: Sequence[str], groups: int | None = None
    ) -> dict[str, list[Any]]:
        """Return `group`, `rows`, `target`, `term` and the numbers of the first groups, or of all.

        `features` and `targets` are the names of the columns of x, without an intercept, and y.
        """
        fit = self._fit()
        numbers = {name: values[:groups] for name, values in numbers_of(fit).items()}
        size = numbers["estimate"][0].numel()
        return {
            "group": [name for name in fit.groups[:groups] for _ in range(size)],
            "rows": fit.rows[:groups].repeat_interleave(size).tolist(),
            **_named_columns(numbers, features, targets),
        }

    def report(
        self,
        title: str,
        features: Sequence[str],
        targets: Sequence[str],
        base_levels: Mapping[str, str] | None = None,
    ) -> Report:
        """Return the report of the first groups; arguments as in `coefficient_report`."""
        fit = self._fit()
        shown = max(1, _GROUP_ROWS_SHOWN // max(1, fit.estimate[0].numel()))
        count, total = len(fit.groups), int(fit.rows.sum())
        first = (
            f", the first {shown if shown > 1 else 'one'} of them above" if count > shown else ""
        )
        rows = as_rows(self.table(features, targets, shown))
        notes = [f"{count} groups{first}; {total} rows"]
        options: Any = {"confidence": fit.confidence, "base_levels": base_levels, "notes": notes}
        return coefficient_report(title, rows, {}, **options)

    def _fit(self) -> Any:
        return self

    def _names(self) -> tuple[list[str], list[str]]:
        fit = self._fit()
        terms, targets = [*fit.estimate.shape[1:], 1][:2]
        return _numbered("x", terms - fit.has_intercept), _numbered("y", targets)

    def _equation(self) -> str:
        features, targets = self._names()
        return equation("GroupedFit", targets, features)

    def _report(self) -> Report:
        return self.report(self._equation(), *self._names())

    def _frame_columns(self) -> dict[str, list[Any]]:
        return self.table(*self._names())


def numbers_of(fit: Any) -> dict[str, Tensor]:
    """Return estimates, errors, t, p and intervals under the names that tables have."""
    return {name: getattr(fit, attribute) for name, attribute in _NUMBERS.items()}


def as_rows(columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Return the rows of a table of columns."""
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _numbered(letter: str, count: int) -> list[str]:
    """Return x1, x2 ...; a single target is y."""
    return ["y"] if (letter, count) == ("y", 1) else [f"{letter}{j + 1}" for j in range(count)]


def _named_columns(
    numbers: Mapping[str, Tensor], features: Sequence[str], targets: Sequence[str]
) -> dict[str, list[Any]]:
    """Return columns with a row for each group, target and term.

    `numbers` are (groups, terms, targets), or (groups, terms) of one target.
    """
    groups, terms = next(iter(numbers.values())).shape[:2]
    names = [*["intercept"][: terms - len(features)], *features]
    return {
        "target": [target for target in targets for _ in names] * groups,
        "term": names * (len(targets) * groups),
        **{
            name: values.reshape(groups, terms, len(targets)).mT.flatten().tolist()
            for name, values in numbers.items()
        },
    }
