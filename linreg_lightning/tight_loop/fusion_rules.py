"""How many steps fit in a group, and whether the Trainer is needed at each of them."""

import math
from typing import Any

from lightning.pytorch import Callback, LightningModule, callbacks
from lightning.pytorch.plugins.precision import (
    DoublePrecision,
    HalfPrecision,
    MixedPrecision,
    Precision,
)
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from lightning.pytorch.utilities.signature_utils import is_param_in_hook_signature
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from linreg_lightning.tight_loop.lightning_internals import (
    EpochState,
    averages_models,
    steps_between_checkpoints,
)

BATCH_HOOKS = (
    "on_train_batch_start",
    "on_train_batch_end",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
)
"""Hooks of callbacks and modules that the Trainer calls at each step."""

STEP_METHODS = (
    "backward",
    "optimizer_step",
    "optimizer_zero_grad",
    "configure_gradient_clipping",
    "clip_gradients",
    "log",
)
"""Methods of a module that make a step something else than loss, gradient, update."""

KNOWN_CALLBACKS = (
    callbacks.LearningRateMonitor,  # acts when the loggers write, and a group calls it then
    callbacks.ModelCheckpoint,  # saves at the end of a group, as `group_size` makes sure
    callbacks.ProgressBar,  # people read it, more slowly than groups end
    callbacks.RichProgressBar,
    callbacks.TQDMProgressBar,
    callbacks.Timer,  # stops a run by the clock, and a group takes 0.05 s
)
"""Lightning's own callbacks, whose hooks need not see every step."""

PRECISIONS = (Precision, DoublePrecision, HalfPrecision, MixedPrecision)


def group_size(trainer: Any, state: EpochState, limit: int) -> int:
    """Return how many steps, up to `limit`, reach the next validation, checkpoint or end."""
    batches: int = state.batches.current.ready
    total: int = state.batches.total.ready
    if math.isinf(trainer.num_training_batches):
        return 1  # which batch is the last one shows only when it comes
    size = min(limit, int(trainer.num_training_batches) - batches)
    if not trainer.lightning_module.automatic_optimization and not 0 < total == trainer.global_step:
        return 1  # not one optimizer step a batch: nobody can say where the next ones end
    if trainer.max_steps != -1:
        size = min(size, trainer.max_steps - trainer.global_step)
    if trainer.enable_validation and isinstance(trainer.val_check_batch, int):
        across_epochs = trainer.check_val_every_n_epoch is None
        done = (total if across_epochs else batches) % trainer.val_check_batch
        size = min(size, trainer.val_check_batch - done)
    for checkpoint in trainer.checkpoint_callbacks:
        if interval := steps_between_checkpoints(checkpoint):
            size = min(size, interval - trainer.global_step % interval)
    refresh_rate = getattr(trainer.progress_bar_callback, "refresh_rate", 1)
    if refresh_rate > 1 and (batches + size) // refresh_rate > batches // refresh_rate:
        size -= (batches + size) % refresh_rate
    return max(size, 1)


def allows_groups(trainer: Any, state: EpochState, fetcher: Any) -> bool:
    """Whether each step is loss, gradient and update alone, and nothing has to see each of them."""
    module, strategy = trainer.lightning_module, trainer.strategy
    hook_owners = (module, LightningModule), *((each, Callback) for each in trainer.callbacks)
    return (
        not state.loop.restarting
        and not trainer.should_stop
        and not trainer.fast_dev_run
        and trainer.accumulate_grad_batches == 1
        and len(trainer.optimizers) == 1
        and not is_param_in_hook_signature(module.training_step, "dataloader_iter", explicit=True)
        and fetcher.length is not None
        and _is_plain(strategy, module)
        and type(trainer.precision_plugin) in PRECISIONS
        and getattr(trainer.precision_plugin, "scaler", None) is None
        and isinstance(trainer.profiler, PassThroughProfiler)
        and not _is_overridden(trainer.optimizers[0], Optimizer, "zero_grad")
        # Such a schedule reads what the step has logged, which a group logs later.
        and not any(
            each.reduce_on_plateau and each.interval == "step"
            for each in trainer.lr_scheduler_configs
        )
        and not any(_is_overridden(module, LightningModule, name) for name in STEP_METHODS)
        and not any(_sees_each_step(*each, name) for each in hook_owners for name in BATCH_HOOKS)
    )


def _is_plain(strategy: Any, module: LightningModule) -> bool:
    """Whether a strategy adds nothing to a step but, with DDP, the mean of the gradients."""
    if type(strategy) is SingleDeviceStrategy:
        return strategy.model is module
    wrapper = strategy.model
    is_ddp = type(strategy) is DDPStrategy and type(wrapper) is DistributedDataParallel
    return is_ddp and wrapper.module is module and not averages_models(strategy)


def _is_overridden(owner: object, base: type, name: str) -> bool:
    return name in vars(owner) or getattr(type(owner), name, None) is not getattr(base, name)


def _sees_each_step(owner: object, base: type, name: str) -> bool:
    """Whether the owner has a hook of that name that only the Trainer can call at each step."""
    if name in vars(owner):
        return True
    hook = getattr(type(owner), name, None)
    mark = getattr(hook, "tight_loop", "")
    may_miss_steps = mark == "per_group" and name.startswith("on_train_batch")
    is_called_within_groups = mark == "per_step" and base is Callback
    is_known = any(hook is getattr(cls, name) for cls in (base, *KNOWN_CALLBACKS))
    return not (is_known or may_miss_steps or is_called_within_groups)
