"""What a command knows of the workers that run its calls, wherever they are."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Self

from convcli.limits import Limits
from convcli.options import PRODUCT_THREADS

PROBE_BYTES = 64
"""Bytes of a probe that are compared."""


class Probe(NamedTuple):
    """A file that every worker must see, and the bytes that it begins with."""

    path: str
    head: bytes

    @classmethod
    def of(cls, path: Path) -> Probe:
        """Read the beginning of a file. Raises OSError."""
        with path.open("rb") as stream:
            return cls(str(path), stream.read(PROBE_BYTES))


class Workers(ABC):
    """Workers that call functions with items, both of which are pickled.

    A call whose worker dies fails with WorkerError, one that takes too long with TimeoutError; the
    others continue. As a context manager, they are closed at the end, and killed by an exception.

    elsewhere: whether workers may be on other machines. memory: bytes that a call may use where it
    runs, None if that is not known. folder: the one that relative paths begin in, "" if workers
    share the caller's. words: describes the workers in a report, "" for processes of this machine.
    """

    elsewhere: bool = False
    memory: int | None = None
    folder: str = ""
    words: str = ""

    @property
    @abstractmethod
    def count(self) -> int:
        """The number of calls that run at once, at least 1. It changes if workers come and go."""

    @property
    @abstractmethod
    def window(self) -> int:
        """The number of calls of `submit_each` whose results should be awaited at once."""

    def group(self, left: int | None = None) -> int:
        """Return how many items should be submitted together; left: items that are left, if known.

        One for workers that cost little per call.
        """
        return 1

    @abstractmethod
    def submit_each(
        self, function: Callable[[Any], Any], items: Sequence[Any]
    ) -> list[Future[Any]]:
        """Call function(item) for each item, all of them by one worker; return their futures."""

    @abstractmethod
    def check_files(self, probes: tuple[Probe, ...]) -> None:
        """Have the workers check that they see some files, unless they are on this machine.

        Raises InputError, now or by the first calls, if a worker does not see one.
        """

    @abstractmethod
    def close(self) -> None:
        """Wait for the calls that were submitted, and stop the workers that this object started."""

    @abstractmethod
    def kill(self) -> None:
        """Stop at once: cancel what waits, and kill the worker processes that run calls."""

    def limits(self, given: Limits) -> Limits:
        """Return the limits of one call: the workers of a machine share its memory.

        >>> from convcli.jobs.executors import open_executor
        >>> with open_executor(None, 4) as workers:
        ...     workers.limits(Limits(memory=4000)).memory
        1000
        """
        return replace(given, memory=given.memory // self.count)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.kill()


def worker_environment(threads: int) -> Mapping[str, str]:
    """Return the environment of a worker process that computes with this many threads."""
    products = dict.fromkeys(PRODUCT_THREADS, "1")
    return {**os.environ, **products, "CONVCLI_THREADS": str(max(threads, 1))}
