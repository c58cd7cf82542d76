"""The padded input, a piece at a time, so that no padded copy of the whole is ever made.

Outside its n samples an axis goes on as the boundary says (numpy.pad's names)::

    constant   k k k k | a b c d | k k k k        reflect    d c b | a b c d | c b a
    edge       a a a a | a b c d | d d d d        symmetric  c b a | a b c d | d c b
    wrap       a b c d | a b c d | a b c d
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convcli.words import Boundary

Span = tuple[int, int]
Room = Callable[[tuple[int, ...], np.dtype[Any]], NDArray[Any]]


def fold(positions: NDArray[np.intp], n: int, boundary: Boundary) -> NDArray[np.intp]:
    """Map positions on the endless axis to samples 0..n-1; -1 stands for the constant outside.

    >>> fold(np.arange(-3, 7), 4, "reflect")
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


def extend(
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
    sizes = [x.shape[axis] for axis in axes]
    inside = [(max(start, 0), max(start, 0, min(stop, n))) for (start, stop), n in zip(spans, sizes, strict=True)]
    if all(span == within for span, within in zip(spans, inside, strict=True)):
        view = x[_index(x.ndim, axes, inside)]
        if view.dtype == dtype:
            return view
        block = room(view.shape, dtype)
        block[...] = view
        return block
    shape = list(x.shape)
    for axis, (start, stop) in zip(axes, spans, strict=True):
        shape[axis] = stop - start
    block = room(tuple(shape), dtype)
    filled = [(lo - start, hi - start) for (start, _), (lo, hi) in zip(spans, inside, strict=True)]
    if all(lo < hi for lo, hi in inside):
        block[_index(x.ndim, axes, filled)] = x[_index(x.ndim, axes, inside)]
    for turn, (lo, hi) in enumerate(filled):
        length = shape[axes[turn]]
        for run in ((0, lo), (hi, length)) if lo < hi else ((0, length),):
            if run[0] < run[1]:
                places = [*((0, shape[axis]) for axis in axes[:turn]), run]
                outside = block[_index(x.ndim, axes, [*places, *filled[turn + 1 :]])]
                if boundary == "constant":
                    outside[...] = cval
                else:
                    known = turn if places[:turn] == filled[:turn] else 0
                    taken = [
                        _folded(start + first, start + last, n, boundary)
                        for (start, _), (first, last), n in list(zip(spans, places, sizes, strict=False))[known:]
                    ]
                    before, behind = ([slice(*span) for span in part] for part in (inside[:known], inside[turn + 1 :]))
                    outside[...] = x[(slice(None),) * axes[0] + (*before, *np.ix_(*taken), *behind)]
    return block


@lru_cache(maxsize=64)
def _folded(start: int, stop: int, n: int, boundary: Boundary) -> NDArray[np.intp]:
    """The samples for a run of positions; the sides of all tiles in a column of them take the same."""
    return fold(np.arange(start, stop), n, boundary)


def _index(ndim: int, axes: Sequence[int], spans: Sequence[Span]) -> tuple[slice, ...]:
    index = [slice(None)] * ndim
    for axis, (start, stop) in zip(axes, spans, strict=True):
        index[axis] = slice(start, stop)
    return tuple(index)
