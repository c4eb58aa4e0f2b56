"""How often a run logs its training loss."""

from __future__ import annotations

from collections.abc import Sized
from typing import final

from lightning.pytorch import Callback, LightningModule, Trainer


@final
class LogInterval(Callback):
    """Logs at least once an epoch, and never more often than every `steps` steps in a longer one.

    Lightning's own 50 leaves a run of one batch an epoch without a curve, and warns of it.

    Args:
        steps: the interval in epochs of that many batches or more.
    """

    def __init__(self, steps: int = 50) -> None:
        self.steps = steps

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Set the Trainer's interval to what the epoch's length allows."""
        data = getattr(trainer, "datamodule", None)
        if stage == "fit" and data is not None:
            loader = data.train_dataloader()
            if isinstance(loader, Sized):
                interval = max(1, min(self.steps, len(loader)))
                # A plain attribute that the Trainer's class does not declare.
                trainer.log_every_n_steps = interval  # type: ignore[attr-defined]
