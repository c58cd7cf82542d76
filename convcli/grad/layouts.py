"""A convolution and its gradients in an arrangement's own shapes, whichever way its kernel is read."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from convcli.engine.layer_form import flip_for, to_layer
from convcli.errors import ShapeError
from convcli.grad.backward import Gradients, correlate_gradients, gradients
from convcli.options import Op
from convcli.shapes.layout import ConvLayout
from convcli.shapes.parse import show
from convcli.shapes.spec import ConvSpec


def layout_gradients(
    x: NDArray[Any],
    w: NDArray[Any],
    dy: NDArray[Any],
    arrangement: ConvLayout,
    spec: ConvSpec,
    *,
    op: Op = "correlate",
    dtype: DTypeLike | None = None,
) -> Gradients:
    """Dx like x, dw like w and db (O,), or (1,) where every channel is filtered alike, from dy like the output.

    Raises ShapeError where dy is not shaped like the output, naming both.

    >>> from convcli.shapes.layout import infer_layout as arrange
    >>> x, w = np.ones((5, 5, 3)), np.ones((3, 3))
    >>> dx, dw, db = layout_gradients(x, w, np.ones((3, 3, 3)), arrange(x.shape, w.shape), ConvSpec.of(2))
    >>> dx.shape, dw.tolist(), db
    ((5, 5, 3), [[27.0, 27.0, 27.0], [27.0, 27.0, 27.0], [27.0, 27.0, 27.0]], array([27.]))
    """
    check_upstream(dy, arrangement, spec, "upstream gradient")
    options = {**spec.options, "dtype": dtype}
    kernel = flip_for(w, arrangement, op)
    if arrangement.channel_mode == "each":
        dx, dw = correlate_gradients(x, kernel, dy, axes=arrangement.spatial_axes, **options)
        db = dy.sum(dtype=np.float64).reshape(1).astype(dx.dtype)
        return Gradients(dx, np.ascontiguousarray(flip_for(dw, arrangement, op)), db)
    form = to_layer(x, kernel, arrangement)
    layer = gradients(form.x, form.w, to_layer_upstream(dy, arrangement), groups=form.groups, **options)
    return from_layer_gradients(layer, arrangement, op)


def check_upstream(dy: NDArray[Any], arrangement: ConvLayout, spec: ConvSpec, what: str) -> None:
    """Raise ShapeError, naming both shapes, unless dy is shaped like the output."""
    expected = arrangement.with_spatial(spec.sizes(arrangement.spatial, arrangement.window))
    if dy.shape != expected:
        raise ShapeError(f"the {what} is {show(dy.shape)}", f"the output is {show(expected)}")


def to_layer_upstream(dy: NDArray[Any], arrangement: ConvLayout) -> NDArray[Any]:
    """An upstream gradient as that of `as_layer`'s layer: (N, *P, O), with channels filtered alike as a batch."""
    a = arrangement
    channel = a.output_channel_axis
    dy = dy[..., None] if channel is None else np.moveaxis(dy, channel, -1)
    dy = dy if a.batch_axes else dy[None]
    return np.moveaxis(dy, -1, 1).reshape(-1, *dy.shape[1:-1])[..., None] if a.channel_mode == "each" else dy


def from_layer_gradients(layer: Gradients, arrangement: ConvLayout, op: Op) -> Gradients:
    """The gradients of `as_layer`'s layer as those of the arrangement's arrays: its adjoint."""
    a = arrangement
    dx, dw, db = layer
    if a.channel_mode == "each":
        dx = np.moveaxis(dx[..., 0].reshape(-1, 1 if a.channel_axis is None else a.channels, *a.spatial), 1, -1)
    dx = dx if a.batch_axes else dx[0]
    dx = dx[..., 0] if a.channel_axis is None else np.moveaxis(dx, -1, a.channel_axis)
    dw = flip_for(_own_kernel(dw, a), a, op)
    return Gradients(np.ascontiguousarray(dx), np.ascontiguousarray(dw), db)


def _own_kernel(dw: NDArray[Any], a: ConvLayout) -> NDArray[Any]:
    if len(a.kernel) == a.dims:  # one window, spread over the channels
        return np.asarray(dw[0].sum(axis=-1))
    first = a.layout == "channels_first"
    if a.channel_mode == "bank":
        return np.moveaxis(dw, -1, 1) if first else dw
    own = np.moveaxis(dw[..., 0], 0, -1) if a.channel_mode == "depthwise" else dw[0]
    return np.moveaxis(own, -1, 0) if first else own
