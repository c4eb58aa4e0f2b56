"""The sum of w z z' over the rows of a batch in float64, as fast as one matrix product."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
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


def cross_products(
    batch: Batch, shift: Tensor, exponent: Tensor, counts: Sequence[int] | None = None
) -> list[CrossProducts]:
    """Return the sum of w z z' with z = (1, 2^-exponent (x - shift), ..) of each part of the rows.

    Args:
        batch: of at least one row.
        shift: that of [1, x, y], 0 for the first; (columns,), on the CPU.
        exponent: that of the units of [w, x, y], int64; (columns,), on the CPU.
        counts: the number of rows of each part, in order; by default all rows are one part.
    """
    counts = [batch.rows] if counts is None else counts
    columns, device = shift.shape[0], batch.x.device
    if batch.x.is_cuda:
        shape = _BlockShape(bytes=2**29, rows=2**10, columns=2**30, multiple=1)
    else:
        shape = _BlockShape(2**21 * torch.get_num_threads(), rows=2**7, columns=36, multiple=12)
    width = -(-columns // shape.multiple) * shape.multiple
    if width**2 >= 2 * columns**2:  # that would double the work
        width = columns
    size = shape.rows * max(1, shape.bytes // (8 * width * shape.rows))
    size = min(max(counts), size)
    unit = -exponent.to(device) if bool(exponent.any()) else None
    zeros = torch.zeros((), dtype=torch.float64, device=device).new_zeros
    # In the memory order of x: a transposed copy takes long.
    z = zeros(width, size).T if batch.x.stride(0) == 1 else zeros(size, width)
    z[:, 0] = 1.0
    negative_shift, whole, results = -shift.to(device), (slice(columns), slice(columns)), []
    for first, stop in pairwise(accumulate(counts, initial=0)):
        sums, low = zeros(width, width), zeros(())
        for start in range(first, stop, size):
            rows = batch.select(slice(start, min(start + size, stop)))
            products = _product(*_shift_rows(z[: rows.rows], rows, negative_shift, unit), shape)
            if start == first:
                sums = products
            else:
                sums, error = fast_two_sum(sums, products)
                low = low + error
        roundings = _count_roundings(min(size, stop - first), shape.rows)
        low_word = _symmetric(low[whole]) if low.ndim else None
        results.append(CrossProducts(_symmetric(sums[whole]), low_word, roundings))
    return results


def _shift_rows(
    block: Tensor, rows: Batch, negative_shift: Tensor, unit: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Write shifted and scaled rows to the block; return it times the weights, and the block."""
    (x, y, weight), columns = rows, len(negative_shift)
    features = x.shape[1]
    torch.add(x, negative_shift[1 : 1 + features], out=block[:, 1 : 1 + features])
    torch.add(y, negative_shift[1 + features :], out=block[:, 1 + features : columns])
    if unit is not None:
        block[:, 1:columns] = ldexp(block[:, 1:columns], unit[1:])
    if weight is None:
        return block, block
    w = weight if unit is None else ldexp(weight, unit[0])
    # The values of an absent row may be NaN, and NaN times 0 is NaN.
    block[:, 1:].masked_fill_((w == 0)[:, None], 0.0)
    return block * w[:, None], block


def _count_roundings(rows: int, rows_of_product: int) -> int:
    """Return how often a term is rounded, at most, in the sum of a block of rows and after it."""
    products = -(-rows // rows_of_product)
    roundings = min(rows, rows_of_product) + min(products, _CASCADE)
    return roundings + products // _CASCADE + _ROUNDINGS_OF_A_TERM


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
