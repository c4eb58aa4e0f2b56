"""A CUDA graph's manners on a processor, for tests where there is no GPU.

As on a GPU, recording a function does not do its work, and a replay does that work from the same
memory to the same memory, without Python. Waiting for a number is refused.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

WAITS = torch.ops.aten._local_scalar_dense.default


class _Waiting(TorchDispatchMode):
    waited = False

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None):
        self.waited = self.waited or function is WAITS
        return function(*args, **(kwargs or {}))


class _Recording(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple, dict, list[Tensor]]] = []
        self.before: list[tuple[Tensor, Tensor]] = []
        self._made: set[int] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None):
        kwargs = kwargs or {}
        if function is WAITS:
            raise RuntimeError("operation not permitted when stream is capturing")
        for tensor in _written(function, args, kwargs):
            if tensor.untyped_storage().data_ptr() not in self._made:
                self.before.append((tensor, tensor.clone()))
        value = function(*args, **kwargs)
        given = {_memory(tensor) for tensor in _tensors((args, kwargs))}
        self._made |= {_memory(tensor) for tensor in _tensors(value)} - given
        # What counts is memory: whoever holds it may get other memory, or another shape, later on.
        made = [tensor.detach() for tensor in _tensors(value)]
        args, kwargs = _aliases((args, kwargs))
        self.calls.append((function, args, kwargs, made))
        return value


class Tape:
    """Stands in for CudaGraph."""

    recordings: ClassVar[list[int]] = []
    """Of each recording, how often it was replayed."""

    def __init__(self) -> None:
        self._calls: list[tuple[Any, tuple, dict, list[Tensor]]] = []
        self.waited = False

    @staticmethod
    def runs_on(device: torch.device) -> bool:
        return device.type == "cpu"

    def warm_up(self, function: Callable[[], Any]) -> Any:
        with _Waiting() as mode:
            value = function()
        self.waited = mode.waited
        return value

    def record(self, function: Callable[[], Any]) -> Any:
        random = torch.get_rng_state()
        recording = _Recording()
        try:
            with recording:
                value = function()
        finally:
            with torch.no_grad():
                for tensor, before in reversed(recording.before):
                    tensor.copy_(before)
            torch.set_rng_state(random)
        self._calls = recording.calls
        self.recordings.append(0)
        return value

    def replay(self) -> None:
        self.recordings[-1] += 1
        with torch.no_grad():
            for function, args, kwargs, made in self._calls:
                again = function(*args, **kwargs)
                given = {_memory(tensor) for tensor in _tensors((args, kwargs))}
                for old, new in zip(made, _tensors(again), strict=True):
                    if _memory(old) not in given:
                        old.copy_(new)

    def close(self) -> None:
        self._calls = []


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _aliases(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, dict):
        return {name: _aliases(part) for name, part in value.items()}
    return type(value)(map(_aliases, value)) if isinstance(value, list | tuple) else value


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [t for part in value for t in _tensors(part)] if isinstance(value, list | tuple) else []


def _written(function: Any, args: tuple, kwargs: dict) -> list[Tensor]:
    schema = function._schema.arguments
    named = {argument.name: value for argument, value in zip(schema, args, strict=False)} | kwargs
    return [
        tensor
        for argument in schema
        if argument.alias_info is not None and argument.alias_info.is_write
        for tensor in _tensors(named.get(argument.name))
    ]
