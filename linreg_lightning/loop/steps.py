"""Steps as the Trainer takes them, most of them without what surrounds them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, final

from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loops.optimization.automatic import ClosureResult
from lightning.pytorch.loops.optimization.manual import ManualResult
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.trainer.call import _call_callback_hooks, _call_lightning_module_hook
from lightning.pytorch.utilities.model_helpers import is_overridden
from lightning.pytorch.utilities.signature_utils import is_param_in_hook_signature
from torch import Tensor

from linreg_lightning.loop.step_log import StepLog

TRANSFERS = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")


@final
class Steps:
    """The next steps of an epoch, which leave everything as if the Trainer had taken them.

    Only the last of them is surrounded by all that the Trainer does at a step.

    Args:
        trainer: where it stands; much of it is not declared by its class.
        fetcher: the Trainer's source of batches.
        log: what stands in for `module.log`.
    """

    def __init__(self, trainer: Any, fetcher: Any, log: StepLog) -> None:
        self._trainer, self._fetcher, self._log = trainer, fetcher, log
        module, loop = trainer.lightning_module, trainer.fit_loop.epoch_loop
        self._module, self._loop = module, loop
        self._take = _automatic(trainer) if module.automatic_optimization else _manual(trainer)
        self._place = _placement(trainer)
        self._scheduled = any(each.interval == "step" for each in trainer.lr_scheduler_configs)
        self._interval = trainer.log_every_n_steps if trainer.loggers else 0
        self._starts = _called(trainer, "on_train_batch_start")
        self._ends = _called(trainer, "on_train_batch_end")
        self._at_logs = [c for c in trainer.callbacks if isinstance(c, LearningRateMonitor)]
        self._current, self._total = loop.batch_progress.current, loop.batch_progress.total
        # The Trainer's way to a batch, by all loaders that there might be, costs as much as zeroing
        # the gradients.
        self._single = _single_loader(fetcher)
        self._batches = self._single or _batches(fetcher)
        self._counted = self._current.ready

    def take(self, count: int) -> None:
        """Take so many steps; not beyond the end of the epoch."""
        outer, self._module._current_fx_name = self._module._current_fx_name, "training_step"
        try:
            for _ in range(count - 1):
                self._bare()
        finally:
            self._module._current_fx_name = outer
            self._count(self._current.ready)
            self._log.flush()
        self._surrounded()

    def _bare(self) -> None:
        batch, index, loop = self._place(next(self._batches)), self._current.ready, self._loop
        self._log.batch = batch
        for progress in (self._current, self._total):
            progress.ready += 1
            progress.started += 1
        writes = self._interval and (loop._batches_that_stepped + 1) % self._interval == 0
        if writes:
            for callback in self._at_logs:
                callback.on_train_batch_start(self._trainer)
        for hook in self._starts:
            hook(self._trainer, self._module, batch, index)
        outputs = self._take(batch, index)
        for progress in (self._current, self._total):
            progress.processed += 1
        if self._scheduled:
            loop.update_lr_schedulers("step", update_plateau_schedulers=False)
        for hook in self._ends:
            hook(self._trainer, self._module, outputs, batch, index)
        for progress in (self._current, self._total):
            progress.completed += 1
        if writes:
            self._log.write()
        if self._scheduled:
            loop.update_lr_schedulers("step", update_plateau_schedulers=True)
        loop._batches_that_stepped += 1

    def _surrounded(self) -> None:
        trainer, module, loop = self._trainer, self._module, self._loop
        connector, progress = trainer._logger_connector, loop.batch_progress
        batch, index = self._place(next(self._batches)), self._current.ready
        self._count(index + 1)
        progress.is_last_batch = self._fetcher.done
        progress.increment_ready()
        connector.on_batch_start(batch)
        self._log.batch = batch
        _call_callback_hooks(trainer, "on_train_batch_start", batch, index)
        _call_lightning_module_hook(trainer, "on_train_batch_start", batch, index)
        progress.increment_started()
        outer, module._current_fx_name = module._current_fx_name, "training_step"
        outputs = self._take(batch, index)
        self._log.pass_on()
        module._current_fx_name = outer
        progress.increment_processed()
        loop.update_lr_schedulers("step", update_plateau_schedulers=False)
        if loop._num_ready_batches_reached():
            loop.update_lr_schedulers("epoch", update_plateau_schedulers=False)
        _call_callback_hooks(trainer, "on_train_batch_end", outputs, batch, index)
        _call_lightning_module_hook(trainer, "on_train_batch_end", outputs, batch, index)
        connector.on_batch_end()
        progress.increment_completed()
        connector.update_train_step_metrics()

    def _count(self, ready: int) -> None:
        """Count what was taken from the single loader behind the fetcher's back."""
        if self._single is not None:
            fetcher, taken = self._fetcher, ready - self._counted
            fetcher.combined_loader._iterator._idx += taken
            fetcher.fetched += taken
            fetcher.done = fetcher.fetched >= fetcher.length
            self._counted = ready


