"""Pad the input tile by tile, without a padded copy of the whole.

Outside its n samples an axis continues according to the boundary (numpy.pad's names)::

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
"""Allocates an array of a shape and a dtype, as np.empty does."""


FEW_CHANNELS = 8
"""Channels that are copied one by one if they are not contiguous."""


def boundary_index(positions: NDArray[np.intp], n: int, boundary: Boundary) -> NDArray[np.intp]:
    """Map positions on the extended axis to samples 0..n-1, or to -1 for the constant.

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
        folded = positions % (2 * n)
        return np.minimum(folded, 2 * n - 1 - folded)
    folded = positions % max(2 * n - 2, 1)
    return np.minimum(folded, 2 * n - 2 - folded)


def padded_block(
    x: NDArray[Any],
    axes: Sequence[int],
    spans: Sequence[Span],
    boundary: Boundary,
    cval: float,
    dtype: np.dtype[Any],
    room: Room = np.empty,
    copied: bool = False,
) -> NDArray[Any]:
    """Return a part of the padded x, in `dtype`.

    spans: [start, stop) along each of `axes`, which are consecutive. The result is a view of x if
    it is inside x, of the same type and not to be copied, otherwise a block allocated by `room`.
    """
    first = axes[0]
    sizes = x.shape[first : first + len(axes)]
    if all(start >= 0 and stop <= n for (start, stop), n in zip(spans, sizes, strict=True)):
        view = x[_index(first, spans)]
        if view.dtype == dtype and not copied:
            return view
        block = room(view.shape, dtype)
        copy_samples(view, block)
        return block
    lengths = [stop - start for start, stop in spans]
    block = room((*x.shape[:first], *lengths, *x.shape[first + len(axes) :]), dtype)
    _Padding(x, first, spans, boundary, cval).fill(block)
    return block


def are_rows(x: NDArray[Any]) -> bool:
    """Return whether the samples (..., n, channels) of each row are contiguous.

    >>> picture = np.zeros((4, 5, 3))
    >>> are_rows(picture), are_rows(picture[:, 1:]), are_rows(picture[..., ::-1])
    (True, True, False)
    """
    row, channel = x.strides[-2:]
    return x.shape[-2] * x.shape[-1] == 1 or (
        row == x.itemsize * x.shape[-1] and (channel == x.itemsize or x.shape[-1] == 1)
    )


def copy_samples(x: NDArray[Any], block: NDArray[Any]) -> None:
    """Copy samples (..., n, channels); channel by channel if there are few and they have gaps.

    Copying three reversed channels takes 3.5 nanoseconds a value, and one channel 0.4.
    """
    if x.shape[-1] > FEW_CHANNELS or are_rows(x):
        block[...] = x
        return
    for channel in range(x.shape[-1]):
        block[..., channel] = x[..., channel]


def fill_sides(
    block: NDArray[Any], axis: int, sides: Span, boundary: Boundary, cval: float
) -> None:
    """Fill the padding of a block along an axis, whose samples are between both sides.

    sides: the lengths of the padding before and after the samples.

    >>> block = np.array([0, 1, 2, 3, 0, 0])
    >>> fill_sides(block, 0, (1, 2), "reflect", 0)
    >>> block
    array([2, 1, 2, 3, 2, 1])
    """
    before, after = sides
    n = block.shape[axis] - before - after
    if before or after:
        x = block[_index(axis, [(before, before + n)])]
        _Padding(x, axis, [(-before, n + after)], boundary, cval).fill_sides(block)


class _Padding:
    """A block that extends beyond x, with spans along consecutive axes from `first` on."""

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
        """The positions of those samples in the block."""

    def fill(self, block: NDArray[Any]) -> None:
        """Copy the samples of x, then fill the sides."""
        if all(lo < hi for lo, hi in self.inside):
            seen = self.x[_index(self.first, self.inside)]
            copy_samples(seen, block[_index(self.first, self.filled)])
        self.fill_sides(block)

    def fill_sides(self, block: NDArray[Any]) -> None:
        """Fill both sides along one axis after the other.

        The sides of an axis include the corners with the axes before it.
        """
        for at, (lo, hi) in enumerate(self.filled):
            length = self.whole[at][1]
            sides = ((0, lo), (hi, length)) if lo < hi else ((0, length),)
            for side in sides:
                if side[0] < side[1]:
                    target = _index(self.first, [*self.whole[:at], side, *self.filled[at + 1 :]])
                    block[target] = self._outside(block, at, side)

    def _outside(self, block: NDArray[Any], at: int, side: Span) -> Any:
        """Return the values of a side along one axis; axes before it are already filled."""
        if self.boundary == "constant":
            return self.cval
        start = self.spans[at][0]
        taken = _folded(start + side[0], start + side[1], self.sizes[at], self.boundary)

        # Samples that are in the block already are copied within it.
        lo, hi = self.inside[at]
        if lo <= taken.least and taken.most < hi:
            index = (*_index(self.first, self.whole[:at]), taken.relative_to(start))
            return block[(*index, *_index(0, self.filled[at + 1 :]))]

        # Others are read from x, at positions mapped along the axes before as well.
        before = [
            _folded(begin, stop, n, self.boundary).positions
            for (begin, stop), n in zip(self.spans[:at], self.sizes[:at], strict=True)
        ]
        grid: tuple[Any, ...] = np.ix_(*before, taken.positions)
        return self.x[(*_index(self.first, []), *grid, *_index(0, self.inside[at + 1 :]))]


class _Taken(NamedTuple):
    """The samples that consecutive positions map to."""

    positions: NDArray[np.intp]
    least: int
    most: int
    step: int | None
    """Difference of consecutive samples, if it is -1, 0 or 1 for all of them; otherwise None."""

    def relative_to(self, start: int) -> slice | NDArray[np.intp]:
        """Return their positions in a block that begins at `start`, as a slice if possible."""
        if self.step is None:
            return self.positions - start
        if self.step >= 0:
            return slice(self.least - start, self.most - start + 1)
        return slice(self.most - start, self.least - start - 1 if self.least > start else None, -1)


@lru_cache(maxsize=64)
def _folded(start: int, stop: int, n: int, boundary: Boundary) -> _Taken:
    """Return the samples that positions start..stop map to; cached for tiles of one column."""
    positions = boundary_index(np.arange(start, stop), n, boundary)
    steps = set(np.diff(positions).tolist()) or {0}
    step = steps.pop() if len(steps) == 1 else None
    return _Taken(
        positions, int(positions.min()), int(positions.max()), step if step in (-1, 0, 1) else None
    )


def _index(first: int, spans: Sequence[Span]) -> tuple[slice, ...]:
    """Return the index of spans along consecutive axes from `first` on."""
    return (*(slice(None),) * first, *(slice(*span) for span in spans))
