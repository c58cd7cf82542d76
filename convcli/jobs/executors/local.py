"""Worker processes of this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from convcli.jobs.executors.pool import MAX_AHEAD, Pool
from convcli.jobs.executors.workers import Probe, Workers

CALLS_PER_WORKER = 2 * MAX_AHEAD  # calls submitted per worker, so that none waits for its next one


class LocalWorkers(Workers):
    """The processes of a pool. Each call is submitted by itself, which costs some 0.1 ms.

    window: items that are submitted ahead.
    """

    def __init__(self, pool: Pool, count: int, window: int | None = None) -> None:
        self._pool, self._count = pool, count
        self._window = CALLS_PER_WORKER * count if window is None else window

    @property
    def count(self) -> int:
        return self._count

    @property
    def window(self) -> int:
        return self._window

    def submit_each(
        self, function: Callable[[Any], Any], items: Sequence[Any]
    ) -> list[Future[Any]]:
        return [self._pool.submit(function, item) for item in items]

    def check_files(self, probes: tuple[Probe, ...]) -> None:
        """Do nothing: the workers are on this machine."""

    def close(self) -> None:
        self._pool.shutdown()

    def kill(self) -> None:
        self._pool.kill()
