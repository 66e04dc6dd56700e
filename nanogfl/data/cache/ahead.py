"""A function over many items in threads, a few items ahead of whoever takes the results."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from nanogfl.machine.threads import available_threads

__all__ = ["Track", "available_threads", "map_ahead"]

Item = TypeVar("Item")
Result = TypeVar("Result")

Track = Callable[[Iterable[str | None], int], Iterable[str | None]]
"""(results, how many there will be) -> the same results: may show progress. A result is what is wrong with an image"""


def map_ahead(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Generator[Result]:
    """The results in the items' order. Executor.map would start them all, and keep every result not yet taken."""
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
