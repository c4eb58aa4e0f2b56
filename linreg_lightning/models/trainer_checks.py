"""What a fit of one pass, sometimes two, asks of its Trainer."""

from __future__ import annotations

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import (
    ModelPruning,
    StochasticWeightAveraging,
    WeightAveraging,
)

from linreg_lightning.errors import InputError


def check_trainer(trainer: Trainer) -> None:
    """Refuse settings that make no sense where one pass is the whole fit.

    Raises:
        InputError: a minimum of epochs or steps, a validation within the pass, or a callback that
            changes weights from step to step.
    """
    for callback in getattr(trainer, "callbacks", []):
        if isinstance(callback, ModelPruning | StochasticWeightAveraging | WeightAveraging):
            raise InputError(
                f"callbacks: {type(callback).__name__} was given, which changes weights from step "
                "to step; LeastSquares has none before its answer: leave it out"
            )
    more = {
        "min_epochs": (trainer.min_epochs or 0) > 1,
        "min_steps": trainer.min_steps is not None,
        "val_check_interval": trainer.val_check_interval != 1.0
        or isinstance(trainer.val_check_interval, int),
    }
    for name, given in more.items():
        if given:
            raise InputError(
                f"{name}: {getattr(trainer, name)} was given; LeastSquares has its answer at "
                f"the end of one pass, and stops: leave --trainer.{name} out"
            )


def allow_epochs(trainer: Trainer, epochs: int) -> None:
    """Let the Trainer run that many, although its user may have asked for one."""
    most = trainer.fit_loop.max_epochs
    if most is not None and most != -1:
        trainer.fit_loop.max_epochs = max(most, epochs)


def may_go_on(trainer: Trainer) -> bool:
    """Whether the Trainer would run another pass, were it allowed the epochs."""
    most = trainer.max_steps
    return not getattr(trainer, "fast_dev_run", False) and (
        most == -1 or trainer.global_step < most
    )
