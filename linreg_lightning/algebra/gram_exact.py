"""The Gram matrix without rounding: the same bits for any order of the rows and any batches.

Each column is written in units of 2^top that its largest entry fits, and each entry cut into slices

    x = (s_0 + s_1 BASE^-1 + s_2 BASE^-2 + ...) 2^top,    BASE = 2^22,  s_k whole, |s_k| <= 2^21.

Matrix products of slices have no rounding error (see `products`), and are collected as digits of
long whole numbers (see `integers`). The exact sum is one number, so its
digits in normal form cannot depend on how it came about. Rows that need more slices than most (an
entry far below the largest of its column) are taken out and cut deeper, so nothing is lost and
ordinary rows stay cheap.

Weights: w x is an exact pair of float64 (two_prod), cut in the same way, times slices of x.

Sources: K. Ozaki, T. Ogita, S. Oishi, S. M. Rump, Error-free transformations of matrix
multiplication, Numer. Algorithms 59 (2012); J. Demmel, H. D. Nguyen, Parallel reproducible
summation, IEEE Trans. Comput. 64 (2015), for the fixed grid of exponents.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import ClassVar, Self

import torch
from torch import Tensor

from linreg_lightning.algebra.double_double import DoubleDouble, two_prod
from linreg_lightning.algebra.exact_matmul import (
    BLOCK_ROWS,
    HEAD,
    LOWEST,
    Sums,
    raised,
    slices_of,
    unit_of,
    with_products,
    with_room,
)
from linreg_lightning.algebra.gram import Gram, NormalEquations, refuse_non_finite
from linreg_lightning.algebra.multiprecision import (
    BASE,
    BITS,
    added,
    carry,
    multiplied,
    to_double_double,
)
from linreg_lightning.algebra.row_counts import log_weight
from linreg_lightning.batch import Batch

# Entries are followed 880 bits down from the largest of their column.
_DEEPEST = 40
# More than is then missing in a cross-product, in its units: of each of less than 2^44 rows 2^-837
# of its weight, times the square of a number below 2^21, and less of other kinds.
_LOST = 2.0**-750
# One row in four cut deeper costs about as much as cutting all rows deeper.
_FEW = 4
# Bytes of slices at a time: the cache of a processor, and a GPU's appetite for large products.
_SLICE_BYTES = {"cpu": 12 * 2**20, "cuda": 2**29}
# Up to which two blocks of wide rows, which occupy two cores, are worth it all the same.
_PAIR_BYTES = 40 * 2**20


class ExactGram(Gram):
    """The exact sums of products of [1, x, y], hence the same bits however the rows arrive.

    `normal_equations` rounds to 106 bits, at the end. The result is bit-identical for any batch
    sizes, any order of rows, merges in any order, any number of processes and any device; a row of
    weight 0 is as good as absent, and a row of weight 2 adds to the sums what two rows do (but it
    is one row in `rows`).

    This holds for entries (and weights) of any finite float64 magnitude that are either 0 or no
    further than a factor of 2^800 = 10^240 below the largest entry of their column (weights: below
    the largest weight; products of both: 2^750). A bit further down than 2^-880 of the largest
    may be left out; `exact` is then False, the result might depend on the order of the rows, and
    `Solution.digits` knows what such bits would change.

    Rows: fewer than 2^44. Whole numbers beyond 2^53 lose bits on becoming float64.
    Extra memory: about 60 MB while updating on a CPU, plus 8 bytes for each of the 10 or so digits
    of each entry of the Gram matrix.

    >>> import torch
    >>> from linreg_lightning.batch import Batch
    >>> gram = ExactGram(features=1)
    >>> gram.update(Batch(torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([[2.0], [4.0], [7.0]])))
    >>> equations = gram.normal_equations(intercept=False)
    >>> equations.cross.high * 2.0 ** (equations.exponent[:, None] + equations.exponent)
    tensor([[14., 31.],
            [31., 69.]], dtype=torch.float64)
    """

    accuracy: ClassVar[str] = "exact"
    _fields: ClassVar[tuple[str, ...]] = ("digits", "counts", "top", "weight_top", "lost")

    def __init__(
        self, features: int, targets: int = 1, device: torch.device | str | None = None
    ) -> None:
        super().__init__(features, targets, device)
        columns = 1 + features + targets
        like = self._counts
        self._digits = like.new_zeros(1, columns, columns, device=self.device)
        self._top = like.new_full((columns,), LOWEST)
        self._top[0] = 0  # the column of ones: its sums are in the units of the weights
        self._weight_top = like.new_full((), LOWEST // BITS)
        self._lost = like.new_zeros((), dtype=torch.bool)
        # How many slices most rows need, learnt from the rows; it decides the speed only.
        self._depth = (2, 2)

    @property
    def exact(self) -> bool:
        """Whether every product and every sum up to now is exact."""
        return not self._lost

    def normal_equations(self, intercept: bool = True) -> NormalEquations[DoubleDouble]:
        """Return the means and centred cross-products, rounded to 106 bits, on the CPU.

        (sum w)(sum w z_i z_j) - (sum w z_i)(sum w z_j) is found without rounding, so an offset of
        any size costs no digit. Without an intercept the plain sums are returned.

        Args:
            intercept: whether means are taken off.

        Raises:
            InputError: no row with a weight above 0 has been counted.
        """
        self._check_rows()
        digits, top = self._digits.cpu(), self._top
        weight, sums = to_double_double(digits[:, 0, 0]), digits[:, 0, 1:]
        gram = digits[:, 1:, 1:]
        unit = float(BASE) ** HEAD
        square = to_double_double(gram.diagonal(dim1=1, dim2=2)).high * unit
        if intercept:
            centred = carry(
                multiplied(digits[:, 0, 0, None, None], gram)
                - multiplied(sums[:, :, None], sums[:, None, :])
            )
            cross = to_double_double(centred) / weight
            mean = to_double_double(sums) / weight
        else:
            cross = to_double_double(gram)
            mean = DoubleDouble.of(torch.zeros_like(square))
        return NormalEquations(
            rows=self.rows,
            log_weight=log_weight(self._counts),
            weight=DoubleDouble(weight.high * unit, weight.low * unit),
            mean=mean,
            cross=DoubleDouble(cross.high * unit, cross.low * unit),
            square=square,
            exponent=top[1:],
            weight_exponent=BITS * self._weight_top,
            features=self.features,
            intercept=intercept,
            roundoff=2.0**-104,
            lost=_LOST if self._lost else 0.0,
        )

    def _add(self, batch: Batch, first_row: int, names: Sequence[str]) -> None:
        sums = Sums(self._digits.clone(), self._top, self._weight_top, self._lost)
        start = 0
        while start < batch.rows:
            stop = start + _rows_at_a_time(self._top.shape[0], self._depth, batch)
            part = batch.map(itemgetter(slice(start, stop)))
            z, weight = _columns(part)
            largest = _largest(z, weight)
            if not bool(largest.isfinite().all()):
                refuse_non_finite(part, first_row + start, names)
            sums = with_room(sums, largest)
            unit = unit_of(sums.top).to(z.device)[:, None]
            if bool((sums.top > 0).any()):
                # Numbers shrink on their way to the common unit: the smallest may vanish.
                seen = z.count_nonzero()
                z.mul_(unit)
                sums = sums._replace(lost=sums.lost | (z.count_nonzero() != seen).cpu())
            else:
                z.mul_(unit)
            if weight is not None:
                # A further 1 / BASE keeps the first slice of w x within 2^21.
                weight = weight * unit_of(BITS * (sums.weight_top + 1)).to(z.device)
            sums = self._add_scaled(sums, z, weight, self._depth, learn=True)
            start = stop
        self._digits = carry(sums.digits)
        self._top, self._weight_top, self._lost = sums.top, sums.weight_top, sums.lost

    def _add_scaled(
        self, sums: Sums, z: Tensor, weight: Tensor | None, depth: tuple[int, int], learn: bool
    ) -> Sums:
        """Add rows in units of their columns, cutting entries into `depth` slices or more.

        Args:
            sums: what has been added before; its digits are written to.
            z: (columns, rows).
            weight: (rows,) or None.
            depth: how many slices for z and for w z.
            learn: whether these rows speak for those to come.
        """
        size = _rows_at_a_time(z.shape[0], depth, Batch(z, z, weight))
        if z.shape[1] > size:
            for start in range(0, z.shape[1], size):
                rows = slice(start, start + size)
                part = None if weight is None else weight[rows]
                depth = self._depth if learn else depth
                sums = self._add_scaled(sums, z[:, rows], part, depth, learn)
            return sums
        right, deeper = slices_of(z, None, depth[0])
        left, left_deeper, vanished = None, deeper, deeper.new_zeros(())
        if weight is not None:
            product, rest = two_prod(z, weight)
            left, left_deeper = slices_of(product, rest, depth[1])
            vanished = ((product == 0) != (z == 0)).any()
        deeper_rows, left_deeper_rows, lost = torch.stack(
            (deeper.sum(), left_deeper.sum(), vanished.long())
        ).tolist()
        sums = sums._replace(lost=sums.lost | bool(lost))
        few = z.shape[1] // _FEW
        grown = (
            min(depth[0] + (deeper_rows > few), _DEEPEST),
            min(depth[1] + (left_deeper_rows > few), _DEEPEST),
        )
        if grown != depth:
            return self._add_scaled(sums, z, weight, grown, learn)
        if learn:
            self._depth = depth
        # One side may have more to come where the other is broken off.
        open_ = [k for k, rows in zip(depth, (deeper_rows, left_deeper_rows), strict=True) if rows]
        sums = sums._replace(lost=sums.lost | (_DEEPEST in open_))
        unfinished = any(k < _DEEPEST for k in open_)
        if unfinished:
            deeper = deeper | left_deeper
            right.mul_(~deeper)
        place = HEAD + int(sums.weight_top) if weight is None else HEAD - 1
        sums = with_products(sums, right, left, place)
        if unfinished:
            part = None if weight is None else weight[deeper]
            depth = (min(depth[0] + 1, _DEEPEST), min(depth[1] + 1, _DEEPEST))
            sums = self._add_scaled(sums, z[:, deeper], part, depth, learn=False)
        return sums

    def _merge(self, other: Self, sign: int) -> None:
        mine = Sums(self._digits, self._top, self._weight_top, self._lost)
        theirs = Sums(other._digits, other._top, other._weight_top, other._lost)
        top = torch.maximum(mine.top, theirs.top)
        weight_top = torch.maximum(mine.weight_top, theirs.weight_top)
        mine, theirs = raised(mine, top, weight_top), raised(theirs, top, weight_top)
        self._digits = added(mine.digits, sign * theirs.digits)
        self._top, self._weight_top, self._lost = top, weight_top, mine.lost | theirs.lost


def _rows_at_a_time(columns: int, depth: tuple[int, int], batch: Batch) -> int:
    """Return how many rows to slice at once: full blocks, within the bytes to be used."""
    bytes_ = _SLICE_BYTES.get(batch.x.device.type, _SLICE_BYTES["cuda"])
    # The slices, the rows themselves and a few arrays of the same size to work in.
    arrays = depth[0] + 3 if batch.weight is None else sum(depth) + 8
    block = 8 * columns * arrays * BLOCK_ROWS
    return BLOCK_ROWS * max(1, bytes_ // block, min(2, _PAIR_BYTES // block))


def _largest(z: Tensor, weight: Tensor | None) -> Tensor:
    """Return the largest magnitudes of the columns and of the weights, (columns + 1,), on the CPU.

    Args:
        z: (columns, rows).
        weight: (rows,) or None, which means 1 each.
    """
    low, high = z.aminmax(dim=1)
    most = z.new_ones(1) if weight is None else weight.amax()[None]
    return torch.cat((torch.maximum(high, -low), most)).cpu()


def _columns(batch: Batch) -> tuple[Tensor, Tensor | None]:
    """Return [1, x, y] as (columns, rows) float64 and the weights; absent rows become zeros."""
    features = batch.x.shape[1]
    z = batch.x.new_empty(1 + features + batch.y.shape[1], batch.rows, dtype=torch.float64)
    z[0] = 1.0
    z[1 : 1 + features].copy_(batch.x.T)
    z[1 + features :].copy_(batch.y.T)
    if batch.weight is not None:
        # Not a product: the values of an absent row may be NaN.
        z.masked_fill_(batch.weight == 0, 0.0)
    return z, batch.weight
