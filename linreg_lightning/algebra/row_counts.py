"""The number of rows that count and the sum of the logarithms of their weights, without rounding.

Both are held as whole numbers: (rows, whole part of the sum of log2 w, the rest in units of 2^-40).
Each logarithm is rounded to these units, and then the order of the rows does not matter.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from linreg_lightning.algebra.double_double import power_of_two
from linreg_lightning.validation import check_weight, row_number

_BITS = 40
# At a time: their sum stays far inside int64, and little memory is taken.
_ROWS = 2**17


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
    for start in range(0, weight.shape[0], _ROWS):
        piece = weight[start : start + _ROWS]
        present = piece > 0
        whole, part = _log2(torch.where(present, piece, 1.0))
        units = (part * 2.0**_BITS).round().to(torch.int64)
        total = carried(total + torch.stack((present.sum(), whole.sum(), units.sum())))
    *counts, any_wrong = torch.cat((total, wrong.any()[None])).tolist()
    if any_wrong:
        check_weight(weight, lambda row: row_number(first_row + row))
    return torch.tensor(counts)


def log_weight(counts: Tensor) -> float:
    """Return the sum of the natural logarithms.

    >>> log_weight(torch.tensor([2, 3, 0])) == 3 * math.log(2)
    True
    """
    _, whole, units = counts.tolist()
    return float(whole + units / 2**_BITS) * math.log(2)


def carried(counts: Tensor) -> Tensor:
    """Return the same counts with the rest within [0, 1), so that they have one form only."""
    rows, whole, units = counts
    return torch.stack((rows, whole + (units >> _BITS), units & (2**_BITS - 1)))


def _log2(value: Tensor) -> tuple[Tensor, Tensor]:
    """Return log2 of positive numbers as a whole number and a rest in [-1/2, 1/2].

    Written out in single operations, because `torch.log` rounds differently in a vector and in the
    rows left over, so that its bits would depend on where a row stands. log m = 2 atanh s with
    s = (m - 1) / (m + 1), as a series in s^2 <= 0.0295.
    """
    tiny = value < 2.0**-1000
    bits = torch.where(tiny, value * 2.0**64, value).view(torch.int64)
    exponent = (bits >> 52) - 1023 - 64 * tiny.to(torch.int64)
    mantissa = ((bits & (2**52 - 1)) | (1023 << 52)).view(torch.float64)
    large = mantissa > 2.0**0.5
    mantissa = mantissa * power_of_two(-large.to(torch.int64))
    s = (mantissa - 1.0) / (mantissa + 1.0)
    square = s * s
    series = torch.zeros_like(s)
    for k in range(21, 0, -2):
        series.mul_(square).add_(1.0 / k)
    return exponent + large.to(torch.int64), series * s * 2.885390081777927
