"""Least squares under the Trainer: one pass adds up the rows, its end solves for the `Fit`."""

from dataclasses import replace
from typing import Any, ClassVar, final

from linreg_lightning.algebra import Fit, Gram, Prediction
from linreg_lightning.algebra.least_squares import Accuracy, check_arguments
from linreg_lightning.algebra.notes import Note
from linreg_lightning.algebra.prediction import predict_mean, prediction, prediction_center
from linreg_lightning.algebra.robust_errors import (
    ErrorKind,
    ErrorOptions,
    RobustErrors,
    SmallSample,
)
from linreg_lightning.errors import InputError
from linreg_lightning.models.later_passes import LaterPassesModule
from linreg_lightning.models.regression import Coefficient


@final
class LeastSquares(LaterPassesModule):
    """Minimises sum(w (y - weight x - intercept)^2) + ridge |weight|^2, exactly.

    One pass adds up a small matrix, whatever the number of rows; its end solves for the `Fit` of
    `algebra.least_squares`, and stops the Trainer. Everything is in float64 or better, whatever the
    precision of the rows. A column that is a linear combination of earlier ones, to the precision
    in which the data hold it, is left out and named in a warning, as in R: its row of the table is
    NaN, and predictions take its coefficient as 0. A fit with `ckpt_path` adds its rows to those of
    the checkpoint, which holds the matrix; `TabularData(unseen="add")` brings columns for levels
    that the earlier rows did not have. Data with groups (`TabularData(by=...)`) get one fit for
    each group instead, as `grouped_least_squares` makes it.

    Args:
        accuracy: `exact` adds without any rounding: the coefficients have the same bits for any
            batch size, order of rows or number of processes (for magnitudes see `ExactGram`);
            `float64` is several times as fast and loses digits to ill-conditioned columns; `auto`
            is `exact` for up to a million numbers, then takes `float64`, and a second pass in
            `exact` where `float64` guarantees fewer than eight digits.
        intercept: whether the model adds a constant; None means yes, unless the data have a column
            of ones named `intercept`.
        ridge: the penalty, 0 or above, in the units of the user's columns; never on the constant.
            Above 0 there are no standard errors: the estimates are biased.
        confidence: how often the intervals cover the truth, between 0.000001 and 1.
        in_features: the number of columns of x; None takes it from the data.
        out_features: the number of columns of y; None takes it from the data.
        errors: which standard errors: `classical`, or those that hold where the variances of rows
            differ (HC0, HC1, HC2, HC3), where rows of a `cluster` depend on each other (the data
            name its column by `cluster`), or where rows depend on the ones before (HAC, of Newey
            and West, in the order of the rows). All but the classical ones take a second pass over
            the rows, with the same bits in `exact` as the coefficients; rows cannot be added to a
            checkpoint with them.
        lags: of HAC, how many rows back a row depends on others.
        small_sample: whose corrections and degrees of freedom the errors take: `statsmodels`,
            `sandwich` or `fixest` (of R).

    Raises:
        InputError: a hyper-parameter outside its range; when fitting, a precision below float32.
    """

    # A fit that goes on from a checkpoint may change these arguments.
    revisable: ClassVar[frozenset[str]] = frozenset(
        {"accuracy", "ridge", "confidence", "errors", "lags", "small_sample"}
    )

    def __init__(
        self,
        accuracy: Accuracy = "auto",
        intercept: bool | None = None,
        ridge: float = 0.0,
        confidence: float = 0.95,
        in_features: int | None = None,
        out_features: int | None = None,
        errors: ErrorKind = "classical",
        lags: int | None = None,
        small_sample: SmallSample = "statsmodels",
    ) -> None:
        check_arguments(accuracy, ridge, confidence)
        self.error_options = ErrorOptions(errors, lags, small_sample)
        if errors != "classical" and ridge > 0:
            reason = f"{errors} was given with a ridge of {ridge}, whose estimates are biased"
            raise InputError(f"errors: {reason}; leave errors or ridge out")
        super().__init__(accuracy, intercept, in_features, out_features)
        self.save_hyperparameters()
        self.ridge, self.confidence = ridge, confidence

    def coefficients(self) -> list[Coefficient]:
        """The table: estimate, `std_error`, `t`, `p`, `ci_low`, `ci_high`, NaN as in `Fit`.

        Before a fit: an InputError.
        """
        fit = self._fitted_or_refuse("coefficients")
        columns = {"estimate": fit.estimate, "std_error": fit.standard_error, "t": fit.t}
        columns |= {"p": fit.p, "ci_low": fit.low, "ci_high": fit.high}
        rows = super().coefficients()
        terms = [row["name"] for row in rows if row["target"] == self.target_names[0]]
        # A fit has the constant first, wherever the data have their column of ones.
        terms.sort(key=lambda name: name != "intercept")
        for row in rows:
            place = terms.index(row["name"]), self.target_names.index(row["target"])
            row.update({name: values[place].item() for name, values in columns.items()})
        return rows

    def prediction(self, x: Any) -> Prediction:
        """Predictions for x, (rows, features), with standard errors and intervals.

        x is a data frame, an array or a tensor, as in `predict`. Before a fit: an InputError.
        """
        self._refuse_absorbed("prediction")
        fit, rows = self._fitted_or_refuse("prediction"), self.read_rows(x)
        if not (self._trainer is not None and self._trainer.predicting):  # else steps count rows
            self._warn_of_broken(rows)
        x_without_ones = self._without_ones(rows).cpu()
        return prediction(fit.solution, x_without_ones, fit.confidence, fit.errors)

    def fit_result(self) -> Fit:
        """The `Fit`, with the names of features and targets. Before a fit: an InputError."""
        return replace(self._fitted_or_refuse("fit_result"), target_names=self.target_names)

    @property
    def fitted(self) -> bool:
        """Whether there are coefficients."""
        return self._fit is not None

    can_predict = fitted

    def _solve(self, total: Gram) -> bool:
        options: Any = {"ridge": self.ridge, "confidence": self.confidence}
        if self._demeaned is None:
            fit = Fit.from_gram(total, intercept=self._has_constant, **options)
        else:
            gram, effects = self._demeaned
            fit = Fit.from_gram(gram, absorbed=effects, **options)
        fit = replace(fit, feature_names=self._variable_names, errors=self._robust_errors)
        weight, center = fit.coefficients.nan_to_num(0.0).T, prediction_center(fit.solution)
        center_prediction = predict_mean(fit.solution, center[None])[0]
        self.set_fit(weight, fit.intercept, center, center_prediction)
        self._fit, self.fit_statistics = fit, fit.statistics
        self.r2_uncentered = not fit.solution.has_constant
        return fit.precise

    def _set_errors(self, errors: RobustErrors) -> None:
        assert self._fit is not None
        self._fit = replace(self._fit, errors=errors)
        self.fit_statistics = self._fit.statistics

    def _forget(self) -> None:
        self._fit = None

    def _notes(self) -> list[Note]:
        return self._fitted_or_refuse("notes").notes(self._variable_names)

    def _fitted_or_refuse(self, what: str) -> Fit:
        self._refuse_unfitted(what)
        assert self._fit is not None
        return self._fit