def _automatic(trainer: Any) -> Callable[[Any, int], dict[str, Any]]:
    module = trainer.lightning_module
    counts = trainer.fit_loop.epoch_loop.automatic_optimization.optim_progress.optimizer
    zeroed, stepped = counts.zero_grad, counts.step
    (optimizer,) = trainer.optimizers
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    training_step = _training_step(trainer)
    clip = trainer.gradient_clip_val
    before_zero, before_backward, after_backward, before_step = (
        _called(trainer, f"on_{name}")
        for name in (
            "before_zero_grad",
            "before_backward",
            "after_backward",
            "before_optimizer_step",
        )
    )

    def take(batch: Any, index: int) -> dict[str, Any]:
        output: Any = None

        def closure() -> Tensor | None:
            nonlocal output
            output = training_step(batch, index)
            plain = isinstance(output, Tensor)
            if not plain:
                output = ClosureResult.from_training_step_output(output)
            loss: Tensor | None = output if plain else output.closure_loss
            for hook in before_zero:
                hook(trainer, module, optimizer)
            for parameter in parameters:
                parameter.grad = None
            for progress in (zeroed.current, zeroed.total):
                progress.ready += 1
                progress.started += 1
                progress.completed += 1
            if loss is not None:
                for hook in before_backward:
                    hook(trainer, module, loss)
                loss.backward()
                for hook in after_backward:
                    hook(trainer, module)
            for hook in before_step:
                hook(trainer, module, optimizer)
            if clip is not None:
                module.clip_gradients(optimizer, clip, trainer.gradient_clip_algorithm)
            return loss

        for progress in (stepped.current, stepped.total):
            progress.ready += 1
        optimizer.step(closure)
        for progress in (stepped.current, stepped.total):
            progress.completed += 1
        if isinstance(output, Tensor):
            return {"loss": output.detach()}
        return {} if output.loss is None else dict(output.asdict())

    return take


def _manual(trainer: Any) -> Callable[[Any, int], dict[str, Any]]:
    training_step = _training_step(trainer)
    manual = trainer.fit_loop.epoch_loop.manual_optimization

    def take(batch: Any, index: int) -> dict[str, Any]:
        manual.on_run_start()
        output = training_step(batch, index)
        manual.on_run_end()
        return ManualResult.from_training_step_output(output).asdict()

    return take


def _called(trainer: Any, name: str) -> list[Callable[..., Any]]:
    """The callbacks' hooks that are marked to be called at each step."""
    hooks: list[Callable[..., Any]] = [getattr(each, name) for each in trainer.callbacks]
    return [hook for hook in hooks if getattr(hook, "tight_loop", "") == "calls"]


def _training_step(trainer: Any) -> Callable[[Any, int], Any]:
    precision: Precision = trainer.precision_plugin
    step: Callable[..., Any] = trainer.lightning_module.training_step
    takes_index = is_param_in_hook_signature(step, "batch_idx", min_args=2)
    if type(precision) is Precision and takes_index:
        return step

    def within(batch: Any, index: int) -> Any:
        with precision.train_step_context():
            return step(batch, index) if takes_index else step(batch)

    return within


def _placement(trainer: Any) -> Callable[[Any], Any]:
    """What converts a batch and moves it to the device, where it is not there already."""
    module, precision = trainer.lightning_module, trainer.precision_plugin
    device = trainer.strategy.root_device
    owners = [owner for owner in (module, trainer.datamodule) if owner is not None]
    overridden = any(is_overridden(hook, owner) for hook in TRANSFERS for owner in owners)
    stays = type(precision) is Precision and not overridden

    def place(batch: Any) -> Any:
        if stays and isinstance(batch, tuple | list):
            for part in batch:
                if part is not None and not (isinstance(part, Tensor) and part.device == device):
                    break
            else:
                return batch
        batch = precision.convert_input(batch)
        batch = module._on_before_batch_transfer(batch, dataloader_idx=0)
        return trainer.strategy.batch_to_device(batch, dataloader_idx=0)

    return place


def _batches(fetcher: Any) -> Iterator[Any]:
    while True:
        yield next(fetcher)[0]


def _single_loader(fetcher: Any) -> Iterator[Any] | None:
    """The iterator of the only loader, if it is the only one."""
    combined = fetcher.combined_loader
    if combined.iterables is not combined.flattened[0] or fetcher.batches:
        return None
    batches: Iterator[Any] = combined._iterator.iterators[0]
    return batches
