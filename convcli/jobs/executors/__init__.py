"""Workers that run the calls of a command: processes of this machine, or those of a scheduler.

::

    opening.py    open_executor: the workers that --scheduler names
    workers.py    Workers: what a command knows of them, wherever they are
    finished.py   calls of many items, in the order in which they finish
    local.py      worker processes of this machine
    pool.py       an Executor of worker processes
    process.py    the worker process as its pool sees it
    worker.py     the worker process
    remote.py     workers behind an Executor: groups of items travel as one call
    host.py       a group of items where it has arrived, in worker processes there
    dask.py       workers of a Dask cluster
    plugins.py    Scheduler: an Executor of another package
"""

from convcli.jobs.executors.finished import as_finished, in_thread
from convcli.jobs.executors.opening import Opener, open_executor
from convcli.jobs.executors.plugins import Scheduler, schedulers
from convcli.jobs.executors.workers import Probe, Workers

__all__ = [
    "Opener",
    "Probe",
    "Scheduler",
    "Workers",
    "as_finished",
    "in_thread",
    "open_executor",
    "schedulers",
]
