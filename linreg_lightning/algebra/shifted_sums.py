"""Sums of products of shifted and scaled columns in float64, each with a low word."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from linreg_lightning.algebra.cross_products import CrossProducts
from linreg_lightning.algebra.double_double import (
    DoubleDouble,
    exponent_of,
    ldexp,
    row_blocks,
    two_sum,
)

ZERO_EXPONENT = -2000  # of a column that holds nothing but zeros


class ShiftedSums(NamedTuple):
    """The sum of w z z' for z = (1, 2^-exponent (x - shift), ..), w in units of 2^exponent[0]."""

    sums: Tensor  # (columns, columns), on the device of the rows; the others are on the CPU
    shift: Tensor  # (columns,), of [1, x, y], 0 for the first
    exponent: Tensor  # (columns,) int64, of the units of [w, x, y]
    # The largest diagonal of the sums so far: their rounding error stays when they cancel.
    peak: Tensor
    low: Tensor  # what the additions to `sums` rounded off, (columns, columns), on its device
    # How often a term of a sum was rounded within a batch, at most; () int64.
    roundings: Tensor

    def total(self, rows: Any = slice(None)) -> DoubleDouble:
        """Return the sums in some rows of the matrix with their low words; by default all."""
        return DoubleDouble(*two_sum(self.sums[rows], self.low[rows]))

    def add(self, products: CrossProducts) -> ShiftedSums:
        """Return the sums plus others; these, but not the sums before, may be rounded."""
        sums = self.sums + products.sums
        # As `fast_two_sum`, with fewer copies.
        low = (self.sums - sums).add_(products.sums).add_(self.low)
        low = low if products.low is None else low.add_(products.low)
        roundings = self.roundings.clamp(min=products.roundings)
        return self._replace(sums=sums, low=low, roundings=roundings)

    def in_units(self, exponent: Tensor) -> ShiftedSums:
        """Return the same sums in other units."""
        peak = torch.maximum(self.peak, self.sums.diagonal().cpu())
        change = self.exponent - exponent
        if not bool(change.any()):
            return self._replace(peak=peak)
        sums, low = _rescale(self.sums, change), _rescale(self.low, change)
        peak = _rescale(peak.diag(), change).diag()
        return self._replace(sums=sums, low=low, exponent=exponent, peak=peak)

    def with_shift(self, shift: Tensor) -> ShiftedSums:
        """Return the same sums with another shift; the peak is a bound on their terms."""
        change = ldexp(DoubleDouble(*two_sum(self.shift, -shift)), -self.exponent)
        length = self.peak.sqrt()
        peak = (length + change.high.abs() * length[0]).square()
        device, first = self.sums.device, self.total(0)
        by = DoubleDouble(change.high.to(device), change.low.to(device))
        sums, low = torch.empty_like(self.sums), torch.empty_like(self.low)
        for rows in row_blocks(len(first), len(first)):
            row = first[rows, None], by[rows, None]
            block = self.total(rows) + row[0] * by + row[1] * first + row[1] * by * first[0]
            sums[rows], low[rows] = block.high, block.low
        return self._replace(sums=sums, low=low, shift=shift, peak=peak)

    def magnitude(self) -> Tensor:
        """Return about log2 of each of [w, x - shift, y - shift]; (columns,)."""
        diagonal = self.sums.diagonal().cpu()
        size = exponent_of(diagonal)
        # The first entry is the sum of weights, the others are sums of w z^2.
        magnitude = self.exponent + (size - size[0]) // 2
        magnitude[0] = self.exponent[0] + size[0]
        return torch.where(diagonal == 0, ZERO_EXPONENT, magnitude)


def _rescale(sums: Tensor, change: Tensor) -> Tensor:
    """Return the same sums in units smaller by 2^change, (columns,)."""
    change = change.to(sums.device)
    columns = change.clone()
    columns[0] = 0
    return ldexp(ldexp(ldexp(sums, columns), columns[:, None]), change[0])
