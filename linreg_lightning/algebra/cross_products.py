"""The sum of w z z' over the rows of a batch in float64, as fast as one matrix product."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from linreg_lightning.algebra.double_double import fast_two_sum, ldexp
from linreg_lightning.batch import Batch

_CASCADE = 16  # terms that `Tensor.sum` adds one after the other; then it adds these sums
# z_i, z_j, w z_i, their product, the sum of two parts of a block, and the low word of a sum that
# `fast_two_sum` has added to a smaller one.
_ROUNDINGS_OF_A_TERM = 6


class CrossProducts(NamedTuple):
    """The sums and their low word, (columns, columns)."""

    sums: Tensor
    low: Tensor | None  # what the additions of blocks rounded off; None for a single block
    roundings: int  # how often a term was rounded, or a sum that it was added to, at most


class _BlockShape(NamedTuple):
    """How a kind of device divides a matrix product."""

    bytes: int  # of shifted rows at a time; those of a core should stay in its own cache
    rows: int  # of one product of a batched product; fewer rows mean less rounding error
    columns: int  # of one product, so that little is computed below the diagonal
    multiple: int  # of columns for which kernels of matrix products have no remainder


def cross_products(batch: Batch, shift: Tensor, exponent: Tensor) -> CrossProducts:
    """Return the sum of w z z' with z = (1, 2^-exponent (x - shift), ..), (columns, columns).

    `shift` is that of [1, x, y], 0 for the first; `exponent` that of the units of [w, x, y], int64.
    Both are (columns,), on the CPU. The batch has at least one row.
    """
    x, y, weight = batch
    columns, features = shift.shape[0], x.shape[1]
    if x.is_cuda:
        shape = _BlockShape(bytes=2**29, rows=2**10, columns=2**30, multiple=1)
    else:
        shape = _BlockShape(2**21 * torch.get_num_threads(), rows=2**7, columns=36, multiple=12)
    width = -(-columns // shape.multiple) * shape.multiple
    if width**2 >= 2 * columns**2:  # that would double the work
        width = columns
    size = min(batch.rows, shape.rows * max(1, shape.bytes // (8 * width * shape.rows)))
    unit = -exponent.to(x.device) if bool(exponent.any()) else None
    negative_shift = -shift.to(x.device)
    # In the memory order of x: a transposed copy takes long.
    by_column = x.stride(0) == 1
    zeros = negative_shift.new_zeros
    z = zeros(width, size).T if by_column else zeros(size, width)
    z[:, 0] = 1.0
    sums, low = zeros(0), zeros(())
    for start in range(0, batch.rows, size):
        rows = slice(start, min(start + size, batch.rows))
        block = z[: rows.stop - start]
        torch.add(x[rows], negative_shift[1 : 1 + features], out=block[:, 1 : 1 + features])
        torch.add(y[rows], negative_shift[1 + features :], out=block[:, 1 + features : columns])
        if unit is not None:
            block[:, 1:columns] = ldexp(block[:, 1:columns], unit[1:])
        left = block
        if weight is not None:
            w = weight[rows] if unit is None else ldexp(weight[rows], unit[0])
            # The values of an absent row may be NaN, and NaN times 0 is NaN.
            block[:, 1:].masked_fill_((w == 0)[:, None], 0.0)
            left = block * w[:, None]
        products = _product(left, block, shape)
        if start == 0:
            sums = products
        else:
            sums, error = fast_two_sum(sums, products)
            low = low + error
    products_of_block = -(-size // shape.rows)
    roundings = min(size, shape.rows) + min(products_of_block, _CASCADE)
    roundings += products_of_block // _CASCADE + _ROUNDINGS_OF_A_TERM
    whole = slice(columns), slice(columns)
    return CrossProducts(
        _symmetric(sums[whole]), _symmetric(low[whole]) if low.ndim else None, roundings
    )


def _product(left: Tensor, right: Tensor, shape: _BlockShape) -> Tensor:
    """Return left' right, which is symmetric; entries below the diagonal may be wrong."""
    rows, columns = right.shape
    full = rows // shape.rows * shape.rows
    parts = [(slice(full), shape.rows), (slice(full, rows), rows - full)]
    pairs = [
        [z[part].view(-1, size, columns) for z in (left, right)]
        for part, size in parts
        if size and part.stop
    ]
    if len(pairs) == 1 and columns <= shape.columns:
        ((a, b),) = pairs
        return torch.bmm(a.mT, b).sum(0)
    sums = right.new_zeros(columns, columns)
    for a, b in pairs:
        for first in range(0, columns, shape.columns):
            strip = slice(first, first + shape.columns)
            sums[strip, first:] += torch.bmm(a[:, :, strip].mT, b[:, :, first:]).sum(0)
    return sums


def _symmetric(sums: Tensor) -> Tensor:
    above = sums.triu(1)
    return sums.triu_().add_(above.T)
