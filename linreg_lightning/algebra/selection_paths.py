"""Paths of penalised fits of several sets of rows: all rows, and those of all folds but one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any, NamedTuple

import torch
from torch import Tensor

from linreg_lightning.algebra.double_double import ldexp, to_float64
from linreg_lightning.algebra.elastic_net import elastic_net_paths
from linreg_lightning.algebra.penalty_scale import (
    StandardizedEquations,
    alpha_grid,
    standardize_equations,
)
from linreg_lightning.algebra.ridge_path import MAX_DIGITS, ridge_path
from linreg_lightning.algebra.selection_criteria import sparse_degrees_of_freedom
from linreg_lightning.algebra.selection_options import SelectionOptions

_SOLVER_ROUNDOFF = 2.0**-51  # of paths of the lasso and the elastic net
_MAX_PENALTY = 2.0**1000  # far above that which makes all coefficients 0


class Fits(NamedTuple):
    """The fits of one set of rows for all l1_ratios (R) and alphas (A), in the user's units."""

    coefficients: Tensor  # (R, A, features, targets)
    intercept: Tensor  # (R, A, targets)
    # How far the objective may be above its minimum, relative to that of g = 0; (R, A, targets).
    gap: Tensor
    digits: Tensor  # as `RidgePath.digits`, NaN of other penalties; (R, A, targets)
    moved: Tensor  # how far, at most about, rounding moves predictions of other rows, likewise


def standardized(equations: Any, options: SelectionOptions) -> StandardizedEquations[Any]:
    """Return the objective of one set of rows."""
    return standardize_equations(
        equations, standardize=options.standardize, unpenalized=options.unpenalized
    )


def penalty_scales(total: StandardizedEquations[Any]) -> Tensor:
    """Return s_j in the user's units, 0 of columns left out and without a penalty; (features,)."""
    scales, columns = torch.zeros(total.features, dtype=torch.float64), total.penalized
    scales[columns] = ldexp(to_float64(total.scale), total.exponent[columns])
    return scales


def choose_alphas(total: StandardizedEquations[Any], options: SelectionOptions) -> Tensor:
    """Return the alphas of each l1_ratio, those given or a grid for all rows; (R, A, targets)."""
    values: Any = options.alphas
    if isinstance(values, Integral):
        count = int(values)
        return torch.stack([alpha_grid(total, ratio, count) for ratio in options.l1_ratios])
    given = torch.tensor([float(alpha) for alpha in values], dtype=torch.float64)
    targets, ratios = len(total.target_exponent), len(options.l1_ratios)
    return given[None, :, None].expand(ratios, -1, targets)


def fit_paths(
    problems: Sequence[StandardizedEquations[Any]],
    l1_ratios: Tensor,
    alphas: Tensor,
    progress: Callable[[float], None] | None = None,
) -> list[Fits]:
    """Return the fits to each set of rows, all with the same alphas, (R, A, targets).

    The l1_ratios are all above 0, or the only one is 0. A column may have a penalty in some sets of
    rows and be constant in others. Where the alphas of a target are all 0, no column with a penalty
    has a covariance with it: coefficients are 0 for any alpha. `progress` is called with the share
    of the fits that are done.
    """
    alphas = torch.where(alphas > 0, alphas, 1.0)
    if bool(l1_ratios.any()):
        return _fit_sparse_paths(problems, l1_ratios, alphas, progress)
    return _fit_ridge_paths(problems, alphas[0], progress)


def _fit_sparse_paths(
    problems: Sequence[StandardizedEquations[Any]],
    l1_ratios: Tensor,
    alphas: Tensor,
    progress: Callable[[float], None] | None,
) -> list[Fits]:
    """As `fit_paths`, for the lasso and the elastic net: all sets of rows are solved together."""
    ratios, count, targets = alphas.shape
    columns = torch.cat([problem.penalized for problem in problems]).unique()
    places = [torch.searchsorted(columns, problem.penalized) for problem in problems]
    cross, xy = [], torch.zeros(len(problems), targets, len(columns), dtype=torch.float64)
    for k, (problem, place) in enumerate(zip(problems, places, strict=True)):
        matrix = to_float64(problem.cross)
        if len(place) < len(columns):  # a column of zeros has coefficients of 0
            matrix = matrix.new_zeros(len(columns), len(columns))
            matrix[place[:, None], place] = to_float64(problem.cross)
        cross.append(matrix)
        xy[k][:, place] = to_float64(problem.xy).mT
    square = torch.stack([to_float64(problem.square) for problem in problems])
    exponent = torch.stack([problem.target_exponent for problem in problems])
    ratio, penalty = l1_ratios[:, None, None], alphas.mT  # (R, targets, A)
    l1 = ldexp(ratio * penalty, -exponent[:, None, :, None])
    l1 = l1.clamp(max=_MAX_PENALTY)  # infinity times a coefficient of 0 is NaN
    l2 = ((1 - ratio) * penalty).expand_as(l1)
    repeated = xy.repeat(1, ratios, 1), square.repeat(1, ratios)
    fits, gaps = elastic_net_paths(cross, *repeated, l1.flatten(1, 2), l2.flatten(1, 2), progress)
    fits, gaps = fits.view(*l1.shape, len(columns)), gaps.view_as(l1)
    results = []
    for problem, place, g, gap in zip(problems, places, fits, gaps, strict=True):
        b, intercept = problem.coefficients(g[..., place].permute(3, 0, 2, 1).flatten(1))
        start = (to_float64(problem.square) / 2).clamp(min=1e-300)  # the objective at g = 0
        b = b.view(ratios, count, *b.shape[1:])
        results.append(
            Fits(
                b,
                intercept.view(ratios, count, targets),
                gap=gap.mT / start,
                digits=torch.full_like(alphas, torch.nan),
                moved=_moved_predictions(problem, b, l1_ratios, alphas),
            )
        )
    return results


