"""The Gram matrix in float64, as fast as one matrix product.

Columns are shifted by their mean over a sample of the first batch, and scaled by powers of two
where they are very large or small, so that an offset costs few digits and nothing overflows. Sums
with another shift are converted when they are merged (T. F. Chan, G. H. Golub, R. J. LeVeque,
Algorithms for computing the sample variance, Am. Stat. 37 (1983)).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor

from linreg_lightning.algebra.double_double import DoubleDouble, exponent_of, ldexp
from linreg_lightning.algebra.float64_matmul import products_of
from linreg_lightning.algebra.gram import Gram, NormalEquations, refuse_non_finite
from linreg_lightning.algebra.row_counts import log_weight
from linreg_lightning.batch import Batch
from linreg_lightning.errors import InputError

_SAMPLE_ROWS = 1024
# Squares of numbers in 2^-300 .. 2^300 can be summed as they are.
_PLAIN = 300
# The exponent of a column that holds nothing but zeros.
_NOTHING = -2000


class Float64Gram(Gram):
    """Shifted and scaled float64 sums of products of [1, x, y].

    The sums have relative errors of about 2^-52 in units of the largest numbers of the shifted
    columns, so about 16 - 2 log10(condition) digits of a coefficient are right. Their bits depend
    on the batches. Extra memory while updating: about 4 MB for each core of a CPU.

    >>> import torch
    >>> from linreg_lightning.batch import Batch
    >>> gram = Float64Gram(features=1)
    >>> gram.update(Batch(torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([[2.0], [4.0], [9.0]])))
    >>> gram.rows, gram.normal_equations().mean
    (3, tensor([2., 5.], dtype=torch.float64))
    """

    accuracy: ClassVar[str] = "float64"
    _fields: ClassVar[tuple[str, ...]] = ("sums", "counts", "shift", "exponent", "peak")
    _later: ClassVar[tuple[str, ...]] = ("peak",)

    def __init__(
        self, features: int, targets: int = 1, device: torch.device | str | None = None
    ) -> None:
        super().__init__(features, targets, device)
        columns = 1 + features + targets
        # sum of w z z' for z = (1, 2^-exponent (x - shift), ..), w in units of 2^exponent[0]
        self._sums = torch.zeros(columns, columns, dtype=torch.float64, device=self.device)
        self._shift = torch.zeros(columns, dtype=torch.float64)
        self._exponent = torch.zeros(columns, dtype=torch.int64)
        # The diagonal of the sums before most of it cancelled: the rounding of that is still there.
        self._peak = torch.zeros(columns, dtype=torch.float64)

    @classmethod
    def of(cls, gram: Gram) -> Self:
        """Return statistics of any accuracy rounded to these; these themselves as they are.

        >>> import torch
        >>> from linreg_lightning.algebra import ExactGram
        >>> from linreg_lightning.batch import Batch
        >>> exact = ExactGram(features=1)
        >>> exact.update(Batch(torch.tensor([[1.0], [3.0]]), torch.tensor([[2.0], [4.0]])))
        >>> Float64Gram.of(exact).normal_equations().cross
        tensor([[2., 2.],
                [2., 2.]], dtype=torch.float64)
        """
        if isinstance(gram, cls):
            return gram
        given = cls(gram.features, gram.targets, gram.device)
        given._counts = gram._counts
        if gram.rows:
            equations: NormalEquations[DoubleDouble] = gram.normal_equations()
            weight, mean = equations.weight.high, equations.mean
            exponent = torch.cat((equations.weight_exponent[None], equations.exponent))
            sums = torch.zeros_like(given._sums, device="cpu")
            sums[0, 0], sums[1:, 1:] = weight, equations.cross.high
            sums[0, 1:] = sums[1:, 0] = weight * mean.low
            given._shift[1:] = ldexp(mean.high, equations.exponent)
            given._sums, given._exponent = sums.to(gram.device), exponent
            given._peak += equations.lost * 2.0**50  # as if it had been rounded away
            exponent = _unit(_size(sums, exponent), torch.zeros_like(exponent))
            given._sums, given._peak = given._in_units(exponent)
            given._exponent = exponent
        return given

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
            # What is added is more than what is left where a shift is far from the mean.
            cross, peak = _moved(sums, shift)[1:, 1:], _peak_moved(peak, shift)
            mean = torch.zeros_like(mean)
        return NormalEquations(
            rows=self.rows,
            log_weight=log_weight(self._counts),
            weight=weight,
            mean=mean,
            cross=cross,
            # The weight has been rounded too, before rows were taken away.
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
            # Rows that were added and taken away again may have left their rounding.
            sums, peak = torch.zeros_like(sums), torch.zeros_like(peak)
            shift, exponent = (v.cpu() for v in _shift_and_exponent(_sample(batch)))
            if not bool(shift.isfinite().all()):
                refuse_non_finite(batch, first_row, names)
        added = products_of(batch, shift, exponent)
        # Sums of squares far inside float64's range say that the units fit; the rest is looked at.
        squares = added.diagonal()
        if not bool(((squares > 2.0**-900) & (squares < 2.0**900)).all()):
            refuse_non_finite(batch, first_row, names)
            fitting = torch.maximum(_largest_exponent(batch, shift), _size(sums, exponent))
            exponent = _unit(fitting, exponent)
            added = products_of(batch, shift, exponent)
            if self.rows:
                sums, peak = self._in_units(exponent)
        self._sums, self._peak, self._shift, self._exponent = sums + added, peak, shift, exponent

    def _merge(self, other: Self, sign: int) -> None:
        if other.rows == 0:
            return
        if self.rows == 0:
            self._sums, self._peak = sign * other._sums, other._peak
            self._shift, self._exponent = other._shift, other._exponent
            return
        # The shift of most rows is nearer to the mean of all.
        most, few = (other, self) if sign > 0 and other.rows > self.rows else (self, other)
        size = torch.maximum(_size(self._sums, self._exponent), _size(other._sums, other._exponent))
        exponent = _unit(size, torch.maximum(self._exponent, other._exponent))
        by = ldexp(few._shift - most._shift, -exponent)
        (sums, peak), (moved, moved_peak) = (g._in_units(exponent) for g in (most, few))
        self._sums = sums + sign * _moved(moved, by)
        self._peak = peak + _peak_moved(moved_peak, by)
        self._shift, self._exponent = most._shift, exponent

    def _in_units(self, exponent: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sums in other units, and their diagonal when it was largest, on the CPU."""
        peak = torch.maximum(self._peak, self._sums.diagonal().cpu())
        change = self._exponent - exponent
        return _rescaled(self._sums, change), _rescaled(peak.diag(), change).diag()


