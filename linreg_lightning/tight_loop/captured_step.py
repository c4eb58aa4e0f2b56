"""A step that is recorded on a GPU, and replayed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, final

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from linreg_lightning.tight_loop.cuda_graph import CudaGraph
from linreg_lightning.tight_loop.python_state import python_state, random_state, same
from linreg_lightning.tight_loop.step_function import called, is_watched
from linreg_lightning.tight_loop.step_log import Logged, StepLog

WARM_UP = 3
"""Steps that are taken before one is recorded, on the stream that it will be recorded on."""
WORTH = 100
"""Steps left in an epoch for which a recording is worth its time, a few milliseconds."""

Take = Callable[[Any, int], dict[str, Any]]


@final
class CapturedStep:
    """Takes steps by replaying a recorded one, with other rows in its memory.

    Python does not run in a replay. So a step is not recorded that changes what Python knows of a
    module, a metric or the optimizer, that waits for the GPU, draws random numbers elsewhere, logs
    numbers instead of tensors, or is watched. A recording ends with what it was made under.

    Args:
        trainer: within a fit; much of it is not declared by its class.
        log: of the steps.
    """

    def __init__(self, trainer: Any, log: StepLog) -> None:
        self._trainer, self._log = trainer, log
        self._module, self._device = trainer.lightning_module, trainer.strategy.root_device
        updates = trainer.fit_loop.epoch_loop.automatic_optimization.optim_progress.optimizer
        self._counters = updates.step.total, updates.zero_grad.total
        self._refused = not CudaGraph.runs_on(self._device)
        self._graph: CudaGraph | None = None
        self._warm: Counter[tuple[Any, ...]] = Counter()  # steps, by the shapes of their batches
        self._before: list[Any] | None = None  # the state at the step before in the same group
        self._recorded: Any = None
        self._state: list[Any] = []
        self._shapes: tuple[Any, ...] = ()

    def begin(self, take: Take) -> Take:
        """What takes the steps of a group, given what takes one by Python."""
        if self._refused or self._needs_python():
            return take
        if not same(self._state, python_state(self._trainer, self._device)):
            self._forget()
            self._warm.clear()
        begun = self._trainer.fit_loop.epoch_loop.batch_progress.current.ready
        self._take, self._worth = take, self._trainer.num_training_batches - begun >= WORTH
        hooks = ("on_train_batch_start", "on_train_batch_end")
        self._looked_at = any(called(self._trainer, name) for name in hooks)
        self._before = None
        return self._step

    def end(self) -> None:
        """Let the GPU's memory go."""
        self._forget()

    def _forget(self) -> None:
        self._recorded = None
        if self._graph is not None:
            self._graph.close()

    def _step(self, batch: Any, index: int) -> dict[str, Any]:
        shapes = self._shapes_of(batch)
        if self._refused or shapes is None:
            return self._take(batch, index)
        if self._recorded is None and self._worth:
            state = python_state(self._trainer, self._device)
            before, self._before = self._before, state
            if before is None or self._warm[shapes] < WARM_UP:
                return self._warm_up(batch, index, shapes)
            if not same(before, state):
                self._refuse("it changes attributes of a module, a metric or the optimizer")
            elif self._record(batch, index):
                self._shapes, self._state = shapes, state
        if self._recorded is None or shapes != self._shapes:
            return self._take(batch, index)
        return self._replay(batch)

    def _warm_up(self, batch: Any, index: int, shapes: tuple[Any, ...]) -> dict[str, Any]:
        self._graph = self._graph or CudaGraph()
        random = random_state(self._device)
        inputs = _cloned(batch)  # rows that lie elsewhere may be other kernels' work
        outputs = self._graph.warm_up(lambda: self._take(inputs, index))
        self._warm[shapes] += 1
        if self._warm[shapes] >= WARM_UP:
            if self._graph.waited:
                self._refuse("it waits for the GPU")
            elif random_state(self._device) != random:
                self._refuse("it draws random numbers on the processor")
            elif any(tensor.device != self._device for tensor in self._optimizer_state()):
                self._refuse("its optimizer counts on the processor; try one with capturable=True")
        return outputs

    def _record(self, batch: Any, index: int) -> bool:
        assert self._graph is not None
        counts = [counter.completed for counter in self._counters]
        inputs = _cloned(batch)
        logged: list[tuple[str, Logged]] = []
        self._log.recorded = logged
        try:
            outputs = self._graph.record(lambda: self._take(inputs, index))
        except Exception as error:
            # What failed at first stands behind what the end of a recording has to say of it. What
            # fails without a recording too will do so when the step is taken.
            self._refuse(str(error.__context__ or error).partition("\n")[0])
        finally:
            self._log.recorded = None
            times = [c.completed - n for c, n in zip(self._counters, counts, strict=True)]
            for counter, count in zip(self._counters, counts, strict=True):
                counter.completed = count
        if not all(self._is_there(call.value) for _, call in logged):
            self._refuse("it logs a number or a metric; log a tensor that is on the GPU")
        if self._refused:
            return False
        gradients = [(parameter, parameter.grad) for parameter in self._parameters()]
        self._recorded = _parts(inputs), outputs, logged, times, gradients
        return True

    def _replay(self, batch: Any) -> dict[str, Any]:
        inputs, outputs, logged, times, gradients = self._recorded
        for own, given in zip(inputs, _parts(batch), strict=True):
            own.copy_(given)
        assert self._graph is not None
        self._graph.replay()
        for counter, count in zip(self._counters, times, strict=True):
            counter.completed += count
        for name, call in logged:
            self._log.keep(name, *call)
        if not self._looked_at:
            return dict(outputs)
        for parameter, gradient in gradients:
            parameter.grad = gradient
        # The next replay overwrites what somebody may hold on to.
        return {name: _clone(value) for name, value in outputs.items()}

    def _needs_python(self) -> bool:
        """Whether somebody looks into a step, or its learning rate is another each time."""
        hooks = ("before_zero_grad", "before_backward", "after_backward", "before_optimizer_step")
        return (
            not self._module.automatic_optimization
            or any(called(self._trainer, f"on_{name}") for name in hooks)
            or any(each.interval == "step" for each in self._trainer.lr_scheduler_configs)
            or is_watched(self._trainer.optimizers[0])
        )

    def _refuse(self, why: str) -> None:
        self._refused = True
        rank_zero_warn(
            f"capture: a step of {type(self._module).__name__} cannot be replayed: {why}. "
            "Steps are taken one by one"
        )

    def _parameters(self) -> Iterator[Tensor]:
        for group in self._trainer.optimizers[0].param_groups:
            yield from group["params"]

    def _optimizer_state(self) -> Iterator[Tensor]:
        for settings in self._trainer.optimizers[0].state.values():
            yield from (value for value in settings.values() if isinstance(value, Tensor))

    def _is_there(self, value: Any) -> bool:
        """Whether it is a tensor that replays can read and write."""
        return (
            isinstance(value, Tensor)
            and value.device == self._device
            and value.layout is torch.strided
        )

    def _shapes_of(self, batch: Any) -> tuple[Any, ...] | None:
        """Of all its tensors; None where a batch is something else, or elsewhere."""
        if not isinstance(batch, tuple | list):
            return None
        if not all(part is None or self._is_there(part) for part in batch):
            return None
        return tuple(None if part is None else (part.shape, part.dtype) for part in batch)


def _parts(batch: Any) -> list[Tensor]:
    # Without the gradients that a step may have asked for.
    return [part.detach() for part in batch if part is not None]


def _cloned(batch: Any) -> Any:
    parts = [_clone(part) for part in batch]
    return type(batch)(*parts) if hasattr(batch, "_fields") else type(batch)(parts)


def _clone(value: Any) -> Any:
    """Another tensor, which asks for gradients of its own, as the first did."""
    if not isinstance(value, Tensor):
        return value
    return value.detach().clone().requires_grad_(value.requires_grad)
