"""What a fit that needs one pass, sometimes two, asks of its Trainer."""

from __future__ import annotations

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelPruning, StochasticWeightAveraging, WeightAveraging

from linreg_lightning.errors import InputError


def check_trainer(trainer: Trainer) -> None:
    """Refuse a minimum of epochs or steps, validation within a pass, and averaging callbacks."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]  # its connector sets them
        if isinstance(callback, ModelPruning | StochasticWeightAveraging | WeightAveraging):
            raise InputError(
                f"callbacks: {type(callback).__name__} was given, which changes weights from step "
                "to step; LeastSquares has none before its answer: leave it out"
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
                f"{name}: {getattr(trainer, name)} was given; LeastSquares has its answer at "
                f"the end of one pass, and stops: leave {name} out"
            )


def allow_epochs(trainer: Trainer, epochs: int) -> None:
    """Raise max_epochs to this number, where it is lower."""
    max_epochs = trainer.fit_loop.max_epochs
    if max_epochs is not None and max_epochs != -1:
        trainer.fit_loop.max_epochs = max(max_epochs, epochs)


def may_repeat_pass(trainer: Trainer) -> bool:
    """Whether max_steps and fast_dev_run leave room for another pass."""
    steps_left = trainer.max_steps == -1 or trainer.global_step < trainer.max_steps
    return steps_left and not trainer.fast_dev_run  # type: ignore[attr-defined]
