"""Executors of other packages, which register them as entry points `convcli.executors`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cache

from convcli.plugins import load_plugins

OWN_NAMES = ("dask",)
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


@dataclass(frozen=True)
class Scheduler:
    """An executor that `--scheduler` names.

    open: takes the number of calls that should run at once (--jobs, by default one per thread of
    this machine) and returns an `Executor`, which convcli shuts down. The executor gets functions
    and arguments that can be pickled, and may call them anywhere that has the same convcli and the
    same files.

    >>> from concurrent.futures import ThreadPoolExecutor
    >>> Scheduler("threads", ThreadPoolExecutor).name
    'threads'
    """

    name: str
    open: Callable[[int], Executor]


@cache
def plugin_schedulers() -> Mapping[str, Scheduler]:
    """Return the schedulers of other packages by name; entry points are loaded once."""
    found = load_plugins("convcli.executors", Scheduler, _names_of, OWN_NAMES)
    return {scheduler.name: scheduler for _, scheduler in found}


def schedulers() -> tuple[str, ...]:
    """Return the names that `open_executor` accepts besides addresses and files.

    >>> schedulers()[0]
    'dask'
    """
    return (*OWN_NAMES, *plugin_schedulers())


def _names_of(scheduler: Scheduler) -> tuple[str, ...]:
    if not _NAME.fullmatch(scheduler.name):
        raise ValueError(
            f"executor {scheduler.name!r}: expected a name of small letters, digits and hyphens"
        )
    return (scheduler.name,)
