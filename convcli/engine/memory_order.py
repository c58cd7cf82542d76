"""Order a problem's axes as its samples are in memory.

Methods are fast if the last axes of x are the ones with the smallest strides. A transposed problem,
with its kernel and options transposed too, has the same result in transposed axes. An axis that the
kernel does not slide along can be either a batch axis or the channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from convcli.engine.problem import Problem
from convcli.shapes.spec import ConvSpec


def by_stride(array: NDArray[Any], axes: Sequence[int]) -> list[int]:
    """Return axes of an array from the largest stride to the smallest.

    They keep their order if the array repeats its values by a stride of 0.

    >>> import numpy as np
    >>> by_stride(np.zeros((2, 3, 4)).T, [0, 1, 2]), by_stride(np.zeros((2, 3))[:, ::-1], [0, 1])
    ([2, 1, 0], [0, 1])
    """
    if array.flags.c_contiguous:
        return list(axes)
    steps = [abs(step) for step in array.strides]
    if any(steps[axis] == 0 and array.shape[axis] > 1 for axis in axes):
        return list(axes)
    return sorted(axes, key=lambda axis: -steps[axis])


def in_memory_order(problem: Problem) -> Problem:
    """Return the same problem with its spatial and other axes ordered by their strides.

    The channels of a layer remain the last axis, and its batch axis the first.
    """
    x, count = problem.x, len(problem.spec.stride)
    first = x.ndim - 1 - count
    spatial = by_stride(x, range(first, x.ndim - 1))
    others = [*range(first), *([] if problem.added_channel else [x.ndim - 1])]
    channel: int | None = x.ndim - 1
    if problem.filters is None:
        others = by_stride(x, others)
        channel = others.pop() if others and _is_inner(x, others[-1], spatial) else None
    else:
        channel = others.pop()
    moved = [*others, *spatial] if channel is None else [*others, *spatial, channel]
    if moved == list(range(len(moved))) and (channel is None) == problem.added_channel:
        return problem
    view = problem.samples.transpose(moved)
    turned = [axis - first for axis in spatial]
    taps = turned if problem.filters is None else [0, *(axis + 1 for axis in turned), count + 1]
    position = {axis: at for at, axis in enumerate(moved)}
    return problem._replace(
        x=view[..., None] if channel is None else view,
        w=problem.w.transpose(taps),
        spec=_turned(problem.spec, turned),
        order=tuple(position[axis] for axis in problem.order),
        added_channel=channel is None,
    )


def _is_inner(x: NDArray[Any], axis: int, spatial: Sequence[int]) -> bool:
    """Return whether an axis has the smallest stride, so that it can be the channels."""
    return abs(x.strides[axis]) <= min(abs(x.strides[along]) for along in spatial)


def _turned(spec: ConvSpec, axes: Sequence[int]) -> ConvSpec:
    """Return the options with their entries in another order of the axes."""
    padding = spec.padding
    return replace(
        spec,
        stride=tuple(spec.stride[axis] for axis in axes),
        dilation=tuple(spec.dilation[axis] for axis in axes),
        padding=padding if isinstance(padding, str) else tuple(padding[axis] for axis in axes),
        output_padding=tuple(spec.output_padding[axis] for axis in axes),
    )
