"""The backward pass of a convolution, which is itself made of convolutions.

With x padded, one tap t of the kernel ties the samples `x[t] = x[stride*p + dilation*t]` to the outputs y[p], and
the layer is a sum of matrix products over the taps. So are all its derivatives::

    y     = sum_t  x[t] @ w[t].T       the layer
    dw[t] = dy.T @ x[t]                a correlation of x with dy
    dx[t] += dy @ w[t]                 the full convolution of dy with w: the layer's adjoint
    db    = sum of dy

In one dimension and with stride 1 these read `dw_i = sum_j delta_j x_(i+j-1)` and dx = the full convolution of
delta with w. Stride puts zeros between the deltas, dilation spreads the taps, padding crops dx; a boundary that
repeats samples folds their share back onto the samples they came from. Sums are held in float64, for they run over
whole inputs; float32 results are rounded once, at the end.

Source: Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", 2016, for the adjoint.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from convcli.arrange import arrange, check_layout
from convcli.engine.operations import check_bias, check_layer, named_dtype, real_array
from convcli.engine.pad import extend, fold
from convcli.engine.windows import under_tap
from convcli.errors import DtypeError, ShapeError
from convcli.planner import result_dtype
from convcli.shapes import Axis, ConvSpec, Padding, PerAxis, show
from convcli.words import Boundary


class Gradients(NamedTuple):
    """dx like x, dw like w, db (O,): the derivatives of sum(dy * y)."""

    dx: NDArray[Any]
    dw: NDArray[Any]
    db: NDArray[Any]


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
    x, w, dy = real_array(x, "input"), real_array(w, "kernel"), real_array(dy, "upstream gradient")
    check_layer(x, w)
    spec = ConvSpec.of(
        x.ndim - 2, stride=stride, dilation=dilation, padding=padding, boundary=boundary, cval=cval, groups=groups
    )
    settled = arrange(x.shape, w.shape, dims=x.ndim - 2, groups=spec.groups, layout=check_layout(layout))
    axes = spec.axes(settled.spatial, settled.window)
    expected = settled.with_spatial(tuple(axis.out for axis in axes))
    if dy.shape != expected:
        raise ShapeError(f"the upstream gradient is {show(dy.shape)}", f"the layer's output is {show(expected)}")
    first, kind = layout == "channels_first", _float_type(dtype, x)
    x, w, dy = (_channels_last(array, first).astype(np.float64, copy=False) for array in (x, w, dy))
    with np.errstate(invalid="ignore", over="ignore"):
        padded = _spread(dy, w, axes, spec.groups)
        dx = _fold_back(padded, axes, spec.boundary)
        dw = _weights(x, dy, axes, spec, w.shape)
        db = dy.sum(axis=tuple(range(dy.ndim - 1)))
        return Gradients(_result(dx, kind, first), _result(dw, kind, first), db.astype(kind))


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
    x, w = real_array(x, "input"), real_array(w, "kernel")
    check_layer(x, w)
    spec = ConvSpec.of(
        x.ndim - 2, stride=stride, dilation=dilation, padding=padding, output_padding=output_padding, groups=groups
    )
    settled = arrange(
        x.shape, w.shape, dims=x.ndim - 2, groups=spec.groups, layout=check_layout(layout), transposed=True
    )
    axes = spec.transposed_axes(settled.spatial, settled.window)
    first, kind = layout == "channels_first", _float_type(dtype, x)
    shift = None if bias is None else check_bias(bias, settled.filters)
    x, w = (_channels_last(array, first).astype(np.float64, copy=False) for array in (x, w))
    with np.errstate(invalid="ignore", over="ignore"):
        y = _fold_back(_spread(x, w, _as_forward(axes), spec.groups), _as_forward(axes), "constant")
        if shift is not None:
            y += shift.astype(np.float64)
        return _result(y, kind, first)


def _as_forward(axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    """The convolution whose adjoint `axes` describe: from the transposed output back to its input."""
    return tuple(Axis(axis.out, axis.k, axis.stride, axis.dilation, axis.lo, axis.hi) for axis in axes)


def _spread(dy: NDArray[Any], w: NDArray[Any], axes: tuple[Axis, ...], groups: int) -> NDArray[Any]:
    """Dx over the padded input: every delta, times the kernel, added to all the samples its window covered."""
    filters, depth = w.shape[0] // groups, w.shape[-1]
    padded = np.zeros((dy.shape[0], *(axis.padded for axis in axes), depth * groups), dy.dtype)
    for tap in np.ndindex(*w.shape[1:-1]):
        seen = under_tap(padded, axes, dy.shape[1:-1], tap)
        for group in range(groups):
            rows = slice(group * filters, (group + 1) * filters)
            seen[..., group * depth : (group + 1) * depth] += dy[..., rows] @ w[(rows, *tap)]
    return padded


def _weights(
    x: NDArray[Any], dy: NDArray[Any], axes: tuple[Axis, ...], spec: ConvSpec, shape: tuple[int, ...]
) -> NDArray[Any]:
    """dw: for every tap, the deltas against the samples that the tap saw, summed over all outputs."""
    spans = [(-axis.lo, axis.n + axis.hi) for axis in axes]
    padded = extend(x, range(1, x.ndim - 1), spans, spec.boundary, spec.cval, x.dtype)
    filters, depth = shape[0] // spec.groups, shape[-1]
    dw = np.empty(shape, x.dtype)
    for tap in np.ndindex(*shape[1:-1]):
        seen = under_tap(padded, axes, dy.shape[1:-1], tap)
        for group in range(spec.groups):
            rows = slice(group * filters, (group + 1) * filters)
            deltas = dy[..., rows].reshape(-1, filters)
            dw[(rows, *tap)] = deltas.T @ seen[..., group * depth : (group + 1) * depth].reshape(-1, depth)
    return dw


def _fold_back(padded: NDArray[Any], axes: tuple[Axis, ...], boundary: Boundary) -> NDArray[Any]:
    """The adjoint of padding: what fell on a repeated sample goes to the sample it repeats; constants take none."""
    for at, axis in enumerate(axes, start=1):
        lines = np.moveaxis(padded, at, 0)
        inner = lines[axis.lo : axis.lo + axis.n]
        if boundary != "constant" and axis.lo + axis.hi:
            inner = inner.copy()
            source = fold(np.arange(-axis.lo, axis.n + axis.hi), axis.n, boundary)
            outside = np.r_[: axis.lo, axis.lo + axis.n : axis.padded]
            np.add.at(inner, source[outside], lines[outside])
        padded = np.moveaxis(inner, 0, at)
    return padded


def _float_type(dtype: DTypeLike | None, x: NDArray[Any]) -> np.dtype[Any]:
    kind = named_dtype(result_dtype(x.dtype.name) if dtype is None else dtype)
    if kind not in (np.float32, np.float64):
        raise DtypeError(f"dtype {kind}", "expected float32 or float64")
    return kind


def _channels_last(array: NDArray[Any], first: bool) -> NDArray[Any]:
    return np.moveaxis(array, 1, -1) if first else array


def _result(array: NDArray[Any], kind: np.dtype[Any], first: bool) -> NDArray[Any]:
    return np.ascontiguousarray(np.moveaxis(array, -1, 1) if first else array, kind)
