"""Measure what a call costs besides its arithmetic, on inputs whose arithmetic takes no time."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from convcli.bench.timing import Clock, Timing, timed
from convcli.engine.calls import forget_calls
from convcli.engine.operations import conv_layer, correlate
from convcli.progress import Progress, silent

CASES: tuple[tuple[str, Callable[..., Any], tuple[int, ...], tuple[int, ...]], ...] = (
    ("picture", correlate, (16, 16), (3, 3)),
    ("signal", correlate, (64,), (9,)),
    ("layer", conv_layer, (1, 8, 8, 4), (4, 3, 3, 4)),
)
"""Name, function, and the shapes of the input and of the kernel."""

REPEATS = 100
"""Repeated calls that are timed together: one takes less than a clock tells."""


class Overhead(NamedTuple):
    """The times of one kind of call."""

    name: str
    input: tuple[int, ...]
    kernel: tuple[int, ...]
    first: Timing
    """A call whose plan and prepared kernel are not remembered."""
    repeated: Timing
    """A call that was made before."""


def measure_overhead(
    runs: int, seed: int = 0, clock: Clock = time.perf_counter, progress: Progress = silent
) -> list[Overhead]:
    """Time a first and a repeated call of a picture, a signal and a layer, `runs` times each."""
    random, measured = np.random.default_rng(seed), []
    for number, (name, function, shape, window) in enumerate(CASES, 1):
        x = random.standard_normal(shape).astype(np.float32)
        w = random.standard_normal(window).astype(np.float32)
        first, repeated = [], []

        call = partial(function, x, w)
        call()
        for _ in range(runs):
            forget_calls()
            first.append(timed(call, clock)[1])
            repeated.append(timed(partial(_repeat, call), clock)[1] / REPEATS)
        times = Timing(tuple(first)), Timing(tuple(repeated))
        measured.append(Overhead(name, shape, window, *times))
        progress(number / len(CASES))
    return measured


def _repeat(call: Callable[[], Any]) -> None:
    for _ in range(REPEATS):
        call()
