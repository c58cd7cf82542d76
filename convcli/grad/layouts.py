"""Gradients in the shapes of the user's arrays, for any layout of their axes.

::

    x, w  -> engine's problem -> y         engine.layer_form: to_problem, from_layer
    dy    -> engine's problem -> dx, dw    backpropagate
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from convcli.engine.layer_form import flip_for, to_problem
from convcli.engine.problem import Problem
from convcli.errors import ShapeError
from convcli.grad.backward import Gradients, bias_gradient, problem_gradients
from convcli.options import Op
from convcli.progress import Progress, silent
from convcli.shapes.layout import ConvLayout
from convcli.shapes.parse import show
from convcli.shapes.spec import ConvSpec


def layout_gradients(
    x: NDArray[Any],
    w: NDArray[Any],
    dy: NDArray[Any],
    conv_layout: ConvLayout,
    spec: ConvSpec,
    *,
    op: Op = "correlate",
    dtype: DTypeLike | None = None,
) -> Gradients:
    """Return dx like x, dw like w and db (O,), or (1,) if every channel is filtered independently.

    Raises ShapeError, with both shapes, unless dy has the output's shape.

    >>> from convcli.shapes.layout import infer_layout
    >>> x, w = np.ones((5, 5, 3)), np.ones((3, 3))
    >>> dy, conv_layout = np.ones((3, 3, 3)), infer_layout(x.shape, w.shape)
    >>> dx, dw, db = layout_gradients(x, w, dy, conv_layout, ConvSpec.of(2))
    >>> dx.shape, dw.tolist(), db
    ((5, 5, 3), [[27.0, 27.0, 27.0], [27.0, 27.0, 27.0], [27.0, 27.0, 27.0]], array([27.]))
    """
    check_upstream(dy, conv_layout, spec, "upstream gradient")
    problem = to_problem(x, flip_for(w, conv_layout, op), conv_layout, spec)
    return backpropagate(problem, dy, conv_layout, op=op, dtype=dtype)


def backpropagate(
    problem: Problem,
    dy: NDArray[Any],
    conv_layout: ConvLayout,
    *,
    op: Op = "correlate",
    dtype: DTypeLike | None = None,
    progress: Progress = silent,
) -> Gradients:
    """Return the gradients of a problem made by `to_problem`, in the shapes of `conv_layout`.

    dy: of the output's shape in `conv_layout`. dtype: as for `gradients`.
    """
    if conv_layout.channel_mode == "each":
        dx, dw = problem_gradients(problem, dy, "the output", dtype, progress)
        db = dy.sum(dtype=np.float64).reshape(1).astype(dx.dtype)
        return Gradients(dx, np.ascontiguousarray(flip_for(dw, conv_layout, op)), db)
    upstream = to_layer_upstream(dy, conv_layout)
    dx, dw = problem_gradients(problem, upstream, "the layer's output", dtype, progress)
    layer = Gradients(dx, dw, bias_gradient(upstream, dx.dtype))
    return from_layer_gradients(layer, conv_layout, op)


def check_upstream(dy: NDArray[Any], conv_layout: ConvLayout, spec: ConvSpec, what: str) -> None:
    """Raise ShapeError, with both shapes, unless dy has the output's shape."""
    expected = conv_layout.with_spatial(spec.sizes(conv_layout.spatial, conv_layout.window))
    if dy.shape != expected:
        raise ShapeError(f"the {what} is {show(dy.shape)}", f"the output is {show(expected)}")


def to_layer_upstream(dy: NDArray[Any], conv_layout: ConvLayout) -> NDArray[Any]:
    """Return dy for the layer of `to_layer`: (N, *P, O); independent channels become a batch."""
    channel = conv_layout.output_channel_axis
    dy = dy[..., None] if channel is None else np.moveaxis(dy, channel, -1)
    dy = dy if conv_layout.batch_axes else dy[None]
    if conv_layout.channel_mode == "each":
        return np.moveaxis(dy, -1, 1).reshape(-1, *dy.shape[1:-1])[..., None]
    return dy


def from_layer_gradients(layer: Gradients, conv_layout: ConvLayout, op: Op) -> Gradients:
    """Return the gradients of the layer of `to_layer` in the shapes of the user's arrays."""
    a = conv_layout
    dx, dw, db = layer
    if a.channel_mode == "each":
        depth = 1 if a.channel_axis is None else a.channels
        dx = np.moveaxis(dx[..., 0].reshape(-1, depth, *a.spatial), 1, -1)
    dx = dx if a.batch_axes else dx[0]
    dx = dx[..., 0] if a.channel_axis is None else np.moveaxis(dx, -1, a.channel_axis)
    dw = flip_for(_kernel_gradient(dw, a), a, op)
    return Gradients(np.ascontiguousarray(dx), np.ascontiguousarray(dw), db)


def _kernel_gradient(dw: NDArray[Any], a: ConvLayout) -> NDArray[Any]:
    """Return a layer's dw (O, *K, C/groups) in the shape of the user's kernel."""
    if len(a.kernel) == a.dims:  # one window for all channels
        return np.asarray(dw[0].sum(axis=-1))
    channels_first = a.layout == "channels_first"
    if a.channel_mode == "bank":
        return np.moveaxis(dw, -1, 1) if channels_first else dw
    own = np.moveaxis(dw[..., 0], 0, -1) if a.channel_mode == "depthwise" else dw[0]
    return np.moveaxis(own, -1, 0) if channels_first else own
