"""The backward pass of a convolution, which consists of convolutions.

With x padded, one tap t of the kernel connects the samples `x[t] = x[stride*p + dilation*t]` with
the outputs y[p], and the layer is a sum of matrix products over the taps. So are its derivatives::

    y     = sum_t  x[t] @ w[t].T       the layer
    dw[t] = dy.T @ x[t]                a correlation of x with dy
    dx[t] += dy @ w[t]                 the full convolution of dy with w: the layer's adjoint
    db    = sum of dy

In one dimension with stride 1, these are `dw_i = sum_j delta_j x_(i+j-1)` and dx = the full
convolution of delta with w. Dilation spreads the taps, and padding crops dx. If the boundary
repeats samples, the gradient of the padding is added to the repeated samples. The engine's methods
compute dx (input_gradient.py); dw is computed in tiles (kernel_gradient.py). Sums over whole inputs
are in float64.

Source of the adjoint: Dumoulin and Visin, "A guide to convolution arithmetic for deep learning",
2016.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from convcli.engine.analysis import leaves_float32
from convcli.engine.operations import conv_layer
from convcli.engine.planning.facts import result_dtype
from convcli.engine.problem import (
    Problem,
    check_bias,
    check_layer,
    layer_problem,
    named_dtype,
    real_array,
    spatial_problem,
)
from convcli.errors import DtypeError, ShapeError
from convcli.grad.input_gradient import input_gradient
from convcli.grad.kernel_gradient import kernel_gradient
from convcli.progress import Progress, silent
from convcli.shapes.axis import Axis
from convcli.shapes.layout import check_layout, infer_layout
from convcli.shapes.parse import Padding, PerAxis, show
from convcli.shapes.spec import ConvSpec

SUMMED = 16
"""Rows of dy that one product adds at a time for db: ten times as fast as a sum in float64, and the
error of 16 equal terms is at most 4 roundings."""


class Gradients(NamedTuple):
    """dx like x, dw like w, db (O,): the derivatives of sum(dy * y)."""

    dx: NDArray[Any]
    dw: NDArray[Any]
    db: NDArray[Any]


class KernelGradients(NamedTuple):
    """dx like x, dw like w: the derivatives of sum(dy * y) without a bias."""

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
    """Return the gradients of `conv_layer` with respect to input, kernels and bias, from dy.

    x (N, *S, C), w (O, *K, C/groups), dy (N, *P, O), or in the axis order of `layout`; the other
    options are conv_layer's. dtype: float32 or float64, by default conv_layer's for x. Raises
    ShapeError, with both shapes, unless dy has the shape of the layer's output.

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
    dy = real_array(dy, "upstream gradient")
    dx, dw = problem_gradients(problem, dy, "the layer's output", dtype)
    db = bias_gradient(dy, dx.dtype, axis=1 if layout == "channels_first" else -1)
    if layout == "channels_first":
        dw = np.ascontiguousarray(np.moveaxis(dw, -1, 1))
    return Gradients(dx, dw, db)


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
    """Return the gradients of `correlate` with respect to its input and its kernel, from dy.

    x, w and the options are correlate's; dy has the shape of its result. dtype: float32 or float64,
    by default correlate's for x. Raises ShapeError, with both shapes, unless dy has the output's
    shape.

    >>> dx, dw = correlate_gradients([1, 2, 4, 8], [-1, 1], [1, 10, 100], dtype="float64")
    >>> dx, dw
    (array([ -1.,  -9., -90., 100.]), array([421., 842.]))
    """
    problem = spatial_problem(
        x,
        w,
        axes=axes,
        stride=stride,
        dilation=dilation,
        padding=padding,
        boundary=boundary,
        cval=cval,
    )
    return problem_gradients(problem, real_array(dy, "upstream gradient"), "the output", dtype)


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
    """Return the gradients of `convolve`: those of `correlate` with w flipped, and dw flipped back.

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
    """Compute a transposed convolution: the adjoint of conv_layer with respect to its input.

    channels_last: x (N, *P, O), w (O, *K, C/groups) as for conv_layer, returns (N, *S, C), with
    S = stride*(P-1) + output_padding + dilation*(K-1) + 1 - lo - hi. bias: (C,).
    Raises ChannelError unless x has O channels, ShapeError if the padding leaves no output.

    >>> w = np.array([1.0, 2.0, 3.0]).reshape(1, 3, 1)
    >>> conv_transpose(np.ones((1, 2, 1)), w, stride=2).ravel()
    array([1., 2., 4., 2., 3.])
    """
    adjoint = _Transposed.of(x, w, stride, dilation, padding, output_padding, groups, layout)
    float_type = _float_type(dtype, adjoint.x)
    first = layout == "channels_first"
    shift = None if bias is None else check_bias(bias, adjoint.channels)
    wide = np.dtype(np.float64) if shift is not None and leaves_float32(shift) else float_type
    with np.errstate(invalid="ignore", over="ignore"):
        y = input_gradient(adjoint.x, adjoint.w, adjoint.axes, groups, "constant", wide)
        if shift is not None:
            y += shift.astype(wide)
        return _result(y, float_type, first)


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
    """Return the gradients of conv_transpose with respect to its input, kernels and bias, from dy.

    The adjoint of an adjoint is the original map, so dx is conv_layer of dy. dw is that of the
    layer with dy as its input and x as its upstream gradient. x (N, *P, O), w (O, *K, C/groups),
    dy (N, *S, C), or in the axis order of `layout`; the other options are conv_transpose's. dtype:
    float32 or float64, by default conv_transpose's for x. Raises ShapeError, with both shapes,
    unless dy has the output's shape.

    >>> x, w = np.ones((1, 2, 1)), np.array([1.0, 2.0, 3.0]).reshape(1, 3, 1)
    >>> dy = np.arange(5.0).reshape(1, 5, 1)
    >>> dx, dw, db = conv_transpose_gradients(x, w, dy, stride=2)
    >>> dx.ravel(), dw.ravel(), db
    (array([ 8., 20.]), array([2., 4., 6.]), array([10.]))
    """
    adjoint = _Transposed.of(x, w, stride, dilation, padding, output_padding, groups, layout)
    float_type = _float_type(dtype, adjoint.x)
    first = layout == "channels_first"
    dy = real_array(dy, "upstream gradient")
    _check_shape(dy, adjoint.output, "the transposed layer's output")
    deltas = np.moveaxis(dy, 1, -1) if first else dy
    pads = [(axis.lo, axis.hi) for axis in adjoint.axes]
    dx = conv_layer(
        deltas,
        adjoint.w,
        stride=stride,
        dilation=dilation,
        padding=pads,
        groups=groups,
        dtype=float_type,
    )
    # An output_padding of at least the stride makes dx longer than x.
    dx = dx[(slice(None), *(slice(n) for n in adjoint.x.shape[1:-1]))]
    spec = ConvSpec.of(len(adjoint.axes), groups=groups)
    with np.errstate(invalid="ignore", over="ignore"):
        dw = kernel_gradient(deltas, adjoint.x, adjoint.w.shape, adjoint.axes, spec, float_type)
    return Gradients(
        _result(dx, float_type, first),
        _result(dw, float_type, first),
        bias_gradient(deltas, float_type),
    )


class _Transposed(NamedTuple):
    """A transposed layer's arrays, channels last, and the axes of the layer that it transposes."""

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
            dims,
            stride=stride,
            dilation=dilation,
            padding=padding,
            output_padding=output_padding,
            groups=groups,
        )
        conv_layout = infer_layout(
            x.shape, w.shape, dims=dims, groups=groups, layout=check_layout(layout), transposed=True
        )
        own = spec.transposed_axes(conv_layout.spatial, conv_layout.window)
        output = conv_layout.with_spatial(tuple(axis.out for axis in own))
        axes = tuple(
            Axis(axis.out, axis.k, axis.stride, axis.dilation, axis.lo, axis.hi) for axis in own
        )
        if layout == "channels_first":
            x, w = np.moveaxis(x, 1, -1), np.moveaxis(w, 1, -1)
        return cls(x, w, axes, conv_layout.filters, output)


