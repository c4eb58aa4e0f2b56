"""Adds rows to exact sums by the compiled loop of `exact_kernel`, in as many threads as torch has.

It is used for many rows on a CPU where numba is installed. The sums are the same without it.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from linreg_lightning.algebra import multiprecision
from linreg_lightning.algebra.double_double import exponent_of, ldexp
from linreg_lightning.algebra.multiprecision import DIGIT_BITS, HEADROOM_DIGITS, ExactSums
from linreg_lightning.batch import Batch

MIN_NUMBERS = 2**23  # rows times columns; the import of numba takes as long as their sums
BLOCK_ROWS = 512  # that `exact_kernel` adds at a time
MAX_COLUMNS = 256  # more do not fit the cache; then matrix products are as fast
_ROWS_AT_A_TIME = 2**15  # the sums of their products stay within int64
_RARE = 16  # one entry in 16 with a slice of its own costs about as much as a slice more for all
_MAX_DEPTH, _MAX_GROUPS = 6, 4
_TILE = 4  # columns are multiplied in tiles of 4 x 4


@cache
def load_kernel() -> Any:
    """Return the compiled function, or None where numba is not installed."""
    try:
        from linreg_lightning.algebra.exact_kernel import add_rows
    except ImportError:
        return None
    return add_rows


def can_compile(batch: Batch, numbers: int) -> bool:
    """Whether `CompiledSums` is faster for such a batch, where a fit adds this many numbers."""
    columns = 1 + batch.x.shape[1] + batch.y.shape[1]
    is_small = numbers < MIN_NUMBERS or columns > MAX_COLUMNS
    return not is_small and batch.x.device.type == "cpu" and load_kernel() is not None


class _Products(NamedTuple):
    """What the compiled loop returns for a part of the rows."""

    digits: Tensor  # (places, columns, columns) int64, on and above the diagonal
    done: int  # rows added or set apart, before one that does not fit the units
    apart: Tensor  # indices of rows that were not added, because they have bits left
    own: int  # entries with a slice of their own


class CompiledSums:
    """Adds batches; it learns from their rows how many slices most of them need."""

    def __init__(self, batch: Batch) -> None:
        self.weighted = batch.weight is not None
        self._depth = 2 if batch.x.dtype == torch.float32 else 3  # of z
        self._groups = 2 if self.weighted else 1  # of as many slices of w z
        self._weight_exponent = -1022
        self.is_useful = True  # False: most rows have bits beyond the deepest slice

    def add(
        self, sums: ExactSums, batch: Batch, check_finite: Callable[[], None]
    ) -> tuple[ExactSums, Batch]:
        """Return the sums with a batch, and the rows of the batch that are still to be added."""
        x, y = (z.detach() if z.dtype == torch.float32 else z.detach().double() for z in batch[:2])
        rows, threads = Batch(x, y, batch.weight), torch.get_num_threads()
        size = min(_ROWS_AT_A_TIME, -(-batch.rows // threads))
        starts = range(0, batch.rows, size)
        parts, apart = [slice(k, min(k + size, batch.rows)) for k in starts], []
        with ThreadPoolExecutor(threads) as pool:
            while parts and self.is_useful:
                group, parts = parts[:threads], parts[threads:]
                sums = self._enlarge_units(sums, rows, group, check_finite)
                results = list(pool.map(partial(self._multiply, rows, sums), group))
                for part, result in zip(group, results, strict=True):
                    sums = self._add_digits(sums, result.digits)
                    apart.append(part.start + result.apart)
                    if part.start + result.done < part.stop:
                        parts.append(slice(part.start + result.done, part.stop))
                self._learn(results, len(sums.top))
        apart += [torch.arange(part.start, part.stop) for part in parts]
        return sums, batch.select(torch.cat(apart))

    def _enlarge_units(
        self, sums: ExactSums, rows: Batch, parts: list[slice], check_finite: Callable[[], None]
    ) -> ExactSums:
        """Enlarge the units so that the first block of each part fits."""
        for part in parts:
            block = rows.select(slice(part.start, part.start + BLOCK_ROWS))
            z = torch.cat((block.x.double(), block.y.double()), 1).abs()
            weight = one = z.new_ones(1)
            if block.weight is not None:
                z.masked_fill_((block.weight == 0)[:, None], 0.0)
                weight = block.weight.amax()[None]
                self._weight_exponent = max(self._weight_exponent, int(exponent_of(weight)))
            largest = torch.cat((one, z.amax(0), weight))
            if not bool(largest.isfinite().all()):
                check_finite()
            sums = sums.enlarge_units(largest)
        return sums

    def _multiply(self, rows: Batch, sums: ExactSums, part: slice) -> _Products:
        columns = len(sums.top)
        width = -(-columns // _TILE) * _TILE
        unit = torch.zeros(width, dtype=torch.float64)
        unit[:columns] = ldexp(torch.ones((), dtype=torch.float64), -sums.top)
        places = (self._groups + 1) * self._depth + 1
        digits = torch.zeros(places, width, width, dtype=torch.int64)
        apart = torch.zeros(part.stop - part.start, dtype=torch.bool)
        x, y, weight = rows.select(part)
        done, own = load_kernel()(
            x.numpy(),
            y.numpy(),
            (torch.empty(0, dtype=torch.float64) if weight is None else weight).numpy(),
            unit.numpy(),
            2.0**-self._weight_exponent,
            self._depth,
            self._groups,
            apart.numpy(),
            digits.numpy(),
        )
        return _Products(digits[:, :columns, :columns], done, apart[:done].nonzero().flatten(), own)

    def _add_digits(self, sums: ExactSums, digits: Tensor) -> ExactSums:
        weight_top = int(sums.weight_top)
        place = HEADROOM_DIGITS - 1 if self.weighted else HEADROOM_DIGITS + weight_top
        upper = digits.triu()
        products = digits.new_zeros(place + len(digits), *digits.shape[1:])
        products[place:] = upper + upper.triu(1).mT
        multiprecision.carry_in_place(products)
        if self.weighted:  # from units of 2^weight_exponent to those of `ExactSums`
            bits = DIGIT_BITS * (weight_top + 1) - self._weight_exponent
            products = multiprecision.shift_right(products, torch.full_like(digits[0], bits))
        return sums._replace(digits=multiprecision.add(sums.digits, products))

    def _learn(self, results: list[_Products], columns: int) -> None:
        """Take more slices for the next rows if many of these need more."""
        rows = sum(result.done for result in results)
        own = sum(result.own for result in results)
        apart = sum(len(result.apart) for result in results)
        many_apart = apart * _RARE > rows
        if self.weighted and many_apart and self._groups < _MAX_GROUPS:
            self._groups += 1
        elif (many_apart or own * _RARE > rows * columns) and self._depth < _MAX_DEPTH:
            self._depth += 1
        else:
            self.is_useful = not many_apart
