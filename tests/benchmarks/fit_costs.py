"""Measure the costs by which the planner compares methods.

`python tests/benchmarks/fit_costs.py` prints them, in nanoseconds for float32 on one thread, the
least of several runs. Copy them to their modules if they change by more than a quarter with a new
machine or a new numpy.
"""

import math
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from convcli import conv_layer, correlate, limits, plan
from convcli.engine.methods import depthwise, direct, fft, full_rank, gemm, im2col, separable, taps
from convcli.engine.methods.windows import windows
from convcli.engine.planning import costs
from convcli.engine.rounding import round_into
from convcli.shapes.spec import ConvSpec

SIDE = 2048


def seconds(call: Callable[[], object]) -> float:
    """Return the processor time of the fastest of several runs."""
    call()
    best = float("inf")
    for _ in range(5):
        start = time.process_time()
        call()
        best = min(best, time.process_time() - start)
    return best


def per_output(
    method: str, window: tuple[int, int], separable: bool = False, stride: tuple[int, int] = (1, 1)
) -> float:
    """Return the nanoseconds per output of a correlation of a square image."""
    rng = np.random.default_rng(0)
    x = rng.random((SIDE, SIDE), dtype=np.float32)
    w = (
        np.outer(rng.random(window[0]), rng.random(window[1]))
        if separable
        else rng.standard_normal(window)
    )
    out = np.empty([(SIDE - k) // s + 1 for k, s in zip(window, stride, strict=True)], np.float32)
    return seconds(lambda: correlate(x, w, stride=stride, method=method, out=out)) / out.size * 1e9


def per_operation() -> float:
    """Return the nanoseconds per output of an operation on whole rows."""
    x = np.random.default_rng(0).random((SIDE, SIDE), dtype=np.float32)
    few, many = np.array([[-1, 0, 1]]), np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])
    assert all(isinstance(plan(x, w).implementation, taps.Taps) for w in (few, many))
    long, short = (seconds(partial(correlate, x, w)) for w in (many, few))
    return (long - short) / 4 / x.size * 1e9


def per_value(call: Callable[[np.ndarray, np.ndarray], object], *dtypes: str) -> float:
    """Return the nanoseconds per value of a call on arrays of some types, which fit the cache."""
    arrays = [np.full((64, 2048), 100, dtype) for dtype in dtypes]
    return seconds(lambda: [call(*arrays) for _ in range(100)]) / 100 / arrays[0].size * 1e9


def per_copied_sample() -> float:
    """Return the nanoseconds of copying and multiplying a sample, for small work."""
    x, few, many = np.ones((100, 100), np.float32), np.ones((2, 3)), np.ones((4, 3))
    assert all(isinstance(plan(x, w).implementation, im2col.Im2col) for w in (few, many))
    short, long = (
        seconds(lambda w=w: [correlate(x, w) for _ in range(100)]) / 100 for w in (few, many)
    )
    return (long - short) / 6 / x.size * 1e9


