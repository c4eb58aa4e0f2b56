"""Ridge regression for many penalties from one eigendecomposition.

With A = V diag(e) V' and h of the standardized equations (see `penalty_scale`), the coefficients
for the penalty alpha are g = V diag(1 / (e + alpha)) V'h, and the trace of the matrix that turns y
into its fit is the sum of e_i / (e_i + alpha). Eigenvalues are right only to the rounding of the
largest, so each g is refined: the residual h - A g, which the residual sum of squares needs anyway,
is computed in 106 bits, and the decomposition solves for what is left. Where that does not
converge, as for duplicate columns and an alpha below 1e-13 of the largest eigenvalue, the equations
of that alpha are factored by themselves in 106 bits.

Sources: A. E. Hoerl, R. W. Kennard, Ridge regression, Technometrics 12 (1970); N. J. Higham,
Accuracy and stability of numerical algorithms (2002), chapter 12, for the refinement.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from linreg_lightning.algebra.cholesky import diagonal, factor_independent
from linreg_lightning.algebra.double_double import DoubleDouble, Number, ldexp
from linreg_lightning.algebra.multiprecision import matrix_product
from linreg_lightning.algebra.penalty_scale import StandardizedEquations, repeat_columns

# A correction of this share of a coefficient, or of the largest, is that of its rounding.
_ROUNDING, _NEGLIGIBLE = 2.0**-51, 2.0**-58
_MAX_REFINEMENTS = 6
_CONVERGES = 0.125  # a larger ratio of a correction to the one before it counts as divergence


class RidgePath(NamedTuple):
    """Fits for several penalties, in the user's units; float64 on the CPU."""

    alphas: Tensor  # (alphas, targets)
    coefficients: Tensor  # b, (alphas, features, targets); 0 of constant columns
    intercept: Tensor  # b_0, (alphas, targets)
    # The effective degrees of freedom: the trace of the matrix that turns y into its fit, which
    # counts the intercept and columns without a penalty as 1 each; (alphas, targets)
    degrees_of_freedom: Tensor
    residual: Tensor  # (1 / W) sum w r^2 over the rows of the fit, W = sum w; (alphas, targets)


def ridge_path(equations: StandardizedEquations[Number], alphas: Tensor) -> RidgePath:
    """Minimise (1/W) sum w (y - b_0 - x b)^2 + alpha sum_j p_j (s_j b_j)^2 for each alpha.

    Args:
        equations: those that `standardize_equations` returns.
        alphas: above 0; (alphas,) for all targets, or (alphas, targets).

    Raises:
        InputError: a coefficient leaves float64's range.

    >>> from linreg_lightning.algebra import ExactGram
    >>> from linreg_lightning.algebra.penalty_scale import standardize_equations
    >>> from linreg_lightning.batch import Batch
    >>> x, gram = torch.tensor([[0.0], [1.0], [2.0]]), ExactGram(features=1)
    >>> gram.update(Batch(x, 3 * x + 1))
    >>> path = ridge_path(standardize_equations(gram.normal_equations()), torch.tensor([1.0, 0.5]))
    >>> path.coefficients.flatten(), path.degrees_of_freedom.flatten()
    (tensor([1.5000, 2.0000], dtype=torch.float64), tensor([1.5000, 1.6667], dtype=torch.float64))
    """
    targets = len(equations.target_exponent)
    alphas = alphas.double().reshape(len(alphas), -1).expand(-1, targets)
    count, penalized = len(alphas), len(equations.penalized)
    # One column for each alpha and target.
    alpha = alphas.flatten()
    right = repeat_columns(DoubleDouble.of(equations.xy), count)
    square = repeat_columns(DoubleDouble.of(equations.square)[None], count)[0]
    cross = DoubleDouble.of(equations.cross)
    eigenvalues, vectors = torch.linalg.eigh(cross.high)
    eigenvalues = eigenvalues.clamp(min=0.0)
    # Rounding moves eigenvalues by that of the largest.
    freedom = (eigenvalues[:, None] / (eigenvalues[:, None] + alpha)).sum(0)
    fits, mean_square, converged = _refine(cross, right, square, alpha, eigenvalues, vectors)
    for place in (~converged).nonzero().flatten().tolist():
        one = slice(place, place + 1)
        fits[:, one], freedom[place] = _solve_one(cross, right[:, one], alpha[place])
        rest = right[:, one] - matrix_product(cross, DoubleDouble.of(fits[:, one]))
        mean_square[one] = _mean_square(square[one], right[:, one], rest, fits[:, one])
    standardized = fits.reshape(penalized, count, targets).movedim(1, 0)
    coefficients, intercept = equations.coefficients(standardized)
    residual = mean_square.clamp(min=0.0).reshape(count, targets)
    return RidgePath(
        alphas=alphas,
        coefficients=coefficients,
        intercept=intercept,
        degrees_of_freedom=equations.fixed_terms + freedom.reshape(count, targets),
        residual=ldexp(residual, 2 * equations.target_exponent),
    )


