"""What a model says it has found; nothing where it uses these names for something else."""

from __future__ import annotations

import inspect
from typing import Any

_KEYS = {"target", "name", "estimate"}


def coefficients_of(model: Any) -> list[dict[str, Any]]:
    """The rows of its table of coefficients; none without one, or before a fit.

    A weight called `coefficients` is no table, nor is a method that wants arguments.

    >>> class Model:
    ...     def coefficients(self):
    ...         return [{"target": "y", "name": "x1", "estimate": 2.0}]
    >>> coefficients_of(Model()), coefficients_of(object())
    ([{'target': 'y', 'name': 'x1', 'estimate': 2.0}], [])
    """
    method = getattr(model, "coefficients", None)
    if not inspect.ismethod(method) or inspect.signature(method).parameters:
        return []
    rows = method() if getattr(model, "fitted", True) is True else []
    if not isinstance(rows, list):
        return []
    return rows if all(isinstance(row, dict) and row.keys() >= _KEYS for row in rows) else []


def statistics_of(model: Any) -> dict[str, Any]:
    """Name to value of its measures of fit; none where it has none."""
    statistics = getattr(model, "fit_statistics", None)
    return statistics if isinstance(statistics, dict) else {}
