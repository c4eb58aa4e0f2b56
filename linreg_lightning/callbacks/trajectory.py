"""Where a descent has been."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor


@final
class Trajectory:
    """Coefficients from step to step, thinned out where they become many.

    Args:
        most: how many points are kept; when there are more, every second goes, and from then on
            every second is left out.

    >>> path = Trajectory(most=4)
    >>> for step in range(10):
    ...     if path.is_due(step):
    ...         path.add(step, [float(step)])
    >>> path.steps, path.points.flatten().tolist()
    ([0, 4, 8], [0.0, 4.0, 8.0])
    """

    def __init__(self, most: int = 500) -> None:
        self._most = most
        self._every = 1
        self.steps: list[int] = []
        self._points: list[list[float]] = []

    def is_due(self, step: int) -> bool:
        """Whether the place after so many steps is worth noting."""
        return not self.steps or step >= self.steps[-1] + self._every

    def add(self, step: int, coefficients: list[float]) -> None:
        """Note where the descent is after so many steps; once for each step."""
        if self.steps and self.steps[-1] == step:
            return
        self.steps.append(step)
        self._points.append(coefficients)
        if len(self.steps) > self._most:
            self.steps, self._points = self.steps[::2], self._points[::2]
            self._every *= 2

    @property
    def points(self) -> Tensor:
        """The coefficients after each of `steps`, (points, coefficients) float64."""
        return torch.tensor(self._points, dtype=torch.float64)
