"""Whole numbers of any length, one for each entry of a matrix, as digits held in tensors.

The digits of a number x lie along the first dimension, the most significant first:

    x = sum over c of digits[c] * BASE^-c,      BASE = 2^22.

Digits are int64. In *normal form* every digit but the first lies in [-BASE/2, BASE/2). That form is
unique, so the same sum has the same digits whatever the order of its terms. Leading and trailing
zeros change nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from linreg_lightning.algebra.double_double import DoubleDouble

DIGIT_BITS = 22
BASE = 2**DIGIT_BITS


def carry(digits: Tensor) -> Tensor:
    """Return the same numbers in normal form; each digit must be below 2^62 in magnitude.

    >>> carry(torch.tensor([0, 2**22 + 5]))
    tensor([1, 5])
    """
    digits = digits.clone()
    for place in range(digits.shape[0] - 1, 0, -1):
        over = (digits[place] + BASE // 2) >> DIGIT_BITS
        digits[place] -= over << DIGIT_BITS
        digits[place - 1] += over
    return digits


def pad(digits: Tensor, length: int) -> Tensor:
    """Append zero digits up to `length` digits."""
    missing = length - digits.shape[0]
    if missing <= 0:
        return digits
    return torch.cat((digits, digits.new_zeros(missing, *digits.shape[1:])))


def add(a: Tensor, b: Tensor) -> Tensor:
    """Return a + b in normal form, for a and b in normal form, of any two lengths."""
    length = max(a.shape[0], b.shape[0])
    return carry(pad(a, length) + pad(b, length))


def multiply(a: Tensor, b: Tensor) -> Tensor:
    """Return a * b in normal form, for a and b in normal form with first digits below 2^30."""
    product = a.new_zeros(a.shape[0] + b.shape[0] - 1, *(a[0] * b[0]).shape)
    for place, digit in enumerate(a):
        product[place : place + b.shape[0]] += digit * b
    return carry(product)


def shift_right(digits: Tensor, bits: Tensor) -> Tensor:
    """Return numbers in normal form divided by 2^bits, exactly; each has its own bits >= 0."""
    if not bool(digits.any()):
        return digits[:1]
    length = digits.shape[0]
    places = -(-bits // DIGIT_BITS)
    new_length = length + int(places.max())
    places, bits = places.to(digits.device), bits.to(digits.device)
    digits = digits << (places * DIGIT_BITS - bits)
    source = torch.arange(new_length, device=digits.device).reshape(-1, *[1] * places.ndim) - places
    inside = (source >= 0) & (source < length)
    shifted = carry(digits.gather(0, source.clamp(0, length - 1)) * inside)
    used = shifted.flatten(1).any(1).nonzero()
    return shifted[: int(used.max()) + 1]  # without the trailing zeros


def to_double_double(digits: Tensor) -> DoubleDouble:
    """Round numbers in normal form to 106 bits; leading and trailing zeros do not change the bits.

    >>> to_double_double(torch.tensor([1, 2**21])).high
    tensor(1.5000, dtype=torch.float64)
    """
    value = DoubleDouble.of(torch.zeros_like(digits[0], dtype=torch.float64))
    for digit in digits.flip(0):
        value = DoubleDouble(value.high / BASE, value.low / BASE) + digit.double()
    return value
