"""A step that is recorded on a GPU, and replayed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from linreg_lightning.loop.cuda_graph import CudaGraph
from linreg_lightning.loop.one_step import called, is_watched
from linreg_lightning.loop.step_log import Logged, StepLog

WARM_UP = 3
"""Steps that are taken before one is recorded, on the stream that it will be recorded on."""
WORTH = 30
"""Steps left in an epoch for which a recording, which takes as long as a few, is worth its time."""

Take = Callable[[Any, int], dict[str, Any]]


@final
class CapturedStep:
    """Takes steps by replaying a recorded one, with other rows in its memory.

    Python does not run in a replay. So the step of a module whose attributes, or metrics, change
    with it is not recorded, nor one that waits for the GPU, logs numbers instead of tensors, or is
    watched; nor batches of other shapes. A recording is of an epoch, and of its learning rates.

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
        self._warm = 0
        self._recorded: Any = None
        self._epoch_and_rates: Any = None
        self._shapes: list[Any] = []

    def begin(self, take: Take) -> Take:
        """What takes the steps of a group, given what takes one by Python."""
        if self._refused or self._needs_python():
            return take
        groups = self._trainer.optimizers[0].param_groups
        rates = [{k: v for k, v in group.items() if k != "params"} for group in groups]
        epoch_and_rates = self._trainer.current_epoch, rates
        if epoch_and_rates != self._epoch_and_rates:
            self._recorded, self._epoch_and_rates = None, epoch_and_rates
        begun = self._trainer.fit_loop.epoch_loop.batch_progress.current.ready
        self._take, self._worth = take, self._trainer.num_training_batches - begun >= WORTH
        self._looked_at = bool(called(self._trainer, "on_train_batch_end"))
        return self._step

    def end(self) -> None:
        """Let the GPU's memory go."""
        if self._graph is not None:
            self._graph.close()
        self._graph = self._recorded = None

    def _step(self, batch: Any, index: int) -> dict[str, Any]:
        shapes = self._shapes_of(batch)
        if self._refused or shapes is None or not (self._worth or self._recorded):
            return self._take(batch, index)
        if self._recorded is None:
            if self._warm < WARM_UP:
                return self._warm_up(batch, index)
            if not self._record(batch, index):
                return self._take(batch, index)
            self._shapes = shapes
        return self._replay(batch) if shapes == self._shapes else self._take(batch, index)

    def _warm_up(self, batch: Any, index: int) -> dict[str, Any]:
        self._graph = self._graph or CudaGraph()
        before = _attributes(self._module)
        outputs = self._graph.warm_up(lambda: self._take(batch, index))
        self._warm += 1
        if self._warm == WARM_UP and not _same(before, _attributes(self._module)):
            self._refuse("it changes attributes of the module, or metrics")
        return outputs

    def _record(self, batch: Any, index: int) -> bool:
        assert self._graph is not None
        counts = [counter.completed for counter in self._counters]
        inputs = _cloned(batch)
        logged: list[tuple[str, Logged]] = []
        self._log.recorded = logged
        try:
            outputs = self._graph.record(lambda: self._take(inputs, index))
        except RuntimeError as error:
            # What failed at first stands behind what the end of a recording has to say of it.
            self._refuse(str(error.__context__ or error).partition("\n")[0])
        finally:
            self._log.recorded = None
            for counter, count in zip(self._counters, counts, strict=True):
                counter.completed = count
        if not self._refused and not all(isinstance(call.value, Tensor) for _, call in logged):
            self._refuse("it logs a number or a metric; log a tensor")
        if self._refused:
            return False
        self._recorded = _parts(inputs), outputs, logged
        return True

    def _replay(self, batch: Any) -> dict[str, Any]:
        inputs, outputs, logged = self._recorded
        for own, given in zip(inputs, _parts(batch), strict=True):
            own.copy_(given)
        assert self._graph is not None
        self._graph.replay()
        for counter in self._counters:
            counter.completed += 1
        for name, call in logged:
            self._log.keep(name, *call)
        # The next replay overwrites what somebody may hold on to.
        return {k: _clone(v) for k, v in outputs.items()} if self._looked_at else outputs

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

    def _shapes_of(self, batch: Any) -> list[Any] | None:
        """Of all its tensors; None where a batch is something else, or elsewhere."""
        if not isinstance(batch, tuple | list):
            return None
        shapes: list[Any] = []
        for part in batch:
            if part is None:
                shapes.append(None)
            elif isinstance(part, Tensor) and part.device == self._device:
                shapes += part.shape, part.dtype
            else:
                return None
        return shapes


def _parts(batch: Any) -> list[Tensor]:
    return [part for part in batch if part is not None]


def _cloned(batch: Any) -> Any:
    parts = [_clone(part) for part in batch]
    return type(batch)(*parts) if hasattr(batch, "_fields") else type(batch)(parts)


def _clone(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def _attributes(module: Any) -> list[Any]:
    """What a module, its parts and its metrics are made of; not what tensors hold."""
    found: list[Any] = []
    for part in module.modules():
        found += vars(part).values()
        found += part.buffers(recurse=False)
        # Memory that is exchanged, as by `weight.data = ...`, is another to a recording.
        found += [parameter.data_ptr() for parameter in part.parameters(recurse=False)]
    return found


def _same(some: list[Any], others: list[Any]) -> bool:
    plain = int | float | str
    return len(some) == len(others) and all(
        one is other or (isinstance(one, plain) and one == other)
        for one, other in zip(some, others, strict=True)
    )
