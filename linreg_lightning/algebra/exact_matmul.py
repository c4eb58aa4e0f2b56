"""Exact sums of products: entries cut into whole numbers that matrix products add without error.

A matrix product of slices over at most 2048 rows adds whole numbers that stay within 2^53, so it
has no rounding error, in whatever order it is summed. Nothing here may run in less than float64.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from linreg_lightning.algebra.double_double import exponent_of, fast_two_sum, ldexp
from linreg_lightning.algebra.multiprecision import BASE, BITS, carry, lengthened, shifted

# Products of two slices are at most 2^42: 2048 of them add up to at most 2^53.
BLOCK_ROWS = 2048
# Digits above the one of s_0 s_0: room for sums of many rows.
HEAD = 2
# The smallest unit is 2^LOWEST; it takes every entry below 2^-969, subnormal ones too, as it is.
LOWEST = -45 * BITS
# Rows of a symmetric product at a time: most of what is below the diagonal is left out, and kernels
# of matrix products, which work on 12 rows or a divisor of them, have no rest.
_STRIP = 72
# 2^19 products of 2^42 stay far inside int64.
_LOAD = 2**19


class Sums(NamedTuple):
    """The Gram matrix is the number `digits` BASE^(HEAD + weight_top) 2^(top_i + top_j)."""

    digits: Tensor  # (length, columns, columns) int64, where the rows are
    top: Tensor  # (columns,) int64, on the CPU as what follows
    weight_top: Tensor  # () int64
    lost: Tensor  # () bool: a bit beyond the deepest slice was left out
    load: int = 0  # products of 2^42 added to a digit since the last carry


def unit_of(top: Tensor) -> Tensor:
    """Return 2^-top, what a number in units of 2^top is to be multiplied by.

    >>> unit_of(torch.tensor([0, -1]))
    tensor([1., 2.], dtype=torch.float64)
    """
    return ldexp(torch.ones_like(top, dtype=torch.float64), -top)


def with_room(sums: Sums, largest: Tensor) -> Sums:
    """Return the sums in units in which the first slice of each entry stays within 2^21.

    Args:
        sums: what has been added before.
        largest: the largest magnitudes to come, of the columns and of the weights; (columns + 1,).
    """
    exponent = exponent_of(largest)
    top = torch.maximum(exponent[:-1] - BITS + 1, sums.top)
    # the smallest weight_top with 2^e <= 2^(21 + 22 weight_top): ceil((e - 21) / 22)
    weight_top = torch.maximum(exponent[-1] // BITS, sums.weight_top)
    if torch.equal(top, sums.top) and torch.equal(weight_top, sums.weight_top):
        return sums
    return raised(sums, top, weight_top)


def raised(sums: Sums, top: Tensor, weight_top: Tensor) -> Sums:
    """Return the same sums in larger units."""
    rise = top - sums.top
    bits = rise[:, None] + rise + BITS * (weight_top - sums.weight_top)
    digits = shifted(carry(sums.digits), bits)
    return sums._replace(digits=digits, top=top, weight_top=weight_top, load=0)


def slices_of(high: Tensor, low: Tensor | None, depth: int) -> tuple[Tensor, Tensor]:
    """Cut numbers high + low, |high| <= 2^21, into whole numbers.

    Args:
        high: (columns, rows).
        low: (columns, rows), what `high` has left out; or None.
        depth: how many slices.

    Returns:
        The slices, (depth, columns, rows), and which rows have bits left, (rows,).

    >>> slices_of(torch.tensor([[0.75, 3.0]], dtype=torch.float64), None, 1)
    (tensor([[[1., 3.]]], dtype=torch.float64), tensor([ True, False]))
    """
    slices = high.new_empty(depth, *high.shape)
    rest = torch.empty_like(high)
    for place, whole in enumerate(slices):
        torch.round(high if place == 0 else rest, out=whole)
        torch.sub(high if place == 0 else rest, whole, out=rest)
        if low is not None:
            rest, low = fast_two_sum(rest, low)
            low = low * BASE
        if place < depth - 1:
            rest.mul_(BASE)
    left = rest.any(0)
    return slices, left if low is None else left | low.any(0)


def with_products(sums: Sums, right: Tensor, left: Tensor | None, place: int) -> Sums:
    """Add the exact product of sliced columns.

    Args:
        sums: what has been added before; its digits are written to.
        right: (depth, columns, rows), the slices of z.
        left: (another depth, columns, rows), the slices of w z; None where they are those of z.
        place: the digit that the product of the two first slices belongs to.
    """
    depth, columns, rows = right.shape
    left_depth = depth if left is None else left.shape[0]
    digits = lengthened(sums.digits, place + depth + left_depth - 1)
    load = sums.load
    start = 0
    while start < rows:
        size = min(BLOCK_ROWS, rows - start)
        blocks = max(1, min((rows - start) // size, _LOAD // (2 * depth * size)))
        added = 2 * depth * blocks * size
        load += added
        if load > _LOAD:
            digits, load = carry(digits), added
        cut = slice(start, start + blocks * size)
        ours = right[:, :, cut].reshape(depth, columns, blocks, size)
        theirs = (
            ours if left is None else left[:, :, cut].reshape(left_depth, columns, blocks, size)
        )
        for i in range(left_depth):
            # The Gram matrix is symmetric: without weights half of the products are enough.
            first = i if left is None else 0
            others = ours[first:].flatten(0, 1).permute(1, 2, 0)
            whole = digits.new_empty(columns, others.shape[2])
            for strip, behind in _strips(columns, left is None, right.is_cuda):
                product = torch.bmm(theirs[i, strip].transpose(0, 1), others[:, :, behind:])
                whole[strip, behind:] = product.sum(0, dtype=torch.int64)
                whole[strip.stop :, strip] = whole[strip, strip.stop : columns].mT
            whole = whole.view(columns, depth - first, columns).transpose(0, 1)
            at = place + i + first
            digits[at : at + depth - first] += whole
            if left is None:
                digits[at + 1 : at + depth - first] += whole[1:].mT
        start = cut.stop
    return sums._replace(digits=digits, load=load)


def _strips(columns: int, symmetric: bool, at_once: bool) -> Iterator[tuple[slice, int]]:
    """Yield strips of rows of a product, and from which column on each of them is needed."""
    width = _STRIP if symmetric and not at_once else columns
    for start in range(0, columns, width):
        yield slice(start, min(start + width, columns)), start
