"""Ridge regression for many penalties from one eigendecomposition.

With A = V diag(e) V' and h of the standardized equations (see `penalty_scale`), the coefficients
for the penalty alpha are g = V diag(1 / (e + alpha)) V'h, the trace of the matrix that turns y into
its fit is the sum of e_i / (e_i + alpha), and the mean square residual is m - h'g - alpha g'g.

Eigenvalues come out with an error of 2^-53 of the largest. So the smallest are found again, from
the cross-products of their own directions in 106 bits, and each g is refined: the decomposition
solves for the gradient that is left, which is computed in 106 bits too. This gives full digits for
duplicate columns and for alpha down to about 1e-20 of the largest eigenvalue.

Sources: A. E. Hoerl, R. W. Kennard, Ridge regression, Technometrics 12 (1970); N. J. Higham,
Accuracy and stability of numerical algorithms (2002), chapter 12, for the refinement.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from linreg_lightning.algebra.cholesky import diagonal
from linreg_lightning.algebra.double_double import DoubleDouble, Number, ldexp
from linreg_lightning.algebra.multiprecision import matrix_product
from linreg_lightning.algebra.penalty_scale import StandardizedEquations, repeat_columns

# A correction below these shares of its coefficient and of the sum of all is only rounding.
_ROUNDING, _NEGLIGIBLE = 2.0**-51, 2.0**-70
_MAX_REFINEMENTS = 6
MAX_DIGITS = 15.9
_CONVERGES = 2.0**-6  # a correction whose energy is above this share of the last does not help
_SMALL = 2.0**-26  # eigenvalues below this share of the largest have lost half of their digits


class RidgePath(NamedTuple):
    """Fits for several penalties, in the user's units; float64 on the CPU."""

    alphas: Tensor  # (alphas, targets)
    coefficients: Tensor  # b, (alphas, features, targets); 0 of constant columns
    intercept: Tensor  # b_0, (alphas, targets)
    # The effective degrees of freedom: the trace of the matrix that turns y into its fit, where the
    # intercept and columns without a penalty count as 1 each; (alphas, targets)
    degrees_of_freedom: Tensor
    residual: Tensor  # (1 / W) sum w r^2 over the rows of the fit, W = sum w; (alphas, targets)
    # An estimate, rather too low, of the correct digits of the penalised coefficients: of each
    # coefficient or, if that is larger, of its standard error with the penalty; at most 15.9. Sums
    # in float64 leave few where columns are nearly collinear and alpha is small; (alphas, targets)
    digits: Tensor


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
    count = len(alphas)
    # One column for each alpha and target.
    alpha = alphas.flatten()
    right = repeat_columns(DoubleDouble.of(equations.xy), count)
    square = repeat_columns(DoubleDouble.of(equations.square)[None], count)[0]
    cross, eigenvalues, vectors = _decompose(DoubleDouble.of(equations.cross))
    fits = _solve(cross, right, alpha, eigenvalues, vectors)
    freedom = (eigenvalues[:, None] / (eigenvalues[:, None] + alpha)).sum(0)
    mean_square = (square - ((right + fits * alpha) * fits).sum(0)).high
    coefficients, intercept = equations.coefficients(fits)
    residual = mean_square.clamp(min=0.0).reshape(count, targets)
    return RidgePath(
        alphas=alphas,
        coefficients=coefficients,
        intercept=intercept,
        degrees_of_freedom=equations.fixed_terms + freedom.reshape(count, targets),
        residual=ldexp(residual, 2 * equations.target_exponent),
        digits=_correct_digits(
            equations, fits.high, mean_square, alpha, eigenvalues, vectors
        ).reshape(count, targets),
    )