def _refine(
    cross: DoubleDouble,
    right: DoubleDouble,
    square: DoubleDouble,
    alpha: Tensor,
    eigenvalues: Tensor,
    vectors: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return g, (1/W) sum w r^2 and whether g is precise, one column for each alpha."""

    def solve(right: Tensor, alpha: Tensor) -> Tensor:
        result: Tensor = vectors @ ((vectors.T @ right) / (eigenvalues[:, None] + alpha))
        return result

    fits = solve(right.high, alpha)
    residual = torch.zeros_like(alpha)
    converged = torch.zeros_like(alpha, dtype=torch.bool)
    step = torch.full_like(alpha, torch.inf)
    active = torch.arange(len(alpha))
    for _ in range(_MAX_REFINEMENTS):
        if not len(active):
            break
        fit, some_right = fits[:, active], right[:, active]
        rest = some_right - matrix_product(cross, DoubleDouble.of(fit))
        residual[active] = _mean_square(square[active], some_right, rest, fit)
        gradient = rest - DoubleDouble.of(fit) * alpha[active]
        change = solve(gradient.high, alpha[active])
        size, largest = change.abs().amax(0), fit.abs().amax(0)
        precise = (change.abs() <= _ROUNDING * fit.abs() + _NEGLIGIBLE * largest).all(0)
        improves = ~precise & (size < _CONVERGES * step[active])
        fits[:, active[improves]] += change[:, improves]
        converged[active[precise]] = True
        step[active] = size
        active = active[improves]
    return fits, residual, converged


def _mean_square(
    square: DoubleDouble, right: DoubleDouble, rest: DoubleDouble, fit: Tensor
) -> Tensor:
    """Return m - 2 g'h + g'A g of each column, with h = `right` and h - A g = `rest`."""
    return (square - ((right + rest) * fit).sum(0)).high


def _solve_one(cross: DoubleDouble, right: DoubleDouble, alpha: Tensor) -> tuple[Tensor, Tensor]:
    """Return g, (penalized, 1), and its degrees of freedom from a factor in 106 bits."""
    count = len(cross)
    matrix = DoubleDouble(*torch.zeros(2, count + 1, count + 1, dtype=torch.float64))
    matrix[:count, :count], matrix[:count, count] = cross, right[:, 0]
    matrix[count, :count] = right[:, 0]
    place = torch.arange(count)
    matrix[place, place] = diagonal(cross) + alpha
    zeros, one = torch.zeros(count + 1, dtype=torch.float64), torch.ones((), dtype=torch.float64)
    tolerance = 2.0**-100 * count * diagonal(matrix).high[:count]
    mean, weight = DoubleDouble.of(zeros), DoubleDouble.of(one)
    factorization = factor_independent(matrix, mean, weight, tolerance, count)
    fit = torch.zeros(count, 1, dtype=torch.float64)
    fit[factorization.kept] = factorization.solution.high
    # The trace of A (A + alpha)^-1 is that of 1 - alpha (A + alpha)^-1.
    shrinkage = factorization.inverse_diagonal.sum(0) * alpha
    return fit, (DoubleDouble.of(torch.tensor(float(len(factorization.kept)))) - shrinkage).high
