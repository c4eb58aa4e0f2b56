"""TensorBoard's loggers, called late, and many calls at once."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, final

from lightning.pytorch.loggers import TensorBoardLogger

CALL_SECONDS = 0.25
"""How long a call may wait. Each wakes a thread of TensorBoard's, which takes a core from those
that compute: as long as four steps of a tenth of a millisecond."""

SAVE_SECONDS = 1.0
"""How long what is logged may wait for the disk: to save takes as long as three small steps."""


@final
class BufferedLoggers:
    """Keeps calls of `log_metrics` and `save`, and makes them later, in their order.

    Of TensorBoard's loggers only, which write for another process to read; others may be read in
    this one.

    Args:
        loggers: whose two methods are stood in for, until the `end`.
    """

    def __init__(self, loggers: list[Any]) -> None:
        self._calls: deque[Callable[[], None]] = deque()
        self._saves: dict[int, Callable[[], None]] = {}
        self._called = self._saved = time.monotonic()
        self._before: list[tuple[Any, dict[str, Any]]] = []
        late = {id(each): each for each in loggers if isinstance(each, TensorBoardLogger)}
        for logger in late.values():
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
        while self._calls:  # one that fails leaves the others to be made
            self._calls.popleft()()
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
        self,
        log_metrics: Callable[..., None],
        metrics: Mapping[str, Any],
        *args: Any,
        **options: Any,
    ) -> None:
        self._calls.append(partial(log_metrics, dict(metrics), *args, **options))
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
