"""The Gram matrix without rounding: the same bits for any order of the rows and any batches.

Each column is written in units of 2^top that its largest entry fits, and each entry is split:

    x = (s_0 + s_1 BASE^-1 + s_2 BASE^-2 + ...) 2^top,    BASE = 2^22,  s_k whole, |s_k| <= 2^21.

Matrix products of these slices have no rounding error and are added as digits of long whole numbers
(see `multiprecision`), whose normal form does not depend on the order of the rows. Rows with an
entry far below the largest of its column need more slices: they are added apart, so that no bit is
lost and ordinary rows stay cheap. The product w x is an exact pair of float64, split likewise.

Sources: K. Ozaki, T. Ogita, S. Oishi, S. M. Rump, Error-free transformations of matrix
multiplication, Numer. Algorithms 59 (2012); J. Demmel, H. D. Nguyen, Parallel reproducible
summation, IEEE Trans. Comput. 64 (2015), for the fixed grid of exponents.
"""

from collections.abc import Callable
from operator import itemgetter
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from linreg_lightning.algebra import multiprecision
from linreg_lightning.algebra.compiled_sums import CompiledSums, can_compile
from linreg_lightning.algebra.double_double import DoubleDouble, ldexp, row_blocks, two_prod
from linreg_lightning.algebra.gram import Gram
from linreg_lightning.algebra.multiprecision import DIGIT_BITS, HEADROOM_DIGITS, ExactSums
from linreg_lightning.batch import Batch

_MAX_DEPTH = 40  # slices reach 880 bits below the largest entry of a column
# A bound on what is then missing in a cross-product, in its units: for each of at most 2^44 rows
# 2^-837 of its weight, times the square of a number below 2^21, and less of other kinds.
_LOST = 2.0**-750
# Of so few numbers nearly all bits are in these slices: a slice too many takes less time than
# finding out how many are enough.
_FEW_NUMBERS, _FEW_NUMBERS_DEPTH = 2**13, (4, 6)
_ROWS_PER_DEEP_ROW = 4  # one row in four added apart costs as much as a slice more for all rows
# Bytes of slices at a time: what the cache of a processor holds, what keeps a GPU busy.
_SLICE_BYTES = {"cpu": 12 * 2**20, "cuda": 2**29}
_TWO_BLOCKS_BYTES = 40 * 2**20  # what two blocks of wide rows, for two cores, may take


