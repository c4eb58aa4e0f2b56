"""The tables of `Selection`: a base class that gives it a summary, a data frame and JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from linreg_lightning.algebra.cross_validation import take
from linreg_lightning.algebra.fit_table import as_rows, named_columns, numbered_names, numbers_of
from linreg_lightning.algebra.selection_json import selection_json
from linreg_lightning.coefficient_table import (
    CoefficientTable,
    coefficient_report,
    fit_repr,
    fit_title,
)
from linreg_lightning.text_table import Report

_TITLES = {"ridge": "Ridge", "lasso": "Lasso", "elasticnet": "Elastic net"}
_MAX_ROWS_WITH_ZEROS = 20
_MAY_BE_BLANK = ("in_folds", "enters_at")
_IN_PHRASES = {"alpha", "l1_ratio", "nonzero", "cv_error", "cv_standard_error", "cv_r2"}
_CHOICES = {
    "min": "with the least error of held-out folds",
    "one_standard_error": "the largest within one standard error of the least error",
    "aic": "with the least AIC",
    "bic": "with the least BIC",
    "cp": "with the least Cp",
    "gcv": "with the least generalised cross-validation",
}


class SelectionTable(CoefficientTable):
    """Base class of `Selection`: its summary, `repr`, data frame and JSON."""

    feature_names: list[str] | None = None
    target_names: list[str] | None = None

    def __repr__(self) -> str:
        return fit_repr(self._title(), self._selection().statistics)

    def column_names(self) -> tuple[list[str], list[str]]:
        """Return the names of the columns of x and y, those of the frames or x1, x2 ... and y."""
        features, targets = self._selection().path.coefficients.shape[-2:]
        return (
            self.feature_names or numbered_names("x", features),
            self.target_names or numbered_names("y", targets),
        )

    def table(self, features: Sequence[str], targets: Sequence[str]) -> dict[str, list[Any]]:
        """Return the columns `target`, `term` and the numbers of each coefficient.

        These are `estimate`; after a refit of the columns chosen, that of the refit with
        `std_error`, `t`, `p`, `ci_low`, `ci_high`, and `penalized`, the estimate with the penalty;
        except for ridge, `in_folds`, the share of the folds in which a coefficient is not 0, and
        `enters_at`, the largest alpha at which it is not 0. Numbers that are not known are NaN.

        `features` and `targets` are the names of the columns of x, without an intercept, and of y.
        """
        selection = self._selection()
        numbers = _terms_of(selection)
        return named_columns({name: v[None] for name, v in numbers.items()}, features, targets)

    def report(
        self,
        title: str,
        features: Sequence[str],
        targets: Sequence[str],
        base_levels: Mapping[str, str] | None = None,
        statistics: Mapping[str, Any] | None = None,
        rows: Sequence[Mapping[str, Any]] | None = None,
    ) -> Report:
        """Return the report of the choice; arguments as in `coefficient_report`.

        Of more than 20 columns only those are shown whose coefficients are not 0. `statistics`
        and `rows` take the place of `Selection.statistics` and of the rows of the table.
        """
        selection = self._selection()
        statistics = selection.statistics if statistics is None else statistics
        rows = as_rows(self.table(features, targets)) if rows is None else rows
        shown = rows
        if len(features) > _MAX_ROWS_WITH_ZEROS:
            shown = [row for row in rows if row["estimate"] != 0 or row["term"] == "intercept"]
        shown = [_with_blanks(row) for row in shown]
        notes = _choice_phrases(selection, targets, hidden=len(shown) < len(rows))
        if selection.refit is not None:
            reason = "too optimistic, because the same rows have chosen the columns"
            notes.append([f"std error, t, p, interval: {reason}"])
        return coefficient_report(
            title,
            shown,
            {k: v for k, v in statistics.items() if k not in _IN_PHRASES},
            confidence=selection.confidence,
            base_levels=base_levels,
            notes=notes,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the choices and their paths as lists and numbers, for a JSON file.

        The keys are those of `path.json`, which `callbacks.PenaltyPath` describes. Numbers that are
        not known are NaN.
        """
        return selection_json(self._selection(), *self.column_names())

    def _selection(self) -> Any:
        # Type checkers do not know that a subclass adds the fields of the selection.
        return self

    def _title(self) -> str:
        features, targets = self.column_names()
        return fit_title(_TITLES[self._selection().options.penalty], targets, features)

    def _report(self) -> Report:
        return self.report(self._title(), *self.column_names())

    def _frame_columns(self) -> dict[str, list[Any]]:
        return self.table(*self.column_names())


