"""`Fit`: the result of least squares."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

from torch import Tensor

from linreg_lightning.algebra import fit_table, inference
from linreg_lightning.algebra.collinearity import BrokenRows, LeftOutColumns
from linreg_lightning.algebra.diagnostics import Diagnostics
from linreg_lightning.algebra.fixed_effects import (
    AbsorbedEffects,
    absorbed_equations,
    with_total_variation,
)
from linreg_lightning.algebra.gram import Gram
from linreg_lightning.algebra.hypotheses import HypothesisTest, hypothesis_test
from linreg_lightning.algebra.notes import ENOUGH_DIGITS, Note, list_notes
from linreg_lightning.algebra.prediction import Prediction, predict_mean, prediction
from linreg_lightning.algebra.robust import FitRows, RobustFit
from linreg_lightning.algebra.robust_errors import RobustErrors
from linreg_lightning.algebra.row_diagnostics import diagnose
from linreg_lightning.algebra.solution import Solution
from linreg_lightning.algebra.solve import solve
from linreg_lightning.errors import InputError
from linreg_lightning.matching import columns_by_name
from linreg_lightning.validation import to_tensor


@dataclass(frozen=True, eq=False, repr=False)
class Fit(fit_table.FitTable, RobustFit):
    """A linear model y = b_0 + x b with its statistics, all float64 on the CPU.

    Terms are the intercept, if there is one, and then the columns of x. A column that is a linear
    combination of earlier ones, to the precision in which the rows were given, is left out: its row
    of the table is NaN, and `predict` takes its coefficient as 0. A constant target has slopes of
    0, without t and p. Where no residual degree of freedom is left, and with a ridge penalty, only
    the estimates are numbers. If y was (rows,), the shapes lack the dimension of the targets.

    `statistics` has a number for each name, or a list of numbers where there are several targets.
    SSR is sum(w r^2). With a constant, SST is sum(w (y - mean)^2) and i is 1; without one, SST is
    sum(w y^2) and i is 0. The constant is the intercept or, as in statsmodels, a linear combination
    of the columns that is the same in all rows, such as a column of ones or the sum of the
    indicators of all levels of a category:

    - `rows`: n, the number of rows of weight above 0; `rank`: k, the number of terms fitted
    - `df_residual`: n - k
    - `condition`: the condition number of the columns, centred if i = 1 and scaled to length 1
    - `loss`: SSR / sum(w), averaged over the targets; `rmse`: its root, for each target
    - `residual_sd`: s = sqrt(SSR / (n - k))
    - `r2`: 1 - SSR / SST; `r2_adjusted`: 1 - (1 - r2) (n - i) / (n - k)
    - `r2_uncentered`: True, and only there, without a constant; tables then say `r2 (uncentered)`
    - `f`: ((SST - SSR) / (k - i)) / s^2; `f_p`: P(F > f)
    - `log_likelihood` of normal errors: (sum(log w) - n log(2 pi SSR / n) - n) / 2
    - `aic`: 2 k - 2 log_likelihood; `bic`: k log(n) - 2 log_likelihood

    Where effects of levels are `absorbed`, statistics has their number, q, which counts as if each
    were a coefficient: n - k - q are the residual degrees of freedom, k + q replaces k in AIC and
    BIC, and `rank` stays k. `r2_within` is 1 - SSR / SST of the rows that the effects leave; SST of
    `r2` is that of the rows as they were given, and F is that of the coefficients, by SST within.
    """

    coefficients: Tensor  # b, (features, targets)
    intercept: Tensor  # b_0, (targets,); zeros where none was fitted
    rank: int  # how many terms were fitted
    collinear: tuple[int, ...]  # 0-based indices of the columns left out
    # A lower bound, at most 15.9, of the correct digits of each coefficient: of the coefficient or,
    # if that is larger, of its standard error. Where an exact fit is perfect, the standard error is
    # here that of residuals as large as the rounding of the rows.
    digits: float
    error_digits: float  # likewise of the standard errors
    accuracy: str  # `exact` or `float64`, the arithmetic of the sums
    exact: bool  # whether accuracy is `exact` and no sum lost a bit; False in float64
    confidence: float  # how often the intervals cover the truth
    solution: Solution[Any] = field(repr=False)  # in scaled units
    feature_names: list[str] | None = None  # of the columns of a data frame x; else None
    target_names: list[str] | None = None  # the same for y
    errors: RobustErrors | None = None  # robust standard errors; None: the classical ones
    absorbed: AbsorbedEffects | None = None  # effects of levels taken out of the rows
    rows: FitRows | None = field(default=None, repr=False)  # of `least_squares`, never pickled
    _one_dimensional: bool = field(default=False, repr=False)  # whether y was (rows,)

    @classmethod
    def from_gram(
        cls,
        gram: Gram,
        *,
        intercept: bool = True,
        ridge: float = 0.0,
        confidence: float = 0.95,
        absorbed: AbsorbedEffects | None = None,
    ) -> Self:
        """Fit from an accumulated Gram matrix; options as in `least_squares`.

        `absorbed` are the effects that were taken out of the rows; then there is no intercept.

        Raises:
            InputError: no row was counted; an argument is outside its range; a coefficient leaves
                float64's range.

        >>> import torch
        >>> from linreg_lightning.algebra import ExactGram
        >>> from linreg_lightning.batch import Batch
        >>> gram = ExactGram(features=1)
        >>> for start in (0, 2):
        ...     x = torch.tensor([[start + 1.0], [start + 2.0]])
        ...     gram.update(Batch(x, 3 * x + 1))
        >>> Fit.from_gram(gram).estimate[:, 0]
        tensor([1., 3.], dtype=torch.float64)
        """
        inference.check_confidence(confidence)
        if absorbed is not None:
            solution = solve(absorbed_equations(gram, absorbed), ridge)
            solution = with_total_variation(solution, absorbed)
        else:
            solution = solve(gram.normal_equations(intercept), ridge)
        if absorbed is None and not intercept:
            solution = inference.find_constant(solution, gram.normal_equations())
        return cls(
            coefficients=solution.coefficients,
            intercept=solution.intercept,
            rank=solution.rank,
            collinear=solution.collinear,
            digits=solution.digits,
            error_digits=solution.error_digits,
            accuracy=gram.accuracy,
            exact=gram.exact,
            confidence=confidence,
            solution=solution,
            absorbed=absorbed,
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "rows": None}

    # The table and the statistics take longer than the fit, so they wait until they are asked for.
    @cached_property
    def _table(self) -> dict[str, Tensor]:
        table = inference.coefficient_table(self.solution, self.confidence, self.errors)
        return {name: v[:, 0] for name, v in table.items()} if self._one_dimensional else table

    @property
    def estimate(self) -> Tensor:
        """The intercept, then the coefficients; (terms, targets), like the next five."""
        return self._table["estimate"]

    @property
    def standard_error(self) -> Tensor:
        """The standard errors of the estimates; 0 where the fit is perfect."""
        return self._table["standard_error"]

    @property
    def t(self) -> Tensor:
        """The ratios estimate / standard_error; +-inf where the fit is perfect."""
        return self._table["t"]

    @property
    def p(self) -> Tensor:
        """P(|T| > |t|) with n - k degrees of freedom."""
        return self._table["p"]

    @property
    def low(self) -> Tensor:
        """The lower ends of the confidence intervals."""
        return self._table["low"]

    @property
    def high(self) -> Tensor:
        """The upper ends of the confidence intervals."""
        return self._table["high"]

    @cached_property
    def covariance(self) -> Tensor:
        """The covariances of the estimates, NaN for columns left out.

        (targets, terms, terms), or (terms, terms) if y was (rows,). Robust where `errors` are.
        """
        covariance = inference.coefficient_covariance(self.solution, self.errors)
        return covariance[0] if self._one_dimensional else covariance

    @cached_property
    def statistics(self) -> dict[str, Any]:
        """The measures of fit by name, as the class lists them."""
        return inference.fit_statistics(self.solution, self.errors)

    @property
    def precise(self) -> bool:
        """Whether eight digits of coefficients and standard errors are guaranteed correct."""
        return min(self.digits, self.error_digits) >= ENOUGH_DIGITS

    @cached_property
    def left_out(self) -> LeftOutColumns | None:
        """The columns left out as combinations of others; None if none, or effects are absorbed."""
        is_combined = self.collinear and self.absorbed is None
        return LeftOutColumns.from_solution(self.solution) if is_combined else None

    def broken_rows(self, x: Tensor) -> BrokenRows:
        """Count the rows of x, (rows, features), that break a collinearity of those of the fit."""
        names = self.feature_names or [f"x{j + 1}" for j in range(len(self.solution.coefficients))]
        counts = BrokenRows([names[j] for j in self.collinear])
        if self.left_out is not None:
            counts.add(self.left_out.broken(x))
        return counts

    def predict(self, x: Any) -> Tensor:
        """Return b_0 + x b for x, (rows, features), in the shape of y.

        After a fit of a data frame, the columns of a frame are found by name, whatever their order,
        and others are ignored; columns without names are taken by position. A warning says in how
        many rows a column left out is not the combination that it was in the rows of the fit.

        Raises:
            InputError: x has another number of columns, or lacks one of the fit; effects of levels
                were absorbed.
        """
        rows = self._rows_to_predict(x)
        mean = predict_mean(self.solution, rows)
        self.broken_rows(rows).warn()
        return mean[:, 0] if self._one_dimensional else mean

    def prediction(self, x: Any) -> Prediction:
        """Return predictions with standard errors, confidence and prediction intervals.

        For x, (rows, features), the variance of the mean is
        s^2 (1 / sum(w) + (x - m)' (X'WX)^-1 (x - m)), m the means of the columns (without an
        intercept m = 0 and no first term); one observation of weight 1 adds s^2. Columns are found
        as in `predict`.

        Raises:
            InputError: as `predict`.
        """
        rows = self._rows_to_predict(x)
        result = prediction(self.solution, rows, self.confidence, self.errors)
        self.broken_rows(rows).warn()
        return Prediction(*(v[:, 0] for v in result)) if self._one_dimensional else result

    def _rows_to_predict(self, x: Any) -> Tensor:
        if self.absorbed is not None:
            raise InputError(
                "predict: rows were given to a fit that has absorbed effects and keeps none of "
                "them; to predict, give x a column of 0 and 1 for each level instead of absorb"
            )
        return to_tensor("x", columns_by_name(x, self.feature_names)).cpu()

    def test(self, hypotheses: str) -> HypothesisTest:
        """Test linear hypotheses about the coefficients, jointly and one by one.

        They are sums of terms, as the table names them, with factors, and `=` between them; commas
        separate them. The equations are those of `HypothesisTest`; robust `errors` give a Wald test
        with their covariance. It is `f_test` of statsmodels and `linearHypothesis` of R's car.

        Raises:
            InputError: a term is unknown or was left out; a hypothesis follows from others or
                contradicts them; the fit has no standard errors.

        >>> import torch
        >>> from linreg_lightning import least_squares
        >>> x = torch.tensor([[0.0, 1.0], [1.0, 1.0], [2.0, 0.0], [3.0, 2.0]])
        >>> test = least_squares(x, torch.tensor([2.0, 3.0, 5.0, 9.0])).test("x1 = 2*x2, x2 = 1")
        >>> test.hypotheses, round(test.f.item(), 3)
        (['x1 - 2*x2 = 0', 'x2 = 1'], 0.04)
        """
        return hypothesis_test(self, hypotheses)

    def diagnostics(self, *, rows: Sequence[Any] | None = None, top: int = 10) -> Diagnostics:
        """Return what the columns, residuals and rows of the fit tell of it, by one more pass.

        Args:
            rows: (x, y) or (x, y, weight) of the fit, where it does not hold them: after
                `from_gram`, or from a checkpoint.
            top: how many influential rows to list for each target.

        Raises:
            InputError: no rows, or others than those of the fit; a ridge penalty; absorbed effects;
                no residual degree of freedom.

        >>> from linreg_lightning import least_squares
        >>> fit = least_squares([[0.0], [1.0], [2.0], [3.0]], [1.0, 3.0, 2.0, 5.0])
        >>> fit.diagnostics().sentences()
        ["The estimates rest on row 4 (Cook's distance 1.04): look at it, and fit once without it."]
        """
        return diagnose(self, rows, top)

    def notes(self, names: list[str] | None = None) -> list[Note]:
        """Return what a user should know of the fit: collinear columns, too few correct digits ...

        `names` are those of the columns of x; None stands for those of the frame, or x1, x2 ...
        """
        return list_notes(self, names or self.feature_names)


def drop_target_dimension(fit: Fit) -> Fit:
    """Return the fit of one target in the shapes for y of (rows,)."""
    coefficients, intercept = fit.coefficients[:, 0], fit.intercept[0]
    return replace(fit, coefficients=coefficients, intercept=intercept, _one_dimensional=True)
