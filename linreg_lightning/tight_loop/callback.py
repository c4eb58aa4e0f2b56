"""Several optimiser steps for each iteration of the Trainer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, final

from lightning.pytorch import Callback, LightningModule, Trainer

from linreg_lightning.errors import InputError
from linreg_lightning.tight_loop.fusion_rules import group_size, takes_steps_alone
from linreg_lightning.tight_loop.step_runner import Steps

SECONDS = 0.05
"""How long an iteration of the Trainer should last: many times what it costs by itself."""


@final
class TightLoop(Callback):
    """Takes most optimiser steps in a tight loop, and only every so many as the Trainer does.

    An iteration of the Trainer costs 0.6 ms, many times a small model's step, because at each step
    it asks all parts of a run whether there is anything to do. This callback knows when there is:
    a validation, a checkpoint, the last of an epoch or of `max_steps`. Until then it takes steps
    itself. Weights, logged values and their steps, learning rates, checkpoints and `global_step`
    are, bit for bit, those of a run without it. Any LightningModule can use it as it is,

        Trainer(callbacks=[TightLoop()]).fit(model, data)

    or bring it along by its `configure_callbacks`. Where something looks at single steps, the
    Trainer takes them all: callbacks and modules with hooks for batches or gradients that are not
    marked `per_group` or `per_step`; several processes; accumulated gradients; several
    optimisers; 16-mixed precision; a profiler; a loader of unknown length.

    On a GPU a small step waits for Python. With `capture`, one is recorded as a CUDA graph, and
    most others are replays of it, which do the same work without Python: what is no tensor is in
    them as it was when the step was recorded. So `training_step` must do the same whatever
    `batch_idx` and `global_step` are, and all of it on torch's current stream; last bits may differ
    where a library has other kernels for rows that lie elsewhere. A step is recorded anew in each
    epoch, and whenever attributes, parameters or learning rates are others. There is a warning, and
    no replay, where it shows that a step cannot be replayed: it changes attributes of modules or
    metrics, waits for the GPU, draws random numbers elsewhere, logs other things than tensors, or
    has an optimizer that counts by Python, as Adam without `capturable=True`. Not recorded either,
    without a warning: batches that are not tuples or lists of tensors, or of another shape than
    most; learning rates that change with the step; optimisation by hand; steps into which somebody
    looks; the last 100 of an epoch.

    A step that reads `trainer.callback_metrics` finds them as they were before its group; hooks of
    the optimizer that it registers, or another `training_step` that it sets, are heeded behind it.
    A progress bar and `max_time` are looked after at the end of a group of steps, at most every
    0.05 s; TensorBoard's logger is called at most every 0.25 s, or before a validation, and saves
    to disk at most every second, and at the end.

    Args:
        steps: at most how many steps an iteration of the Trainer takes; None measures how long
            they last and chooses: hundreds where that is microseconds, 1 from 25 ms on.
        capture: whether to replay recorded steps where that is possible: on an NVIDIA GPU.

    Raises:
        InputError: steps below 1.
    """

    def __init__(self, steps: int | None = None, capture: bool = False) -> None:
        if steps is not None and steps < 1:
            raise InputError(
                f"steps: {steps} was given; type a whole number above 0, or null to choose it"
            )
        self.steps, self.capture = steps, capture
        self._steps: Steps | None = None
        self._pace = 1  # how many steps would fill an iteration, as far as has been measured

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Come between the Trainer's epoch and its batches."""
        if stage == "fit":
            self._end()  # of a fit that failed, or that this one is within
            loop = trainer.fit_loop.epoch_loop
            loop.__dict__.pop("advance", None)  # a fit that failed was not torn down
            advance = loop.advance
            loop.__dict__["advance"] = lambda fetcher: self._advance(trainer, advance, fetcher)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let nothing wait for what may take long."""
        if self._steps is not None:
            self._steps.loggers.call()

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Have a checkpoint that is saved within a step say how many have been taken."""
        if self._steps is not None and self._steps.progress is not None:
            self._steps.progress.settle()
            checkpoint["loops"] = trainer._checkpoint_connector._get_loops_state_dict()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave nothing to be done."""
        self._end()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Leave nothing to be done, as far as the fit got."""
        self._end()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave the Trainer as it was."""
        trainer.fit_loop.epoch_loop.__dict__.pop("advance", None)

    def _end(self) -> None:
        if self._steps is not None:
            self._steps.end()
        self._steps = None

    def _advance(self, trainer: Trainer, advance: Callable[[Any], None], fetcher: Any) -> None:
        start = time.perf_counter()
        steps = group_size(trainer, self.steps or self._pace)
        if steps > 1 and takes_steps_alone(trainer, fetcher):
            self._steps = self._steps or Steps(trainer, self.capture)
            self._steps.take(fetcher, steps)
        else:
            steps = 1
            advance(fetcher)
        if self._steps is not None:
            self._steps.loggers.look()
        seconds = (time.perf_counter() - start) / steps
        self._pace = max(1, int(SECONDS / seconds))
