"""How hooks for batches say what they need to see of a tight loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Hook = TypeVar("Hook", bound=Callable[..., Any])


def per_group(hook: Hook) -> Hook:
    """Mark a hook for the start or end of a batch that may miss the steps of a tight loop.

    It is still called for each batch at which the Trainer saves, validates or ends an epoch.

    >>> from lightning.pytorch import Callback
    >>> class Thermometer(Callback):
    ...     @per_group
    ...     def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
    ...         print(outputs["loss"])
    """
    hook.__dict__["tight_loop"] = "misses"
    return hook


def per_step(hook: Hook) -> Hook:
    """Mark a callback's hook for batches or gradients that a tight loop may call at each step.

    It must neither read what the module has logged nor stop the run: those happen later.
    """
    hook.__dict__["tight_loop"] = "calls"
    return hook
