"""Paths of the lasso and the elastic net for several sets of rows at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from linreg_lightning.algebra.double_double import ldexp, to_float64
from linreg_lightning.algebra.elastic_net import elastic_net_paths
from linreg_lightning.algebra.penalty_scale import StandardizedEquations


class SparsePath(NamedTuple):
    """The fits of one set of rows for R l1_ratios and A alphas."""

    standardized: Tensor  # g, (R, A, penalized, targets)
    # How far the objective may be above its minimum, relative to that of g = 0; (R, A, targets).
    gap: Tensor


def sparse_paths(
    problems: Sequence[StandardizedEquations[Any]],
    l1_ratios: Tensor,
    alphas: Tensor,
    progress: Callable[[float], None] | None = None,
) -> list[SparsePath]:
    """Minimise the objective of `penalty_scale` for each set of rows, l1_ratio, alpha and target.

    Args:
        problems: with the same targets; a column may have a penalty in some of them only.
        l1_ratios: above 0, (R,).
        alphas: (R, A, targets), in the user's units, the same for all problems.
        progress: called with the share of the fits that are done.
    """
    ratios, count, targets = alphas.shape
    columns = torch.cat([problem.penalized for problem in problems]).unique()
    if not len(columns):  # all columns are constant
        empty = alphas.new_zeros(ratios, count, 0, targets)
        return [SparsePath(empty, torch.zeros_like(alphas)) for _ in problems]
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
    penalty = alphas.permute(0, 2, 1)  # (R, targets, A)
    l1 = ldexp(l1_ratios[:, None, None] * penalty, -exponent[:, None, :, None])
    l2 = ((1 - l1_ratios[:, None, None]) * penalty).expand_as(l1)
    fits, gaps = elastic_net_paths(
        cross,
        xy.repeat(1, ratios, 1),
        square.repeat(1, ratios),
        l1.flatten(1, 2),
        l2.flatten(1, 2),
        progress,
    )
    gaps = (
        gaps.view(len(problems), ratios, targets, count)
        / (square / 2).clamp(min=1e-300)[:, None, :, None]
    )
    fits = fits.view(len(problems), ratios, targets, count, len(columns)).permute(0, 1, 3, 4, 2)
    return [
        SparsePath(g[:, :, place], gap.mT) for g, gap, place in zip(fits, gaps, places, strict=True)
    ]
