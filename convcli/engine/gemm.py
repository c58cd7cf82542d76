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

from convcli.engine.windows import Tile, windows
from convcli.planner import Plan


def prepare(w: NDArray[Any], plan: Plan) -> Tile:
    """Ready one kernel, (*window) or (O, *window, C/groups), in the accumulator's type."""
    return _alike(w, plan) if plan.facts.filters is None else _bank(w, plan)


def _alike(w: NDArray[Any], plan: Plan) -> Tile:
    """Every lane under one kernel: the lanes are moved before the window, and each is a row of its own."""
    column = w.reshape(-1, 1)

    def tile(block: NDArray[Any], out: NDArray[Any]) -> None:
        seen = windows(block, plan.axes, out.shape[-1 - len(plan.axes) : -1])
        rows = np.moveaxis(seen, -1, out.ndim - 1).reshape(-1, len(column))
        out[...] = (rows @ column).reshape(out.shape)

    return tile


def _bank(w: NDArray[Any], plan: Plan) -> Tile:
    groups, terms = plan.spec.groups, math.prod(w.shape[1:])
    columns = [part.reshape(-1, terms).T for part in np.split(w, groups)]

    def tile(block: NDArray[Any], out: NDArray[Any]) -> None:
        lanes, shares = np.split(block, groups, axis=-1), np.split(out, groups, axis=-1)
        for part, share, column in zip(lanes, shares, columns, strict=True):
            rows = windows(part, plan.axes, out.shape[-1 - len(plan.axes) : -1]).reshape(-1, terms)
            share[...] = (rows @ column).reshape(share.shape)

    return tile
