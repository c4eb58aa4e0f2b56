"""What watches a run from the command line."""

from __future__ import annotations

from pkgutil import resolve_name
from typing import Any

from lightning.pytorch.callbacks import Callback, ProgressBar

from linreg_lightning.callbacks.log_interval import LogInterval
from linreg_lightning.callbacks.run_progress_bar import RunProgressBar
from linreg_lightning.callbacks.run_summary import RunSummary
from linreg_lightning.cli.defaults import CALLBACKS, FIGURES


def default_callbacks(trainer: Any, words: list[str], figures: bool) -> list[Callback]:
    """What was asked for, and of the rest all of which none was.

    Args:
        trainer: the Trainer's settings; `callbacks` holds those asked for.
        words: those behind the command's own name.
        figures: whether anything may be drawn.
    """
    given = trainer.callbacks or []
    given = given if isinstance(given, list) else [given]
    if trainer.barebones:
        figures = False
    paths = [*CALLBACKS, *([FIGURES] if figures else [])]
    kinds = {_path(callback) for callback in given}
    watching = [resolve_name(path)() for path in paths if path not in kinds]
    if not any(isinstance(callback, RunSummary) for callback in given):
        watching.append(RunSummary(["linreg", *words]))
    if trainer.log_every_n_steps is None and not trainer.barebones:
        watching.append(LogInterval())
    bar = trainer.enable_progress_bar is not False and not trainer.barebones
    if bar and not any(isinstance(callback, ProgressBar) for callback in given):
        watching.append(RunProgressBar())
    return [*(c for c in given if figures or _path(c) != FIGURES), *watching]


def _path(callback: Callback) -> str:
    return f"{type(callback).__module__}.{type(callback).__qualname__}"
