"""The newest validation of a fit, for the report at its end."""

from typing import Any, final

from lightning.pytorch import Callback, LightningModule


@final
class ValidationRecord(Callback):
    """Keeps the metrics named `val_...` of the newest validation, and the step at its time.

    The step is None before the first validation. Lightning's sanity check before the fit does not
    count as one.
    """

    def __init__(self) -> None:
        self.step: int | None = None
        self.metrics: dict[str, Any] = {}

    def on_validation_end(self, trainer: Any, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self.step = trainer.global_step
            metrics = trainer.callback_metrics.items()
            self.metrics = {name: value for name, value in metrics if name.startswith("val_")}
