"""What SIGTERM does to a run."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any, NoReturn

from lightning.pytorch.utilities.exceptions import SIGTERMException


@contextlib.contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Raise SIGTERMException where SIGTERM comes; the Trainer calls a handler beside its own."""
    if threading.current_thread() is not threading.main_thread():
        yield  # no other may set a handler
        return
    before = signal.signal(signal.SIGTERM, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(*_: Any) -> NoReturn:
    raise SIGTERMException
