"""Many files through one request, in worker processes that may die.

After a crash the same command with `resume` completes the batch, and processes no file twice.

::

    sources.py    input files: names, folders, patterns, lists
    naming.py     output names by a template
    rows.py       millions of names in little memory
    planning.py   inputs and outputs, and the checks on them
    task.py       one file in a worker; Recipe: the request, its kernels resolved, and its digest
    manifest.py   what has been done, in SQLite among the outputs
    digests.py    the digests of files and objects
    outputs.py    where a batch writes: a folder, or objects in a store
    store_manifest.py  the manifest and the lock of outputs in a store
    run.py        Batch: plan, then run
    in_place.py   plan_in_place: a Batch whose outputs replace their inputs
"""

from convcli.jobs.batch.in_place import plan_in_place
from convcli.jobs.batch.run import Batch
from convcli.jobs.batch.sources import Search, Source, listed
from convcli.jobs.batch.task import Record

__all__ = ["Batch", "Record", "Search", "Source", "listed", "plan_in_place"]
