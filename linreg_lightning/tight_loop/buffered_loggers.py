"""TensorBoard's loggers, called less often and with several calls at once."""

import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, final

from lightning.pytorch.loggers import TensorBoardLogger

WRITE_SECONDS = 0.25
"""How long a call of `log_metrics` may wait. Each wakes TensorBoard's writer thread, which takes a
core from the training for as long as four steps of 0.1 ms."""

SAVE_SECONDS = 1.0
"""How long a call of `save` may wait. One takes as long as three small steps."""


@final
class BufferedLoggers:
    """Holds back calls of `log_metrics` and `save`, and makes them later, in their order.

    Only TensorBoard's loggers are buffered: another process reads what they write. This process
    may read what other loggers keep, so they are called at once.

    Args:
        loggers: whose two methods are replaced until `restore`.
    """

    def __init__(self, loggers: list[Any]) -> None:
        self._calls: deque[Callable[[], None]] = deque()
        self._saves: dict[int, Callable[[], None]] = {}
        self._written = self._saved = time.monotonic()
        self._overrides: list[tuple[Any, dict[str, Any]]] = []  # methods set on a logger itself
        buffered = {id(each): each for each in loggers if isinstance(each, TensorBoardLogger)}
        for logger in buffered.values():
            names = {"log_metrics", "save"} & vars(logger).keys()
            self._overrides.append((logger, {name: vars(logger)[name] for name in names}))
            log_metrics = partial(self._log_metrics, logger.log_metrics)
            save = partial(self._saves.setdefault, id(logger), logger.save)
            vars(logger).update(log_metrics=log_metrics, save=save)

    def write_if_due(self) -> None:
        """Make the calls that have waited long enough."""
        now = time.monotonic()
        if self._calls and now - self._written > WRITE_SECONDS:
            self.write()
        if self._saves and now - self._saved > SAVE_SECONDS:
            self._save()

    def write(self) -> None:
        """Make the calls of `log_metrics`."""
        while self._calls:  # if one fails, the next `write` makes those after it
            self._calls.popleft()()
        self._written = time.monotonic()

    def restore(self) -> None:
        """Give the loggers their own methods back, and make all calls."""
        for logger, overrides in self._overrides:
            del vars(logger)["log_metrics"], vars(logger)["save"]
            vars(logger).update(overrides)
        self._overrides.clear()
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
            self.write_if_due()
        else:
            self.write()  # a step may change a tensor in place

    def _save(self) -> None:
        self.write()
        for save in self._saves.values():
            save()
        self._saves.clear()
        self._saved = time.monotonic()
