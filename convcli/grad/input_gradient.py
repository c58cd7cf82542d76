"""Compute dx: each value of dy times the kernel, added to the samples of its window.

That is the full convolution of dy with the kernel. With a stride, there are zeros between the
values of dy. To avoid multiplications by zero, dx is computed in `stride` phases along each axis,
each of which is the full convolution of dy with the taps of that phase::

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
from convcli.engine.calls import run_problem
from convcli.engine.padding import boundary_index
from convcli.engine.problem import layer_problem, spatial_problem
from convcli.options import Boundary
from convcli.shapes.axis import Axis
from convcli.shapes.parse import check_countable


class _Phase(NamedTuple):
    """One axis of one phase of dx: the correlation of a part of dy with every n-th tap, flipped."""

    results: slice
    """The samples of dx that the phase computes."""
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
    dtype: np.dtype[Any],
) -> NDArray[Any]:
    """Return dx (*batch, *S, C) in `dtype`.

    w: a bank in `groups`, with dy (*batch, *P, O). If groups is None, w is one kernel for every
    channel, with dy (*batch, *P, channels). If the boundary repeats samples, the gradient of the
    padding is added to those samples.
    """
    folds = boundary != "constant"
    spans = [(0, axis.padded) if folds else (axis.lo, axis.lo + axis.n) for axis in axes]
    first = dy.ndim - 1 - len(axes)
    sizes = tuple(stop - start for start, stop in spans)
    if groups is None:
        bank = w
        channels = dy.shape[-1]
        lead = 0
    else:
        bank, channels = _swapped(w, groups)
        lead = 1
    shape = (*dy.shape[:first], *sizes, channels)
    check_countable(math.prod(shape))
    choices = [
        _phases(axis, n, *span)
        for axis, n, span in zip(axes, dy.shape[first:-1], spans, strict=True)
    ]
    covered = all(len(found) == axis.stride for axis, found in zip(axes, choices, strict=True))
    if not covered:
        dx = np.zeros(shape, dtype)
    elif folds:  # the padded gradient is only temporary
        dx = np.empty(shape, dtype)
    else:
        dx = result_buffer(shape, dtype)
    for phase in product(*choices):
        taps = bank[(slice(None),) * lead + tuple(part.taps for part in phase)]
        taps = np.flip(taps, tuple(range(lead, lead + len(axes))))
        options: dict[str, Any] = {
            "stride": 1,
            "padding": [part.pads for part in phase],
            "dilation": [part.dilation for part in phase],
        }
        seen: tuple[Any, ...] = (..., *(part.deltas for part in phase), slice(None))
        places: tuple[Any, ...] = (..., *(part.results for part in phase), slice(None))
        if groups is None:
            problem = spatial_problem(dy[seen], taps, axes=range(first, dy.ndim - 1), **options)
        else:
            bank_taps = _kernels_innermost(taps)
            problem = layer_problem(
                dy[seen], bank_taps, None, groups=groups, layout="channels_last", **options
            )
        run_problem(problem, dtype, "auto", dx[places])
    return _fold_back(dx, axes, first, boundary) if folds else dx


def _swapped(w: NDArray[Any], groups: int) -> tuple[NDArray[Any], int]:
    """Return the bank (C, *K, O/groups) that maps O channels back to C, and C."""
    parts = np.moveaxis(w.reshape(groups, -1, *w.shape[1:]), (1, -1), (-1, 1))
    channels = groups * w.shape[-1]
    return parts.reshape(channels, *parts.shape[2:]), channels


def _kernels_innermost(taps: NDArray[Any]) -> NDArray[Any]:
    """Copy a bank so that its kernels are the last axis in memory, as matrix products read them."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(taps, 0, -1)), -1, 0)


def _phases(axis: Axis, outputs: int, start: int, stop: int) -> list[_Phase]:
    """Return the phases of dx along one axis that have taps.

    start, stop: the samples of the padded input to compute.
    """
    found = []
    every = axis.stride // math.gcd(axis.stride, axis.dilation)
    for phase in range(axis.stride):
        tap = next(
            (t for t in range(axis.k) if (axis.dilation * t - phase) % axis.stride == 0), None
        )
        first, last = (-(-(end - phase) // axis.stride) for end in (start, stop))
        if tap is None or first >= last:
            continue
        dilation = axis.dilation * every // axis.stride
        delay = (axis.dilation * tap - phase) // axis.stride
        begin = first - delay - dilation * (len(range(tap, axis.k, every)) - 1)
        end = last - delay
        inside = slice(max(begin, 0), min(end, outputs))
        if inside.start < inside.stop:
            results = slice(axis.stride * first + phase - start, None, axis.stride)
            pads = (max(-begin, 0), max(end - outputs, 0))
            found.append(_Phase(results, slice(tap, None, every), inside, pads, dilation))
    return found


def _fold_back(
    padded: NDArray[Any], axes: tuple[Axis, ...], first: int, boundary: Boundary
) -> NDArray[Any]:
    """Add the gradient of every padded sample to the sample that it repeats."""
    for index, axis in enumerate(axes, start=first):
        lines = np.moveaxis(padded, index, 0)
        inner = lines[axis.lo : axis.lo + axis.n]
        if axis.lo + axis.hi:
            inner = inner.copy()
            source = boundary_index(np.arange(-axis.lo, axis.n + axis.hi), axis.n, boundary)
            outside = np.r_[: axis.lo, axis.lo + axis.n : axis.padded]
            np.add.at(inner, source[outside], lines[outside])
        padded = np.moveaxis(inner, 0, index)
    return padded
