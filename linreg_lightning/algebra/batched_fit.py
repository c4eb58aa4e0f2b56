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
_NEARLY_ONE = 2.0**-30  # the square of a distance; rounding errors are far smaller
_SAFE = 2.0**600  # sums of squares up to this, and from 1 over this, need no units


class GroupMoments(NamedTuple):
    """Means and centred cross-products of [x, y] of each group; sums without an intercept."""

    weight: Tensor  # the sum of the weights, (groups,)
    mean: Tensor  # (groups, columns); zeros without an intercept
    cross: Tensor  # (groups, columns, columns)
    constant: Tensor  # whether a column has a single value; without an intercept: only zeros
    sums: Tensor  # of the columns, around the mean with an intercept, (groups, columns)
    variation: Tensor  # sums of squares around the mean, of the targets, (groups, targets)


class _Solution(NamedTuple):
    """What `Solution` has, of each group, of columns scaled to length 1."""

    kept: Tensor  # 1.0 for columns that were fitted, else 0.0, (groups, features)
    df: Tensor  # the degrees of freedom of the residuals, (groups,) int64
    unit: Tensor  # of slopes, (groups, features, targets)
    target_norm: Tensor  # the unit of targets, (groups, targets)
    varies: Tensor  # 0.0 for a target of a single value, else 1.0, (groups, targets)
    mean: Tensor  # (groups, features)
    slope: Tensor  # (groups, features, targets); 0 for columns left out
    level: Tensor  # the intercept, (groups, targets)
    inverse_factor: Tensor  # R^-1 with R'R = X'WX, (groups, features, features)
    inverse: Tensor  # (X'WX)^-1
    level_inverse: Tensor  # 1 / sum(w) + mean' (X'WX)^-1 mean, (groups,)
    residual: Tensor  # (groups, targets); 0 without degrees of freedom
    variance: Tensor  # of the residuals, (groups, targets); NaN without degrees of freedom
    is_regular: Tensor  # whether R exists, (groups,)


def padded_size(rows: int) -> int:
    """Return the size to which a group of `rows` rows is padded for `group_moments`."""
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
    targets = slice(x.shape[1], None)
    variation = cross.diagonal(dim1=1, dim2=2)[:, targets]
    if not intercept:
        y_mean = (gram[:, 0, 1:] / total[:, None])[:, None, targets]
        squares = (z[..., 1:][..., targets] - y_mean).square() * is_real
        variation = (squares if w is None else w * squares).sum(1)
    constant = cross.diagonal(dim1=1, dim2=2) <= _CONSTANT * total[:, None] * mean.square()
    if bool(constant.any()):
        groups_of_it = constant.any(1).nonzero().flatten()
        values = z[groups_of_it, :, 1:]
        single = values[:, :1] if intercept else 0.0
        constant[groups_of_it] = ((values == single) | ~is_real[groups_of_it]).all(1)
        first = torch.cat((x[::size], y[::size]), 1).double()
        mean = torch.where(constant, first, mean) if intercept else mean
        cross = cross.masked_fill(constant[:, None] | constant[..., None], 0.0)
    return GroupMoments(total, mean, cross, constant, gram[:, 0, 1:], variation)