def problem_gradients(
    problem: Problem,
    dy: NDArray[Any],
    what: str,
    dtype: DTypeLike | None,
    progress: Progress = silent,
) -> KernelGradients:
    """Return dx and dw of one of the engine's problems.

    dy: of the shape of the problem's result, which messages call `what`. dtype: of the gradients,
    float32 or float64, by default the result's. dx has the axes of the result; dw is (O, *K,
    C/groups) or (*K). Raises ShapeError, with both shapes, if dy has another shape, DtypeError if
    dtype is another type.
    """
    x, w, spec = problem.x, problem.w, problem.spec
    float_type = _float_type(dtype, x)
    bank = problem.filters is not None
    first = x.ndim - 1 - len(spec.stride)
    axes = spec.axes(x.shape[first:-1], problem.window)
    channels = x.shape[-1] if problem.filters is None else problem.filters
    output = (*x.shape[:first], *(axis.out for axis in axes), channels)
    deltas = _upstream(dy, problem, output, what)
    with np.errstate(invalid="ignore", over="ignore"):
        groups = spec.groups if bank else None
        dx = input_gradient(deltas, w, axes, groups, spec.boundary, float_type)
        progress(0.5)
        if bank:
            dw = kernel_gradient(x, deltas, w.shape, axes, spec, float_type)
        else:
            dw = kernel_gradient(x, deltas, (1, *w.shape, 1), axes, spec, float_type)[0, ..., 0]
    dx = (dx[..., 0] if problem.added_channel else dx).transpose(problem.order)
    return KernelGradients(
        np.ascontiguousarray(dx, float_type), np.ascontiguousarray(dw, float_type)
    )


