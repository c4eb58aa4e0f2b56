"""The path of the coefficients during a descent."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor


@final
class Trajectory:
    """Coefficients from step to step, thinned out so that memory stays bounded.

    Args:
        max_points: where there are more, every second point is dropped, and from then on the
            distance between recorded steps is doubled.

    >>> path = Trajectory(max_points=4)
    >>> for step in range(10):
    ...     if path.is_due(step):
    ...         path.add(step, [float(step)])
    >>> path.steps, path.points.flatten().tolist()
    ([0, 4, 8], [0.0, 4.0, 8.0])
    """

    def __init__(self, max_points: int = 500) -> None:
        self._max_points = max_points
        self._interval = 1
        self.steps: list[int] = []
        self._points: list[list[float]] = []

    def is_due(self, step: int) -> bool:
        """Whether to record the point after this number of steps."""
        return not self.steps or step >= self.steps[-1] + self._interval

    def add(self, step: int, coefficients: list[float]) -> None:
        """Record the coefficients after a number of steps; a second call for a step is ignored."""
        if self.steps and self.steps[-1] == step:
            return
        self.steps.append(step)
        self._points.append(coefficients)
        if len(self.steps) > self._max_points:
            self.steps, self._points = self.steps[::2], self._points[::2]
            self._interval *= 2

    @property
    def points(self) -> Tensor:
        """The coefficients after each of `steps`, (points, coefficients) float64."""
        return torch.tensor(self._points, dtype=torch.float64)
