"""Pad a piece of the input at a time, so that no padded copy of the whole is ever made.

Outside its n samples an axis continues as the boundary says (numpy.pad's names)::

    constant   k k k k | a b c d | k k k k        reflect    d c b | a b c d | c b a
    edge       a a a a | a b c d | d d d d        symmetric  c b a | a b c d | d c b
    wrap       a b c d | a b c d | a b c d
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convcli.options import Boundary

Span = tuple[int, int]
Room = Callable[[tuple[int, ...], np.dtype[Any]], NDArray[Any]]


def boundary_index(positions: NDArray[np.intp], n: int, boundary: Boundary) -> NDArray[np.intp]:
    """Map positions on the endless axis to samples 0..n-1; -1 means the constant outside.

    >>> boundary_index(np.arange(-3, 7), 4, "reflect")
    array([3, 2, 1, 0, 1, 2, 3, 2, 1, 0])
    """
    if boundary == "constant":
        return np.where((positions >= 0) & (positions < n), positions, -1)
    if boundary == "edge":
        return np.clip(positions, 0, n - 1)
    if boundary == "wrap":
        return positions % n
    if boundary == "symmetric":
        turn = positions % (2 * n)
        return np.minimum(turn, 2 * n - 1 - turn)
    turn = positions % max(2 * n - 2, 1)
    return np.minimum(turn, 2 * n - 2 - turn)


def padded_block(
    x: NDArray[Any],
    axes: Sequence[int],
    spans: Sequence[Span],
    boundary: Boundary,
    cval: float,
    dtype: np.dtype[Any],
    room: Room = np.empty,
) -> NDArray[Any]:
    """Return the part [start, stop) of the endless x along each of `axes`, which are consecutive,
    as `dtype`.

    It is a view of x if nothing is outside and the type fits already, otherwise a block from
    `room`.
    """
    first = axes[0]
    sizes = x.shape[first : first + len(axes)]
    if all(start >= 0 and stop <= n for (start, stop), n in zip(spans, sizes, strict=True)):
        view = x[_index(first, spans)]
        if view.dtype == dtype:
            return view
        block = room(view.shape, dtype)
        block[...] = view
        return block
    lengths = [stop - start for start, stop in spans]
    block = room((*x.shape[:first], *lengths, *x.shape[first + len(axes) :]), dtype)
    _Padding(x, first, spans, boundary, cval).fill(block)
    return block


class _Padding:
    """A block that reaches outside of x: spans along the axes from `first` on."""

    def __init__(
        self, x: NDArray[Any], first: int, spans: Sequence[Span], boundary: Boundary, cval: float
    ) -> None:
        self.x, self.first, self.spans = x, first, spans
        self.boundary, self.cval = boundary, cval
        self.sizes = x.shape[first : first + len(spans)]
        self.whole = [(0, stop - start) for start, stop in spans]
        self.inside = [
            (max(start, 0), max(start, 0, min(stop, n)))
            for (start, stop), n in zip(spans, self.sizes, strict=True)
        ]
        """The samples of x that are in the block, along each axis."""
        self.filled = [
            (lo - start, hi - start)
            for (start, _), (lo, hi) in zip(spans, self.inside, strict=True)
        ]
        """Where they are in the block."""

    def fill(self, block: NDArray[Any]) -> None:
        """Copy the samples inside, then fill both sides along each axis, corners of the axes before
        included.
        """
        if all(lo < hi for lo, hi in self.inside):
            block[_index(self.first, self.filled)] = self.x[_index(self.first, self.inside)]
        for turn, (lo, hi) in enumerate(self.filled):
            length = self.whole[turn][1]
            sides = ((0, lo), (hi, length)) if lo < hi else ((0, length),)
            for side in sides:
                if side[0] < side[1]:
                    target = _index(
                        self.first, [*self.whole[:turn], side, *self.filled[turn + 1 :]]
                    )
                    block[target] = self._outside(block, turn, side)

    def _outside(self, block: NDArray[Any], turn: int, side: Span) -> Any:
        """Return what fills a side along one axis; along the axes before it the block is complete."""
        if self.boundary == "constant":
            return self.cval
        start = self.spans[turn][0]
        taken = _folded(start + side[0], start + side[1], self.sizes[turn], self.boundary)

        # Samples that the block has already are copied within it.
        lo, hi = self.inside[turn]
        if lo <= taken.least and taken.most < hi:
            index = (*_index(self.first, self.whole[:turn]), taken.relative_to(start))
            return block[(*index, *_index(0, self.filled[turn + 1 :]))]

        # Others come from x, folded along the axes before as well.
        before = [
            _folded(begin, stop, n, self.boundary).positions
            for (begin, stop), n in zip(self.spans[:turn], self.sizes[:turn], strict=True)
        ]
        grid: tuple[Any, ...] = np.ix_(*before, taken.positions)
        return self.x[(*_index(self.first, []), *grid, *_index(0, self.inside[turn + 1 :]))]


class _Taken(NamedTuple):
    """The samples that a run of positions is mapped to."""

    positions: NDArray[np.intp]
    least: int
    most: int
    step: int | None
    """From each of them to the next, -1, 0 or 1; None if it is another, or not the same for all."""

    def relative_to(self, start: int) -> slice | NDArray[np.intp]:
        """Return their positions in a block that begins at a sample: as a slice, if they are one."""
        if self.step is None:
            return self.positions - start
        if self.step >= 0:
            return slice(self.least - start, self.most - start + 1)
        return slice(self.most - start, self.least - start - 1 if self.least > start else None, -1)


@lru_cache(maxsize=64)
def _folded(start: int, stop: int, n: int, boundary: Boundary) -> _Taken:
    """Return the samples for a run of positions, which the tiles of one column share."""
    positions = boundary_index(np.arange(start, stop), n, boundary)
    steps = set(np.diff(positions).tolist()) or {0}
    step = steps.pop() if len(steps) == 1 else None
    return _Taken(
        positions, int(positions.min()), int(positions.max()), step if step in (-1, 0, 1) else None
    )


def _index(first: int, spans: Sequence[Span]) -> tuple[slice, ...]:
    """Return the index of such spans, the first of them along axis `first`."""
    return (*(slice(None),) * first, *(slice(*span) for span in spans))
