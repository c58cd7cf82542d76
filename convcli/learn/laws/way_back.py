"""The backward pass of a convolution is made of convolutions.

Of y = correlate(f, g), with upstream gradient dy: dg is the correlation of the padded f with dy, whose entries
stand a stride apart; df is the full convolution of dy, zeros put between for the stride, with g. What then lies on
the padding goes back to the samples that it repeats.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from convcli.engine import convolve, correlate
from convcli.engine.padding import fold
from convcli.grad.backward import gradients
from convcli.learn.laws.rows import Array, Row, bounded, compare, largest, weight
from convcli.learn.laws.setup import Setting


def backward(s: Setting) -> Iterator[Row]:
    """Dw and dx against the convolutions that they are, and dx against the transposed matrix."""
    dy = s.random(tuple(axis.out for axis in s.axes))
    given = gradients(s.f[None, ..., None], s.g[None, ..., None], dy[None, ..., None], **s.spec.options)
    sources = [fold(np.arange(-axis.lo, axis.n + axis.hi), axis.n, s.spec.boundary) for axis in s.axes]
    yield compare(
        "dw = correlate(x, dy)",
        given.dw[0, ..., 0],
        _weights(s, _padded(s.f, sources), dy),
        bounded(largest(s.f) * weight(dy), terms=dy.size),
    )
    folds = math.prod(int(np.bincount(source[source >= 0]).max()) for source in sources)
    yield compare(
        "dx = dy * w (full)",
        given.dx[0, ..., 0],
        _folded(_spread(s, dy), sources, s.f.shape),
        bounded(largest(dy) * weight(s.g) * folds, terms=s.g.size + folds),
        note="" if folds == 1 else f"the border folds back, up to {folds} places onto one sample",
    )
    yield _transposed(s.small)


def _transposed(s: Setting) -> Row:
    """The layer's dx as a matrix product: rows and columns of M change places."""
    dy = s.random(s.conv(s.x).shape)
    given = gradients(s.x, s.flipped, dy, **s.options)
    return compare(
        "y = conv(x): dx = M' vec(dy)",
        given.dx,
        (s.matrix.T @ dy.ravel()).reshape(s.x.shape),
        bounded(largest(dy) * float(np.abs(s.matrix).sum(axis=0).max()), terms=len(s.matrix)),
    )


def _weights(s: Setting, padded: Array, dy: Array) -> Array:
    """The deltas stand a stride apart on x, so the stride becomes the dilation; and the dilation the stride."""
    y = correlate(padded, dy, stride=s.spec.dilation, dilation=s.spec.stride)
    return y[tuple(slice(k) for k in s.g.shape)]


def _spread(s: Setting, dy: Array) -> Array:
    """Df over the padded input."""
    apart = np.zeros([axis.padded - axis.reach + 1 for axis in s.axes])
    apart[tuple(slice(None, axis.out * axis.stride, axis.stride) for axis in s.axes)] = dy
    return convolve(apart, s.g, dilation=s.spec.dilation, padding="full")


def _padded(f: Array, sources: list[NDArray[np.intp]]) -> Array:
    inside = reduce(np.logical_and.outer, [source >= 0 for source in sources])
    return np.where(inside, f[np.ix_(*(np.maximum(source, 0) for source in sources))], 0.0)


def _folded(padded: Array, sources: list[NDArray[np.intp]], shape: tuple[int, ...]) -> Array:
    """The adjoint of padding: every padded place goes back to the sample that it repeats."""
    whole = np.zeros(shape)
    kept = [source >= 0 for source in sources]
    np.add.at(whole, np.ix_(*(source[keep] for source, keep in zip(sources, kept, strict=True))), padded[np.ix_(*kept)])
    return whole