def _choice_phrases(selection: Any, targets: Sequence[str], hidden: bool) -> list[list[str]]:
    """Return for each target phrases about what was chosen, how, and how well it predicts.

    `hidden` says whether the table lacks coefficients that are 0.
    """
    numbers = selection.statistics.items()
    of_r2 = " (uncentered)" if "r2_uncentered" in selection.statistics else ""
    shown = "; only these are shown" if hidden else ""
    lists = {k: v if isinstance(v, list) else [v] for k, v in numbers if k in _IN_PHRASES}
    options, features = selection.options, selection.path.coefficients.shape[2]
    paragraphs = []
    for t, target in enumerate(targets):
        of = {k: "NA" if math.isnan(v[t]) else f"{v[t]:.6g}" for k, v in lists.items()}
        mixture = f", l1_ratio {of['l1_ratio']}" if options.penalty == "elasticnet" else ""
        name = f"{target}: " if len(targets) > 1 else ""
        paragraphs.append(
            [
                f"{name}{_TITLES[options.penalty].lower()}{mixture}",
                f"alpha {of['alpha']}, {_CHOICES[options.choice]}",
                f"{of['nonzero']} of {features} coefficients are not 0{shown}",
                f"held-out error {of['cv_error']}",
                f"standard error {of['cv_standard_error']}",
                f"held-out r2{of_r2} {of['cv_r2']}",
            ]
        )
    return paragraphs


def _with_blanks(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row in which None, shown as a blank, replaces each NaN that does not apply.

    The intercept is in no path, a column of zeros enters it at no alpha, and a column that the
    penalty has left out has no standard error in the refit.
    """
    is_left_out = row.get("penalized") == 0
    return {
        name: None if (name in _MAY_BE_BLANK or is_left_out) and _is_nan(value) else value
        for name, value in row.items()
    }


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def selection_statistics(selection: Any) -> dict[str, Any]:
    """Return the measures of a choice by name, as `Selection.statistics` lists them."""
    index, path = selection.index, selection.path
    coefficients, residual = take(path.coefficients, index), take(path.residual, index)
    cv_error = take(selection.mean_error, index)
    # A constant target has no r2; rounding may make its variance negative.
    variance = torch.where(selection.target_variance > 0, selection.target_variance, math.nan)
    per_target = {
        "alpha": take(selection.alphas, index),
        "l1_ratio": selection.l1_ratios[index[:, 0]],
        "nonzero": (coefficients != 0).sum(0),
        "df": take(path.degrees_of_freedom, index),
        "cv_error": cv_error,
        "cv_standard_error": take(selection.standard_error, index),
        "cv_r2": 1 - cv_error / variance,
        "nested_error": selection.nested_error,
        "nested_standard_error": selection.nested_standard_error,
        "r2": (1 - residual / variance).clamp(min=0.0),  # below 0 only by rounding
        "rmse": residual.sqrt(),
    }
    named = {name: values.tolist() for name, values in per_target.items() if values is not None}
    return {
        "rows": selection.rows,
        **{name: v[0] if len(v) == 1 else v for name, v in named.items()},
        "loss": residual.mean().item(),
        **({} if selection.intercept_fitted else {"r2_uncentered": True}),
    }


def _terms_of(selection: Any) -> dict[str, Tensor]:
    """Return the numbers of each term by name, (terms, targets) each."""
    intercept = take(selection.path.intercept, selection.index)
    coefficients = take(selection.path.coefficients, selection.index)
    estimate = _with_intercept(selection, coefficients, intercept)
    numbers = {"estimate": estimate}
    if selection.refits:
        refitted: dict[str, Tensor] = {}
        for t, fit in enumerate(selection.refits):
            terms = [j + selection.intercept_fitted for j in selection.nonzero_columns(t)]
            places = torch.tensor([*[0] * selection.intercept_fitted, *terms], dtype=torch.int64)
            for name, values in numbers_of(fit).items():
                empty = torch.full_like(estimate, 0.0 if name == "estimate" else math.nan)
                refitted.setdefault(name, empty)[places, t] = values.flatten()
        numbers = {**refitted, "penalized": estimate}
    if selection.options.penalty != "ridge":
        none = torch.full_like(intercept, math.nan)
        numbers["in_folds"] = _with_intercept(selection, selection.fold_share, none)
        numbers["enters_at"] = _with_intercept(selection, selection.entry_alpha, none)
    return numbers


def _with_intercept(selection: Any, features: Tensor, intercept: Tensor) -> Tensor:
    return torch.cat((intercept[None], features)) if selection.intercept_fitted else features
