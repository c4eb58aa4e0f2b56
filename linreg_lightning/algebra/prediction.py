"""Predictions with standard errors and intervals, to the digits that the coefficients have.

Where `exact` has more digits than float64 keeps, because the columns are nearly collinear, means
and leverages are computed in 106 bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from linreg_lightning.algebra.double_double import DoubleDouble, Number, ldexp, to_float64
from linreg_lightning.algebra.inference import check_confidence, residual_variance, t_quantile
from linreg_lightning.algebra.multiprecision import matrix_product
from linreg_lightning.algebra.robust_errors import RobustErrors
from linreg_lightning.algebra.solution import Solution
from linreg_lightning.errors import InputError

_WELL_CONDITIONED = 1e3  # condition numbers up to which float64 predicts with 12 digits
# Where no term x b is larger than this times the targets, float64 loses at most three digits.
_FAR = 2.0**10
_BLOCK_ROWS = 2**12  # predicted at a time, for which the working memory is small


class Prediction(NamedTuple):
    """Standard errors and intervals of predictions, (rows, targets) each."""

    mean: Tensor  # the prediction, b_0 + x b
    mean_error: Tensor  # standard error of the mean of y at x
    mean_low: Tensor  # ends of the confidence interval of that mean
    mean_high: Tensor
    row_error: Tensor  # standard error of one y observed at x with weight 1
    row_low: Tensor  # ends of the prediction interval of that y
    row_high: Tensor

    def columns(self, targets: Sequence[str]) -> dict[str, Tensor]:
        """Return the columns of a table of predictions, (rows,) each, by name.

        For a target `y` these are `y`, `y_std_error` (of the mean of y at x), `y_mean_low` and
        `y_mean_high` (its confidence interval), `y_low` and `y_high` (the prediction interval).

        Raises:
            InputError: two columns would have the same name.
        """
        parts = {"": self.mean, "_std_error": self.mean_error, "_mean_low": self.mean_low}
        parts |= {"_mean_high": self.mean_high, "_low": self.row_low, "_high": self.row_high}
        columns: dict[str, Tensor] = {}
        for k, target in enumerate(targets):
            for suffix, values in parts.items():
                if (name := f"{target}{suffix}") in columns:
                    text = f"two columns of predictions would be named {name!r}"
                    raise InputError(f"intervals: {text}; rename a target")
                columns[name] = values[:, k]
        return columns


def predict_mean(solution: Solution[Number], x: Tensor) -> Tensor:
    """Return b_0 + x b, (rows, targets)."""
    return torch.cat([_mean(solution, block) for block in _centred_blocks(solution, x)])


def prediction_center(solution: Solution[Number]) -> Tensor:
    """Return the means of the columns if x b loses digits against b_0, else zeros; (features,)."""
    equations, d = solution.equations, solution.equations.features
    mean = ldexp(equations.mean.high, equations.exponent)
    slope = solution.coefficients.nan_to_num(0.0)
    deviation = to_float64(solution.total / equations.weight).sqrt()
    scale = mean[d:].abs() + ldexp(deviation, solution.exponent[d:])
    center = torch.where(solution.coefficients.isfinite().all(1), mean[:d], 0.0)
    loses_digits = (center.abs() @ slope.abs() > _FAR * scale).any()
    return center * loses_digits


def prediction(
    solution: Solution[Number],
    x: Tensor,
    confidence: float = 0.95,
    errors: RobustErrors | None = None,
) -> Prediction:
    """Return predictions with standard errors and intervals, as `Fit.prediction` says."""
    check_confidence(confidence)
    equations = solution.equations
    residual_sd = to_float64(residual_variance(solution).sqrt())
    exponent = solution.exponent[equations.features :]
    means, mean_errors = [], []
    for centred in _centred_blocks(solution, x):
        means.append(_mean(solution, centred))
        if errors is None:
            mean_errors.append(residual_sd * _leverage(solution, centred)[:, None].sqrt())
        else:
            mean_errors.append(_robust_error(solution, centred, errors))
    mean, mean_error = torch.cat(means), ldexp(torch.cat(mean_errors), exponent)
    noise = ldexp(residual_sd, exponent + equations.weight_exponent // 2)
    row_error = torch.hypot(mean_error, noise)
    quantile = t_quantile(confidence, solution.df_residual if errors is None else errors.df)
    mean_margin, row_margin = quantile * mean_error, quantile * row_error
    mean_interval = mean_error, mean - mean_margin, mean + mean_margin
    return Prediction(mean, *mean_interval, row_error, mean - row_margin, mean + row_margin)


def _centred_blocks(solution: Solution[Number], x: Tensor) -> Iterator[DoubleDouble]:
    """Return x less the means, in scaled units, (rows, kept), some rows at a time."""
    equations, kept = solution.equations, solution.kept
    if x.ndim != 2 or x.shape[1] != equations.features:
        raise InputError(
            f"x: a shape of {tuple(x.shape)} was given; (rows, {equations.features}) is needed"
        )
    unit, mean = equations.exponent[kept], equations.mean[kept]
    for block in x.split(_BLOCK_ROWS):
        centred = -(mean - ldexp(block.double()[:, kept], -unit))
        yield ldexp(centred, unit - solution.exponent[kept])


def _needs_106_bits(solution: Solution[Number]) -> bool:
    """Whether float64 would lose digits of predictions that `exact` has."""
    is_exact = not isinstance(solution.scaled_coefficients, Tensor)
    return is_exact and solution.condition > _WELL_CONDITIONED


def _mean(solution: Solution[Number], centred: DoubleDouble) -> Tensor:
    equations, features = solution.equations, solution.equations.features
    exponent = solution.exponent[features:]
    # Not intercept + x b, whose large terms cancel where the columns are far from 0.
    y_mean = ldexp(equations.mean[features:], equations.exponent[features:])
    slope = solution.scaled_coefficients
    mean = y_mean.high + ldexp(centred.high @ to_float64(slope), exponent)
    if not _needs_106_bits(solution):
        return mean
    precise = (ldexp(matrix_product(centred, DoubleDouble.of(slope)), exponent) + y_mean).high
    return torch.where(precise.isfinite(), precise, mean)  # 106 bits have a smaller range


def _leverage(solution: Solution[Number], centred: DoubleDouble) -> Tensor:
    """Return 1 / sum(w) + (x - m)' (X'WX)^-1 (x - m) in units of 1 / v; (rows,)."""
    equations = solution.equations
    whitened = torch.linalg.solve_triangular(solution.factor, centred.high, upper=True, left=False)
    leverage: Tensor = whitened.square().sum(1)
    if _needs_106_bits(solution):
        inverse_factor = DoubleDouble.of(solution.inverse_factor)
        precise = matrix_product(centred, inverse_factor).high.square().sum(1)
        leverage = torch.where(precise.isfinite(), precise, leverage)
    return leverage + equations.intercept / to_float64(equations.weight)


def _robust_error(
    solution: Solution[Number], centred: DoubleDouble, errors: RobustErrors
) -> Tensor:
    """Return the standard errors of the means, (rows, targets), in units of c_y."""
    z, covariance = centred.high, errors.covariance
    if solution.equations.intercept:
        # The covariance of the mean at the means of the columns, not of the intercept at x = 0.
        kept = solution.kept
        unit = solution.equations.exponent[kept] - solution.exponent[kept]
        mean = ldexp(to_float64(solution.equations.mean)[kept], unit)
        change = torch.eye(1 + len(kept), dtype=torch.float64)
        change[0, 1:] = mean
        covariance = change @ covariance @ change.T
        z = torch.nn.functional.pad(z, (1, 0), value=1.0)
    variance = torch.einsum("ri,tij,rj->rt", z, covariance, z)
    return variance.sqrt()
