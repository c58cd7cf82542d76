"""A layer as two matrices: one that multiplies the input, and one that multiplies the kernels.

The matrix of the input is sparse and has the same few weights along its diagonals (block-Toeplitz);
its transpose is the backward pass. Both matrices are built from the definition, with the source
that numpy.pad assigns to each padded sample. They share no code with the engine and are an
independent reference for it.

In one dimension, with three samples under two taps::

    y = M x        [ a b . ] [ x0 ]         y = X w        [ x0 x1 ] [ a ]
                   [ . a b ] [ x1 ]                        [ x1 x2 ] [ b ]
                             [ x2 ]
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convcli.shapes.axis import Axis
from convcli.shapes.spec import ConvSpec

Floats = NDArray[np.float64]


def toeplitz(w: Floats, spatial: tuple[int, ...], spec: ConvSpec) -> Floats:
    """Return the matrix M of a layer on its input, for which `y.ravel() = M @ x.ravel()`.

    w: (O, *K, C/groups); spatial: the sizes of the input's axes. M is (prod(P) * O, prod(S) * C)
    float64. It does not include the share of a padding constant, which has no gradient. Raises
    ShapeError if the kernel exceeds the padded input.

    >>> toeplitz(np.array([1.0, 2.0]).reshape(1, 2, 1), (3,), ConvSpec.of(1))
    array([[1., 2., 0.],
           [0., 1., 2.]])
    """
    axes, dims = spec.axes(spatial, w.shape[1:-1]), w.ndim - 2
    parts: Any = w.reshape(spec.groups, -1, *w.shape[1:])
    for axis in axes:
        parts = np.tensordot(parts, _meetings(axis, spec), axes=([2], [2]))
    parts = np.moveaxis(parts, 2, -1)  # (groups, O/groups, P0, S0, P1, S1, ..., C/groups)
    order = (*range(2, 2 + 2 * dims, 2), 0, 1, *range(3, 3 + 2 * dims, 2), 2 + 2 * dims)
    parts = parts.transpose(order)
    outs, share, depth = parts.shape[:dims], parts.shape[dims + 1], parts.shape[-1]
    matrix = np.zeros((math.prod(outs), spec.groups, share, math.prod(spatial), spec.groups, depth))
    for group in range(spec.groups):
        own = np.take(parts, group, axis=dims)
        matrix[:, group, :, :, group] = own.reshape(matrix.shape[0], share, -1, depth)
    return matrix.reshape(matrix.shape[0] * spec.groups * share, -1)


def unrolled(x: Floats, window: tuple[int, ...], spec: ConvSpec) -> Floats:
    """Return the matrix of a layer on its kernels: every output's window as a row.

    x: (N, *S, C). The result is (N * prod(P), prod(K), C) float64, including the padding constant.

    >>> unrolled(np.arange(3.0).reshape(1, 3, 1), (2,), ConvSpec.of(1))[..., 0]
    array([[0., 1.],
           [1., 2.]])
    """
    axes, dims = spec.axes(x.shape[1:-1], window), len(window)
    seen: Any = x
    inside: Any = np.ones(())
    for axis in axes:
        meetings = _meetings(axis, spec)
        seen = np.tensordot(seen, meetings, axes=([1], [1]))
        inside = np.multiply.outer(inside, meetings.sum(axis=1))
    order = (0, *range(2, 2 + 2 * dims, 2), *range(3, 3 + 2 * dims, 2), 1)
    outside = (1 - inside).transpose(*range(0, 2 * dims, 2), *range(1, 2 * dims, 2))
    rows = seen.transpose(order) + spec.cval * outside[None, ..., None]
    matrix: Floats = rows.reshape(-1, math.prod(window), x.shape[-1])
    return matrix


def size(w: Floats, x: Floats, spec: ConvSpec) -> int:
    """Return the number of values in the matrix on the input, without building it."""
    spatial = x.shape[1:-1]
    outputs = math.prod(spec.sizes(spatial, w.shape[1:-1])) * len(w)
    return outputs * math.prod(spatial) * int(x.shape[-1])


def _meetings(axis: Axis, spec: ConvSpec) -> Floats:
    """Return the array (outputs, samples, taps) of one axis: 1 if a tap is on a sample, or 0."""
    border: dict[str, Any] = {"constant_values": -1} if spec.boundary == "constant" else {}
    source = np.pad(np.arange(axis.n), (axis.lo, axis.hi), spec.boundary, **border)
    padded = axis.lo + axis.sample(np.arange(axis.out)[:, None], np.arange(axis.k))
    met: Floats = (source[padded][:, None, :] == np.arange(axis.n)[:, None]).astype(np.float64)
    return met
