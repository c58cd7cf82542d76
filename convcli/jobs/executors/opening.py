"""Open the workers that `--scheduler` names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from convcli.errors import InputError, did_you_mean
from convcli.jobs.executors.host import Probe
from convcli.jobs.executors.local import LocalWorkers
from convcli.jobs.executors.plugins import plugin_schedulers
from convcli.jobs.executors.pool import Pool
from convcli.jobs.executors.remote import ExecutorWorkers, new_run
from convcli.jobs.executors.workers import Workers, worker_environment
from convcli.limits import threads

Probes = Callable[[], tuple[Probe, ...]]
"""A function that returns the files that all workers must see; it may write them."""


class Opener(Protocol):
    """A function that opens workers for what a job needs; see `open_executor`."""

    def __call__(
        self, *, preload: str, most: int | None = None, probes: Probes = tuple
    ) -> Workers: ...


def open_executor(
    scheduler: str | None,
    jobs: int | None,
    *,
    timeout: float | None = None,
    preload: str = "convcli",
    most: int | None = None,
    probes: Probes = tuple,
) -> Workers:
    """Return the workers that a scheduler's name means: None for processes of this machine.

    jobs: calls that run at once, by default one per thread; most: the number of calls, if it is
    known, as more workers are not needed. timeout: seconds for one call. preload: a module that
    worker processes import before their first call. probes: is called if the
    workers may be elsewhere.
    Raises InputError for a name that means nothing.

    >>> with open_executor(None, 2) as workers:
    ...     [future.result() for future in workers.submit_each(abs, [-3, 4])]
    [3, 4]
    """
    count = jobs or threads()
    count = count if most is None else max(min(count, most), 1)
    each = threads() // count
    if scheduler is None:
        environment = worker_environment(each)
        pool = Pool(count, timeout=timeout, environment=environment, preload=preload)
        return LocalWorkers(pool, count)
    if (plugin := plugin_schedulers().get(scheduler)) is not None:
        run = new_run(preload, timeout, each, probes())
        return ExecutorWorkers(plugin.open(count), count, run, scheduler)
    known = tuple(plugin_schedulers())
    expected = f"expected {', '.join(known) or 'a plugin, and none is installed'}"
    raise InputError(f"--scheduler {scheduler!r}", expected, did_you_mean(scheduler, known))
