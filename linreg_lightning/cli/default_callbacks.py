"""The callbacks of the command's runs."""

from __future__ import annotations

import sys
from pkgutil import resolve_name
from typing import Any

from lightning.pytorch.callbacks import Callback, Checkpoint, ProgressBar

from linreg_lightning.callbacks.coefficient_file import CoefficientFile
from linreg_lightning.callbacks.coefficient_monitor import CoefficientMonitor
from linreg_lightning.callbacks.custom_scalars import CustomScalars
from linreg_lightning.callbacks.descent_monitor import DescentMonitor
from linreg_lightning.callbacks.fit_monitor import FitMonitor
from linreg_lightning.callbacks.fit_plots import FitPlots
from linreg_lightning.callbacks.log_interval import LogInterval
from linreg_lightning.callbacks.peer_monitor import PeerMonitor
from linreg_lightning.callbacks.penalty_path import PenaltyPath
from linreg_lightning.callbacks.random_state import RandomState
from linreg_lightning.callbacks.run_checkpoint import RunCheckpoint
from linreg_lightning.callbacks.run_progress_bar import RunProgressBar
from linreg_lightning.callbacks.run_summary import RunSummary
from linreg_lightning.cli.command import active
from linreg_lightning.cli.help_text import version
from linreg_lightning.tight_loop import TightLoop

CALLBACKS = (
    CoefficientMonitor,
    CoefficientFile,
    PenaltyPath,
    DescentMonitor,
    FitMonitor,
    CustomScalars,
    PeerMonitor,
    RandomState,
)
"""Callbacks of every run of every command; each has work only where model and data offer it."""


def default_callbacks(trainer: Any, figures: bool, command: list[str]) -> list[Callback]:
    """Return the Trainer's callbacks, and each default one whose class is not among them."""
    given = trainer.callbacks or []
    given = given if isinstance(given, list) else [given]
    project = active()
    classes: list[Any] = [*CALLBACKS, *map(resolve_name, project.callbacks)]
    if figures:
        classes.append(FitPlots)
    else:
        given = [callback for callback in given if not isinstance(callback, FitPlots)]
    if not trainer.barebones:
        classes.append(TightLoop)
        if trainer.enable_checkpointing is not False and not _has(given, Checkpoint):
            classes.append(RunCheckpoint)
        if trainer.log_every_n_steps is None:
            classes.append(LogInterval)
        if trainer.enable_progress_bar is not False and not _has(given, ProgressBar):
            classes.append(RunProgressBar)
    is_ours = project.packages == {__name__.partition(".")[0]}
    versions = [] if is_ours else [f"{project.name} {version(project)}"]
    summary = [] if _has(given, RunSummary) else [RunSummary(command, versions)]
    return [*given, *(cls() for cls in classes if not _has(given, cls)), *summary]


def shows_progress(trainer: Any) -> bool:
    """Whether there is a terminal to draw a progress bar on, or the user has chosen a bar."""
    given = trainer.callbacks or []
    given = given if isinstance(given, list) else [given]
    return _has(given, ProgressBar) or sys.stderr.isatty()


def _has(callbacks: list[Callback], cls: type) -> bool:
    return any(isinstance(callback, cls) for callback in callbacks)
