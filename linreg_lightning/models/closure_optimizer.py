"""Steps that no optimiser of torch makes, counted by the Trainer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, final

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer


@final
class ClosureOptimizer(torch.optim.Optimizer):
    """An optimiser whose step is the closure that it is given; `lr` is there for callbacks to show.

    The Trainer counts the steps of its optimisers to save checkpoints and to stop at `max_steps`.
    """

    def __init__(self, params: Iterable[torch.nn.Parameter], lr: float) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": 0.0})

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Call the closure and return its result."""
        return None if closure is None else closure()


def take_step(module: LightningModule, closure: Callable[[], Any]) -> Any:
    """Run the closure as the module's next step, which the Trainer counts; return its result."""
    optimizer = module.optimizers()
    assert isinstance(optimizer, LightningOptimizer)  # one was configured, and a Trainer runs it
    return optimizer.step(closure=closure)
