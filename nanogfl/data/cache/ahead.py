"""Maps a function over items in threads, working only a few items ahead of the consumer."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from nanogfl.machine.threads import available_threads

__all__ = ["Track", "available_threads", "map_ahead"]

Item = TypeVar("Item")
Result = TypeVar("Result")

Track = Callable[[Iterable[str | None], int], Iterable[str | None]]
"""(results, their count) -> the same results; may show progress. A result says what is wrong with an image, or None"""


def map_ahead(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Generator[Result]:
    """Yields the results in the items' order. (Executor.map would start all at once and keep all results.)"""
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        queue: deque[Future[Result]] = deque()
        try:
            for item in items:
                queue.append(pool.submit(function, item))
                if len(queue) > 4 * threads:
                    yield queue.popleft().result()
            while queue:
                yield queue.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
