"""The number of rows that count and the sum of the logarithms of their weights, without rounding.

Both are whole numbers: (rows, whole part of the sum of log2 w, the rest in units of 2^-40). Each
logarithm is rounded to these units, so the order of the rows does not matter.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from linreg_lightning.algebra.double_double import power_of_two
from linreg_lightning.validation import check_weight, row_number

_FRACTION_BITS = 40
# Rows at a time: the sum of their fractions stays far inside int64, and little memory is taken.
_BLOCK_ROWS = 2**17


def counts_of(weight: Tensor, first_row: int) -> Tensor:
    """Return (rows with a weight above 0, whole part and rest of the sum of their log2).

    Args:
        weight: (rows,) float64.
        first_row: the number of the first row, for messages.

    Raises:
        InputError: a weight is negative, NaN or infinite.

    >>> counts_of(torch.tensor([0.0, 2.0, 4.0], dtype=torch.float64), 0)
    tensor([2, 3, 0])
    """
    # One comparison finds negative, NaN and infinite weights.
    wrong = ~((weight >= 0) & (weight < torch.inf))
    total = weight.new_zeros(3, dtype=torch.int64)
    for block in weight.split(_BLOCK_ROWS):
        present = block > 0
        whole, rest = _log2(torch.where(present, block, 1.0))
        units = (rest * 2.0**_FRACTION_BITS).round().to(torch.int64)
        total = normalize(total + torch.stack((present.sum(), whole.sum(), units.sum())))
    # One transfer, so that a GPU is waited for once.
    *counts, any_wrong = torch.cat((total, wrong.any()[None])).tolist()
    if any_wrong:
        check_weight(weight, lambda row: row_number(first_row + row))
    return torch.tensor(counts)


def log_weight(counts: Tensor) -> float:
    """Return the sum of the natural logarithms of the weights."""
    _, whole, units = counts.tolist()
    return float(whole + units / 2**_FRACTION_BITS) * math.log(2)


def normalize(counts: Tensor) -> Tensor:
    """Return the same counts with the rest within [0, 1), which makes their form unique."""
    rows, whole, units = counts
    carry = units >> _FRACTION_BITS
    return torch.stack((rows, whole + carry, units & (2**_FRACTION_BITS - 1)))


def _log2(value: Tensor) -> tuple[Tensor, Tensor]:
    """Return log2 of positive numbers as a whole number and a rest in [-1/2, 1/2].

    `torch.log` rounds differently inside and at the end of a vector, so its bits would depend on
    the place of a row; this is a sequence of single operations. log m = 2 atanh s with
    s = (m - 1) / (m + 1), as a series in s^2 <= 0.0295.
    """
    tiny = value < 2.0**-1000
    bits = torch.where(tiny, value * 2.0**64, value).view(torch.int64)
    exponent = (bits >> 52) - 1023 - 64 * tiny.to(torch.int64)
    mantissa = ((bits & (2**52 - 1)) | (1023 << 52)).view(torch.float64)
    large = (mantissa > 2.0**0.5).to(torch.int64)
    mantissa = mantissa * power_of_two(-large)
    s = (mantissa - 1.0) / (mantissa + 1.0)
    square = s * s
    series = torch.zeros_like(s)
    for k in range(21, 0, -2):
        series.mul_(square).add_(1.0 / k)
    return exponent + large, series * s * 2.885390081777927  # 2 / log 2
