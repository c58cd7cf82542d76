"""Convolution by its definition, in plain loops over Python floats, as a reference for tests.

Nothing here is shared with the package. Samples outside the input come from numpy.pad, through its
index: position i of a padded axis shows sample `source(...)[i]`, and -1 stands for the constant.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Pads = Sequence[tuple[int, int]]


def source(n: int, lo: int, hi: int, boundary: str) -> list[int]:
    """Return the sample at each position of a padded axis; -1 is the constant."""
    samples = np.arange(n)
    if boundary == "constant":
        return np.pad(samples, (lo, hi), constant_values=-1).tolist()
    return np.pad(samples, (lo, hi), mode=boundary).tolist()


def pads(n: int, k: int, stride: int, dilation: int, padding: Any) -> tuple[int, int]:
    """Return (lo, hi) of one axis, for a padding name or the pair itself."""
    reach = dilation * (k - 1) + 1
    if padding == "valid":
        return 0, 0
    if padding == "full":
        return reach - 1, reach - 1
    if padding in ("same", "same-lower"):
        outputs = -(-n // stride)
        total = max((outputs - 1) * stride + reach - n, 0)
        start = total // 2 if padding == "same" else (total + 1) // 2
        return start, total - start
    return padding


def count(n: int, k: int, stride: int, dilation: int, lo: int, hi: int) -> int:
    """Count the windows that fit, one after another."""
    fitting = 0
    while fitting * stride + dilation * (k - 1) < lo + n + hi:
        fitting += 1
    return fitting


class Window(NamedTuple):
    """Output p has input sample `at` (None: the constant outside) under tap t."""

    p: tuple[int, ...]
    t: tuple[int, ...]
    at: tuple[int, ...] | None


def meetings(
    spatial: Sequence[int],
    window: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    pads: Pads,
    boundary: str = "constant",
) -> Iterator[Window]:
    """Yield every output with every tap and its sample."""
    lines = [source(n, lo, hi, boundary) for n, (lo, hi) in zip(spatial, pads, strict=True)]
    for p in np.ndindex(*sizes(spatial, window, stride, dilation, pads)):
        for t in np.ndindex(*window):
            at = tuple(
                line[s * i + d * j]
                for line, s, i, d, j in zip(lines, stride, p, dilation, t, strict=True)
            )
            yield Window(p, t, None if -1 in at else at)


def sizes(
    spatial: Sequence[int],
    window: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    pads: Pads,
) -> tuple[int, ...]:
    return tuple(
        count(n, k, s, d, lo, hi)
        for n, k, s, d, (lo, hi) in zip(spatial, window, stride, dilation, pads, strict=True)
    )


def correlate(
    x: Array,
    w: Array,
    *,
    stride: Sequence[int],
    dilation: Sequence[int],
    pads: Pads,
    boundary: str = "constant",
    cval: float = 0.0,
) -> Array:
    """Return y[p] = sum over t of w[t] * x[stride*p + dilation*t - lo], along every axis of x."""
    y = np.zeros(sizes(x.shape, w.shape, stride, dilation, pads))
    for p, t, at in meetings(x.shape, w.shape, stride, dilation, pads, boundary):
        y[p] += float(w[t]) * (cval if at is None else float(x[at]))
    return y


def correlate_along(x: Array, w: Array, axes: Sequence[int], **options: Any) -> Array:
    """Apply `correlate` to every block of x along `axes`, in the order of the axes of w."""
    lead = np.moveaxis(x, axes, range(-len(axes), 0))
    rest = lead.shape[: lead.ndim - len(axes)]
    blocks = [correlate(lead[index], w, **options) for index in np.ndindex(*rest)]
    return np.moveaxis(np.reshape(blocks, (*rest, *blocks[0].shape)), range(-len(axes), 0), axes)


def conv_layer(
    x: Array,
    w: Array,
    bias: Array | None = None,
    *,
    stride: Sequence[int],
    dilation: Sequence[int],
    pads: Pads,
    boundary: str = "constant",
    cval: float = 0.0,
    groups: int = 1,
) -> Array:
    """Apply a layer, channels last: x (N, *S, C), w (O, *K, C/groups) -> (N, *P, O)."""
    spatial, window = x.shape[1:-1], w.shape[1:-1]
    y = np.zeros((x.shape[0], *sizes(spatial, window, stride, dilation, pads), w.shape[0]))
    for p, t, at in meetings(spatial, window, stride, dilation, pads, boundary):
        for n, o, c, channel in links(x.shape[0], w, groups):
            y[(n, *p, o)] += float(w[(o, *t, c)]) * (
                cval if at is None else float(x[(n, *at, channel)])
            )
    return y if bias is None else y + bias.astype(float)


def links(items: int, w: Array, groups: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (item, kernel, its channel, that channel's index in the input), within each group."""
    filters, depth = w.shape[0], w.shape[-1]
    for n, o, c in product(range(items), range(filters), range(depth)):
        yield n, o, c, o // (filters // groups) * depth + c


def gradients(
    x: Array,
    w: Array,
    dy: Array,
    *,
    stride: Sequence[int],
    dilation: Sequence[int],
    pads: Pads,
    boundary: str = "constant",
    cval: float = 0.0,
    groups: int = 1,
) -> tuple[Array, Array, Array]:
    """Return (dx, dw, db) of sum(dy * y): each product w * x adds dy * w to dx and dy * x to dw."""
    dx, dw = np.zeros(x.shape), np.zeros(w.shape)
    for p, t, at in meetings(x.shape[1:-1], w.shape[1:-1], stride, dilation, pads, boundary):
        for n, o, c, channel in links(x.shape[0], w, groups):
            delta = float(dy[(n, *p, o)])
            dw[(o, *t, c)] += delta * (cval if at is None else float(x[(n, *at, channel)]))
            if at is not None:
                dx[(n, *at, channel)] += delta * float(w[(o, *t, c)])
    return dx, dw, dy.astype(float).sum(axis=tuple(range(dy.ndim - 1)))


def conv_transpose(
    x: Array,
    w: Array,
    bias: Array | None = None,
    *,
    stride: Sequence[int],
    dilation: Sequence[int],
    pads: Pads,
    output_padding: Sequence[int],
    groups: int = 1,
) -> Array:
    """Apply the adjoint: add x (N, *P, O) times its kernel at stride*p + dilation*t - lo."""
    spatial, window = x.shape[1:-1], w.shape[1:-1]
    out = tuple(
        s * (n - 1) + extra + d * (k - 1) + 1 - lo - hi
        for s, n, extra, d, k, (lo, hi) in zip(
            stride, spatial, output_padding, dilation, window, pads, strict=True
        )
    )
    y = np.zeros((x.shape[0], *out, w.shape[-1] * groups))
    for p, t in product(np.ndindex(*spatial), np.ndindex(*window)):
        at = [
            s * i + d * j - lo
            for s, i, d, j, (lo, _) in zip(stride, p, dilation, t, pads, strict=True)
        ]
        if all(0 <= place < size for place, size in zip(at, out, strict=True)):
            for n, o, c, channel in links(x.shape[0], w, groups):
                y[(n, *at, channel)] += float(w[(o, *t, c)]) * float(x[(n, *p, o)])
    return y if bias is None else y + bias.astype(float)
