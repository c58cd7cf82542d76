"""Submit items to workers, a limited number at a time, and yield them as they finish."""

from __future__ import annotations

import _thread
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from convcli.errors import WorkerError
from convcli.jobs.executors.workers import Workers

Item = TypeVar("Item")
Finished = list[tuple[Item, Future[Any]]]

GATHER_SECONDS = 0.005
"""Time in which calls that finish are gathered into one list: to wake threads for each costs 0.2 ms
and more."""


def as_finished(
    workers: Workers,
    function: Callable[[Item], Any],
    items: Iterable[Item],
    total: int | None = None,
) -> Iterator[Finished[Item]]:
    """Call function(item) for each item, a window at a time; yield items with finished futures.

    Each list has the items that finished since the list before. An item whose worker died is
    retried once, alone, when all others are done: another item may have caused the death, and alone
    it cannot affect others. total: the number of items, if it is known.
    """
    return in_thread(_with_retries(workers, function, items, total))


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
    workers: Workers, function: Callable[[Item], Any], items: Iterable[Item], total: int | None
) -> Iterator[Finished[Item]]:
    retries = []
    for finished in _Flow(workers, function, iter(items), total).lists():
        died = [item for item, future in finished if isinstance(future.exception(), WorkerError)]
        retries += died
        yield [pair for pair in finished if not isinstance(pair[1].exception(), WorkerError)]
    for item in retries:
        (future,) = workers.submit_each(function, [item])
        future.exception()  # waits for it
        yield [(item, future)]


class _Flow:
    """Items on their way through workers: as many wait for their results as the window holds."""

    def __init__(
        self,
        workers: Workers,
        function: Callable[[Any], Any],
        source: Iterator[Any],
        total: int | None,
    ) -> None:
        self._workers, self._function, self._source = workers, function, source
        self._left = total
        self._waiting: dict[Future[Any], tuple[Any, bool]] = {}
        self._calls = 0  # groups that were submitted and have no results yet
        self._finished: SimpleQueue[Future[Any]] = SimpleQueue()

    def lists(self) -> Iterator[Finished[Any]]:
        while True:
            while self._submit_group():
                pass
            if not self._waiting:
                return
            futures = [self._finished.get()]
            time.sleep(GATHER_SECONDS)
            with suppress(Empty):
                while True:
                    futures.append(self._finished.get_nowait())
            yield [(self._take(future), future) for future in futures]

    def _take(self, future: Future[Any]) -> Any:
        """Return the item of a finished future. The futures of a group finish together."""
        item, is_first = self._waiting.pop(future)
        self._calls -= is_first
        return item

    def _submit_group(self) -> bool:
        """Submit the next items; return False if there are none, or too many wait already."""
        if self._calls >= self._workers.window:
            return False
        items = list(islice(self._source, self._workers.group(self._left)))
        if not items:
            return False
        self._calls += 1
        if self._left is not None:
            self._left -= len(items)
        futures = self._workers.submit_each(self._function, items)
        for item, future in zip(items, futures, strict=True):
            self._waiting[future] = item, future is futures[0]
            future.add_done_callback(self._finished.put)
        return True
