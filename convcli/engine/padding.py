"""The padded input, a piece at a time, so that no padded copy of the whole is ever made.

Outside its n samples an axis goes on as the boundary says (numpy.pad's names)::

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
    """Map positions on the endless axis to samples 0..n-1; -1 stands for the constant outside.

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
    """The part [start, stop) of the endless x along each of `axes`, which lie side by side, as `dtype`.

    A view of x where nothing lies outside and the type fits already; otherwise a block from `room`.
    """
    first, dims = axes[0], len(axes)
    sizes = x.shape[first : first + dims]
    if all(start >= 0 and stop <= n for (start, stop), n in zip(spans, sizes, strict=True)):
        view = x[_index(first, spans)]
        if view.dtype == dtype:
            return view
        block = room(view.shape, dtype)
        block[...] = view
        return block
    whole = [(0, stop - start) for start, stop in spans]
    inside = [(max(start, 0), max(start, 0, min(stop, n))) for (start, stop), n in zip(spans, sizes, strict=True)]
    block = room((*x.shape[:first], *(length for _, length in whole), *x.shape[first + dims :]), dtype)
    filled = [(lo - start, hi - start) for (start, _), (lo, hi) in zip(spans, inside, strict=True)]
    if all(lo < hi for lo, hi in inside):
        block[_index(first, filled)] = x[_index(first, inside)]

    def beyond(turn: int, run: Span) -> Any:
        """What stands outside of x in a run along an axis, those before which are whole by now, corners and all."""
        if boundary == "constant":
            return cval
        start, before = spans[turn][0], whole[:turn]
        taken = _folded(start + run[0], start + run[1], sizes[turn], boundary)
        if inside[turn][0] <= taken.least and taken.most < inside[turn][1]:
            return block[(*_index(first, before), taken.less(start), *_index(0, filled[turn + 1 :]))]
        places = [
            _folded(start, start + length, n, boundary).positions
            for (start, _), (_, length), n in zip(spans, before, sizes, strict=False)
        ]
        at: tuple[Any, ...] = np.ix_(*places, taken.positions)
        return x[(*_index(first, []), *at, *_index(0, inside[turn + 1 :]))]

    for turn, (lo, hi) in enumerate(filled):
        length = whole[turn][1]
        for run in ((0, lo), (hi, length)) if lo < hi else ((0, length),):
            if run[0] < run[1]:
                block[_index(first, [*whole[:turn], run, *filled[turn + 1 :]])] = beyond(turn, run)
    return block


class _Taken(NamedTuple):
    """The samples that a run of positions stands for."""

    positions: NDArray[np.intp]
    least: int
    most: int
    step: int | None
    """From each of them to the next, -1, 0 or 1; None where it is another, or not the same for all."""

    def less(self, start: int) -> slice | NDArray[np.intp]:
        """Where they are in what begins at a sample, as a slice if they are one."""
        if self.step is None:
            return self.positions - start
        if self.step >= 0:
            return slice(self.least - start, self.most - start + 1)
        return slice(self.most - start, self.least - start - 1 if self.least > start else None, -1)


@lru_cache(maxsize=64)
def _folded(start: int, stop: int, n: int, boundary: Boundary) -> _Taken:
    """The samples for a run of positions; the sides of all tiles in a column of them take the same."""
    positions = boundary_index(np.arange(start, stop), n, boundary)
    steps = set(np.diff(positions).tolist()) or {0}
    step = steps.pop() if len(steps) == 1 else None
    return _Taken(positions, int(positions.min()), int(positions.max()), step if step in (-1, 0, 1) else None)


def _index(first: int, spans: Sequence[Span]) -> tuple[slice, ...]:
    """The index of such spans from an axis on."""
    return (*(slice(None),) * first, *(slice(*span) for span in spans))