def per_sample(shape: tuple[int, ...], window: tuple[int, ...]) -> float:
    """Return the nanoseconds per sample of the tiles of a transform."""
    rng = np.random.default_rng(0)
    x, w = rng.random(shape, dtype=np.float32), rng.standard_normal(window)
    axes = plan(x, w, method="fft").axes
    size = fft.fft_tile(axes)
    counts = [-(-axis.out // (n - axis.k + 1)) for axis, n in zip(axes, size, strict=True)]
    taken = seconds(lambda: correlate(x, w, method="fft"))
    return taken / math.prod(counts) / math.prod(size) * 1e9


def per_spectrum_sample() -> float:
    """Return the nanoseconds per sample of a tile to prepare a kernel's spectrum."""
    x, w = np.zeros((512, 512), np.float32), np.random.default_rng(0).random((33, 33))
    made = plan(x, w, method="fft")
    taken = seconds(lambda: [made.implementation.prepare(w, made) for _ in range(20)])
    return taken / 20 / math.prod(fft.fft_tile(made.axes)) * 1e9


def per_tap(method: str, bank: tuple[int, ...], channels: int) -> float:
    """Return the nanoseconds per tap and output of a layer with a bank (O, KH, KW, C/groups)."""
    rng = np.random.default_rng(0)
    x, w = (
        rng.random((1, 256, 256, channels), dtype=np.float32),
        rng.standard_normal(bank).astype(np.float32),
    )
    outputs = math.prod(256 - k + 1 for k in bank[1:3]) * bank[0]
    taken = seconds(lambda: conv_layer(x, w, groups=channels // bank[3], method=method))
    return taken / outputs / math.prod(bank[1:]) * 1e9


def per_window_sample(channels: int) -> float:
    """Return the nanoseconds per sample to copy windows of 3x3 with stride 2 to rows.

    Their runs have 3 * channels contiguous samples.
    """
    x = np.random.default_rng(0).random((1, 64, 64, channels), dtype=np.float32)
    axes = ConvSpec.of(2, stride=2).axes((64, 64), (3, 3))
    seen = windows(x, axes, [axis.out for axis in axes])
    rows = np.empty(seen.shape, seen.dtype)
    return seconds(lambda: [np.copyto(rows, seen) for _ in range(100)]) / 100 / rows.size * 1e9


def main() -> None:
    limits.set_threads(1)
    few, many = per_output("gemm", (5, 15)), per_output("gemm", (13, 15))
    mac = (many - few) / (15 * 8)
    long, short = per_output("separable", (65, 65), True), per_output("separable", (17, 17), True)
    each = (short - (long - short) / 96 * 52) / 2
    tap = (per_output("direct", (7, 7)) - per_output("direct", (3, 3))) / (49 - 9)
    small = per_output("gemm", (3, 3))
    gather = max((few - small - (15 * 8 - 3 * 6) * mac) / 12, 0)
    volume, signal = per_sample((160, 160, 160), (9, 9, 9)), per_sample((1_000_000,), (1025,))
    transform = (volume - signal) / 4
    move = signal - 2 * transform
    slim, wide = per_tap("direct", (4, 3, 3, 4), 4), per_tap("direct", (64, 3, 3, 4), 4)
    broken, joined = per_window_sample(2), per_window_sample(64)
    window = (64 * joined - 2 * broken) / 62
    wide_row, narrow_row = (per_output("gemm", (3, k), stride=(1, 2)) for k in (9, 3))
    taps_25, taps_9 = (per_tap("gemm", (32, k, k, 1), 32) for k in (5, 3))
    found = {
        (direct, "TAP"): tap,
        (costs, "MAC"): mac,
        (separable, "PASS"): each,
        (costs, "GATHER"): gather,
        (full_rank, "STEPPED"): (wide_row - narrow_row) / 6 - 6 * mac,
        (costs, "TOUCH"): small - 3 * 6 * mac - 3 * gather,
        (direct, "BROADCAST"): (slim - wide) / (1 / 4 - 1 / 64),
        (taps, "OPERATION"): per_operation(),
        (depthwise, "TAP"): (25 * taps_25 - 9 * taps_9) / (25 - 9),
        (gemm, "WINDOW"): window,
        (gemm, "WINDOW_RUN"): 6 * (broken - window),
        (costs, "CONVERT"): per_value(lambda x, y: np.copyto(y, x), "uint8", "float32"),
        (costs, "STORE"): per_value(
            lambda x, y: round_into(x, y, within=(0.0, 255.0)), "float32", "uint8"
        ),
        (separable, "ADD"): per_value(lambda x, y: np.add(x, x, out=y), "float32", "float32"),
        (im2col, "TAP"): per_copied_sample(),
        (fft, "TRANSFORM"): transform,
        (fft, "MOVE"): move,
        (fft, "SPECTRUM"): per_spectrum_sample(),
    }
    for (module, name), measured in found.items():
        owner = module.__name__.rpartition(".")[2]
        current = getattr(module, name)
        print(f"{owner:10s} {name:10s} {measured:8.4f} ns measured, {current:8.4f} in the planner")


if __name__ == "__main__":
    main()
