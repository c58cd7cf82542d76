"""A group of items where it has arrived: called in worker processes of convcli's own.

So a call that crashes or takes too long ends its own process and no other, whatever executor
brought it here; and that process has the environment that the results' bytes depend on.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from convcli import __version__
from convcli.errors import InputError, WorkerError
from convcli.jobs.executors.pool import Pool
from convcli.jobs.executors.workers import Probe, worker_environment
from convcli.system import core_count

IDLE_SECONDS = 60.0
"""Seconds after which a process without calls is stopped, should nobody say that its run is over:
to start one takes 0.3 s."""


@dataclass(frozen=True)
class Run:
    """What the processes of one command need to know, wherever they are.

    id: unique. umask: of the command, for the files that workers write. threads: of each process.
    """

    id: str
    version: str
    preload: str
    timeout: float | None
    threads: int
    umask: int | None = None
    probes: tuple[Probe, ...] = ()


class Problem(NamedTuple):
    """Why a worker cannot work on a run: what it lacks, what was expected, and what to do."""

    lacks: str
    expected: str
    remedy: str

    def error(self, place: str) -> InputError:
        """Return the error about the worker at a place."""
        return InputError(f"worker {place} {self.lacks}", self.expected, self.remedy)


class Answer(NamedTuple):
    """What a group of calls came to: (True, value) or (False, exception) of each, and the time."""

    outcomes: list[tuple[bool, Any]]
    seconds: float


INSTALL = "install the same on all"
_lock = threading.Lock()
_pools: dict[str, dict[Pool, threading.Timer | None]] = {}
"""The pools of each run, of one process each; the timer of one that has no calls."""
_stopped: deque[str] = deque(maxlen=1000)
"""Runs that are over: calls of theirs may still arrive."""


def call_each(run: Run, function: Callable[[Any], Any], items: Sequence[Any]) -> Answer:
    """Call function(item) for each item in one process.

    Raises InputError if this is another version of convcli, or if the probe is not seen here.
    """
    check(run)
    began = time.monotonic()
    with _process(run) as pool:
        outcomes = [_outcome(call) for call in [pool.submit(function, item) for item in items]]
    return Answer(outcomes, time.monotonic() - began)


@lru_cache(16)
def check(run: Run) -> None:
    """Raise InputError if this is another version of convcli, or if a probe is not seen here."""
    if (problem := find_problem(run)) is not None:
        raise problem.error(place())


def find_problem(run: Run) -> Problem | None:
    """Return why this process cannot work on a run, None if it can."""
    if run.version != __version__:
        return Problem(f"has convcli {__version__}", f"this is {run.version}", INSTALL)
    for probe in run.probes:
        with suppress(OSError):
            if Probe.of(Path(probe.path)) == probe:
                continue
        return Problem(
            f"does not see {Path(probe.path).parent}",
            "expected a folder that all machines share",
            "mount it there, or choose another folder",
        )
    return None


def cores() -> int:
    """Return the number of cores that this process may use."""
    return core_count()


def place() -> str:
    """Return the name of this process: its address if it is a Dask worker.

    >>> place().endswith(f", process {os.getpid()}")
    True
    """
    if "distributed" in sys.modules:
        from distributed import get_worker

        with suppress(ValueError):
            return str(get_worker().address)
    return f"{socket.gethostname()}, process {os.getpid()}"


def stop(run: str) -> None:
    """Kill the processes of a run that are here, and let no more start."""
    with _lock:
        _stopped.append(run)
        pools = _pools.pop(run, {})
    for pool, timer in pools.items():
        if timer is not None:
            timer.cancel()
        pool.kill()


@contextmanager
def _process(run: Run) -> Iterator[Pool]:
    """Provide a pool of one process that no other group uses."""
    with _lock:
        if run.id in _stopped:
            raise WorkerError("the run was stopped")
        pools = _pools.setdefault(run.id, {})
        idle = next((pool for pool, timer in pools.items() if timer is not None), None)
        if idle is None:
            environment = worker_environment(run.threads)
            pool = Pool(
                1,
                timeout=run.timeout,
                environment=environment,
                preload=run.preload,
                umask=run.umask,
            )
        else:
            pool = idle
            pools[pool].cancel()  # type: ignore[union-attr]
        pools[pool] = None
    try:
        yield pool
    finally:
        timer = threading.Timer(IDLE_SECONDS, _retire, [run.id, pool])
        timer.daemon = True
        with _lock:
            if pool in _pools.get(run.id, ()):
                _pools[run.id][pool] = timer
                timer.start()


def _retire(run: str, pool: Pool) -> None:
    """Stop a pool that has had no calls for long."""
    with _lock:
        pools = _pools.get(run, {})
        if pools.get(pool) is not threading.current_thread():
            return
        del pools[pool]
        if not pools:
            del _pools[run]
    pool.shutdown()


def _outcome(call: Future[Any]) -> tuple[bool, Any]:
    error = call.exception()
    return (True, call.result()) if error is None else (False, error)
