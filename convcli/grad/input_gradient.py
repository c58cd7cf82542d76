"""dx: every delta, times the kernel, added to all the samples its window covered.

That is the full convolution of dy with the kernel. Stride puts zeros between the deltas, and rather than multiply by
them, dx is computed in `stride` phases along each axis, each the full convolution of dy with the taps that fall on it::

    stride 2, taps a b c      dx[0::2] = full convolution of dy with a c
                              dx[1::2] = full convolution of dy with b

Source: Shi et al., "Is the deconvolution layer the same as a convolutional layer?", 2016.
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convcli.engine.buffers import result_buffer
from convcli.engine.padding import boundary_index
from convcli.engine.problem import layer_problem, spatial_problem
from convcli.options import Boundary
from convcli.shapes.axis import Axis
from convcli.shapes.parse import check_countable


class _Phase(NamedTuple):
    """One axis of one phase of dx: the correlation of a part of dy with every so many of the taps, flipped."""

    at: slice
    """Where its results stand among those that are wanted."""
    taps: slice
    deltas: slice
    pads: tuple[int, int]
    dilation: int


def input_gradient(
    dy: NDArray[Any],
    w: NDArray[Any],
    axes: tuple[Axis, ...],
    groups: int | None,
    boundary: Boundary,
    kind: np.dtype[Any],
) -> NDArray[Any]:
    """Dx: every delta, times the kernel, added to all the samples its window covered.

    dy (*batch, *P, O) and a bank w in `groups`, or with None (*batch, *P, channels) and one kernel w for every channel.
    Only a boundary that repeats samples needs what falls on the padding.
    """
    folds = boundary != "constant"
    spans = [(0, axis.padded) if folds else (axis.lo, axis.lo + axis.n) for axis in axes]
    first = dy.ndim - 1 - len(axes)
    sizes = tuple(stop - start for start, stop in spans)
    flipped, channels = (w, dy.shape[-1]) if groups is None else _swapped(w, groups)
    lead = 0 if groups is None else 1
    shape = (*dy.shape[:first], *sizes, channels)
    check_countable(math.prod(shape))
    choices = [_phases(axis, n, *span) for axis, n, span in zip(axes, dy.shape[first:-1], spans, strict=True)]
    covered = all(len(found) == axis.stride for axis, found in zip(axes, choices, strict=True))
    room = np.empty if folds else result_buffer  # what is folded is not kept
    dx = room(shape, kind) if covered else np.zeros(shape, kind)
    for phase in product(*choices):
        taps = flipped[(slice(None),) * lead + tuple(part.taps for part in phase)]
        taps = np.flip(taps, tuple(range(lead, lead + len(axes))))
        options: dict[str, Any] = {
            "stride": 1,
            "padding": [part.pads for part in phase],
            "dilation": [part.dilation for part in phase],
        }
        seen: tuple[Any, ...] = (..., *(part.deltas for part in phase), slice(None))
        places: tuple[Any, ...] = (..., *(part.at for part in phase), slice(None))
        problem = (
            spatial_problem(dy[seen], taps, axes=range(first, dy.ndim - 1), **options)
            if groups is None
            else layer_problem(dy[seen], _lines(taps), None, groups=groups, layout="channels_last", **options)
        )
        problem.run(kind, "auto", dx[places])
    return _fold_back(dx, axes, first, boundary) if folds else dx


def _swapped(w: NDArray[Any], groups: int) -> tuple[NDArray[Any], int]:
    """The bank (C, *K, O/groups) that leads from O channels back to C, and C."""
    parts = np.moveaxis(w.reshape(groups, -1, *w.shape[1:]), (1, -1), (-1, 1))
    channels = groups * w.shape[-1]
    return parts.reshape(channels, *parts.shape[2:]), channels


def _lines(taps: NDArray[Any]) -> NDArray[Any]:
    """A bank laid down with its kernels side by side, as products take them, and as w has them here."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(taps, 0, -1)), -1, 0)


def _phases(axis: Axis, outputs: int, start: int, stop: int) -> list[_Phase]:
    """The phases of dx along one axis, for the samples start..stop of the padded input; those without taps are zero."""
    found = []
    every = axis.stride // math.gcd(axis.stride, axis.dilation)
    for phase in range(axis.stride):
        tap = next((t for t in range(axis.k) if (axis.dilation * t - phase) % axis.stride == 0), None)
        first, last = (-(-(end - phase) // axis.stride) for end in (start, stop))
        if tap is None or first >= last:
            continue
        dilation = axis.dilation * every // axis.stride
        delay = (axis.dilation * tap - phase) // axis.stride
        begin = first - delay - dilation * (len(range(tap, axis.k, every)) - 1)
        end = last - delay
        inside = slice(max(begin, 0), min(end, outputs))
        if inside.start < inside.stop:
            at = slice(axis.stride * first + phase - start, None, axis.stride)
            pads = (max(-begin, 0), max(end - outputs, 0))
            found.append(_Phase(at, slice(tap, None, every), inside, pads, dilation))
    return found


def _fold_back(padded: NDArray[Any], axes: tuple[Axis, ...], first: int, boundary: Boundary) -> NDArray[Any]:
    """The adjoint of padding: what fell on a repeated sample goes to the sample it repeats."""
    for at, axis in enumerate(axes, start=first):
        lines = np.moveaxis(padded, at, 0)
        inner = lines[axis.lo : axis.lo + axis.n]
        if axis.lo + axis.hi:
            inner = inner.copy()
            source = boundary_index(np.arange(-axis.lo, axis.n + axis.hi), axis.n, boundary)
            outside = np.r_[: axis.lo, axis.lo + axis.n : axis.padded]
            np.add.at(inner, source[outside], lines[outside])
        padded = np.moveaxis(inner, 0, at)
    return padded
