"""Measure the costs that the planner weighs methods by: `python tests/bench/fit_costs.py` prints them.

Each figure is nanoseconds in float32 on one thread, the least of several runs. Copy them into convcli/bids.py
when a new machine or a new numpy moves them by more than a quarter.
"""

import math
import time
from collections.abc import Callable

import numpy as np

from convcli import bids, cores, correlate, plan, tiles

SIDE = 2048


def seconds(call: Callable[[], object]) -> float:
    """The processor's time of the fastest of several runs."""
    call()
    best = float("inf")
    for _ in range(5):
        start = time.process_time()
        call()
        best = min(best, time.process_time() - start)
    return best


def per_output(method: str, window: tuple[int, int], separable: bool = False) -> float:
    """Nanoseconds for an output of a correlation on a square image."""
    rng = np.random.default_rng(0)
    x = rng.random((SIDE, SIDE), dtype=np.float32)
    w = np.outer(rng.random(window[0]), rng.random(window[1])) if separable else rng.standard_normal(window)
    out = np.empty([SIDE - k + 1 for k in window], np.float32)
    return seconds(lambda: correlate(x, w, method=method, out=out)) / out.size * 1e9


def per_sample(shape: tuple[int, ...], window: tuple[int, ...]) -> float:
    """Nanoseconds for a sample of all the tiles that a transform cuts an input into."""
    rng = np.random.default_rng(0)
    x, w = rng.random(shape, dtype=np.float32), rng.standard_normal(window)
    axes = plan(x, w, method="fft").axes
    size = tiles.fft_tile(axes)
    counts = [-(-axis.out // (n - axis.k + 1)) for axis, n in zip(axes, size, strict=True)]
    taken = seconds(lambda: correlate(x, w, method="fft"))
    return taken / math.prod(counts) / math.prod(size) * 1e9


def main() -> None:
    cores.set_threads(1)
    tap = (per_output("direct", (7, 7)) - per_output("direct", (3, 3))) / (49 - 9)
    few, many = per_output("gemm", (5, 15)), per_output("gemm", (13, 15))
    mac = (many - few) / (15 * 8)
    long, short = per_output("separable", (65, 65), True), per_output("separable", (17, 17), True)
    touch = (short - (long - short) / 96 * 52) / 2
    gather = max((few - 15 * 8 * mac - touch) / 15, 0)
    volume, signal = per_sample((160, 160, 160), (9, 9, 9)), per_sample((1_000_000,), (1025,))
    transform = (volume - signal) / 4
    move = signal - 2 * transform
    found = {"TAP": tap, "MAC": mac, "GATHER": gather, "TOUCH": touch, "FFT": transform, "FFT_MOVE": move}
    for name, measured in found.items():
        print(f"{name:8s} {measured:8.4f} ns measured, {getattr(bids, name):8.4f} in the planner")


if __name__ == "__main__":
    main()
