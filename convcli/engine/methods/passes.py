"""The passes of one product of 1-D factors, along one axis after the other.

The results of a pass are the samples of the next one. They may be padded in between, so that a pass
reads whole lines without their padding, and computes nothing for it.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from convcli.engine.buffers import LINE
from convcli.engine.methods.bands import Along, Down, Matrix, unlike
from convcli.engine.methods.summation import pairwise_sum
from convcli.engine.methods.sums import Sums
from convcli.engine.padding import Span, fill_sides
from convcli.engine.planning.facts import TiledWork
from convcli.engine.threads import Scratch
from convcli.shapes.axis import Axis


def padded_sides(axis: Axis) -> Span:
    """Return the lengths of the padding that the windows along a whole axis cover."""
    return axis.lo, max(axis.span(axis.out) - axis.lo - axis.n, 0)


class TapPass:
    """The sum over taps along an axis, which multiplies no sample outside of a window.

    A call computes out (A, m, Z) from x (A, n, Z).
    """

    def __init__(self, taps: Matrix, axis: Axis) -> None:
        self.taps, self.stride, self.dilation = taps, axis.stride, axis.dilation

    def __call__(self, x: Matrix, out: Matrix) -> None:
        length = (out.shape[1] - 1) * self.stride + 1

        def fill(tap: int, share: Matrix) -> None:
            start = tap * self.dilation
            np.multiply(x[:, start : start + length : self.stride], self.taps[tap], out=share)

        pairwise_sum(range(len(self.taps)), fill, out)


Pass: TypeAlias = Down | Along | Sums | TapPass


class Term:
    """One product of factors: a pass along each axis, from the first to the last.

    types: those of the results between passes. pads: whether they are padded, not the samples.
    """

    def __init__(
        self,
        parts: Sequence[Matrix],
        passes: Sequence[Pass],
        types: Sequence[str],
        plan: TiledWork,
        pads: bool,
        scratch: Scratch,
    ) -> None:
        self.passes, self.scratch, self.boundary = passes, scratch, plan.spec.boundary
        self.types = [np.dtype(name) for name in types]
        self.sides = [padded_sides(axis) if pads else (0, 0) for axis in plan.axes]

        # The sums of a constant's padding along one axis are the padding along the next.
        sums = itertools.accumulate((float(part.sum()) for part in parts), operator.mul)
        self.constants = [plan.spec.cval * total for total in sums]

    def __call__(self, x: Matrix, out: Matrix, sizes: tuple[int, ...]) -> None:
        """Compute out (A, m, ...) from x (A, n, ...), with `sizes` outputs, pass by pass."""
        *before, last = self.passes
        for at, (run, outputs) in enumerate(zip(before, sizes, strict=False)):
            x = self._through(run, at, x, outputs)
        last(x.reshape(*x.shape[:2], -1), out.reshape(len(x), sizes[-1], -1))

    def _through(self, run: Pass, at: int, x: Matrix, outputs: int) -> Matrix:
        """Return the samples (A * m, n, ...) of the next pass, padded along its axis."""
        low, high = self.sides[at + 1]
        n, *rest = x.shape[2:]
        width, dtype = math.prod(rest), self.types[at]
        shape = (len(x), outputs, (low + n + high) * width)
        rows, skipped = self._room(at, shape, low * width, dtype)
        samples = rows[..., skipped : skipped + shape[2]]
        run(x.reshape(*x.shape[:2], -1), samples[..., low * width : (low + n) * width])
        samples = samples.reshape(len(x) * outputs, low + n + high, *rest)
        fill_sides(samples, 1, (low, high), self.boundary, self.constants[at])
        return samples

    def _room(
        self, at: int, shape: tuple[int, int, int], low: int, dtype: np.dtype[Any]
    ) -> tuple[Matrix, int]:
        """Return an array for the results (A, m, Z) of a pass, and where they begin in a row.

        Bands write rows from cache lines on, and read them at distances that are unlike.
        """
        if not isinstance(self.passes[at + 1], Down | Along):
            return self.scratch(f"middle {at}", shape, dtype), 0
        if isinstance(self.passes[at], Along):
            items, outputs, values = shape[0], 1, shape[1] * shape[2]
        else:
            items, outputs, values = shape
        skipped = -low % (LINE // dtype.itemsize)
        row = unlike(skipped + values, dtype.itemsize)
        room = self.scratch(f"middle {at}", (items, outputs, row), dtype)
        return room[..., : skipped + values].reshape(*shape[:2], -1), skipped
