"""The laws of a layer, each a generator of measured statements.

It is linear, or affine with a bias or a constant outside; equivariant to shifts; and local.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convcli.learn.activations import activate
from convcli.learn.laws.setup import (
    Array,
    Row,
    Setting,
    bounded,
    compare,
    largest,
    ranges,
    weight,
)
from convcli.options import BOUNDARIES
from convcli.shapes.axis import Axis
from convcli.shapes.spec import ConvSpec


def linear(s: Setting) -> Iterator[Row]:
    """Measure linearity, and that the layer is a product with a matrix."""
    z = s.random(s.x.shape) * largest(s.x)
    scale = s.gain * (2 * s.level(s.x) + 3 * s.level(z))
    left = s.conv(2 * s.x - 3 * z)
    x, other = s.conv(s.x), s.conv(z)
    yield compare(
        "conv(2 x - 3 z) = 2 conv(x) - 3 conv(z)",
        left,
        2 * x - 3 * other,
        bounded(scale),
        expected="differs" if s.has_constant else "equal",
        note="z is random"
        + f"; the constant {s.spec.cval:g} outside stays as it is" * s.has_constant,
    )
    outside = s.conv(np.zeros_like(s.x))
    if s.has_constant:
        yield compare(
            "the same of conv(x) - conv(0)",
            left - outside,
            2 * (x - outside) - 3 * (other - outside),
            bounded(2 * scale),
            note="without the constant outside, the layer is linear",
        )
    small = s.small
    y = small.conv(small.x)
    product = (small.matrix @ small.x.ravel()).reshape(y.shape)
    yield compare(
        "conv(x) = M vec(x) + conv(0)" if s.has_constant else "conv(x) = M vec(x)",
        y,
        product + small.conv(np.zeros_like(small.x)) if s.has_constant else product,
        bounded(small.scale, sums=1 + s.has_constant, terms=small.w[0].size),
    )


def affine(s: Setting) -> Iterator[Row]:
    """Measure that a bias makes a layer affine, and that relu after it ends linearity."""
    z = s.random(s.x.shape) * largest(s.x)
    b = largest(s.conv(s.x)) or 1.0
    bound = bounded(s.gain * (2 * s.level(s.x) + 3 * s.level(z)) + 2 * b)
    yield compare(
        "L(2 x - 3 z) = 2 L(x) - 3 L(z)",
        s.conv(2 * s.x - 3 * z, b),
        2 * s.conv(s.x, b) - 3 * s.conv(z, b),
        bound,
        expected="differs",
        note=f"L(x) = conv(x) + b: b = {b:.4g} is once on the left, 2 - 3 times on the right",
    )
    yield compare(
        "L(x/4 + 3 z/4) = L(x)/4 + 3 L(z)/4",
        s.conv(s.x / 4 + 3 * z / 4, b),
        s.conv(s.x, b) / 4 + 3 * s.conv(z, b) / 4,
        bound,
        note="affine: mixtures whose weights add up to 1 go through",
    )
    yield compare(
        "R(2 x - 3 z) = 2 R(x) - 3 R(z)",
        activate(s.conv(2 * s.x - 3 * z), "relu"),
        2 * activate(s.conv(s.x), "relu") - 3 * activate(s.conv(z), "relu"),
        bound,
        expected="differs",
        note="R(x) = relu(conv(x)), with relu(y) = max(y, 0): without it, two layers are one",
    )


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
    bound = bounded(small.gain * (small.level(small.x) + step))
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
        options: dict[str, Any] = {
            "padding": "same",
            "boundary": boundary,
            "cval": s.spec.cval if boundary == "constant" else 0.0,
        }
        left = s.filtered(np.roll(s.f, 1, along), **options)
        right = np.roll(s.filtered(s.f, **options), 1, along)
        bound = bounded(s.level(s.f) * weight(s.g))
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
    spec = ConvSpec.of(s.dims, stride=stride, dilation=s.spec.dilation, padding="same")
    inside = _inside(spec.axes(s.f.shape, s.g.shape))
    base = s.filtered(s.f, stride=stride, padding="same")[inside]
    for shift in range(1, min(stride, PHASES + 1) if base.size else 0):
        rolled = np.roll(s.f, shift, tuple(range(s.dims)))
        yield compare(
            f"stride {stride}: shift by {shift}, then conv = conv",
            s.filtered(rolled, stride=stride, padding="same")[inside],
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
