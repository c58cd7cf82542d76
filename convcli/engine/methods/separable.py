"""A kernel that is a sum of products of 1-D factors: one pass along each axis, for each term.

A Gaussian is a column times a row, so a column pass and a row pass do the work of the whole window, with 2*k
multiplications a sample where the window has k*k. Kernels of rank r take r such pairs, which are added::

      w = v1 x h1 + v2 x h2          strip of rows --v1--> middle --h1--> share
                                                   --v2--> middle --h2--> share, added

Every pass is a product with a band matrix, tile by tile, so that the middle stays in the cache. A signal has one
axis, and its kernel is its own only factor; its samples are copied first, for a product along them reads many places
at a time, each a few samples on, and would wait for the memory at every one.
Source: Treitel and Shanks, "The design of multistage separable planar filters", 1971.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from convcli.engine.analysis import factors, growth, longest_run
from convcli.engine.methods.bands import Along, Down, Matrix, as_matrix, pieces, unlike
from convcli.engine.methods.summation import pairwise_sum
from convcli.engine.methods.windows import TileFunction
from convcli.engine.planning import Plan
from convcli.engine.planning.tiles import WIDE, pass_widths
from convcli.engine.threads import Scratch
from convcli.shapes.axis import Axis


def prepare(w: Matrix, plan: Plan) -> TileFunction:
    """Ready one kernel (*window), in any type; it is factored in float64."""
    kind, dims, scratch = np.dtype(plan.accumulator), len(plan.axes), Scratch()
    found = factors(w, plan.target_precision)
    passes = dims * (growth(found) if len(found) > 1 else 1.0)

    def term(parts: tuple[Matrix, ...]) -> _Term:
        runs = [longest_run(f, plan.precision, w.size, passes) if plan.precision else len(f) for f in parts]
        return _Term([f.astype(kind) for f in parts], runs, plan, scratch)

    terms = [term(parts) for parts in found]

    def tile(block: Matrix, out: Matrix) -> None:
        lead = out.ndim - dims - 1
        items, samples, *inner = math.prod(block.shape[:lead]), *block.shape[lead:]
        if math.prod(inner) < WIDE:
            x = scratch("samples", (items, samples, *inner), block.dtype)
            x.reshape(block.shape)[...] = block
        else:
            x = as_matrix(block, (items, samples, math.prod(inner))).reshape(items, samples, *inner)
        pairwise_sum(terms, lambda term, share: term(x, share, out.shape[lead:-1]), out)

    return tile


class _Term:
    """One product of factors: a pass along each axis, first to last."""

    def __init__(self, parts: list[Matrix], runs: list[int], plan: Plan, scratch: Scratch) -> None:
        self.scratch = scratch
        widths = pass_widths(plan.facts, plan.axes)
        self.passes = [
            _pass(f, axis, width, pieces(len(f), run))
            for f, axis, width, run in zip(parts, plan.axes, widths, runs, strict=True)
        ]

    def __call__(self, x: Matrix, out: Matrix, sizes: tuple[int, ...]) -> None:
        """Fill out (A, m, ...) from x (A, n, ...), of `sizes` outputs: each pass lays the next axis open."""
        *before, last = self.passes
        for at, (run, outputs) in enumerate(zip(before, sizes, strict=False)):
            rows = self._middle(at, (len(x), outputs, math.prod(x.shape[2:])), x.dtype, isinstance(run, Along))
            run(x.reshape(*x.shape[:2], -1), rows)
            x = rows.reshape(len(x) * outputs, *x.shape[2:])
        last(x.reshape(*x.shape[:2], -1), out.reshape(len(x), sizes[-1], -1))

    def _middle(self, at: int, shape: tuple[int, int, int], dtype: np.dtype[Any], flat: bool) -> Matrix:
        """Rows (A, m, Z) between two passes; what stands behind an item is one row where the pass wants it `flat`."""
        items, outputs, values = (shape[0], 1, shape[1] * shape[2]) if flat else shape
        room = self.scratch(f"middle {at}", (items, outputs, unlike(values, dtype.itemsize)), dtype)
        return room[..., :values].reshape(shape)


def _pass(taps: Matrix, axis: Axis, width: int, cuts: list[slice]) -> Down | Along:
    if width >= WIDE:
        return Down(taps, axis.stride, axis.dilation, cuts)
    return Along(taps, axis.stride, axis.dilation, width, cuts)
