"""TightLoop: several optimizer steps for each iteration of the Trainer."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, final

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities import rank_zero_warn

from linreg_lightning.tight_loop.fusion_rules import allows_groups, group_size
from linreg_lightning.tight_loop.lightning_internals import EpochState, missing_name
from linreg_lightning.tight_loop.step_group import StepGroup
from linreg_lightning.validation import check_argument

GROUP_SECONDS = 0.05
"""How long a group should take: many times what an iteration of the Trainer costs besides."""


@final
class TightLoop(Callback):
    """Takes most optimizer steps in a plain loop, and leaves everything as the Trainer would.

        Trainer(callbacks=[TightLoop()]).fit(model, data)

    An iteration of the Trainer costs about 0.6 ms, many times a small model's step. With this
    callback one iteration takes a group of steps, up to the next validation, checkpoint, end of the
    epoch or of `max_steps`. Weights, logged values and their steps, learning rates, checkpoints and
    `global_step` are, bit for bit, those of a run without it, with any LightningModule.

    Where something has to see each step, the Trainer takes them all: callbacks and modules with
    hooks for batches or gradients that are not marked `per_group` or `per_step`; several processes
    by another strategy than ddp; accumulated gradients; several optimizers; 16-mixed precision; a
    profiler; a loader of unknown length. It also does so, with a warning, under a version of
    Lightning without one of the private names that this callback needs.

    A few things happen once a group instead of at each step. A step that reads
    `trainer.callback_metrics` finds the values from before its group. An optimizer hook or another
    `training_step` that a step sets takes effect with the next group. The progress bar and
    `max_time` are looked at after each group, at most every 0.05 s. TensorBoard's logger writes at
    most every 0.25 s and before each validation, and saves to disk at most every second and at the
    end.

    Args:
        steps: at most how many steps a group has; None sizes groups to last 0.05 s:
            hundreds of steps of microseconds; a step of 25 ms or more runs alone.

    Raises:
        InputError: steps below 1.
    """

    def __init__(self, steps: int | None = None) -> None:
        expected = "a whole number above 0, or null to choose it"
        check_argument("steps", steps, steps is None or steps >= 1, expected)
        self.steps = steps
        self._group: StepGroup | None = None
        self._measured_size = 1  # how many steps take GROUP_SECONDS, by the group before

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Undo what a fit has left that failed, or that this one runs within."""
        if stage == "fit":
            self._end(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over the Trainer's iterations, if this version of Lightning allows it."""
        if name := missing_name(trainer):
            rank_zero_warn(
                f"TightLoop: this version of Lightning has no {name}, so the Trainer takes all "
                "steps itself; the result is the same, but small models train more slowly"
            )
            return
        self._end(trainer)  # another TightLoop of the Trainer may have taken over
        state = EpochState(trainer)
        vars(state.loop)["advance"] = partial(self._advance, trainer, state, state.loop.advance)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what the loggers have, because a validation may take long."""
        if self._group is not None:
            self._group.loggers.write()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._end(trainer)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        self._end(trainer)

    def _end(self, trainer: Any) -> None:
        """Give the Trainer and its loggers their own methods back."""
        vars(trainer.fit_loop.epoch_loop).pop("advance", None)
        group, self._group = self._group, None
        if group is not None:
            group.loggers.restore()

    def _advance(
        self, trainer: Trainer, state: EpochState, advance: Callable[[Any], None], fetcher: Any
    ) -> None:
        start = time.perf_counter()
        size = group_size(trainer, state, self.steps or self._measured_size)
        if size > 1 and not allows_groups(trainer, state, fetcher):
            size = 1
        if isinstance(trainer.strategy, DDPStrategy):
            size = _smallest(size, trainer.strategy.root_device)
        if size > 1:
            self._group = self._group or StepGroup(trainer, state)
            self._group.take(fetcher, size)
        else:
            advance(fetcher)
        if self._group is not None:
            self._group.loggers.write_if_due()
        seconds = (time.perf_counter() - start) / size
        self._measured_size = max(1, int(GROUP_SECONDS / seconds))


def _smallest(size: int, device: torch.device) -> int:
    """Return the smallest size of all processes, which must take the same groups."""
    tensor = torch.tensor(size, device=device)
    torch.distributed.all_reduce(tensor, torch.distributed.ReduceOp.MIN)
    return int(tensor)
