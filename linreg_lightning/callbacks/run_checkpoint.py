"""The checkpoint of the newest epoch."""

import math
import time
from typing import Any, final

from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import ModelCheckpoint


@final
class RunCheckpoint(ModelCheckpoint):
    """Saves the newest epoch: the first, the last, and between them one every `seconds` at most.

    Lightning's default saves each epoch, which takes longer than a short epoch. A killed run loses
    up to `seconds` and an epoch. Runs that do not validate each epoch save after validations.

    Args:
        seconds: the least time between two checkpoints; 0 saves each epoch.
    """

    def __init__(self, seconds: float = 1.0) -> None:
        super().__init__()
        self.seconds = seconds
        self._last_save = -math.inf

    def on_train_start(self, trainer: Any, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._last_save = -math.inf

    def on_train_epoch_end(self, trainer: Any, pl_module: LightningModule) -> None:
        now = time.monotonic()
        is_last = (
            trainer.should_stop
            or trainer.current_epoch + 1 == trainer.max_epochs
            or 0 < trainer.max_steps <= trainer.global_step
        )
        is_due = is_last or now - self._last_save >= self.seconds
        # All processes must save together, and their clocks differ.
        if trainer.strategy.broadcast(is_due):
            super().on_train_epoch_end(trainer, pl_module)
            self._last_save = now
