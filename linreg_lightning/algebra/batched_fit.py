"""Least squares of many groups of rows at a time, in float64: moments, Cholesky, inference.

The same steps, criteria and error bounds as in `gram_float64`, `solve` and `inference`, on tensors
whose first dimension is that of the groups. A group that these cannot fit with certainty gets
0 digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from linreg_lightning.algebra.student_t import t_quantile, t_two_sided
from linreg_lightning.batch import Batch

_MAX_DIGITS = 15.9
_PRODUCT_ROWS = 128  # of one matrix product; fewer rows mean less rounding error
_CASCADE, _ROUNDINGS_OF_A_TERM = 16, 6  # as in `cross_products`
_ROUNDINGS_IN_BOUND = 8  # as in `gram_float64`
_EXACT_BITS = 51  # `solve` takes columns in `exact` to be rounded to 2^-51 of their entries
# Rounding errors of the mean are below 2^-35 of it, for as many rows as there may be.
_CONSTANT = 2.0**-64
_SAFE = 2.0**600  # sums of squares up to this, and from 1 over this, need no units


class GroupMoments(NamedTuple):
    """Means and centred cross-products of [x, y] of each group; sums without an intercept."""

    weight: Tensor  # the sum of the weights, (groups,)
    mean: Tensor  # (groups, columns); zeros without an intercept
    cross: Tensor  # (groups, columns, columns)
    constant: Tensor  # whether a column has a single value; without an intercept: only zeros


class _Solution(NamedTuple):
    """What `Solution` has, of each group; columns of a single value have slopes of 0."""

    slope: Tensor  # (groups, features, targets)
    level: Tensor  # the intercept, (groups, targets)
    inverse: Tensor  # (X'WX)^-1, (groups, features, features)
    level_inverse: Tensor  # 1 / sum(w) + mean' (X'WX)^-1 mean, (groups,)
    residual: Tensor  # (groups, targets)
    rank: Tensor  # (groups,) int64
    is_certain: Tensor  # whether all other columns are kept and all residuals seen, (groups,)


def padded_size(rows: int) -> int:
    """Return the number of rows to which `group_moments` wants groups of so many to be padded."""
    return rows if rows <= _PRODUCT_ROWS else -(-rows // _PRODUCT_ROWS) * _PRODUCT_ROWS


def group_moments(rows: Batch, count: Tensor, intercept: bool) -> GroupMoments:
    """Return the moments of groups that have `padded_size` rows each, of which `count` are real."""
    x, y, weight = rows
    groups, columns = len(count), 1 + x.shape[1] + y.shape[1]
    z = torch.empty(rows.rows, columns, dtype=torch.float64)
    z[:, 0], z[:, 1 : 1 + x.shape[1]], z[:, 1 + x.shape[1] :] = 1.0, x, y
    z = z.view(groups, -1, columns)
    size = z.shape[1]
    is_real = (torch.arange(size) < count[:, None])[..., None]
    padding = (~is_real).flatten().nonzero().flatten()
    w = None if weight is None else weight.double().view(groups, size, 1) * is_real
    z.view(-1, columns).index_fill_(0, padding, 0.0)
    mean = torch.zeros(groups, 1, columns, dtype=torch.float64)
    if intercept:
        sums = (z if w is None else z * w).sum(1, keepdim=True)
        mean[..., 1:] = sums[..., 1:] / sums[..., :1]
        z -= mean
        z.view(-1, columns).index_fill_(0, padding, 0.0)
    blocks = [v.view(-1, min(size, _PRODUCT_ROWS), columns) for v in (z if w is None else z * w, z)]
    gram = torch.bmm(blocks[0].mT, blocks[1]).view(groups, -1, columns, columns).sum(1)
    total, cross, mean = gram[:, 0, 0], gram[:, 1:, 1:], mean[:, 0, 1:]
    if intercept:
        rest = gram[:, 0, 1:] / total[:, None]  # the rounding error of the mean
        cross, mean = cross - gram[:, 1:, :1] * rest[:, None], mean + rest
    constant = cross.diagonal(dim1=1, dim2=2) <= _CONSTANT * total[:, None] * mean.square()
    if bool(constant.any()):
        groups_of_it = constant.any(1).nonzero().flatten()
        values = z[groups_of_it, :, 1:]
        constant[groups_of_it] = ((values == values[:, :1]) | ~is_real[groups_of_it]).all(1)
        first = torch.cat((x[::size], y[::size]), 1).double()
        mean = torch.where(constant, first, mean) if intercept else mean
        cross = cross.masked_fill(constant[:, None] | constant[..., None], 0.0)
    return GroupMoments(total, mean, cross, constant)


def fit_groups(
    parts: Sequence[GroupMoments],
    rows: Tensor,
    precision: Sequence[int],
    intercept: bool,
    confidence: float,
) -> dict[str, Tensor]:
    """Return the fields of `GroupedFit` but `groups` and `rows`; `precision` is bits of columns."""
    moments = GroupMoments(*(torch.cat(part) for part in zip(*parts, strict=True)))
    features = len(precision)
    products = -(-rows // _PRODUCT_ROWS)
    roundings = rows.clamp(max=_PRODUCT_ROWS) + products.clamp(max=_CASCADE) + products // _CASCADE
    roundings = (roundings + _ROUNDINGS_OF_A_TERM) / _ROUNDINGS_IN_BOUND
    roundoff = 2.0**-52 * roundings.clamp(min=1.0)[:, None]
    tolerance = _tolerance(moments, roundoff, precision)
    solution = _solve(moments, tolerance, features, intercept)
    df = rows - solution.rank
    is_certain = solution.is_certain & (df > 0)
    df = df.clamp(min=1).double()
    digits = _digits(moments, solution, roundoff, df, intercept)
    variance = solution.residual / df[:, None]
    inverse = solution.inverse.diagonal(dim1=1, dim2=2)
    constant = moments.constant[:, :features]
    estimate = solution.slope.masked_fill(constant[..., None], torch.nan)
    inverse = inverse.masked_fill(constant, torch.nan)
    if intercept:
        estimate = torch.cat((solution.level[:, None], estimate), 1)
        inverse = torch.cat((solution.level_inverse[:, None], inverse), 1)
    standard_error = (inverse[..., None] * variance[:, None]).sqrt()
    t = estimate / standard_error
    distinct, which = df.unique(return_inverse=True)
    margin = t_quantile(confidence, distinct)[which][:, None, None] * standard_error
    total = moments.cross.diagonal(dim1=1, dim2=2)[:, features:]
    return {
        "rank": solution.rank,
        "estimate": estimate,
        "standard_error": standard_error,
        "t": t,
        "p": t_two_sided(t, df[:, None, None]),
        "low": estimate - margin,
        "high": estimate + margin,
        "r2": 1 - solution.residual / total,
        "digits": digits.masked_fill(~is_certain, 0.0),
    }


def _tolerance(moments: GroupMoments, roundoff: Tensor, precision: Sequence[int]) -> Tensor:
    """Return the sums of squares that rounding errors alone may cause, (groups, columns).

    They are the larger of those of `solve` in float64 and in `exact`: a column that either would
    leave out is not certain.
    """
    squares, features = moments.cross.diagonal(dim1=1, dim2=2), len(precision)
    bits = torch.full((squares.shape[1],), float(_EXACT_BITS), dtype=torch.float64)
    bits[:features] = bits[:features].minimum(torch.tensor(precision).double())
    entries = squares + moments.weight[:, None] * moments.mean.square()
    tolerance = torch.maximum(4 * roundoff * squares, torch.exp2(-2 * bits) * entries)
    return ((1 + features) * tolerance).masked_fill(moments.constant, 0.0)


def _solve(moments: GroupMoments, tolerance: Tensor, d: int, intercept: bool) -> _Solution:
    """Minimise by Cholesky's factor R of the cross-products of each group."""
    cross, constant = moments.cross, moments.constant[:, :d]
    squares = cross.diagonal(dim1=1, dim2=2)
    # A column of a single value gets a row of the unit matrix.
    factor, failed = torch.linalg.cholesky_ex(
        cross[:, :d, :d] + constant.double().diag_embed(), upper=True
    )
    identity = torch.eye(d, dtype=torch.float64).expand(len(cross), d, d)
    inverse_factor = torch.linalg.solve_triangular(factor, identity, upper=True)
    whitened = inverse_factor.mT @ cross[:, :d, d:]
    slope = torch.linalg.solve_triangular(factor, whitened, upper=True)
    residual = squares[:, d:] - whitened.square().sum(1)
    mean = moments.mean[:, :d].masked_fill(constant, 0.0)
    level = moments.mean[:, d:] - (mean[..., None] * slope).sum(1)
    large = (squares > 1 / _SAFE) & (squares < _SAFE)
    pivots = factor.diagonal(dim1=1, dim2=2).square()
    root = tolerance[:, None, :d].sqrt()
    is_certain = (
        (failed == 0)
        & (large | moments.constant).all(1)
        & (pivots > tolerance[:, :d]).all(1)
        & (root @ inverse_factor.abs() < 1).all(2)[:, 0]
        & ((residual > tolerance[:, d:]) & ~moments.constant[:, d:]).all(1)
    )
    return _Solution(
        slope=slope,
        level=level,
        inverse=inverse_factor @ inverse_factor.mT,
        level_inverse=1 / moments.weight + (mean[:, None] @ inverse_factor).square().sum((1, 2)),
        residual=residual,
        rank=(~constant).sum(1) + intercept,
        is_certain=is_certain,
    )


