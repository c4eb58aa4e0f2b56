"""From statistics to coefficients: rank, condition and the least-squares solution.

With an intercept, means are subtracted first: the intercept is never penalised and an offset of a
column costs no digits. Columns are scaled by powers of two to sums of squares near 1. The same
steps run in 53 and in 106 bits.
"""

import math
from typing import Generic, NamedTuple

import torch
from torch import Tensor

from linreg_lightning.algebra.cholesky import (
    condition_number,
    diagonal,
    factor_independent,
    zeros_like,
)
from linreg_lightning.algebra.double_double import (
    DoubleDouble,
    Number,
    exponent_of,
    ldexp,
    row_blocks,
    to_float64,
)
from linreg_lightning.algebra.gram import NormalEquations
from linreg_lightning.algebra.solution import Solution
from linreg_lightning.errors import InputError
from linreg_lightning.validation import check_argument

_MAX_DIGITS = 15.9


class ScaledEquations(NamedTuple, Generic[Number]):
    """The normal equations in units in which sums of squares are near 1."""

    cross: Number  # with the penalty
    mean: DoubleDouble
    total: Number  # sums of squares of the targets
    exponent: Tensor  # of the units of the columns
    penalty: Tensor | None  # (features,); None without one
    tolerance: Tensor  # sums of squares that rounding error alone may cause, (features + targets,)
    rounded_square: Tensor  # the sums of squares whose rounding error matters


def solve(equations: NormalEquations[Number], ridge: float = 0.0) -> Solution[Number]:
    """Minimise the sum of w (y - b_0 - x b)^2 + ridge |b|^2.

    A column is left out as a linear combination of earlier ones, as in R, where the column less the
    combination is no larger than rounding errors: its own, and those of the earlier columns times
    their coefficients. The rounding error of a column in `exact` is 2^-51 of the root mean square
    of its entries, to which they were rounded themselves, or, among d columns, sqrt(d) 2^-51 of its
    standard deviation if that is larger; in `float64` it is sqrt(d + 1) 2^-25 of its standard
    deviation, up to five times that for many rows. It is at least half a unit in the last place of
    the type in which the rows came, 2^-24 of the root mean square for float32, unless there is a
    penalty: rows in float32 cannot show whether a column that differs from a combination by less is
    one. `Gram` says which columns count as exact. Residuals smaller than the rounding error of the
    targets count as 0, and so do the slopes of a constant target. The penalty is in the units of
    the user's columns.

    Raises:
        InputError: ridge is negative or not finite; a coefficient leaves float64's range.

    >>> from linreg_lightning.algebra import ExactGram
    >>> from linreg_lightning.batch import Batch
    >>> x, gram = torch.tensor([[0.0], [1.0], [2.0]]), ExactGram(features=1)
    >>> gram.update(Batch(x, 3 * x + 1))
    >>> solution = solve(gram.normal_equations())
    >>> solution.coefficients, solution.intercept
    (tensor([[3.]], dtype=torch.float64), tensor([1.], dtype=torch.float64))
    """
    check_ridge(ridge)
    scaled = scale_equations(equations, ridge)
    solution = _solve_scaled(equations, scaled, ridge)
    digits, error_digits = _correct_digits(solution, scaled)
    return solution._replace(digits=digits, error_digits=error_digits)


def check_ridge(ridge: float) -> None:
    """Refuse, with an InputError, a penalty that is negative, NaN or infinite."""
    check_argument("ridge", ridge, 0.0 <= ridge < math.inf, "a finite number, 0 or above")


