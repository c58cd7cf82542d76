"""A kernel that is a sum of products of 1-D factors: one pass along each axis, for each term.

A Gaussian is a column times a row, so a column pass and a row pass do the work of the whole window, with 2*k
multiplications a sample where the window has k*k. Kernels of rank r take r such pairs, which are added::

      w = v1 x h1 + v2 x h2          strip of rows --v1--> middle --h1--> share
                                                   --v2--> middle --h2--> share, added

Every pass is a product with a band matrix, strip by strip, so that the middle stays in the cache. A signal has one
axis, and its kernel is its own only factor.
Source: Treitel and Shanks, "The design of multistage separable planar filters", 1971.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from convcli.engine.bands import WIDE, Before, Behind, Matrix, as_matrix, span, unlike
from convcli.engine.factors import factors, growth, longest_run
from convcli.engine.pairwise import add_up
from convcli.engine.threads import Scratch
from convcli.engine.windows import Tile
from convcli.planner import STRIP_VALUES, Plan
from convcli.shapes import Axis


def prepare(w: Matrix, plan: Plan) -> Tile:
    """Ready one kernel (*window), in any type; it is factored in float64."""
    kind, dims = np.dtype(plan.accumulator), len(plan.axes)
    found = factors(w, plan.fineness)
    spread = growth(found) if len(found) > 1 else 1.0

    def term(parts: tuple[Matrix, ...]) -> _Term:
        runs = [longest_run(f, dims, spread, plan.precision) if plan.precision else len(f) for f in parts]
        return _Term([f.astype(kind) for f in parts], runs, plan)

    terms = [term(parts) for parts in found]
    first = plan.axes[0]

    def tile(block: Matrix, out: Matrix) -> None:
        lead = out.ndim - dims - 1
        rows = as_matrix(block, (math.prod(block.shape[:lead]), block.shape[lead], math.prod(block.shape[lead + 1 :])))
        sums = out.reshape(len(rows), out.shape[lead], -1)
        items, strip = _strips(rows.shape[2], sums.shape[1])
        for item in range(0, len(rows), items):
            for start in range(0, sums.shape[1], strip):
                target = sums[item : item + items, start : start + strip]
                begin = start * first.stride
                seen = rows[item : item + items, begin : begin + span(first, target.shape[1])]
                add_up(terms, lambda term, share, seen=seen: term(seen, share), target)  # type: ignore[misc]

    return tile


def _strips(values: int, outputs: int) -> tuple[int, int]:
    """Items and rows of a strip, so that what stands between two passes stays in the cache."""
    rows = max(STRIP_VALUES // values // 16 * 16, 8)
    return (max(STRIP_VALUES // (values * outputs), 1), outputs) if rows >= outputs else (1, rows)


class _Term:
    """One product of factors: a pass along each axis, first to last."""

    def __init__(self, parts: list[Matrix], runs: list[int], plan: Plan) -> None:
        self.axes, self.scratch = plan.axes, Scratch()
        after = [axis.padded for axis in plan.axes[1:]] + [plan.facts.lanes]
        self.widths = [math.prod(after[at:]) for at in range(len(after))]
        self.passes = [
            _pass(f, axis, width, run) for f, axis, width, run in zip(parts, self.axes, self.widths, runs, strict=True)
        ]

    def __call__(self, x: Matrix, out: Matrix) -> None:
        """Fill out (A, m, ...) from x (A, n, Z): each pass leaves its axis shorter and lays the next one open."""
        flat: Matrix | None = None
        for at, run in enumerate(self.passes):
            outputs = _outputs(x.shape[1], self.axes[at])
            shape = (len(x), outputs, self.widths[at])
            if at == len(self.passes) - 1:
                rows, ahead = out, None
            else:
                ahead, rows = self._middle(at, len(x) * outputs, x.dtype)
            run(x, rows.reshape(shape), flat)
            if at < len(self.passes) - 1:
                x, flat = rows.reshape(len(rows), self.axes[at + 1].padded, -1), ahead

    def _middle(self, at: int, count: int, dtype: np.dtype[Any]) -> tuple[Matrix | None, Matrix]:
        """Rows for what stands after a pass, laid out as the next one likes them."""
        width, following = self.widths[at], self.passes[at + 1]
        if isinstance(following, Behind):
            return following.room(self.scratch, f"middle {at}", count, width)
        return None, self.scratch(f"middle {at}", (count, unlike(width, dtype.itemsize)), dtype)[:, :width]


def _pass(taps: Matrix, axis: Axis, width: int, run: int) -> Before | Behind:
    return Before(taps, axis, run) if width >= WIDE else Behind(taps, axis, width, run)


def _outputs(samples: int, axis: Axis) -> int:
    return (samples - axis.reach) // axis.stride + 1
