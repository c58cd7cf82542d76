"""Workers behind an `Executor`, such as those of other machines.

A call through a scheduler takes milliseconds, so that items travel in groups of about a second of
work, smaller ones at the end, when all workers should finish at the same time.
"""

from __future__ import annotations

import math
import secrets
from abc import abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from convcli import __version__
from convcli.errors import ConvError
from convcli.jobs.executors import host
from convcli.jobs.executors.host import Answer, Run
from convcli.jobs.executors.workers import Probe, Workers
from convcli.system import current_umask

GROUP_SECONDS = 1.0
"""Work in seconds that a group has."""

FIRST_GROUP = 4
"""Items in a group before the time of one is known."""

MOST = 512
"""Items in a group at most."""

GROUPS_PER_WORKER = 4
"""Groups that each worker has yet to get, at least, while groups have several items."""


class RemoteWorkers(Workers):
    """Workers that get groups of items as one call of `host.call_each`."""

    elsewhere = True

    def __init__(self, run: Run) -> None:
        self._run = run
        with suppress(OSError):  # it was removed
            self.folder = str(Path.cwd())
        self._seconds = GROUP_SECONDS / FIRST_GROUP  # that one item takes

    @property
    def window(self) -> int:
        return 2 * GROUPS_PER_WORKER * self.count

    @property
    def _most(self) -> int:
        return min(max(int(GROUP_SECONDS / self._seconds), 1), MOST)

    def group(self, left: int | None = None) -> int:
        if left is None:
            return self._most
        return max(min(self._most, math.ceil(left / (GROUPS_PER_WORKER * self.count))), 1)

    def submit_each(
        self, function: Callable[[Any], Any], items: Sequence[Any]
    ) -> list[Future[Any]]:
        futures: list[Future[Any]] = [Future() for _ in items]
        for future in futures:
            future.set_running_or_notify_cancel()
        try:
            call = self._send(host.call_each, self._run, function, items)
        except Exception as error:
            raise self._translate(error) from error
        call.add_done_callback(partial(self._distribute, futures))
        return futures

    def check_files(self, probes: tuple[Probe, ...]) -> None:
        self._run = replace(self._run, probes=probes)

    @abstractmethod
    def _send(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Call a function where the executor wants it, and return the future of its result."""

    def _translate(self, error: BaseException) -> BaseException:
        """Return what the calls of a group fail with, for the error of the group."""
        return error

    def _distribute(self, futures: list[Future[Any]], call: Future[Answer]) -> None:
        try:
            outcomes, seconds = call.result()
        except (Exception, CancelledError) as error:
            failure = self._translate(error)
            for future in futures:
                future.set_exception(failure)
            return
        self._seconds = max(seconds / len(futures), 0.5 * self._seconds, 1e-6)
        for future, (fine, value) in zip(futures, outcomes, strict=True):
            (future.set_result if fine else future.set_exception)(value)


class ExecutorWorkers(RemoteWorkers):
    """The workers of any `Executor`, of which `count` run calls at once.

    name: of the executor, in messages.
    """

    def __init__(self, executor: Executor, count: int, run: Run, name: str) -> None:
        super().__init__(run)
        self._executor, self._count, self._name = executor, count, name
        self.words = f"{count:,} of {name}"

    @property
    def count(self) -> int:
        return self._count

    def _send(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        return self._executor.submit(function, *arguments)

    def _translate(self, error: BaseException) -> BaseException:
        if isinstance(error, BrokenExecutor):
            return ConvError(
                f"the executor {self._name} stopped", str(error), "run it again with --resume"
            )
        return error

    def close(self) -> None:
        self._executor.shutdown()
        host.stop(self._run.id)

    def kill(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)
        host.stop(self._run.id)


def new_run(preload: str, timeout: float | None, threads: int) -> Run:
    """Return a run with an id of its own."""
    return Run(secrets.token_hex(8), __version__, preload, timeout, threads, current_umask())
