"""Reading ahead: files are parsed and chunked by other threads while those before them are embedded.

Order is kept, and what is in hand is bounded, whatever the number of files. It does not know what is done with them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def read_ahead(
    items: Iterable[T],
    work: Callable[[T], None],
    weight: Callable[[T], int],
    *,
    threads: int,
    most: int,
    most_weight: int,
) -> Iterator[T]:
    """Yield `items` in order, each after `work(item)` has run in one of `threads` threads.

    At most `most` items and (but for a single heavier one) `most_weight` in all are in hand at a time. What `work`
    raises is raised here, when the item's turn has come.
    """
    waiting: deque[tuple[T, Future[None]]] = deque()
    held = 0
    with ThreadPoolExecutor(threads, thread_name_prefix="reading") as pool:
        try:
            for item in items:
                while waiting and (len(waiting) >= most or held + weight(item) > most_weight):
                    first, future = waiting.popleft()
                    future.result()
                    held -= weight(first)
                    yield first
                waiting.append((item, pool.submit(work, item)))
                held += weight(item)
            while waiting:
                first, future = waiting.popleft()
                future.result()
                yield first
        finally:
            for _, future in waiting:
                future.cancel()
