"""What a selection compares: the penalty, its mixtures and sizes, and the rule that chooses."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from numbers import Integral, Real
from typing import Any, Literal, get_args

from linreg_lightning.errors import InputError
from linreg_lightning.matching import name_hint
from linreg_lightning.validation import check_argument

PenaltyKind = Literal["ridge", "lasso", "elasticnet"]
Choice = Literal["min", "one_standard_error", "aic", "bic", "cp", "gcv"]
DEFAULT_L1_RATIO = 0.5  # of the elastic net, as in scikit-learn


@dataclass(frozen=True)
class SelectionOptions:
    """What is compared, and the rule that chooses, for `select_penalty`.

    With s_j the standard deviation of column j, or 1 without `standardize`, the coefficients are
    the minimum of

        1/(2 sum w) sum w (y - b_0 - x b)^2
            + alpha sum_j (l1_ratio |s_j b_j| + (1 - l1_ratio) / 2 (s_j b_j)^2)

    (`penalty_scale` says which arguments of other software are the same). The error of an alpha is
    the mean over the folds of the mean squared error of their rows, by weight, in a fit without
    them. Each fold counts once, as in scikit-learn; glmnet counts a fold by its rows.

    Args:
        penalty: `ridge` (l1_ratio 0), `lasso` (1) or `elasticnet`.
        l1_ratio: of the elastic net, above 0 and up to 1, one or several; 0.5 by default.
        alphas: numbers above 0 that decrease, or how many: then from the smallest alpha that makes
            all coefficients 0 down to 1e-4 of it, to 1e-2 if there are no more rows than columns,
            for each target and l1_ratio. Ridge starts from that of l1_ratio 0.001, for targets of
            variance 1, and goes down to 1e-7 or 1e-5 of it.
        choice: `min` takes the least error; `one_standard_error` the largest alpha whose error is
            within one standard error of it; `aic`, `bic`, `cp` (Mallows) and `gcv` the least value
            of this criterion of all rows. Of several l1_ratios it is that of the least value.
        standardize: whether a penalty is on s_j b_j, not b_j.
        unpenalized: the places of columns of x that have no penalty.
        nested: whether to estimate the error of the choice too: for each fold, a selection among
            the others. This takes as many times as long as there are folds.
        refit: whether to fit the columns that are chosen by least squares, without a penalty.

    Raises:
        InputError: an argument is outside its range.

    >>> SelectionOptions(alphas=[0.1, 1.0])
    Traceback (most recent call last):
    ...
    linreg_lightning.errors.InputError: alphas: [0.1, 1.0] was given; type numbers above 0 in \
decreasing order, or how many
    """

    penalty: PenaltyKind = "lasso"
    l1_ratio: float | Sequence[float] | None = None
    alphas: int | Sequence[float] = 100
    choice: Choice = "min"
    standardize: bool = True
    unpenalized: Sequence[int] = ()  # columns of x
    nested: bool = False
    refit: bool = False

    def __post_init__(self) -> None:
        for name, kind in (("penalty", PenaltyKind), ("choice", Choice)):
            *first, last = get_args(kind)
            given = getattr(self, name)
            check_argument(name, given, given in (*first, last), f"{', '.join(first)} or {last}")
        self._check_l1_ratio()
        check_argument(
            "alphas", self.alphas, _are_alphas(self.alphas),
            "numbers above 0 in decreasing order, or how many",
        )  # fmt: skip
        if self.refit and self.penalty == "ridge":
            raise InputError(
                "refit: True was given with penalty ridge, which leaves no column out; type "
                "penalty lasso or elasticnet, or leave refit out"
            )

    def _check_l1_ratio(self) -> None:
        if self.l1_ratio is None:
            return
        if self.penalty != "elasticnet":
            raise InputError(
                f"l1_ratio: {self.l1_ratio} was given with penalty {self.penalty}; type penalty "
                "elasticnet, or leave l1_ratio out"
            )
        ratios = self.l1_ratios
        valid = bool(ratios) and all(_is_real(r) and 0 < r <= 1 for r in ratios)
        expected = "numbers above 0 and up to 1 (0 is penalty ridge, 1 is lasso)"
        check_argument("l1_ratio", self.l1_ratio, valid, expected)

    @property
    def l1_ratios(self) -> list[float]:
        """The shares of the penalty that are on magnitudes: 0 of ridge, 1 of the lasso."""
        if self.penalty != "elasticnet":
            return [0.0 if self.penalty == "ridge" else 1.0]
        given: Any = DEFAULT_L1_RATIO if self.l1_ratio is None else self.l1_ratio
        return list(given) if isinstance(given, Iterable) else [given]


def check_columns(options: SelectionOptions, features: int) -> None:
    """Refuse, with an InputError, columns without a penalty that x lacks, or that are all."""
    check_argument("x", "no column", features > 0, "at least one column")
    given = [j for j in options.unpenalized if not 0 <= j < features]
    expected = f"columns of x from 0 to {features - 1}"
    check_argument("unpenalized", given, not given, expected)
    if len(set(options.unpenalized)) == features:
        raise InputError(
            "unpenalized: all columns of x were given; leave at least one of them out, or fit by "
            "least squares"
        )


def column_places(columns: Sequence[int | str], names: list[str] | None) -> tuple[int, ...]:
    """Return the places of columns that are given by place or by name.

    Raises:
        InputError: x has no names, or lacks one.

    >>> column_places(["age", 0], names=["sqft", "age"])
    (1, 0)
    """
    places = []
    for column in [columns] if isinstance(columns, str | Integral) else columns:
        if isinstance(column, str) and column not in (names or []):
            has_names = name_hint(column, names) if names else "give places, since x has no names"
            raise InputError(f"unpenalized: {column!r} is no column of x; {has_names}")
        places.append(names.index(column) if names and isinstance(column, str) else int(column))
    return tuple(places)


def _are_alphas(alphas: Any) -> bool:
    if isinstance(alphas, Integral):
        return not isinstance(alphas, bool) and int(alphas) >= 1
    try:
        values = [float(alpha) for alpha in alphas]
    except (TypeError, ValueError):
        return False
    decreasing = all(a > b for a, b in pairwise(values))
    return bool(values) and decreasing and values[-1] > 0 and values[0] < math.inf


def _is_real(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
