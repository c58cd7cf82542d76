"""Convert arrays of any layout to the engine's problem, and its result back."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from convcli.engine.calls import run_problem
from convcli.engine.problem import Problem, layer_problem, spatial_problem
from convcli.options import Op
from convcli.shapes.layout import ConvLayout
from convcli.shapes.spec import ConvSpec


class LayerForm(NamedTuple):
    """The user's arrays as a layer: x (N, *S, C) and w (O, *K, C/groups), channels last."""

    x: NDArray[Any]
    w: NDArray[Any]
    groups: int


def to_layer(x: NDArray[Any], w: NDArray[Any], conv_layout: ConvLayout) -> LayerForm:
    """Return the user's arrays as a layer: axes are added, independent channels become a batch.

    >>> from convcli.shapes.layout import infer_layout
    >>> form = to_layer(np.ones((9, 9, 3)), np.ones((3, 3)), infer_layout((9, 9, 3), (3, 3)))
    >>> form.x.shape, form.w.shape
    ((3, 9, 9, 1), (1, 3, 3, 1))
    """
    a = conv_layout
    x = x[..., None] if a.channel_axis is None else np.moveaxis(x, a.channel_axis, -1)
    x = x if a.batch_axes else x[None]
    if a.channel_mode == "each":
        batch = np.moveaxis(x, -1, 1).reshape(-1, *a.spatial)
        return LayerForm(batch[..., None], w[None, ..., None], 1)
    if len(a.kernel) == a.dims:
        return LayerForm(x, np.broadcast_to(w[..., None], (*w.shape, a.channels))[None], 1)
    if a.channel_mode == "bank":
        return LayerForm(x, np.moveaxis(w, 1, -1) if a.layout == "channels_first" else w, a.groups)
    w = np.moveaxis(w, 0, -1) if a.layout == "channels_first" else w
    if a.channel_mode == "depthwise":
        return LayerForm(x, np.moveaxis(w, -1, 0)[..., None], a.channels)
    return LayerForm(x, w[None], 1)


def flip_for(w: NDArray[Any], conv_layout: ConvLayout, op: Op) -> NDArray[Any]:
    """Return the kernel flipped along its window for `convolve`, otherwise unchanged."""
    return np.flip(w, conv_layout.window_axes) if op == "convolve" else w


def to_problem(
    x: NDArray[Any], w: NDArray[Any], conv_layout: ConvLayout, spec: ConvSpec
) -> Problem:
    """Return the engine's problem; its result is (N, *P, O) unless the channel mode is `each`."""
    if conv_layout.channel_mode == "each":
        return spatial_problem(x, w, axes=conv_layout.spatial_axes, **spec.options)
    form = to_layer(x, w, conv_layout)
    return layer_problem(
        form.x, form.w, None, groups=form.groups, layout="channels_last", **spec.options
    )


def from_layer(y: NDArray[Any], conv_layout: ConvLayout) -> NDArray[Any]:
    """Return the problem's result in the user's axes."""
    if conv_layout.channel_mode == "each":
        return y
    y = y if conv_layout.batch_axes else y[0]
    if conv_layout.layout == "channels_first":
        return np.moveaxis(y, -1, conv_layout.batch_axes)
    return y


def forward(
    x: NDArray[Any],
    w: NDArray[Any],
    conv_layout: ConvLayout,
    spec: ConvSpec,
    *,
    op: Op = "correlate",
    bias: NDArray[Any] | None = None,
    dtype: DTypeLike | None = None,
) -> NDArray[Any]:
    """Compute the convolution as `apply` does, before postprocessing.

    bias: (O,), or (1,) for the channel mode `each`.
    """
    problem = to_problem(x, flip_for(w, conv_layout, op), conv_layout, spec)
    return from_layer(run_problem(problem._replace(bias=bias), dtype, "auto"), conv_layout)
