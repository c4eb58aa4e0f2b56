"""What statisticians expect of a fit: standard errors, tests, intervals, goodness of fit.

With n rows of weight above 0, k coefficients (the intercept included) and SSR = sum of w r^2 the
residual variance is s^2 = SSR / (n - k). Weights are precisions, as in `statsmodels.WLS` and R's
`lm`: a row of weight 2 moves the coefficients as two rows do, but it is one row in n, and a row of
weight 0 is not in n. To count a row twice, give it twice.

Where no residual degrees of freedom are left, everything that needs s is NaN. A ridge penalty
biases the estimates, which then have no t distribution: standard errors and what follows from them
are NaN.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from linreg_lightning.algebra.distributions import f_tail, t_quantile, t_two_sided
from linreg_lightning.algebra.double_double import (
    DoubleDouble,
    Number,
    concatenate,
    ldexp,
    to_float64,
)
from linreg_lightning.algebra.solve import Solution
from linreg_lightning.errors import InputError
from linreg_lightning.validation import check_argument


class CoefficientTable(NamedTuple):
    """The columns of the table of coefficients, (terms, targets) each; see `Fit`."""

    estimate: Tensor
    standard_error: Tensor
    t: Tensor
    p: Tensor
    low: Tensor
    high: Tensor


class Prediction(NamedTuple):
    """Standard errors and intervals of predictions, (rows, targets) each."""

    mean: Tensor  # the prediction, b_0 + x b
    mean_error: Tensor  # standard error of the mean of y at x
    mean_low: Tensor  # ends of the confidence interval of that mean
    mean_high: Tensor
    row_error: Tensor  # standard error of one y observed at x with weight 1
    row_low: Tensor  # ends of the prediction interval of that y
    row_high: Tensor


def coefficient_table(solution: Solution[Number], confidence: float = 0.95) -> CoefficientTable:
    """Return estimates, standard errors, t tests and confidence intervals; the intercept first.

    The variance of coefficient j is s^2 ((X'WX)^-1)_jj, that of the intercept
    s^2 (1 / sum(w) + m' (X'WX)^-1 m) with m the means of the columns.
    """
    check_confidence(confidence)
    equations, features = solution.equations, solution.equations.features
    df = equations.rows - solution.rank
    inverse = concatenate(solution.intercept_inverse[None], solution.inverse)
    error = (inverse[:, None] * _residual_variance(solution)).sqrt()
    intercept_unit = torch.zeros(1, dtype=torch.int64)
    columns = torch.cat((intercept_unit, solution.exponent[:features]))
    standard_error = ldexp(to_float64(error), solution.exponent[features:] - columns[:, None])
    estimate = torch.cat((solution.intercept[None], solution.coefficients))
    if not equations.intercept:
        standard_error, estimate = standard_error[1:], estimate[1:]
    t = estimate / standard_error
    margin = t_quantile(confidence, df) * standard_error
    low, high = estimate - margin, estimate + margin
    return CoefficientTable(estimate, standard_error, t, t_two_sided(t, df), low, high)


def fit_statistics(solution: Solution[Number]) -> dict[str, Any]:
    """Return the measures of fit by name, as `Fit.statistics` lists them."""
    equations, features = solution.equations, solution.equations.features
    n, k = equations.rows, solution.rank
    df_model, df_residual = k - equations.intercept, n - k
    exponent, half_weight = solution.exponent[features:], equations.weight_exponent // 2
    variance = _residual_variance(solution)
    explained = solution.total - solution.residual
    unexplained = to_float64(solution.residual / solution.total)
    valid_df = _divisor(df_residual if solution.ridge == 0 else 0)
    f = to_float64(explained / _divisor(df_model)) / to_float64(variance)
    log_residual = to_float64(solution.residual).log()
    log_residual = log_residual + math.log(2) * (2 * exponent + equations.weight_exponent).double()
    deviance = n * (log_residual + math.log(2 * math.pi / n) + 1)
    log_likelihood = 0.5 * (equations.log_weight - deviance)
    if solution.ridge:
        log_likelihood = log_likelihood * math.nan
    loss = ldexp(to_float64(solution.residual / equations.weight), 2 * exponent)
    per_target = {
        "residual_sd": ldexp(to_float64(variance.sqrt()), exponent + half_weight),
        "rmse": loss.sqrt(),
        "r2": to_float64(explained / solution.total),
        "r2_adjusted": 1 - unexplained * ((n - equations.intercept) / valid_df),
        "f": f,
        "f_p": f_tail(f, df_model, df_residual),
        "log_likelihood": log_likelihood,
        "aic": 2 * k - 2 * log_likelihood,
        "bic": k * math.log(n) - 2 * log_likelihood,
    }
    return {
        "rows": n,
        "rank": k,
        "df_residual": df_residual,
        "condition": solution.condition,
        "loss": loss.mean().item(),
        **{name: v.item() if len(v) == 1 else v.tolist() for name, v in per_target.items()},
    }


def predict_mean(solution: Solution[Number], x: Tensor) -> tuple[Tensor, Tensor]:
    """Return b_0 + x b, (rows, targets), and x less the means in scaled units, (rows, kept)."""
    equations, features, kept = solution.equations, solution.equations.features, solution.kept
    if x.ndim != 2 or x.shape[1] != features:
        raise InputError(f"x: a shape of {tuple(x.shape)} was given; (rows, {features}) is needed")
    unit, exponent = equations.exponent[kept], solution.exponent[features:]
    centred = ldexp(x.double()[:, kept], -unit) - to_float64(equations.mean)[kept]
    if isinstance(equations.mean, DoubleDouble):
        centred = centred - equations.mean.low[kept]
    centred = ldexp(centred, unit - solution.exponent[kept])
    # Not intercept + x b, whose large terms cancel where the columns are far from 0.
    change = (solution.exponent[kept, None] - exponent).clamp(-2044, 2044)
    slope = ldexp(solution.coefficients[kept], change)
    y_mean = ldexp(to_float64(equations.mean)[features:], equations.exponent[features:])
    return y_mean + ldexp(centred @ slope, exponent), centred


def prediction(solution: Solution[Number], x: Tensor, confidence: float = 0.95) -> Prediction:
    """Return predictions with standard errors and intervals, as `Fit.prediction` says."""
    check_confidence(confidence)
    equations = solution.equations
    mean, centred = predict_mean(solution, x)
    whitened = torch.linalg.solve_triangular(solution.factor, centred, upper=True, left=False)
    leverage = whitened.square().sum(1, keepdim=True)
    if equations.intercept:
        leverage = leverage + 1 / to_float64(equations.weight)
    exponent = solution.exponent[equations.features :]
    residual_sd = to_float64(_residual_variance(solution).sqrt())
    mean_error = ldexp(residual_sd * leverage.sqrt(), exponent)
    noise = ldexp(residual_sd, exponent + equations.weight_exponent // 2)
    row_error = torch.hypot(mean_error, noise)
    quantile = t_quantile(confidence, equations.rows - solution.rank)
    intervals = [
        (error, mean - quantile * error, mean + quantile * error)
        for error in (mean_error, row_error)
    ]
    return Prediction(mean, *intervals[0], *intervals[1])


def check_confidence(confidence: float) -> None:
    """Refuse, with an InputError, a confidence whose quantile is not right to eleven digits."""
    expected = "a number from 0.000001 to below 1, as 0.95"
    check_argument("confidence", confidence, 1e-6 <= confidence < 1.0, expected)


def _residual_variance(solution: Solution[Number]) -> Number:
    """Return s^2 in units of v c_y^2, (targets,); NaN with a penalty."""
    df = solution.equations.rows - solution.rank
    return solution.residual / _divisor(df if solution.ridge == 0 else 0)


def _divisor(count: int) -> float:
    """Return a count of degrees of freedom as a divisor: NaN for 0."""
    return float(count) if count > 0 else math.nan
