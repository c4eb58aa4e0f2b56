"""Cholesky's factor of the columns that are no linear combinations of earlier ones.

With the cross-products [A, b; b', c] of features and targets, R'R = A for the features kept. R, its
inverse and R'^-1 b, from which coefficients and residuals follow, come from one elimination, of
[A, b, I] to [R, R'^-1 b, R'^-1]. It takes a block of columns at a time: one matrix product
subtracts all earlier rows. Columns left out take no time.
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
    to_float64,
)
from linreg_lightning.algebra.multiprecision import matrix_product

_SINGULAR_VALUES = 512  # more take longer than all the rest
_MAX_ITERATIONS = 100
_BLOCK_COLUMNS = 64


class Factorization(NamedTuple, Generic[Number]):
    """The factor R of the columns kept, and what follows from it."""

    kept: Tensor  # the columns that are no linear combinations of earlier ones, (kept,) int64
    factor: Number  # R, (kept, kept), with zeros below the diagonal
    inverse_factor: Number  # R^-1, (kept, kept), likewise
    inverse_diagonal: Number  # of A^-1, (kept,)
    solution: Number  # A^-1 b, (kept, targets)
    residual: Number  # the diagonal of c - b' A^-1 b, (targets,)


def factor_independent(cross: Number, tolerance: Tensor, max_rank: int) -> Factorization[Number]:
    """Factor the columns that are no linear combinations of earlier ones, at most `max_rank`.

    With U = R^-1, column j is -sum_k U_kj R_jj x_k over the columns before it, plus a rest of
    length R_jj. It is left out where the square of the rest is within `tolerance`, (features,), or
    where the roots of the tolerances, times the magnitudes of the terms, add up to R_jj.
    """
    features = tolerance.shape[0]
    if isinstance(cross, Tensor) and features <= max_rank:
        factorization = _factor_at_once(cross, tolerance)
        if factorization is not None:
            return factorization
    columns = len(cross)
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
    whitened = rows[:rank, features:columns]
    return Factorization(
        kept=index,
        factor=factor,
        inverse_factor=inverse_factor,
        inverse_diagonal=inverse_diagonal[:rank],
        solution=_solve_upper(factor, inverse_factor, whitened),
        residual=rest[features:],
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


def _factor_at_once(cross: Tensor, tolerance: Tensor) -> Factorization[Tensor] | None:
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
    return Factorization(
        kept=torch.arange(d),
        factor=factor,
        inverse_factor=inverse_factor,
        inverse_diagonal=torch.linalg.vector_norm(inverse_factor, dim=1).square(),
        solution=_solve_upper(factor, inverse_factor, whitened),
        residual=cross[d:, d:].diagonal() - whitened.square().sum(0),
    )


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
