"""The public functions: each describes its problem, makes the plan and executes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from convcli.engine.calls import run_call
from convcli.engine.dask_arrays import lazy_call, stand_in
from convcli.engine.planning.plan import Plan
from convcli.engine.problem import (
    Problem,
    is_dask_array,
    layer_problem,
    real_array,
    spatial_problem,
)
from convcli.shapes.parse import Padding, PerAxis

COMMON = ("stride", "dilation", "padding", "boundary", "cval")


def correlate(
    x: ArrayLike,
    w: ArrayLike,
    *,
    axes: Sequence[int] | None = None,
    stride: PerAxis = 1,
    dilation: PerAxis = 1,
    padding: Padding = "valid",
    boundary: str = "constant",
    cval: float = 0.0,
    dtype: DTypeLike | None = None,
    method: str = "auto",
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Slide w over x without flipping it: y[p] = sum over t of w[t] * x[stride*p + dilation*t].

    x: any real array; w: one axis for each of `axes` (all of x's by default), along which it
    slides. x is filtered independently along the other axes, and y has x's axes. stride, dilation
    and padding: one value, or one per kernel axis. dtype: y's type; by default float64 for float64
    and for integers wider than 16 bits, otherwise float32. An integer type rounds half to even and
    saturates. Sums of integers and whole taps are exact: in a float type up to 2**53, in an integer
    type of any size. out: an array to fill and return. Raises ShapeError if the kernel exceeds the
    padded input or the axes do not fit, DtypeError for sums of integers in an integer type from
    2**112 divided by the number of taps on, which cannot be exact.

    A dask array x returns a dask array and computes nothing. Each chunk of x takes one task, and
    one more for each neighbouring chunk. The blocks are computed by the method of the whole array's
    plan: sums of whole numbers, and those of method="direct", have the same bytes as those of the
    array in memory; others may differ by rounding, within the bounds of the guide's page
    `promises`. It needs known chunk sizes, and no `out`.

    >>> correlate([1, 2, 4, 8], [-1, 1])
    array([1., 2., 4.])
    >>> image = np.full((4, 5, 3), 200, np.uint8)
    >>> correlate(image, np.ones((3, 3)), axes=(0, 1)).shape
    (2, 3, 3)
    >>> correlate(image, np.ones((3, 3)), axes=(0, 1), dtype=np.uint8).max()
    np.uint8(255)
    """
    options = axes, stride, dilation, padding, boundary, cval
    run = lazy_call if is_dask_array(x) else run_call
    return run(_correlation, x, w, None, options, dtype, method, out)


def convolve(
    x: ArrayLike,
    w: ArrayLike,
    *,
    axes: Sequence[int] | None = None,
    stride: PerAxis = 1,
    dilation: PerAxis = 1,
    padding: Padding = "valid",
    boundary: str = "constant",
    cval: float = 0.0,
    dtype: DTypeLike | None = None,
    method: str = "auto",
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Slide the flipped w over x: `correlate` with w reversed along each of its axes.

    >>> convolve([1, 2, 4, 8], [-1, 1])
    array([-1., -2., -4.])
    >>> convolve([1, 2], [3, 4, 5], padding="full")
    array([ 3., 10., 13., 10.])
    """
    options = axes, stride, dilation, padding, boundary, cval
    run = lazy_call if is_dask_array(x) else run_call
    return run(_convolution, x, w, None, options, dtype, method, out)


def conv_layer(
    x: ArrayLike,
    w: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    stride: PerAxis = 1,
    dilation: PerAxis = 1,
    padding: Padding = "valid",
    boundary: str = "constant",
    cval: float = 0.0,
    groups: int = 1,
    layout: str = "channels_last",
    dtype: DTypeLike | None = None,
    method: str = "auto",
) -> NDArray[Any]:
    """Compute a convolutional layer: correlate x with a bank of kernels, summed over channels.

    channels_last:  x (N, *S, C), w (O, *K, C/groups), returns (N, *P, O).
    channels_first: x (N, C, *S), w (O, C/groups, *K), returns (N, O, *P).
    bias: (O,), added to each output channel. An output channel depends only on the input channels
    of its group. A dask array x returns a dask array, as for `correlate`; its blocks have all
    channels. dtype: as for `correlate`. Raises ChannelError if channel counts differ,
    ShapeError if the kernel exceeds the padded input.

    >>> conv_layer(np.ones((1, 28, 28, 3)), np.ones((8, 3, 3, 3))).shape
    (1, 26, 26, 8)
    """
    options = stride, dilation, padding, boundary, cval, groups, layout
    run = lazy_call if is_dask_array(x) else run_call
    return run(_layer, x, w, bias, options, dtype, method, None)


def plan(
    x: ArrayLike,
    w: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    axes: Sequence[int] | None = None,
    stride: PerAxis = 1,
    dilation: PerAxis = 1,
    padding: Padding = "valid",
    boundary: str = "constant",
    cval: float = 0.0,
    groups: int | None = None,
    layout: str | None = None,
    dtype: DTypeLike | None = None,
    method: str = "auto",
) -> Plan:
    """Return the plan of `correlate` or `conv_layer` for the same arguments.

    The plan is a layer's if `groups`, `layout` or `bias` is given. It is also a layer's if `axes`
    is omitted, x (N, *S, C) and w (O, *K, C) have the same number of axes, at least three, and the
    channel counts agree. Otherwise it is a correlation's.

    >>> plan(np.zeros((28, 28)), np.ones((3, 3))).formula
    ('28 - 3 + 1 = 26', '28 - 3 + 1 = 26')
    """
    x = stand_in(x) if is_dask_array(x) else real_array(x, "input")
    w = real_array(w, "kernel")
    common = {
        "stride": stride,
        "dilation": dilation,
        "padding": padding,
        "boundary": boundary,
        "cval": cval,
    }
    given = groups is not None or layout is not None or bias is not None
    if given or (axes is None and x.ndim == w.ndim >= 3 and x.shape[-1] == w.shape[-1]):
        problem = _layer(x, w, bias, *common.values(), groups or 1, layout or "channels_last")
    else:
        problem = spatial_problem(x, w, axes=axes, **common)
    return problem.plan(dtype, method)


def _correlation(x: NDArray[Any], w: NDArray[Any], bias: None, axes: Any, *options: Any) -> Problem:
    return spatial_problem(x, w, axes=axes, **dict(zip(COMMON, options, strict=True)))


def _convolution(x: NDArray[Any], w: NDArray[Any], bias: None, axes: Any, *options: Any) -> Problem:
    return _correlation(x, np.flip(real_array(w, "kernel")), bias, axes, *options)


def _layer(x: NDArray[Any], w: NDArray[Any], bias: ArrayLike | None, *options: Any) -> Problem:
    problem = layer_problem(
        x, w, bias, **dict(zip((*COMMON, "groups", "layout"), options, strict=True))
    )
    if problem.filters == problem.x.shape[-1] == 1:  # a single kernel filters its channel
        return problem._replace(w=problem.w[0, ..., 0], filters=None)
    return problem
