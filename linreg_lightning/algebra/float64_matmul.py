"""Sums of products of a batch's columns in float64, in blocks of rows that caches hold."""

from __future__ import annotations

from typing import NamedTuple, Self

import torch
from torch import Tensor

from linreg_lightning.algebra.double_double import ldexp
from linreg_lightning.batch import Batch


class _Cut(NamedTuple):
    """How a matrix product is cut up for a kind of device.

    Attributes:
        bytes: of shifted rows at a time; those of a core should stay in its own cache.
        rows: of one product among those that occupy all cores together; the fewer, the less is
            rounded away while they are added up.
        columns: of one product, so that little is computed on both sides of the diagonal.
        multiple: of columns, for which kernels of matrix products have no rest.
    """

    bytes: int
    rows: int
    columns: int
    multiple: int

    @classmethod
    def of(cls, rows: Tensor) -> Self:
        """The one that was fastest where the rows are."""
        if rows.is_cuda:
            return cls(2**29, 2**12, columns=2**30, multiple=1)
        return cls(2**21 * torch.get_num_threads(), 2**8, columns=36, multiple=12)

    def padded(self, columns: int) -> int:
        """How many columns to compute with: whole multiples, unless that doubles the work."""
        whole = -(-columns // self.multiple) * self.multiple
        return whole if whole**2 < 2 * columns**2 else columns


def products_of(batch: Batch, shift: Tensor, exponent: Tensor) -> Tensor:
    """Return the sum of w z z' with z = (1, 2^-exponent (x - shift), ..), (columns, columns).

    Args:
        batch: of at least one row.
        shift: of [1, x, y], on the CPU; 0 for the first; (columns,).
        exponent: of the units of [w, x, y], on the CPU; (columns,) int64.

    >>> zero = torch.zeros(3, dtype=torch.float64)
    >>> batch = Batch(torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0], [5.0]]))
    >>> products_of(batch, zero, zero.long())
    tensor([[ 2.,  3.,  8.],
            [ 3.,  5., 13.],
            [ 8., 13., 34.]], dtype=torch.float64)
    """
    x, y, weight = batch
    columns, features = shift.shape[0], x.shape[1]
    cut = _Cut.of(x)
    width = cut.padded(columns)
    size = min(batch.rows, cut.rows * max(1, cut.bytes // (8 * width * cut.rows)))
    unit = -exponent.to(x.device) if bool(exponent.any()) else None
    back = -shift.to(x.device)
    # Columns one behind the other where those of x are: to turn them around takes long.
    z = back.new_zeros(width, size).T if x.stride(0) == 1 else back.new_zeros(size, width)
    z[:, 0] = 1.0
    sums = back.new_zeros(width, width)
    for start in range(0, batch.rows, size):
        rows = slice(start, min(start + size, batch.rows))
        part = z[: rows.stop - start]
        torch.add(x[rows], back[1 : 1 + features], out=part[:, 1 : 1 + features])
        torch.add(y[rows], back[1 + features :], out=part[:, 1 + features : columns])
        if unit is not None:
            part[:, 1:columns] = ldexp(part[:, 1:columns], unit[1:])
        if weight is None:
            _add_product(sums, part, part, cut)
            continue
        w = weight[rows] if unit is None else ldexp(weight[rows], unit[0])
        # The values of an absent row may be NaN, which no weight of 0 would remove.
        part[:, 1:].masked_fill_((w == 0)[:, None], 0.0)
        _add_product(sums, part * w[:, None], part, cut)
    upper = sums[:columns, :columns].triu()
    return upper + upper.triu(1).T


def _add_product(sums: Tensor, left: Tensor, right: Tensor, cut: _Cut) -> None:
    """Add left' right, which is symmetric, to the sums; what is below the diagonal may be left."""
    rows, columns = right.shape
    whole = rows // cut.rows * cut.rows
    for part, shape in ((slice(whole), cut.rows), (slice(whole, rows), rows - whole)):
        if not shape or part.stop == 0:
            continue
        a, b = (z[part].view(-1, shape, columns) for z in (left, right))
        for first in range(0, columns, cut.columns):
            strip = slice(first, first + cut.columns)
            sums[strip, first:] += torch.bmm(a[:, :, strip].mT, b[:, :, first:]).sum(0)
