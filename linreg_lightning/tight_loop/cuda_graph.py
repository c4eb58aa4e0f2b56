"""Work for a GPU that is handed over once, and done again without Python."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TypeVar, final

import torch

# What torch warns of where Python waits for a GPU, if it is told to.
_WAITED = "synchronizing CUDA operation"
# And of telling it so.
_PROTOTYPE = "Synchronization debug mode is a prototype feature"

Value = TypeVar("Value")


@final
class CudaGraph:
    """A recording of what a function has a GPU do, from the same memory to the same memory.

    To be used from one thread; other threads may use the GPU meanwhile.

    https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs

    Attributes:
        waited: whether the last function to be warmed up waited for the GPU, which no recording
            can.
    """

    def __init__(self) -> None:
        self._graph: torch.cuda.CUDAGraph | None = None
        self._stream = torch.cuda.Stream()
        self.waited = False

    @staticmethod
    def runs_on(device: torch.device) -> bool:
        """Whether a device can replay recordings."""
        return device.type == "cuda"

    def warm_up(self, function: Callable[[], Value]) -> Value:
        """Call a function where it will be recorded, so that what it sets up is there already."""
        present, mode = torch.cuda.current_stream(), torch.cuda.get_sync_debug_mode()
        self._stream.wait_stream(present)
        with torch.cuda.stream(self._stream), warnings.catch_warnings(record=True) as caught:
            warnings.filterwarnings("always", message=f".*{_WAITED}")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                value = function()
            finally:
                torch.cuda.set_sync_debug_mode(mode)
        present.wait_stream(self._stream)
        self.waited = any(_WAITED in str(each.message) for each in caught)
        for each in caught:
            if not any(known in str(each.message) for known in (_WAITED, _PROTOTYPE)):
                warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
        return value

    def record(self, function: Callable[[], Value]) -> Value:
        """Call a function, and keep what the GPU would have to do, which it does not do yet.

        One that fails may leave torch before 2.14 with memory that it does not use again.

        Raises:
            RuntimeError: it cannot be recorded, since it waits for the GPU, for one.
        """
        # An earlier one goes first: with it goes memory of the stream, which this one would share.
        self.close()
        graph = torch.cuda.CUDAGraph()
        # torch leaves its stream in place where a recording fails: this puts back the one before.
        with torch.cuda.stream(self._stream):
            # By default the threads that read ahead would be in the way.
            mode = "thread_local"
            with torch.cuda.graph(graph, stream=self._stream, capture_error_mode=mode):
                value = function()
        self._graph = graph
        return value

    def replay(self) -> None:
        """Have the GPU do it."""
        assert self._graph is not None
        self._graph.replay()

    def close(self) -> None:
        """Wait until the GPU is done, and forget the recording."""
        graph, self._graph = self._graph, None
        if graph is not None:
            torch.cuda.synchronize()
