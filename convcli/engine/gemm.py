"""Convolution as a matrix product over gathered windows (im2col), in blocks that stay in the cache.

Each output's window is copied out as a row, each kernel stands as a column, and one product gives every sum::

      windows (P, K*C)      kernels (K*C, O)      outputs (P, O)
    [ x0 x1 x2 ]             [ w0 ]                [ y0 ]
    [ x1 x2 x3 ]      @      [ w1 ]        =       [ y1 ]
    [ x2 x3 x4 ]             [ w2 ]                [ y2 ]

A row holds its own window only, so a NaN reaches just the outputs that cover it.
Source: Chellapilla, Puri and Simard, "High performance convolutional neural networks for document
processing", 2006.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convcli.engine.bands import pieces
from convcli.engine.pairwise import add_up
from convcli.engine.threads import Scratch
from convcli.engine.windows import Tile, windows
from convcli.planner import Plan

STRETCH = {"float32": 24, "float64": 64}
"""Terms that a result may take from one product, which adds them in a row: their roundings, and those of the sum over
stretches, stay within the contract. On 576 terms, stretches of 32 cost a third more than one product, and float64
twice as much."""


def prepare(w: NDArray[Any], plan: Plan) -> Tile:
    """Ready a bank (O, *window, C/groups), in any type."""
    groups, terms, scratch = plan.spec.groups, math.prod(w.shape[1:]), Scratch()
    kernels = w.astype(plan.accumulator).reshape(groups, -1, terms)
    columns = [np.ascontiguousarray(part.T) for part in kernels]
    length = STRETCH[plan.precision] if plan.precision else terms
    stretches = pieces(terms, length)

    def gathered(seen: NDArray[Any], size: int) -> NDArray[Any]:
        """Windows (*items, *P, *window, C/groups) as rows; where they lie so already, as they are."""
        if seen.flags.c_contiguous:
            return seen.reshape(size, terms)
        rows = scratch("windows", (size, terms), seen.dtype)
        rows.reshape(seen.shape)[...] = seen
        return rows

    def tile(block: NDArray[Any], out: NDArray[Any]) -> None:
        lanes, shares = np.split(block, groups, axis=-1), np.split(out, groups, axis=-1)
        for part, share, column in zip(lanes, shares, columns, strict=True):
            rows = gathered(windows(part, plan.axes, out.shape[-1 - len(plan.axes) : -1]), share[..., 0].size)
            whole = share.flags.c_contiguous
            sums = (share if whole else scratch("sums", share.shape, out.dtype)).reshape(len(rows), -1)
            _product(rows, column, stretches, sums)
            if not whole:
                share[...] = sums.reshape(share.shape)

    return tile


def _product(rows: NDArray[Any], columns: NDArray[Any], stretches: list[slice], sums: NDArray[Any]) -> None:
    add_up(stretches, lambda part, share: np.matmul(rows[:, part], columns[part], out=share), sums)
