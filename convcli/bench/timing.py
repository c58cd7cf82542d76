"""Calls timed turn by turn, and the machine's own limits beside them.

Calls that are to be compared run A B C A B C: what slows the machine down for a while slows all of
them down, and the ratios of their medians hold. Two of the calls may be yardsticks, which do
nothing but copy, or nothing but multiply.
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
"""Seconds since some moment."""

COPIED = 1 << 26
"""Bytes that the copying yardstick copies: more than any cache holds."""

SIDE = 1024
"""Rows and columns of the matrices that each thread of the other yardstick multiplies."""


@dataclass(frozen=True)
class Timing:
    """The seconds that a call took, turn by turn."""

    turns: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.turns)


class Yardstick(NamedTuple):
    """A call that does one thing only, as fast as the machine can, and how much of it."""

    call: Callable[[], object]
    amount: int


def timed(call: Callable[[], Result], clock: Clock = time.perf_counter) -> tuple[Result, float]:
    """Call a function. Returns its result and the seconds that it took.

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
    """Run every call once a turn, in their order, and time each; callers run a warm-up before.

    progress: called between the calls, outside of what is timed.

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
    """Return a yardstick that copies COPIED bytes; its amount is the bytes read and written.

    Its amount is the bytes that are read and written.
    """
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
    """Return a yardstick that multiplies matrices on every thread; its amount is the operations.

    Its amount is the operations, two a multiply-add.
    """
    count = threads()
    left, right = (
        np.full((count, SIDE, SIDE), 1.5, np.float32),
        np.full((SIDE, SIDE), 0.5, np.float32),
    )
    products = np.empty_like(left)
    work = partial(_multiply, left, right, products)
    return Yardstick(lambda: share_out(work, range(count), workers=threads()), 2 * count * SIDE**3)


def _multiply(left: np.ndarray, right: np.ndarray, products: np.ndarray, at: int) -> None:
    np.matmul(left[at], right, out=products[at])
