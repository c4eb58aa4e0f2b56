"""Adds rows to exact sums by the compiled loop of `exact_kernel`, in as many threads as torch has.

It is used for many rows on a CPU where numba is installed. The sums are the same without it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from importlib import import_module
from typing import Any, NamedTuple

import torch
from torch import Tensor

from linreg_lightning.algebra import multiprecision
from linreg_lightning.algebra.double_double import exponent_of, ldexp
from linreg_lightning.algebra.multiprecision import DIGIT_BITS, HEADROOM_DIGITS, ExactSums
from linreg_lightning.batch import Batch

MIN_NUMBERS = 2**23  # rows times columns; for fewer, importing numba takes longer than it saves
MAX_COLUMNS = 512  # more do not fit the cache; then matrix products are as fast
_FIRST_ROWS, _MAX_ROWS = 2**12, 2**17  # at a time; the sums of their products stay within int64
_RARE = 16  # if more than one entry or row in 16 needs more slices, all get one more
_MAX_DEPTH, _MAX_GROUPS = 6, 4
_TILE = 4  # columns are multiplied in tiles of 4 x 4
_logger = logging.getLogger(__name__)  # its warnings are printed unless the user decides otherwise


@cache
def load_kernel() -> Any:
    """Return the module of compiled functions, or None where numba is missing or cannot compile."""
    try:
        with _notice_before_compiling():
            return import_module("linreg_lightning.algebra.exact_kernel")
    except Exception:  # no numba, one for another NumPy, or no folder to keep what it compiles
        return None


@contextmanager
def _notice_before_compiling() -> Iterator[None]:
    """Tell the user why it takes long, before numba compiles what it does not find on the disk."""
    from numba.core import event

    class Notice(event.Listener):
        given = False

        def on_start(self, _: Any) -> None:
            if not self.given:
                self.given = True
                _logger.warning(
                    "Compiling the loops of exact sums for this machine, once; this takes about "
                    "ten seconds"
                )

        def on_end(self, _: Any) -> None:
            pass

    with event.install_listener("numba:compile", Notice()):
        yield


def can_compile(batch: Batch, numbers: int) -> bool:
    """Whether `CompiledSums` is faster for such a batch, where a fit adds this many numbers."""
    columns = 1 + batch.x.shape[1] + batch.y.shape[1]
    is_small = numbers < MIN_NUMBERS or columns > MAX_COLUMNS
    return not is_small and batch.x.device.type == "cpu" and load_kernel() is not None


class _Products(NamedTuple):
    """What the compiled loop returns for some rows."""

    digits: Tensor  # (places, columns, columns) int64, on and above the diagonal
    apart: Tensor  # (rows,) bool, which rows were not added, because they have bits left
    own: int  # entries with a slice of their own


class CompiledSums:
    """Adds batches; it learns from their rows how many slices most of them need."""

    def __init__(self, batch: Batch) -> None:
        self.weighted = batch.weight is not None
        self._depth = 2 if batch.x.dtype == torch.float32 else 3  # the number of slices of z
        self._groups = 2 if self.weighted else 1  # w z has `groups` times as many
        self._weight_exponent = -1022
        self._rows_at_a_time = _FIRST_ROWS
        self.is_useful = True  # False: many rows have bits beyond the deepest slice

    def add(
        self, sums: ExactSums, batch: Batch, check_finite: Callable[[], None]
    ) -> tuple[ExactSums, Batch]:
        """Return the sums with a batch, and the rows of the batch that are still to be added."""
        weight = torch.ones(0, dtype=torch.float64) if batch.weight is None else batch.weight
        rows, threads = batch._replace(weight=weight), torch.get_num_threads()
        apart = torch.ones(batch.rows, dtype=torch.bool)
        start = 0
        with ThreadPoolExecutor(threads) as pool:
            sums = self._enlarge_units(sums, rows, check_finite, pool)
            while start < batch.rows and self.is_useful:
                size = min(self._rows_at_a_time, -(-batch.rows // threads))
                starts = range(start, min(start + threads * size, batch.rows), size)
                parts = [rows.select(slice(k, k + size)) for k in starts]
                results = list(pool.map(partial(self._multiply, sums), parts))
                for k, result in zip(starts, results, strict=True):
                    sums = self._add_digits(sums, result.digits)
                    apart[k : k + size] = result.apart
                self._learn(results, len(sums.top))
                start = starts.stop
        return sums, batch.select(apart.nonzero().flatten())

    def _enlarge_units(
        self, sums: ExactSums, rows: Batch, check_finite: Callable[[], None], pool: Any
    ) -> ExactSums:
        """Enlarge the units so that all entries fit."""
        size = -(-rows.rows // torch.get_num_threads())
        parts = [rows.select(slice(start, start + size)) for start in range(0, rows.rows, size)]
        largest = torch.stack(list(pool.map(_largest, parts))).amax(0)
        if not bool(largest.isfinite().all()):
            check_finite()
        one = largest.new_ones(1)
        weight = rows.weight.amax()[None] if self.weighted and rows.weight is not None else one
        self._weight_exponent = max(self._weight_exponent, int(exponent_of(weight)))
        return sums.enlarge_units(torch.cat((one, largest, weight)))

    def _multiply(self, sums: ExactSums, rows: Batch) -> _Products:
        columns = len(sums.top)
        width = -(-columns // _TILE) * _TILE
        unit = torch.zeros(width, dtype=torch.float64)
        unit[:columns] = ldexp(torch.ones((), dtype=torch.float64), -sums.top)
        places = (self._groups + 1) * self._depth + 1
        digits = torch.zeros(places, width, width, dtype=torch.int64)
        apart = torch.zeros(rows.rows, dtype=torch.bool)
        own = load_kernel().add_rows(
            *_arrays(rows),
            unit.numpy(),
            2.0**-self._weight_exponent,
            self._depth,
            self._groups,
            apart.numpy(),
            digits.numpy(),
        )
        return _Products(digits[:, :columns, :columns], apart, own)

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
        self._rows_at_a_time = min(4 * self._rows_at_a_time, _MAX_ROWS)
        rows = sum(len(result.apart) for result in results)
        own = sum(result.own for result in results)
        apart = sum(int(result.apart.sum()) for result in results)
        many_apart = apart * _RARE > rows
        if self.weighted and many_apart and self._groups < _MAX_GROUPS:
            self._groups += 1
        elif (many_apart or own * _RARE > rows * columns) and self._depth < _MAX_DEPTH:
            self._depth += 1
        else:
            self.is_useful = not many_apart


def _arrays(rows: Batch) -> list[Any]:
    """Return x, y and weight as arrays; x and y in float32 if both are, else in float64."""
    is_single = rows.x.dtype == rows.y.dtype == torch.float32
    real = torch.float32 if is_single else torch.float64
    weight = rows.weight
    assert weight is not None
    return [z.detach().to(real).numpy() for z in (rows.x, rows.y)] + [weight.numpy()]


def _largest(rows: Batch) -> Tensor:
    """Return the largest magnitudes of the columns of x and y, or infinity; (columns,)."""
    features = rows.x.shape[1]
    largest = torch.zeros(features + rows.y.shape[1], dtype=torch.float64)
    x, y, weight = _arrays(rows)
    find_largest, result = load_kernel().find_largest, largest.numpy()
    wrong = find_largest(x, weight, result[:features]) + find_largest(y, weight, result[features:])
    return largest.fill_(torch.inf) if wrong else largest
