"""Whole numbers of any length, one for each entry of a matrix, as digits held in tensors.

The digits of a number x lie along the first dimension, the largest first:

    x = sum over c of digits[c] * BASE^-c,      BASE = 2^22.

Digits are int64. In *normal form* every digit but the first lies in [-BASE/2, BASE/2); that form is
unique, so two ways of adding up the same numbers end with the same digits. Leading and trailing
zeros change nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from linreg_lightning.algebra.double_double import DoubleDouble

BITS = 22
BASE = 2**BITS


def carry(digits: Tensor) -> Tensor:
    """Return the same numbers in normal form.

    Args:
        digits: (length, ...) int64, each below 2^62 in magnitude.

    >>> carry(torch.tensor([0, 2**22 + 5]))
    tensor([1, 5])
    """
    digits = digits.clone()
    for place in range(digits.shape[0] - 1, 0, -1):
        over = (digits[place] + BASE // 2) >> BITS
        digits[place] -= over << BITS
        digits[place - 1] += over
    return digits


def shifted(digits: Tensor, bits: Tensor) -> Tensor:
    """Return the numbers divided by 2^bits, exactly: digits move down, none is lost.

    Args:
        digits: (length, ...) int64 in normal form.
        bits: (...) int64, at least 0; each number has its own.

    >>> shifted(torch.tensor([[8, 8, 8]]), torch.tensor([0, 1, 22]))
    tensor([[8, 4, 0],
            [0, 0, 8]])
    """
    if not bool(digits.any()):
        return digits[:1]
    length = digits.shape[0]
    places = -(-bits // BITS)
    moved = length + int(places.max())
    places, bits = places.to(digits.device), bits.to(digits.device)
    digits = digits << (places * BITS - bits)
    source = torch.arange(moved, device=digits.device).reshape(-1, *[1] * places.ndim) - places
    inside = (source >= 0) & (source < length)
    return trimmed(carry(digits.gather(0, source.clamp(0, length - 1)) * inside))


def trimmed(digits: Tensor) -> Tensor:
    """Return the numbers without the last digits that are zero in all of them.

    >>> trimmed(torch.tensor([[1, 2], [0, 3], [0, 0]]))
    tensor([[1, 2],
            [0, 3]])
    """
    used = digits.flatten(1).any(1).nonzero()
    return digits[: int(used.max()) + 1] if used.numel() else digits[:1]


def added(a: Tensor, b: Tensor) -> Tensor:
    """Return a + b in normal form; the shorter of the two is filled up with zeros.

    Args:
        a: (length, ...) int64 in normal form.
        b: (another length, ...) int64 in normal form.

    >>> added(torch.tensor([1]), torch.tensor([2, 3]))
    tensor([3, 3])
    """
    length = max(a.shape[0], b.shape[0])
    return carry(lengthened(a, length) + lengthened(b, length))


def lengthened(digits: Tensor, length: int) -> Tensor:
    """Return the numbers with zeros after the last digit, up to `length` digits.

    >>> lengthened(torch.tensor([1]), 3)
    tensor([1, 0, 0])
    """
    missing = length - digits.shape[0]
    if missing <= 0:
        return digits
    return torch.cat((digits, digits.new_zeros(missing, *digits.shape[1:])))


def multiplied(a: Tensor, b: Tensor) -> Tensor:
    """Return a * b in normal form.

    Args:
        a: (length, ...) int64 in normal form, the first digit below 2^30 in magnitude.
        b: (another length, ...) int64, likewise; the shapes after the first dimension broadcast.

    >>> multiplied(torch.tensor([0, 3]), torch.tensor([0, 5]))
    tensor([ 0,  0, 15])
    """
    product = a.new_zeros(a.shape[0] + b.shape[0] - 1, *(a[0] * b[0]).shape)
    for place, digit in enumerate(a):
        product[place : place + b.shape[0]] += digit * b
    return carry(product)


def to_double_double(digits: Tensor) -> DoubleDouble:
    """Return the numbers rounded to 106 bits; the same bits whatever zeros lead or trail.

    Args:
        digits: (length, ...) int64 in normal form.

    >>> to_double_double(torch.tensor([1, 2**21])).high
    tensor(1.5000, dtype=torch.float64)
    """
    value = DoubleDouble.of(
        torch.zeros(digits.shape[1:], dtype=torch.float64, device=digits.device)
    )
    scale = 1.0 / BASE
    for digit in digits.flip(0):
        value = DoubleDouble(value.high * scale, value.low * scale) + digit.double()
    return value
