"""The Gram matrix in float64, as fast as one matrix product.

Columns are shifted by their mean over a sample of the first batch, and scaled by powers of two
where they are very large or small, so that an offset costs few digits and nothing overflows. Sums
with another shift are converted when they are merged (T. F. Chan, G. H. Golub, R. J. LeVeque,
Algorithms for computing the sample variance, Am. Stat. 37 (1983)).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple, Self

import torch
from torch import Tensor

from linreg_lightning.algebra.double_double import DoubleDouble, exponent_of, ldexp
from linreg_lightning.algebra.gram import Gram, NormalEquations, refuse_non_finite
from linreg_lightning.batch import Batch
from linreg_lightning.errors import InputError

_SAMPLE_ROWS = 1024
_SAFE_EXPONENT = 300  # squares of numbers in 2^-300 .. 2^300 can be summed as they are
_ZERO_EXPONENT = -2000  # of a column that holds nothing but zeros


class Float64Gram(Gram):
    """Shifted and scaled float64 sums of products of [1, x, y].

    The sums have relative errors of about 2^-52 in units of the largest numbers of the shifted
    columns, so about 16 - 2 log10(condition) digits of a coefficient are right. Their bits depend
    on the batches. Extra memory while updating: about 4 MB for each core of a CPU.

    >>> gram = Float64Gram(features=1)
    >>> gram.update(Batch(torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([[2.0], [4.0], [9.0]])))
    >>> gram.rows, gram.normal_equations().mean
    (3, tensor([2., 5.], dtype=torch.float64))
    """

    accuracy: ClassVar[str] = "float64"
    _fields: ClassVar[tuple[str, ...]] = ("sums", "counts", "shift", "exponent", "peak")
    _optional_fields: ClassVar[tuple[str, ...]] = ("peak",)

    def _set_zeros(self, columns: int) -> None:
        # sum of w z z' for z = (1, 2^-exponent (x - shift), ..), w in units of 2^exponent[0]
        self._sums = torch.zeros(columns, columns, dtype=torch.float64, device=self.device)
        self._shift = torch.zeros(columns, dtype=torch.float64)
        self._exponent = torch.zeros(columns, dtype=torch.int64)
        # The largest diagonal of the sums so far: their rounding error stays when they cancel.
        self._peak = torch.zeros(columns, dtype=torch.float64)

    @classmethod
    def from_gram(cls, gram: Gram) -> Self:
        """Round statistics of any accuracy to float64; return a `Float64Gram` itself."""
        if isinstance(gram, cls):
            return gram
        result = cls(gram.features, gram.targets, gram.device)
        result._counts = gram._counts
        if gram.rows:
            equations: NormalEquations[DoubleDouble] = gram.normal_equations()
            weight, mean = equations.weight.high, equations.mean
            exponent = torch.cat((equations.weight_exponent[None], equations.exponent))
            sums = torch.zeros_like(result._sums, device="cpu")
            sums[0, 0], sums[1:, 1:] = weight, equations.cross.high
            sums[0, 1:] = sums[1:, 0] = weight * mean.low
            result._shift[1:] = ldexp(mean.high, equations.exponent)
            result._sums, result._exponent = sums.to(gram.device), exponent
            result._peak += equations.lost * 2.0**50  # counts as rounding error
            exponent = _choose_units(_magnitude(sums, exponent), torch.zeros_like(exponent))
            result._sums, result._peak = result._sums_in_units(exponent)
            result._exponent = exponent
        return result

    def normal_equations(self, intercept: bool = True) -> NormalEquations[Tensor]:
        """Return the means and centred cross-products, on the CPU, as `Gram` says."""
        self._check_rows()
        sums, exponent = self._sums.cpu(), self._exponent
        peak = torch.maximum(self._peak, sums.diagonal())
        shift = ldexp(self._shift, -exponent)
        weight, mean = sums[0, 0], sums[0, 1:] / sums[0, 0]
        if intercept:
            cross = sums[1:, 1:] - weight * mean[:, None] * mean
            mean = mean + shift[1:]
        else:
            # Where the shift is far from the mean, the terms are larger than their sum.
            cross, peak = _shift_sums(sums, shift)[1:, 1:], _shift_peak(peak, shift)
            mean = torch.zeros_like(mean)
        return NormalEquations(
            rows=self.rows,
            log_weight=self._log_weight,
            weight=weight,
            mean=mean,
            cross=cross,
            # The sum of weights has a rounding error too, from before rows were subtracted.
            square=peak[1:] * (peak[0] / weight).abs(),
            exponent=exponent[1:],
            weight_exponent=exponent[0],
            features=self.features,
            intercept=intercept,
            roundoff=2.0**-52,
            lost=0.0,
        )

    def _add(self, batch: Batch, first_row: int, names: Sequence[str]) -> None:
        sums, peak, shift, exponent = self._sums, self._peak, self._shift, self._exponent
        if self.rows == 0:
            # Rows that were added and subtracted again may have left their rounding error.
            sums, peak = torch.zeros_like(sums), torch.zeros_like(peak)
            shift, exponent = (v.cpu() for v in _sample_mean_and_unit(batch))
            if not bool(shift.isfinite().all()):
                refuse_non_finite(batch, first_row, names)
        products = _cross_products(batch, shift, exponent)
        # Sums of squares far inside float64's range show that the units fit.
        squares = products.diagonal()
        if not bool(((squares > 2.0**-900) & (squares < 2.0**900)).all()):
            refuse_non_finite(batch, first_row, names)
            magnitude = torch.maximum(_batch_magnitude(batch, shift), _magnitude(sums, exponent))
            exponent = _choose_units(magnitude, exponent)
            products = _cross_products(batch, shift, exponent)
            if self.rows:
                sums, peak = self._sums_in_units(exponent)
        self._sums, self._peak, self._shift, self._exponent = sums + products, peak, shift, exponent

    def _merge(self, other: Self, sign: int) -> None:
        if other.rows == 0:
            return
        if self.rows == 0:
            self._sums, self._peak = sign * other._sums, other._peak
            self._shift, self._exponent = other._shift, other._exponent
            return
        # The shift of the larger part is nearer to the mean of all rows.
        larger, smaller = (other, self) if sign > 0 and other.rows > self.rows else (self, other)
        magnitude = torch.maximum(*(_magnitude(g._sums, g._exponent) for g in (self, other)))
        exponent = _choose_units(magnitude, torch.maximum(self._exponent, other._exponent))
        by = ldexp(smaller._shift - larger._shift, -exponent)
        sums, peak = larger._sums_in_units(exponent)
        other_sums, other_peak = smaller._sums_in_units(exponent)
        self._sums = sums + sign * _shift_sums(other_sums, by)
        self._peak = peak + _shift_peak(other_peak, by)
        self._shift, self._exponent = larger._shift, exponent

    def _sums_in_units(self, exponent: Tensor) -> tuple[Tensor, Tensor]:
        peak = torch.maximum(self._peak, self._sums.diagonal().cpu())
        change = self._exponent - exponent
        return _rescale(self._sums, change), _rescale(peak.diag(), change).diag()


def _sample_mean_and_unit(batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the mean and the exponent of the unit of each of [1, x, y], from a few rows."""
    x, y, weight = batch
    rows: Tensor | slice = slice(None, None, max(1, batch.rows // _SAMPLE_ROWS))
    if weight is not None:
        present = weight.nonzero().flatten()
        rows = present[:: max(1, len(present) // _SAMPLE_ROWS)]
    z = torch.cat((x[rows].double(), y[rows].double()), 1)
    zero = z.new_zeros(1 + z.shape[1])
    if not z.shape[0]:
        return zero, zero.to(torch.int64)
    largest = exponent_of(z.abs().amax(0))
    unit = torch.where((largest.abs() <= _SAFE_EXPONENT) | (z == 0).all(0), 0, largest)
    # The mean of scaled numbers: a sum of numbers near 1e308 would overflow.
    mean = ldexp(ldexp(z, -unit).mean(0), unit)
    return torch.cat((zero[:1], mean)), torch.cat((unit.new_zeros(1), unit))


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
    return torch.where(largest == 0, _ZERO_EXPONENT, exponent_of(largest)).cpu()


def _magnitude(sums: Tensor, exponent: Tensor) -> Tensor:
    """Return about log2 of each of [w, x - shift, y - shift] in these sums; (columns,)."""
    diagonal = sums.diagonal().cpu()
    size = exponent_of(diagonal)
    # The first entry is the sum of weights, the others are sums of w z^2.
    magnitude = exponent + (size - size[0]) // 2
    magnitude[0] = exponent[0] + size[0]
    return torch.where(diagonal == 0, _ZERO_EXPONENT, magnitude)


def _choose_units(magnitude: Tensor, for_zeros: Tensor) -> Tensor:
    """Return exponents of units: 0 unless squares of numbers of this magnitude would not fit."""
    large_or_small = torch.where(magnitude == _ZERO_EXPONENT, for_zeros, magnitude)
    unit = torch.where(magnitude.abs() <= _SAFE_EXPONENT, 0, large_or_small)
    unit[0] &= ~1  # The square root of the unit of the weights must be a power of two.
    return unit


def _rescale(sums: Tensor, change: Tensor) -> Tensor:
    """Return the same sums in units smaller by 2^change, (columns,)."""
    change = change.to(sums.device)
    columns = change.clone()
    columns[0] = 0
    return ldexp(ldexp(ldexp(sums, columns), columns[:, None]), change[0])


def _shift_sums(sums: Tensor, by: Tensor) -> Tensor:
    """Return the sums of z + by, from those of z = (1, ..); by[0] = 0."""
    by, total = by.to(sums.device), sums[0]
    return sums + total[:, None] * by + by[:, None] * total + total[0] * by[:, None] * by


def _shift_peak(peak: Tensor, by: Tensor) -> Tensor:
    """Return a bound on the terms of shifted sums: (|z| + |by|)^2 of columns z and by."""
    length = peak.sqrt()
    return (length + by.abs() * length[0]).square()


class _BlockShape(NamedTuple):
    """How a kind of device divides a matrix product."""

    bytes: int  # of shifted rows at a time; those of a core should stay in its own cache
    rows: int  # of one product of a batched product; fewer rows mean less rounding error
    columns: int  # of one product, so that little is computed below the diagonal
    multiple: int  # of columns for which kernels of matrix products have no remainder


def _cross_products(batch: Batch, shift: Tensor, exponent: Tensor) -> Tensor:
    """Return the sum of w z z' with z = (1, 2^-exponent (x - shift), ..), (columns, columns).

    `shift` is that of [1, x, y], 0 for the first; `exponent` that of the units of [w, x, y], int64.
    Both are (columns,), on the CPU. The batch has at least one row.
    """
    x, y, weight = batch
    columns, features = shift.shape[0], x.shape[1]
    if x.is_cuda:
        shape = _BlockShape(bytes=2**29, rows=2**12, columns=2**30, multiple=1)
    else:
        shape = _BlockShape(2**21 * torch.get_num_threads(), rows=2**8, columns=36, multiple=12)
    width = -(-columns // shape.multiple) * shape.multiple
    if width**2 >= 2 * columns**2:  # that would double the work
        width = columns
    size = min(batch.rows, shape.rows * max(1, shape.bytes // (8 * width * shape.rows)))
    unit = -exponent.to(x.device) if bool(exponent.any()) else None
    negative_shift = -shift.to(x.device)
    # In the memory order of x: a transposed copy takes long.
    by_column = x.stride(0) == 1
    zeros = negative_shift.new_zeros
    z = zeros(width, size).T if by_column else zeros(size, width)
    z[:, 0] = 1.0
    sums = zeros(width, width)
    for start in range(0, batch.rows, size):
        rows = slice(start, min(start + size, batch.rows))
        block = z[: rows.stop - start]
        torch.add(x[rows], negative_shift[1 : 1 + features], out=block[:, 1 : 1 + features])
        torch.add(y[rows], negative_shift[1 + features :], out=block[:, 1 + features : columns])
        if unit is not None:
            block[:, 1:columns] = ldexp(block[:, 1:columns], unit[1:])
        if weight is None:
            _add_product(sums, block, block, shape)
            continue
        w = weight[rows] if unit is None else ldexp(weight[rows], unit[0])
        # The values of an absent row may be NaN, and NaN times 0 is NaN.
        block[:, 1:].masked_fill_((w == 0)[:, None], 0.0)
        _add_product(sums, block * w[:, None], block, shape)
    upper = sums[:columns, :columns].triu()
    return upper + upper.triu(1).T


def _add_product(sums: Tensor, left: Tensor, right: Tensor, shape: _BlockShape) -> None:
    """Add left' right, which is symmetric, to the sums; entries below the diagonal may be wrong."""
    rows, columns = right.shape
    full = rows // shape.rows * shape.rows
    for part, size in ((slice(full), shape.rows), (slice(full, rows), rows - full)):
        if not size or part.stop == 0:
            continue
        a, b = (z[part].view(-1, size, columns) for z in (left, right))
        for first in range(0, columns, shape.columns):
            strip = slice(first, first + shape.columns)
            sums[strip, first:] += torch.bmm(a[:, :, strip].mT, b[:, :, first:]).sum(0)
