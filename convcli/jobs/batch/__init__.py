"""Many files through one job, in processes that may die, on a machine that may stop: nothing is done twice or lost.

::

    sources.py    which files: names, folders, patterns, lists
    naming.py     where each goes, and what is refused there
    recipe.py     the job, its kernels resolved, and the digest of what results depend on
    manifest.py   what is done, in SQLite among the outputs
    task.py       one file, as a worker does it
    worker.py     the worker process
    pool.py       the pool of them, shaped like concurrent.futures
    run.py        Batch: settle, then run
"""

from convcli.jobs.batch.run import Batch
from convcli.jobs.batch.sources import Search, Source, listed
from convcli.jobs.batch.task import Record

__all__ = ["Batch", "Record", "Search", "Source", "listed"]
