"""What a selection compares: the penalty, its mixtures and sizes, and the rule that chooses."""

from __future__ import annotations

import sys
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
_DEFAULT_L1_RATIO = 0.5  # of the elastic net, as in scikit-learn
_MAX_ALPHAS = 10_000  # of a path whose length is given


@dataclass(frozen=True)
class SelectionOptions:
    """What is compared, and the rule that chooses, for `select_penalty`.

    With s_j the standard deviation of column j, or 1 without `standardize`, the coefficients are
    the minimum of

        1/(2 sum w) sum w (y - b_0 - x b)^2
            + alpha sum_j (l1_ratio |s_j b_j| + (1 - l1_ratio) / 2 (s_j b_j)^2)

    (`penalty_scale` says which arguments of other software are the same). The error of an alpha is
    the mean over the folds of the weighted mean squared error of a fold's rows, predicted by the
    fit to the other folds. Each fold counts once, as in scikit-learn; glmnet weights them by rows.

    Args:
        penalty: `ridge` (l1_ratio 0), `lasso` (1) or `elasticnet`.
        l1_ratio: of the elastic net, above 0 and up to 1, one or several; 0.5 by default.
        alphas: numbers above 0 that decrease, or how many, at least 2: then from the smallest
            alpha that makes all coefficients 0 down to 1e-4 of it, to 1e-2 if there are no more
            rows than columns, for each target and l1_ratio. Ridge starts from that of l1_ratio
            0.001, for targets of variance 1, and goes down to 1e-7 or 1e-5 of it.
        choice: `min` takes the least error; `one_standard_error` the largest alpha whose error is
            within one standard error of it; `aic`, `bic`, `cp` (Mallows) and `gcv` the least value
            of this criterion of all rows. Of several l1_ratios, the one with the least error or
            criterion is taken.
        standardize: whether a penalty is on s_j b_j, not b_j.
        unpenalized: the places of columns of x that have no penalty.
        nested: whether to estimate the error of the choice too, by a selection among the other
            folds for each fold. With K folds, this takes about K times as long.
        refit: whether to fit the columns that are chosen by least squares, without a penalty.

    Raises:
        InputError: an argument is outside its range.

    >>> SelectionOptions(alphas=[0.1, 1.0])
    Traceback (most recent call last):
    ...
    linreg_lightning.errors.InputError: alphas: [0.1, 1.0] was given; type numbers above 0 in \
decreasing order, such as [1.0, 0.1], or how many, at least 2
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
        for name in ("standardize", "nested", "refit"):
            given = getattr(self, name)
            check_argument(name, given, given in (True, False), "true or false")
        for name in ("l1_ratio", "alphas"):
            object.__setattr__(self, name, _plain(getattr(self, name)))
        self._check_l1_ratio()
        check_argument(
            "alphas", self.alphas, _are_alphas(self.alphas),
            "numbers above 0 in decreasing order, such as [1.0, 0.1], or how many, at least 2",
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
        given: Any = _DEFAULT_L1_RATIO if self.l1_ratio is None else self.l1_ratio
        return list(given) if isinstance(given, Sequence) else [given]


def check_columns(options: SelectionOptions, features: int) -> None:
    """Refuse, with an InputError, `unpenalized` columns that x lacks, or that are all of x."""
    check_argument("x", "no column", features > 0, "at least one column")
    given = [j for j in options.unpenalized if not 0 <= j < features]
    expected = f"columns of x from 0 to {features - 1}"
    check_argument("unpenalized", given, not given, expected)
    if len(set(options.unpenalized)) == features:
        raise InputError(
            "unpenalized: all columns of x were given; leave at least one of them out, or fit by "
            "least squares"
        )


def column_list(columns: Any) -> list[int | str]:
    """Return columns as a list, where one may stand for itself and None for none.

    Raises:
        InputError: anything but names and places.
    """
    columns = columns.tolist() if hasattr(columns, "tolist") else columns
    is_one = not isinstance(columns, Iterable) or isinstance(columns, str)
    result = [] if columns is None else [columns] if is_one else list(columns)
    for column in result:
        valid = isinstance(column, str | Integral) and not isinstance(column, bool)
        check_argument("unpenalized", column, valid, "names of columns, or their places from 0")
    return [column if isinstance(column, str) else int(column) for column in result]


def column_places(columns: Any, names: list[str] | None) -> tuple[int, ...]:
    """Return the places of columns that are given by place or by name.

    Raises:
        InputError: x has no names, or lacks one; anything but names and places.

    >>> column_places(["age", 0], names=["sqft", "age"])
    (1, 0)
    """
    places = []
    for column in column_list(columns):
        if isinstance(column, str) and column not in (names or []):
            remedy = name_hint(column, names) if names else "give places, since x has no names"
            raise InputError(f"unpenalized: {column!r} is no column of x; {remedy}")
        places.append(names.index(column) if names and isinstance(column, str) else int(column))
    return tuple(places)


def _are_alphas(alphas: Any) -> bool:
    if isinstance(alphas, Integral):
        return not isinstance(alphas, bool) and 2 <= int(alphas) <= _MAX_ALPHAS
    if not isinstance(alphas, Sequence) or not all(map(_is_real, alphas)):
        return False
    decreasing = all(a > b for a, b in pairwise(alphas))
    return bool(alphas) and decreasing and alphas[-1] > 0 and alphas[0] <= sys.float_info.max


def _plain(numbers: Any) -> Any:
    """Return a number, or numbers of any kind as a list, as plain ones; others as they are."""
    numbers = numbers.tolist() if getattr(numbers, "ndim", 0) else numbers
    if isinstance(numbers, Sequence) and not isinstance(numbers, str):
        return [_plain(number) for number in numbers]
    if isinstance(numbers, Integral):
        return numbers if isinstance(numbers, bool) else int(numbers)
    return float(numbers) if _is_real(numbers) else numbers


def _is_real(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
