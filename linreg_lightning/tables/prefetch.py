"""Prepare the next item in a thread while the caller works on the present one."""

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

Item = TypeVar("Item")
_END: Any = object()


def prefetch(items: Iterator[Item]) -> Iterator[Item]:
    """Yield the same items, which a thread prepares one ahead, and raise its errors.

    The thread ends with the iteration, also when the caller abandons it.

    >>> list(prefetch(iter("abc")))
    ['a', 'b', 'c']
    """
    executor = ThreadPoolExecutor(1, "prefetch")
    following: Callable[[], Any] = partial(next, items, _END)
    run = copy_context().run  # warnings name the command that the caller runs
    try:
        future = executor.submit(run, following)
        while (item := future.result()) is not _END:
            future = executor.submit(run, following)
            yield item
    finally:
        executor.shutdown(cancel_futures=True)
        if isinstance(items, Generator):
            items.close()
