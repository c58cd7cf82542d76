"""Windows of a padded block as views: what one tap sees of every output, and all that each output sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from convcli.shapes import Axis

Tile: TypeAlias = Callable[[NDArray[Any], NDArray[Any]], None]
"""What a strategy prepares: fills outputs (*items, *P, lanes or O) from a padded block (*items, *rows, lanes)."""


def under_tap(
    block: NDArray[Any], axes: tuple[Axis, ...], sizes: tuple[int, ...], tap: tuple[int, ...]
) -> NDArray[Any]:
    """What one tap sees of a block (..., *S, lanes): the sample under it for each of `sizes` outputs, a view."""
    spans = [
        slice(t * axis.dilation, t * axis.dilation + (size - 1) * axis.stride + 1, axis.stride)
        for t, size, axis in zip(tap, sizes, axes, strict=True)
    ]
    index: tuple[Any, ...] = (..., *spans, slice(None))
    view: NDArray[Any] = block[index]
    return view


def windows(block: NDArray[Any], axes: tuple[Axis, ...], sizes: tuple[int, ...]) -> NDArray[Any]:
    """Every window of a block (..., *S, lanes): (..., *P, *window, lanes), a view of it."""
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
