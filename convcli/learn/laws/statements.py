"""The laws of convolution, each a generator of measured statements.

As a product it is linear, commutative, associative and commutes with derivatives; correlation is
linear only. A layer is equivariant to shifts, local, and its gradients are convolutions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from convcli.engine.operations import convolve, correlate
from convcli.engine.padding import boundary_index
from convcli.grad.backward import gradients
from convcli.kernels import kernel
from convcli.learn.laws.setup import Array, Row, Setting, bounded, compare, largest, ranges, weight
from convcli.options import BOUNDARIES
from convcli.shapes.axis import Axis
from convcli.shapes.spec import ConvSpec


def linear(s: Setting) -> Iterator[Row]:
    """Measure linearity, and that the layer is a product with a matrix."""
    z = s.random(s.x.shape) * largest(s.x)
    scale = s.gain * (2 * largest(s.x) + 3 * largest(z))
    yield compare(
        "conv(2 x - 3 z) = 2 conv(x) - 3 conv(z)",
        s.conv(2 * s.x - 3 * z),
        2 * s.conv(s.x) - 3 * s.conv(z),
        bounded(scale),
        note="z is random",
    )
    small = s.small
    y = small.conv(small.x)
    yield compare(
        "conv(x) = M vec(x)",
        y,
        (small.matrix @ small.x.ravel()).reshape(y.shape),
        bounded(small.scale, sums=1, terms=small.w[0].size),
    )


def flip(s: Setting) -> Iterator[Row]:
    """Measure that convolution is correlation with the flipped kernel."""
    bound = bounded(largest(s.f) * weight(s.g))
    turned = np.flip(s.g)
    correlated = correlate(s.f, s.g, **s.spec.options)
    convolved = convolve(s.f, s.g, **s.spec.options)
    yield compare(
        "f * g = correlate(f, flip(g))", convolved, correlate(s.f, turned, **s.spec.options), bound
    )
    symmetric = np.array_equal(s.g, turned)
    yield compare(
        "f * g = correlate(f, g)",
        convolved,
        correlated,
        bound,
        expected="equal" if symmetric else "differs",
        note="g is its own flip"
        if symmetric
        else "g is not its own flip, as a symmetric kernel would be",
    )


def commutative(s: Setting) -> Iterator[Row]:
    """Measure that kernel and input commute under convolution, not under correlation."""
    bound = bounded(largest(s.f) * weight(s.g))
    yield compare("f * g = g * f (full)", _product(s.f, s.g), _product(s.g, s.f), bound)
    one = correlate(s.f, s.g, padding="full")
    other = correlate(s.g, s.f, padding="full")
    yield compare("correlate(f, g) = correlate(g, f)", one, other, bound, expected="differs")
    yield compare("correlate(f, g) = flip(correlate(g, f))", one, np.flip(other), bound)


def associative(s: Setting) -> Iterator[Row]:
    """Measure that two kernels one after the other are one kernel."""
    h = s.random(s.g.shape)
    yield compare(
        "(f * g) * h = f * (g * h)",
        _product(_product(s.f, s.g), h),
        _product(s.f, _product(s.g, h)),
        bounded(largest(s.f) * weight(s.g) * weight(h), sums=4),
        note="h is random, of g's shape",
    )


def derivative(s: Setting) -> Iterator[Row]:
    """Measure that the derivative of a product is the product with either factor's derivative.

    Along every axis that has a named derivative kernel.
    """
    for name in "xyz"[: s.dims]:
        d = np.flip(kernel(f"derivative-{name}", dims=s.dims).taps)  # as a convolution uses it
        whole = _product(_product(s.f, s.g), d)
        bound = bounded(largest(s.f) * weight(s.g) * weight(d), sums=4)
        yield compare(
            f"(f * g)' = f' * g, along {name}", whole, _product(_product(s.f, d), s.g), bound
        )
        yield compare(
            f"(f * g)' = f * g', along {name}", whole, _product(s.f, _product(s.g, d)), bound
        )


def _product(f: Array, g: Array) -> Array:
    return convolve(f, g, padding="full")


PHASES = 3
"""The most shifts by less than a stride that are measured."""


def equivariant(s: Setting) -> Iterator[Row]:
    """Measure that a shift of the input by one stride shifts the output by one.

    The input is rolled: its last samples move to the start.
    """
    along = tuple(range(1, s.dims + 1))
    left = s.conv(np.roll(s.x, s.spec.stride, along))
    right = np.roll(s.conv(s.x), 1, along)
    inside = (slice(None), *_inside(s.axes))
    bound = bounded(s.scale)
    if left[inside].size:
        spans = " x ".join(ranges(_interior(axis)) for axis in s.axes)
        yield compare(
            "shift, then conv = conv, then shift",
            left[inside],
            right[inside],
            bound,
            note=f"by one stride, in the interior {spans}; {_around(left, right, inside, bound)}",
        )
    yield from _borders(s)
    yield from _phases(s)


def local(s: Setting) -> Iterator[Row]:
    """Measure that one sample changes only the outputs whose window covers it."""
    small = s.small
    step = largest(small.x) or 1.0
    y = small.conv(small.x)
    bound = bounded(small.gain * (largest(small.x) + step))
    corner = (0,) * s.dims
    centre = tuple(n // 2 for n in small.spatial)
    for position in (centre, corner):
        at = (0, *position, 0)
        moved = small.x.copy()
        moved[at] += step
        change = small.conv(moved) - y
        column = small.matrix[:, np.ravel_multi_index(at, small.x.shape)]
        index = ",".join(map(str, position))
        yield compare(
            f"x[{index}] + {step:.4g} moves y by M's column",
            change,
            (step * column).reshape(y.shape),
            bound,
            note=_moved(np.abs(change) > bound),
        )


def _around(left: Array, right: Array, inside: tuple[slice, ...], bound: float) -> str:
    """Describe how many outputs differ outside the interior."""
    beyond = np.ones(left.shape, bool)
    beyond[inside] = False
    apart = int((np.abs(left - right)[beyond] > bound).sum())
    return f"{apart:,} of the {int(beyond.sum()):,} outputs around it differ"


def _inside(axes: Sequence[Axis]) -> tuple[slice, ...]:
    """Return the interior of an output (*P).

    There, windows see neither padding nor rolled samples, before the shift and after it.
    """
    return tuple(slice(span.start, span.stop) for span in map(_interior, axes))


def _interior(axis: Axis) -> range:
    first = -(-(axis.stride + axis.lo) // axis.stride)
    last = min((axis.n - axis.reach + axis.lo) // axis.stride, axis.out - 1)
    return range(first, max(last + 1, first))


def _borders(s: Setting) -> Iterator[Row]:
    """Measure which outputs break equivariance with padding same, for every boundary.

    With `wrap`, none does.
    """
    along = tuple(range(s.dims))
    for boundary in BOUNDARIES:
        left = convolve(np.roll(s.f, 1, along), s.g, padding="same", boundary=boundary)
        right = np.roll(convolve(s.f, s.g, padding="same", boundary=boundary), 1, along)
        bound = bounded(largest(s.f) * weight(s.g))
        yield compare(
            f"the same to the border, boundary {boundary}",
            left,
            right,
            bound,
            expected="equal" if boundary == "wrap" else "differs",
            note=_broken(np.abs(left - right) > bound),
        )


def _phases(s: Setting) -> Iterator[Row]:
    """Measure shifts by less than the stride, which sample another phase of the input."""
    stride = max(2, *s.spec.stride)
    inside = _inside(ConvSpec.of(s.dims, stride=stride, padding="same").axes(s.f.shape, s.g.shape))
    base = convolve(s.f, s.g, stride=stride, padding="same")[inside]
    for shift in range(1, min(stride, PHASES + 1) if base.size else 0):
        rolled = np.roll(s.f, shift, tuple(range(s.dims)))
        yield compare(
            f"stride {stride}: shift by {shift}, then conv = conv",
            convolve(rolled, s.g, stride=stride, padding="same")[inside],
            base,
            bounded(largest(s.f) * weight(s.g)),
            expected="differs",
            note=f"outputs move by whole steps of {stride}, and {shift} is none: "
            "another phase of x is sampled",
        )


def _broken(apart: NDArray[np.bool_]) -> str:
    """Describe how many outputs differ, and their largest distance from the edge."""
    if not apart.any():
        return "no output differs"
    depths = [
        np.minimum(where, n - 1 - where)
        for where, n in zip(np.nonzero(apart), apart.shape, strict=True)
    ]
    deepest = int(np.min(depths, axis=0).max())
    count = f"{int(apart.sum()):,} of {apart.size:,} outputs differ"
    return f"{count}, the farthest {deepest} from the edge"


def _moved(moves: NDArray[np.bool_]) -> str:
    """Describe which outputs moved, as ranges along each axis: moves is (1, *P, O)."""
    if not moves.any():
        return "no output moves"
    spatial = moves[0].any(axis=-1)
    where = " x ".join(ranges({int(i) for i in indices}) for indices in np.nonzero(spatial))
    return f"{int(spatial.sum()):,} of {spatial.size:,} outputs move: {where}"


def backward(s: Setting) -> Iterator[Row]:
    """Measure dw and dx against convolutions, and dx against the transposed matrix."""
    dy = s.random(tuple(axis.out for axis in s.axes))
    given = gradients(
        s.f[None, ..., None], s.g[None, ..., None], dy[None, ..., None], **s.spec.options
    )
    sources = [
        boundary_index(np.arange(-axis.lo, axis.n + axis.hi), axis.n, s.spec.boundary)
        for axis in s.axes
    ]
    yield compare(
        "dw = correlate(x, dy)",
        given.dw[0, ..., 0],
        _kernel_gradient(s, _padded(s.f, sources), dy),
        bounded(largest(s.f) * weight(dy), terms=dy.size),
    )
    folds = math.prod(int(np.bincount(source[source >= 0]).max()) for source in sources)
    yield compare(
        "dx = dy * w (full)",
        given.dx[0, ..., 0],
        _fold(_input_gradient(s, dy), sources, s.f.shape),
        bounded(largest(dy) * weight(s.g) * folds, terms=s.g.size + folds),
        note="" if folds == 1 else f"the border folds back, up to {folds} places onto one sample",
    )
    yield _transposed(s.small)


def _transposed(s: Setting) -> Row:
    """Measure the layer's dx as a product with the transposed matrix."""
    dy = s.random(s.conv(s.x).shape)
    given = gradients(s.x, s.flipped, dy, **s.options)
    return compare(
        "y = conv(x): dx = M' vec(dy)",
        given.dx,
        (s.matrix.T @ dy.ravel()).reshape(s.x.shape),
        bounded(largest(dy) * float(np.abs(s.matrix).sum(axis=0).max()), terms=len(s.matrix)),
    )


