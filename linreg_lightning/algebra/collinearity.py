"""Finds rows that break a collinearity of the rows trained on.

A column x_j that was a linear combination of the columns kept, in the rows trained on, is

    x_j - m_j = sum over the columns kept of a_kj (x_k - m_k),    a = (X'WX)^-1 X'W x_j,

with the weighted means m, or without these if there is no intercept. Where a row to predict breaks
this, nobody knows what the column does to y, because no row has shown it.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Self, final

import torch
from torch import Tensor

from linreg_lightning.algebra.double_double import ldexp, to_float64
from linreg_lightning.algebra.multiprecision import matrix_product
from linreg_lightning.algebra.solution import Solution

_EXACT_ROUNDOFF = 2.0**-44  # 53 bits, less what sums of several columns lose
_FLOAT64_ROUNDOFF = 2.0**-22  # `solve` takes a column for a combination up to about 2^-25
_FLOAT32_ROUNDOFF = 2.0**-20
_MIN_EXPONENT = -500  # of the units of a column of zeros
_BLOCK_NUMBERS = 2**22
_LISTED_COLUMNS = 5


@final
@dataclass(frozen=True)
class LeftOutColumns:
    """The columns left out, as linear combinations of those kept, in units of 2^exponent.

    A row breaks a combination if the difference is larger than what the rounding of the row, and of
    the rows trained on, can cause.
    """

    left_out: Tensor  # (left out,) int64
    kept: Tensor  # (kept,) int64
    combination: Tensor  # a, (kept, left out)
    mean: Tensor  # m, (features,)
    exponent: Tensor  # of the units of the columns, (features,)
    roundoff: Tensor  # the relative rounding error of each column, (features,)
    error: Tensor  # the length of the rounding errors of each combination, (left out,)
    inverse_factor: Tensor  # R^-1 with R'R = X'WX, (kept, kept)
    inverse_weight: float  # 1 / sum(w) with an intercept, else 0

    @classmethod
    def from_solution(cls, solution: Solution[Any]) -> Self:
        """Compute the combinations, to the digits of the solution."""
        equations, d = solution.equations, solution.equations.features
        exponent, kept = solution.exponent[:d].clone(), solution.kept
        left_out = torch.tensor(solution.collinear, dtype=torch.int64)
        # `solve` scales a column by its standard deviation, and that of a constant is 0.
        exponent[left_out] = equations.exponent[left_out].clamp(min=_MIN_EXPONENT)
        change = equations.exponent[:d] - exponent
        cross = equations.cross[kept][:, left_out]
        cross = ldexp(ldexp(cross, change[kept, None]), change[left_out])
        inverse_factor = solution.inverse_factor
        product = matrix_product(inverse_factor, matrix_product(inverse_factor.mT, cross))
        combination, mean = to_float64(product), ldexp(equations.mean.high[:d], change)
        least = _FLOAT64_ROUNDOFF if isinstance(equations.cross, Tensor) else _EXACT_ROUNDOFF
        roundoff = (8 * equations.input_roundoff).clamp(min=least)
        weight = float(to_float64(equations.weight))
        square = ldexp(to_float64(equations.cross).diagonal()[:d], 2 * change)
        length = roundoff * (square + weight * mean.square()).clamp(min=0.0).sqrt()
        return cls(
            left_out=left_out,
            kept=kept,
            combination=combination,
            mean=mean,
            exponent=exponent,
            roundoff=roundoff,
            error=length[left_out] + length[kept] @ combination.abs(),
            inverse_factor=to_float64(inverse_factor),
            inverse_weight=equations.intercept / weight,
        )

    def broken(self, x: Tensor) -> Tensor:
        """Return which combinations which rows of x, (rows, features), break; (rows, left out)."""
        size = max(1, _BLOCK_NUMBERS // max(1, x.shape[1]))
        return torch.cat([self._broken(block.cpu().double()) for block in x.split(size)])

    def _broken(self, x: Tensor) -> Tensor:
        # Numbers that float32 holds have been rounded to it, perhaps.
        is_short = (x == x.float()).all(0)
        roundoff = torch.where(is_short, self.roundoff.clamp(min=_FLOAT32_ROUNDOFF), self.roundoff)
        x = ldexp(x, -self.exponent)
        centred, size = x - self.mean, roundoff * x.abs()
        difference = centred[:, self.left_out] - centred[:, self.kept] @ self.combination
        own_error = size[:, self.left_out] + size[:, self.kept] @ self.combination.abs()
        leverage = (centred[:, self.kept] @ self.inverse_factor).square().sum(1)
        earlier_error = (leverage + self.inverse_weight).sqrt()[:, None] * self.error
        # NaN breaks nothing: such a row has no prediction.
        return difference.abs() > own_error + earlier_error


@final
@dataclass
class BrokenRows:
    """How many rows break a collinearity of the rows trained on, and which.

    >>> BrokenRows(["c"], rows=5, broken=2, by_column=torch.tensor([2])).describe()
    "2 of 5 rows to predict break a collinearity of the rows trained on, in column \
'c' (2), which predictions leave out: nobody knows its effect there"
    """

    names: list[str]  # of the columns left out
    rows: int = 0
    broken: int = 0
    by_column: Tensor | None = None  # (left out,) int64

    def add(self, broken: Tensor) -> None:
        """Add rows, (rows, left out) bool."""
        self.rows += len(broken)
        self.broken += int(broken.any(1).sum())
        by_column = broken.sum(0)
        self.by_column = by_column if self.by_column is None else self.by_column + by_column

    def warn(self) -> None:
        """Warn the caller of a public method if the rows break a collinearity."""
        if message := self.describe():
            warnings.warn(message, stacklevel=3)

    def describe(self, purpose: str = "to predict") -> str | None:
        """Say what the rows break; None if they break nothing."""
        if not self.broken or self.by_column is None:
            return None
        counts = [(n, name) for name, n in zip(self.names, self.by_column.tolist(), strict=True)]
        columns = sorted((pair for pair in counts if pair[0]), key=lambda pair: -pair[0])
        listed = ", ".join(f"{name!r} ({n})" for n, name in columns[:_LISTED_COLUMNS])
        more = len(columns) - _LISTED_COLUMNS
        listed += f" and {more} more" if more > 0 else ""
        return (
            f"{self.broken} of {self.rows} rows {purpose} break a collinearity of the rows trained "
            f"on, in column {listed}, which predictions leave out: nobody knows its effect there"
        )
