"""How precise the columns of x were before they became float64: it decides which are collinear.

The bits of a column are those of the least precise type in which any batch gave it, as 24 for
float32. Integers and decimals have the 53 bits of float64: their last digit is exact, not rounded.
A column of whole numbers counts as exact in any type if they are below a quarter of the type's
range of whole numbers (2^22 in float32, 2^9 in float16, 2^6 in bfloat16): other numbers of that
size would have fractions. Larger whole numbers count as rounded.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from linreg_lightning.batch import significant_bits

FLOAT64_BITS = 53
_SAMPLE_ROWS = 64  # nearly always enough to see that a column does not hold whole numbers only


def column_precision(precision: Tensor, x: Tensor, bits: Sequence[int] | None) -> Tensor:
    """Return the bits of each column, where `precision` has those of earlier rows.

    `bits` is as in `Gram.update`.
    """
    of_type = significant_bits(x.dtype)
    if of_type == FLOAT64_BITS and bits is None:
        return precision
    limits = [of_type if bits is None else min(of_type, bits[j]) for j in range(x.shape[1])]
    result = precision.tolist()
    finer = [j for j, limit in enumerate(limits) if result[j] > limit]
    if not finer:
        return precision
    for rows in (_SAMPLE_ROWS, x.shape[0]):
        part = x[:rows, finer]
        # Numbers of this size that were rounded to the type would have fractions.
        largest = torch.tensor([2.0 ** (limits[j] - 2) for j in finer], device=x.device)
        whole = (part.frac() == 0).all(0) & (part.abs().amax(0) < largest)
        is_whole = dict(zip(finer, whole.tolist(), strict=True))
        result = [b if is_whole.get(j, True) else limits[j] for j, b in enumerate(result)]
        finer = [j for j in finer if is_whole[j]]
    return torch.tensor(result)
