"""The effects of two columns of levels: from sums by level and the weights of pairs of levels.

For each column z of rows, a_g + b_h minimises sum(w (z - a_g - b_h)^2) over the rows of levels g
and h. With W_a and W_b the diagonal matrices of the weights of levels, C those of pairs and s the
sums of w z by level, the normal equations are

    W_a a + C b = s_a,    C'a + W_b b = s_b.

The effects a are eliminated; conjugate gradients, scaled by W_b, find b. No pass over the rows is
needed. Alternating projections, which repeat a = W_a^-1 (s_a - C b) and b = W_b^-1 (s_b - C'a),
take many times as many steps (S. Gaure, OLS with multiple high dimensional category variables,
Comput. Stat. Data Anal. 66 (2013)).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_TOLERANCE = 1e-12  # of the residuals of the equations, relative to the standard deviation of z
_MAX_STEPS = 10_000
_RESTARTS = 3  # with residuals computed anew, free of the rounding of earlier steps


class TwoWaySums(NamedTuple):
    """The sums that the effects depend on, float64."""

    weight: tuple[Tensor, Tensor]  # of each level, (levels,)
    sums: tuple[Tensor, Tensor]  # of w z of each level, (columns, levels)
    pair: Tensor  # the places of both levels, (2, pairs) int64
    pair_weight: Tensor  # (pairs,)

    def swap(self) -> TwoWaySums:
        """Return the same with the columns of levels exchanged."""
        return TwoWaySums(self.weight[::-1], self.sums[::-1], self.pair.flip(0), self.pair_weight)


class TwoWayEffects(NamedTuple):
    """The effects, and how near they are to the solution."""

    effects: tuple[Tensor, Tensor]  # a and b, (columns, levels) each
    steps: int  # of conjugate gradients
    error: float  # what is left of the residuals of the equations, relative; see `_TOLERANCE`


def solve_two_ways(sums: TwoWaySums, square: Tensor) -> TwoWayEffects:
    """Return the effects; `square` is sum(w z^2) of each column over all rows, (columns,).

    >>> weight = torch.tensor([2.0, 1.0]).double()
    >>> sums = torch.tensor([[4.0, 1.0]]).double(), torch.tensor([[3.0, 2.0]]).double()
    >>> pair = torch.tensor([[0, 0, 1], [0, 1, 0]])  # the rows: 2, 2, 1
    >>> result = solve_two_ways(
    ...     TwoWaySums((weight, weight), sums, pair, torch.ones(3).double()),
    ...     torch.tensor([9.0]).double(),
    ... )
    >>> a, b = result.effects
    >>> (a[0, pair[0]] + b[0, pair[1]]).tolist()
    [2.0, 2.0, 1.0]
    """
    if len(sums.weight[0]) < len(sums.weight[1]):
        swapped = solve_two_ways(sums.swap(), square)
        return swapped._replace(effects=swapped.effects[::-1])
    left, right = (_inverse(weight) for weight in sums.weight)
    s_a, s_b = sums.sums
    b, a, steps = torch.zeros_like(s_b), left * s_a, 0
    limit = _TOLERANCE**2 * square
    for _ in range(_RESTARTS):
        residual = s_b - _multiply(sums, a, 1) - sums.weight[1] * b
        size = (residual * right * residual).sum(1)
        if bool((size <= limit).all()) or steps >= _MAX_STEPS:
            break
        scaled = right * residual
        direction = scaled
        while bool((size > limit).any()) and steps < _MAX_STEPS:
            product = sums.weight[1] * direction
            product = product - _multiply(sums, left * _multiply(sums, direction, 0), 1)
            curvature = (direction * product).sum(1)
            length = _ratio(size, curvature)[:, None]
            b, residual = b + length * direction, residual - length * product
            scaled = right * residual
            size, previous = (residual * scaled).sum(1), size
            direction = scaled + _ratio(size, previous)[:, None] * direction
            steps += 1
        a = left * (s_a - _multiply(sums, b, 0))
    error = float(_ratio(size, square).sqrt().max()) if len(size) else 0.0
    return TwoWayEffects((a, b), steps, error)


def _multiply(sums: TwoWaySums, effects: Tensor, way: int) -> Tensor:
    """Return the sums of weights times the effects of the other way; C b for way 0, C'a for 1."""
    places, others = sums.pair[way], sums.pair[1 - way]
    result = torch.zeros(len(effects), len(sums.weight[way]), dtype=torch.float64)
    for row, column in zip(result, effects, strict=True):
        row.index_add_(0, places, column[others] * sums.pair_weight)
    return result


def _inverse(weight: Tensor) -> Tensor:
    """Return 1 / weight; 0 for levels whose weight is too small to be seen."""
    return _ratio(torch.ones_like(weight), weight)


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    return torch.where(denominator > 0, numerator / denominator, 0.0)


def count_components(pair: Tensor, levels: tuple[int, int]) -> int:
    """Return how many sets of levels there are that no row connects; `pair` as in `TwoWaySums`.

    Within each, one effect is a combination of the others, as one dummy variable would be.

    >>> count_components(torch.tensor([[0, 0, 1], [0, 1, 2]]), (2, 3))
    2
    """
    left, right = pair[0], pair[1] + levels[0]
    root = torch.arange(sum(levels))
    while True:
        smaller = torch.minimum(root[left], root[right])
        # Hang the root of each end below the smallest root that it meets, then shorten the paths.
        joined = root.clone()
        for end in (left, right):
            joined.scatter_reduce_(0, root[end], smaller, "amin")
        while not torch.equal(shorter := joined[joined], joined):
            joined = shorter
        if torch.equal(joined, root):
            return int((root == torch.arange(len(root))).sum())
        root = joined
