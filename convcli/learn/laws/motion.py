"""What moves when the input moves: everything with it, away from the border; and only what stands near a sample."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from convcli.engine import convolve
from convcli.learn.laws.rows import Array, Row, bounded, compare, largest, ranges, weight
from convcli.learn.laws.setup import Setting
from convcli.options import BOUNDARIES
from convcli.shapes.spec import Axis, ConvSpec

PHASES = 3
"""Shifts between two steps of a stride that are shown."""


def equivariant(s: Setting) -> Iterator[Row]:
    """A shift of the input by one stride shifts the output by one; rolled in at the start are the last samples."""
    along = tuple(range(1, s.dims + 1))
    left, right = s.conv(np.roll(s.x, s.spec.stride, along)), np.roll(s.conv(s.x), 1, along)
    inside, bound = (slice(None), *_inside(s.axes)), bounded(s.scale)
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
    """One sample reaches the outputs whose window covers it: its column of the matrix, and nothing else."""
    small = s.small
    step = largest(small.x) or 1.0
    y, bound = small.conv(small.x), bounded(small.gain * (largest(small.x) + step))
    corner = (0,) * s.dims
    centre = tuple(n // 2 for n in small.spatial)
    for place in (centre, corner):
        at = (0, *place, 0)
        moved = small.x.copy()
        moved[at] += step
        change = small.conv(moved) - y
        column = small.matrix[:, np.ravel_multi_index(at, small.x.shape)]
        index = ",".join(map(str, place))
        yield compare(
            f"x[{index}] + {step:.4g} moves y by M's column",
            change,
            (step * column).reshape(y.shape),
            bound,
            note=_moved(np.abs(change) > bound),
        )


def _around(left: Array, right: Array, inside: tuple[slice, ...], bound: float) -> str:
    """How many outputs differ outside of the interior."""
    beyond = np.ones(left.shape, bool)
    beyond[inside] = False
    apart = int((np.abs(left - right)[beyond] > bound).sum())
    return f"{apart:,} of the {int(beyond.sum()):,} outputs around it differ"


def _inside(axes: Sequence[Axis]) -> tuple[slice, ...]:
    """The interior of an output (*P): where every window, before a shift and after, sees samples that shifted."""
    return tuple(slice(span.start, span.stop) for span in map(_interior, axes))


def _interior(axis: Axis) -> range:
    first = -(-(axis.stride + axis.lo) // axis.stride)
    last = min((axis.n - axis.reach + axis.lo) // axis.stride, axis.out - 1)
    return range(first, max(last + 1, first))


def _borders(s: Setting) -> Iterator[Row]:
    """Where a shift by one breaks with padding same, for every boundary; only wrap shifts as the input does."""
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
    """A shift by less than the stride falls between two outputs: another phase of the input is sampled."""
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
            note=f"outputs move by whole steps of {stride}, and {shift} is none: another phase of x is sampled",
        )


def _broken(apart: NDArray[np.bool_]) -> str:
    """How many outputs differ, and how far from the edge the farthest of them is."""
    if not apart.any():
        return "no output differs"
    depths = [np.minimum(where, n - 1 - where) for where, n in zip(np.nonzero(apart), apart.shape, strict=True)]
    deepest = int(np.min(depths, axis=0).max())
    return f"{int(apart.sum()):,} of {apart.size:,} outputs differ, the farthest {deepest} from the edge"


def _moved(moves: NDArray[np.bool_]) -> str:
    """Which outputs moved, as ranges along each axis: moves is (1, *P, O)."""
    if not moves.any():
        return "no output moves"
    spatial = moves[0].any(axis=-1)
    where = " x ".join(ranges({int(i) for i in indices}) for indices in np.nonzero(spatial))
    return f"{int(spatial.sum()):,} of {spatial.size:,} outputs move: {where}"