def _upstream(
    dy: NDArray[Any], problem: Problem, output: tuple[int, ...], what: str
) -> NDArray[Any]:
    """Return dy with the axes of the engine's output (*batch, *P, channels or O)."""
    shape = output[:-1] if problem.added_channel else output
    _check_shape(dy, tuple(shape[axis] for axis in problem.order), what)
    return dy.transpose(np.argsort(problem.order)).reshape(output)


def _check_shape(dy: NDArray[Any], expected: tuple[int, ...], what: str) -> None:
    if dy.shape != expected:
        raise ShapeError(
            f"the upstream gradient is {show(dy.shape)}", f"{what} is {show(expected)}"
        )


def bias_gradient(dy: NDArray[Any], float_type: np.dtype[Any], axis: int = -1) -> NDArray[Any]:
    """Return db: dy summed over all axes except channels, in float64 after every SUMMED terms."""
    dy = np.moveaxis(dy, axis, -1)
    rows = dy.reshape(-1, dy.shape[-1]).astype(np.result_type(float_type, dy), copy=False)
    with np.errstate(invalid="ignore", over="ignore"):
        while len(rows) > SUMMED:
            even = len(rows) // SUMMED * SUMMED
            partial = np.ones(SUMMED, rows.dtype) @ rows[:even].reshape(SUMMED, -1)
            parts = [partial.reshape(-1, rows.shape[1]), rows[even:]]
            rows = np.concatenate(parts, dtype=np.float64)
        total: NDArray[np.float64] = rows.sum(axis=0, dtype=np.float64)
        if not np.isfinite(total).all():  # the first sums may have overflowed float32
            total = dy.reshape(-1, dy.shape[-1]).sum(axis=0, dtype=np.float64)
        return total.astype(float_type)


def _float_type(dtype: DTypeLike | None, x: NDArray[Any]) -> np.dtype[Any]:
    float_type = named_dtype(result_dtype(x.dtype.name) if dtype is None else dtype)
    if float_type not in (np.float32, np.float64):
        raise DtypeError(f"dtype {float_type}", "expected float32 or float64")
    return float_type


def _result(array: NDArray[Any], float_type: np.dtype[Any], first: bool) -> NDArray[Any]:
    return np.ascontiguousarray(np.moveaxis(array, -1, 1) if first else array, float_type)
