"""Marks by which a hook for batches tells a `TightLoop` at which steps it needs to be called.

A hook without a mark is called at each step, and the Trainer then takes all steps itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Hook = TypeVar("Hook", bound=Callable[..., Any])


def per_group(hook: Hook) -> Hook:
    """Mark a hook for the start or end of a batch that needs only the last step of each group.

    A batch at which the Trainer saves, validates or ends an epoch is always the last of its group.

    >>> from lightning.pytorch import Callback
    >>> class LossPrinter(Callback):
    ...     @per_group
    ...     def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
    ...         print(outputs["loss"])
    """
    hook.__dict__["tight_loop"] = "per_group"
    return hook


def per_step(hook: Hook) -> Hook:
    """Mark a callback's hook for batches or gradients that may be called within a group.

    It is called at each step. It must neither read what the module has logged nor stop the run,
    because a group does both later.
    """
    hook.__dict__["tight_loop"] = "per_step"
    return hook
