"""The convolution of an interactive page as one layer, channels first, and the engine's values.

A page shows one item of a batch, at most SIDES samples along each axis and CHANNELS channels. What
it shows is a convolution of its own: the part that is cropped from the input is its whole input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convcli.engine.operations import conv_layer
from convcli.errors import InputError, ShapeError
from convcli.grad.backward import conv_transpose, conv_transpose_gradients, gradients
from convcli.learn.activations import activate, slope
from convcli.options import Activation, Op
from convcli.shapes.axis import Axis
from convcli.shapes.layout import ConvLayout
from convcli.shapes.parse import show
from convcli.shapes.spec import ConvSpec

Floats = NDArray[np.float64]

SIDES = {1: (32,), 2: (32, 32), 3: (16, 32, 32)}
"""The most samples that a page shows along each axis, by the number of spatial axes."""

CHANNELS = 16
"""The most channels, and the most kernels, that a page shows."""

PADDING = 32
"""The most padding that a page shows at each end of an axis."""


class Values(NamedTuple):
    """What the engine computes for a layer: y (O, *P), dx like x, dw like w, and db (O,)."""

    y: Floats
    dx: Floats
    dw: Floats
    db: Floats


@dataclass(frozen=True, eq=False)
class PageLayer:
    """A layer of one item: x (C, *S), and w (O, *K, C/groups) as the user gave it, not flipped.

    shared: the one kernel of w is used by every channel, independently (`each`) or summed (`sum`).
    transposed: w maps O channels to C.
    """

    x: Floats
    w: Floats
    spec: ConvSpec
    op: Op
    shared: Literal["", "each", "sum"] = ""
    transposed: bool = False

    @property
    def dims(self) -> int:
        return self.w.ndim - 2

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The spatial axes. Raises ShapeError if there is no output."""
        find = self.spec.transposed_axes if self.transposed else self.spec.axes
        return find(self.x.shape[1:], self.w.shape[1:-1])

    @property
    def filters(self) -> int:
        """The number of the output's channels."""
        if self.shared == "each":
            return len(self.x)
        return self.w.shape[-1] * self.spec.groups if self.transposed else len(self.w)

    @property
    def output(self) -> tuple[int, ...]:
        return (self.filters, *(axis.out for axis in self.axes))

    def values(self, dy: Floats, bias: float, activation: Activation | None) -> Values:
        """Compute the layer and its gradients by the engine. dy: like the output.

        >>> layer = PageLayer(np.ones((1, 4)), np.ones((1, 2, 1)), ConvSpec.of(1), "correlate")
        >>> y, dx, dw, db = layer.values(np.ones((1, 3)), 0.5, None)
        >>> y.tolist(), dx.tolist(), dw.ravel().tolist(), db.tolist()
        ([[2.5, 2.5, 2.5]], [[1.0, 2.0, 2.0, 1.0]], [3.0, 3.0], [3.0])
        """
        spatial = tuple(range(1, 1 + self.dims))
        x = np.moveaxis(self.x, 0, -1)[None]
        w = np.flip(self.repeated(), spatial) if self.op == "convolve" else self.repeated()
        options = dict(self.spec.options)
        options["groups"] = len(self.x) if self.shared == "each" else self.spec.groups
        if self.transposed:
            options["output_padding"] = self.spec.output_padding
            del options["boundary"], options["cval"]
        compute = conv_transpose if self.transposed else conv_layer
        derive = conv_transpose_gradients if self.transposed else gradients
        with np.errstate(invalid="ignore", over="ignore"):
            z = compute(x, w, np.full(self.filters, bias), **options)
            delta = np.moveaxis(dy, 0, -1)[None] * slope(z, activation)
            dx, dw, db = derive(x, w, delta, **options)
            y = activate(z, activation)
        dw = np.flip(dw, spatial) if self.op == "convolve" else dw
        return Values(np.moveaxis(y[0], -1, 0), np.moveaxis(dx[0], -1, 0), self._summed(dw), db)

    def repeated(self) -> Floats:
        """Return w with a copy for every channel that shares it."""
        if self.shared == "each":
            return self.w.repeat(len(self.x), axis=0)
        return self.w.repeat(len(self.x), axis=-1) if self.shared == "sum" else self.w

    def _summed(self, dw: Floats) -> Floats:
        """Return the gradient of w from that of `repeated`."""
        if self.shared == "each":
            return np.asarray(dw.sum(axis=0, keepdims=True))
        return np.asarray(dw.sum(axis=-1, keepdims=True)) if self.shared == "sum" else dw