def _fit_ridge_paths(
    problems: Sequence[StandardizedEquations[Any]],
    alphas: Tensor,
    progress: Callable[[float], None] | None,
) -> list[Fits]:
    results, no_ratio = [], torch.zeros(1, dtype=torch.float64)
    for done, problem in enumerate(problems, 1):
        path = ridge_path(problem, alphas)
        values = path.coefficients, path.intercept, torch.zeros_like(path.digits), path.digits
        moved = _moved_predictions(problem, path.coefficients[None], no_ratio, alphas[None])
        results.append(Fits(*(v[None] for v in (*values, moved[0]))))
        if progress:
            progress(done / len(problems))
    return results


def _moved_predictions(
    problem: StandardizedEquations[Any], b: Tensor, l1_ratios: Tensor, alphas: Tensor
) -> Tensor:
    """Return `Fits.moved` of the coefficients b.

    Only of fits with more columns than rows, else 0. There A has no inverse, and errors E of A and
    h move g by up to |E| (1, |g|) / l2, l2 = alpha (1 - l1_ratio), in directions that are not in
    the rows of the fit: the objective hardly changes, but predictions of other rows do.
    """
    g = problem.standardized(b.movedim(2, 0)).abs()
    roundoff = torch.where(l1_ratios > 0, _SOLVER_ROUNDOFF, 0.0).clamp(min=problem.roundoff)
    size = torch.tensordot(problem.norm, g, 1) + problem.target_norm
    l2 = alphas * (1 - l1_ratios)[:, None, None]
    singular = (g != 0).sum(0) > problem.rows - problem.fixed_terms
    moved = roundoff[:, None, None] * problem.norm.square().sum().sqrt() * size / l2
    return ldexp(torch.where(singular & (l2 > 0), moved, 0.0), problem.target_exponent)


def degrees_of_freedom(
    problem: StandardizedEquations[Any], fits: Fits, l1_ratios: Tensor, alphas: Tensor
) -> Tensor:
    """Return the effective degrees of freedom of each fit, (R, A, targets)."""
    cross, results = to_float64(problem.cross), []
    for l1_ratio, grid, b in zip(l1_ratios.tolist(), alphas, fits.coefficients, strict=True):
        if l1_ratio == 0:
            eigenvalues = torch.linalg.eigvalsh(cross).clamp(min=0.0)[:, None, None]
            share = eigenvalues / (eigenvalues + grid)
            results.append(problem.fixed_terms + share.nan_to_num(0.0).sum(0))
        else:
            places = b[:, problem.penalized]
            results.append(sparse_degrees_of_freedom(problem, places, grid, l1_ratio))
    return torch.stack(results)


def correct_digits(
    problem: StandardizedEquations[Any],
    coefficients: Tensor,
    alpha: Tensor,
    l1_ratio: Tensor,
    residual: Tensor,
) -> Tensor:
    """Return the correct digits of coefficients, as `RidgePath.digits`, (targets,).

    While no coefficient becomes 0 or changes its sign, errors E of A and h move g, of the columns
    that are not 0, by up to |M| |E| (1, |g|) with M = (A + alpha (1 - l1_ratio))^-1. Paths of the
    lasso and the elastic net are computed in float64 also where the sums are exact.

    Args:
        problem: of the rows of the fit.
        coefficients: b of each target, (features, targets).
        alpha: of each target, (targets,).
        l1_ratio: likewise.
        residual: SSR / W in the user's units, likewise.
    """
    cross, fits = to_float64(problem.cross), problem.standardized(coefficients)
    residual = ldexp(residual, -2 * problem.target_exponent)
    roundoff, results = max(problem.roundoff, _SOLVER_ROUNDOFF), []
    for t in range(len(alpha)):
        active = fits[:, t].nonzero().flatten()
        g, norm = fits[active, t], problem.norm[active]
        penalty = alpha[t] * (1 - l1_ratio[t])
        matrix = cross[active][:, active] + penalty.expand(len(active)).diag()
        factor, failed = torch.linalg.cholesky_ex(matrix)
        if int(failed):
            results.append(0.0)
            continue
        inverse = torch.cholesky_inverse(factor)
        error = roundoff * (norm @ g.abs() + problem.target_norm[t]) * (inverse.abs() @ norm)
        # The diagonal of M A M.
        variance = inverse.diagonal() - penalty * inverse.square().sum(1)
        standard_error = (variance.clamp(min=0.0) * residual[t] / problem.rows).sqrt()
        share = error / torch.maximum(g.abs(), standard_error)
        results.append(max(0.0, -math.log10(max([10**-MAX_DIGITS, *share.tolist()]))))
    return torch.tensor(results, dtype=torch.float64)
