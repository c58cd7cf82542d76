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

from convcli.engine.pairwise import add_up
from convcli.engine.windows import Tile, windows
from convcli.planner import Plan

STRETCH = 64
"""Terms that a float64 result may take from one product, which adds them in the library's own order: 64 roundings,
and those of the sum over stretches, stay under 1e-14. A float32 result of float64 sums has bits to spare."""


def prepare(w: NDArray[Any], plan: Plan) -> Tile:
    """Ready a bank (O, *window, C/groups), in any type."""
    groups, terms = plan.spec.groups, math.prod(w.shape[1:])
    columns = [part.reshape(-1, terms).T for part in np.split(w.astype(plan.accumulator), groups)]
    stretches = _stretches(terms, plan)

    def tile(block: NDArray[Any], out: NDArray[Any]) -> None:
        lanes, shares = np.split(block, groups, axis=-1), np.split(out, groups, axis=-1)
        for part, share, column in zip(lanes, shares, columns, strict=True):
            rows = windows(part, plan.axes, out.shape[-1 - len(plan.axes) : -1]).reshape(-1, terms)
            share[...] = _product(rows, column, stretches).reshape(share.shape)

    return tile


def _stretches(terms: int, plan: Plan) -> list[slice]:
    length = STRETCH if plan.dtype == "float64" else terms
    return [slice(at, at + length) for at in range(0, terms, length)]


def _product(rows: NDArray[Any], columns: NDArray[Any], stretches: list[slice]) -> NDArray[Any]:
    product = np.empty((len(rows), columns.shape[1]), rows.dtype)
    add_up(stretches, lambda part, share: np.matmul(rows[:, part], columns[part], out=share), product)
    return product
