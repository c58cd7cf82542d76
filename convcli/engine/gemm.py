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
from convcli.planner import GATHER_RUN, Plan

STRETCH = {"float32": 24, "float64": 64}
"""Terms that a result may take from one product, which adds them in a row: their roundings, and those of the sum over
stretches, stay within the contract. All stretches are products of one call: each call makes the threads wait for the
interpreter, which for a layer of 3x3x64 took as long as the arithmetic."""


def prepare(w: NDArray[Any], plan: Plan) -> Tile:
    """Ready a bank (O, *window, C/groups), in any type."""
    groups, terms, scratch = plan.spec.groups, math.prod(w.shape[1:]), Scratch()
    kernels = w.astype(plan.accumulator).reshape(groups, -1, terms)
    count = -(-terms // STRETCH[plan.precision]) if plan.precision else 1
    length = -(-terms // count)
    ones = np.ones((1, count), plan.accumulator)
    columns = [_in_stretches(part.T, count, length) for part in kernels]

    def gathered(seen: NDArray[Any], size: int) -> NDArray[Any]:
        """Windows (*items, *P, *window, C/groups) as rows; where they lie so already, as they are."""
        if seen.flags.c_contiguous and terms == count * length:
            return seen.reshape(size, terms)
        rows = scratch("windows", (size, count * length), seen.dtype)
        rows[:, terms:] = 0
        rows[:, :terms].reshape(seen.shape)[...] = seen
        return rows

    def tile(block: NDArray[Any], out: NDArray[Any]) -> None:
        lanes, shares = np.split(block, groups, axis=-1), np.split(out, groups, axis=-1)
        for part, share, column in zip(lanes, shares, columns, strict=True):
            rows = gathered(windows(part, plan.axes, out.shape[-1 - len(plan.axes) : -1]), share[..., 0].size)
            whole = share.flags.c_contiguous
            sums = (share if whole else scratch("sums", share.shape, out.dtype)).reshape(len(rows), -1)
            product(rows, column, sums)
            if not whole:
                share[...] = sums.reshape(share.shape)

    def product(rows: NDArray[Any], columns: NDArray[Any], sums: NDArray[Any]) -> None:
        """Sums (P, O) = rows (P, terms) by columns (stretches, length, O), a share for each stretch."""
        if count == 1:
            np.matmul(rows, columns[0], out=sums)
            return
        stretched = rows.reshape(len(rows), count, length).transpose(1, 0, 2)

        def fill(run: slice, total: NDArray[Any]) -> None:
            shares = scratch("shares", (run.stop - run.start, *sums.shape), sums.dtype)
            np.matmul(stretched[run], columns[run], out=shares)
            np.matmul(ones[:, run], shares.reshape(len(shares), -1), out=total.reshape(1, -1))

        add_up(pieces(count, GATHER_RUN), fill, sums)

    return tile


def _in_stretches(columns: NDArray[Any], count: int, length: int) -> NDArray[Any]:
    """Columns (terms, O) as (count, length, O), with rows of zeros at the end."""
    filled = np.zeros((count * length, columns.shape[1]), columns.dtype)
    filled[: len(columns)] = columns
    return filled.reshape(count, length, -1)
