"""Filter a zarr volume with convcli and with dask.array.map_overlap and scipy.ndimage.

Both read and write the same chunks with the same number of threads or processes; times and the
largest memory of all their processes are printed, with the number of tasks::

    python tests/benchmarks/zarr_volume.py --gib 1 --jobs 2
    python tests/benchmarks/zarr_volume.py --tasks 100 1000 10000

--tasks measures how the time grows with the number of regions, of a volume of small chunks.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

CHUNK = 128
SIGMA, REACH = 2.0, 8

DASK = """
import sys, dask, dask.array as da, numpy as np
from scipy import ndimage
source, target, block, jobs = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
x = da.from_zarr(source, chunks=(block,) * 3)
f = lambda a: np.rint(ndimage.gaussian_filter(a, 2.0, output=np.float32, mode="nearest", radius=8)
                      ).astype(np.uint16)
y = x.map_overlap(f, depth=8, boundary="nearest", dtype=np.uint16)
with dask.config.set(scheduler="threads", num_workers=jobs):
    z = y.rechunk((128,) * 3).to_zarr(target, compute=False)
    print(len(z.__dask_graph__()), "tasks in the graph")
    z.compute()
"""


def fill(path: Path, side: int, chunk: int) -> int:
    """Write a volume of uint16, smooth with some noise, and return its bytes."""
    import zarr

    array = zarr.create_array(str(path), shape=(side,) * 3, chunks=(chunk,) * 3, dtype="u2")
    generator = np.random.default_rng(0)
    ramp = np.arange(side, dtype=np.uint16)
    for start in range(0, side, chunk):
        stop = min(start + chunk, side)
        slab = generator.integers(0, 64, (stop - start, side, side), np.uint16)
        slab += ramp[start:stop, None, None] * 4 + ramp[:, None] + ramp
        array[start:stop] = slab
    return side**3 * 2


def tree(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    found = [pid]
    for each in found:
        for task in Path(f"/proc/{each}/task").glob("*/children"):
            found += [int(child) for child in task.read_text().split()]
    return found


def resident(pid: int) -> tuple[int, int]:
    """Return the resident bytes of a process tree, and of its largest process."""
    sizes = []
    for each in tree(pid):
        lines = Path(f"/proc/{each}/status").read_text().splitlines()
        sizes += [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS")]
    return sum(sizes), max(sizes, default=0)


def measure(command: list[str]) -> tuple[float, int, int, str]:
    """Run a command; return seconds, the largest memory of all and of one process, and its text."""
    began, most = time.perf_counter(), [0, 0]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:

        def watch() -> None:
            while process.poll() is None:
                try:
                    now = resident(process.pid)
                except (OSError, ProcessLookupError):
                    continue
                most[:] = [max(pair) for pair in zip(most, now, strict=True)]
                time.sleep(0.05)

        watcher = threading.Thread(target=watch)
        watcher.start()
        assert process.stdout is not None
        text = process.stdout.read().decode()
        process.wait()
        watcher.join()
        if process.returncode:
            raise SystemExit(text)
    return time.perf_counter() - began, most[0], most[1], text.strip()


def show(name: str, size: int, found: tuple[float, int, int, str]) -> None:
    seconds, together, largest, text = found
    rate = size / 2**20 / seconds
    memory = f"{together / 2**20:,.0f} MiB in all, {largest / 2**20:,.0f} in one process"
    print(f"{name:28}{seconds:8.1f} s {rate:7.0f} MiB/s  {memory}  {text.splitlines()[-1][-60:]}")


def apply(source: Path, target: Path, jobs: int, *more: str) -> list[str]:
    words = ["-k", f"gaussian:sigma={SIGMA}", "--dims", "3", "--boundary", "edge"]
    head = [sys.executable, "-m", "convcli", "apply", str(source), "-o", str(target), "-f"]
    return [*head, *words, "--dtype", "uint16", "--jobs", str(jobs), *more]


def compare(folder: Path, gib: float, jobs: int, block: int) -> None:
    import zarr

    side = round((gib * 2**30 / 2) ** (1 / 3))
    size = fill(folder / "in.zarr", side, CHUNK)
    print(f"{side}^3 uint16, {size / 2**30:.2f} GiB, chunks of {CHUNK}^3, {jobs} at once")
    show("convcli", size, measure(apply(folder / "in.zarr", folder / "own.zarr", jobs)))
    own = zarr.open_array(str(folder / "own.zarr"), mode="r")
    for side_of in (CHUNK, block):
        shutil.rmtree(folder / "dask.zarr", ignore_errors=True)
        names = [str(folder / "in.zarr"), str(folder / "dask.zarr"), str(side_of), str(jobs)]
        found = measure([sys.executable, "-c", DASK, *names])
        show(f"map_overlap, blocks of {side_of}", size, found)
    other = zarr.open_array(str(folder / "dask.zarr"), mode="r")
    worst = max(
        int(np.abs(own[at : at + CHUNK].astype(int) - other[at : at + CHUNK]).max())
        for at in range(0, side, CHUNK)
    )
    print(f"the largest difference is {worst}")


def grow(folder: Path, counts: list[int], jobs: int) -> None:
    """Time volumes of more and more regions of one chunk."""
    for count in counts:
        side = round(count ** (1 / 3)) * 16
        size = fill(folder / f"{count}.zarr", side, 16)
        found = measure(apply(folder / f"{count}.zarr", folder / "out.zarr", jobs, "--block", "16"))
        tasks = (side // 16) ** 3
        show(f"{tasks:,} tasks", size, found)
        print(f"{1000 * found[0] / tasks:28.2f} ms a task")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gib", type=float, default=1.0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--block", type=int, default=256, help="a second block for map_overlap")
    parser.add_argument("--tasks", type=int, nargs="*", default=[])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if given.tasks:
            grow(Path(name), given.tasks, given.jobs)
        else:
            compare(Path(name), given.gib, given.jobs, given.block)


if __name__ == "__main__":
    main()
