"""Every private name of Lightning and torch that this package uses, each in a thin function.

Lightning may rename a private name in any version. `missing_name` looks all of them up in the
objects of one Trainer before the first step, so that a fit without one still goes its normal way.
"""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from operator import attrgetter
from types import MethodType
from typing import Any, final

import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor
from torch.optim import Optimizer

TRAINER_NAMES = (
    "_logger_connector._current_fx",
    "_logger_connector._first_loop_iter",
    "_logger_connector.on_batch_end",
    "_logger_connector.update_train_step_metrics",
    "fit_loop._combined_loader._iterator._idx",
    "fit_loop._combined_loader._iterator.iterators",
    "fit_loop._data_fetcher.combined_loader",
    "fit_loop._data_fetcher.done",
    "fit_loop._data_fetcher.fetched",
    "fit_loop._data_fetcher.length",
    "fit_loop.epoch_loop._batches_that_stepped",
    "fit_loop.epoch_loop._results.batch",
    "fit_loop.epoch_loop._results.batch_size",
    "fit_loop.epoch_loop._results.update_metrics",
    "fit_loop.epoch_loop._results.valid_items",
    "fit_loop.epoch_loop._warning_cache.warn",
    "fit_loop.epoch_loop.advance",
    "fit_loop.epoch_loop.automatic_optimization.optim_progress.optimizer.step",
    "fit_loop.epoch_loop.automatic_optimization.optim_progress.optimizer.zero_grad",
    "fit_loop.epoch_loop.automatic_optimization.output_result_cls",
    "fit_loop.epoch_loop.batch_progress.current.ready",
    "fit_loop.epoch_loop.batch_progress.increment_completed",
    "fit_loop.epoch_loop.batch_progress.increment_processed",
    "fit_loop.epoch_loop.batch_progress.increment_ready",
    "fit_loop.epoch_loop.batch_progress.increment_started",
    "fit_loop.epoch_loop.batch_progress.is_last_batch",
    "fit_loop.epoch_loop.batch_progress.total.ready",
    "fit_loop.epoch_loop.manual_optimization.on_run_end",
    "fit_loop.epoch_loop.manual_optimization.on_run_start",
    "fit_loop.epoch_loop.manual_optimization.output_result_cls",
    "fit_loop.epoch_loop.restarting",
    "fit_loop.epoch_loop.update_lr_schedulers",
    "fit_loop.epoch_loop.val_loop.restarting",
    "lightning_module._current_fx_name",
    "lightning_module._on_before_batch_transfer",
)
"""Dotted names that start from the Trainer."""

CHECKPOINT_NAMES = ("_every_n_train_steps",)
"""Names of a ModelCheckpoint."""


def missing_name(trainer: Any) -> str | None:
    """The first name that the objects of a Trainer lack, once its fit has started; or None."""
    checkpoints = [c for c in trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint)]
    names = [(trainer, name) for name in TRAINER_NAMES]
    names += [(checkpoint, name) for checkpoint in checkpoints for name in CHECKPOINT_NAMES]
    for owner, name in names:
        try:
            attrgetter(name)(owner)
        except AttributeError:
            return name
    return None


def steps_between_checkpoints(checkpoint: Any) -> int:
    """How many steps a ModelCheckpoint waits before it saves; 0 if it does not count steps."""
    return checkpoint._every_n_train_steps if isinstance(checkpoint, ModelCheckpoint) else 0


def averages_models(strategy: Any) -> bool:
    """Whether a DDPStrategy lets processes take steps of their own, and averages the weights."""
    return getattr(strategy, "_model_averager", None) is not None


def batch_source(fetcher: Any) -> Callable[[], Any]:
    """Return what takes the next batch of the Trainer's iterator over batches.

    A single loader is asked directly: the Trainer's way, which joins any number of loaders, costs
    as much as zeroing the gradients.
    """
    combined = fetcher.combined_loader
    if combined.iterables is not combined.flattened[0]:
        return lambda: next(fetcher)[0]
    position = combined._iterator
    batches = position.iterators[0]

    def take() -> Any:
        batch = next(batches)
        position._idx += 1
        fetcher.fetched += 1
        fetcher.done = fetcher.fetched >= fetcher.length
        return batch

    return take