def _sample(batch: Batch) -> Batch:
    """Return a few rows that count, spread evenly over the batch."""
    x, y, weight = batch
    rows: Tensor | slice = slice(None, None, max(1, batch.rows // _SAMPLE_ROWS))
    if weight is not None:
        present = weight.nonzero().flatten()
        rows = present[:: max(1, len(present) // _SAMPLE_ROWS)]
    return Batch(x[rows], y[rows])


def _shift_and_exponent(sample: Batch) -> tuple[Tensor, Tensor]:
    """Return the mean and the unit of each column of [1, x, y]; (columns,) each."""
    z = torch.cat((sample.x.double(), sample.y.double()), 1)
    zero = z.new_zeros(1 + z.shape[1])
    if not z.shape[0]:
        return zero, zero.to(torch.int64)
    largest = exponent_of(z.abs().amax(0))
    unit = torch.where((largest.abs() <= _PLAIN) | (z == 0).all(0), 0, largest)
    # The mean of scaled numbers: a sum of numbers near 1e308 would overflow.
    mean = ldexp(ldexp(z, -unit).mean(0), unit)
    return torch.cat((zero[:1], mean)), torch.cat((unit.new_zeros(1), unit))


def _largest_exponent(batch: Batch, shift: Tensor) -> Tensor:
    """Return the units of [w, x - shift, y - shift] that fit the largest number of a batch."""
    x, y, weight = batch
    z = torch.cat((x.double(), y.double()), 1) - shift[1:].to(x.device)
    w = z.new_ones(batch.rows) if weight is None else weight
    z.masked_fill_((w == 0)[:, None], 0.0)
    if not bool(z.isfinite().all()):
        raise InputError(
            "x, y: numbers near 1e308 of both signs were given in one column; divide it by 1000"
        )
    largest = torch.cat((w.amax()[None], z.abs().amax(0)))
    return torch.where(largest == 0, _NOTHING, exponent_of(largest)).cpu()


def _unit(size: Tensor, otherwise: Tensor) -> Tensor:
    """Return the exponents of the units for numbers of a size: 1 unless squares would not fit."""
    unit = torch.where(size.abs() <= _PLAIN, 0, torch.where(size == _NOTHING, otherwise, size))
    unit[0] &= ~1  # A square root is taken of the unit of the weights.
    return unit


def _size(sums: Tensor, exponent: Tensor) -> Tensor:
    """Return log2 of the numbers that have been added up, about; (columns,)."""
    own = sums.diagonal().cpu()
    size = exponent + exponent_of(own) // 2
    # The first entry is the sum of weights, not of squares.
    size[0] = exponent[0] + exponent_of(own[0])
    return torch.where(own == 0, _NOTHING, size)


def _rescaled(sums: Tensor, change: Tensor) -> Tensor:
    """Return the same sums in units smaller by 2^change, (columns,)."""
    change = change.to(sums.device)
    columns = change.clone()
    columns[0] = 0
    return ldexp(ldexp(ldexp(sums, columns), columns[:, None]), change[0])


def _moved(sums: Tensor, by: Tensor) -> Tensor:
    """Return the sums of z + by, from those of z = (1, ..); by[0] = 0."""
    by, total = by.to(sums.device), sums[0]
    return sums + total[:, None] * by + by[:, None] * total + total[0] * by[:, None] * by


def _peak_moved(peak: Tensor, by: Tensor) -> Tensor:
    """Return what the rounding of moved sums is part of: (|z| + |by|)^2 of columns z and by."""
    length = peak.sqrt()
    return (length + by.abs() * length[0]).square()
