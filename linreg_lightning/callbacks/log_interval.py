"""The number of steps between logged training losses."""

from typing import Any, final

from lightning.pytorch import Callback, LightningModule

from linreg_lightning.validation import check_argument


@final
class LogInterval(Callback):
    """Sets the Trainer to log every `steps` steps, or once an epoch where epochs are shorter.

    Lightning's default of 50 logs no training loss, and warns, in epochs of fewer batches.

    Raises:
        InputError: steps is below 1.
    """

    def __init__(self, steps: int = 50) -> None:
        check_argument("steps", steps, steps >= 1, "a whole number above 0")
        self.steps = steps

    def on_train_start(self, trainer: Any, pl_module: LightningModule) -> None:
        """Set the interval, now that the length of an epoch is known."""
        trainer.log_every_n_steps = max(1, min(self.steps, trainer.num_training_batches))
