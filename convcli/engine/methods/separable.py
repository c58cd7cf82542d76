"""A kernel that is a sum of products of 1-D factors: one pass along each axis, for each term.

A Gaussian is a column times a row, so a column pass and a row pass replace the whole window, with
2*k multiplications per sample instead of k*k. A kernel of rank r needs r such pairs, whose results
are added::

      w = v1 x h1 + v2 x h2          strip of rows --v1--> middle --h1--> share
                                                   --v2--> middle --h2--> share, added

Every pass is a product with a band matrix, tile by tile, so that the middle stays in the cache. A
signal has one axis, and its kernel is its only factor. Its samples are copied first, because a
product along them reads at many close positions at a time and would wait for memory at each.
Source: Treitel and Shanks, "The design of multistage separable planar filters", 1971.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from convcli.engine.analysis import factors, growth, longest_run, run_length
from convcli.engine.methods.bands import Along, Down, Matrix, as_matrix, pieces, unlike
from convcli.engine.methods.base import CostEstimate, Method, Needs, TileFunction
from convcli.engine.methods.summation import pairwise_sum, pending_sums
from convcli.engine.planning.costs import CALL, MAC
from convcli.engine.planning.facts import GROWTH, MOST_TERMS, TiledWork, Work
from convcli.engine.planning.tiles import (
    ALONG,
    BAND_SAMPLES,
    BAND_TILE,
    DOWN,
    ODD,
    TILES,
    WIDE,
    band_tile,
    pass_widths,
)
from convcli.engine.threads import Scratch
from convcli.shapes.axis import Axis, samples_under

PASS = 0.32
"""Nanoseconds of one output of a pass along an axis, which the next pass reads from the cache."""


class Separable(Method):
    """A sum of products of 1-D factors, each a pass along every axis."""

    name = "separable"
    pads_rows = True
    stores_down_rows = True

    def refusal(self, work: Work) -> str:
        if work.facts.filters is None:
            return ""
        return "a bank's kernels are not products of 1-D factors"

    def cost(self, work: Work) -> CostEstimate:
        facts, axes, terms = work.facts, work.axes, work.facts.terms or 1
        padded = math.prod(axis.padded for axis in axes[1:])
        after = math.prod(facts.batch) * axes[0].out * padded * facts.channels
        each = 0.0
        for at, axis in enumerate(axes):
            if at:
                after = after * axis.out // axis.padded
            inner = math.prod(a.padded for a in axes[at + 1 :]) * facts.channels
            repeats, block = (1, DOWN) if inner >= WIDE else (inner, max(ALONG // inner, 1))
            each += after * (axis.span(block) * repeats * MAC + PASS)
        return CostEstimate(
            CALL * terms + each * terms, self._account(work, terms), self._drawback(facts.terms)
        )

    @staticmethod
    def _drawback(terms: int | None) -> str:
        if terms is None:
            return "looking for the kernel's 1-D factors would take longer than they save"
        return "" if terms else "the kernel is not a short sum of exact products of 1-D factors"

    @staticmethod
    def _account(work: Work, terms: int) -> str:
        if len(work.axes) == 1:
            return "a signal under its kernel's band"
        if terms > 1:
            return f"the kernel is a sum of {terms} products of 1-D factors"
        return "the kernel is a product of 1-D factors"

    def tile(self, work: Work) -> tuple[int, ...]:
        enough, most = BAND_TILE
        budget = min(max(work.outputs // (2 * TILES), enough), most) // work.facts.channels
        return band_tile(work, budget, BAND_SAMPLES, whole_rows=not self.columns_are_rows(work))

    def memory(self, work: Work, tile: tuple[int, ...]) -> Needs:
        terms, outputs, size = work.facts.terms or MOST_TERMS, tile[1:], self.itemsize(work)
        lead, channels = work.lead(tile), work.facts.channels

        # The results between two passes, and the samples if they are copied before the first.
        middles = [
            lead
            * math.prod(outputs[:at])
            * (samples_under(work.axes[at:], outputs[at:]) * channels + ODD)
            for at in range(1, len(outputs))
        ]
        narrow = samples_under(work.axes[1:], outputs[1:]) * channels < WIDE
        copied = work.tile_samples(tile) if narrow or len(work.facts.batch) > 1 else 0

        # The pending sums of the pieces of a pass, and of the terms.
        passes = len(outputs) * (1.0 if terms == 1 else GROWTH)
        runs = [
            run_length(axis.k, axis.k, self.precision(work), work.terms, passes)
            for axis in work.axes
        ]
        counts = [-(-axis.k // run) for axis, run in zip(work.axes, runs, strict=True)]
        sums = work.tile_outputs(tile) + lead * math.prod(outputs[:-1]) * ODD
        within = max(
            pending_sums(n) * values for n, values in zip(counts, (*middles, sums), strict=True)
        )
        waiting = within + pending_sums(terms) * work.tile_outputs(tile)

        bands = sum((axis.span(ALONG) * ALONG + axis.k) * WIDE for axis in work.axes)
        shared = terms * bands * size + work.taps * terms * 8
        return Needs(shared, (copied + sum(middles) + waiting) * size)

    def prepare(self, w: Matrix, plan: TiledWork) -> TileFunction:
        """Factor the kernel in float64 and build the bands of every factor."""
        dtype, dims, scratch = np.dtype(plan.accumulator), len(plan.axes), Scratch()
        found = factors(w, plan.target_precision)
        passes = dims * (growth(found) if len(found) > 1 else 1.0)
        terms = [
            _Term(
                [factor.astype(dtype) for factor in parts],
                [longest_run(factor, plan.precision, w.size, passes) for factor in parts],
                plan,
                scratch,
            )
            for parts in found
        ]

        def tile(block: Matrix, out: Matrix) -> None:
            lead = out.ndim - dims - 1
            items, samples, *inner = math.prod(block.shape[:lead]), *block.shape[lead:]
            if math.prod(inner) < WIDE:
                x = scratch("samples", (items, samples, *inner), block.dtype)
                x.reshape(block.shape)[...] = block
            else:
                x = as_matrix(block, (items, samples, math.prod(inner))).reshape(
                    items, samples, *inner
                )
            pairwise_sum(terms, lambda term, share: term(x, share, out.shape[lead:-1]), out)

        return tile

    def rounds_sums(self, work: Work) -> bool:
        return work.facts.terms != 1

    def spreads_nan(self, work: Work) -> bool:
        return True

    def columns_are_rows(self, work: Work) -> bool:
        return pass_widths(work)[0] >= WIDE

    def rows_per_band(self, work: Work) -> int:
        bands = self.columns_are_rows(work) and len(work.axes) > 1 and work.axes[0].dilation == 1
        return DOWN if bands else 1


METHOD = Separable()


class _Term:
    """One product of factors: a pass along each axis, from the first to the last."""

    def __init__(
        self, parts: list[Matrix], runs: list[int], plan: TiledWork, scratch: Scratch
    ) -> None:
        self.scratch = scratch
        self.passes = [
            _pass(f, axis, width, pieces(len(f), run))
            for f, axis, width, run in zip(parts, plan.axes, pass_widths(plan), runs, strict=True)
        ]

    def __call__(self, x: Matrix, out: Matrix, sizes: tuple[int, ...]) -> None:
        """Compute out (A, m, ...) from x (A, n, ...), with `sizes` outputs, pass by pass."""
        *before, last = self.passes
        for at, (run, outputs) in enumerate(zip(before, sizes, strict=False)):
            rows = self._middle(
                at, (len(x), outputs, math.prod(x.shape[2:])), x.dtype, isinstance(run, Along)
            )
            run(x.reshape(*x.shape[:2], -1), rows)
            x = rows.reshape(len(x) * outputs, *x.shape[2:])
        last(x.reshape(*x.shape[:2], -1), out.reshape(len(x), sizes[-1], -1))

    def _middle(
        self, at: int, shape: tuple[int, int, int], dtype: np.dtype[Any], flat: bool
    ) -> Matrix:
        """Return an array (A, m, Z) between two passes; flat: with contiguous items."""
        items, outputs, values = (shape[0], 1, shape[1] * shape[2]) if flat else shape
        room = self.scratch(f"middle {at}", (items, outputs, unlike(values, dtype.itemsize)), dtype)
        return room[..., :values].reshape(shape)


def _pass(taps: Matrix, axis: Axis, width: int, cuts: list[slice]) -> Down | Along:
    if width >= WIDE:
        return Down(taps, axis.stride, axis.dilation, cuts)
    return Along(taps, axis.stride, axis.dilation, width, cuts)
