"""A depthwise layer: every channel has its own kernel, so there is no matrix product.

One tap is multiplied by all channels of a line at once, with the kernels' taps repeated for the
length of the line::

    line     a0 a1 a2  b0 b1 b2  c0 c1 c2 ..       three channels, interleaved
    taps     w0 w1 w2  w0 w1 w2  w0 w1 w2 ..       each channel's own, repeated

    sums  += line * taps                           then the next tap, with the line from its sample

One call multiplies and adds all taps of a tile. It reads a sample and a tap, and reads and writes a
sum, in the cache: 0.15 ns for each tap, of which loading and storing is the largest part. A long
line is cut into equal pieces, so that the repeated taps stay in the cache; a stride along it costs
a copy of the samples under each tap. Only samples in a window are used, so a NaN changes only the
outputs whose windows cover it.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convcli.engine.methods.base import CostEstimate, Method, Needs, TileFunction
from convcli.engine.methods.summation import pairwise_sum, pending_sums
from convcli.engine.methods.windows import Box, Strided, cuts, windows
from convcli.engine.planning.blocking import stretch_of
from convcli.engine.planning.costs import GATHER, TOUCH
from convcli.engine.planning.facts import TiledWork, Work
from convcli.engine.planning.tiles import (
    DOWN,
    LINE,
    TILE_VALUES,
    TILES,
    evenly,
    fitting_outputs,
    layer_rest,
    line_places,
    strip,
)
from convcli.engine.threads import Scratch
from convcli.shapes.axis import samples_under

TAP = 0.15
"""Nanoseconds of one tap for one output."""

MOST_OUTPUTS = 1 << 19
"""Most outputs in a tile: 2 MiB of float32, as many samples as it may cover, or half as many with
their copies under a stride. With tiles a quarter of this size two threads took a third longer:
between calls they wait for the interpreter."""


class Depthwise(Method):
    """A layer with one kernel per channel, line by line."""

    name = "gemm"

    def refusal(self, work: Work) -> str:
        return "" if work.is_depthwise else "kernels that sum over channels, or share one"

    def cost(self, work: Work) -> CostEstimate:
        account = "a kernel for every channel: all its taps in one pass over the lines"
        *before, last = work.axes
        copied = last.k * math.prod(axis.stride for axis in before) if last.stride > 1 else 0
        each = work.terms * TAP + copied * GATHER + TOUCH
        return CostEstimate(work.outputs * each, account)

    def tile(self, work: Work) -> tuple[int, ...]:
        channels, last = work.facts.channels, work.axes[-1]
        most = MOST_OUTPUTS * 4 // self.itemsize(work)
        seen = int(2 * most / (1 + (last.k / last.stride if last.stride > 1 else 1)))
        rest = layer_rest(work, seen)
        budget = min(
            min(max(work.outputs // TILES, TILE_VALUES), most) // channels,
            fitting_outputs(work.axes, 0, rest, channels, seen) * math.prod(rest),
        )
        return strip(work, budget, rest, DOWN)

    def memory(self, work: Work, tile: tuple[int, ...]) -> Needs:
        *before, last = work.axes
        channels, size = work.facts.channels, self.itemsize(work)

        # With a stride, the samples under every tap along the lines.
        line = work.lead(tile) * tile[-1] * channels
        lines = samples_under(before, tile[1:-1]) * last.k * line if last.stride > 1 else 0

        # The taps are repeated along a line.
        taps = work.terms * max(LINE, channels) * 2
        runs = -(-work.terms // -(-stretch_of(work.terms, self.precision(work)) // 2))
        waiting = pending_sums(runs) * work.tile_outputs(tile)
        return Needs(taps * size, (work.tile_samples(tile) + lines + waiting) * size)

    def prepare(self, w: NDArray[Any], plan: TiledWork) -> TileFunction:
        return _Depthwise(w[..., 0].astype(plan.accumulator), plan)


METHOD = Depthwise()


class _Depthwise:
    """The kernels (C, *window), with their taps repeated along a line."""

    def __init__(self, w: NDArray[Any], plan: TiledWork) -> None:
        self.axes, dims, self.scratch = plan.axes, len(plan.axes), Scratch()
        self.most = line_places(len(w), plan.tile[-1])
        self.taps = np.tile(np.moveaxis(w, 0, -1), self.most)
        self.cuts = cuts(w.shape[1:], stretch_of(w[0].size, plan.precision))
        *self.lead, self.channel = range(len(plan.facts.batch) + dims + 1)
        self.window = list(range(self.channel + 1, self.channel + 1 + dims))

    def __call__(self, block: NDArray[Any], out: NDArray[Any]) -> None:
        """Compute a tile: outputs (*items, *P, C) from a block (*items, *S, C)."""
        *lead, places, channels = out.shape
        lines, step = self._lines(np.ascontiguousarray(block), places)
        done = 0
        for count, each in _pieces(places, self.most):
            target = out[..., done : done + count * each, :].reshape(*lead, count, each * channels)
            seen = self._seen(lines, step, target.shape).of(lines, done * channels * lines.itemsize)
            pairwise_sum(self.cuts, partial(self._fill, seen), target)
            done += count * each

    def _lines(self, block: NDArray[Any], outputs: int) -> tuple[NDArray[Any], int]:
        """Return lines of samples that the outputs use without gaps, and the bytes between taps.

        With a stride, they are copies for every tap: (*items, *S without the last, k, n, C).
        """
        last, size = self.axes[-1], block.shape[-1] * block.itemsize
        if last.stride == 1:
            return block, last.dilation * size
        lines = np.moveaxis(windows(block, (last,), (outputs,)), -2, -3)
        dense = self.scratch("lines", lines.shape, lines.dtype)
        dense[...] = lines
        return dense, outputs * size

    def _seen(self, lines: NDArray[Any], step: int, shape: tuple[int, ...]) -> Strided:
        """Return the view of all taps for outputs (*items, *P without the last, count, places * C).

        Its shape is (*items, *P without the last, count, *window, places * C).
        """
        before = self.axes[:-1]
        items = len(shape) - 2 - len(before)
        steps = lines.strides[items : items + len(before)]
        return Strided(
            (*shape[:-1], *(axis.k for axis in self.axes), shape[-1]),
            (
                *lines.strides[:items],
                *(size * axis.stride for size, axis in zip(steps, before, strict=True)),
                shape[-1] * lines.itemsize,
                *(size * axis.dilation for size, axis in zip(steps, before, strict=True)),
                step,
                lines.itemsize,
            ),
        )

    def _fill(self, seen: NDArray[Any], cut: Box, out: NDArray[Any]) -> None:
        """Compute out (*lead, channel): the sum of some taps of seen (*lead, *window, channel)."""
        under: tuple[Any, ...] = (..., *cut, slice(None))
        taps, window, channel = self.taps[(*cut, slice(out.shape[-1]))], self.window, self.channel
        np.einsum(
            seen[under],
            [*self.lead, *window, channel],
            taps,
            [*window, channel],
            [*self.lead, channel],
            out=out,
        )


def _pieces(places: int, most: int) -> list[tuple[int, int]]:
    """Cut a line into equal pieces of at most `most` places, and a rest: (count, places) of each.

    >>> _pieces(56, 128), _pieces(500, 128), _pieces(501, 128)
    ([(1, 56)], [(4, 125)], [(3, 126), (1, 123)])
    """
    each = evenly(places, most)
    return [piece for piece in ((places // each, each), (1, places % each)) if piece[1]]
