"""Prepare the next items in a thread while the caller works on the present one."""

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

Item = TypeVar("Item")
_END: Any = object()


def prefetch(items: Iterator[Item], depth: int = 2) -> Iterator[Item]:
    """Yield the same items, which a thread prepares, and raise its errors.

    The thread ends with the iteration, also when the caller abandons it. At most `depth` finished
    items wait while the thread prepares another.

    >>> list(prefetch(iter("abc")))
    ['a', 'b', 'c']
    """
    executor = ThreadPoolExecutor(1, "prefetch")
    try:
        futures = deque(executor.submit(next, items, _END) for _ in range(depth + 1))
        while (item := futures.popleft().result()) is not _END:
            futures.append(executor.submit(next, items, _END))
            yield item
    finally:
        executor.shutdown(cancel_futures=True)
        if isinstance(items, Generator):
            items.close()
