"""The backward pass of a convolution, which is itself made of convolutions.

With x padded, one tap t of the kernel ties the samples `x[t] = x[stride*p + dilation*t]` to the outputs y[p], and
the layer is a sum of matrix products over the taps. So are all its derivatives::

    y     = sum_t  x[t] @ w[t].T       the layer
    dw[t] = dy.T @ x[t]                a correlation of x with dy
    dx[t] += dy @ w[t]                 the full convolution of dy with w: the layer's adjoint
    db    = sum of dy

In one dimension and with stride 1 these read `dw_i = sum_j delta_j x_(i+j-1)` and dx = the full convolution of
delta with w. Dilation spreads the taps, padding crops dx; a boundary that repeats samples folds their share back onto
the samples they came from. Stride puts zeros between the deltas, and rather than multiply by them, dx is computed in
`stride` phases along each axis, each the full convolution of dy with the taps that fall on it::

    stride 2, taps a b c      dx[0::2] = full convolution of dy with a c
                              dx[1::2] = full convolution of dy with b

The engine runs dx, by its own methods. dw is gathered tile by tile, in short products whose sums are held in
float64, for they run over whole inputs; so is db.

Sources: Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", 2016, for the adjoint; Shi et
al., "Is the deconvolution layer the same as a convolutional layer?", 2016, for the phases.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from convcli.arrange import arrange, check_layout
from convcli.engine import conv_layer, correlate
from convcli.engine.operations import (
    Problem,
    check_bias,
    check_layer,
    layer_problem,
    named_dtype,
    real_array,
    spatial_problem,
)
from convcli.engine.pad import extend, fold
from convcli.engine.pairwise import add_up
from convcli.engine.windows import under_tap
from convcli.errors import DtypeError, ShapeError
from convcli.planner import result_dtype
from convcli.shapes import Axis, ConvSpec, Padding, PerAxis, show
from convcli.words import Boundary

TILE_VALUES = 1 << 18
"""Samples gathered for dw at a time: 1 MiB of float32, which stays in a second-level cache."""

STRETCH = 32
"""Products that one term of dw adds in a row. Twice as many save a quarter of its time, and round twice as much."""


class Gradients(NamedTuple):
    """dx like x, dw like w, db (O,): the derivatives of sum(dy * y)."""

    dx: NDArray[Any]
    dw: NDArray[Any]
    db: NDArray[Any]


class KernelGradients(NamedTuple):
    """dx like x, dw like w: the derivatives of sum(dy * y), where there is no bias."""

    dx: NDArray[Any]
    dw: NDArray[Any]


def gradients(
    x: ArrayLike,
    w: ArrayLike,
    dy: ArrayLike,
    *,
    stride: PerAxis = 1,
    dilation: PerAxis = 1,
    padding: Padding = "valid",
    boundary: str = "constant",
    cval: float = 0.0,
    groups: int = 1,
    layout: str = "channels_last",
    dtype: DTypeLike | None = None,
) -> Gradients:
    """The gradients of a layer's loss in its input, its kernels and its bias, given the gradient dy in its output.

    x (N, *S, C), w (O, *K, C/groups), dy (N, *P, O), or as `layout` says; the options are conv_layer's.
    dtype: a float type for the results; by default the one that conv_layer would give for x.
    Raises ShapeError where dy is not shaped like the layer's output, naming both.

    >>> x, w = np.arange(5.0).reshape(1, 5, 1), np.ones((1, 2, 1))
    >>> dx, dw, db = gradients(x, w, np.ones((1, 4, 1)))
    >>> dx.ravel(), dw.ravel(), db
    (array([1., 2., 2., 2., 1.]), array([ 6., 10.]), array([4.]))
    """
    problem = layer_problem(
        x,
        w,
        None,
        groups=groups,
        layout=layout,
        stride=stride,
        dilation=dilation,
        padding=padding,
        boundary=boundary,
        cval=cval,
    )
    kind = _float_type(dtype, problem.x)
    deltas = _engine_form(dy, problem, "the layer's output")
    dx, dw = _both(problem, deltas, kind)
    first = layout == "channels_first"
    return Gradients(_result(dx, kind, first), _result(dw, kind, first), _bias(deltas, kind))


def correlate_gradients(
    x: ArrayLike,
    w: ArrayLike,
    dy: ArrayLike,
    *,
    axes: Sequence[int] | None = None,
    stride: PerAxis = 1,
    dilation: PerAxis = 1,
    padding: Padding = "valid",
    boundary: str = "constant",
    cval: float = 0.0,
    dtype: DTypeLike | None = None,
) -> KernelGradients:
    """The gradients of `correlate` in its input and its kernel, given the gradient dy in its output.

    x, w and the options are correlate's, dy is shaped like its result.
    dtype: a float type for the results; by default the one that correlate would give for x.
    Raises ShapeError where dy is not shaped like the output, naming both.

    >>> dx, dw = correlate_gradients([1, 2, 4, 8], [-1, 1], [1, 10, 100], dtype="float64")
    >>> dx, dw
    (array([ -1.,  -9., -90., 100.]), array([421., 842.]))
    """
    problem = spatial_problem(
        x, w, axes=axes, stride=stride, dilation=dilation, padding=padding, boundary=boundary, cval=cval
    )
    kind = _float_type(dtype, problem.x)
    dx, dw = _both(problem, _engine_form(dy, problem, "the output"), kind)
    dx = (dx[..., 0] if problem.added_lane else dx).transpose(problem.order)
    return KernelGradients(np.ascontiguousarray(dx, kind), np.ascontiguousarray(dw, kind))


def convolve_gradients(
    x: ArrayLike,
    w: ArrayLike,
    dy: ArrayLike,
    *,
    axes: Sequence[int] | None = None,
    stride: PerAxis = 1,
    dilation: PerAxis = 1,
    padding: Padding = "valid",
    boundary: str = "constant",
    cval: float = 0.0,
    dtype: DTypeLike | None = None,
) -> KernelGradients:
    """The gradients of `convolve`: those of `correlate` with w flipped, and dw flipped back.

    >>> convolve_gradients([1, 2, 4, 8], [-1, 1], [1, 10, 100], dtype="float64").dw
    array([842., 421.])
    """
    dx, dw = correlate_gradients(
        x,
        np.flip(real_array(w, "kernel")),
        dy,
        axes=axes,
        stride=stride,
        dilation=dilation,
        padding=padding,
        boundary=boundary,
        cval=cval,
        dtype=dtype,
    )
    return KernelGradients(dx, np.flip(dw).copy())


def conv_transpose(
    x: ArrayLike,
    w: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    stride: PerAxis = 1,
    dilation: PerAxis = 1,
    padding: Padding = "valid",
    output_padding: PerAxis = 0,
    groups: int = 1,
    layout: str = "channels_last",
    dtype: DTypeLike | None = None,
) -> NDArray[Any]:
    """The adjoint of conv_layer in its input: O channels back to C, `stride` times as large.

    channels_last: x (N, *P, O), w (O, *K, C/groups) as conv_layer has it, returns (N, *S, C), with
    S = stride*(P-1) + output_padding + dilation*(K-1) + 1 - lo - hi. bias: (C,).
    Raises ChannelError where x does not have O channels, ShapeError where padding leaves nothing.

    >>> conv_transpose(np.ones((1, 2, 1)), np.array([1.0, 2.0, 3.0]).reshape(1, 3, 1), stride=2).ravel()
    array([1., 2., 4., 2., 3.])
    """
    adjoint = _Transposed.of(x, w, stride, dilation, padding, output_padding, groups, layout)
    kind, first = _float_type(dtype, adjoint.x), layout == "channels_first"
    shift = None if bias is None else check_bias(bias, adjoint.channels)
    with np.errstate(invalid="ignore", over="ignore"):
        y = _spread(adjoint.x, adjoint.w, adjoint.axes, groups, "constant", kind)
        if shift is not None:
            y += shift.astype(kind)
        return _result(y, kind, first)


def conv_transpose_gradients(
    x: ArrayLike,
    w: ArrayLike,
    dy: ArrayLike,
    *,
    stride: PerAxis = 1,
    dilation: PerAxis = 1,
    padding: Padding = "valid",
    output_padding: PerAxis = 0,
    groups: int = 1,
    layout: str = "channels_last",
    dtype: DTypeLike | None = None,
) -> Gradients:
    """The gradients of conv_transpose in its input, its kernels and its bias, given the gradient dy in its output.

    The adjoint of an adjoint is the map itself, so dx is conv_layer of dy; and dw is that of the layer with dy in the
    place of the input, x in that of the upstream gradient. x (N, *P, O), w (O, *K, C/groups), dy (N, *S, C) like
    conv_transpose's result, or as `layout` says; the options are conv_transpose's.
    dtype: a float type for the results; by default the one that conv_transpose would give for x.
    Raises ShapeError where dy is not shaped like the output, naming both.

    >>> w = np.array([1.0, 2.0, 3.0]).reshape(1, 3, 1)
    >>> dx, dw, db = conv_transpose_gradients(np.ones((1, 2, 1)), w, np.arange(5.0).reshape(1, 5, 1), stride=2)
    >>> dx.ravel(), dw.ravel(), db
    (array([ 8., 20.]), array([2., 4., 6.]), array([10.]))
    """
    adjoint = _Transposed.of(x, w, stride, dilation, padding, output_padding, groups, layout)
    kind, first = _float_type(dtype, adjoint.x), layout == "channels_first"
    dy = real_array(dy, "upstream gradient")
    _check_shape(dy, adjoint.output, "the transposed layer's output")
    deltas = np.moveaxis(dy, 1, -1) if first else dy
    pads = [(axis.lo, axis.hi) for axis in adjoint.axes]
    dx = conv_layer(
        deltas, adjoint.w, stride=stride, dilation=dilation, padding=pads, groups=groups, dtype=kind
    )  # an output_padding as large as the stride makes it longer than x
    dx = dx[(slice(None), *(slice(n) for n in adjoint.x.shape[1:-1]))]
    spec = ConvSpec.of(len(adjoint.axes), groups=groups)
    with np.errstate(invalid="ignore", over="ignore"):
        dw = _weights(deltas, adjoint.x, adjoint.w.shape, adjoint.axes, spec, kind)
    return Gradients(_result(dx, kind, first), _result(dw, kind, first), _bias(deltas, kind))


class _Transposed(NamedTuple):
    """A transposed layer's arrays, channels last, with the axes of the layer whose adjoint it is."""

    x: NDArray[Any]
    w: NDArray[Any]
    axes: tuple[Axis, ...]
    channels: int
    output: tuple[int, ...]
    """The shape of the result, in its own layout."""

    @classmethod
    def of(
        cls,
        x: ArrayLike,
        w: ArrayLike,
        stride: PerAxis,
        dilation: PerAxis,
        padding: Padding,
        output_padding: PerAxis,
        groups: int,
        layout: str,
    ) -> _Transposed:
        x, w = real_array(x, "input"), real_array(w, "kernel")
        check_layer(x, w)
        dims = x.ndim - 2
        spec = ConvSpec.of(
            dims, stride=stride, dilation=dilation, padding=padding, output_padding=output_padding, groups=groups
        )
        settled = arrange(x.shape, w.shape, dims=dims, groups=groups, layout=check_layout(layout), transposed=True)
        own = spec.transposed_axes(settled.spatial, settled.window)
        output = settled.with_spatial(tuple(axis.out for axis in own))
        axes = tuple(Axis(axis.out, axis.k, axis.stride, axis.dilation, axis.lo, axis.hi) for axis in own)
        if layout == "channels_first":
            x, w = np.moveaxis(x, 1, -1), np.moveaxis(w, 1, -1)
        return cls(x, w, axes, settled.filters, output)


