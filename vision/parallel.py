"""Work on a few things at once, in order, without piling up: decoding and inference release Python's lock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def bounded_map(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """`function` of each item, in the order of the items, `workers` at a time.

    At most twice as many results as workers wait to be taken, however slow the taker is, so memory stays flat. An
    exception comes out where its item's result would have; what has not begun by then is dropped.
    """
    source = iter(items)
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="picture") as pool:
        try:
            waiting.extend(pool.submit(function, item) for item in islice(source, 2 * workers))
            while waiting:
                result = waiting.popleft().result()
                waiting.extend(pool.submit(function, item) for item in islice(source, 1))
                yield result
        finally:
            for future in waiting:
                future.cancel()