def _digits(
    moments: GroupMoments, solution: _Solution, roundoff: Tensor, df: Tensor, intercept: bool
) -> Tensor:
    """Return the smaller one of the `digits` and `error_digits` of `solve`, (groups,)."""
    d = solution.slope.shape[1]
    norm = moments.cross.diagonal(dim1=1, dim2=2).sqrt()
    norm, target_norm = norm[:, :d], norm[:, d:]
    roundoff = 4 * roundoff + solution.rank[:, None] * 2.0**-52
    size, level, inverse = solution.slope.abs(), solution.level.abs(), solution.inverse
    inverse_diagonal = inverse.diagonal(dim1=1, dim2=2)
    row_norm = (inverse.abs() @ norm[..., None])[..., 0]
    growth = 1 / (1 - roundoff * (norm * row_norm).sum(1, keepdim=True)).clamp(min=1e-300)
    rhs_error = roundoff * ((norm[:, None] @ size)[:, 0] + target_norm)
    residual_error = rhs_error.square() / roundoff * growth
    variance = (solution.residual - residual_error).clamp(min=0.0) / df[:, None]
    coefficient_error = (row_norm * growth)[..., None] * rhs_error[:, None]
    scale = torch.maximum(size, (inverse_diagonal[..., None] * variance[:, None]).sqrt())
    losses = [
        torch.where(coefficient_error > 0, coefficient_error / scale, 0.0).flatten(1),
        roundoff * row_norm.square() * growth / inverse_diagonal,
        residual_error / solution.residual,
    ]
    if intercept:
        mean = moments.mean[:, None, :d].masked_fill(moments.constant[:, None, :d], 0.0)
        level_norm = ((mean @ inverse).abs() @ norm[..., None])[:, 0]
        level_norm = level_norm + moments.weight[:, None].rsqrt()
        level_error = level_norm * rhs_error * growth + roundoff * level
        level_scale = (solution.level_inverse[:, None] * variance).sqrt()
        losses.append(level_error / torch.maximum(level, level_scale))
    worst = torch.cat(losses, 1).nan_to_num(torch.inf).amax(1)
    digits = -worst.clamp(min=1e-300).log10()
    return torch.where(digits >= 1, digits.clamp(max=_MAX_DIGITS), 0.0)
