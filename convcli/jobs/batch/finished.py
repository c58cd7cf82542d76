"""Submit items to an executor, a limited number at a time, and yield them as they finish."""

from __future__ import annotations

import _thread
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from contextlib import suppress
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from convcli.errors import WorkerError

Item = TypeVar("Item")

GATHER_SECONDS = 0.005
"""Time in which calls that finish are gathered into one list: to wake threads for each costs 0.2 ms
and more."""


def as_finished(
    pool: Executor, function: Callable[[Item], Any], items: Iterable[Item], window: int
) -> Iterator[list[tuple[Item, Future[Any]]]]:
    """Call function(item) for each item, `window` at a time; yield items with finished futures.

    Each list has the items that finished since the list before. An item whose worker died is
    retried once, alone, when all others are done: another item may have caused the death, and alone
    it cannot affect others.
    """
    return in_thread(_with_retries(pool, function, items, window))


def in_thread(items: Iterable[Item]) -> Iterator[Item]:
    """Iterate over `items` in a background thread, or in this one if no thread can be started.

    KeyboardInterrupt then interrupts the main thread in a lock-free queue, not inside a Future
    whose lock would stay locked.

    >>> list(in_thread(number**2 for number in range(4)))
    [0, 1, 4, 9]
    """
    found: SimpleQueue[tuple[Item] | BaseException | None] = SimpleQueue()

    def run() -> None:
        try:
            for item in items:
                found.put((item,))
        except BaseException as error:
            found.put(error)
        else:
            found.put(None)

    # threading.Thread.start takes a lock, which would stay locked after an interrupt.
    try:
        _thread.start_new_thread(run, ())
    except RuntimeError:  # the system allows no more threads
        yield from items
        return
    while (message := found.get()) is not None:
        if isinstance(message, BaseException):
            raise message
        yield message[0]


def _with_retries(
    pool: Executor, function: Callable[[Item], Any], items: Iterable[Item], window: int
) -> Iterator[list[tuple[Item, Future[Any]]]]:
    retries = []
    for finished in _submit_window(pool, function, items, window):
        died = [item for item, future in finished if isinstance(future.exception(), WorkerError)]
        retries += died
        yield [pair for pair in finished if not isinstance(pair[1].exception(), WorkerError)]
    yield from _submit_window(pool, function, retries, 1)


def _submit_window(
    pool: Executor, function: Callable[[Item], Any], items: Iterable[Item], window: int
) -> Iterator[list[tuple[Item, Future[Any]]]]:
    waiting: dict[Future[Any], Item] = {}
    finished: SimpleQueue[Future[Any]] = SimpleQueue()
    source = iter(items)
    while True:
        for item in islice(source, window - len(waiting)):
            future = pool.submit(function, item)
            waiting[future] = item
            future.add_done_callback(finished.put)
        if not waiting:
            return
        futures = [finished.get()]
        time.sleep(GATHER_SECONDS)
        with suppress(Empty):
            while True:
                futures.append(finished.get_nowait())
        yield [(waiting.pop(future), future) for future in futures]
