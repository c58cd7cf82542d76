"""Compare convcli, GraphicsMagick and vips on one folder of pictures, each with two processes.

`python tests/benchmarks/batch.py` prints the median time of each and the ratios of convcli's time
to them. All apply the same 3x3 sharpening kernel, repeat the edge, and write JPEG of quality 95
without subsampling (4:4:4), or with --format png PNG at zlib's level 1. GraphicsMagick runs
`gm mogrify` on both halves of the folder at the same time, vips runs `vips conv` on each file, two
at a time; both use one thread per process. Tools that are not installed are skipped. Python's
compiled modules are kept, as those of an installed package are.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

JOBS = 2
QUALITY = 95
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1", "VIPS_CONCURRENCY": "1"}


def make_picture(folder: Path, side: int, form: str, number: int) -> None:
    """Write a picture of smooth colours, straight edges and noise; its number is the seed."""
    path = folder / f"{number:04}.{form}"
    if path.exists():
        return
    rng = np.random.default_rng(number)
    rows, columns = np.mgrid[:side, :side] / side
    picture = np.empty((side, side, 3), np.float32)
    for channel in range(3):
        across, down, phase = rng.uniform(1, 9, 3)
        picture[..., channel] = 128 + 90 * np.sin(across * columns + down * rows**2 + phase)
    for _ in range(40):
        top, left = rng.integers(0, side, 2)
        height, width = rng.integers(side // 8, side // 4, 2)
        picture[top : top + height, left : left + width] += rng.uniform(-80, 80, 3)
    picture += rng.normal(0, 4, picture.shape)
    Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(path, quality=90)


def run_all(commands: list[list[str]], folder: Path) -> None:
    """Run commands concurrently in a folder; each must succeed."""
    quiet = partial(subprocess.Popen, cwd=folder, env=ONE_THREAD, stdout=subprocess.DEVNULL)
    codes = [process.wait() for process in list(map(quiet, commands))]
    if any(codes):
        raise SystemExit(f"{commands[0][0]} failed")


def suffix_of(folder: Path) -> str:
    """Return the suffix of the pictures in a folder."""
    return next(iter(folder.glob("0000.*"))).suffix


def convcli(folder: Path, out: Path) -> None:
    """Run convcli with two workers and their parent process."""
    words = ["batch", folder, "-k", "sharpen", "--padding", "same", "--boundary", "edge"]
    words += ["--out", out, "-q", "--jobs", JOBS]
    words += ["--quality", QUALITY] if suffix_of(folder) == ".jpg" else []
    run_all([[sys.executable, "-m", "convcli", *map(str, words)]], folder)


def graphicsmagick(folder: Path, out: Path) -> None:
    """Run two mogrify processes, each on every second file."""
    options = ["-convolve", "0,-1,0,-1,5,-1,0,-1,0"]
    suffix = suffix_of(folder)
    settings = ["-quality", str(QUALITY), "-sampling-factor", "1x1"]
    options += settings if suffix == ".jpg" else ["-quality", "15"]
    files = sorted(path.name for path in folder.glob(f"*{suffix}"))
    mogrify = ["gm", "mogrify", "-output-directory", str(out), *options]
    run_all([[*mogrify, *files[start::JOBS]] for start in range(JOBS)], folder)


def vips(folder: Path, out: Path) -> None:
    """Run vips once per file, two at a time, with its fast integer arithmetic."""
    kernel = folder / "sharpen.mat"
    kernel.write_text("3 3 1 0\n0 -1 0\n-1 5 -1\n0 -1 0\n")
    suffix = suffix_of(folder)
    settings = f"Q={QUALITY},subsample-mode=off" if suffix == ".jpg" else "compression=1"
    output = f"{out}/{{}}{suffix}[{settings}]"
    source = f"{folder}/{{}}{suffix}"
    each = ["vips", "conv", source, output, str(kernel), "--precision", "integer"]
    stems = "\n".join(sorted(path.stem for path in folder.glob(f"*{suffix}")))
    words = ["xargs", "-P", str(JOBS), "-I{}", *each]
    subprocess.run(words, input=stems.encode(), env=ONE_THREAD, check=True)


def seconds(tool: Callable[[Path, Path], None], folder: Path) -> float:
    """Return the time of one run into an empty folder."""
    out = Path(tempfile.mkdtemp(dir=folder))
    start = time.perf_counter()
    tool(folder, out)
    taken = time.perf_counter() - start
    suffix = suffix_of(folder)
    made = len(list(out.glob(f"*{suffix}")))
    shutil.rmtree(out)
    if made != len(list(folder.glob(f"*{suffix}"))):
        raise SystemExit(f"{tool.__name__} wrote {made} files")
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=200, help="number of pictures")
    parser.add_argument("--side", type=int, default=1024, help="of each picture, in pixels")
    parser.add_argument("--format", choices=("jpg", "png"), default="jpg")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="folder to keep the pictures in")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        ONE_THREAD.pop("PYTHONDONTWRITEBYTECODE", None)
        ONE_THREAD["PYTHONPYCACHEPREFIX"] = str(Path(temporary) / "compiled")
        with ProcessPoolExecutor(JOBS) as pool:
            make = partial(make_picture, folder, given.side, given.format)
            list(pool.map(make, range(given.count)))
        programs = {convcli: sys.executable, graphicsmagick: "gm", vips: "vips"}
        tools = [tool for tool, program in programs.items() if shutil.which(program)]
        times: dict[str, list[float]] = {tool.__name__: [] for tool in tools}
        for _ in range(given.rounds):
            for tool in tools:
                times[tool.__name__].append(seconds(tool, folder))
    own = times.pop("convcli")
    print(f"{given.count} pictures, {JOBS} processes; medians of {given.rounds} rounds")
    print(f"convcli         {median(own):6.2f} s")
    for name, taken in times.items():
        ratios = sorted(mine / theirs for mine, theirs in zip(own, taken, strict=True))
        told = f"convcli takes {median(ratios):.2f} of it, {ratios[0]:.2f} to {ratios[-1]:.2f}"
        print(f"{name:15} {median(taken):6.2f} s   {told}")


if __name__ == "__main__":
    main()