def scale_equations(equations: NormalEquations[Number], ridge: float) -> ScaledEquations[Number]:
    """Return the equations scaled, with the penalty added."""
    d, squares = equations.features, to_float64(equations.cross).diagonal()
    magnitude = exponent_of(squares)
    if ridge > 0:
        # A penalty may be far larger than the sum of squares that it is added to.
        unit = 2 * equations.exponent[:d] + equations.weight_exponent
        penalty_magnitude = exponent_of(torch.tensor(ridge).double()) - unit
        magnitude[:d] = torch.maximum(magnitude[:d], penalty_magnitude)
    change = -(magnitude >> 1).clamp(-1000, 1000)
    exponent = equations.exponent - change
    cross, mean = _rescale(equations.cross, change), ldexp(equations.mean, change)
    total = diagonal(cross)[d:]
    # The rounding errors of the entries themselves, and of the elimination.
    square = ldexp(equations.square, 2 * change)
    centred = to_float64(cross).diagonal().clone()
    tolerance = 4 * equations.roundoff * (square + d * centred.abs())
    square_of_mean = to_float64(equations.weight) * to_float64(mean).square()
    penalty = None
    if ridge == 0:
        smallest = equations.input_roundoff.square() * (centred + square_of_mean)[:d]
        tolerance[:d] = torch.maximum(tolerance[:d], smallest)
    else:
        change_of_penalty = (-2 * exponent[:d] - equations.weight_exponent).clamp(-2000, 2000)
        penalty = ldexp(torch.full((d,), ridge, dtype=torch.float64), change_of_penalty)
        # A column of one value has only the penalty for a sum of squares; its coefficient is 0.
        tolerance[:d].masked_fill_(squares[:d] == 0, 0.0)
        features = torch.arange(d)
        cross[features, features] = diagonal(cross)[:d] + penalty
        centred = to_float64(cross).diagonal().clone()
    if not bool(centred.isfinite().all()):
        raise out_of_range("a sum of squares")
    # `exact` subtracts means without error, so only the centred sums have been rounded.
    rounded_square = square if isinstance(equations.cross, Tensor) else centred
    # Of a constant target only rounding errors are left, far below those of its entries.
    smallest = 4 * equations.roundoff * rounded_square
    smallest = smallest.masked_fill(smallest > 2.0**-104 * square_of_mean, 0.0)
    constant = d + (to_float64(total) <= smallest[d:]).nonzero().flatten()
    if equations.lost:
        lost = torch.full_like(square, equations.lost / (4 * equations.roundoff))
        rounded_square = rounded_square + ldexp(lost, 2 * change)
    if len(constant):
        zeros = zeros_like(cross, len(cross), len(constant))
        cross[constant], cross[:, constant], total[constant - d] = zeros.mT, zeros, zeros[0]
        rounded_square = rounded_square.index_fill(0, constant, 0.0)
    return ScaledEquations(
        cross=cross,
        mean=mean,
        total=total,
        exponent=exponent,
        penalty=penalty,
        tolerance=tolerance,
        rounded_square=rounded_square,
    )


def _rescale(cross: Number, change: Tensor) -> Number:
    """Return the cross-products in units smaller by 2^change, (columns,)."""
    result = zeros_like(cross, len(cross), len(cross))
    for rows in row_blocks(len(change), len(change)):
        result[rows] = ldexp(cross[rows], change + change[rows, None])
    return result


def _solve_scaled(
    equations: NormalEquations[Number], scaled: ScaledEquations[Number], ridge: float
) -> Solution[Number]:
    d, exponent = equations.features, scaled.exponent
    max_rank = d if ridge > 0 else min(d, equations.max_rank)
    factorization = factor_independent(
        scaled.cross, scaled.mean, equations.weight, scaled.tolerance[:d], max_rank
    )
    kept, slope, residual = factorization.kept, factorization.solution, factorization.residual
    if scaled.penalty is not None:
        residual = residual - (slope * slope * scaled.penalty[kept, None]).sum(0)
    unseen = (to_float64(residual) <= scaled.tolerance[d:]).nonzero().flatten()
    residual[unseen] = zeros_like(residual, len(unseen))
    change = (exponent[d:] - exponent[kept, None]).clamp(-2044, 2044)
    coefficients = torch.full((d, len(factorization.level)), math.nan, dtype=torch.float64)
    coefficients[kept] = fitted = ldexp(to_float64(slope), change)
    intercept = ldexp(factorization.level, exponent[d:]) * equations.intercept
    inverse_factor = to_float64(factorization.inverse_factor)
    inverse = inverse_factor @ inverse_factor.T
    if not bool(torch.cat((fitted, intercept[None])).isfinite().all()):
        raise out_of_range("a coefficient")
    return Solution(
        coefficients=coefficients,
        intercept=intercept,
        collinear=tuple(sorted(set(range(d)) - set(kept.tolist()))),
        rank=len(kept) + equations.intercept,
        condition=condition_number(factorization.factor, inverse),
        digits=0.0,
        error_digits=0.0,
        ridge=ridge,
        scaled_coefficients=slope,
        scaled_intercept=factorization.level,
        residual=residual,
        total=scaled.total,
        has_constant=equations.intercept,
        variation=scaled.total,
        inverse=inverse,
        inverse_diagonal=factorization.inverse_diagonal,
        inverse_factor=factorization.inverse_factor,
        intercept_inverse=factorization.intercept_inverse,
        factor=factorization.factor,
        kept=kept,
        exponent=exponent,
        equations=equations,
    )


