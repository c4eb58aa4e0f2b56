"""The Gram matrix in float64, as fast as one matrix product.

Columns are shifted by their mean over a sample of the first batch, and scaled by powers of two
where they are very large or small, so that an offset costs few digits and nothing overflows. Sums
with another shift are converted when they are merged (T. F. Chan, G. H. Golub, R. J. LeVeque,
Algorithms for computing the sample variance, Am. Stat. 37 (1983)). What an addition of two sums
rounds off is kept in a low word, so that many small batches lose no more than one large one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from linreg_lightning.algebra.cross_products import CrossProducts, cross_products
from linreg_lightning.algebra.double_double import DoubleDouble, exponent_of, ldexp, row_blocks
from linreg_lightning.algebra.gram import Gram, NormalEquations
from linreg_lightning.algebra.shifted_sums import ZERO_EXPONENT, ShiftedSums
from linreg_lightning.batch import Batch
from linreg_lightning.errors import InputError
from linreg_lightning.validation import row_number

_SAMPLE_ROWS = 1024
_SAFE_EXPONENT = 300  # squares of numbers in 2^-300 .. 2^300 can be summed as they are
_ROUNDINGS_IN_BOUND = 8  # `solve` counts 4 roundoff = 8 2^-53 as the error of a sum


class Float64Gram(Gram):
    """Shifted and scaled float64 sums of products of [1, x, y].

    The sums have relative errors of about 2^-52 in units of the largest numbers of the shifted
    columns, so about 16 - 2 log10(condition) digits of a coefficient are right; `Solution.digits`
    counts how often a sum was rounded. Their bits depend on the batches. Extra memory while
    updating: about 4 MB for each core of a CPU.

    >>> gram = Float64Gram(features=1)
    >>> gram.update(Batch(torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([[2.0], [4.0], [9.0]])))
    >>> gram.rows, gram.normal_equations().mean.high
    (3, tensor([2., 5.], dtype=torch.float64))
    """

    accuracy: ClassVar[str] = "float64"
    _fields: ClassVar[tuple[str, ...]] = ShiftedSums._fields
    _optional_fields: ClassVar[frozenset[str]] = Gram._optional_fields | {
        "peak",
        "low",
        "roundings",
    }
    _sums: ShiftedSums
    _first_shift: tuple[Tensor, Tensor] | None = None  # for the first rows, if it is given

    def _zeros(self, columns: int) -> ShiftedSums:
        zero = torch.zeros(columns, dtype=torch.float64)
        sums = torch.zeros(columns, columns, dtype=torch.float64, device=self.device)
        low, roundings = torch.zeros_like(sums), torch.tensor(0)
        return ShiftedSums(sums, zero, zero.long(), peak=zero, low=low, roundings=roundings)

    @classmethod
    def from_state_dict(cls, state: dict[str, Tensor]) -> Self:
        """As `Gram.from_state_dict`; without `roundings` each row may have rounded the sums."""
        gram = super().from_state_dict(state)
        roundings = gram._sums.roundings if "roundings" in state else gram._counts[0]
        low = gram._sums.low.to(gram.device)
        gram._sums = gram._sums._replace(low=low, roundings=roundings)
        return gram

    @classmethod
    def from_gram(cls, gram: Gram) -> Self:
        """Round statistics of any accuracy to float64; return a `Float64Gram` itself."""
        if isinstance(gram, cls):
            return gram
        result = cls(gram.features, gram.targets, gram.device)
        result._counts, result._precision = gram._counts, gram._precision
        if not gram.rows:
            return result
        equations: NormalEquations[DoubleDouble] = gram.normal_equations()
        weight, mean = equations.weight.high, equations.mean
        exponent = torch.cat((equations.weight_exponent[None], equations.exponent))
        sums = torch.zeros(len(exponent), len(exponent), dtype=torch.float64)
        sums[0, 0], sums[1:, 1:] = weight, equations.cross.high
        sums[0, 1:] = sums[1:, 0] = weight * mean.low
        shift = torch.zeros(len(exponent), dtype=torch.float64)
        shift[1:] = ldexp(mean.high, equations.exponent)
        # A lost bit counts as rounding error.
        peak = torch.full_like(shift, equations.lost * 2.0**50)
        sums = sums.to(gram.device)
        shifted = result._sums._replace(sums=sums, shift=shift, exponent=exponent, peak=peak)
        units = _choose_units(shifted.magnitude(), for_zeros=torch.zeros_like(exponent))
        result._sums = shifted.in_units(units)
        return result

    @property
    def shift(self) -> tuple[Tensor, Tensor]:
        """What was subtracted from each of [1, x, y], and the exponent of the unit of each."""
        return self._sums.shift, self._sums.exponent

    def add_products(
        self, products: CrossProducts, rows: int, weight: Tensor | None, precision: Tensor
    ) -> bool:
        """Add sums of rows with the shift and in the units of this object, if the units fit.

        Args:
            products: the sums.
            rows: the number of rows.
            weight: of the rows, (rows,) float64, or None.
            precision: the bits of each column of x in these rows, (features,).

        Returns:
            Whether the sums were added; if not, `update` with the rows chooses other units.
        """
        if not _units_fit(products):
            return False
        counts = self._counts_with(rows, weight, row_number)
        self._sums, self._counts = self._sums.add(products), counts
        self._precision = torch.minimum(self._precision, precision)
        return True

    def with_shift(self, shift: tuple[Tensor, Tensor]) -> Self:
        """Return the same sums with another shift; sums with one shift are merged much faster.

        Its second part, the units, is taken only where there are no rows yet.
        """
        result = copy.copy(self)
        if not self.rows:
            zeros, result._first_shift = self._zeros(len(shift[0])), shift
            result._sums = zeros._replace(shift=shift[0], exponent=shift[1])
        elif not torch.equal(self._sums.shift, shift[0]):
            result._sums = self._sums.with_shift(shift[0])
        return result

    def _centre(self, intercept: bool) -> dict[str, Any]:
        sums = self._sums.sums.cpu()
        peak = torch.maximum(self._sums.peak, sums.diagonal())
        shifted = self._sums._replace(sums=sums, peak=peak, low=self._sums.low.cpu())
        exponent, first = shifted.exponent, shifted.total(0)
        weight = first.high[0]
        if intercept:
            shifted_mean = first / first[0]
            mean = shifted_mean + ldexp(shifted.shift, -exponent)
            cross = torch.empty_like(sums)
            for rows in row_blocks(len(first), len(first)):
                cross[rows] = (shifted.total(rows) - first[rows, None] * shifted_mean).high
        else:
            # Where the shift is far from the mean, the terms are larger than their sum.
            shifted = shifted.with_shift(torch.zeros_like(shifted.shift))
            mean = DoubleDouble.of(torch.zeros_like(shifted.shift))
            cross, peak = shifted.sums, shifted.peak
        roundoff = 2.0**-52 * max(1.0, int(shifted.roundings) / _ROUNDINGS_IN_BOUND)
        return {
            "weight": weight,
            "mean": mean[1:],
            "cross": cross[1:, 1:],
            # The sum of weights has a rounding error too, from before rows were subtracted.
            "square": peak[1:] * (peak[0] / weight).abs(),
            "exponent": exponent[1:],
            "weight_exponent": exponent[0],
            "roundoff": roundoff,
            "lost": 0.0,
        }

    def _add(self, batch: Batch, check_finite: Callable[[], None]) -> None:
        sums = self._sums
        if self.rows == 0:
            # Rows that were added and subtracted again may have left their rounding error.
            sums = self.with_shift(self._first_shift or choose_shift(batch))._sums
            if not bool(sums.shift.isfinite().all()):
                check_finite()
        (products,) = cross_products(batch, sums.shift, sums.exponent)
        if not _units_fit(products):
            check_finite()
            magnitude = torch.maximum(_batch_magnitude(batch, sums.shift), sums.magnitude())
            units = _choose_units(magnitude, sums.exponent)
            if not torch.equal(units, sums.exponent):
                sums = sums.in_units(units)
                (products,) = cross_products(batch, sums.shift, sums.exponent)
        self._sums = sums.add(products)

    def _merge(self, other: Self, sign: int) -> None:
        if other.rows == 0:
            return
        mine, theirs = self._sums, other._sums
        if self.rows == 0:
            self._sums = theirs._replace(sums=sign * theirs.sums, low=sign * theirs.low)
            return
        magnitude = torch.maximum(mine.magnitude(), theirs.magnitude())
        units = _choose_units(magnitude, torch.maximum(mine.exponent, theirs.exponent))
        mine, theirs = mine.in_units(units), theirs.in_units(units)
        # The shift of the larger part is nearer to the mean of all rows.
        larger, smaller = (theirs, mine) if sign > 0 and other.rows > self.rows else (mine, theirs)
        if not torch.equal(smaller.shift, larger.shift):
            smaller = smaller.with_shift(larger.shift)
        sums, low = torch.empty_like(larger.sums), torch.empty_like(larger.low)
        for rows in row_blocks(len(sums), len(sums)):
            addend = smaller.total(rows)
            total = larger.total(rows) + (addend if sign > 0 else -addend)
            sums[rows], low[rows] = total.high, total.low
        self._sums = larger._replace(
            sums=sums,
            low=low,
            peak=larger.peak + smaller.peak,
            roundings=torch.maximum(larger.roundings, smaller.roundings),
        )


def choose_shift(batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the mean and the exponent of the unit of each of [1, x, y], from a few rows."""
    x, y, weight = batch
    rows: Tensor | slice = slice(None, None, max(1, batch.rows // _SAMPLE_ROWS))
    if weight is not None:
        present = weight.nonzero().flatten()
        rows = present[:: max(1, len(present) // _SAMPLE_ROWS)]
    z = torch.cat((x[rows].double(), y[rows].double()), 1)
    zero = z.new_zeros(1 + z.shape[1])
    if not z.shape[0]:
        return zero.cpu(), zero.long().cpu()
    largest = exponent_of(z.abs().amax(0))
    unit = torch.where((largest.abs() <= _SAFE_EXPONENT) | (z == 0).all(0), 0, largest)
    # The mean of scaled numbers: a sum of numbers near 1e308 would overflow.
    mean = ldexp(ldexp(z, -unit).mean(0), unit)
    return torch.cat((zero[:1], mean)).cpu(), torch.cat((unit.new_zeros(1), unit)).cpu()


def _units_fit(products: CrossProducts) -> bool:
    """Whether the units fit: all sums of squares are far inside the range of float64."""
    smallest, largest = torch.stack(products.sums.diagonal().aminmax()).tolist()
    return bool(smallest > 2.0**-900 and largest < 2.0**900)


def _batch_magnitude(batch: Batch, shift: Tensor) -> Tensor:
    """Return log2 of the largest of each of [w, x - shift, y - shift], rounded up; (columns,)."""
    x, y, weight = batch
    z = torch.cat((x.double(), y.double()), 1) - shift[1:].to(x.device)
    w = z.new_ones(batch.rows) if weight is None else weight
    z.masked_fill_((w == 0)[:, None], 0.0)
    if not bool(z.isfinite().all()):
        raise InputError(
            "x, y: numbers near 1e308 of both signs were given in one column; divide it by 1000"
        )
    largest = torch.cat((w.amax()[None], z.abs().amax(0)))
    return torch.where(largest == 0, ZERO_EXPONENT, exponent_of(largest)).cpu()


def _choose_units(magnitude: Tensor, for_zeros: Tensor) -> Tensor:
    """Return exponents of units: 0 unless squares of numbers of this magnitude would not fit."""
    large_or_small = torch.where(magnitude == ZERO_EXPONENT, for_zeros, magnitude)
    unit = torch.where(magnitude.abs() <= _SAFE_EXPONENT, 0, large_or_small)
    unit[0] &= ~1  # The square root of the unit of the weights must be a power of two.
    return unit