def _correct_digits(
    equations: StandardizedEquations[Number],
    fits: Tensor,
    mean_square: Tensor,
    alpha: Tensor,
    eigenvalues: Tensor,
    vectors: Tensor,
) -> Tensor:
    """Return -log10 of the largest relative error that errors E of A and h cause, to first order.

    With M = (A + alpha)^-1, E moves g_i by at most sum_j |M_ij| |E_j| (1, |g|), as in `solve`, and
    |M_ij| is at most the root of M_ii M_jj.
    """
    norm, squares = equations.norm, vectors.square()
    repeats = len(alpha) // len(equations.target_norm)
    inverse = 1 / (eigenvalues[:, None] + alpha)
    diagonal_root = (squares @ inverse).sqrt()
    rhs_error = equations.roundoff * (norm @ fits.abs() + equations.target_norm.repeat(repeats))
    error = diagonal_root * (norm @ diagonal_root) * rhs_error
    # Of an eigenvalue that may be 0 no standard error is known.
    known = eigenvalues * (eigenvalues > equations.roundoff * norm.square().sum())
    variance = mean_square.clamp(min=0.0) / equations.rows
    standard_error = (squares @ (known[:, None] * inverse.square()) * variance).sqrt()
    relative = (error / torch.maximum(fits.abs(), standard_error)).nan_to_num(0.0)
    largest = torch.cat((relative, torch.full_like(alpha, 10**-MAX_DIGITS)[None])).amax(0)
    return -largest.clamp(max=1.0).log10()


def _decompose(cross: DoubleDouble) -> tuple[DoubleDouble, Tensor, Tensor]:
    """Return A, its eigenvalues and its eigenvectors.

    Where the rounding of sums makes an eigenvalue negative, its size is added to A's diagonal.
    """
    eigenvalues, vectors = torch.linalg.eigh(cross.high)
    small = int((eigenvalues < _SMALL * eigenvalues[-1:]).sum())  # they come first
    if small:
        basis = vectors[:, :small]
        image = matrix_product(cross, DoubleDouble.of(basis))
        restricted = matrix_product(DoubleDouble.of(basis.T), image).high
        eigenvalues[:small], rotation = torch.linalg.eigh((restricted + restricted.T) / 2)
        vectors[:, :small] = basis @ rotation
    shift = max([0.0, *(-eigenvalues[:1]).tolist()])
    places = torch.arange(len(cross))
    cross = cross + 0.0  # a copy
    cross[places, places] = diagonal(cross) + shift
    return cross, eigenvalues + shift, vectors


def _solve(
    cross: DoubleDouble, right: DoubleDouble, alpha: Tensor, eigenvalues: Tensor, vectors: Tensor
) -> DoubleDouble:
    """Return (A + alpha)^-1 h for each column of `right` with its alpha."""

    def solve(right: Tensor, alpha: Tensor) -> Tensor:
        result: Tensor = vectors @ ((vectors.T @ right) / (eigenvalues[:, None] + alpha))
        return result

    fits = DoubleDouble.of(solve(right.high, alpha))
    energy = (right.high * fits.high).sum(0)  # the square of a norm in which corrections shrink
    active = torch.arange(len(alpha))
    for _ in range(_MAX_REFINEMENTS):
        fit = fits[:, active]
        rest = right[:, active] - matrix_product(cross, fit) - fit * alpha[active]
        change = solve(rest.high, alpha[active])
        new_energy = (rest.high * change).sum(0)
        better = new_energy <= _CONVERGES * energy[active]
        fit, change, active = fit[:, better] + change[:, better], change[:, better], active[better]
        # The next correction shrinks as this one did; to be safe, by half as many digits.
        ratio = (new_energy[better] / energy[active].clamp(min=1e-300)).clamp(min=0.0) ** 0.25
        fits[:, active], energy[active] = fit, new_energy[better]
        limit = _ROUNDING * fit.high.abs() + _NEGLIGIBLE * fit.high.abs().sum(0)
        precise = ratio * change.abs() <= limit
        active = active[~precise.all(0)]
        if not len(active):
            break
    return fits
