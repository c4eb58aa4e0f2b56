"""The tables of `Selection`: a base class that gives it a summary, a data frame and JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from linreg_lightning.algebra.cross_validation import take
from linreg_lightning.algebra.fit_table import as_rows, named_columns, numbered_names, numbers_of
from linreg_lightning.coefficient_table import (
    CoefficientTable,
    coefficient_report,
    fit_repr,
    fit_title,
)
from linreg_lightning.text_table import Report

_TITLES = {"ridge": "Ridge", "lasso": "Lasso", "elasticnet": "Elastic net"}
_BLANK_IN_SUMMARY = ("in_folds", "enters_at")  # of the intercept


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
        and, but for ridge, `in_folds`, the share of the folds in which a coefficient is not 0, and
        `enters_at`, the largest alpha at which it is not 0. Numbers that are not known are NaN.

        `features` and `targets` are the names of the columns of x, without an intercept, and of y.
        """
        selection = self._selection()
        numbers = _terms_of(selection)
        return named_columns({name: v[None] for name, v in numbers.items()}, features, targets)

    def report(
        self,
        title: str,
        rows: Sequence[Mapping[str, Any]] | None = None,
        statistics: Mapping[str, Any] | None = None,
        base_levels: Mapping[str, str] | None = None,
    ) -> Report:
        """Return the report of the choice; arguments as in `coefficient_report`.

        Rows and statistics are by default the table's and those of the selection. Columns whose
        coefficient is 0 are only counted.
        """
        selection = self._selection()
        rows = as_rows(self._frame_columns()) if rows is None else rows
        shown = []
        for row in rows:
            is_intercept = "intercept" in (row.get("name"), row.get("term"))
            if is_intercept:
                shown.append({k: None if k in _BLANK_IN_SUMMARY else v for k, v in row.items()})
            elif row["estimate"] != 0:
                shown.append(dict(row))
        notes = []
        if zeros := len(rows) - len(shown):
            notes.append(f"{zeros} coefficient{' is' if zeros == 1 else 's are'} 0")
        if selection.refit is not None:
            notes.append(
                "std error, t, p, interval: of least squares, too optimistic, because the same "
                "rows have chosen the columns"
            )
        return coefficient_report(
            title,
            shown,
            selection.statistics if statistics is None else statistics,
            confidence=selection.confidence,
            base_levels=base_levels,
            notes=notes,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the whole path and its errors as lists and numbers, for a JSON file.

        `targets` has a dictionary for each target: its choices and, for each l1_ratio, a path whose
        lists have an entry for each alpha. Numbers that are not known are NaN.
        """
        s = self._selection()
        features, targets = self.column_names()
        return {
            "penalty": s.options.penalty,
            "choice": s.options.choice,
            "standardize": s.options.standardize,
            "rows": s.rows,
            "folds": len(s.fold_rows),
            "fold_rows": s.fold_rows,
            "fold_weights": s.fold_weights.tolist(),
            "targets": [
                {"target": name, **_choices(s, t), "paths": _paths(s, t, features)}
                for t, name in enumerate(targets)
            ],
        }

    def _selection(self) -> Any:
        # Type checkers do not know that a subclass adds the fields of the selection.
        return self

    def _title(self) -> str:
        features, targets = self.column_names()
        return fit_title(_TITLES[self._selection().options.penalty], targets, features)

    def _report(self) -> Report:
        return self.report(self._title())

    def _frame_columns(self) -> dict[str, list[Any]]:
        return self.table(*self.column_names())


def selection_statistics(selection: Any) -> dict[str, Any]:
    """Return the measures of a choice by name, as `Selection.statistics` lists them."""
    index, path = selection.index, selection.path
    coefficients, residual = take(path.coefficients, index), take(path.residual, index)
    cv_error = take(selection.mean_error, index)
    # A target of one value has no r2, in float64 neither.
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
        "r2": 1 - residual / variance,
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
    estimate = _with_intercept(
        selection, take(selection.path.coefficients, selection.index), intercept
    )
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
        always = torch.full_like(intercept, math.nan)
        numbers["in_folds"] = _with_intercept(selection, selection.fold_share, always)
        numbers["enters_at"] = _with_intercept(selection, selection.entry_alpha, always)
    return numbers


def _with_intercept(selection: Any, features: Tensor, intercept: Tensor) -> Tensor:
    return torch.cat((intercept[None], features)) if selection.intercept_fitted else features


def _choices(selection: Any, target: int) -> dict[str, Any]:
    """Return alpha and l1_ratio of the choice, of the least error and of one standard error."""
    indices = {"": selection.index, "_min": selection.index_min, "_1se": selection.index_1se}
    result: dict[str, Any] = {}
    for end, index in indices.items():
        r, a = index[target].tolist()
        result[f"alpha{end}"] = float(selection.alphas[r, a, target])
        result[f"l1_ratio{end}"] = float(selection.l1_ratios[r])
    if selection.nested_error is not None:
        result["nested_error"] = float(selection.nested_error[target])
        result["nested_standard_error"] = float(selection.nested_standard_error[target])
    return result


def _paths(selection: Any, target: int, features: Sequence[str]) -> list[dict[str, Any]]:
    path, criteria, results = selection.path, selection.criteria, []
    for r, l1_ratio in enumerate(selection.l1_ratios.tolist()):
        coefficients = path.coefficients[r, :, :, target]
        columns = {
            "alphas": selection.alphas,
            "mean_error": selection.mean_error,
            "standard_error": selection.standard_error,
            "fold_errors": selection.fold_errors,
            "df": path.degrees_of_freedom,
            "residual": path.residual,
            **criteria._asdict(),
            "intercept": path.intercept,
        }
        results.append(
            {
                "l1_ratio": l1_ratio,
                **{name: values[r, :, target].tolist() for name, values in columns.items()},
                "nonzero": (coefficients != 0).sum(1).tolist(),
                "coefficients": dict(zip(features, coefficients.T.tolist(), strict=True)),
            }
        )
    return results
