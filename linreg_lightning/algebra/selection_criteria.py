"""Criteria that choose a penalty from the rows of the fit, without held-out rows.

With n rows of weight above 0, W = sum w, SSR = sum w r^2, and df the effective degrees of freedom,
the intercept included:

    log L = (sum log w - n log(2 pi SSR / n) - n) / 2     of normal errors, as `Fit.statistics`
    AIC   = 2 df - 2 log L
    BIC   = df log n - 2 log L
    Cp    = SSR / s^2 - n + 2 df,   s^2 = SSR / (n - k) of least squares with all k terms
    GCV   = (SSR / W) / (1 - df / n)^2

The degrees of freedom of y -> S y are the trace of S. `ridge_path` gives those of ridge. The
leave-one-out error of ridge, the mean of (r_i / (1 - S_ii))^2, needs S_ii of each row, and so a
second pass over the rows. GCV, which replaces each S_ii by the mean df / n, stands for it here.

Sources: H. Akaike, IEEE Trans. Autom. Control 19 (1974); G. Schwarz, Ann. Stat. 6 (1978);
C. L. Mallows, Some comments on Cp, Technometrics 15 (1973); G. H. Golub, M. Heath, G. Wahba,
Generalized cross-validation as a method for choosing a good ridge parameter, Technometrics 21
(1979); H. Zou, T. Hastie, R. Tibshirani, On the "degrees of freedom" of the lasso, Ann. Stat. 35
(2007); R. J. Tibshirani, J. Taylor, Degrees of freedom in lasso problems, Ann. Stat. 40 (2012).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from linreg_lightning.algebra.double_double import Number, ldexp, to_float64
from linreg_lightning.algebra.gram import NormalEquations
from linreg_lightning.algebra.inference import residual_variance
from linreg_lightning.algebra.penalty_scale import StandardizedEquations
from linreg_lightning.algebra.solve import solve


class SelectionCriteria(NamedTuple):
    """The criteria of each fit, (..., targets) float64; the smallest is the best."""

    aic: Tensor  # -inf where all residuals are 0
    bic: Tensor  # likewise
    cp: Tensor  # NaN without residual degrees of freedom or residuals of least squares
    gcv: Tensor  # NaN where df reaches n


def selection_criteria(
    equations: StandardizedEquations[Any],
    residual: Tensor,
    degrees_of_freedom: Tensor,
    noise_variance: Tensor,
) -> SelectionCriteria:
    """Return AIC, BIC, Mallows' Cp and generalised cross-validation of fits.

    Args:
        equations: of the rows of the fit.
        residual: SSR / W, (..., targets).
        degrees_of_freedom: df, (..., targets).
        noise_variance: s^2 of least squares, (targets,), as `noise_variance` gives it.

    >>> from linreg_lightning.algebra import ExactGram
    >>> from linreg_lightning.algebra.penalty_scale import standardize_equations
    >>> from linreg_lightning.algebra.ridge_path import ridge_path
    >>> from linreg_lightning.batch import Batch
    >>> gram, x = ExactGram(features=1), torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    >>> gram.update(Batch(x, torch.tensor([[1.0], [3.0], [2.0], [4.0]])))
    >>> equations = gram.normal_equations()
    >>> standardized = standardize_equations(equations)
    >>> path = ridge_path(standardized, torch.tensor([0.25]))
    >>> values = path.residual, path.degrees_of_freedom, noise_variance(equations)
    >>> selection_criteria(standardized, *values).cp
    tensor([[1.7422]], dtype=torch.float64)
    """
    n, df = equations.rows, degrees_of_freedom
    squares = residual * equations.weight  # SSR
    deviance = n * ((2 * math.pi / n * squares).log() + 1) - equations.log_weight  # -2 log L
    spread = torch.where(df < n, 1 - df / n, math.nan)
    variance = torch.where(noise_variance > 0, noise_variance, math.nan)
    return SelectionCriteria(
        aic=2 * df + deviance,
        bic=df * math.log(n) + deviance,
        cp=squares / variance - n + 2 * df,
        gcv=residual / spread.square(),
    )


def noise_variance(equations: NormalEquations[Number]) -> Tensor:
    """Return s^2 = SSR / (n - k) of least squares, (targets,); NaN where n - k is 0."""
    solution = solve(equations)
    unit = 2 * solution.exponent[equations.features :] + equations.weight_exponent
    return ldexp(to_float64(residual_variance(solution)), unit)


def sparse_degrees_of_freedom(
    equations: StandardizedEquations[Any], standardized: Tensor, alphas: Tensor, l1_ratio: float
) -> Tensor:
    """Return the degrees of freedom of the lasso and the elastic net; (alphas, targets).

    With the columns x_A of the coefficients that are not 0, they are an unbiased estimate: the
    trace of x_A (x_A'x_A + alpha (1 - l1_ratio))^-1 x_A'. That of the lasso is the rank of x_A,
    which is the number of the columns unless some are combinations of others. The intercept and
    columns without a penalty count as 1 each. The elastic net takes a factorisation of A for each
    alpha and target.

    Args:
        equations: of the rows of the fit.
        standardized: g = s_j b_j, (alphas, penalized, targets), with exact zeros.
        alphas: (alphas,) for all targets, or (alphas, targets).
        l1_ratio: from 0 to 1.
    """
    count, targets = standardized.shape[0], standardized.shape[2]
    cross, active = to_float64(equations.cross), standardized != 0
    square_penalty = (1 - l1_ratio) * alphas.double().reshape(count, -1).expand(-1, targets)
    result = active.sum(1).double()
    if bool((square_penalty > 0).any()) or _rank(torch.linalg.eigvalsh(cross)) < len(cross):
        for fit in range(count):
            for target in range(targets):
                kept = active[fit, :, target].nonzero().flatten()
                penalty = square_penalty[fit, target]
                result[fit, target] = _trace(cross[kept][:, kept], penalty)
    return equations.fixed_terms + result


def _trace(cross: Tensor, penalty: Tensor) -> float:
    """Return the trace of (A + penalty)^-1 A, the rank of A without a penalty."""
    if penalty > 0:
        factor, failed = torch.linalg.cholesky_ex(cross + penalty.expand(len(cross)).diag())
        if not failed:
            # Of the penalty times the inverse, whose trace is the sum of the squares of L^-1.
            identity = torch.eye(len(cross), dtype=cross.dtype)
            inverse = torch.linalg.solve_triangular(factor, identity, upper=False)
            return len(cross) - float(penalty * inverse.square().sum())
    eigenvalues = torch.linalg.eigvalsh(cross)
    share = (eigenvalues / (eigenvalues + penalty)).clamp(0.0, 1.0)
    return float(share.sum()) if penalty > 0 else _rank(eigenvalues)


def _rank(eigenvalues: Tensor) -> int:
    if not len(eigenvalues):
        return 0
    limit = 2.0**-50 * len(eigenvalues) * eigenvalues[-1]
    return int((eigenvalues > limit).sum())
