"""What a step depends on, or changes, that a recording on a GPU knows nothing of."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import numpy as np
import torch

COLLECTIONS = (list, dict, set, deque)


def python_state(trainer: Any, device: torch.device) -> list[Any]:
    """The epoch, learning rates, and what modules, metrics and optimizers are made of.

    Of a tensor, and of any other object, it is which one it is, and not what it holds; of a
    collection also its length. Of a tensor that is not on the device but on the processor it is
    also how often it was changed: what a GPU reads of it is in a recording as it was.
    """
    found: list[Any] = [trainer.current_epoch]
    for part in trainer.lightning_module.modules():
        values = vars(part).values()
        found += values
        found += [len(value) for value in values if isinstance(value, COLLECTIONS)]
        found += part.buffers(recurse=False)
        for parameter in part.parameters(recurse=False):
            # Memory that is exchanged, as by `weight.data = ...`, is another to a recording.
            found += parameter, parameter.data_ptr(), parameter.requires_grad
    for optimizer in trainer.optimizers:
        for settings in (*optimizer.param_groups, *optimizer.state.values()):
            found += [value for name, value in settings.items() if name != "params"]
    if device.type != "cpu":
        tensors = [value for value in found if isinstance(value, torch.Tensor)]
        found += [
            tensor._version
            for tensor in tensors
            if tensor.device.type == "cpu" and not tensor.is_inference()  # these are not counted
        ]
    return found


def same(some: list[Any], others: list[Any]) -> bool:
    """Whether two states are the same."""
    plain = int | float | str
    return len(some) == len(others) and all(
        one is other or (isinstance(one, plain) and isinstance(other, plain) and one == other)
        for one, other in zip(some, others, strict=True)
    )


def random_state(device: torch.device) -> list[Any]:
    """Of the random numbers that are not drawn on a device."""
    _, keys, position, *_ = np.random.get_state()
    state = [random.getstate(), np.asarray(keys).tobytes(), position]
    if device.type != "cpu":
        state.append(torch.get_rng_state().numpy().tobytes())
    return state
