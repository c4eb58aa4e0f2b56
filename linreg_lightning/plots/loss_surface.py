"""The loss as a function of two coefficients."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from torch import Tensor

from linreg_lightning.plots.scale import Array, times_power


class LossSurface(NamedTuple):
    """The mean squared error as a function of two coefficients b; all others minimise it given b.

        loss(b) = floor + (b - minimum)' curvature (b - minimum)

    This is exact. The minimum is the least-squares solution, whatever the scaling of the columns.

    Attributes:
        minimum: the two coefficients at the minimum, (2,).
        curvature: (2, 2).
        floor: the loss at the minimum.
        exponent: coefficients are in units of 10^exponent; 0 except for extreme magnitudes.
        loss_exponent: losses are in units of 10^loss_exponent.
    """

    minimum: Array
    curvature: Array
    floor: float
    exponent: tuple[int, int]
    loss_exponent: int

    @classmethod
    def of(cls, pair: Tensor, y: Tensor, others: Tensor, weight: Tensor | None) -> LossSurface:
        """Compute the surface of some rows.

        Args:
            pair: the columns of the two coefficients, (rows, 2).
            y: the target, (rows,).
            others: the columns of all other coefficients, with the constant, (rows, any number).
            weight: of each row, (rows,); None means 1 for every row.

        >>> import torch
        >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [2.0, 1.0]])
        >>> surface = LossSurface.of(x, x @ torch.tensor([2.0, 3.0]), x[:, :0], None)
        >>> surface.minimum.round(6), round(surface.floor, 6)
        (array([2., 3.]), 0.0)
        """
        columns = [column.double().cpu().numpy() for column in (*pair.T, y)]
        exponents = [_exponent(column) for column in columns]
        scaled = np.stack(
            [times_power(c, -e) for c, e in zip(columns, exponents, strict=True)], axis=1
        )
        root = np.ones(len(scaled))
        if weight is not None:
            root = np.sqrt(weight.double().cpu().numpy() / weight.double().mean().item())
        scaled = scaled * root[:, None]
        sizes = _sizes(scaled[:, :2])
        if others.shape[1]:
            others_scaled = others.double().cpu().numpy() * root[:, None]
            others_scaled = others_scaled / _sizes(others_scaled)
            best = np.linalg.lstsq(others_scaled, scaled, rcond=None)[0]
            scaled = scaled - others_scaled @ best
        x, target = scaled[:, :2], scaled[:, 2]
        # Columns of one size: `lstsq` takes a column that is much smaller than another for zero.
        minimum: Array = np.linalg.lstsq(x / sizes, target, rcond=None)[0] / sizes
        return cls(
            minimum=minimum,
            curvature=x.T @ x / len(x),
            floor=float(np.mean((target - x @ minimum) ** 2)),
            exponent=(exponents[2] - exponents[0], exponents[2] - exponents[1]),
            loss_exponent=2 * exponents[2],
        )

    def at(self, first: Array, second: Array) -> Array:
        """Return the loss at pairs of coefficients, arrays of one shape, in the surface's units."""
        a, b = first - self.minimum[0], second - self.minimum[1]
        (aa, ab), (_, bb) = self.curvature
        with np.errstate(over="ignore", invalid="ignore"):
            loss: Array = self.floor + aa * a**2 + 2 * ab * a * b + bb * b**2
        return loss


def _sizes(columns: Array) -> Array:
    largest = np.abs(columns).max(axis=0)
    return np.where(largest > 0, largest, 1.0)


def _exponent(column: Array) -> int:
    """Return 0, or where squares would leave float64's range the power of ten to divide by."""
    largest = float(np.abs(column).max(initial=0.0))
    return 0 if largest == 0 or 1e-50 < largest < 1e50 else 3 * int(np.floor(np.log10(largest) / 3))
