"""Whole numbers of any length, one for each entry of a matrix, and exact products of matrices.

The digits of a number x lie along the first dimension, the most significant first:

    x = sum over c of digits[c] * BASE^-c,      BASE = 2^22.

Digits are int64. In *normal form* every digit but the first lies in [-BASE/2, BASE/2). That form is
unique, so the same sum has the same digits whatever the order of its terms. Leading and trailing
zeros change nothing.

A matrix product of slices of at most 22 bits over at most 2048 rows adds whole numbers that stay
within 2^53, so it has no rounding error in any order of summation.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from linreg_lightning.algebra.double_double import (
    DoubleDouble,
    Number,
    exponent_of,
    fast_two_sum,
    ldexp,
    two_sum,
)

DIGIT_BITS = 22
BASE = 2**DIGIT_BITS
BLOCK_ROWS = 2048  # of products of at most 2^42 add up to at most 2^53
HEADROOM_DIGITS = 2  # above that of s_0 s_0, for sums of many rows
# The smallest unit, 2^MIN_EXPONENT, holds every entry below 2^-969 exactly, subnormal ones too.
MIN_EXPONENT = -45 * DIGIT_BITS
# Rows of a symmetric product at a time: this skips most of the triangle below the diagonal, and
# kernels of matrix products, which work on blocks of 12 rows or a divisor, have no remainder.
_STRIP = 72
_NARROW = 512
_FEW_COLUMNS = 16  # for which one product of all slices takes the least time
_MAX_PENDING = 2**19  # products of 2^42 stay far inside int64
_NUMBERS_AT_A_TIME = 2**17  # at a time, for which the working memory is small
_FEW_PRODUCTS = 2**12  # in 106 bits, which one by one take less time than slices do
_MATRIX_DEPTH = 6  # slices of a matrix of 106-bit numbers


def carry(digits: Tensor) -> Tensor:
    """Return the same numbers in normal form; each digit must be below 2^62 in magnitude.

    >>> carry(torch.tensor([0, 2**22 + 5]))
    tensor([1, 5])
    """
    digits = digits.clone(memory_format=torch.contiguous_format)
    carry_in_place(digits)
    return digits


def carry_in_place(digits: Tensor) -> None:
    """Turn the digits, contiguous, into the normal form of the same numbers, as `carry` does."""
    numbers = digits.view(digits.shape[0], -1)
    for block in [numbers] if digits.is_cuda else numbers.split(_NUMBERS_AT_A_TIME, dim=1):
        places = block.unbind()
        for place in range(len(places) - 1, 0, -1):
            over = (places[place] + BASE // 2).bitwise_right_shift_(DIGIT_BITS)
            places[place].sub_(over, alpha=BASE)
            places[place - 1].add_(over)


def pad(digits: Tensor, length: int) -> Tensor:
    """Append zero digits up to `length` digits."""
    if length <= digits.shape[0]:
        return digits
    padded = digits.new_zeros(length, *digits.shape[1:])
    padded[: digits.shape[0]] = digits
    return padded


def add(a: Tensor, b: Tensor) -> Tensor:
    """Return a + b in normal form, for a and b in normal form, of any two lengths."""
    length = max(a.shape[0], b.shape[0])
    return carry(pad(a, length) + pad(b, length))


def shift_right(digits: Tensor, bits: Tensor) -> Tensor:
    """Return numbers in normal form divided by 2^bits, exactly; each has its own bits >= 0."""
    if not bool(digits.any()):
        return digits[:1]
    length, shape = digits.shape[0], digits.shape[1:]
    numbers, bits = digits.reshape(length, -1), bits.to(digits.device).flatten()
    new_length = length - int((-bits // DIGIT_BITS).min())
    shifted = digits.new_zeros(new_length, numbers.shape[1])
    size = _NUMBERS_AT_A_TIME if not digits.is_cuda else len(bits)
    for start in range(0, len(bits), size):
        block = slice(start, start + size)
        places = -(-bits[block] // DIGIT_BITS)
        moved = numbers[:, block] << (places * DIGIT_BITS - bits[block])
        source = torch.arange(new_length, device=digits.device)[:, None] - places
        inside = (source >= 0) & (source < length)
        shifted[:, block] = moved.gather(0, source.clamp(0, length - 1)) * inside
    carry_in_place(shifted)
    while not bool(shifted[-1].any()):  # without the trailing zeros
        shifted = shifted[:-1]
    quotient: Tensor = shifted.unflatten(1, shape)
    return quotient


def subtract_products(z: Tensor, weight: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Return weight z - left right', in normal form, of numbers with digits up to BASE / 2.

    `z` is (length, rows, columns), `weight` (length,), `left` (length, rows), `right` (length,
    columns).
    """
    length = len(z)
    difference = z.new_zeros(2 * length - 1, *z.shape[1:])
    for place in weight.nonzero()[:, 0].tolist():
        difference[place : place + length] += weight[place] * z
    # Sums of products of 2^42, which float64 holds exactly.
    left, reverse = left.double().mT, right.double().flip(0)
    for place in range(2 * length - 1):
        first, last = max(0, place - length + 1), min(place, length - 1)
        others = reverse[length - 1 - place + first : length - place + last]
        difference[place] -= (left[:, first : last + 1] @ others).long()
    carry_in_place(difference)
    return difference


