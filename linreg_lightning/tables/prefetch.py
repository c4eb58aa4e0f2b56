"""Reading ahead: the next batches are made while the present one is worked on."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Iterator
from queue import Empty, Full, Queue
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")


class _End:
    """What a thread has to say at its end: an exception, or nothing."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def ahead(items: Iterator[Item], depth: int = 2) -> Iterator[Item]:
    """Yield the same items, made in a thread of their own, at most `depth` + 1 of them ahead.

    The thread ends with the iteration, also with one that is abandoned, at the latest with the
    process; its errors are raised here.

    >>> list(ahead(iter("abc")))
    ['a', 'b', 'c']
    """
    thread = _Ahead(items, depth)
    _running.append(thread)
    thread.start()
    try:
        while not isinstance(item := thread.queue.get(), _End):
            yield item
    finally:
        thread.stop()
    if item.error is not None:
        raise item.error


_running: list[_Ahead[Any]] = []
"""Where one reads from another, the reader comes first."""


@atexit.register
def _end_all() -> None:
    # Python's own end would break them off, which those do not survive that are within pyarrow.
    for thread in list(_running):
        thread.stop()


class _Ahead(threading.Thread, Generic[Item]):
    def __init__(self, items: Iterator[Item], depth: int) -> None:
        super().__init__(name="read ahead", daemon=True)
        self.queue: Queue[Item | _End] = Queue(depth)
        self._items = items
        self._stopped = threading.Event()

    def run(self) -> None:
        """Put all items, then the end."""
        try:
            self._run()
        finally:
            _running.remove(self)

    def _run(self) -> None:
        end = _End()
        try:
            for item in self._items:
                self._put(item)
                if self._stopped.is_set():
                    return
        except BaseException as error:
            end = _End(error)
        finally:
            close = getattr(self._items, "close", None)
            if close is not None:
                close()
        self._put(end)

    def stop(self) -> None:
        """End the thread and wait until it has."""
        self._stopped.set()
        while self.is_alive():
            try:
                self.queue.get_nowait()
            except Empty:
                self.join(0.01)

    def _put(self, item: Item | _End) -> None:
        while not self._stopped.is_set():
            try:
                return self.queue.put(item, timeout=0.1)
            except Full:
                continue
        return None
