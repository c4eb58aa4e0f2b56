"""Steps that no optimiser of torch makes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, final

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer


@final
class ClosureOptimizer(torch.optim.Optimizer):
    """An optimiser in name only: the closure it is given is the whole step.

    The Trainer counts steps, and so saves checkpoints and stops at `max_steps`, by its optimisers.
    Callbacks look at their rate.

    Args:
        params: of the module.
        lr: the learning rate.
    """

    def __init__(self, params: Iterable[torch.nn.Parameter], lr: float) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": 0.0})

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Call the closure and return its result."""
        return None if closure is None else closure()


def take_step(module: LightningModule, closure: Callable[[], Any]) -> Any:
    """Let the closure be the module's next step, counted by the Trainer; return its result."""
    optimizer = module.optimizers()
    assert isinstance(optimizer, LightningOptimizer)  # one was configured, and a Trainer runs it
    return optimizer.step(closure=closure)
