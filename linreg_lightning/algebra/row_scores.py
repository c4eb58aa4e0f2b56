"""The second pass over the rows of a fit: what robust covariances of its coefficients need.

With z the row (x, 1) less the means, w its weight, r its residual and R'R = Z'WZ, let
u = R'^-1 z be the whitened row, so that sum(w u u') is the identity, and s = w r u its score. The
covariance of R b is the meat, a sum of products of scores: of rows (HC), of the sums of clusters,
or of the moving sums of the last rows (HAC). The leverage of a row is w u'u.

Where the fit is `exact`, the numbers of a row come from elementwise operations in a fixed order,
and all sums are exact, so that batches and their order change no bit.

Sources: H. White, A heteroskedasticity-consistent covariance matrix estimator, Econometrica 48
(1980); J. G. MacKinnon, H. White, J. Econometrics 29 (1985); W. K. Newey, K. D. West, Econometrica
55 (1987); A. C. Cameron, J. B. Gelbach, D. L. Miller, J. Bus. Econ. Stat. 29 (2011).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from linreg_lightning.algebra.double_double import (
    DoubleDouble,
    Number,
    as_precise_as,
    ldexp,
    to_float64,
)
from linreg_lightning.algebra.solution import Solution
from linreg_lightning.batch import Batch
from linreg_lightning.errors import InputError

_WELL_CONDITIONED = 1e3  # condition numbers up to which float64 whitens rows to 12 digits
_NEARLY_PERFECT = 1e-8  # parts of the variation below which float64 loses digits of residuals
FULL_LEVERAGE = 1 - 1e-10
"""Above it, fewer than six digits are left of 1 - leverage: the row has no residual of its own."""
_SAME_SQUARES = 1e-6  # relative, by which the squares of residuals of the same rows differ at most
_FAST_WIDTH, _FAST_ROWS = 12, 128
_FAST_BLOCK = 32 * _FAST_ROWS  # rows
_MAX_CHANGE = 200  # of exponents
# Rows at a time: what is made of them stays in the cache of a processor.
_BLOCK_NUMBERS = {True: 2**18, False: 2**17}  # by whether the fit is exact


class RowScores(NamedTuple):
    """The parts of the scores of some rows, in the scaled units of the solution."""

    whitened: Tensor  # u without the intercept, (rows, kept or more); other columns may follow
    residual: Tensor  # w r, (rows, targets); 0 for targets whose residuals cannot be seen
    leverage: Tensor | None  # w u'u, (rows,), if it was asked for
    squares: Tensor  # the sum of w r^2, (targets,)


class RowWhitener:
    """Computes whitened rows, weighted residuals and leverages for the rows of a fit."""

    def __init__(self, solution: Solution[Any], exact: bool) -> None:
        self.exact = exact
        equations, kept, d = solution.equations, solution.kept, solution.equations.features
        columns = torch.cat((kept, torch.arange(d, d + len(solution.scaled_intercept))))
        self._kept, self._columns = kept, columns
        self._mean = equations.mean[columns]
        self._unit = equations.exponent[columns]
        self._change = self._unit - solution.exponent[columns]
        self._weight_unit = equations.weight_exponent
        self._unit_weight = float(ldexp(self._mean.high.new_ones(()), -self._weight_unit))
        inverse_factor = DoubleDouble.of(solution.inverse_factor)
        slope = DoubleDouble.of(solution.scaled_coefficients)
        # One product gives whitened rows and predictions.
        self._matrix = DoubleDouble(
            torch.cat((inverse_factor.high, slope.high), 1),
            torch.cat((inverse_factor.low, slope.low), 1),
        )
        self._seen = to_float64(solution.residual) > 0
        self._all_seen = bool(self._seen.all())
        self.intercept = equations.intercept / float(to_float64(equations.weight))  # u^2 of 1
        share = to_float64(solution.residual) / to_float64(solution.total)
        nearly_perfect = bool((self._seen & (share < _NEARLY_PERFECT)).any())
        extreme = self._change.abs().max().item() > _MAX_CHANGE if len(columns) else False
        self._rescales = bool(self._unit.any()) or extreme
        # Columns are scaled by the matrix, where that leaves float64's range to its entries.
        matrix = self._matrix.high
        if not self._rescales:
            self._target_scale = ldexp(matrix.new_ones(()), self._change[len(kept) :])
            matrix = ldexp(matrix, self._change[: len(kept), None])
        # For float64, with zeros below and beside it: matrix products are several times as fast for
        # such widths. Rows and results go to the same two places, block by block.
        width = max(_FAST_WIDTH, -(-self._matrix.high.shape[1] // _FAST_WIDTH) * _FAST_WIDTH)
        padding = width - self._matrix.high.shape[1], width - len(kept)
        self._wide = torch.nn.functional.pad(matrix, (0, padding[0], 0, padding[1]))
        self._centred = self._product = self._wide.new_zeros(0, width)
        self._precise = exact and (solution.condition > _WELL_CONDITIONED or nearly_perfect)

    def blocks(self, batch: Batch, with_leverage: bool) -> Iterator[RowScores]:
        """Compute the parts of scores, some rows at a time, for rows of weight above 0.

        The next block may overwrite the whitened rows of the last one.
        """
        size = max(256, _BLOCK_NUMBERS[self.exact] // (1 + len(self._columns)))
        # Whole blocks, so that rows of a power of two leave no short one.
        unit = _FAST_BLOCK if size > _FAST_BLOCK else _FAST_ROWS
        size = size // unit * unit
        for start in range(0, batch.rows, size):
            rows = batch.select(slice(start, start + size))
            yield self._scores(rows, with_leverage)

    def _scores(self, rows: Batch, with_leverage: bool) -> RowScores:
        k = len(self._kept)
        whitened, residual = self._products_in_order(rows) if self.exact else self._products(rows)
        leverage = None
        if with_leverage:
            if self.exact:
                leverage = whitened.new_full((rows.rows,), self.intercept)
                for column in whitened.T:
                    leverage = leverage + column * column
            else:
                u = whitened[:, :k]
                leverage = torch.linalg.vecdot(u, u).add_(self.intercept)
        plain = residual
        if rows.weight is not None:
            weight = ldexp(rows.weight.double(), -self._weight_unit.to(rows.x.device))
            residual = residual * weight[:, None]
            leverage = None if leverage is None else leverage * weight
        else:
            scale = self._unit_weight
            if scale != 1:
                residual = residual * scale
                leverage = None if leverage is None else leverage * scale
        if not self._all_seen:
            residual = residual * self._seen.to(residual.device)
        return RowScores(whitened, residual, leverage, (plain * residual).sum(0).cpu())

    def _products(self, rows: Batch) -> tuple[Tensor, Tensor]:
        """Return whitened rows and residuals, by one matrix product."""
        device, k = rows.x.device, len(self._kept)
        mean, unit = self._mean.high.to(device), self._unit.to(device)
        x, y = rows.x, rows.y.double()
        if len(self._kept) < x.shape[1]:
            x = x[:, self._kept.to(device)]
        if len(self._centred) < rows.rows or self._centred.device != device:
            self._wide = self._wide.to(device)
            self._centred = self._wide.new_zeros(rows.rows, len(self._wide))
            self._product = torch.empty_like(self._centred)
        z, product = self._centred[: rows.rows], self._product[: rows.rows]
        if self._rescales:
            change = self._change.to(device)
            z[:, :k] = ldexp(ldexp(x.double(), -unit[:k]) - mean[:k], change[:k])
            y = ldexp(ldexp(y, -unit[k:]) - mean[k:], change[k:])
        else:
            torch.sub(x, mean[:k], out=z[:, :k])
            y = (y - mean[k:]).mul_(self._target_scale.to(device))
        full = rows.rows // _FAST_ROWS * _FAST_ROWS
        blocks = z[:full].view(-1, _FAST_ROWS, len(self._wide))
        wide = self._wide.expand(len(blocks), -1, -1)
        torch.bmm(blocks, wide, out=product[:full].view(blocks.shape))
        if full < rows.rows:
            torch.mm(z[full:], self._wide, out=product[full:])
        return product, y.sub_(product[:, k : k + y.shape[1]])

    def _products_in_order(self, rows: Batch) -> tuple[Tensor, Tensor]:
        """Return the same by elementwise operations in a fixed order."""
        device, k = rows.x.device, len(self._kept)
        x = rows.x.T.double()[self._kept.to(device)]
        z = torch.cat((x, rows.y.T.double())).contiguous()
        mean = DoubleDouble(self._mean.high.to(device), self._mean.low.to(device))[:, None]
        unit, change = self._unit.to(device)[:, None], self._change.to(device)[:, None]
        centred = ldexp(-(mean - ldexp(z, -unit)), change)
        matrix = DoubleDouble(self._matrix.high.to(device), self._matrix.low.to(device))
        if self._precise:
            product = _multiply_in_order(centred[:k], matrix)
            residual = (centred[k:] - product[k:]).high
            return product.high[:k].T, residual.T
        plain = _multiply_in_order(centred.high[:k], matrix.high)
        return plain[:k].T, (centred.high[k:] - plain[k:]).T


def _multiply_in_order(columns: Number, matrix: Number) -> Number:
    """Return matrix' columns, (outputs, rows), one column after the other.

    The first outputs are those of an upper triangle: column i changes outputs i and later ones.
    """
    outputs, rows = to_float64(matrix).shape[1], to_float64(columns).shape[1]
    zeros = to_float64(columns).new_zeros(outputs, rows)
    total: Number = as_precise_as(columns, DoubleDouble.of(zeros))
    for i in range(len(columns)):
        # Not `addcmul`, which may round once where two operations round twice.
        total[i:] = total[i:] + matrix[i, i:, None] * columns[i]
    return total


def check_squares(solution: Solution[Any], squares: Tensor) -> None:
    """Refuse rows whose sums of w r^2, (targets,), are not those of the fit."""
    residual, total = to_float64(solution.residual), to_float64(solution.total)
    allowed = _SAME_SQUARES * (residual + total / 1000)
    if bool((((squares - residual).abs() > allowed) & (residual > 0)).any()):
        remedy = "give the same rows in each pass, such as with shuffle=False"
        raise InputError(f"rows: others than those of the fit were given; {remedy}")
