"""Sums of products of a batch's columns in float64, in blocks of rows that caches hold."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from linreg_lightning.algebra.double_double import ldexp
from linreg_lightning.batch import Batch


class _BlockShape(NamedTuple):
    """How a kind of device divides a matrix product."""

    bytes: int  # of shifted rows at a time; those of a core should stay in its own cache
    rows: int  # of one product of a batched product; fewer rows mean less rounding error
    columns: int  # of one product, so that little is computed below the diagonal
    multiple: int  # of columns for which kernels of matrix products have no remainder

    def padded(self, columns: int) -> int:
        """Return how many columns to compute with: a multiple, unless that doubles the work."""
        padded = -(-columns // self.multiple) * self.multiple
        return padded if padded**2 < 2 * columns**2 else columns


def _fastest_shape(on_gpu: bool) -> _BlockShape:
    if on_gpu:
        return _BlockShape(bytes=2**29, rows=2**12, columns=2**30, multiple=1)
    return _BlockShape(2**21 * torch.get_num_threads(), rows=2**8, columns=36, multiple=12)


def cross_products(batch: Batch, shift: Tensor, exponent: Tensor) -> Tensor:
    """Return the sum of w z z' with z = (1, 2^-exponent (x - shift), ..), (columns, columns).

    Args:
        batch: of at least one row.
        shift: of [1, x, y], on the CPU; 0 for the first; (columns,).
        exponent: of the units of [w, x, y], on the CPU; (columns,) int64.

    >>> zero = torch.zeros(3, dtype=torch.float64)
    >>> batch = Batch(torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0], [5.0]]))
    >>> cross_products(batch, zero, zero.long())
    tensor([[ 2.,  3.,  8.],
            [ 3.,  5., 13.],
            [ 8., 13., 34.]], dtype=torch.float64)
    """
    x, y, weight = batch
    columns, features = shift.shape[0], x.shape[1]
    shape = _fastest_shape(x.is_cuda)
    width = shape.padded(columns)
    size = min(batch.rows, shape.rows * max(1, shape.bytes // (8 * width * shape.rows)))
    unit = -exponent.to(x.device) if bool(exponent.any()) else None
    negative_shift = -shift.to(x.device)
    # In the memory order of x: a transposed copy takes long.
    by_column = x.stride(0) == 1
    zeros = negative_shift.new_zeros
    z = zeros(width, size).T if by_column else zeros(size, width)
    z[:, 0] = 1.0
    sums = zeros(width, width)
    for start in range(0, batch.rows, size):
        rows = slice(start, min(start + size, batch.rows))
        block = z[: rows.stop - start]
        torch.add(x[rows], negative_shift[1 : 1 + features], out=block[:, 1 : 1 + features])
        torch.add(y[rows], negative_shift[1 + features :], out=block[:, 1 + features : columns])
        if unit is not None:
            block[:, 1:columns] = ldexp(block[:, 1:columns], unit[1:])
        if weight is None:
            _add_product(sums, block, block, shape)
            continue
        w = weight[rows] if unit is None else ldexp(weight[rows], unit[0])
        # The values of an absent row may be NaN, and NaN times 0 is NaN.
        block[:, 1:].masked_fill_((w == 0)[:, None], 0.0)
        _add_product(sums, block * w[:, None], block, shape)
    upper = sums[:columns, :columns].triu()
    return upper + upper.triu(1).T


def _add_product(sums: Tensor, left: Tensor, right: Tensor, shape: _BlockShape) -> None:
    """Add left' right, which is symmetric, to the sums; entries below the diagonal may be wrong."""
    rows, columns = right.shape
    full = rows // shape.rows * shape.rows
    for part, size in ((slice(full), shape.rows), (slice(full, rows), rows - full)):
        if not size or part.stop == 0:
            continue
        a, b = (z[part].view(-1, size, columns) for z in (left, right))
        for first in range(0, columns, shape.columns):
            strip = slice(first, first + shape.columns)
            sums[strip, first:] += torch.bmm(a[:, :, strip].mT, b[:, :, first:]).sum(0)
