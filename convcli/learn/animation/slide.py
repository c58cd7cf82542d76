"""How a window slides over a source, along one axis, forward and backward.

An axis has a fine side of n samples and a coarse side of P: a convolution goes from fine to coarse,
a transposed convolution from coarse to fine. With `s` the stride, `d` the dilation, and `lo` the
padding, coarse sample p and tap t meet at the fine sample `s*p + d*t - lo`. A sum over any two of
the three is a window that slides:

    coarse   y[p] = sum over t     the kernel on the fine side: steps of s, taps d apart
    kernel   dw[t] = sum over p    dy on the fine side: steps of d, taps s apart
    fine     dx[i] = sum over p    the flipped kernel on the coarse side, whose samples are s apart,
                                   with zeros between: steps of 1, taps d apart

Source: Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", 2016.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from convcli.engine.padding import boundary_index
from convcli.options import Boundary
from convcli.shapes.axis import Axis

Side = Literal["coarse", "fine", "kernel"]
"""The side of a convolution that is computed."""


@dataclass(frozen=True)
class Slide:
    """A window of `taps` that slides along an axis, one place for each of `targets`.

    samples: of the source, `spread` places apart. Tap j of target i is at the place
    `step*i + gap*j + first`; sample m is at `spread*m`.
    start, stop: the places that are shown, with the padding. folds: the windows of each target; a
    sample that padding repeats has several.

    >>> slide = make_slide(Axis(n=5, k=3, stride=2, lo=1, hi=1), "coarse", "constant")
    >>> slide.targets, (slide.start, slide.stop), [slide.place(2, tap) for tap in range(3)]
    (3, (-1, 6), [3, 4, 5])
    """

    samples: int
    spread: int
    taps: int
    gap: int
    step: int
    first: int
    start: int
    stop: int
    folds: tuple[tuple[int, ...], ...]

    @property
    def targets(self) -> int:
        return len(self.folds)

    @property
    def reach(self) -> int:
        """Places from the first tap of a window to its last, both included."""
        return self.gap * (self.taps - 1) + 1

    @property
    def length(self) -> int:
        """The number of places that are shown."""
        return self.stop - self.start

    def place(self, window: int, tap: int) -> int:
        return self.step * window + self.gap * tap + self.first

    def columns(self, window: int) -> range:
        """Return the places under a window's taps, counted from the first that is shown."""
        begin = self.place(window, 0) - self.start
        return range(begin, begin + self.reach, self.gap)


def make_slide(axis: Axis, side: Side, boundary: Boundary) -> Slide:
    """Return the window that computes one side of a convolution.

    >>> slide = make_slide(Axis(n=5, k=3, stride=2, lo=1, hi=1), "fine", "constant")
    >>> slide.samples, slide.spread, slide.start, slide.stop, slide.targets
    (3, 2, -1, 6, 5)
    >>> make_slide(Axis(n=3, k=3, lo=1, hi=1), "fine", "edge").folds
    ((-1, 0), (1,), (2, 3))
    """
    fine, coarse = (axis.out, axis.n) if axis.transposed else (axis.n, axis.out)
    if side == "fine":
        return _fine_slide(axis, fine, coarse, boundary)
    taps, targets, gap, step = axis.k, coarse, axis.dilation, axis.stride
    if side == "kernel":
        taps, targets, gap, step = targets, taps, step, gap
    return Slide(
        samples=fine,
        spread=1,
        taps=taps,
        gap=gap,
        step=step,
        first=-axis.lo,
        start=-axis.lo,
        stop=max(fine + axis.hi, step * (targets - 1) + gap * (taps - 1) + 1 - axis.lo),
        folds=tuple((target,) for target in range(targets)),
    )


def _fine_slide(axis: Axis, fine: int, coarse: int, boundary: Boundary) -> Slide:
    first = axis.lo - (axis.reach - 1)
    padded = np.arange(-axis.lo, fine + axis.hi)
    if boundary == "constant" or axis.transposed:
        padded = np.arange(fine)
    sources = boundary_index(padded, fine, boundary)
    folds = tuple(tuple(padded[sources == sample].tolist()) for sample in range(fine))
    return Slide(
        samples=coarse,
        spread=axis.stride,
        taps=axis.k,
        gap=axis.dilation,
        step=1,
        first=first,
        start=min(0, int(padded[0]) + first),
        stop=max(axis.stride * (coarse - 1), int(padded[-1]) + first + axis.reach - 1) + 1,
        folds=folds,
    )
