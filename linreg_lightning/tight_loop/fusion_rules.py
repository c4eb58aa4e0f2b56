"""When the Trainer itself is needed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.callbacks import (
    LearningRateMonitor,
    ModelCheckpoint,
    ProgressBar,
    RichProgressBar,
    Timer,
    TQDMProgressBar,
)
from lightning.pytorch.loops.fetchers import _PrefetchDataFetcher
from lightning.pytorch.plugins.precision import (
    DoublePrecision,
    HalfPrecision,
    MixedPrecision,
    Precision,
)
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch.optim import Optimizer

BATCH_HOOKS = (
    "on_train_batch_start",
    "on_train_batch_end",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
)
"""Of callbacks and modules."""

OVERRIDES = (
    "backward",
    "optimizer_step",
    "optimizer_zero_grad",
    "configure_gradient_clipping",
    "clip_gradients",
    "log",
)
"""Of modules: how a step is taken, and what it says."""

IDLE = {
    hook
    for callback in (
        LearningRateMonitor,  # acts when the Trainer logs, and so does the loop
        ModelCheckpoint,  # `group_size` knows when it saves
        ProgressBar,  # is looked at by people
        RichProgressBar,
        TQDMProgressBar,
        Timer,  # by a clock, which a group is too short to matter to
    )
    for name in BATCH_HOOKS
    if (hook := getattr(callback, name)) is not getattr(Callback, name)
}
"""Hooks of Lightning that need not see every step."""

PRECISIONS = (Precision, DoublePrecision, HalfPrecision, MixedPrecision)


def group_size(trainer: Any, most: int) -> int:
    """How many steps may be taken before something else happens, the Trainer's own included.

    Args:
        trainer: where it stands; much of it is not declared by its class.
        most: how many would be welcome.
    """
    loop = trainer.fit_loop.epoch_loop
    batches: int = loop.batch_progress.current.ready
    total: int = loop.batch_progress.total.ready
    if math.isinf(trainer.num_training_batches):
        return 1  # nobody knows which batch is the last
    size = min(most, int(trainer.num_training_batches) - batches)
    if not trainer.lightning_module.automatic_optimization and not 0 < total == loop.global_step:
        return 1  # batches do not take one step each, so their steps cannot be counted ahead
    if loop.max_steps != -1:
        size = min(size, loop.max_steps - loop.global_step)
    if trainer.enable_validation and isinstance(trainer.val_check_batch, int):
        across = trainer.check_val_every_n_epoch is None
        size = min(
            size, trainer.val_check_batch - (total if across else batches) % trainer.val_check_batch
        )
    for checkpoint in trainer.checkpoint_callbacks:
        interval = getattr(checkpoint, "_every_n_train_steps", 0)
        if interval:
            size = min(size, interval - loop.global_step % interval)
    bar = trainer.progress_bar_callback
    rate = getattr(bar, "refresh_rate", 1)
    if rate > 1 and (batches + size) // rate > batches // rate:
        size -= (batches + size) % rate
    return max(size, 1)


def takes_steps_alone(trainer: Any, fetcher: Any) -> bool:
    """Whether nothing looks at single steps, and each is just: loss, gradient, update."""
    module, strategy = trainer.lightning_module, trainer.strategy
    loop, precision = trainer.fit_loop, trainer.precision_plugin
    return (
        not loop.epoch_loop.restarting
        and not loop._skip_backward
        and not trainer.should_stop
        and not trainer.fast_dev_run
        and trainer.accumulate_grad_batches == 1
        and len(trainer.optimizers) == 1
        and isinstance(fetcher, _PrefetchDataFetcher)
        and fetcher.length is not None
        and type(strategy) is SingleDeviceStrategy
        and strategy.model is module
        and type(precision) in PRECISIONS
        and getattr(precision, "scaler", None) is None
        and isinstance(trainer.profiler, PassThroughProfiler)
        and not _differs(trainer.optimizers[0], Optimizer, "zero_grad", set())
        # What it monitors is not known before the Trainer itself looks at what was logged.
        and not any(
            each.reduce_on_plateau and each.interval == "step"
            for each in trainer.lr_scheduler_configs
        )
        and not any(_differs(module, LightningModule, name, set()) for name in OVERRIDES)
        and not any(_differs(module, LightningModule, name, IDLE) for name in BATCH_HOOKS)
        and not any(
            _differs(callback, Callback, name, IDLE)
            for callback in trainer.callbacks
            for name in BATCH_HOOKS
        )
    )


def _differs(owner: object, base: type, name: str, known: set[Callable[..., Any]]) -> bool:
    """Whether the owner has a hook of its own that only the Trainer can call as it must be."""
    hook = getattr(type(owner), name, None)
    if name in vars(owner):
        return True
    mark = getattr(hook, "tight_loop", "")
    misses = mark == "misses" and name.startswith("on_train_batch")
    calls = mark == "calls" and base is Callback
    return not (hook is getattr(base, name) or hook in known or misses or calls)
