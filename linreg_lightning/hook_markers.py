"""Decorators by which a hook for batches says at which steps it must be called.

`TightLoop` runs several optimiser steps, a group, between two rounds of hooks, which is faster. A
hook without a mark must be called at each step: with such a hook there are no groups.
"""

from collections.abc import Callable
from typing import Any, TypeVar

Hook = TypeVar("Hook", bound=Callable[..., Any])


def per_group(hook: Hook) -> Hook:
    """Mark a hook for the start or end of a batch to be called only at the last step of a group.

    A batch after which the Trainer saves, validates or ends an epoch always ends its group.

    >>> from lightning.pytorch import Callback
    >>> class LossPrinter(Callback):
    ...     @per_group
    ...     def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
    ...         print(outputs["loss"])
    """
    hook.__dict__["tight_loop"] = "per_group"
    return hook


def per_step(hook: Hook) -> Hook:
    """Mark a callback's hook for batches or gradients to be called at each step of a group.

    It must not read what the module has logged or stop the run: a group does both at its end.
    """
    hook.__dict__["tight_loop"] = "per_step"
    return hook
