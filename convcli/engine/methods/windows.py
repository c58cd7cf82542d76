"""Views of a padded block: the samples under one tap, and the windows of all outputs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise, product
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from convcli.engine.methods.bands import pieces
from convcli.shapes.axis import Axis

Box: TypeAlias = tuple[slice, ...]
"""A part of a grid."""


class Strided(NamedTuple):
    """A view of a block of memory: its shape, and in bytes its strides and its start."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    start: int = 0

    def of(self, array: NDArray[Any], offset: int = 0) -> NDArray[Any]:
        """Return the view of an array's memory from `offset` bytes on, faster than as_strided."""
        if array.flags.c_contiguous:
            return np.ndarray(self.shape, array.dtype, array, offset + self.start, self.strides)
        return view_of(array, offset + self.start, self.shape, self.strides)


class _Memory:
    """A part of an array's memory, as numpy's array interface describes it."""

    def __init__(self, array: NDArray[Any], interface: dict[str, Any]) -> None:
        self.owner, self.__array_interface__ = array, interface


def view_of(
    array: NDArray[Any], start: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> NDArray[Any]:
    """Return a view of an array's memory, from `start` bytes after its first value on."""
    interface = array.__array_interface__
    first, read_only = interface["data"]
    interface |= {"data": (first + start, read_only), "shape": shape, "strides": strides}
    return np.asarray(_Memory(array, interface))


def under_tap(
    block: NDArray[Any], axes: tuple[Axis, ...], sizes: tuple[int, ...], tap: Sequence[int]
) -> NDArray[Any]:
    """Return a view of a block (..., *S, channels): the samples under one tap for all outputs."""
    spans = [
        slice(t * axis.dilation, t * axis.dilation + (size - 1) * axis.stride + 1, axis.stride)
        for t, size, axis in zip(tap, sizes, axes, strict=True)
    ]
    index: tuple[Any, ...] = (..., *spans, slice(None))
    view: NDArray[Any] = block[index]
    return view


def windows(block: NDArray[Any], axes: tuple[Axis, ...], sizes: tuple[int, ...]) -> NDArray[Any]:
    """Return a view of a block (..., *S, channels): its windows (..., *P, *window, channels)."""
    first = block.ndim - 1 - len(axes)
    steps = block.strides[first:-1]
    return as_strided(
        block,
        (*block.shape[:first], *sizes, *(axis.k for axis in axes), block.shape[-1]),
        (
            *block.strides[:first],
            *(step * axis.stride for step, axis in zip(steps, axes, strict=True)),
            *(step * axis.dilation for step, axis in zip(steps, axes, strict=True)),
            block.strides[-1],
        ),
        writeable=False,
    )


def merges(array: NDArray[Any], kept: int) -> bool:
    """Return whether a view can merge all axes except the last `kept` into one.

    >>> grid = np.zeros((4, 5, 6))
    >>> merges(grid, 1), merges(grid[:, :3], 1), merges(grid[:, :3], 2)
    (True, False, True)
    """
    leads = zip(array.shape[:-kept], array.strides[:-kept], strict=True)
    return all(
        outer == n * inner
        for (_, outer), (n, inner) in pairwise(lead for lead in leads if lead[0] > 1)
    )


def boxes(sizes: tuple[int, ...], most: int, cut_from: int = 0) -> Iterator[Box]:
    """Yield boxes of about `most` positions that cover a grid.

    A box has one position along the first axes, several along the next, and is whole along the
    rest. cut_from: the first axis along which a box may have several positions.

    >>> for box in boxes((1, 4, 5), 10):
    ...     print(box)
    (slice(0, 1, None), slice(0, 2, None), slice(None, None, None))
    (slice(0, 1, None), slice(2, 4, None), slice(None, None, None))
    """
    last = len(sizes) - 1
    axis = next(
        at for at in range(cut_from, last + 1) if math.prod(sizes[at + 1 :]) <= most or at == last
    )
    step = max(most // math.prod(sizes[axis + 1 :]), 1)
    for lead in np.ndindex(*sizes[:axis]):
        for part in pieces(sizes[axis], step):
            whole = [slice(None)] * (len(sizes) - axis - 1)
            yield (*(slice(at, at + 1) for at in lead), part, *whole)


def cuts(window: tuple[int, ...], longest: int) -> list[Box]:
    """Cut a window into boxes of at most `longest` taps.

    >>> cuts((5, 5), 24)
    [(slice(0, 2, None), slice(0, 5, None)), (slice(2, 5, None), slice(0, 5, None))]
    """
    cuts: list[list[slice]] = []
    for k in reversed(window):
        cuts.insert(0, pieces(k, min(k, longest)))
        longest = max(longest // min(k, longest), 1)
    return list(product(*cuts))