def _engine_form(dy: ArrayLike, problem: Problem, what: str) -> NDArray[Any]:
    """The upstream gradient as the engine has the output: (*batch, *P, lanes or O). Raises ShapeError."""
    dy = real_array(dy, "upstream gradient")
    output = problem.plan(None, "direct").output
    shape = output[:-1] if problem.added_lane else output
    _check_shape(dy, tuple(shape[axis] for axis in problem.order), what)
    return dy.transpose(np.argsort(problem.order)).reshape(output)


def _check_shape(dy: NDArray[Any], expected: tuple[int, ...], what: str) -> None:
    if dy.shape != expected:
        raise ShapeError(f"the upstream gradient is {show(dy.shape)}", f"{what} is {show(expected)}")


def _both(problem: Problem, dy: NDArray[Any], kind: np.dtype[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """(dx, dw) in the engine's form, from dy in it."""
    x, w, spec = problem.x, problem.w, problem.spec
    axes = problem.plan(None, "direct").axes
    bank = problem.filters is not None
    with np.errstate(invalid="ignore", over="ignore"):
        dx = _spread(dy, w, axes, spec.groups if bank else None, spec.boundary, kind)
        if bank:
            return dx, _weights(x, dy, w.shape, axes, spec, kind)
        return dx, _weights(x, dy, (1, *w.shape, 1), axes, spec, kind)[0, ..., 0]


class _Phase(NamedTuple):
    """One axis of one phase of dx: the correlation of a part of dy with every so many of the taps, flipped."""

    at: slice
    """Where its results stand among those that are wanted."""
    taps: slice
    deltas: slice
    pads: tuple[int, int]
    dilation: int


def _spread(
    dy: NDArray[Any],
    w: NDArray[Any],
    axes: tuple[Axis, ...],
    groups: int | None,
    boundary: Boundary,
    kind: np.dtype[Any],
) -> NDArray[Any]:
    """Dx: every delta, times the kernel, added to all the samples its window covered.

    dy (*batch, *P, O) and a bank w in `groups`, or with None (*batch, *P, lanes) and one kernel w for every lane.
    Only a boundary that repeats samples needs what falls on the padding.
    """
    folds = boundary != "constant"
    spans = [(0, axis.padded) if folds else (axis.lo, axis.lo + axis.n) for axis in axes]
    first = dy.ndim - 1 - len(axes)
    sizes = tuple(stop - start for start, stop in spans)
    flipped, lanes = (w, dy.shape[-1]) if groups is None else _swapped(w, groups)
    lead = 0 if groups is None else 1
    dx = np.zeros((*dy.shape[:first], *sizes, lanes), kind)
    choices = [_phases(axis, n, *span) for axis, n, span in zip(axes, dy.shape[first:-1], spans, strict=True)]
    for phase in product(*choices):
        taps = flipped[(slice(None),) * lead + tuple(part.taps for part in phase)]
        taps = np.flip(taps, tuple(range(lead, lead + len(axes))))
        options: dict[str, Any] = {
            "padding": [part.pads for part in phase],
            "dilation": [part.dilation for part in phase],
            "dtype": kind,
        }
        seen: tuple[Any, ...] = (..., *(part.deltas for part in phase), slice(None))
        deltas = dy[seen]
        places: tuple[Any, ...] = (..., *(part.at for part in phase), slice(None))
        dx[places] = (
            correlate(deltas, taps, axes=range(first, dy.ndim - 1), **options)
            if groups is None
            else conv_layer(deltas, taps, groups=groups, **options)
        )
    return _fold_back(dx, axes, first, boundary) if folds else dx


def _swapped(w: NDArray[Any], groups: int) -> tuple[NDArray[Any], int]:
    """The bank (C, *K, O/groups) that leads from O channels back to C, and C."""
    parts = np.moveaxis(w.reshape(groups, -1, *w.shape[1:]), (1, -1), (-1, 1))
    channels = groups * w.shape[-1]
    return parts.reshape(channels, *parts.shape[2:]), channels


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
            source = fold(np.arange(-axis.lo, axis.n + axis.hi), axis.n, boundary)
            outside = np.r_[: axis.lo, axis.lo + axis.n : axis.padded]
            np.add.at(inner, source[outside], lines[outside])
        padded = np.moveaxis(inner, 0, at)
    return padded


def _weights(
    x: NDArray[Any],
    dy: NDArray[Any],
    shape: tuple[int, ...],
    axes: tuple[Axis, ...],
    spec: ConvSpec,
    kind: np.dtype[Any],
) -> NDArray[np.float64]:
    """dw, of a bank's shape: for every tap, the deltas against the samples that the tap saw, summed over all outputs.

    x (*batch, *S, C), dy (*batch, *P, O): of `spec` only the border and the groups are read. A bank of one kernel with
    one channel is summed over all the lanes that there are.
    """
    if x.ndim == 1 + len(axes):
        x, dy = x[None], dy[None]
    taps, groups = list(np.ndindex(*shape[1:-1])), spec.groups
    share = _by_number if shape[0] == groups and shape[-1] == 1 else _by_product
    work = np.result_type(kind, x, dy)
    total = np.zeros((len(taps), groups, shape[0] // groups, shape[-1]))
    along = range(x.ndim - 1 - len(axes), x.ndim - 1)
    for items, (start, stop) in _tiles(dy.shape, along, len(taps) * x.shape[-1]):
        head, *rest = axes
        spans = [
            (start * head.stride - head.lo, (stop - 1) * head.stride + head.reach - head.lo),
            *((-axis.lo, axis.n + axis.hi) for axis in rest),
        ]
        block = extend(x[items], along, spans, spec.boundary, spec.cval, work)
        deltas = dy[items][(slice(None),) * along[0] + (slice(start, stop),)].astype(work, copy=False)
        seen = (under_tap(block, axes, deltas.shape[along[0] : -1], tap) for tap in taps)
        share(seen, deltas, total)
    return np.moveaxis(total.reshape(*shape[1:-1], *total.shape[1:]), (-3, -2), (0, 1)).reshape(shape)


def _tiles(shape: tuple[int, ...], along: Sequence[int], samples: int) -> Iterator[tuple[slice, tuple[int, int]]]:
    """(items of the first axis, rows of the first spatial axis) that gather about TILE_VALUES, `samples` an output."""
    row = math.prod(shape[1:-1]) // shape[along[0]] * samples
    rows = min(max(TILE_VALUES // row, 1), shape[along[0]])
    items = max(TILE_VALUES // (row * rows), 1)
    for item in range(0, shape[0], items):
        for start in range(0, shape[along[0]], rows):
            yield slice(item, item + items), (start, min(start + rows, shape[along[0]]))


def _by_product(seen: Iterator[NDArray[Any]], dy: NDArray[Any], total: NDArray[np.float64]) -> None:
    """Add a tile's share of dw, (taps, groups, O/groups, C/groups): a product over its outputs for each tap."""
    _, groups, filters, depth = total.shape
    deltas = np.moveaxis(dy.reshape(-1, groups, filters), 0, -1)
    rows = np.stack([samples.reshape(-1, groups, depth) for samples in seen]).swapaxes(1, 2)
    stretches = [slice(at, at + STRETCH) for at in range(0, rows.shape[2], STRETCH)]
    sums = np.empty(total.shape, dy.dtype)
    add_up(stretches, lambda part, out: np.matmul(deltas[..., part], rows[:, :, part], out=out), sums)
    total += sums


def _by_number(seen: Iterator[NDArray[Any]], dy: NDArray[Any], total: NDArray[np.float64]) -> None:
    """The same where each kernel sees one channel, or lane by lane all of them: a product of numbers, not matrices."""
    groups = total.shape[1]
    for samples, sums in zip(seen, total, strict=True):
        sums[:, 0, 0] += (samples * dy).reshape(-1, groups).sum(axis=0, dtype=np.float64)


def _bias(dy: NDArray[Any], kind: np.dtype[Any]) -> NDArray[Any]:
    with np.errstate(invalid="ignore", over="ignore"):
        total: NDArray[np.float64] = dy.sum(axis=tuple(range(dy.ndim - 1)), dtype=np.float64)
        return total.astype(kind)


def _float_type(dtype: DTypeLike | None, x: NDArray[Any]) -> np.dtype[Any]:
    kind = named_dtype(result_dtype(x.dtype.name) if dtype is None else dtype)
    if kind not in (np.float32, np.float64):
        raise DtypeError(f"dtype {kind}", "expected float32 or float64")
    return kind


def _result(array: NDArray[Any], kind: np.dtype[Any], first: bool) -> NDArray[Any]:
    return np.ascontiguousarray(np.moveaxis(array, -1, 1) if first else array, kind)
