"""The sum over taps: the readable reference, to which every other method is held.

Each output is, literally, `y[p] = sum over taps t of w[t] * x[stride*p + dilation*t]`. Turned inside out, one tap
at a time meets all outputs at once, and the samples it meets are a strided view of the input::

    taps  w0 w1 w2        y[0:4]  = w0 * x[0:4]
    input a b c d e f     y[0:4] += w1 * x[1:5]
                          y[0:4] += w2 * x[2:6]

Every tap takes part, zeros too: a NaN under a zero tap is a NaN, by the definition.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convcli.engine.windows import Tile, under_tap
from convcli.planner import Plan


def prepare(w: NDArray[Any], plan: Plan) -> Tile:
    """Ready one kernel, (*window) or (O, *window, C/groups), in the accumulator's type."""
    terms = list(_terms(w, plan))

    def tile(block: NDArray[Any], out: NDArray[Any]) -> None:
        sizes = out.shape[-1 - len(plan.axes) : -1]
        scratch = np.empty_like(out)
        for count, (tap, weight) in enumerate(terms):
            share = scratch if count else out
            _meet(under_tap(block, plan.axes, sizes, tap), weight, plan.spec.groups, share)
            if count:
                out += share

    return tile


def _terms(w: NDArray[Any], plan: Plan) -> Iterator[tuple[tuple[int, ...], NDArray[Any]]]:
    """Each tap's position and weight: a scalar for every lane, or (groups, C/groups, O/groups) for a bank."""
    for tap in np.ndindex(*plan.facts.window):
        if plan.facts.filters is None:
            yield tap, w[tap]
        else:
            bank = w[(slice(None), *tap)]
            yield tap, bank.reshape(plan.spec.groups, -1, bank.shape[-1]).transpose(0, 2, 1)


def _meet(seen: NDArray[Any], weight: NDArray[Any], groups: int, out: NDArray[Any]) -> None:
    """Out = one tap's share: a product, summed over the channels of a group where there are several."""
    if weight.ndim == 0:
        np.multiply(seen, weight, out=out)
        return
    shares = out.reshape(*out.shape[:-1], groups, -1)
    if weight.shape[1] == 1:
        np.multiply(seen[..., None], weight[:, 0, :], out=shares)
    else:
        np.einsum("...gc,gco->...go", seen.reshape(*seen.shape[:-1], groups, -1), weight, out=shares)
