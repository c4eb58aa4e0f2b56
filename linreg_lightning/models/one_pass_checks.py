"""What a fit in one pass asks of the Trainer: no setting that changes weights or cuts a pass."""

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelPruning, StochasticWeightAveraging, WeightAveraging

from linreg_lightning.errors import InputError


def stopped() -> InputError:
    """Return the error for a run that ended before the last row."""
    return InputError(
        "max_steps, max_time, callbacks: the run was stopped before it had seen all rows; leave "
        "out what stopped it"
    )


def check_trainer(trainer: Trainer, model: str) -> None:
    """Refuse settings that exclude a fit in one pass; `model` is the name of its class."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]  # its connector sets them
        if isinstance(callback, ModelPruning | StochasticWeightAveraging | WeightAveraging):
            raise InputError(
                f"callbacks: {type(callback).__name__} was given, which changes weights from step "
                f"to step; {model} has none before its answer: leave it out"
            )
    interval = trainer.val_check_interval
    refused = {
        "min_epochs": (trainer.min_epochs or 0) > 1,
        "min_steps": trainer.min_steps is not None,
        "val_check_interval": interval != 1.0 or isinstance(interval, int),
    }
    for name, given in refused.items():
        if given:
            raise InputError(
                f"{name}: {getattr(trainer, name)} was given; {model} has its answer at "
                f"the end of one pass, and stops: leave {name} out"
            )


def raise_max_epochs(trainer: Trainer, epochs: int) -> None:
    """Raise the Trainer's limit of epochs to `epochs`; a higher limit, or none, stays."""
    max_epochs = trainer.fit_loop.max_epochs
    if max_epochs is not None and max_epochs != -1:
        trainer.fit_loop.max_epochs = max(max_epochs, epochs)
