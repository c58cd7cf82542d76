"""The sum over taps: the readable reference, to which every other method is held.

Each output is, literally, `y[p] = sum over taps t of w[t] * x[stride*p + dilation*t]`. Turned inside out, one tap
at a time meets all outputs at once, and the samples it meets are a strided view of the input::

    taps  w0 w1 w2        y[0:4]  = w0 * x[0:4]
    input a b c d e f     y[0:4] += w1 * x[1:5]
                          y[0:4] += w2 * x[2:6]

A layer has one such term for each tap and channel. Every tap takes part, zeros too: a NaN under a zero tap is a
NaN, by the definition.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convcli.engine.methods.summation import pairwise_sum
from convcli.engine.methods.windows import TileFunction, under_tap
from convcli.engine.planning import Plan


class Term(NamedTuple):
    """One tap's share of every output, or one channel's of a tap: the channels it meets, and with what weight."""

    tap: tuple[int, ...]
    channels: slice
    weight: NDArray[Any]
    """One number for all channels alike, or (groups, O / groups) for the same channel of every group."""


def prepare(w: NDArray[Any], plan: Plan) -> TileFunction:
    """Ready one kernel, (*window) or (O, *window, C/groups), in any type."""
    w = w.astype(plan.accumulator)
    terms = _alike(w) if plan.facts.filters is None else _bank(w, plan.spec.groups)

    def tile(block: NDArray[Any], out: NDArray[Any]) -> None:
        sizes = out.shape[-1 - len(plan.axes) : -1]

        def fill(term: Term, share: NDArray[Any]) -> None:
            seen = under_tap(block, plan.axes, sizes, term.tap)[..., term.channels]
            if term.weight.ndim:
                seen, share = seen[..., None], share.reshape(*share.shape[:-1], *term.weight.shape)
            np.multiply(seen, term.weight, out=share)

        pairwise_sum(terms, fill, out)

    return tile


def _alike(w: NDArray[Any]) -> list[Term]:
    return [Term(tap, slice(None), np.asarray(w[tap])) for tap in np.ndindex(*w.shape)]


def _bank(w: NDArray[Any], groups: int) -> list[Term]:
    depth = w.shape[-1]
    return [
        Term(tap, slice(channel, None, depth), w[(slice(None), *tap, channel)].reshape(groups, -1))
        for tap in np.ndindex(*w.shape[1:-1])
        for channel in range(depth)
    ]