def _kernel_gradient(s: Setting, padded: Array, dy: Array) -> Array:
    """Return dw as a correlation, in which stride and dilation are swapped."""
    y = correlate(padded, dy, stride=s.spec.dilation, dilation=s.spec.stride)
    return y[tuple(slice(k) for k in s.g.shape)]


def _input_gradient(s: Setting, dy: Array) -> Array:
    """Return dx over the padded input as a full convolution."""
    apart = np.zeros([axis.padded - axis.reach + 1 for axis in s.axes])
    apart[tuple(slice(None, axis.out * axis.stride, axis.stride) for axis in s.axes)] = dy
    return convolve(apart, s.g, dilation=s.spec.dilation, padding="full")


def _padded(f: Array, sources: list[NDArray[np.intp]]) -> Array:
    inside = reduce(np.logical_and.outer, [source >= 0 for source in sources])
    return np.where(inside, f[np.ix_(*(np.maximum(source, 0) for source in sources))], 0.0)


def _fold(padded: Array, sources: list[NDArray[np.intp]], shape: tuple[int, ...]) -> Array:
    """Apply the adjoint of padding: add every padded position to the sample that it repeats."""
    whole = np.zeros(shape)
    inside = [source >= 0 for source in sources]
    targets = [source[mask] for source, mask in zip(sources, inside, strict=True)]
    np.add.at(whole, np.ix_(*targets), padded[np.ix_(*inside)])
    return whole
