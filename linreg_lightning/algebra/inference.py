"""The table that statisticians expect: standard errors, tests, intervals, goodness of fit.

With n rows of weight above 0, k coefficients (the intercept included) and SSR = sum of w r^2 the
residual variance is s^2 = SSR / (n - k). Weights are precisions, as in `statsmodels.WLS` and R's
`lm`: a row of weight 2 moves the coefficients as two rows do, but it is one row in n. A row of
weight 0 is absent: it is not in n. Who means two rows gives the row twice.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from linreg_lightning.algebra.distributions import f_tail, t_quantile, t_two_sided
from linreg_lightning.algebra.double_double import (
    DoubleDouble,
    Number,
    joined,
    ldexp,
    rounded,
)
from linreg_lightning.algebra.solve import Solution
from linreg_lightning.errors import InputError


class Inference(NamedTuple):
    """The table of coefficients and the line below it, all float64.

    The intercept, if there is one, is the first of the `terms`; columns that were left out are NaN
    throughout. With no residual degrees of freedom everything that needs s is NaN. With a ridge
    penalty the estimates are biased and have no t distribution: all but `estimate`, `r2`, `rows`
    and the degrees of freedom are NaN, and `df_residual` takes no account of the penalty.

    Attributes:
        estimate: (terms, targets).
        standard_error: (terms, targets); 0 where the fit is exact.
        t: estimate / standard_error; +-inf where the fit is exact; (terms, targets).
        p: P(|T| > |t|) with n - k degrees of freedom; (terms, targets).
        low: lower end of the confidence interval; (terms, targets).
        high: its upper end; (terms, targets).
        rows: n, the rows of weight above 0.
        df_model: k less the intercept.
        df_residual: n - k.
        residual_sd: s; (targets,).
        r2: 1 - SSR / SST, SST taken about the mean, without an intercept about 0; (targets,).
        r2_adjusted: 1 - (1 - r2) (n - intercept) / (n - k); (targets,).
        f: ((SST - SSR) / df_model) / s^2; (targets,).
        f_p: P(F > f); (targets,).
        log_likelihood: of normal errors, at the maximum,
            (sum of log w - n log(2 pi SSR / n) - n) / 2; (targets,).
        aic: 2 k - 2 log_likelihood; (targets,).
        bic: k log(n) - 2 log_likelihood; (targets,).
    """

    estimate: Tensor
    standard_error: Tensor
    t: Tensor
    p: Tensor
    low: Tensor
    high: Tensor
    rows: int
    df_model: int
    df_residual: int
    residual_sd: Tensor
    r2: Tensor
    r2_adjusted: Tensor
    f: Tensor
    f_p: Tensor
    log_likelihood: Tensor
    aic: Tensor
    bic: Tensor


class Prediction(NamedTuple):
    """Standard errors and intervals of predictions, (rows, targets) each.

    Attributes:
        mean: the prediction, b_0 + x b.
        mean_error: standard error of the mean of y at x.
        mean_low: lower end of the confidence interval of the mean.
        mean_high: its upper end.
        row_error: standard error of one y observed at x with weight 1.
        row_low: lower end of the prediction interval of that y.
        row_high: its upper end.
    """

    mean: Tensor
    mean_error: Tensor
    mean_low: Tensor
    mean_high: Tensor
    row_error: Tensor
    row_low: Tensor
    row_high: Tensor


def inference(solution: Solution[Number], confidence: float = 0.95) -> Inference:
    """Return the table of coefficients and the measures of fit.

    Args:
        solution: what `solve` returned.
        confidence: how often the intervals cover the truth; from 0.000001, below 1.

    Raises:
        InputError: confidence is out of range.

    >>> from linreg_lightning.algebra import ExactGram, solve
    >>> from linreg_lightning.batch import Batch
    >>> x = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    >>> gram = ExactGram(features=1)
    >>> gram.update(Batch(x, torch.tensor([[1.0], [3.0], [2.0], [4.0]])))
    >>> table = inference(solve(gram.normal_equations()))
    >>> table.estimate[:, 0], table.r2
    (tensor([1.3000, 0.8000], dtype=torch.float64), tensor([0.6400], dtype=torch.float64))
    """
    check_confidence(confidence)
    equations, features = solution.equations, solution.equations.features
    n, k = equations.rows, solution.rank
    df, df_model = n - k, k - equations.intercept
    valid = solution.ridge == 0.0
    # Scaled units of a target's standard deviation: c_y sqrt(v).
    exponent = solution.exponent[features:]
    half = equations.weight_exponent // 2
    variance = solution.residual / _real(df if valid else 0)
    unit = joined(solution.intercept_inverse[None], solution.inverse)
    error = (unit[:, None] * variance).sqrt()
    columns = torch.cat((torch.zeros(1, dtype=torch.int64), solution.exponent[:features]))
    standard_error = ldexp(rounded(error), exponent - columns[:, None])
    estimate = torch.cat((solution.intercept[None], solution.coefficients))
    if not equations.intercept:
        standard_error, estimate = standard_error[1:], estimate[1:]
    t = estimate / standard_error
    margin = t_quantile(confidence, df) * standard_error
    explained = solution.total - solution.residual
    unexplained = rounded(solution.residual / solution.total)
    r2 = rounded(explained / solution.total)
    f = rounded(explained / _real(df_model)) / rounded(variance)
    units = (2 * exponent + equations.weight_exponent).double()
    spread = rounded(solution.residual).log() + math.log(2) * units
    likelihood = 0.5 * (equations.log_weight - n * (spread + math.log(2 * math.pi / n) + 1))
    if not valid:
        likelihood = likelihood * math.nan
    return Inference(
        estimate=estimate,
        standard_error=standard_error,
        t=t,
        p=t_two_sided(t, df),
        low=estimate - margin,
        high=estimate + margin,
        rows=n,
        df_model=df_model,
        df_residual=df,
        residual_sd=ldexp(rounded(variance.sqrt()), exponent + half),
        r2=r2,
        r2_adjusted=1 - unexplained * ((n - equations.intercept) / _real(df if valid else 0)),
        f=f,
        f_p=f_tail(f, df_model, df),
        log_likelihood=likelihood,
        aic=2 * k - 2 * likelihood,
        bic=k * math.log(n) - 2 * likelihood,
    )


def prediction(solution: Solution[Number], x: Tensor, confidence: float = 0.95) -> Prediction:
    """Return predictions with their standard errors and intervals.

    The variance of the mean at x is s^2 (1 / sum(w) + (x - m)' (X'WX)^-1 (x - m)), m the means of
    the columns (without an intercept m = 0 and no first term); one observation of weight 1 adds
    s^2. Columns that were left out are not looked at. NaN as in `Inference`.

    Args:
        solution: what `solve` returned.
        x: (rows, features), on the CPU.
        confidence: how often the intervals cover the truth; from 0.000001, below 1.

    Raises:
        InputError: x has another number of columns; confidence is out of range.

    >>> from linreg_lightning.algebra import ExactGram, solve
    >>> from linreg_lightning.batch import Batch
    >>> x = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    >>> gram = ExactGram(features=1)
    >>> gram.update(Batch(x, torch.tensor([[1.0], [3.0], [2.0], [4.0]])))
    >>> prediction(solve(gram.normal_equations()), torch.tensor([[1.5]])).mean
    tensor([[2.5000]], dtype=torch.float64)
    """
    check_confidence(confidence)
    equations, features, kept = solution.equations, solution.equations.features, solution.kept
    if x.ndim != 2 or x.shape[1] != features:
        raise InputError(f"x: a shape of {tuple(x.shape)} was given; (rows, {features}) is needed")
    df = equations.rows - solution.rank
    centred = _centred(solution, x.to(torch.float64))
    whitened = torch.linalg.solve_triangular(solution.factor, centred, upper=True, left=False)
    leverage = whitened.square().sum(1, keepdim=True)
    if equations.intercept:
        leverage = leverage + 1 / rounded(equations.weight)
    half = equations.weight_exponent // 2
    exponent = solution.exponent[features:]
    scaled = rounded((solution.residual / _real(df if solution.ridge == 0 else 0)).sqrt())
    # Not intercept + x b: far from 0 these are large, and cancel.
    change = (solution.exponent[kept, None] - exponent).clamp(-2044, 2044)
    slope = ldexp(solution.coefficients[kept], change)
    level = ldexp(rounded(equations.mean)[features:], equations.exponent[features:])
    mean = level + ldexp(centred @ slope, exponent)
    mean_error = ldexp(scaled * leverage.sqrt(), exponent)
    row_error = torch.hypot(mean_error, ldexp(scaled, exponent + half))
    quantile = t_quantile(confidence, df)
    return Prediction(
        mean=mean,
        mean_error=mean_error,
        mean_low=mean - quantile * mean_error,
        mean_high=mean + quantile * mean_error,
        row_error=row_error,
        row_low=mean - quantile * row_error,
        row_high=mean + quantile * row_error,
    )


def _centred(solution: Solution[Number], x: Tensor) -> Tensor:
    """Return the columns kept of x less their means, in units of c_i; (rows, kept)."""
    equations, kept = solution.equations, solution.kept
    mean, unit = equations.mean, equations.exponent[kept]
    scaled = ldexp(x[:, kept], -unit) - rounded(mean)[kept]
    if isinstance(mean, DoubleDouble):
        scaled = scaled - mean.low[kept]
    return ldexp(scaled, unit - solution.exponent[kept])


def check_confidence(confidence: float) -> None:
    """Refuse what intervals cannot be made for, or not to eleven digits.

    Raises:
        InputError: it is not from 0.000001 to below 1.
    """
    if not 1e-6 <= confidence < 1.0:
        raise InputError(
            f"confidence: {confidence} was given; type a number from 0.000001 to below 1, as 0.95"
        )


def _real(count: int) -> float:
    """Return a divisor, NaN for 0: what is spread over no degrees of freedom is not known."""
    return float(count) if count > 0 else math.nan
