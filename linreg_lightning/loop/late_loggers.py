"""Loggers that are called late, and many calls at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, final

CALL_SECONDS = 0.25
"""How long a call may wait. Each wakes a thread of TensorBoard's, which takes a core from those
that compute: as long as four steps of a tenth of a millisecond."""

SAVE_SECONDS = 1.0
"""How long what is logged may wait for the disk: to save takes as long as three small steps."""


@final
class LateLoggers:
    """Keeps calls of the loggers' `log_metrics` and `save`, and makes them later in their order.

    Args:
        loggers: whose two methods are stood in for, until the `end`.
    """

    def __init__(self, loggers: list[Any]) -> None:
        self._calls: list[tuple[Callable[..., None], dict[str, Any], int | None]] = []
        self._saves: dict[int, Callable[[], None]] = {}
        self._called = self._saved = time.monotonic()
        self._before: list[tuple[Any, dict[str, Any]]] = []
        for logger in {id(each): each for each in loggers}.values():
            self._before.append((logger, dict(logger.__dict__)))
            log_metrics = partial(self._log_metrics, logger.log_metrics)
            save = partial(self._saves.setdefault, id(logger), logger.save)
            logger.__dict__.update(log_metrics=log_metrics, save=save)

    def look(self) -> None:
        """Make the calls that have waited long enough."""
        now = time.monotonic()
        if self._calls and now - self._called > CALL_SECONDS:
            self.call()
        if self._saves and now - self._saved > SAVE_SECONDS:
            self._save()

    def call(self) -> None:
        """Make the calls of `log_metrics`."""
        calls, self._calls = self._calls, []
        for log_metrics, metrics, step in calls:
            log_metrics(metrics=metrics, step=step)
        self._called = time.monotonic()

    def end(self) -> None:
        """Make all calls, and leave the loggers as they were."""
        for logger, before in self._before:
            for name in ("log_metrics", "save"):
                del logger.__dict__[name]
                if name in before:
                    logger.__dict__[name] = before[name]
        self._before.clear()
        self._save()

    def _log_metrics(
        self, log_metrics: Callable[..., None], metrics: Mapping[str, Any], step: int | None = None
    ) -> None:
        self._calls.append((log_metrics, dict(metrics), step))
        if all(type(value) in (float, int) for value in metrics.values()):
            self.look()
        else:
            self.call()  # a tensor may be another one later

    def _save(self) -> None:
        self.call()
        for save in self._saves.values():
            save()
        self._saves.clear()
        self._saved = time.monotonic()