@final
class EpochState:
    """The counters and the log of the Trainer's epoch, which a group of steps keeps up to date."""

    def __init__(self, trainer: Any) -> None:
        loop, self._connector = trainer.fit_loop.epoch_loop, trainer._logger_connector
        self._module, self._results = trainer.lightning_module, loop._results
        self.loop, self.batches = loop, loop.batch_progress
        self.automatic, self.manual = loop.automatic_optimization, loop.manual_optimization
        # Calls the module's and the data module's `on_before_batch_transfer`.
        self.prepare_batch = partial(self._module._on_before_batch_transfer, dataloader_idx=0)
        # Updates `trainer.callback_metrics` and the like from what has been logged.
        self.update_metrics: Callable[[], None] = self._connector.on_batch_end
        # Writes what has been logged to the loggers, if this is a step to write at.
        self.write_metrics: Callable[[], None] = self._connector.update_train_step_metrics

    def begin_batch(self, batch: Any) -> int:
        """Count a batch, and let averages be weighted by its size; returns its index."""
        index: int = self.batches.current.ready
        self.batches.increment_ready()
        self._connector._first_loop_iter = self._connector._first_loop_iter is None
        self._results.batch, self._results.batch_size = batch, None
        return index

    def logged_steps(self) -> int:
        """The number under which loggers write the current step."""
        return int(self.loop._batches_that_stepped)

    def count_logged_step(self) -> None:
        """Count the step under which loggers write."""
        self.loop._batches_that_stepped += 1

    def step_lr_schedulers(self, ends_epoch: bool) -> None:
        """Advance the learning rates that change with each step, and with each epoch at its end."""
        self.loop.update_lr_schedulers("step", update_plateau_schedulers=False)
        if ends_epoch:
            self.loop.update_lr_schedulers("epoch", update_plateau_schedulers=False)

    def logged_names(self) -> set[str]:
        """The names, within training_step, of all values that the Trainer would write now."""
        return {key.removeprefix("training_step.") for key, _ in self._results.valid_items()}

    def log_again(self, name: str, value: Tensor) -> None:
        """Log a number as `module.log` with the same flags as before would, but at less cost."""
        self._results.update_metrics(f"training_step.{name}", value, batch_size=1)
        self._connector._current_fx = "training_step"

    def call(self, name: str, hook: Callable[..., Any], *args: Any) -> None:
        """Call a hook, and let `module.log` know its name."""
        state = vars(self._module)  # setattr of an nn.Module takes ten times as long
        outer, state["_current_fx_name"] = state["_current_fx_name"], name
        try:
            hook(*args)
        finally:
            state["_current_fx_name"] = outer

    def hook_name(self) -> str | None:
        """The name of the hook that is being called."""
        name: str | None = self._module._current_fx_name
        return name

    def warn_of_missing_batch(self) -> None:
        """Warn, once, of a loader that yields None."""
        message = "train_dataloader yielded None. If this was on purpose, ignore this warning..."
        self.loop._warning_cache.warn(message)


def unwrapped_step(optimizer: Optimizer) -> Callable[..., Any]:
    """`optimizer.step` without torch's wrapper for hooks and profilers, where nothing uses it.

    The wrapper takes a quarter of a small step. Without torch's private names it stays.
    """
    wrapper: Any = type(optimizer).step
    home: Any = import_module(Optimizer.__module__)
    # Another wrapper may copy the mark `hooked` from torch's, but not its globals.
    wrapped = getattr(wrapper, "hooked", False) and wrapper.__globals__ is vars(home)
    if not wrapped or "step" in vars(optimizer):
        return optimizer.step
    try:
        hooks = (
            optimizer._optimizer_step_pre_hooks,
            optimizer._optimizer_step_post_hooks,
            home._global_optimizer_pre_hooks,
            home._global_optimizer_post_hooks,
        )
        is_used = any(hooks) or torch.autograd.profiler._is_profiler_enabled
    except AttributeError:
        is_used = True
    return optimizer.step if is_used else MethodType(wrapper.__wrapped__, optimizer)
