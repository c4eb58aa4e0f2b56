"""Hooks that need not see every batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Hook = TypeVar("Hook", bound=Callable[..., Any])


def once_a_call(hook: Hook) -> Hook:
    """Mark a batch hook of a callback or a module that may miss the steps of a tight loop.

    It is still called for every batch at which the Trainer logs, saves, validates or ends an epoch.

    >>> from lightning.pytorch import Callback
    >>> class Thermometer(Callback):
    ...     @once_a_call
    ...     def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
    ...         print(outputs["loss"])
    """
    hook.__dict__["once_a_call"] = True
    return hook