def fit_groups(
    parts: Sequence[GroupMoments],
    rows: Tensor,
    precision: Sequence[int],
    intercept: bool,
    confidence: float,
) -> dict[str, Tensor]:
    """Return the fields of `GroupedFit` but `groups` and `rows`; `precision` is bits of columns.

    `one` are the coefficients with which the columns come closest to 1 in all rows, (groups,
    features), and NaN where that is not close or there is an intercept. If they hold a constant so,
    `centered_r2` is right in place of `r2`.
    """
    moments = GroupMoments(*(torch.cat(part) for part in zip(*parts, strict=True)))
    solution = _solve(moments, rows, len(precision), intercept)
    digits = _digits(solution, moments.weight, rows, intercept)
    is_certain = _is_certain(moments, solution, precision)
    left_out = ~solution.kept.bool()
    estimate = (solution.slope * solution.unit).masked_fill(left_out[..., None], torch.nan)
    variance = solution.inverse.diagonal(dim1=1, dim2=2)[..., None] * solution.variance[:, None]
    standard_error = variance.sqrt() * solution.unit
    if intercept:
        unit = solution.target_norm[:, None]
        level_error = (solution.level_inverse[:, None] * solution.variance).sqrt()
        estimate = torch.cat((solution.level[:, None] * unit, estimate), 1)
        standard_error = torch.cat((level_error[:, None] * unit, standard_error), 1)
    t = estimate / standard_error
    standard_error = torch.where(estimate.isnan(), torch.nan, standard_error)
    df = solution.df.clamp(min=1).double()
    distinct, which = df.unique(return_inverse=True)
    margin = t_quantile(confidence, distinct)[which][:, None, None] * standard_error
    unexplained = solution.residual * solution.target_norm.square() / moments.variation
    r2_is_nan = moments.constant[:, len(precision) :]
    return {
        "one": _combine_to_one(moments, solution, len(precision)),
        "centered_r2": (1 - unexplained).masked_fill(moments.variation == 0, torch.nan),
        "rank": rows - solution.df,
        "estimate": estimate,
        "standard_error": standard_error,
        "t": t,
        "p": t_two_sided(t, df[:, None, None]),
        "low": estimate - margin,
        "high": estimate + margin,
        "r2": torch.where(r2_is_nan, torch.nan, 1 - solution.residual),
        "digits": digits.masked_fill(~is_certain, 0.0),
    }


def _solve(moments: GroupMoments, rows: Tensor, d: int, intercept: bool) -> _Solution:
    """Minimise by Cholesky's factor of the cross-products of columns scaled to length 1."""
    constant = moments.constant
    norm = moments.cross.diagonal(dim1=1, dim2=2).sqrt().masked_fill(constant, 1.0)
    # The first columns that vary fit a group of few rows perfectly.
    kept = ~constant[:, :d] & ((~constant[:, :d]).cumsum(1) <= rows[:, None] - int(intercept))
    df = rows - kept.sum(1) - int(intercept)
    cross = moments.cross / (norm[:, :, None] * norm[:, None])
    both = kept[:, :, None] & kept[:, None]
    # A column left out gets a row of the unit matrix.
    matrix = torch.where(both, cross[:, :d, :d], (~kept).double().diag_embed())
    factor, failed = torch.linalg.cholesky_ex(matrix, upper=True)
    identity = torch.eye(d, dtype=torch.float64).expand_as(matrix)
    inverse_factor = torch.linalg.solve_triangular(factor, identity, upper=True)
    whitened = inverse_factor.mT @ cross[:, :d, d:].masked_fill(~kept[..., None], 0.0)
    slope = inverse_factor @ whitened
    residual = cross.diagonal(dim1=1, dim2=2)[:, d:] - whitened.square().sum(1)
    residual = residual.masked_fill(df[:, None] == 0, 0.0)
    mean = (moments.mean / norm)[:, :d] * kept
    return _Solution(
        kept=kept.double(),
        df=df,
        unit=norm[:, None, d:] / norm[:, :d, None],
        target_norm=norm[:, d:],
        mean=mean,
        slope=slope,
        level=moments.mean[:, d:] / norm[:, d:] - (mean[..., None] * slope).sum(1),
        inverse_factor=inverse_factor,
        inverse=inverse_factor @ inverse_factor.mT,
        level_inverse=1 / moments.weight + (mean[:, None] @ inverse_factor).square().sum((1, 2)),
        residual=residual,
        variance=residual / df[:, None],
        varies=(~constant[:, d:]).double(),
        is_regular=failed == 0,
    )


