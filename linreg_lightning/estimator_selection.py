"""`RegularizedRegressor`: ridge, the lasso and the elastic net as an estimator for scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from linreg_lightning.algebra.folds import MAX_FOLDS, folds_of_groups, folds_of_rows
from linreg_lightning.algebra.least_squares import Accuracy, check_arguments
from linreg_lightning.algebra.select_penalty import SelectionRows, select_rows, warn_of
from linreg_lightning.algebra.selection_options import (
    Choice,
    PenaltyKind,
    SelectionOptions,
    column_places,
)
from linreg_lightning.algebra.selection_result import Selection
from linreg_lightning.batch import Batch, column_bits
from linreg_lightning.errors import InputError
from linreg_lightning.estimator_base import LinearEstimator, check_cv
from linreg_lightning.validation import check_argument, group_values


class RegularizedRegressor(LinearEstimator):
    """Ridge, the lasso or the elastic net, with a penalty chosen by cross-validation in one pass.

    With s_j the standard deviation of column j, or 1 without `standardize`, it minimises

        1/(2 sum w) sum w (y - b_0 - x b)^2
            + alpha sum_j (l1_ratio |s_j b_j| + (1 - l1_ratio) / 2 (s_j b_j)^2)

    as `LassoCV` and `ElasticNetCV` of scikit-learn do after a `StandardScaler`, or without one for
    `standardize=False`; `Ridge` takes sum(w) alpha as its `alpha`. The sums of each fold give the
    fits of all others, so that ten folds and a hundred alphas take hardly longer than one fit. X
    and y are as in `LinearRegressor`. `GridSearchCV` is not needed; `cross_val_score` gives the
    error of the whole procedure, the choice included.

    Args:
        penalty: `ridge` (l1_ratio 0), `lasso` (1) or `elasticnet`.
        l1_ratio: of the elastic net, above 0 and up to 1, one or several; None is 0.5.
        alphas: numbers above 0 that decrease, or how many: then from the smallest that makes all
            coefficients 0 down to 1e-4 of it, to 1e-2 if there are no more rows than columns;
            ridge starts from that of l1_ratio 0.001 and goes down to 1e-7 or 1e-5 of it.
        cv: the number of folds, from 2 to 255, to which rows go by a hash of their place, or of
            their group if `fit` has `groups`; a splitter of scikit-learn, such as `KFold`, or what
            its `split` returns, if each row is in one test set and all others are its training
            set; the fold of each row as a whole number, (rows,).
        choice: `min`, the least mean error; `one_standard_error`, the largest alpha within one
            standard error of it; `aic`, `bic`, `cp` or `gcv`, the least criterion of all rows.
        standardize: whether the penalty is on s_j b_j, not b_j.
        unpenalized: columns without a penalty, by their places or their names.
        fit_intercept: whether to fit the constant b_0, which has no penalty.
        accuracy: `exact` adds without rounding, so that the order of rows within the folds changes
            no bit; `float64` is several times as fast; `auto` takes `float64` for more than a
            million numbers, then `exact` if too few digits are safe.
        fold_seed: each seed distributes rows and groups over the folds in its own way.

    Attributes:
        alpha_: the penalty chosen, a number, or (targets,) if y was (rows, targets).
        l1_ratio_: the share of the penalty on magnitudes, likewise.
        coef_: b, (features,), or (targets, features).
        intercept_: b_0, a number, or (targets,); 0 without an intercept.
        alphas_: those compared, (alphas,), or (l1_ratios, alphas) if several l1_ratios were given.
            If y was (rows, targets), this and `mse_path_` have a first dimension of targets.
        mse_path_: the mean squared error of each fold, (alphas, folds), or
            (l1_ratios, alphas, folds).
        coef_path_: b for each alpha and the l1_ratio chosen, (features, alphas), or
            (targets, features, alphas).
        selection_: the `Selection`, with criteria, degrees of freedom, stability and statistics.
        n_features_in_: the number of columns of X.
        feature_names_in_: their names, if X was a frame whose columns all have text for a name.

    >>> x = [[float(k), float(k * k % 7)] for k in range(20)]
    >>> model = RegularizedRegressor(alphas=[1.0, 0.1]).fit(x, [2.0 * row[0] + 1.0 for row in x])
    >>> model.alpha_, model.coef_, model.mse_path_.shape
    (np.float64(0.1), array([1.9826578, 0.       ]), (2, 10))
    """

    selection_: Selection

    def __init__(
        self,
        penalty: PenaltyKind = "lasso",
        *,
        l1_ratio: float | Sequence[float] | None = None,
        alphas: int | Sequence[float] = 100,
        cv: Any = 10,
        choice: Choice = "min",
        standardize: bool = True,
        unpenalized: Sequence[int | str] = (),
        fit_intercept: bool = True,
        accuracy: Accuracy = "auto",
        fold_seed: int = 0,
    ) -> None:
        self.penalty = penalty
        self.l1_ratio = l1_ratio
        self.alphas = alphas
        self.cv = cv
        self.choice = choice
        self.standardize = standardize
        self.unpenalized = unpenalized
        self.fit_intercept = fit_intercept
        self.accuracy = accuracy
        self.fold_seed = fold_seed

    def fit(
        self,
        X: Any,  # noqa: N803
        y: Any,
        sample_weight: Any = None,
        groups: Any = None,
    ) -> Self:
        """Choose the penalty by the errors of held-out folds, and fit all rows with it.

        Args:
            X: (rows, features).
            y: (rows,), or (rows, targets); each target is fitted by itself, with its own penalty.
            sample_weight: (rows,), at least 0, or one number for all rows; None counts every row
                once, in the fits and in the errors of the folds.
            groups: (rows,), numbers or text; all rows of a group are in one fold. A splitter as
                `cv` receives them too.

        Raises:
            ValueError: as in `LinearRegressor.fit`; a fold has no row with a weight above 0; the
                test sets of `cv` are no partition of the rows.
            TypeError: X is sparse.
        """
        for name in ("fit_intercept", "standardize"):
            self._check_bool(name)
        check_arguments(self.accuracy, 0.0, 0.95)
        batch, one_target = self._batch(X, y, sample_weight, reset=True)
        names = getattr(self, "feature_names_in_", None)
        names = None if names is None else list(names)
        options = SelectionOptions(
            penalty=self.penalty,
            l1_ratio=self.l1_ratio,
            alphas=self.alphas,
            choice=self.choice,
            standardize=bool(self.standardize),
            unpenalized=column_places(self.unpenalized, names),
        )
        fold = self._folds(X, y, groups, batch)
        rows = SelectionRows(batch, column_bits(X), names, None, one_target)
        with self._missing_values_refused(batch):
            selection = select_rows(rows, fold, options, bool(self.fit_intercept), self.accuracy)
        warn_of(selection)
        return self._store(selection, one_target)

    def _folds(self, x: Any, y: Any, groups: Any, batch: Batch) -> tuple[int, Tensor]:
        """Return the number of folds, and the fold of each row."""
        folds: Any = self.cv
        rows = batch.rows
        is_number = isinstance(folds, Integral) and not isinstance(folds, bool)
        valid = 2 <= folds <= MAX_FOLDS if is_number else not isinstance(folds, bool | str | None)
        expected = f"a number of folds from 2 to {MAX_FOLDS}, or a splitter"
        check_argument("cv", folds, valid, expected)
        if not is_number:
            fold = fold_numbers(folds, x, y, groups, rows)
            count = int(fold.max()) + 1
            check_argument("cv", f"{count} fold(s)", 2 <= count <= MAX_FOLDS, expected)
            return count, fold
        folds = int(folds)
        if groups is None:
            if folds > rows:
                text = f"cv: {folds} was given for n_samples = {rows}"
                raise InputError(f"{text}; type at most the number of rows")
            return folds, folds_of_rows(0, rows, folds, self.fold_seed)
        values, labels = group_values("groups", groups, rows, x, y)
        options = self.fold_seed, labels, batch.weight, "cv"
        return folds, folds_of_groups(values, folds, *options)

    def _predict(self, x: Tensor) -> Tensor:
        return self.selection_.predict(x)

    def _store(self, selection: Selection, one_target: bool) -> Self:
        self.selection_ = selection
        self.alpha_ = selection.alpha.numpy().copy()[()]
        self.l1_ratio_ = selection.l1_ratio.numpy().copy()[()]
        self.coef_ = np.ascontiguousarray(selection.coefficients.numpy().T)
        self.intercept_ = selection.intercept.numpy().copy()[()]
        chosen = enumerate(selection.index[:, 0].tolist())
        coefficients = [selection.path.coefficients[ratio, :, :, t].T for t, ratio in chosen]
        alphas, errors = selection.alphas.movedim(-1, 0), selection.fold_errors.movedim(2, 0)
        if len(selection.l1_ratios) == 1:
            alphas, errors = alphas[:, 0], errors[:, 0]
        paths = [values.numpy().copy() for values in (alphas, errors, torch.stack(coefficients))]
        self.alphas_, self.mse_path_, self.coef_path_ = [v[0] if one_target else v for v in paths]
        return self


def fold_numbers(cv: Any, x: Any, y: Any, groups: Any, rows: int) -> Tensor:
    """Return the fold of each row, (rows,), from a splitter, its splits, or numbers.

    Raises:
        InputError: a row is in no test set, or in several; a training set is not the rows outside
            the test set; not one number for each row.
    """
    numbers = _as_numbers(cv)
    if numbers is not None:
        if groups is not None:
            raise InputError(
                "groups: they were given beside cv with the fold of each row; leave one out"
            )
        if numbers.shape != (rows,):
            raise InputError(f"cv: a shape of {numbers.shape} was given; ({rows},) is needed")
        return torch.from_numpy(np.unique(numbers, return_inverse=True)[1])
    fold, every = np.full(rows, -1), np.arange(rows)
    for number, (training, test) in enumerate(check_cv(cv).split(x, y, groups)):
        held_out = np.zeros(rows, dtype=bool)
        held_out[test] = True
        is_rest = np.array_equal(np.unique(every[training]), np.flatnonzero(~held_out))
        if not is_rest or (fold[held_out] >= 0).any():
            raise _no_partition(cv)
        fold[held_out] = number
    if (fold < 0).any():
        raise _no_partition(cv)
    return torch.from_numpy(fold)


def _as_numbers(cv: Any) -> Any:
    """Return the fold of each row as an array; None for anything but whole numbers."""
    try:
        array = np.asarray(cv)
    except ValueError:  # splits, of different lengths
        return None
    return array if array.ndim == 1 and array.dtype.kind in "iu" else None


def _no_partition(cv: Any) -> InputError:
    text = str(cv) if hasattr(cv, "split") else "a list of splits"
    return InputError(
        f"cv: {text} was given; type a number of folds, KFold, GroupKFold, or another splitter "
        "that puts each row into one test set, and all others into its training set"
    )