def _correct_digits(
    solution: Solution[Number], scaled: ScaledEquations[Number]
) -> tuple[float, float]:
    """Return `digits` and `error_digits`, as `Solution` has them.

    An error E in the cross-products moves b by A^-1 E (1, b), so by at most |A^-1| |E| (1, |b|),
    with |E_ij| = roundoff norm_i norm_j (R. D. Skeel, Scaling for numerical stability in Gaussian
    elimination, J. ACM 26 (1979)), times 1 / (1 - p), as A^-1 has moved too; p is the only
    eigenvalue of |A^-1| |E| other than 0. E moves the residual sum of squares by
    (1, -b)' E (1, -b). The error of a coefficient is relative to the coefficient or its standard
    error, whichever is larger; in `exact` a residual that cannot be seen counts as the smallest
    that can.
    """
    equations, kept = solution.equations, solution.kept
    d, in_float64 = equations.features, isinstance(equations.cross, Tensor)
    # The sweep of each column rounds the rest once more.
    roundoff = 4 * equations.roundoff + len(kept) * (2.0**-52 if in_float64 else 2.0**-104)
    norm, level = scaled.rounded_square.sqrt(), solution.scaled_intercept.abs()
    size = to_float64(solution.scaled_coefficients).abs()
    inverse, residual = solution.inverse, to_float64(solution.residual)
    row_norm = inverse.abs() @ norm[kept]
    growth = 1 / max(1e-300, 1 - roundoff * float(norm[kept] @ row_norm))
    rhs_error = roundoff * (norm[kept] @ size + norm[d:])
    residual_error = rhs_error.square() / roundoff * growth
    residual_error = residual_error.masked_fill(residual == 0, 0.0)
    variance = (residual - residual_error).clamp(min=0.0)
    if not in_float64:
        variance = torch.maximum(variance, scaled.tolerance[d:])
    variance = variance / max(solution.df_residual, 1)
    scale = torch.maximum(size, (inverse.diagonal()[:, None] * variance).sqrt())
    # Not the sum over the errors of the coefficients: these cancel in the intercept.
    intercept_norm = (to_float64(scaled.mean)[kept] @ inverse).abs() @ norm[kept]
    intercept_norm = intercept_norm + equations.intercept / to_float64(equations.weight).sqrt()
    intercept_error = intercept_norm * rhs_error * growth + roundoff * level
    intercept_variance = to_float64(solution.intercept_inverse) * variance
    intercept_scale = torch.maximum(level, intercept_variance.sqrt())
    coefficient_error = row_norm[:, None] * rhs_error * growth
    variance_error = roundoff * row_norm.square() * growth
    digits = _digits((coefficient_error, scale), (intercept_error, intercept_scale))
    error_digits = _digits((variance_error, inverse.diagonal()), (residual_error, residual))
    if in_float64:  # which cannot tell a small number from 0
        digits = 0.0 if solution.collinear else digits
        error_digits = error_digits if solution.residuals_seen else 0.0
        error_digits = 0.0 if solution.collinear else error_digits
    return digits, error_digits


def _digits(*errors_and_scales: tuple[Tensor, Tensor]) -> float:
    # A number that may be 0 has no digits safe, and neither has an overflow.
    losses = torch.cat([(error / scale)[error != 0] for error, scale in errors_and_scales])
    digits = -math.log10(max([1e-300, *losses.nan_to_num(math.inf).tolist()]))
    # A first-order bound says nothing about an error as large as the number itself.
    return min(_MAX_DIGITS, digits) if digits >= 1 else 0.0


def out_of_range(what: str) -> InputError:
    """Return the error for a number outside float64's range."""
    return InputError(
        f"x, y, ridge: {what} leaves the range of float64; "
        "give columns in units that are less far apart"
    )
