"""A bar that shows how far a slow choice of the penalty is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer
from typing import Any

from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm

from linreg_lightning.algebra.selection import Progress

SECONDS_BEFORE_BAR = 1.0


@contextmanager
def selection_progress(trainer: Any) -> Iterator[Progress]:
    """Show a bar where the Trainer shows one, if the selection takes more than a second."""
    shown: list[Tqdm] = []
    shape = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}"
    options: Any = {"total": 100, "bar_format": shape, "leave": False, "file": sys.stderr}
    # From a timer, because a selection from many columns calls nothing in its first seconds.
    timer = Timer(
        SECONDS_BEFORE_BAR, lambda: shown.append(Tqdm(desc="Choosing the penalty", **options))
    )

    def progress(share: float) -> None:
        for bar in shown:
            bar.update(int(100 * share) - bar.n)

    bars = None if trainer is None else trainer.progress_bar_callback
    if bars is not None and bars.is_enabled and trainer.is_global_zero:
        timer.start()
    try:
        yield progress
    finally:
        timer.cancel()
        for bar in shown:
            bar.close()
