"""Sufficient statistics of least squares: what a pass over the rows has to remember.

With z = (1, x_1 .. x_d, y_1 .. y_t) the numbers of one row and w its weight, they are the Gram
matrix  G = sum over rows of w z z',  the number of rows and the sum of log w. They are enough to
fit with an intercept or without one, to add rows, to remove rows, and to merge other statistics.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, Generic, NamedTuple, Self

import torch
from torch import Tensor

from linreg_lightning.algebra.double_double import DoubleDouble, Number, power_of_two
from linreg_lightning.algebra.precision import FLOAT64_BITS, column_precision
from linreg_lightning.batch import Batch
from linreg_lightning.errors import InputError
from linreg_lightning.validation import RowName, check_finite, check_weight, row_number

# The logarithms of weights are added without rounding, as whole numbers of units of 2^-40.
_FRACTION_BITS = 40
_BLOCK_ROWS = 2**17  # at a time: the sum of their fractions stays far inside int64
_ONE_ROW = torch.tensor([1, 0, 0])


class NormalEquations(NamedTuple, Generic[Number]):
    """Means and centred cross-products of x_1 .. x_d, y_1 .. y_t, in units that never overflow.

    Column i is in units of c_i = 2^exponent[i], weights are in units of v = 2^weight_exponent.
    """

    rows: int  # of weight above 0
    log_weight: float  # the sum of the natural logarithms of the weights above 0
    weight: Number  # the sum of the weights, in units of v; ()
    mean: DoubleDouble  # weighted, in units of c_i; zeros without an intercept; (d + t,)
    cross: Number  # sum of w (z_i - mean_i)(z_j - mean_j), in units of v c_i c_j; (d + t, d + t)
    # The largest sums of w z^2 of which `cross` is a difference, which bound its rounding error
    # (`Float64Gram` sums z less its shift); in units of v c_i^2; (d + t,) float64.
    square: Tensor
    exponent: Tensor  # (d + t,) int64
    weight_exponent: Tensor  # even, () int64
    features: int  # d
    intercept: bool  # whether the means were subtracted
    roundoff: float  # the relative precision of `cross`: 2^-104, or 2^-52 and more in float64
    # The largest relative rounding error of an entry of x, such as 2^-24 of a column in float32;
    # (d,) float64.
    input_roundoff: Tensor
    lost: float  # a bound on numbers missing in `cross`, too small to be held beside others
    absorbed: int = 0  # how many effects of levels were taken out of the rows before

    @property
    def max_rank(self) -> int:
        """How many columns can be independent of each other, of the mean and of the effects."""
        return max(0, self.rows - self.intercept - self.absorbed)


class Gram(ABC):
    """Mergeable sufficient statistics of [1, x, y] with row weights.

    The sums are on `device`, as batches must be. The small tensors beside them stay on the CPU, so
    that a GPU is waited for once or twice a block of rows, not at every decision.

    Beside the sums, the precision of x is kept: of each column the bits of the least precise
    floating-point type in which a batch gave it (see `precision.py`).
    """

    accuracy: ClassVar[str]
    _sums: Any  # a NamedTuple of tensors, whose first is on `device`
    _fields: ClassVar[tuple[str, ...]]  # the fields of `_sums` that a state holds
    # Fields that states of earlier versions lack: they keep their initial value.
    _optional_fields: ClassVar[frozenset[str]] = frozenset({"precision"})

    def __init__(
        self, features: int, targets: int = 1, device: torch.device | str | None = None
    ) -> None:
        if features < 0 or targets < 1:
            raise InputError(
                f"features, targets: {features} and {targets} were given; "
                "type at least 0 features and 1 target"
            )
        self.features, self.targets = features, targets
        self.device = torch.device("cpu") if device is None else torch.device(device)
        # rows of weight above 0, whole part of the sum of their log2 w, the rest in units
        self._counts = torch.zeros(3, dtype=torch.int64)
        self._precision = torch.full((features,), FLOAT64_BITS)  # bits of each column of x
        self._sums = self._zeros(1 + features + targets)

    @property
    def rows(self) -> int:
        """The number of rows with a weight above 0."""
        return int(self._counts[0])

    @property
    def exact(self) -> bool:
        """Whether every product and every sum so far is exact."""
        return False

    def update(
        self,
        batch: Batch,
        first_row: int = 0,
        names: Sequence[str] = (),
        bits: Sequence[int] | None = None,
    ) -> None:
        """Add rows: G = G + sum of w z z'.

        Args:
            batch: x (rows, features), y (rows, targets), weight (rows,) or None; of any floating
                or whole-number dtype, on the device of the sums.
            first_row: the number of the batch's first row, for messages only.
            names: of the columns of x and y, for messages only; without them columns are counted.
            bits: of each column of x, where its numbers were less precise before they were
                converted to the type of x.

        Raises:
            InputError: shapes do not fit; a value is NaN or infinite in a row with a weight above
                0; a weight is negative, NaN or infinite. Nothing of the batch has then been added.
        """
        batch = Batch(*batch).validate()
        given = (batch.x.shape[1], batch.y.shape[1])
        if given != (self.features, self.targets):
            raise InputError(
                f"batch: {given[0]} features and {given[1]} targets were given to statistics of "
                f"{self.features} and {self.targets}; give the same columns in every batch"
            )
        if not batch.rows:
            return

        def row_name(row: int) -> str:
            return row_number(first_row + row)

        if batch.weight is not None:
            batch = batch._replace(weight=batch.weight.to(torch.float64))
        counts = self._counts_with(batch.rows, batch.weight, row_name)
        precision = column_precision(self._precision, batch.x, bits)
        self._add(batch, partial(check_finite, batch, names, row_name))
        self._counts, self._precision = counts, precision

    def merge(self, other: Self) -> None:
        """Add the rows of other statistics on the same device, or refuse other columns."""
        self._check_compatible(other, "merge")
        self._merge(other, 1)
        self._counts = _normalize(self._counts + other._counts)
        self._precision = torch.minimum(self._precision, other._precision)

    def subtract(self, other: Self) -> None:
        """Remove rows that both these and the other statistics have counted.

        In `float64` their rounding error stays, and `Solution.digits` takes account of it. In
        `exact` there is none, unless they were more than 10^140 times as large as the rows left.
        Other columns, another accuracy or more rows are refused with an InputError.
        """
        self._check_compatible(other, "subtract")
        if other.rows > self.rows:
            raise InputError(
                f"subtract: {other.rows} rows were given to take away from {self.rows}; "
                "give statistics of rows that were counted before"
            )
        self._merge(other, -1)
        self._counts = _normalize(self._counts - other._counts)

    def normal_equations(self, intercept: bool = True) -> NormalEquations[Any]:
        """Return the means and centred cross-products, on the CPU; plain sums without intercept."""
        rows, whole, units = self._counts.tolist()
        if rows == 0:
            raise InputError(
                "rows: none with a weight above 0 was given; give at least one row, "
                "or weights that are not all 0"
            )
        return NormalEquations(
            rows=rows,
            log_weight=float(whole + units / 2**_FRACTION_BITS) * math.log(2),
            input_roundoff=power_of_two(-self._precision),
            features=self.features,
            intercept=intercept,
            **self._centre(intercept),
        )

    def state_dict(self) -> dict[str, Tensor]:
        """Return the whole state as plain tensors, which later updates do not write to."""
        shape = torch.tensor([self.features, self.targets])
        sums = {name: getattr(self._sums, name) for name in self._fields}
        return {"shape": shape, "counts": self._counts, "precision": self._precision, **sums}

    @classmethod
    def from_state_dict(cls, state: dict[str, Tensor]) -> Self:
        """Return the statistics of a `state_dict` of the same accuracy, on its device."""
        absent = [name for name in ("shape", "counts", *cls._fields) if name not in state]
        if missing := [name for name in absent if name not in cls._optional_fields]:
            raise InputError(
                f"state: {', '.join(missing)} is missing, as in a state of another accuracy than "
                f"{cls.accuracy}; give what state_dict() of the same accuracy returned"
            )
        features, targets = state["shape"].tolist()
        sums, *others = cls._fields
        gram = cls(features, targets, state[sums].device)
        small = {name: state[name].cpu() for name in others if name in state}
        gram._sums = gram._sums._replace(**{sums: state[sums]}, **small)
        gram._counts = state["counts"].cpu()
        if "precision" in state:
            gram._precision = state["precision"].cpu()
        return gram

    def to(self, device: torch.device | str) -> Self:
        """Return the same statistics on another device."""
        state = {name: tensor.to(device) for name, tensor in self.state_dict().items()}
        return type(self).from_state_dict(state)

    def _counts_with(self, rows: int, weight: Tensor | None, row_name: RowName) -> Tensor:
        if weight is None:
            return torch.add(self._counts, _ONE_ROW, alpha=rows)
        return _normalize(self._counts + _counts_of(weight, row_name))

    def _check_compatible(self, other: Gram, verb: str) -> None:
        mine = (self.accuracy, self.features, self.targets)
        given = (other.accuracy, other.features, other.targets)
        if mine != given:
            raise InputError(
                f"{verb}: statistics of (accuracy, features, targets) {given} were given beside "
                f"{mine}; give the same three"
            )

    @abstractmethod
    def _zeros(self, columns: int) -> Any:
        """Return the sums of no rows, for [1, x, y] of this many columns."""

    @abstractmethod
    def _centre(self, intercept: bool) -> dict[str, Any]:
        """Return the fields of the normal equations that depend on the sums."""

    @abstractmethod
    def _add(self, batch: Batch, check_finite: Callable[[], None]) -> None:
        """Add a batch of at least one row; change nothing where it raises."""

    @abstractmethod
    def _merge(self, other: Self, sign: int) -> None:
        """Add the sums of other statistics times `sign`, 1 or -1."""


def _counts_of(weight: Tensor, row_name: RowName) -> Tensor:
    # One comparison finds negative, NaN and infinite weights.
    wrong = ~((weight >= 0) & (weight < torch.inf))
    total = weight.new_zeros(3, dtype=torch.int64)
    for block in weight.split(_BLOCK_ROWS):
        present = block > 0
        whole, rest = _log2(torch.where(present, block, 1.0))
        units = (rest * 2.0**_FRACTION_BITS).round().to(torch.int64)
        total = _normalize(total + torch.stack((present.sum(), whole.sum(), units.sum())))
    # One transfer, so that a GPU is waited for once.
    *counts, any_wrong = torch.cat((total, wrong.any()[None])).tolist()
    if any_wrong:
        check_weight(weight, row_name)
    return torch.tensor(counts)


def _normalize(counts: Tensor) -> Tensor:
    """Return the same counts with the rest within [0, 1), which makes their form unique."""
    rows, whole, units = counts
    carry = units >> _FRACTION_BITS
    return torch.stack((rows, whole + carry, units & (2**_FRACTION_BITS - 1)))


def _log2(value: Tensor) -> tuple[Tensor, Tensor]:
    """Return log2 of positive numbers as a whole number and a rest in [-1/2, 1/2].

    The bits of `torch.log` depend on the place in a vector. These do not: log m = 2 atanh s with
    s = (m - 1) / (m + 1), as a series in s^2 <= 0.0295.
    """
    mantissa, exponent = torch.frexp(value)
    small = mantissa <= 2.0**-0.5
    mantissa = torch.where(small, 2.0 * mantissa, mantissa)
    s = (mantissa - 1.0) / (mantissa + 1.0)
    square = s * s
    series = torch.zeros_like(s)
    for k in range(21, 0, -2):
        series.mul_(square).add_(1.0 / k)
    return exponent - small.long(), series * s * 2.885390081777927  # 2 / log 2
