"""A depthwise layer: every channel has its own kernel, so there is no matrix product.

One tap is multiplied by all channels of a line at once, with the kernels' taps repeated for the
length of the line::

    line     a0 a1 a2  b0 b1 b2  c0 c1 c2 ..       three channels, interleaved
    taps     w0 w1 w2  w0 w1 w2  w0 w1 w2 ..       each channel's own, repeated

    sums  += line * taps                           then the next tap, with the line from its sample

One call multiplies and adds all taps in one pass. Only samples in a window are used, so a NaN
changes only the outputs whose windows cover it.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from convcli.engine.methods.bands import pieces
from convcli.engine.methods.base import CostEstimate, Method, Needs, TileFunction
from convcli.engine.methods.summation import pairwise_sum, pending_sums
from convcli.engine.methods.windows import Box, Strided, cuts, windows
from convcli.engine.planning.blocking import stretch_of
from convcli.engine.planning.facts import TiledWork, Work
from convcli.engine.planning.tiles import (
    DOWN,
    LINE,
    TILE_VALUES,
    even_shares,
    layer_rest,
    line_places,
    strip,
)
from convcli.engine.threads import Scratch
from convcli.shapes.axis import samples_under

TAP = 0.25
"""Nanoseconds of one tap for one output."""


class Depthwise(Method):
    """A layer with one kernel per channel, line by line."""

    name = "gemm"

    def refusal(self, work: Work) -> str:
        return "" if work.is_depthwise else "kernels that sum over channels, or share one"

    def cost(self, work: Work) -> CostEstimate:
        account = "a kernel for every channel: all its taps in one pass over the lines"
        return CostEstimate(work.outputs * math.prod(work.facts.window) * TAP, account)

    def tile(self, work: Work) -> tuple[int, ...]:
        return strip(
            work,
            2 * TILE_VALUES // work.facts.out_channels,
            layer_rest(work),
            lambda first, most: min(even_shares(first, most, DOWN), first),
        )

    def memory(self, work: Work, tile: tuple[int, ...]) -> Needs:
        *before, last = work.axes
        channels, size = work.facts.channels, self.itemsize(work)

        # A line of outputs, and with a stride, of the samples under every tap along it.
        line = work.lead(tile) * line_places(channels, last.out) * channels
        lines = samples_under(before, tile[1:-1]) * last.k * line if last.stride > 1 else 0

        # The taps are repeated along a line; pending sums have one line in each row of the tile.
        taps = work.terms * max(LINE, channels) * 2
        runs = -(-work.terms // -(-stretch_of(work.terms, self.precision(work)) // 2))
        waiting = pending_sums(runs) * math.prod(tile[1:-1]) * line
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
        *self.lead, self.channel = range(len(plan.facts.batch) + dims)
        self.window = list(range(self.channel + 1, self.channel + 1 + dims))

    def __call__(self, block: NDArray[Any], out: NDArray[Any]) -> None:
        """Compute a tile: outputs (*items, *P, C) from a block (*items, *S, C)."""
        block = np.ascontiguousarray(block)
        sizes = out.shape[-1 - len(self.axes) : -1]
        for part in pieces(sizes[-1], self.most):
            target = out[..., part, :]
            seen = self._seen(block, sizes, part)
            pairwise_sum(
                self.cuts, partial(self._fill, seen), target.reshape(*target.shape[:-2], -1)
            )

    def _seen(self, block: NDArray[Any], sizes: tuple[int, ...], part: slice) -> NDArray[Any]:
        """Return the samples under all taps for a part of the lines.

        Their shape is (*items, *P without the last, *window, places * C). They are a view of the
        block if the positions are contiguous; with a stride, copies for every tap along a line.
        """
        # The samples under each tap along a line: (*items, *S without the last, k, places, C).
        *before, last = self.axes
        lines = np.moveaxis(windows(block, (last,), sizes[-1:])[..., part, :, :], -2, -3)
        if last.stride > 1:
            dense = self.scratch("lines", lines.shape, lines.dtype)
            dense[...] = lines
            lines = dense

        # The same for all outputs along the other axes, with positions and channels as one axis.
        first = lines.ndim - 2 - len(self.axes)
        items, steps = lines.strides[:first], lines.strides[first:-3]
        view = Strided(
            (
                *lines.shape[:first],
                *sizes[:-1],
                *(axis.k for axis in self.axes),
                math.prod(lines.shape[-2:]),
            ),
            (
                *items,
                *(step * axis.stride for step, axis in zip(steps, before, strict=True)),
                *(step * axis.dilation for step, axis in zip(steps, before, strict=True)),
                lines.strides[-3],
                lines.itemsize,
            ),
        )
        return as_strided(lines, view.shape, view.strides, writeable=False)

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