def divide(numerators: Tensor, denominator: Tensor) -> DoubleDouble:
    """Return the ratios of numbers in normal form, (length, ...) and (length,), to 2^-103."""
    (high, exponent), (low, shift) = _leading(numerators), _leading(denominator)
    return ldexp(high / low, exponent - shift)


def _leading(digits: Tensor) -> tuple[DoubleDouble, Tensor]:
    """Return numbers in normal form, each as a number and the exponent of a power of two."""
    first = (digits != 0).byte().argmax(0)
    places = first + torch.arange(6).view(-1, *[1] * first.ndim)
    inside = places < len(digits)
    chosen = digits.gather(0, places.clamp(max=len(digits) - 1)) * inside
    parts = (chosen[::2] * BASE + chosen[1::2]).double()
    high, low = two_sum(parts[1], parts[2] / 2.0 ** (2 * DIGIT_BITS))
    scale = 2.0 ** (2 * DIGIT_BITS)
    high, rest = two_sum(parts[0], high / scale)
    return DoubleDouble(*fast_two_sum(high, rest + low / scale)), -DIGIT_BITS * (first + 1)


class ExactSums(NamedTuple):
    """The Gram matrix, the number digits BASE^(HEADROOM_DIGITS + weight_top) 2^(top_i + top_j)."""

    digits: Tensor  # (length, columns, columns) int64, on the device of the rows
    top: Tensor  # (columns,) int64 exponents of the units of the columns, on the CPU
    weight_top: Tensor  # () int64, the unit of the weights in digits, on the CPU
    lost: Tensor  # () bool: a bit beyond the deepest slice was left out; on the CPU
    pending: int = 0  # products of 2^42 added to a digit since the last carry

    def enlarge_units(self, largest: Tensor) -> ExactSums:
        """Return the sums in units in which the first slice of each coming entry is at most 2^21.

        `largest` are the largest magnitudes of the coming columns and weights, (columns + 1,).
        """
        exponent = exponent_of(largest)
        top = torch.maximum(exponent[:-1] - DIGIT_BITS + 1, self.top)
        # the smallest weight_top with 2^e <= 2^(21 + 22 weight_top): ceil((e - 21) / 22)
        weight_top = torch.maximum(exponent[-1] // DIGIT_BITS, self.weight_top)
        if torch.equal(top, self.top) and torch.equal(weight_top, self.weight_top):
            return self
        return self.convert_units(top, weight_top)

    def convert_units(self, top: Tensor, weight_top: Tensor) -> ExactSums:
        """Return the same sums in units that are at least as large."""
        if torch.equal(top, self.top) and torch.equal(weight_top, self.weight_top):
            return self._replace(digits=carry(self.digits), pending=0) if self.pending else self
        rise = top - self.top
        bits = rise[:, None] + rise + DIGIT_BITS * (weight_top - self.weight_top)
        digits = shift_right(carry(self.digits), bits)
        return self._replace(digits=digits, top=top, weight_top=weight_top, pending=0)

    def add_products(self, right: Tensor, left: Tensor | None, place: int) -> ExactSums:
        """Add the product of slices of z and of w z, (depth, columns, rows) each, in place.

        `left` is None without weights; `place` is the digit of the product of the two first slices.
        """
        depth, _, rows = right.shape
        left_depth = depth if left is None else left.shape[0]
        digits, pending = pad(self.digits, place + depth + left_depth - 1), self.pending
        start = 0
        while start < rows:
            size = min(BLOCK_ROWS, rows - start)
            blocks = max(1, min((rows - start) // size, _MAX_PENDING // (2 * depth * size)))
            count = 2 * depth * blocks * size
            pending += count
            if pending > _MAX_PENDING:
                carry_in_place(digits)
                pending = count
            part = slice(start, start + blocks * size)
            right_blocks = right[:, :, part].unflatten(2, (blocks, size))
            left_blocks = None if left is None else left[:, :, part].unflatten(2, (blocks, size))
            _add_block_products(digits, right_blocks, left_blocks, place)
            start = part.stop
        return self._replace(digits=digits, pending=pending)


def slice_entries(high: Tensor, low: Tensor | None, depth: int) -> tuple[Tensor, Tensor]:
    """Split high + low, |high| <= 2^21, (columns, rows), into whole numbers s_0 + s_1 / BASE + ...

    Return the slices, (depth, columns, rows), and which rows have bits left, (rows,).
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
    unfinished = rest.any(0)
    return slices, unfinished if low is None else unfinished | low.any(0)


def matrix_product(a: Number, b: Number) -> Number:
    """Return a b, (rows, inner) and (inner, columns).

    In 106 bits the error of an entry is below 2^-104 inner |a_i| |b_j|, with the largest magnitudes
    of row i of a and column j of b, and the bits do not depend on the kernel of matrix products.
    """
    if isinstance(a, Tensor):
        return a @ b
    inner = len(b)
    if inner * len(a) * b.high.shape[1] <= _FEW_PRODUCTS:
        return (a[:, :, None] * b).sum(1)
    size = BLOCK_ROWS // _MATRIX_DEPTH
    total = _sliced_product(a[:, :size], b[:size])
    for start in range(size, inner, size):
        part = slice(start, start + size)
        total = total + _sliced_product(a[:, part], b[part])
    return total


def _sliced_product(a: DoubleDouble, b: DoubleDouble) -> DoubleDouble:
    """Return a b from products of slices without rounding error, at most 341 along `inner`."""
    left_exponent = exponent_of(a.high.abs().amax(1)).clamp(min=-900)[:, None]
    right_exponent = exponent_of(b.high.abs().amax(0)).clamp(min=-900)
    left, right = ldexp(a, 21 - left_exponent), ldexp(b, 21 - right_exponent)
    left_slices, _ = slice_entries(left.high, left.low, _MATRIX_DEPTH)
    right_slices, _ = slice_entries(right.high, right.low, _MATRIX_DEPTH)
    rows, inner = a.high.shape
    # Side by side: one product adds up s_0 t_k + s_1 t_(k-1) + ... + s_k t_0.
    side_by_side = left_slices.movedim(0, 1).reshape(rows, _MATRIX_DEPTH * inner)
    reversed_stack = right_slices.flip(0).reshape(_MATRIX_DEPTH * inner, -1)
    value = DoubleDouble.of(a.high.new_zeros(rows, reversed_stack.shape[1]))
    for count in range(_MATRIX_DEPTH * inner, 0, -inner):
        product = side_by_side[:, :count] @ reversed_stack[-count:]
        value = DoubleDouble(value.high / BASE, value.low / BASE) + product
    return ldexp(value, left_exponent + right_exponent - 42)


def _add_block_products(digits: Tensor, right: Tensor, left: Tensor | None, place: int) -> None:
    """Add products of slices, (depth, columns, blocks, block rows) each, to the digits."""
    depth, columns = right.shape[:2]
    symmetric = left is None
    left = right if left is None else left
    if columns <= _FEW_COLUMNS:
        products = torch.bmm(
            left.permute(2, 0, 1, 3).flatten(1, 2), right.permute(2, 3, 0, 1).flatten(2)
        ).sum(0, dtype=torch.int64)
        whole = products.view(len(left), columns, depth, columns).transpose(1, 2)
        for i, product in enumerate(whole, place):
            digits[i : i + depth] += product
        return
    width = _STRIP if symmetric and not right.is_cuda else columns
    step = depth if columns <= _NARROW else 1  # slices of wide rows fill the kernels one by one
    for i, left_slice in enumerate(left):
        # The Gram matrix is symmetric: without weights half of the products are enough.
        for first in range(i if symmetric else 0, depth, step):
            others = right[first : first + step].flatten(0, 1).permute(1, 2, 0)
            whole = digits.new_empty(columns, others.shape[2])
            has_square = symmetric and first == i  # which is its own transpose
            for start in range(0, columns, width):
                strip = slice(start, min(start + width, columns))
                column = start if has_square else 0
                product = torch.bmm(left_slice[strip].transpose(0, 1), others[:, :, column:])
                whole[strip, column:] = product.sum(0, dtype=torch.int64)
                if has_square:
                    whole[strip.stop :, strip] = whole[strip, strip.stop : columns].mT
            whole = whole.view(columns, -1, columns).transpose(0, 1)
            top = place + i + first
            digits[top : top + len(whole)] += whole
            if symmetric:
                digits[top + has_square : top + len(whole)] += whole[has_square:].mT