class ExactGram(Gram):
    """The exact sums of products of [1, x, y], rounded to 106 bits by `normal_equations`.

    The result is bit-identical for any batch sizes, any order of rows, merges in any order, any
    number of processes and any device. This holds for entries (and weights) of any finite float64
    magnitude that are either 0 or no further than a factor of 2^800 = 10^240 below the largest
    entry of their column (weights: below the largest weight; products of both: 2^750). A bit below
    2^-880 of the largest may be left out; then `exact` is False, the result might depend on the
    order of the rows, and `Solution.digits` takes account of such bits.

    Rows: fewer than 2^44. Extra memory: about 60 MB while updating on a CPU, and 8 bytes for each
    of the 10 or so digits of each entry of the Gram matrix.

    >>> gram = ExactGram(features=1)
    >>> gram.update(Batch(torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([[2.0], [4.0], [7.0]])))
    >>> equations = gram.normal_equations(intercept=False)
    >>> equations.cross.high * 2.0 ** (equations.exponent[:, None] + equations.exponent)
    tensor([[14., 31.],
            [31., 69.]], dtype=torch.float64)
    """

    accuracy: ClassVar[str] = "exact"
    _fields: ClassVar[tuple[str, ...]] = ("digits", "top", "weight_top", "lost")
    _sums: ExactSums
    # How many slices of z and of w z most rows need, learnt from the rows; it sets the speed.
    _depth = (2, 2)
    _compiled: CompiledSums | None = None
    # Rows of other statistics in the same pass, as of other folds; they decide only the speed.
    rows_beside = 0

    def _zeros(self, columns: int) -> ExactSums:
        top = torch.full((columns,), multiprecision.MIN_EXPONENT)
        top[0] = 0  # the column of ones: its sums are in the units of the weights
        return ExactSums(
            digits=torch.zeros(1, columns, columns, dtype=torch.int64, device=self.device),
            top=top,
            weight_top=torch.tensor(multiprecision.MIN_EXPONENT // DIGIT_BITS),
            lost=torch.tensor(False),
        )

    @property
    def exact(self) -> bool:
        """Whether every product and every sum so far is exact."""
        return not self._sums.lost

    def _centre(self, intercept: bool) -> dict[str, Any]:
        # One more digit in front leaves none above BASE / 2.
        digits = multiprecision.carry(
            torch.nn.functional.pad(self._sums.digits.cpu(), (0,) * 4 + (1, 0))
        )
        one, bits = torch.tensor([1]), DIGIT_BITS * (HEADROOM_DIGITS + 1)
        weight, sums, products = digits[:, 0, 0], digits[:, 0, 1:], digits[:, 1:, 1:]
        columns = sums.shape[1]
        mean = DoubleDouble.of(torch.zeros(columns, dtype=torch.float64))
        if intercept:
            mean = multiprecision.divide(sums, weight)
        cross = DoubleDouble(*torch.empty(2, columns, columns, dtype=torch.float64))
        for rows in row_blocks(columns, 2 * len(digits) * columns):
            right = slice(rows.start, columns)
            block, denominator = products[:, rows, right], one
            if intercept:  # in whole numbers, so that only the results are rounded
                block = multiprecision.subtract_products(
                    block, weight, sums[:, rows], sums[:, right]
                )
                denominator = weight
            quotient = ldexp(multiprecision.divide(block, denominator), torch.tensor(bits))
            cross[rows, right], cross[right, rows] = quotient, quotient.mT
        square = multiprecision.divide(products.diagonal(dim1=1, dim2=2), one)
        return {
            "weight": ldexp(multiprecision.divide(weight, one), torch.tensor(bits)),
            "mean": mean,
            "cross": cross,
            "square": ldexp(square.high, torch.tensor(bits)),
            "exponent": self._sums.top[1:],
            "weight_exponent": DIGIT_BITS * self._sums.weight_top,
            "roundoff": 2.0**-104,
            "lost": 0.0 if self.exact else _LOST,
        }

    def _add(self, batch: Batch, check_finite: Callable[[], None]) -> None:
        sums = self._sums._replace(digits=self._sums.digits.clone())
        if can_compile(batch, (self.rows_beside + self.rows + batch.rows) * len(sums.top)):
            compiled = self._compiled
            if compiled is None or compiled.weighted != (batch.weight is not None):
                compiled = self._compiled = CompiledSums(batch)
            sums, batch = compiled.add(sums, batch, check_finite)
        one = torch.ones((), dtype=torch.float64)
        start = 0
        while start < batch.rows:
            stop = start + _rows_at_a_time(len(sums.top), self._depth, batch)
            part = batch.map(itemgetter(slice(start, stop)))
            z, weight = _columns(part), part.weight
            low, high = z.aminmax(dim=1)
            largest_weight = z.new_ones(1) if weight is None else weight.amax()[None]
            largest = torch.cat((torch.maximum(high, -low), largest_weight)).cpu()
            if not bool(largest.isfinite().all()):
                check_finite()
            sums = sums.enlarge_units(largest)
            unit = ldexp(one, -sums.top).to(z.device)[:, None]
            shrinks = bool((sums.top > 0).any())  # and the smallest numbers may become 0
            nonzeros = z.count_nonzero() if shrinks else 0
            z.mul_(unit)
            if shrinks:
                sums = sums._replace(lost=sums.lost | (z.count_nonzero() != nonzeros).cpu())
            if weight is not None:
                # A further 1 / BASE keeps the first slice of w x within 2^21.
                weight = weight * ldexp(one, -DIGIT_BITS * (sums.weight_top + 1)).to(z.device)
            few = z.numel() <= _FEW_NUMBERS
            depth = _FEW_NUMBERS_DEPTH if few else self._depth
            sums = self._add_scaled(sums, z, weight, depth, learn=not few)
            start = stop
        multiprecision.carry_in_place(sums.digits)
        self._sums = sums._replace(pending=0)

    def _add_scaled(
        self, sums: ExactSums, z: Tensor, weight: Tensor | None, depth: tuple[int, int], learn: bool
    ) -> ExactSums:
        """Add rows, z (columns, rows), to the digits, z and w z in `depth` slices or more.

        `learn` says whether later rows begin with the depth found.
        """
        size = _rows_at_a_time(z.shape[0], depth, Batch(z, z, weight))
        if z.shape[1] > size:
            for start in range(0, z.shape[1], size):
                rows = slice(start, start + size)
                part = None if weight is None else weight[rows]
                depth = self._depth if learn else depth
                sums = self._add_scaled(sums, z[:, rows], part, depth, learn)
            return sums
        right, unfinished = multiprecision.slice_entries(z, None, depth[0])
        left, left_unfinished, vanished = None, unfinished, unfinished.new_zeros(())
        if weight is not None:
            product, error = two_prod(z, weight)
            left, left_unfinished = multiprecision.slice_entries(product, error, depth[1])
            vanished = ((product == 0) != (z == 0)).any()
        right_count, left_count, lost = torch.stack(
            (unfinished.sum(), left_unfinished.sum(), vanished.long())
        ).tolist()
        sums = sums._replace(lost=sums.lost | bool(lost))
        limit = z.shape[1] // _ROWS_PER_DEEP_ROW
        deeper = _deepen(depth, right_count > limit, left_count > limit)
        if deeper != depth:
            return self._add_scaled(sums, z, weight, deeper, learn)
        if learn:
            self._depth = depth
        # One side may need more slices while the other has reached the deepest.
        open_ = [k for k, rows in zip(depth, (right_count, left_count), strict=True) if rows]
        sums = sums._replace(lost=sums.lost | (_MAX_DEPTH in open_))
        add_apart = any(k < _MAX_DEPTH for k in open_)
        if add_apart:
            unfinished = unfinished | left_unfinished
            right.mul_(~unfinished)
        place = HEADROOM_DIGITS + int(sums.weight_top) if weight is None else HEADROOM_DIGITS - 1
        sums = sums.add_products(right, left, place)
        if add_apart:
            part = None if weight is None else weight[unfinished]
            sums = self._add_scaled(sums, z[:, unfinished], part, _deepen(depth), learn=False)
        return sums

    def _merge(self, other: Self, sign: int) -> None:
        mine, theirs = self._sums, other._sums
        top = torch.maximum(mine.top, theirs.top)
        weight_top = torch.maximum(mine.weight_top, theirs.weight_top)
        mine, theirs = (sums.convert_units(top, weight_top) for sums in (mine, theirs))
        digits = multiprecision.add(mine.digits, sign * theirs.digits)
        self._sums = mine._replace(digits=digits, lost=mine.lost | theirs.lost)


def _deepen(depth: tuple[int, int], right: bool = True, left: bool = True) -> tuple[int, int]:
    return min(depth[0] + right, _MAX_DEPTH), min(depth[1] + left, _MAX_DEPTH)


def _rows_at_a_time(columns: int, depth: tuple[int, int], batch: Batch) -> int:
    slice_bytes = _SLICE_BYTES.get(batch.x.device.type, _SLICE_BYTES["cuda"])
    # The slices, the rows themselves and a few working arrays of the same size.
    arrays = depth[0] + 3 if batch.weight is None else sum(depth) + 8
    block_bytes = 8 * columns * arrays * multiprecision.BLOCK_ROWS
    return multiprecision.BLOCK_ROWS * max(
        1, slice_bytes // block_bytes, min(2, _TWO_BLOCKS_BYTES // block_bytes)
    )


def _columns(batch: Batch) -> Tensor:
    """Return [1, x, y] as (columns, rows) float64; absent rows become zeros."""
    features = batch.x.shape[1]
    z = batch.x.new_empty(1 + features + batch.y.shape[1], batch.rows, dtype=torch.float64)
    z[0] = 1.0
    z[1 : 1 + features].copy_(batch.x.T)
    z[1 + features :].copy_(batch.y.T)
    if batch.weight is not None:
        # Not a product: the values of an absent row may be NaN.
        z.masked_fill_(batch.weight == 0, 0.0)
    return z
