"""Cholesky's factor of the columns that are no linear combinations of earlier ones.

With the cross-products [A, b; b', c] of features and targets, R'R = A for the features kept. R, its
inverse and R'^-1 b, from which coefficients and residuals follow, come from one elimination, of
[A, b, I] to [R, R'^-1 b, R'^-1]. It takes a block of columns at a time: one matrix product
subtracts all earlier rows. Columns left out take no time. For a few columns in 106 bits, the same
elimination runs in whole numbers of Python, of which each takes less time than a call of torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Generic, NamedTuple

import torch
from torch import Tensor

from linreg_lightning.algebra.double_double import (
    DoubleDouble,
    Number,
    as_precise_as,
    round_ratios,
    to_float64,
)
from linreg_lightning.algebra.multiprecision import matrix_product

_SINGULAR_VALUES = 512  # more take longer than all the rest
_MAX_ITERATIONS = 100
_BLOCK_COLUMNS = 64
_FEW_COLUMNS = 48
_GUARD_BITS = 256  # beyond the last bit of the input: more than 106-bit results can lose


class Factorization(NamedTuple, Generic[Number]):
    """The factor R of the columns kept, and what follows from it."""

    kept: Tensor  # the columns that are no linear combinations of earlier ones, (kept,) int64
    factor: Tensor  # R, (kept, kept) float64, with zeros below the diagonal
    inverse_factor: Number  # R^-1, (kept, kept), likewise
    inverse_diagonal: Number  # of A^-1, (kept,)
    solution: Number  # A^-1 b, (kept, targets)
    residual: Number  # the diagonal of c - b' A^-1 b, (targets,)
    level: Tensor  # m_y - m' A^-1 b with the means m of x and m_y of y, (targets,) float64
    intercept_inverse: Number  # 1 / sum(w) + m' A^-1 m, ()


def factor_independent(
    cross: Number, mean: DoubleDouble, weight: Number, tolerance: Tensor, max_rank: int
) -> Factorization[Number]:
    """Factor the columns that are no linear combinations of earlier ones, at most `max_rank`.

    `mean` are the means of features and targets, `weight` is the sum of the weights.

    With U = R^-1, column j is -sum_k U_kj R_jj x_k over the columns before it, plus a rest of
    length R_jj. It is left out where the square of the rest is within `tolerance`, (features,), or
    where the roots of the tolerances, times the magnitudes of the terms, add up to R_jj.
    """
    columns, features = len(cross), len(tolerance)
    if isinstance(cross, DoubleDouble) and columns <= _FEW_COLUMNS:
        return _factor_few(cross, mean, weight, tolerance, max_rank)
    if isinstance(cross, Tensor) and features <= max_rank:
        factorization = _factor_at_once(cross, mean, weight, tolerance)
        if factorization is not None:
            return factorization
    rows = zeros_like(cross, max_rank, columns + max_rank)  # of [R, R'^-1 b, R'^-1]
    rest = diagonal(cross)  # the squared lengths of the columns, less those kept
    inverse_diagonal = zeros_like(cross, max_rank)
    kept: list[int] = []
    first = 0
    while len(kept) < max_rank:
        large = to_float64(rest)[first:features] > tolerance[first:]
        candidates = first + large.nonzero().flatten()[:_BLOCK_COLUMNS]
        if not len(candidates):
            break
        before = len(kept)
        _eliminate(cross, rows, kept, candidates, tolerance)
        block = rows[before : len(kept)]
        squares = (block * block).sum(0)
        rest = rest - squares[:columns]
        inverse_diagonal = inverse_diagonal + squares[columns:]
        first = int(candidates[-1]) + 1
    rank, index = len(kept), torch.tensor(kept, dtype=torch.int64)
    # Not triu, which wakes a thread that may be busy elsewhere.
    upper = (index >= index[:, None]).double()
    factor = rows[:rank][:, index] * upper
    inverse_factor = rows[:rank, columns : columns + rank].mT
    solution = _solve_upper(factor, inverse_factor, rows[:rank, features:columns])
    level, intercept_inverse = _intercept(inverse_factor, solution, mean, weight, index, features)
    return Factorization(
        kept=index,
        factor=to_float64(factor),
        inverse_factor=inverse_factor,
        inverse_diagonal=inverse_diagonal[:rank],
        solution=solution,
        residual=rest[features:],
        level=level,
        intercept_inverse=intercept_inverse,
    )


def _eliminate(
    cross: Number, rows: Number, kept: list[int], candidates: Tensor, tolerance: Tensor
) -> None:
    """Append to `kept` the candidates that are no linear combinations; write their rows."""
    columns, before, root = len(cross), len(kept), tolerance.sqrt()
    max_rank = len(rows)
    first, indices = int(candidates[0]), candidates.tolist()
    # From here to the last column that is not 0.
    active = slice(first, columns + min(before + len(indices), max_rank))
    block = zeros_like(cross, len(indices), active.stop - first)
    block[:, : columns - first] = cross[candidates, first:]
    if before:
        multipliers = rows[:before][:, candidates].mT
        block = block - matrix_product(multipliers, rows[:before, active])
    for place, column in enumerate(indices):
        pivot, rank = block[place, column - first], len(kept)
        if rank == max_rank or not float(to_float64(pivot)) > float(tolerance[column]):
            continue
        row = block[place] + 0.0  # a copy
        row[columns - first + rank] = row[columns - first + rank] + 1.0
        row = row * reciprocal(pivot.sqrt())
        inverse_column = to_float64(row)[columns - first : columns - first + rank + 1]
        if float(root[[*kept, column]] @ inverse_column.abs()) >= 1:
            continue
        kept.append(column)
        rows[rank, active] = row
        if place + 1 < len(indices):
            multiplier = row[candidates[place + 1 :] - first]
            block[place + 1 :] = block[place + 1 :] - multiplier[:, None] * row


def _factor_at_once(
    cross: Tensor, mean: DoubleDouble, weight: Tensor, tolerance: Tensor
) -> Factorization[Tensor] | None:
    """Factor all columns at once; return None where one might be left out."""
    d = tolerance.shape[0]
    factor, failed = torch.linalg.cholesky_ex(cross[:d, :d], upper=True)
    if bool(failed) or not bool((factor.diagonal().square() > tolerance).all()):
        return None
    identity = torch.eye(d, dtype=torch.float64)
    inverse_factor = torch.linalg.solve_triangular(factor, identity, upper=True)
    if bool((tolerance.sqrt() @ inverse_factor.abs() >= 1).any()):
        return None
    whitened = torch.linalg.solve_triangular(factor.T, cross[:d, d:], upper=False)
    solution, kept = _solve_upper(factor, inverse_factor, whitened), torch.arange(d)
    level, intercept_inverse = _intercept(inverse_factor, solution, mean, weight, kept, d)
    return Factorization(
        kept=kept,
        factor=factor,
        inverse_factor=inverse_factor,
        inverse_diagonal=torch.linalg.vector_norm(inverse_factor, dim=1).square(),
        solution=solution,
        residual=cross[d:, d:].diagonal() - whitened.square().sum(0),
        level=level,
        intercept_inverse=intercept_inverse,
    )


def _intercept(
    inverse_factor: Number,
    solution: Number,
    mean: DoubleDouble,
    weight: Number,
    kept: Tensor,
    features: int,
) -> tuple[Tensor, Number]:
    """Return `level` and `intercept_inverse`, as `Factorization` has them."""
    mean_of_x = mean[kept]
    level = to_float64(mean[features:] - (mean_of_x[:, None] * solution).sum(0))
    column = as_precise_as(solution, mean_of_x)[:, None]
    whitened_mean = matrix_product(inverse_factor.mT, column)[:, 0]
    return level, reciprocal(weight) + (whitened_mean * whitened_mean).sum(0)


def _factor_few(
    cross: DoubleDouble, mean: DoubleDouble, weight: DoubleDouble, tolerance: Tensor, max_rank: int
) -> Factorization[DoubleDouble]:
    """Eliminate A from [A, b, m; b', c, m_y; m', m_y', -1 / sum(w)] and I, in fixed point.

    What is left below A are the residuals, the levels and the negative of `intercept_inverse`, and
    beside them, in the rows of b', the negative of A^-1 b.
    """
    columns, features = len(cross), len(tolerance)
    (entries, means, (total,)), bits = _to_fixed(cross, mean, weight)
    one = 1 << bits
    # On and above the diagonal.
    left = [[*entries[columns * i :][:columns], m] for i, m in enumerate(means)]
    left.append([*means, -(one**2) // total])
    right: list[list[int]] = [[] for _ in left]  # grows by a column of I with each column kept
    limits, roots = tolerance.tolist(), tolerance.sqrt().tolist()
    kept: list[int] = []
    factor, inverse = [], []  # the rows of R and of R'^-1
    for j in range(features):
        if len(kept) == max_rank or not left[j][j] / one > limits[j]:
            continue
        reciprocal_length = one**2 // math.isqrt(left[j][j] << bits)
        inverse_row = [v * reciprocal_length >> bits for v in (*right[j], one)]
        terms = zip([*kept, j], inverse_row, strict=True)
        if sum(roots[k] * abs(v / one) for k, v in terms) >= 1:
            continue
        row = [v * reciprocal_length >> bits for v in left[j]]
        for i in range(j + 1, columns + 1):
            left[i][i:] = _subtract(left[i][i:], row[i], row[i:], bits)
            right[i] = _subtract([*right[i], 0], row[i], inverse_row, bits)
        kept.append(j)
        factor.append(row)
        inverse.append(inverse_row)
    order, targets = range(len(kept)), range(features, columns)
    inverse_columns = [[inverse[k][i] for k in order[i:]] for i in order]
    squares = [sum(v * v for v in column) >> bits for column in inverse_columns]
    zeros = [0] * len(kept)
    upper = [zeros[:i] + [factor[i][j] / one for j in kept[i:]] for i in order]
    return Factorization(
        kept=torch.tensor(kept, dtype=torch.int64),
        factor=torch.tensor(upper, dtype=torch.float64).reshape(len(kept), len(kept)),
        inverse_factor=_from_fixed(one, [zeros[:i] + inverse_columns[i] for i in order]),
        inverse_diagonal=round_ratios(squares, one),
        solution=_from_fixed(one, [[-v for v in right[i]] for i in targets]).mT,
        residual=round_ratios([left[i][i] for i in targets], one),
        level=round_ratios([left[i][-1] for i in targets], one).high,
        intercept_inverse=round_ratios([-left[-1][-1]], one)[0],
    )


def _subtract(row: list[int], multiplier: int, other: list[int], bits: int) -> list[int]:
    return [v - (multiplier * r >> bits) for v, r in zip(row, other, strict=True)]


def _to_fixed(*values: DoubleDouble) -> tuple[list[list[int]], int]:
    """Return numbers in units of 2^-bits, without rounding, and a choice of bits."""
    parts = [torch.cat((v.high.flatten(), v.low.flatten())).tolist() for v in values]
    ratios = [[number.as_integer_ratio() for number in part] for part in parts]
    bits = _GUARD_BITS + max(q.bit_length() for part in ratios for _, q in part)
    fixed = [[(p << bits) // q for p, q in part] for part in ratios]
    halves = [(part[: len(part) // 2], part[len(part) // 2 :]) for part in fixed]
    return [[high + low for high, low in zip(*both, strict=True)] for both in halves], bits


def _from_fixed(one: int, rows: list[list[int]]) -> DoubleDouble:
    values = round_ratios([v for row in rows for v in row], one)
    shape = len(rows), len(rows[0]) if rows else 0
    return DoubleDouble(values.high.reshape(shape), values.low.reshape(shape))


def _solve_upper(factor: Number, inverse_factor: Number, right: Number) -> Number:
    if isinstance(factor, Tensor):
        solution: Tensor = torch.linalg.solve_triangular(factor, right, upper=True)
        return solution
    return matrix_product(inverse_factor, right)


def condition_number(factor: Tensor, inverse: Tensor) -> float:
    """Return that of R with its columns scaled to length 1, from R and (R'R)^-1."""
    if not len(factor):
        return 1.0
    length = torch.linalg.vector_norm(factor, dim=0)
    if len(factor) <= _SINGULAR_VALUES:
        return float(torch.linalg.cond(factor / length))
    largest = _largest_eigenvalue(lambda v: (factor.T @ (factor @ (v / length))) / length, length)
    smallest = 1 / _largest_eigenvalue(lambda v: length * (inverse @ (length * v)), length)
    return math.sqrt(largest / smallest)


def _largest_eigenvalue(multiply: Callable[[Tensor], Tensor], like: Tensor) -> float:
    """Return that of a symmetric matrix, by Lanczos iteration from a vector drawn at random."""
    vector = torch.randn(like.shape, generator=torch.Generator().manual_seed(0), dtype=like.dtype)
    basis = (vector / vector.norm())[None]
    projected = torch.zeros(_MAX_ITERATIONS, _MAX_ITERATIONS, dtype=like.dtype)
    value = 0.0
    for k in range(_MAX_ITERATIONS):
        image = multiply(basis[k])
        projected[: k + 1, k] = projected[k, : k + 1] = basis @ image
        before, value = value, float(torch.linalg.eigvalsh(projected[: k + 1, : k + 1])[-1])
        rest = image - basis.T @ (basis @ image)
        rest = rest - basis.T @ (basis @ rest)
        if value - before <= 1e-7 * value or float(rest.norm()) <= 1e-12 * value:
            break
        basis = torch.cat((basis, rest[None] / rest.norm()))
    return value


def diagonal(matrix: Number) -> Number:
    """Return the diagonal of a square matrix, as a copy."""
    index = torch.arange(len(matrix))
    return matrix[index, index]


def reciprocal(value: Number) -> Number:
    """Return 1 / value."""
    return value / value / value


def zeros_like(matrix: Number, *shape: int) -> Number:
    """Return zeros in the precision of the matrix."""
    return as_precise_as(matrix, DoubleDouble.of(torch.zeros(shape, dtype=torch.float64)))
