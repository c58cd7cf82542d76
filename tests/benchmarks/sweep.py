"""Time some four hundred small and medium convolutions before and after a change of the engine.

Run `python tests/benchmarks/sweep.py --save before.json`, make the change, and run it with
`--against before.json`: that prints the ratios of the times, the worst first, and their geometric
mean. Single ratios vary by a fifth; with `--turns` each time is the least of several sweeps.

`--cliffs AXIS` grows one size step by step (a width, a kernel, a length, channels or threads) and
prints the steps at which a unit of work takes 1.5 times longer, or more work 1.5 times less time.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise, product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from convcli import conv_layer, correlate, gradients, limits

SHAPES: dict[tuple[int, ...], int] = {
    (1000, 1500): 2,
    (3000, 37): 2,
    (64, 20000): 2,
    (512, 513, 3): 2,
    (700, 900, 4): 2,
    (300, 300, 32): 2,
    (64, 64, 64): 3,
    (30, 200, 300): 3,
    (100, 100, 40): 3,
    (2_000_000,): 1,
    (300, 10_000): 1,
}
"""Shapes of inputs, and the number of axes, from the first on, that the kernel slides along."""

OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"padding": "same", "boundary": "reflect"},
    {"stride": 2},
    {"dilation": 2},
)

LAYERS: tuple[tuple[int, int, int, int, int, dict[str, Any]], ...] = (
    (4, 32, 16, 32, 3, {}),
    (4, 32, 16, 32, 3, {"stride": 2}),
    (4, 32, 48, 32, 3, {"dilation": 2}),
    (2, 64, 8, 8, 5, {"padding": "same"}),
    (16, 16, 64, 64, 1, {}),
    (1, 10, 512, 512, 3, {"padding": "same"}),
    (4, 64, 12, 24, 3, {"groups": 4}),
    (1, 128, 3, 16, 3, {"padding": "same", "stride": 2}),
    (64, 8, 32, 64, 3, {}),
    (2, 200, 24, 24, 3, {}),
    (32, 28, 1, 6, 5, {}),
)
"""Items, side of an item, channels, kernels, side of a kernel, and other options."""

LONG = (10_000, 20_000, 50_000, 100_000, 200_000, 500_000)
"""Samples of the longest kernels over a signal."""

RUNS = 4
"""Timed runs of each case."""


CLIFF = 1.5
"""Ratio from which a step counts as a cliff."""


class Point(NamedTuple):
    """One convolution of a series in which a size grows."""

    size: int
    work: float
    """Units of work, to compare the times of neighbours."""
    call: Callable[[], object]
    threads: int | None = None


def cases(rng: np.random.Generator) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield every case with its name."""
    for (shape, dims), dtype in product(SHAPES.items(), ("float32", "uint8", "float64")):
        x = (rng.random(shape) * 200).astype(dtype)
        for k, options in product((3, 6) if dims == 3 else (3, 6, 12), OPTIONS):
            w = rng.standard_normal((k,) * dims)
            yield (
                f"{shape} {dtype} k{k} {options}",
                partial(correlate, x, w, axes=range(dims), **options),
            )
    for (items, side, channels, filters, k, options), dtype in product(
        LAYERS, ("float32", "float64")
    ):
        x = rng.standard_normal((items, side, side, channels)).astype(dtype)
        w = rng.standard_normal((filters, k, k, channels // options.get("groups", 1))).astype(dtype)
        name = f"{x.shape} {w.shape} {dtype} {options}"
        yield f"layer {name}", partial(conv_layer, x, w, **options)
        yield f"gradients {name}", partial(gradients, x, w, conv_layer(x, w, **options), **options)


def widths() -> Iterator[tuple[str, Iterator[Point]]]:
    """Yield series of square pictures."""
    sizes = (100, 140, 200, 280, 400, 560, 800, 1100, 1500, 2000, 2700, 3600, 5000)
    rng = np.random.default_rng(0)
    bell = np.exp(-(np.linspace(-3, 3, 17) ** 2))
    for dtype, channels in (("float32", 1), ("uint8", 3), ("float64", 1)):
        for name, w in {
            "3x3": rng.standard_normal((3, 3)),
            "7x7": rng.standard_normal((7, 7)),
            "gaussian 17x17": np.outer(bell, bell),
            "31x31": rng.standard_normal((31, 31)),
        }.items():
            yield (
                f"{dtype} pictures of {channels} channels, {name}",
                (
                    Point(n, n * n, partial(correlate, x, w, axes=(0, 1)))
                    for n in sizes
                    for x in [(rng.random((n, n, channels)) * 200).astype(dtype)]
                ),
            )


def kernels() -> Iterator[tuple[str, Iterator[Point]]]:
    """Yield series of growing kernels over pictures and signals."""
    rng = np.random.default_rng(0)
    sides = (1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 15, 19, 25, 31, 41, 51, 65)
    for shape, dtype in (((1000, 1000), "float32"), ((600, 600, 3), "uint8")):
        x = (rng.random(shape) * 200).astype(dtype)
        yield (
            f"full-rank kernels over {shape} {dtype}",
            (
                Point(k, k * k, partial(correlate, x, w, axes=(0, 1)))
                for k in sides
                for w in [rng.standard_normal((k, k))]
            ),
        )
        yield (
            f"separable kernels over {shape} {dtype}",
            (
                Point(k, k, partial(correlate, x, w, axes=(0, 1)))
                for k in sides
                for w in [np.outer(rng.random(k), rng.random(k))]
            ),
        )
    for n in (10_000, 1_000_000):
        x = rng.random(n, np.float32)
        yield (
            f"kernels over a signal of {n:,} samples",
            (
                Point(k, k * (n - k + 1) / n, partial(correlate, x, w))
                for k in (1, 3, 9, 17, 33, 65, 129, 257, 513, 1025, 2049, 5000, *LONG)
                if k <= n // 2
                for w in [rng.standard_normal(k)]
            ),
        )


def lengths() -> Iterator[tuple[str, Iterator[Point]]]:
    """Yield series of signals."""
    sizes = [m * 10**e for e in (3, 4, 5, 6) for m in (1, 2, 5)] + [10_000_000]
    rng = np.random.default_rng(0)
    for dtype in ("float32", "float64"):
        for k in (3, 9, 65, 513):
            w = rng.standard_normal(k)
            yield (
                f"{dtype} signals, kernel of {k}",
                (
                    Point(n, n - k + 1, partial(correlate, x, w))
                    for n in sizes
                    for x in [rng.random(n).astype(dtype)]
                ),
            )


def channels() -> Iterator[tuple[str, Iterator[Point]]]:
    """Yield series of pictures and layers with more and more channels."""
    counts = (1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32, 48, 64)
    rng = np.random.default_rng(0)
    maps = {c: rng.random((1, 200, 200, c), np.float32) for c in counts}
    for k in (3, 9):
        yield (
            f"pictures of 200x200, {k}x{k}",
            (
                Point(c, c, partial(correlate, x[0], rng.standard_normal((k, k)), axes=(0, 1)))
                for c, x in maps.items()
            ),
        )
        yield (
            f"depthwise layers of 200x200, {k}x{k}",
            (
                Point(c, c, partial(conv_layer, x, rng.standard_normal((c, k, k, 1)), groups=c))
                for c, x in maps.items()
            ),
        )
    yield (
        "layers of 200x200 with 32 kernels, 3x3",
        (
            Point(c, c, partial(conv_layer, x, rng.standard_normal((32, 3, 3, c))))
            for c, x in maps.items()
        ),
    )


def threads() -> Iterator[tuple[str, Iterator[Point]]]:
    """Yield series of more and more threads, up to twice the cores."""
    rng = np.random.default_rng(0)
    bell = np.exp(-(np.linspace(-3, 3, 17) ** 2))
    gray, colours = rng.random((2000, 2000), np.float32), rng.integers(0, 256, (1000, 1000, 3))
    maps = rng.random((8, 56, 56, 64), np.float32)
    for name, call in {
        "gray 3x3": partial(correlate, gray, rng.standard_normal((3, 3))),
        "gray 31x31": partial(correlate, gray, rng.standard_normal((31, 31))),
        "gray gaussian": partial(correlate, gray, np.outer(bell, bell)),
        "rgb 3x3": partial(
            correlate, colours.astype(np.uint8), rng.standard_normal((3, 3)), axes=(0, 1)
        ),
        "signal": partial(correlate, gray.ravel(), rng.standard_normal(65)),
        "layer": partial(conv_layer, maps, rng.standard_normal((64, 3, 3, 64))),
        "depthwise layer": partial(conv_layer, maps, rng.standard_normal((64, 3, 3, 1)), groups=64),
    }.items():
        yield name, (Point(n, 1, call, n) for n in (1, 2, 3, 4, 8))


AXES = {
    "width": widths,
    "kernel": kernels,
    "threads": threads,
    "length": lengths,
    "channels": channels,
}


def print_cliffs(axis: str) -> None:
    """Print the steps of an axis that are cliffs, each measured again before."""
    for series, points in AXES[axis]():
        grown = list(points)
        times = [least(point) for point in grown]
        for at, (before, after) in enumerate(pairwise(grown)):
            for _ in range(2):
                if step_ratio(before, after, *times[at : at + 2]) > CLIFF:
                    times[at : at + 2] = (
                        min(times[at + i], least(point)) for i, point in enumerate((before, after))
                    )
            ratio = step_ratio(before, after, *times[at : at + 2])
            if ratio > CLIFF:
                print(
                    f"{ratio:5.2f}  {series}: {before.size:,} {times[at]:.2f} ms -> "
                    f"{after.size:,} {times[at + 1]:.2f} ms",
                    flush=True,
                )


def step_ratio(before: Point, after: Point, first: float, second: float) -> float:
    """Return by how much a unit of work takes longer, or more work less time."""
    longer = second / first * before.work / after.work
    return max(longer, first / second) if after.work > before.work else longer


def least(point: Point) -> float:
    """Return the milliseconds of a point with its number of threads."""
    limits.set_threads(point.threads)
    return milliseconds(point.call)


def milliseconds(call: Callable[[], object]) -> float:
    """Return the least time of RUNS runs, after a warm-up run."""
    call()
    taken = []
    for _ in range(RUNS):
        begun = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begun)
    return min(taken) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--save", type=Path, help="write the times to this file")
    parser.add_argument("--against", type=Path, help="compare with times that --save wrote")
    parser.add_argument("--turns", type=int, default=1, help="number of sweeps [default: 1]")
    parser.add_argument("--cliffs", choices=AXES, help="print the cliffs of an axis, and stop")
    given = parser.parse_args()
    if given.cliffs:
        print_cliffs(given.cliffs)
        return
    times: dict[str, float] = {}
    for _ in range(given.turns):
        for name, call in cases(np.random.default_rng(5)):
            times[name] = min(milliseconds(call), times.get(name, math.inf))
    if given.save:
        given.save.write_text(json.dumps(times, indent=1))
    if given.against:
        before = json.loads(given.against.read_text())
        ratios = {name: times[name] / before[name] for name in times if name in before}
        for name in sorted(ratios, key=ratios.__getitem__, reverse=True):
            print(f"{ratios[name]:.2f}  {before[name]:8.2f} -> {times[name]:8.2f} ms  {name}")
        mean = math.exp(np.mean([math.log(ratio) for ratio in ratios.values()]))
        print(f"{len(ratios)} cases, geometric mean {mean:.3f}")


if __name__ == "__main__":
    main()
