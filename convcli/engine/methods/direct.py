"""The sum over taps: the readable reference that every other method is tested against.

Each output is by definition `y[p] = sum over taps t of w[t] * x[stride*p + dilation*t]`. The outer
loop is over taps: one tap is multiplied by its samples for all outputs, which are a strided view of
the input::

    taps  w0 w1 w2        y[0:4]  = w0 * x[0:4]
    input a b c d e f     y[0:4] += w1 * x[1:5]
                          y[0:4] += w2 * x[2:6]

A layer has one such term for each tap and channel. Zero taps are included: by the definition, a NaN
under a zero tap results in NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convcli.engine.methods.base import CostEstimate, Method, Needs, TileFunction
from convcli.engine.methods.summation import pairwise_sum, pending_sums
from convcli.engine.methods.windows import under_tap
from convcli.engine.planning.costs import TOUCH
from convcli.engine.planning.facts import TiledWork, Work
from convcli.engine.planning.tiles import TILE_VALUES, layer_rest, strip

TAP = 0.32
"""Nanoseconds of one tap for one output: a multiplication and an addition over a tile in the cache.
"""

STEPPED, LOOP = 0.4, 5.0
"""Additional nanoseconds of a tap with a stride along the row: of one sample, and of the loop over
the channels of a place if there are several."""

BROADCAST = 5.6
"""Additional nanoseconds for one sample that is multiplied by all kernels of its group."""


CALLS = 3_000.0
"""Nanoseconds of the calls for one term of a tile."""


class Direct(Method):
    """The sum over taps, tap by tap: it can compute every convolution."""

    name = "direct"

    def refusal(self, work: Work) -> str:
        return ""

    def cost(self, work: Work) -> CostEstimate:
        filters = work.facts.filters
        tap = TAP if filters is None else TAP + BROADCAST * work.spec.groups / filters
        if filters is None and work.axes[-1].stride > 1:
            tap += STEPPED if work.facts.channels == 1 else LOOP / work.facts.channels
        account = f"{work.terms} taps, one multiply and add over the output for each"
        calls = CALLS * work.terms
        return CostEstimate(calls + work.outputs * (work.terms * tap + TOUCH), account)

    def tile(self, work: Work) -> tuple[int, ...]:
        rest = work.sizes[1:] if work.facts.filters is None else layer_rest(work)
        return strip(work, TILE_VALUES // work.facts.out_channels, rest)

    def memory(self, work: Work, tile: tuple[int, ...]) -> Needs:
        size = self.itemsize(work)
        return Needs(
            2 * work.taps * size,
            pending_sums(work.terms) * work.tile_outputs(tile) * size,
        )

    def prepare(self, w: NDArray[Any], plan: TiledWork) -> TileFunction:
        bank, depth, groups = plan.facts.filters is not None, plan.depth, plan.spec.groups
        w = w.astype(plan.accumulator)
        weights = np.moveaxis(w, 0, -1).reshape(plan.terms, groups, -1) if bank else w.ravel()

        def tile(block: NDArray[Any], out: NDArray[Any]) -> None:
            sizes = out.shape[-1 - len(plan.axes) : -1]

            def fill(term: int, share: NDArray[Any]) -> None:
                """Multiply the samples under a tap, or one channel of every group of them."""
                *tap, channel = _grid_index(term, (*plan.facts.window, depth))
                seen = under_tap(block, plan.axes, sizes, tap)
                if bank:
                    seen = seen[..., channel::depth, None]
                    share = share.reshape(*share.shape[:-1], groups, -1)
                np.multiply(seen, weights[term], out=share)

            pairwise_sum(range(plan.terms), fill, out)

        return tile


METHOD = Direct()


def _grid_index(number: int, shape: Sequence[int]) -> list[int]:
    """Return the index of a position of a grid, numbered row after row.

    >>> _grid_index(7, (3, 3, 2))
    [1, 0, 1]
    """
    index = []
    for length in reversed(shape):
        number, at = divmod(number, length)
        index.append(at)
    return index[::-1]
