"""Open the workers that `--scheduler` names."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from convcli.errors import InputError, did_you_mean, is_there
from convcli.jobs.executors import dask
from convcli.jobs.executors.local import LocalWorkers
from convcli.jobs.executors.plugins import plugin_schedulers, schedulers
from convcli.jobs.executors.pool import Pool
from convcli.jobs.executors.remote import ExecutorWorkers, new_run
from convcli.jobs.executors.workers import Workers, worker_environment
from convcli.limits import threads


class Opener(Protocol):
    """A function that opens workers for what a job needs; see `open_executor`."""

    def __call__(self, *, preload: str, most: int | None = None) -> Workers: ...


def open_executor(
    scheduler: str | None,
    jobs: int | None,
    *,
    timeout: float | None = None,
    preload: str = "convcli",
    most: int | None = None,
) -> Workers:
    """Return the workers that a scheduler's name means: None for processes of this machine.

    scheduler: `dask` for a cluster on this machine, an address, the path of a scheduler file, or
    the name of another package's. jobs: calls that run at once, by default one per thread; most:
    the number of calls, if it is known, as more workers are not needed. timeout: seconds for one
    call. preload: a module that worker processes import before their first call. Raises InputError
    for a name that means nothing, and if no scheduler answers or workers have another version.

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
    run = new_run(preload, timeout, each)
    if scheduler == "dask":
        return dask.start_cluster(count, run)
    if (plugin := plugin_schedulers().get(scheduler)) is not None:
        return ExecutorWorkers(plugin.open(count), count, run, scheduler)
    if "://" in scheduler or is_there(Path(scheduler), Path.is_file):
        return dask.connect(scheduler, jobs, run)
    known = schedulers()
    raise InputError(
        f"--scheduler {scheduler!r}",
        f"expected {', '.join(known)}, an address such as tcp://host:8786, or a scheduler file",
        did_you_mean(scheduler, known),
    )
