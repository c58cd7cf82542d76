"""Time calls in interleaved runs, and measure the machine's limits for comparison.

Calls run in the order A B C A B C: a temporary slowdown of the machine affects all of them, and the
ratios of their medians remain valid. Two yardsticks, which only copy and only multiply, measure the
machine's memory bandwidth and arithmetic.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np

from convcli.engine.threads import share_out
from convcli.limits import threads
from convcli.progress import Progress, silent

Result = TypeVar("Result")
Clock = Callable[[], float]
"""Returns seconds since an arbitrary time."""

COPIED = 1 << 26
"""Bytes that the copying yardstick copies: more than the size of any cache."""

SIDE = 1024
"""Rows and columns of the matrices that each thread of the multiplying yardstick multiplies."""


@dataclass(frozen=True)
class Timing:
    """The seconds of a call in each turn."""

    turns: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.turns)


class Yardstick(NamedTuple):
    """A call that does one thing as fast as the machine can, and its amount of work."""

    call: Callable[[], object]
    amount: int


def timed(call: Callable[[], Result], clock: Clock = time.perf_counter) -> tuple[Result, float]:
    """Call a function and return its result and the seconds that it took.

    >>> timed(lambda: "done", iter([10.0, 12.5]).__next__)
    ('done', 2.5)
    """
    start = clock()
    result = call()
    return result, clock() - start


def take_turns(
    calls: Mapping[str, Callable[[], object]],
    turns: int,
    clock: Clock = time.perf_counter,
    progress: Progress = silent,
) -> dict[str, Timing]:
    """Time every call once per turn, in order; the caller has done warm-up runs.

    progress: called between the calls, outside of the timed intervals.

    >>> ticks = iter([0, 1, 1, 3, 3, 4, 4, 6])
    >>> take_turns({"a": int, "b": int}, 2, lambda: next(ticks))
    {'a': Timing(turns=(1, 1)), 'b': Timing(turns=(2, 2))}
    """
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(turns):
        for number, (name, call) in enumerate(calls.items(), 1):
            taken[name].append(timed(call, clock)[1])
            progress((turn + number / len(calls)) / turns)
    return {name: Timing(tuple(each)) for name, each in taken.items()}


def copying() -> Yardstick:
    """Return a yardstick that copies COPIED bytes; its amount is the bytes read and written."""
    source = np.ones(COPIED // 4, np.float32)

    def call() -> None:
        target = np.empty_like(source)
        ends = np.linspace(0, source.size, threads() + 1).astype(int)
        share_out(
            lambda at: np.copyto(target[at], source[at]),
            map(slice, ends[:-1], ends[1:]),
            workers=threads(),
        )

    return Yardstick(call, 2 * source.nbytes)


def multiplying() -> Yardstick:
    """Return a yardstick that multiplies matrices on every thread.

    Its amount is the number of operations, two per multiply-add.
    """
    count = threads()
    left = np.full((count, SIDE, SIDE), 1.5, np.float32)
    right = np.full((SIDE, SIDE), 0.5, np.float32)
    products = np.empty_like(left)
    work = partial(_multiply, left, right, products)
    return Yardstick(lambda: share_out(work, range(count), workers=threads()), 2 * count * SIDE**3)


def _multiply(left: np.ndarray, right: np.ndarray, products: np.ndarray, at: int) -> None:
    np.matmul(left[at], right, out=products[at])