def check_fits(a: ConvLayout) -> None:
    """Check that a page can show a layer.

    Raises InputError for more than three spatial axes, ShapeError for a kernel larger than a page
    shows.
    """
    if a.dims > max(SIDES):
        raise InputError(
            f"an input with {a.dims} spatial axes",
            f"the page shows 1 to {max(SIDES)}",
            "set --dims, or convolve fewer axes",
        )
    if any(k > side for k, side in zip(a.window, SIDES[a.dims], strict=True)):
        raise ShapeError(
            f"the kernel {show(a.window)}",
            f"the page shows kernels of up to {show(SIDES[a.dims])}",
            "give a smaller kernel",
        )


def make_layer(
    x: NDArray[Any],
    w: NDArray[Any],
    a: ConvLayout,
    spec: ConvSpec,
    op: Op,
    *,
    item: int = 0,
    transposed: bool = False,
) -> PageLayer:
    """Return the layer of the user's arrays. item: of a batch.

    Raises InputError for a transposed convolution whose kernel is read as one for all channels or
    one for each.
    """
    shared: Literal["", "each", "sum"] = ""
    if len(a.kernel) == a.dims:
        shared = "each" if a.channel_mode == "each" else "sum"
    if transposed and (shared == "sum" or a.channel_mode == "depthwise"):
        raise InputError(
            "--channels with --transposed", "expected one of them", "leave --channels out"
        )
    groups = a.channels if a.channel_mode == "depthwise" else a.groups
    return PageLayer(
        channels_first(x, a, a.channel_axis, item).astype(np.float64),
        _bank(w, a).astype(np.float64),
        replace(spec, groups=groups),
        op,
        shared,
        transposed,
    )


def channels_first(
    values: NDArray[Any], a: ConvLayout, channel_axis: int | None, item: int
) -> NDArray[Any]:
    """Return an item of the user's input or output as (C, *S)."""
    if a.batch_axes:
        values = values[item]
    if channel_axis is None:
        return values[None]
    return np.moveaxis(values, channel_axis - a.batch_axes, 0)


def _bank(w: NDArray[Any], a: ConvLayout) -> NDArray[Any]:
    """Return the user's kernel as (O, *K, C/groups)."""
    if len(a.kernel) == a.dims:
        return w[None, ..., None]
    first = a.layout == "channels_first"
    if a.channel_mode == "bank":
        return np.moveaxis(w, 1, -1) if first else w
    w = np.moveaxis(w, 0, -1) if first else w
    return np.moveaxis(w, -1, 0)[..., None] if a.channel_mode == "depthwise" else w[None]


# Cropping.


class Cropped(NamedTuple):
    """A layer with few channels, and which they are of the whole, as ranges."""

    layer: PageLayer
    channels: range
    filters: range


