"""A short signal under a short kernel: one dot product per window.

np.correlate adds the products of up to TAPS taps one after the other in a loop of its own, without
copying samples, preparing a matrix or reading a sample outside of a window. It takes 0.17
nanoseconds for a tap. A product with a band matrix adds a value in half of that time, but only
after some ten calls to prepare it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from convcli.engine.methods.base import CostEstimate, Method, Needs, TileFunction
from convcli.engine.planning.facts import TiledWork, Work
from convcli.engine.planning.tiles import TILE_VALUES, strip

TAPS = 10
"""Most taps: with more, np.correlate calls the dot product of BLAS for each window, at five times
the cost. So few roundings are within the contract."""

TAP = 0.16
"""Nanoseconds of one tap for one output, in float32 and in float64."""

LINE = 2_000.0
"""Nanoseconds of a call for one signal."""


class Dots(Method):
    """A signal as dot products of its windows and the kernel."""

    name = "gemm"

    def refusal(self, work: Work) -> str:
        if work.facts.filters is not None or len(work.axes) > 1 or work.facts.channels > 1:
            return "not a signal"
        (axis,) = work.axes
        if axis.stride > 1 or axis.dilation > 1 or axis.k > TAPS:
            return f"only for up to {TAPS} taps without stride and dilation"
        return ""

    def cost(self, work: Work) -> CostEstimate:
        signals = work.outputs // work.axes[0].out
        time = signals * LINE + work.outputs * (work.terms + 1) * TAP
        account = "a dot product of each window and the kernel"
        return CostEstimate(time / (self.itemsize(work) // 4), account)

    def tile(self, work: Work) -> tuple[int, ...]:
        return strip(work, TILE_VALUES, [])

    def memory(self, work: Work, tile: tuple[int, ...]) -> Needs:
        values = tile[1] + work.tile_samples(tile)
        return Needs(work.taps * self.itemsize(work), values * self.itemsize(work))

    def prepare(self, w: NDArray[Any], plan: TiledWork) -> TileFunction:
        taps = w.astype(plan.accumulator)

        def tile(block: NDArray[Any], out: NDArray[Any]) -> None:
            signals = block.reshape(-1, block.shape[-2])
            for signal, sums in zip(signals, out.reshape(len(signals), -1), strict=True):
                sums[...] = np.correlate(signal, taps, "valid")

        return tile


METHOD = Dots()
