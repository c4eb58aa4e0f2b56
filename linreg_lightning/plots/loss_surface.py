"""The loss over two coefficients."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from torch import Tensor

from linreg_lightning.plots.scale import Array, times_power


class LossSurface(NamedTuple):
    """The mean squared error over two coefficients b, all others being at their best for these.

        loss(b) = floor + (b - minimum)' curvature (b - minimum)

    A paraboloid, exactly. With the others at their best it is what a descent sees of it in any
    scaling of the columns, and its lowest point is the least-squares solution.

    Coefficients are in units of 10^exponent, losses in units of 10^loss_exponent, so that columns
    of any magnitude have a surface; for everyday numbers both are 0.

    Attributes:
        minimum: (2,).
        curvature: (2, 2).
        floor: the loss at the minimum.
        exponent: of each coefficient's unit.
        loss_exponent: of the loss's unit.
    """

    minimum: Array
    curvature: Array
    floor: float
    exponent: tuple[int, int]
    loss_exponent: int

    @classmethod
    def of(cls, pair: Tensor, y: Tensor, others: Tensor, weight: Tensor | None) -> LossSurface:
        """The surface of some rows.

        Args:
            pair: the columns of the two coefficients, (rows, 2).
            y: the target, (rows,).
            others: the columns of all other coefficients, the constant included, (rows, any).
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
        rest = others.double().cpu().numpy() * root[:, None]
        if rest.shape[1]:
            size = np.abs(rest).max(axis=0)
            rest = rest / np.where(size > 0, size, 1.0)
            scaled = scaled - rest @ np.linalg.lstsq(rest, scaled, rcond=None)[0]
        x, target = scaled[:, :2], scaled[:, 2]
        minimum: Array = np.linalg.lstsq(x, target, rcond=None)[0].astype(np.float64)
        return cls(
            minimum=minimum,
            curvature=x.T @ x / len(x),
            floor=float(np.mean((target - x @ minimum) ** 2)),
            exponent=(exponents[2] - exponents[0], exponents[2] - exponents[1]),
            loss_exponent=2 * exponents[2],
        )

    def at(self, first: Array, second: Array) -> Array:
        """The loss at pairs of coefficients, arrays of one shape, in the surface's units."""
        a, b = first - self.minimum[0], second - self.minimum[1]
        (aa, ab), (_, bb) = self.curvature
        with np.errstate(over="ignore", invalid="ignore"):
            loss: Array = self.floor + aa * a**2 + 2 * ab * a * b + bb * b**2
        return loss


def _exponent(column: Array) -> int:
    """Of a power of ten to divide by: 0 unless squares would leave float64's range."""
    most = float(np.abs(column).max(initial=0.0))
    return 0 if most == 0 or 1e-50 < most < 1e50 else 3 * int(np.floor(np.log10(most) / 3))
