"""The law of the backward pass: the gradients of a convolution are convolutions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import reduce
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from convcli.engine.padding import boundary_index
from convcli.learn.laws.setup import Array, Row, Setting, bounded, compare, largest, weight
from convcli.options import Op


def backward(s: Setting) -> Iterator[Row]:
    """Measure dw and dx against convolutions, and dx against the transposed matrix."""
    dy = s.random(tuple(axis.out for axis in s.axes))
    sources = [
        boundary_index(np.arange(-axis.lo, axis.n + axis.hi), axis.n, s.spec.boundary)
        for axis in s.axes
    ]
    folds = math.prod(int(np.bincount(source[source >= 0]).max()) for source in sources)
    for form in FORMS:
        turned = np.flip if form.op == "convolve" else np.asarray
        given = s.operations.gradients(
            s.f[None, ..., None],
            turned(s.g)[None, ..., None],
            dy[None, ..., None],
            **s.spec.options,
        )
        yield compare(
            f"{form.y}: {form.dw}",
            turned(given.dw[0, ..., 0]),
            turned(_kernel_gradient(s, _padded(s, sources), dy)),
            bounded(s.level(s.f) * weight(dy), terms=dy.size),
        )
        yield compare(
            f"{form.y}: {form.dx}",
            given.dx[0, ..., 0],
            _fold(_input_gradient(s, dy, form.dual), sources, s.f.shape),
            bounded(largest(dy) * weight(s.g) * folds, terms=s.g.size + folds),
            note=f"the border folds back, up to {folds} places onto one sample" * (folds > 1),
        )
    yield _transposed(s.small)


class Form(NamedTuple):
    """A convolution or a correlation, and its gradients as formulas.

    dual: the operation that dx is a full one of.
    """

    op: Op
    y: str
    dw: str
    dx: str
    dual: Op


FORMS = (
    Form(
        "correlate",
        "y = correlate(f, g)",
        "dw = correlate(f, dy)",
        "dx = dy * g (full)",
        "convolve",
    ),
    Form(
        "convolve",
        "y = f * g",
        "dw = flip(correlate(f, dy))",
        "dx = correlate(dy, g) (full)",
        "correlate",
    ),
)


def _transposed(s: Setting) -> Row:
    """Measure the layer's dx as a product with the transposed matrix."""
    dy = s.random(s.conv(s.x).shape)
    given = s.operations.gradients(s.x, s.correlated, dy, **s.options)
    return compare(
        "y = conv(x): dx = M' vec(dy)",
        given.dx,
        (s.matrix.T @ dy.ravel()).reshape(s.x.shape),
        bounded(largest(dy) * float(np.abs(s.matrix).sum(axis=0).max()), terms=len(s.matrix)),
    )


def _kernel_gradient(s: Setting, padded: Array, dy: Array) -> Array:
    """Return dw as a correlation, in which stride and dilation are swapped."""
    y = s.operations.correlate(padded, dy, stride=s.spec.dilation, dilation=s.spec.stride)
    return y[tuple(slice(k) for k in s.g.shape)]


def _input_gradient(s: Setting, dy: Array, dual: Op) -> Array:
    """Return dx over the padded input as a full convolution, or a full correlation."""
    apart = np.zeros([axis.padded - axis.reach + 1 for axis in s.axes])
    apart[tuple(slice(None, axis.out * axis.stride, axis.stride) for axis in s.axes)] = dy
    return s.filtered(apart, dual, padding="full")


def _padded(s: Setting, sources: list[NDArray[np.intp]]) -> Array:
    """Return f with its padding. sources: for each axis, the sample that each place repeats."""
    inside = reduce(np.logical_and.outer, [source >= 0 for source in sources])
    repeated = s.f[np.ix_(*(np.maximum(source, 0) for source in sources))]
    return np.where(inside, repeated, s.spec.cval)


def _fold(padded: Array, sources: list[NDArray[np.intp]], shape: tuple[int, ...]) -> Array:
    """Apply the adjoint of padding: add every padded position to the sample that it repeats."""
    whole = np.zeros(shape)
    inside = [source >= 0 for source in sources]
    targets = [source[mask] for source, mask in zip(sources, inside, strict=True)]
    np.add.at(whole, np.ix_(*targets), padded[np.ix_(*inside)])
    return whole
