"""A `Selection` as dictionaries, lists and numbers, for a JSON file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

_MAX_NUMBERS = 1_000_000  # of coefficients of whole paths; a file has about 20 bytes for each


def selection_json(
    selection: Any, features: Sequence[str], targets: Sequence[str]
) -> dict[str, Any]:
    """Return the content of path.json, as `Selection.to_json` describes it.

    `features` and `targets` are the names of the columns of x, without an intercept, and of y.
    """
    whole = selection.path.coefficients.numel() <= _MAX_NUMBERS
    note = "the paths would have more than a million coefficients; only the choices have theirs"
    return {
        "penalty": selection.options.penalty,
        "choice": selection.options.choice,
        "standardize": selection.options.standardize,
        "rows": selection.rows,
        "folds": list(selection.fold_rows),
        **({} if whole else {"note": note}),
        "targets": [
            {
                "target": target,
                "chosen": _fit(selection, selection.index[t], t, features),
                "min": _fit(selection, selection.index_min[t], t, features),
                "one_standard_error": _fit(selection, selection.index_1se[t], t, features),
                **_nested(selection, t),
                "paths": [
                    _path(selection, r, t, features if whole else None)
                    for r in range(len(selection.l1_ratios))
                ],
            }
            for t, target in enumerate(targets)
        ],
    }


def _fit(selection: Any, index: Tensor, target: int, features: Sequence[str]) -> dict[str, Any]:
    """Return one fit of the paths; its index is (l1_ratio, alpha)."""
    ratio, number = index.tolist()
    coefficients = selection.path.coefficients[ratio, number, :, target]
    numbers = {
        "alpha": selection.alphas,
        "mean_error": selection.mean_error,
        "standard_error": selection.standard_error,
        "intercept": selection.path.intercept,
    }
    return {
        "l1_ratio": float(selection.l1_ratios[ratio]),
        "number": number,
        **{name: float(values[ratio, number, target]) for name, values in numbers.items()},
        "nonzero": int((coefficients != 0).sum()),
        "coefficients": dict(zip(features, coefficients.tolist(), strict=True)),
    }


def _nested(selection: Any, target: int) -> dict[str, float]:
    """Return the errors of a nested selection, if there is one."""
    values = {name: getattr(selection, name) for name in ("nested_error", "nested_standard_error")}
    return {name: float(each[target]) for name, each in values.items() if each is not None}


def _path(
    selection: Any, ratio: int, target: int, features: Sequence[str] | None
) -> dict[str, Any]:
    """Return the path of one l1_ratio, without coefficients where `features` is None."""
    path, criteria = selection.path, selection.criteria
    coefficients = path.coefficients[ratio, :, :, target]
    lists = {
        "alphas": selection.alphas,
        "mean_error": selection.mean_error,
        "standard_error": selection.standard_error,
        "degrees_of_freedom": path.degrees_of_freedom,
        **criteria._asdict(),
        "intercept": path.intercept,
    }
    content = {
        "l1_ratio": float(selection.l1_ratios[ratio]),
        **{name: values[ratio, :, target].tolist() for name, values in lists.items()},
        "nonzero": (coefficients != 0).sum(dim=1).tolist(),
        "fold_errors": selection.fold_errors[ratio, :, target].T.tolist(),
    }
    if features is not None:
        content["coefficients"] = dict(zip(features, coefficients.T.tolist(), strict=True))
    return content
