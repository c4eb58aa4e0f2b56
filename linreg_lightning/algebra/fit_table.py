"""The tables of `Fit` and `GroupedFit`: base classes that give them a summary and a data frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from linreg_lightning.coefficient_table import (
    CoefficientTable,
    coefficient_report,
    fit_repr,
    fit_title,
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
    """Base class of `Fit`: its summary, `repr` and data frame."""

    feature_names: list[str] | None = None
    target_names: list[str] | None = None

    def __repr__(self) -> str:
        fit = self._fit()
        whole = fit_repr(self._title(), fit.statistics)
        return whole if fit.errors is None else f"{whole[:-1]}, {fit.errors.options.kind} errors>"

    def _fit(self) -> Any:
        # Type checkers do not know that a subclass adds the fields of the fit.
        return self

    def _names(self) -> tuple[list[str], list[str]]:
        intercept = self._fit().intercept
        targets = len(intercept) if intercept.ndim else 1
        features = self._fit().solution.equations.features
        return (
            self.feature_names or numbered_names("x", features),
            self.target_names or numbered_names("y", targets),
        )

    def _title(self) -> str:
        features, targets = self._names()
        return fit_title("Fit", targets, features)

    def _report(self) -> Report:
        fit = self._fit()
        return coefficient_report(
            self._title(),
            as_rows(self._frame_columns()),
            fit.statistics,
            confidence=fit.confidence,
            ridge=fit.solution.ridge,
            notes=[part.phrases() for part in (fit.absorbed, fit.errors) if part is not None],
        )

    def _frame_columns(self) -> dict[str, list[Any]]:
        return named_columns(
            {name: v[None] for name, v in numbers_of(self).items()}, *self._names()
        )


class GroupedFitTable(CoefficientTable):
    """Base class of `GroupedFit`: its data frame, and a summary that shows the first groups."""

    def __repr__(self) -> str:
        return self.titled_repr(self._title())

    def titled_repr(self, title: str) -> str:
        """Return one line: the title, and the number of groups and rows."""
        fit = self._fit()
        return f"<{title}; {len(fit.groups)} groups, {int(fit.rows.sum())} rows>"

    def table(
        self, features: Sequence[str], targets: Sequence[str], groups: int | None = None
    ) -> dict[str, list[Any]]:
        """Return the columns `group`, `rows`, `target`, `term` and the numbers of each coefficient.

        `features` and `targets` are the names of the columns of x, without an intercept, and of y.
        `groups` limits the table to the first groups; None takes all.
        """
        fit = self._fit()
        numbers = {name: values[:groups] for name, values in numbers_of(fit).items()}
        size = numbers["estimate"][0].numel()
        return {
            "group": [name for name in fit.groups[:groups] for _ in range(size)],
            "rows": fit.rows[:groups].repeat_interleave(size).tolist(),
            **named_columns(numbers, features, targets),
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
        first = f", the first {shown if shown > 1 else 'one'} of them above"
        note = f"{count} groups{first if count > shown else ''}; {total} rows"
        return coefficient_report(
            title,
            as_rows(self.table(features, targets, shown)),
            {},
            confidence=fit.confidence,
            base_levels=base_levels,
            notes=[note],
        )

    def _fit(self) -> Any:
        return self

    def _names(self) -> tuple[list[str], list[str]]:
        fit = self._fit()
        terms, targets = [*fit.estimate.shape[1:], 1][:2]
        return numbered_names("x", terms - fit.has_intercept), numbered_names("y", targets)

    def _title(self) -> str:
        features, targets = self._names()
        return fit_title("GroupedFit", targets, features)

    def _report(self) -> Report:
        return self.report(self._title(), *self._names())

    def _frame_columns(self) -> dict[str, list[Any]]:
        return self.table(*self._names())


def numbers_of(fit: Any) -> dict[str, Tensor]:
    """Return estimates, errors, t, p and intervals by the names of their columns in tables."""
    return {name: getattr(fit, attribute) for name, attribute in _NUMBERS.items()}


def as_rows(columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Return the rows of a table of columns."""
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def numbered_names(letter: str, count: int) -> list[str]:
    """Return x1, x2, ... for the letter x; a single y has no number."""
    return ["y"] if (letter, count) == ("y", 1) else [f"{letter}{j + 1}" for j in range(count)]


def named_columns(
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
