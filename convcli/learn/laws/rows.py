"""What a law comes to: both sides, how far they are apart, how far they may be, and the verdict."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from convcli.jobs.verify import TOLERANCE

Array = NDArray[np.float64]
Expected = Literal["equal", "differs"]

ROUNDING = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Row:
    """One statement, measured: left and right are both sides where they are furthest apart, which is `at`.

    A statement that is expected to differ is a counter-example: it need not fail where the data are too plain for it.
    """

    statement: str
    left: float
    right: float
    difference: float
    bound: float
    at: tuple[int, ...]
    expected: Expected = "equal"
    note: str = ""

    @property
    def equal(self) -> bool:
        return self.difference <= self.bound

    @property
    def verdict(self) -> str:
        """Holds or FAILED for what must be equal; differs or agrees for a counter-example."""
        if self.expected == "equal":
            return "holds" if self.equal else "FAILED"
        return "agrees" if self.equal else "differs"

    @property
    def passed(self) -> bool:
        return self.verdict != "FAILED"


def compare(
    statement: str, left: Array, right: Array, bound: float, *, expected: Expected = "equal", note: str = ""
) -> Row:
    """Lay two arrays of one shape beside each other.

    >>> row = compare("2 x = x + x", np.array([2.0, 4.0]), np.array([2.0, 4.5]), bound=0.1)
    >>> row.left, row.right, row.difference, row.at, row.verdict
    (4.0, 4.5, 0.5, (1,), 'FAILED')
    """
    apart = np.abs(left - right)
    worst = np.argmax(apart) if np.any(apart) else np.argmax(np.abs(left))
    at = tuple(int(i) for i in np.unravel_index(worst, left.shape))
    return Row(statement, float(left[at]), float(right[at]), float(apart[at]), bound, at, expected, note)


def bounded(scale: float, *, sums: int = 2, terms: int = 0) -> float:
    """The largest difference that rounding explains.

    scale: sum|w| * max|x|, which no output exceeds.   sums: results of the engine that took part, each within the
    contract's 1e-14 of the scale.   terms: additions made elsewhere, one after the other, of one rounding each.
    """
    return (TOLERANCE["float64"] * sums + ROUNDING * terms) * scale


def largest(values: Array) -> float:
    return float(np.abs(values).max(initial=0.0))


def weight(kernel: Array) -> float:
    return float(np.abs(kernel).sum())


def ranges(indices: Iterable[int]) -> str:
    """Indices as runs.

    >>> ranges([0, 1, 2, 5, 8, 9])
    '0..2,5,8..9'
    """
    runs: list[list[int]] = []
    for i in sorted(indices):
        if runs and i == runs[-1][-1] + 1:
            runs[-1].append(i)
        else:
            runs.append([i])
    return ",".join(f"{run[0]}" if len(run) == 1 else f"{run[0]}..{run[-1]}" for run in runs)