def crop_channels(layer: PageLayer, filter: int, most: int = CHANNELS) -> Cropped:
    """Return a layer of at most `most` channels and kernels, with the output's channel `filter`.

    Groups are kept whole if one group has no more than that.

    >>> layer = PageLayer(np.ones((64, 9)), np.ones((32, 3, 64)), ConvSpec.of(1), "correlate")
    >>> cropped = crop_channels(layer, filter=20)
    >>> cropped.layer.w.shape, cropped.channels, cropped.filters
    ((16, 3, 16), range(0, 16), range(12, 28))
    """
    if layer.shared == "each":
        kept = _around(filter, most, len(layer.x))
        return Cropped(replace(layer, x=layer.x[kept.start : kept.stop]), kept, kept)
    if layer.shared == "sum":
        kept = range(min(most, len(layer.x)))
        return Cropped(replace(layer, x=layer.x[kept.start : kept.stop]), kept, range(1))
    groups = layer.spec.groups
    own, depth = len(layer.w) // groups, layer.w.shape[-1]  # kernels and channels of a group
    group, inside = divmod(filter, depth if layer.transposed else own)
    groups_kept = _around(group, max(1, most // max(own, depth)), groups)
    kernels = range(min(own, most)) if layer.transposed else _around(inside, most, own)
    channels = _around(inside, most, depth) if layer.transposed else range(min(depth, most))
    w = layer.w.reshape(groups, own, *layer.w.shape[1:])
    w = w[groups_kept.start : groups_kept.stop, kernels.start : kernels.stop]
    w = w[..., channels.start : channels.stop].reshape(-1, *layer.w.shape[1:-1], len(channels))
    seen, made = (kernels, channels) if layer.transposed else (channels, kernels)
    x = layer.x.reshape(groups, -1, *layer.x.shape[1:])
    x = x[groups_kept.start : groups_kept.stop, seen.start : seen.stop]
    smaller = replace(
        layer,
        x=x.reshape(-1, *layer.x.shape[1:]),
        w=w,
        spec=replace(layer.spec, groups=len(groups_kept)),
    )
    whole = (own, depth) if layer.transposed else (depth, own)
    return Cropped(
        smaller,
        _numbered(groups_kept, seen, whole[0]),
        _numbered(groups_kept, made, whole[1]),
    )


def _numbered(groups: range, inside: range, size: int) -> range:
    """Return the numbers of channels, which are all of several groups, or a part of one."""
    if len(groups) > 1:
        return range(groups.start * size, groups.stop * size)
    return range(groups.start * size + inside.start, groups.start * size + inside.stop)


def crop_spatial(layer: PageLayer, spatial: Sequence[int]) -> tuple[range, ...]:
    """Return the part of the input that a page shows first, around an output's window.

    Raises ShapeError if the window does not fit into the part, or for more padding than a page
    shows.
    """
    parts = []
    for axis, position, side in zip(layer.axes, spatial, SIDES[layer.dims], strict=True):
        if max(axis.lo, axis.hi) > PADDING:
            raise ShapeError(
                f"padding of {axis.lo} and {axis.hi} samples",
                f"the page shows up to {PADDING} at each end",
                "use less padding",
            )
        if axis.n > side and not layer.transposed and axis.reach > side + axis.lo + axis.hi:
            raise ShapeError(
                f"a kernel that reaches over {axis.reach} samples",
                f"the page shows {side} of the input's {axis.n}",
                "use a smaller kernel or dilation",
            )
        parts.append(_around(_centre(axis, position), side, axis.n))
    return tuple(parts)


def window_centre(layer: PageLayer, spatial: Sequence[int]) -> tuple[int, ...]:
    """Return the sample at the centre of an output's window."""
    return tuple(_centre(*pair) for pair in zip(layer.axes, spatial, strict=True))


def nearest_output(layer: PageLayer, sample: Sequence[int]) -> tuple[int, ...]:
    """Return the output whose window's centre is nearest to a sample."""
    found = []
    for axis, position in zip(layer.axes, sample, strict=True):
        half = (axis.reach - 1) / 2
        place = (
            position * axis.stride + half - axis.lo
            if axis.transposed
            else (position + axis.lo - half) / axis.stride
        )
        found.append(min(max(round(place), 0), axis.out - 1))
    return tuple(found)


def _centre(axis: Axis, output: int) -> int:
    half = (axis.reach - 1) // 2
    place = (
        (output + axis.lo - half) // axis.stride
        if axis.transposed
        else output * axis.stride - axis.lo + half
    )
    return min(max(place, 0), axis.n - 1)


def _around(centre: int, most: int, size: int) -> range:
    """Return at most `most` positions of `size`, with `centre` in their middle if possible.

    >>> _around(3, 4, 10), _around(9, 4, 10), _around(3, 4, 2)
    (range(1, 5), range(6, 10), range(0, 2))
    """
    count = min(most, size)
    start = min(max(centre - count // 2, 0), size - count)
    return range(start, start + count)
