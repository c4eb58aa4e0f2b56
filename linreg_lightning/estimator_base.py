"""What the estimators for scikit-learn share: the checks of rows, predictions, and the score."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Number
from typing import Any

import numpy as np
import pyarrow as pa
from torch import Tensor

from linreg_lightning.batch import Batch
from linreg_lightning.errors import InputError
from linreg_lightning.frames import is_frame, to_arrow
from linreg_lightning.matching import refuse_reordered
from linreg_lightning.validation import check_argument, to_tensor

try:
    from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
    from sklearn.model_selection import check_cv as check_cv
    from sklearn.utils import assert_all_finite, check_array
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError:
    raise ImportError(
        "LinearRegressor and RegularizedRegressor need scikit-learn; type pip install "
        "'linreg_lightning[sklearn]'"
    ) from None


class LinearEstimator(MultiOutputMixin, RegressorMixin, BaseEstimator, ABC):  # type: ignore[misc]
    """A base class of estimators whose fits predict from tensors."""

    def predict(self, X: Any) -> Any:  # noqa: N803
        """Return b_0 + x b for X, (rows, features): a float64 array in the shape of y.

        Raises:
            NotFittedError: before a fit.
            ValueError: X has another number of columns, or other names, than in `fit`; a value is
                missing, infinite or no number.
        """
        check_is_fitted(self)
        x = validate_data(self, X, reset=False)
        refuse_rounded("X", X)
        return self._predict(to_tensor("X", x)).numpy()

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:  # noqa: N803
        """Return R2 of the predictions for X: 1 - sum(w (y - prediction)^2) / sum(w (y - mean)^2).

        Raises:
            NotFittedError: before a fit.
            ValueError: as in `fit` and `predict`.
        """
        refuse_reordered_rows(X, y, sample_weight)
        return float(super().score(X, y, sample_weight))

    @abstractmethod
    def _predict(self, x: Tensor) -> Tensor:
        """Return predictions for x, (rows, features), in the shape of y."""

    def _check_bool(self, name: str) -> None:
        value = getattr(self, name)
        check_argument(name, repr(value), isinstance(value, bool | np.bool_), "True or False")

    def _batch(self, x: Any, y: Any, weight: Any, reset: bool) -> tuple[Batch, bool]:
        """Return the rows, and whether y is (rows,).

        With weights, missing values stay in; add the rows within `_missing_values_refused`.
        """
        refuse_reordered_rows(x, y, weight)
        given = {"X": x, "y": y}
        x, y = validate_data(
            self,
            x,
            y,
            reset=reset,
            multi_output=True,
            y_numeric=True,
            # Else sums refuse missing values, where the weight is not 0.
            ensure_all_finite=weight is not None,
        )
        if isinstance(weight, Number):
            weight = np.full(len(x), weight)
        elif weight is not None:
            given["sample_weight"] = weight
            weight = check_array(weight, ensure_2d=False, input_name="sample_weight")
        for argument, values in given.items():
            refuse_rounded(argument, values)
        x, y = to_tensor("X", x), to_tensor("y", y)
        if weight is not None:
            weight = to_tensor("sample_weight", weight)
            if weight.shape != x.shape[:1]:
                raise InputError(
                    f"sample_weight: a shape of {tuple(weight.shape)} was given; "
                    f"({len(x)},) is needed"
                )
            if not weight.any():
                raise InputError("sample_weight: all weights are zero; at least one row must count")
        batch = Batch(x, y.unsqueeze(1) if y.ndim == 1 else y, weight).validate()
        return batch, y.ndim == 1

    @contextmanager
    def _missing_values_refused(self, batch: Batch) -> Iterator[None]:
        """Raise scikit-learn's own error for NaN and infinity in X."""
        try:
            yield
        except InputError:
            name = type(self).__name__
            assert_all_finite(batch.x.numpy(), estimator_name=name, input_name="X")
            raise


def refuse_reordered_rows(x: Any, y: Any, weight: Any) -> None:
    """Refuse pandas objects that have the same labels in another order."""
    refuse_reordered("y", y, "X", x)
    refuse_reordered("sample_weight", weight, "X", x)
    refuse_reordered("sample_weight", weight, "y", y)


def refuse_rounded(argument: str, values: Any) -> None:
    """Refuse whole numbers that scikit-learn has rounded to float64."""
    if isinstance(values, np.ndarray) and values.dtype != object:
        return  # not rounded yet
    if is_frame(values):
        if hasattr(values, "dtypes"):  # floats are never rounded, so that they need no conversion
            columns = zip(values.columns, values.dtypes, strict=True)
            values = values[[name for name, kind in columns if "float" not in str(kind).lower()]]
        table = to_arrow(values, argument)
        for field in table.schema:
            if pa.types.is_integer(field.type) or pa.types.is_decimal(field.type):
                to_tensor(argument, table.select([field.name]))
    else:
        to_tensor(argument, values)
