"""Sufficient statistics of least squares: what a pass over the rows has to remember.

With z = (1, x_1 .. x_d, y_1 .. y_t) the numbers of one row and w its weight, they are the Gram
matrix  G = sum over rows of w z z',  the number of rows and the sum of log w. They are enough to
fit with an intercept or without one, to add rows, to remove rows, and to merge other statistics.

Two classes keep them: `ExactGram` without rounding, `Float64Gram` as fast as one matrix product.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, NamedTuple, Self

import torch
from torch import Tensor

from linreg_lightning.algebra.double_double import Number
from linreg_lightning.algebra.row_counts import counts_of, normalize
from linreg_lightning.batch import Batch
from linreg_lightning.errors import InputError
from linreg_lightning.validation import check_finite, row_number


class NormalEquations(NamedTuple, Generic[Number]):
    """Means and centred cross-products of the columns x_1 .. x_d, y_1 .. y_t.

    Nothing overflows, because column i is in units of c_i = 2^exponent[i] and weights are in units
    of v = 2^weight_exponent.
    """

    rows: int  # of weight above 0
    log_weight: float  # the sum of the natural logarithms of the weights above 0
    weight: Number  # the sum of the weights, in units of v; ()
    mean: Number  # weighted, in units of c_i; zeros without an intercept; (d + t,)
    cross: Number  # sum of w (z_i - mean_i)(z_j - mean_j), in units of v c_i c_j; (d + t, d + t)
    # The largest sums of w z^2 of which `cross` is a difference, which bound its rounding error
    # (`Float64Gram` sums z less its shift); in units of v c_i^2; (d + t,) float64.
    square: Tensor
    exponent: Tensor  # (d + t,) int64
    weight_exponent: Tensor  # even, () int64
    features: int  # d
    intercept: bool  # whether the means were subtracted
    roundoff: float  # the relative precision of `cross`, 2^-52 or 2^-104
    lost: float  # a bound on numbers missing in `cross`, too small to be held beside others


class Gram(ABC):
    """Mergeable sufficient statistics of [1, x, y] with row weights.

    The sums are on the device of the rows. The small tensors beside them stay on the CPU, so that a
    GPU is waited for once or twice a block of rows, not at every decision.

    Attributes:
        features: how many columns x has.
        targets: how many columns y has.
        device: where the sums are; batches must be there too.
    """

    accuracy: ClassVar[str]
    # The tensors of the state; the first is the sums.
    _fields: ClassVar[tuple[str, ...]]
    # Fields that states of earlier versions lack: they keep their initial value.
    _optional_fields: ClassVar[tuple[str, ...]] = ()

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
        self._counts = torch.zeros(3, dtype=torch.int64)  # see `row_counts`

    @property
    def rows(self) -> int:
        """The number of rows with a weight above 0."""
        return int(self._counts[0])

    @property
    def exact(self) -> bool:
        """Whether every product and every sum so far is exact."""
        return False

    def update(self, batch: Batch, first_row: int = 0, names: Sequence[str] = ()) -> None:
        """Add rows: G = G + sum of w z z'.

        Args:
            batch: x (rows, features), y (rows, targets), weight (rows,) or None; of any floating
                or whole-number dtype, on the device of the sums.
            first_row: the number of the batch's first row, for messages only.
            names: of the columns of x and y, for messages only; without them columns are counted.

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
        counts = self._counts
        if batch.weight is None:
            counts = counts + torch.tensor([batch.rows, 0, 0])
        else:
            weight = batch.weight.to(torch.float64)
            counts = normalize(counts + counts_of(weight, first_row))
            batch = batch._replace(weight=weight)
        self._add(batch, first_row, names)
        self._counts = counts

    def merge(self, other: Self) -> None:
        """Add the rows of other statistics, of the same columns and accuracy, on the same device.

        Raises:
            InputError: the columns or the accuracy differ.
        """
        self._check_compatible(other, "merge")
        self._merge(other, 1)
        self._counts = normalize(self._counts + other._counts)

    def subtract(self, other: Self) -> None:
        """Remove rows that both these and the other statistics have counted.

        In `float64` their rounding error stays, and `Solution.digits` takes account of it. In
        `exact` there is none, unless they were more than 10^140 times as large as the rows left.

        Raises:
            InputError: the columns or the accuracy differ, or `other` has more rows.
        """
        self._check_compatible(other, "subtract")
        if other.rows > self.rows:
            raise InputError(
                f"subtract: {other.rows} rows were given to take away from {self.rows}; "
                "give statistics of rows that were counted before"
            )
        self._merge(other, -1)
        self._counts = normalize(self._counts - other._counts)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the whole state as plain tensors, for a checkpoint or for other processes.

        Their shapes may differ between processes. Later updates do not write to them.
        """
        shape = torch.tensor([self.features, self.targets])
        return {"shape": shape, **{name: getattr(self, f"_{name}") for name in self._fields}}

    @classmethod
    def from_state_dict(cls, state: dict[str, Tensor]) -> Self:
        """Return the statistics that `state_dict` described, on the device of its tensors.

        Raises:
            InputError: the state is of another accuracy.
        """
        required = [name for name in ("shape", *cls._fields) if name not in cls._optional_fields]
        missing = [name for name in required if name not in state]
        if missing:
            raise InputError(
                f"state: {', '.join(missing)} is missing, as in a state of another accuracy than "
                f"{cls.accuracy}; give what state_dict() of the same accuracy returned"
            )
        features, targets = state["shape"].tolist()
        sums, *others = cls._fields
        gram = cls(features, targets, state[sums].device)
        setattr(gram, f"_{sums}", state[sums])
        for name in others:
            if name in state:
                setattr(gram, f"_{name}", state[name].cpu())
        return gram

    def to(self, device: torch.device | str) -> Self:
        """Return the same statistics on another device."""
        state = {name: tensor.to(device) for name, tensor in self.state_dict().items()}
        return type(self).from_state_dict(state)

    def _check_compatible(self, other: Gram, verb: str) -> None:
        mine = (self.accuracy, self.features, self.targets)
        given = (other.accuracy, other.features, other.targets)
        if mine != given:
            raise InputError(
                f"{verb}: statistics of (accuracy, features, targets) {given} were given beside "
                f"{mine}; give the same three"
            )

    def _check_rows(self) -> None:
        if self.rows == 0:
            raise InputError(
                "rows: none with a weight above 0 was given; give at least one row, "
                "or weights that are not all 0"
            )

    @abstractmethod
    def normal_equations(self, intercept: bool = True) -> NormalEquations[Any]:
        """Return the means and centred cross-products, on the CPU; plain sums without intercept.

        Raises:
            InputError: no row with a weight above 0 has been counted.
        """

    @abstractmethod
    def _add(self, batch: Batch, first_row: int, names: Sequence[str]) -> None:
        """Add a batch of at least one row; change nothing where it raises."""

    @abstractmethod
    def _merge(self, other: Self, sign: int) -> None:
        """Add the sums of other statistics times `sign`, 1 or -1."""


def refuse_non_finite(batch: Batch, first_row: int, names: Sequence[str]) -> None:
    """Name the first value that is NaN or infinite in a row with a weight above 0, if any.

    Call it only once a sum has turned out not to be finite: it looks at every value.

    Args:
        batch: any batch.
        first_row: the number of its first row.
        names: of the columns of x and y, or none.

    Raises:
        InputError: there is such a value.

    >>> refuse_non_finite(Batch(torch.ones(2, 1), torch.tensor([[1.0], [torch.nan]])), 0, [])
    Traceback (most recent call last):
    ...
    linreg_lightning.errors.InputError: column 1 of y: row 2 holds nan, a missing value; fill in a \
number, leave the row out, or give it weight 0
    """
    check_finite(batch, names, lambda row: row_number(first_row + row))
