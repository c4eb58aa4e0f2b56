"""The sweep operator: inverse, coefficients and residuals of normal equations at once.

The sweep of one column after the other turns the cross-products [X'WX X'Wy; y'WX y'Wy] into minus
the inverse, the coefficients and the residual sum of squares (J. H. Goodnight, A tutorial on the
SWEEP operator, Am. Stat. 33 (1979)). Cholesky's factor gives the same faster for many columns.
"""

import math

import torch
from torch import Tensor

from linreg_lightning.algebra.double_double import Number, to_float64

_CHOLESKY_COLUMNS = 64  # fewer are swept as fast as they are factored, by one thread


def sweep_independent(cross: Number, tolerance: Tensor) -> tuple[Number, Tensor, Tensor]:
    """Sweep the columns that are no linear combinations of earlier ones, as `_sweep` does.

    With U = R^-1, column j is -sum_k U_kj R_jj x_k over the columns before it, plus a rest of
    length R_jj.
    """
    while True:
        swept, kept, factor = _sweep(cross, tolerance)
        identity = torch.eye(len(kept), dtype=torch.float64)
        inverse = torch.linalg.solve_triangular(factor, identity, upper=True)
        dependent = (tolerance[kept].sqrt() @ inverse.abs() >= 1).tolist()
        if True not in dependent:
            return swept, kept, factor
        tolerance = tolerance.index_fill(0, kept[dependent.index(True)], math.inf)


def _sweep(cross: Number, tolerance: Tensor) -> tuple[Number, Tensor, Tensor]:
    """Sweep the first columns, `len(tolerance)`, except where the pivot is within tolerance.

    Return [-A^-1, A^-1 b; b'A^-1, c - b'A^-1 b] of the matrix [A, b; b', c], the columns swept,
    (kept,), and R with R'R = A, (kept, kept) float64.
    """
    if isinstance(cross, Tensor) and tolerance.shape[0] >= _CHOLESKY_COLUMNS:
        solved = _solve_by_cholesky(cross, tolerance)
        if solved is not None:
            return solved
    kept, rows = [], []
    for k, smallest in enumerate(tolerance.tolist()):
        pivot = cross[k, k]
        if not float(to_float64(pivot)) > smallest:
            continue
        row = cross[k]
        quotient = row / pivot
        kept.append(k)
        rows.append(to_float64(row) / to_float64(pivot).sqrt())
        cross = cross - row[:, None] * quotient
        cross[k] = cross[:, k] = quotient
        cross[k, k] = -reciprocal(pivot)
    index = torch.tensor(kept, dtype=torch.int64)
    factor = torch.stack(rows)[:, index] if rows else torch.zeros(0, 0).double()
    # Not triu, which wakes a thread that may be busy elsewhere.
    factor = factor * (index >= index[:, None])
    return cross, index, factor


def _solve_by_cholesky(cross: Tensor, tolerance: Tensor) -> tuple[Tensor, Tensor, Tensor] | None:
    """Return what `_sweep` does, all columns at once; None where it might leave a column out."""
    d = tolerance.shape[0]
    factor, failed = torch.linalg.cholesky_ex(cross[:d, :d], upper=True)
    # The pivots of the sweep are the squares of the factor's diagonal.
    if bool(failed) or not bool((factor.diagonal().square() > tolerance).all()):
        return None
    whitened = torch.linalg.solve_triangular(factor.T, cross[:d, d:], upper=False)
    estimate = torch.linalg.solve_triangular(factor, whitened, upper=True)
    inverse = torch.cholesky_inverse(factor, upper=True)
    residual = cross[d:, d:] - whitened.T @ whitened
    swept = torch.cat((torch.cat((-inverse, estimate), 1), torch.cat((estimate.T, residual), 1)), 0)
    return swept, torch.arange(d), factor


def diagonal(matrix: Number) -> Number:
    """Return the diagonal of a square matrix, as a copy."""
    index = torch.arange(len(matrix))
    return matrix[index, index]


def reciprocal(value: Number) -> Number:
    """Return 1 / value."""
    return value / value / value