def _combine_to_one(moments: GroupMoments, solution: _Solution, d: int) -> Tensor:
    """Return `one`, as `fit_groups` has it."""
    unit = solution.unit[..., 0] / solution.target_norm[:, :1]
    sums = moments.sums[:, :d] * unit * solution.kept
    whitened = (solution.inverse_factor.mT @ sums[..., None])[..., 0]
    rest = 1 - whitened.square().sum(1) / moments.weight
    one = (solution.inverse_factor @ whitened[..., None])[..., 0] * unit
    return one.masked_fill(~(rest < _NEARLY_ONE)[:, None], torch.nan)


def _is_certain(moments: GroupMoments, solution: _Solution, precision: Sequence[int]) -> Tensor:
    """Return whether `solve` in `exact` would keep the same columns and see the residuals."""
    d, constant = len(precision), moments.constant
    squares = moments.cross.diagonal(dim1=1, dim2=2)
    bits = torch.full((squares.shape[1],), _EXACT_BITS, dtype=torch.float64)
    bits[:d] = bits[:d].minimum(torch.tensor(precision).double())
    entries = 1 + moments.weight[:, None] * moments.mean.square() / squares
    rounding = torch.exp2(-bits) * ((1 + d) * entries).sqrt()
    of_features = torch.where(solution.kept > 0, rounding[:, :d], 0.0)
    seen = (solution.residual > rounding[:, d:].square()) | constant[:, d:]
    in_range = (squares > 1 / _SAFE) & (squares < _SAFE)
    return (
        solution.is_regular
        & (in_range | constant).all(1)
        & ((of_features[:, None] @ solution.inverse_factor.abs()) < 1).all(2)[:, 0]
        & (seen.all(1) | (solution.df == 0))
    )


def _digits(solution: _Solution, weight: Tensor, rows: Tensor, intercept: bool) -> Tensor:
    """Return the smaller one of the `digits` and `error_digits` of `solve`, (groups,)."""
    products = -(-rows // _PRODUCT_ROWS)
    roundings = rows.clamp(max=_PRODUCT_ROWS) + products.clamp(max=_CASCADE) + products // _CASCADE
    roundings = ((roundings + _ROUNDINGS_OF_A_TERM) / _ROUNDINGS_IN_BOUND).clamp(min=1.0)
    roundoff = (2.0**-52 * (4 * roundings + rows - solution.df))[:, None]
    inverse, residual, norm = solution.inverse, solution.residual, solution.kept
    size, inverse_diagonal = solution.slope.abs(), inverse.diagonal(dim1=1, dim2=2)
    row_norm = (inverse.abs() @ norm[..., None])[..., 0]
    growth = 1 / (1 - roundoff * (norm * row_norm).sum(1, keepdim=True)).clamp(min=1e-300)
    rhs_error = roundoff * (size.sum(1) + solution.varies)
    residual_error = rhs_error.square() / roundoff * growth
    variance = (residual - residual_error).clamp(min=0.0) / solution.df.clamp(min=1)[:, None]
    pairs = [
        (
            (row_norm * growth)[..., None] * rhs_error[:, None],
            torch.maximum(size, (inverse_diagonal[..., None] * variance[:, None]).sqrt()),
        ),
        (roundoff * row_norm.square() * growth, inverse_diagonal),
        (residual_error * (residual > 0), residual),
    ]
    if intercept:
        level, mean = solution.level.abs(), solution.mean[:, None]
        level_norm = ((mean @ inverse).abs() @ norm[..., None])[:, 0] + weight[:, None].rsqrt()
        level_scale = (solution.level_inverse[:, None] * variance).sqrt()
        level_error = level_norm * rhs_error * growth + roundoff * level
        pairs.append((level_error, torch.maximum(level, level_scale)))
    losses = [torch.where(error > 0, error / scale, 0.0).flatten(1) for error, scale in pairs]
    worst = torch.cat(losses, 1).nan_to_num(torch.inf).amax(1)
    digits = -worst.clamp(min=1e-300).log10()
    return torch.where(digits >= 1, digits.clamp(max=_MAX_DIGITS), 0.0)
