"""Compare the local pool with Dask: the cost of a call, and of a batch of pictures.

`python tests/benchmarks/schedulers.py` prints, for worker processes of this machine (local), the
cluster that `--scheduler dask` starts (dask) and a cluster of two processes with one thread each
(tcp):

- the time of an empty call, alone (one item per group) and as an item of a batch, whose groups are
  sized by the time that items take;
- the median time of `convcli batch` on a folder of JPEG pictures, and its ratio to local, with the
  time that all workers' processes and the scheduler take to start.

Rounds alternate between the three, so that other load on the machine affects all of them.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from distributed import LocalCluster

from convcli.jobs.executors import Workers, as_finished, open_executor

CALLS, JOBS = 2000, 2


@contextmanager
def cluster() -> Iterator[str]:
    """Start a Dask cluster of two processes on this machine, and provide its address."""
    with LocalCluster(
        n_workers=JOBS,
        threads_per_worker=1,
        memory_limit=None,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
    ) as started:
        yield started.scheduler_address


def seconds_of_calls(workers: Workers, total: int | None) -> float:
    """Return the seconds that each of many empty calls takes.

    total: their number, which lets remote workers group them; None for one call after another.
    """
    for future in workers.submit_each(abs, range(JOBS * 16)):
        future.result()
    start = time.perf_counter()
    if total is None:
        futures = [workers.submit_each(abs, [number]) for number in range(CALLS)]
        for (future,) in futures:
            future.result()
    else:
        for _ in as_finished(workers, abs, range(total), total):
            pass
    return (time.perf_counter() - start) / CALLS


def seconds_of_batch(folder: Path, options: list[str]) -> float:
    """Return the seconds that one batch takes into an empty folder."""
    out = Path(tempfile.mkdtemp(dir=folder))
    words = ["batch", str(folder), "-k", "sharpen", "--padding", "same", "--out", str(out), "-q"]
    command = [sys.executable, "-m", "convcli", *words, *options]
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    taken = time.perf_counter() - start
    shutil.rmtree(out)
    return taken


def main() -> None:
    from batch import make_picture  # beside this file, where tests would not find it

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=200, help="number of pictures")
    parser.add_argument("--side", type=int, default=1024, help="of each picture, in pixels")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, cluster() as address:
        schedulers = {"local": None, "dask": "dask", "tcp": address}
        for name, scheduler in schedulers.items():
            with open_executor(scheduler, JOBS) as workers:
                alone, grouped = (seconds_of_calls(workers, total) for total in (None, CALLS))
            print(f"{name:6} {1000 * alone:7.3f} ms a call, {1000 * grouped:7.3f} ms an item")
        folder = Path(temporary)
        for number in range(given.count):
            make_picture(folder, given.side, "jpg", number)
        times: dict[str, list[float]] = {name: [] for name in schedulers}
        for _ in range(given.rounds):
            for name, scheduler in schedulers.items():
                options = ["--scheduler", scheduler] if scheduler else ["--jobs", str(JOBS)]
                times[name].append(seconds_of_batch(folder, options))
    for name, taken in times.items():
        ratio = median(mine / own for mine, own in zip(taken, times["local"], strict=True))
        print(f"{name:6} {median(taken):7.2f} s for {given.count} pictures, {ratio:.2f} of local")


if __name__ == "__main__":
    main()
