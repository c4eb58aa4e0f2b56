"""Steps that no optimiser of torch makes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import torch


@final
class ClosureOptimizer(torch.optim.Optimizer):
    """An optimiser in name only: the closure it is given is the whole step.

    The Trainer counts steps, and so saves checkpoints and stops at `max_steps`, by its optimisers.
    """

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Call the closure and return its result."""
        return None if closure is None else closure()
