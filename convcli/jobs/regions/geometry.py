"""Cut an output into regions, and find the samples that the windows of each one cover.

Along an axis, windows at a boundary cover samples from elsewhere::

    wrap       the first output of n samples reads samples n-1, 0, 1
    reflect    the same output reads samples 1, 0, 1

Those samples are read as well, and put where the windows expect them. Only the constant is left to
the engine: it may be a number that the input's type cannot hold.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from convcli.engine.padding import boundary_index
from convcli.options import Boundary
from convcli.shapes.axis import Axis

Span = tuple[int, int]


@dataclass(frozen=True)
class Grid:
    """An array cut into equal blocks, which are numbered in C order; the last ones are smaller.

    >>> grid = Grid((5, 4), (2, 4))
    >>> [grid.spans(number) for number in range(len(grid))]
    [((0, 2), (0, 4)), ((2, 4), (0, 4)), ((4, 5), (0, 4))]
    """

    shape: tuple[int, ...]
    block: tuple[int, ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """The number of blocks along each axis."""
        return tuple(-(-n // size) for n, size in zip(self.shape, self.block, strict=True))

    def __len__(self) -> int:
        return math.prod(self.counts)

    def spans(self, number: int) -> tuple[Span, ...]:
        """Return the span of a block along each axis."""
        found: list[Span] = []
        for n, size, count in zip(
            reversed(self.shape), reversed(self.block), reversed(self.counts), strict=True
        ):
            number, at = divmod(number, count)
            found.append((at * size, min((at + 1) * size, n)))
        return tuple(reversed(found))

    def along(self, axis: int) -> Iterator[Span]:
        """Yield the spans of the blocks along one axis."""
        n, size = self.shape[axis], self.block[axis]
        return ((start, min(start + size, n)) for start in range(0, n, size))


class Window(NamedTuple):
    """The part of a region's samples that one kernel reads along an axis.

    padding: constants that the engine adds before and after it.
    """

    span: Span
    padding: Span = (0, 0)


class Samples(NamedTuple):
    """The samples along an axis that a span of outputs reads.

    spans: of the input, ascending and disjoint. order: for each position, the sample of the joined
    spans; None if they are in order. windows: of each kernel, as parts of these positions.
    """

    spans: tuple[Span, ...]
    order: NDArray[np.intp] | None
    windows: tuple[Window, ...]

    @property
    def length(self) -> int:
        """The number of positions."""
        if self.order is not None:
            return len(self.order)
        return sum(stop - start for start, stop in self.spans)


def samples_under(axes: Sequence[Axis], outputs: Span, boundary: Boundary) -> Samples:
    """Return the samples that a span of outputs reads along an axis, which each kernel has its own.

    With the boundary `constant`, the windows must cover a sample; see `touching`.

    >>> samples_under([Axis(n=10, k=3, lo=1, hi=1)], (0, 4), "constant")
    Samples(spans=((0, 5),), order=None, windows=(Window(span=(0, 5), padding=(1, 0)),))
    >>> samples_under([Axis(n=10, k=3, lo=1, hi=1)], (0, 4), "wrap").spans
    ((0, 5), (9, 10))
    """
    covered = [axis.under(*outputs) for axis in axes]
    n = axes[0].n
    if boundary == "constant":
        inside = [_inside(span, n) for span in covered]
        first, end = min(start for start, _ in inside), max(stop for _, stop in inside)
        return Samples(
            ((first, end),),
            None,
            tuple(
                Window((lo - first, hi - first), (max(lo - start, 0), max(stop - hi, 0)))
                for (start, stop), (lo, hi) in zip(covered, inside, strict=True)
            ),
        )
    first, end = min(start for start, _ in covered), max(stop for _, stop in covered)
    windows = tuple(Window((start - first, stop - first)) for start, stop in covered)
    if first >= 0 and end <= n:
        return Samples(((first, end),), None, windows)
    wanted = boundary_index(np.arange(first, end), n, boundary)
    found, order = np.unique(wanted, return_inverse=True)
    breaks = np.flatnonzero(np.diff(found) > 1) + 1
    runs = np.split(found, breaks)
    return Samples(tuple((int(run[0]), int(run[-1]) + 1) for run in runs), order, windows)


def _inside(span: Span, n: int) -> Span:
    """Return the samples of a span of positions, at least one."""
    start, stop = span
    first = min(max(start, 0), n - 1)
    return first, max(min(stop, n), first + 1)


def touching(axes: Sequence[Axis], outputs: Span) -> Span:
    """Extend a span of outputs until the windows of each kernel cover a sample of the input.

    Large padding has regions whose windows cover none.

    >>> touching([Axis(n=4, k=3, lo=9, hi=9)], (0, 2)), touching([Axis(n=4, k=3)], (0, 2))
    ((0, 8), (0, 2))
    """
    first, last = outputs
    for axis in axes:
        first = min(first, (axis.n - 1 + axis.lo) // axis.stride)
        needed = -(-(1 + axis.lo - axis.reach) // axis.stride) + 1
        last = max(last, min(needed, axis.out))
    return max(first, 0), last


def boxes(spans: Sequence[Sequence[Span]]) -> Iterator[tuple[tuple[Span, ...], tuple[Span, ...]]]:
    """Yield the boxes that several spans per axis make, and where each is when they are joined.

    >>> list(boxes([[(0, 2), (8, 9)], [(3, 5)]]))
    [(((0, 2), (3, 5)), ((0, 2), (0, 2))), (((8, 9), (3, 5)), ((2, 3), (0, 2)))]
    """
    joined = []
    for along in spans:
        places, end = [], 0
        for start, stop in along:
            places.append(((start, stop), (end, end + stop - start)))
            end += stop - start
        joined.append(places)
    for box in product(*joined):
        yield tuple(span for span, _ in box), tuple(place for _, place in box)
