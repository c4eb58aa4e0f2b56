"""How often a run logs its training loss."""

from __future__ import annotations

from typing import final

from lightning.pytorch import Callback, LightningModule, Trainer

from linreg_lightning.errors import InputError


@final
class LogInterval(Callback):
    """Logs at least once an epoch, and never more often than every `steps` steps in a longer one.

    Lightning's own 50 leaves a run of one batch an epoch without a curve, and warns of it.

    Args:
        steps: the interval in epochs of that many batches or more.

    Raises:
        InputError: that number is below 1.
    """

    def __init__(self, steps: int = 50) -> None:
        if steps < 1:
            raise InputError(f"steps: {steps} was given; type a whole number above 0")
        self.steps = steps

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set the Trainer's interval to what the epoch's length allows."""
        interval = max(1, min(self.steps, trainer.num_training_batches))
        # A plain attribute that the Trainer's class does not declare.
        trainer.log_every_n_steps = interval  # type: ignore[attr-defined]
