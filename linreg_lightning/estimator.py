"""`LinearRegressor`: exact least squares as an estimator for scikit-learn."""

from __future__ import annotations

import warnings
from copy import copy
from dataclasses import replace
from typing import Any, Self

import numpy as np
from torch import Tensor

from linreg_lightning.algebra import ExactGram, Fit, Float64Gram, Gram
from linreg_lightning.algebra.cost import cost_note
from linreg_lightning.algebra.fit import drop_target_dimension
from linreg_lightning.algebra.least_squares import Accuracy, check_arguments
from linreg_lightning.batch import Batch, column_bits
from linreg_lightning.errors import InputError
from linreg_lightning.estimator_base import LinearEstimator

# The kinds of sums to try in turn, until one gives enough digits.
_GRAM_KINDS: dict[str, list[type[Gram]]] = {
    "exact": [ExactGram],
    "float64": [Float64Gram],
    "auto": [Float64Gram, ExactGram],
}


class LinearRegressor(LinearEstimator):
    """Least squares as an estimator for scikit-learn: minimise sum(w (y - b_0 - x b)^2).

    With a ridge penalty, ridge |b|^2 is added, as in scikit-learn's `Ridge(alpha=ridge)`. The
    arithmetic is that of `least_squares`, and everything is in float64 or better. X and y are
    arrays, data frames or tensors of numbers without missing values. A frame is refused in
    `predict` if its columns have other names, or another order, than those of `fit`. Rows are
    paired by their places, as everywhere in scikit-learn, whose tools give rows new labels or none;
    pandas objects whose labels are the same in another order are refused.

    Where a column is a linear combination of earlier ones, to the precision in which the rows were
    given, scikit-learn divides its effect among all of them (the solution of minimum norm). Here,
    as in R, the column is left out: its coefficient is 0, and a warning names it. Predictions are
    the same for rows in which the combination holds. A `OneHotEncoder` without `drop` makes such a
    column: the indicators of all levels of a variable add up to the intercept's column of ones.
    Sparse X is refused; `ColumnTransformer(..., sparse_threshold=0)` makes dense X.

    `score` is scikit-learn's r2, around the mean of y, and may be negative without an intercept;
    `fit_.statistics["r2"]` is uncentered in a model without a constant, as in `Fit`.

    Args:
        fit_intercept: whether to fit the constant b_0.
        ridge: the penalty, 0 or above, in the units of the columns; the intercept has none. Above 0
            there are no standard errors.
        accuracy: `exact` adds without rounding, so that the order of the rows changes no bit;
            `float64` is several times as fast and loses digits to ill-conditioned columns; `auto`
            takes `float64`, and then `exact` if `float64` guarantees fewer than eight digits of the
            coefficients or standard errors. (In `least_squares`, `auto` begins with `exact` for up
            to a million numbers.)
        confidence: how often the intervals in `fit_` cover the true coefficient, between 0.000001
            and 1.

    Attributes:
        coef_: b, (features,), or (targets, features) if y was (rows, targets).
        intercept_: b_0, a number, or (targets,); 0 without an intercept.
        fit_: the `Fit`, with standard errors, tests, intervals and statistics.
        rank_: how many columns were fitted; the intercept is not counted.
        n_features_in_: the number of columns of X.
        feature_names_in_: their names, if X was a frame whose columns all have text for a name.

    >>> model = LinearRegressor().fit([[0.0], [1.0], [2.0], [3.0]], [1.0, 3.0, 2.0, 4.0])
    >>> model.coef_, model.intercept_, model.fit_.standard_error
    (array([0.8]), np.float64(1.3), tensor([0.7937, 0.4243], dtype=torch.float64))
    >>> model.partial_fit([[4.0]], [5.0]).coef_
    array([0.9])
    """

    fit_: Fit
    _gram: Gram

    def __init__(
        self,
        *,
        fit_intercept: bool = True,
        ridge: float = 0.0,
        accuracy: Accuracy = "auto",
        confidence: float = 0.95,
    ) -> None:
        self.fit_intercept = fit_intercept
        self.ridge = ridge
        self.accuracy = accuracy
        self.confidence = confidence

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # noqa: N803
        """Fit the rows, and forget the rows of earlier calls.

        Args:
            X: (rows, features).
            y: (rows,), or (rows, targets); each target is fitted by itself.
            sample_weight: (rows,), at least 0, or one number for all rows; None counts every row
                once. A row of weight 2 moves the coefficients as two rows do, but counts once in
                the degrees of freedom of `fit_`.

        Raises:
            ValueError: shapes do not fit; a value is missing, infinite or no number; a whole number
                is too large for float64; a weight is negative, or all are 0; an argument of the
                estimator is outside its range.
            TypeError: X is sparse.
        """
        self._check_arguments()
        batch, one_target = self._batch(X, y, sample_weight, reset=True)
        bits = column_bits(X)
        for kind in _GRAM_KINDS[self.accuracy]:
            if note := cost_note(kind.accuracy, batch.x.shape[1], batch.rows):
                warnings.warn(note, stacklevel=2)
            gram = kind(batch.x.shape[1], batch.y.shape[1])
            self._add(gram, batch, bits)
            fit = self._solve(gram)
            if fit.precise:
                break
        return self._store(gram, fit, one_target)

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # noqa: N803
        """Add rows to those of earlier calls, and fit all of them.

        Arguments and errors are those of `fit`. With `exact`, rows that come in parts give the same
        bits as rows that come at once. `auto` means `exact` here, unless an earlier `fit` has added
        its rows in `float64`: then the sums go on in `float64`.
        """
        self._check_arguments()
        is_first = not hasattr(self, "_gram")
        batch, one_target = self._batch(X, y, sample_weight, reset=is_first)
        if is_first:
            gram = _GRAM_KINDS[self.accuracy][-1](batch.x.shape[1], batch.y.shape[1])
        else:
            gram = copy(self._gram)  # updates replace its tensors, and do not write to them
        if self.accuracy == "float64":
            gram = Float64Gram.from_gram(gram)
        elif self.accuracy == "exact" and gram.accuracy != "exact":
            raise InputError(
                "accuracy: exact was given, but earlier rows were added in float64; leave it out, "
                "or fit all rows again"
            )
        self._add(gram, batch, column_bits(X))
        one_target = one_target if is_first else self.coef_.ndim == 1
        return self._store(gram, self._solve(gram), one_target)

    def _predict(self, x: Tensor) -> Tensor:
        return self.fit_.predict(x)

    def _check_arguments(self) -> None:
        self._check_bool("fit_intercept")
        check_arguments(self.accuracy, self.ridge, self.confidence)

    def _add(self, gram: Gram, batch: Batch, bits: list[int] | None) -> None:
        with self._missing_values_refused(batch):
            gram.update(batch, bits=bits)

    def _solve(self, gram: Gram) -> Fit:
        return Fit.from_gram(
            gram,
            intercept=bool(self.fit_intercept),
            ridge=self.ridge,
            confidence=self.confidence,
        )

    def _store(self, gram: Gram, fit: Fit, one_target: bool) -> Self:
        names = getattr(self, "feature_names_in_", None)
        fit = replace(fit, feature_names=None if names is None else list(names))
        for note in fit.notes():
            if note.is_warning:
                warnings.warn(note.message, stacklevel=3)
        fit = drop_target_dimension(fit) if one_target else fit
        self._gram, self.fit_ = gram, fit
        self.rank_ = fit.rank - bool(self.fit_intercept)
        self.coef_ = np.ascontiguousarray(fit.coefficients.nan_to_num(0.0).numpy().T)
        self.intercept_ = fit.intercept.numpy().copy()[()]
        return self
