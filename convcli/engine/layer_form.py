"""An arrangement's kernel and input as a layer's, and its convolution by the engine."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from convcli.engine.problem import Problem, layer_problem, spatial_problem
from convcli.options import Op
from convcli.shapes.layout import ConvLayout
from convcli.shapes.spec import ConvSpec


class LayerForm(NamedTuple):
    """x (N, *S, C) and w (O, *K, C/groups), channels last, that say the same as an arrangement's arrays."""

    x: NDArray[Any]
    w: NDArray[Any]
    groups: int


def to_layer(x: NDArray[Any], w: NDArray[Any], arrangement: ConvLayout) -> LayerForm:
    """Write an arrangement out as a layer: missing axes are added, and channels filtered alike become a batch.

    >>> from convcli.shapes.layout import infer_layout as arrange
    >>> form = to_layer(np.ones((9, 9, 3)), np.ones((3, 3)), arrange((9, 9, 3), (3, 3)))
    >>> form.x.shape, form.w.shape
    ((3, 9, 9, 1), (1, 3, 3, 1))
    """
    a = arrangement
    x = x[..., None] if a.channel_axis is None else np.moveaxis(x, a.channel_axis, -1)
    x = x if a.batch_axes else x[None]
    if a.channel_mode == "each":
        return LayerForm(np.moveaxis(x, -1, 1).reshape(-1, *a.spatial)[..., None], w[None, ..., None], 1)
    if len(a.kernel) == a.dims:
        return LayerForm(x, np.broadcast_to(w[..., None], (*w.shape, a.channels))[None], 1)
    if a.channel_mode == "bank":
        return LayerForm(x, np.moveaxis(w, 1, -1) if a.layout == "channels_first" else w, a.groups)
    w = np.moveaxis(w, 0, -1) if a.layout == "channels_first" else w
    if a.channel_mode == "depthwise":
        return LayerForm(x, np.moveaxis(w, -1, 0)[..., None], a.channels)
    return LayerForm(x, w[None], 1)


def flip_for(w: NDArray[Any], arrangement: ConvLayout, op: Op) -> NDArray[Any]:
    """The kernel as it slides: flipped along its window for `convolve`. Twice is the kernel again."""
    return np.flip(w, arrangement.window_axes) if op == "convolve" else w


def to_problem(x: NDArray[Any], w: NDArray[Any], arrangement: ConvLayout, spec: ConvSpec) -> Problem:
    """The engine's problem for an arrangement; its result is (N, *P, O) for every reading but `each`."""
    if arrangement.channel_mode == "each":
        return spatial_problem(x, w, axes=arrangement.spatial_axes, **spec.options)
    form = to_layer(x, w, arrangement)
    return layer_problem(form.x, form.w, None, groups=form.groups, layout="channels_last", **spec.options)


def from_layer(y: NDArray[Any], arrangement: ConvLayout) -> NDArray[Any]:
    """The problem's result in the arrangement's own axes."""
    if arrangement.channel_mode == "each":
        return y
    y = y if arrangement.batch_axes else y[0]
    return np.moveaxis(y, -1, arrangement.batch_axes) if arrangement.layout == "channels_first" else y


def forward(
    x: NDArray[Any],
    w: NDArray[Any],
    arrangement: ConvLayout,
    spec: ConvSpec,
    *,
    op: Op = "correlate",
    bias: NDArray[Any] | None = None,
    dtype: DTypeLike | None = None,
) -> NDArray[Any]:
    """The convolution as `apply` computes it before it scales or fits; bias: (O,), or (1,) for all alike."""
    problem = to_problem(x, flip_for(w, arrangement, op), arrangement, spec)
    return from_layer(problem._replace(bias=bias).run(dtype, "auto", None), arrangement)
