"""A kernel that is a sum of products of 1-D factors: one pass along each axis, for each term.

A Gaussian is a column times a row, so a column pass and a row pass replace the whole window, with
2*k multiplications per sample instead of k*k. A kernel of rank r needs r such pairs, whose results
are added::

      w = v1 x h1 + v2 x h2          strip of rows --v1--> middle --h1--> share
                                                   --v2--> middle --h2--> share, added

Every pass is a product with a band matrix, or adds neighbours if the factor's taps are equal, as a
box's are. It computes tile by tile, so that the middle stays in the cache. If a tile is whole along
all axes but the first, each pass pads what the next one reads, and samples are read in place. A
signal has one axis, and its kernel is its only factor. Its samples are copied first, because a
product along them reads at many close positions at a time and would wait for memory at each.
Source: Treitel and Shanks, "The design of multistage separable planar filters", 1971.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from convcli.engine.analysis import factors, growth, longest_run, run_length
from convcli.engine.methods.bands import Along, Down, Matrix, as_matrix, pieces
from convcli.engine.methods.base import (
    CostEstimate,
    Method,
    Needs,
    TileFunction,
    recomputed_outputs,
)
from convcli.engine.methods.passes import Pass, TapPass, Term, padded_sides
from convcli.engine.methods.summation import pairwise_sum, pending_sums
from convcli.engine.methods.sums import LEVELS, Sums, doubling_steps
from convcli.engine.planning.costs import CALL, CONVERT, MAC
from convcli.engine.planning.facts import GROWTH, MOST_TERMS, TiledWork, Work
from convcli.engine.planning.tiles import (
    ALONG,
    BAND_SAMPLES,
    BAND_TILE,
    DOWN,
    ODD,
    WIDE,
    band_tile,
    pass_widths,
    strip,
)
from convcli.engine.threads import Scratch
from convcli.shapes.axis import samples_under

PASS = 0.38
"""Nanoseconds of one output of a pass along an axis, which the next pass reads from the cache."""

ADD, ADD_NARROW = 0.26, 0.08
"""Nanoseconds of adding two arrays of a tile in float32, and in 16 bits, a value. One thread alone
takes 0.11 and 0.06: it shares the cache, and the interpreter between the calls, with others."""

NARROW = {"uint8": ("uint16", 257), "int8": ("int16", 255)}
"""For types of 8 bits, an integer type of 16 bits and how many samples it can hold the sum of."""

HOLDS = {"uint16": (1 << 16) - 1, "int16": (1 << 15) - 1}
"""The largest sums that such a type holds."""

ADDED = 1 << 20
"""Bytes of the outputs of a tile whose passes are all sums: their partial sums fit the cache."""

SLAB = 24 << 20
"""Most bytes of a tile that is whole along all axes but the first."""


class Separable(Method):
    """A sum of products of 1-D factors, each a pass along every axis."""

    name = "separable"

    def refusal(self, work: Work) -> str:
        if work.facts.filters is None:
            return ""
        return "a bank's kernels are not products of 1-D factors"

    def cost(self, work: Work) -> CostEstimate:
        facts, axes, terms = work.facts, work.axes, work.facts.terms or 1
        padded = math.prod(axis.padded for axis in axes[1:])
        after = math.prod(facts.batch) * axes[0].out * padded * facts.channels
        types = _sum_types(work)
        each = CALL * (1 + sum(map(bool, types)))
        for at, axis in enumerate(axes):
            if at:
                after = after * axis.out // axis.padded
            adds = bool(types[at])
            each += after * (_sum_cost(work, at, types[at]) if adds else _band_cost(work, at))
        time = each * terms
        if self.keeps_dtype(work):  # its passes convert
            time += math.prod((*facts.batch, *facts.spatial)) * facts.channels * CONVERT
        return CostEstimate(time, self._account(work, terms), self._drawback(facts.terms))

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
        budget = BAND_TILE // work.facts.channels
        if self.pads_inner(work):
            rest = work.sizes[1:]
            if all(_sum_types(work)):
                budget = ADDED // (2 if self.keeps_dtype(work) else 4) // work.facts.channels
            rows = budget // math.prod(rest)
            rows = min(max(rows, work.axes[0].reach // 2), _slab_rows(work))
            return strip(work, rows * math.prod(rest), rest, DOWN)
        return band_tile(work, budget, BAND_SAMPLES, whole_rows=not self.columns_are_rows(work))

    def memory(self, work: Work, tile: tuple[int, ...]) -> Needs:
        terms, outputs, size = work.facts.terms or MOST_TERMS, tile[1:], self.itemsize(work)
        lead, channels = work.lead(tile), work.facts.channels
        inner = self.pads_inner(work)

        # The results between two passes, and the samples if they are copied before the first.
        first, *middles = (
            lead * math.prod(outputs[:at]) * (samples * channels + 2 * ODD)
            for at, samples in enumerate(_pass_samples(work, outputs, inner))
        )
        copied = first if self._copies_samples(work, tile) else 0

        # The pending sums of the pieces of a pass, and of the terms, or the partial sums of a pass.
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
        read = zip((first, *middles), _sum_types(work), strict=True)
        added = [n for n, kind in read if kind]
        levels = (LEVELS + 1) * max(added, default=0)

        bands = sum((axis.span(ALONG) * ALONG + axis.k) * WIDE for axis in work.axes)
        shared = terms * bands * size + work.taps * terms * 8
        return Needs(shared, (copied + sum(middles) + waiting + levels) * size)

    def _copies_samples(self, work: Work, tile: tuple[int, ...]) -> bool:
        """Return whether the samples of a tile may be copied before the first pass."""
        inner = _pass_samples(work, tile[1:], self.pads_inner(work))[0]
        values = inner // work.axes[0].span(tile[1]) * work.facts.channels
        return values < WIDE or len(work.facts.batch) > 1

    def definition_memory(self, work: Work, tile: tuple[int, ...]) -> Needs:
        redone, inner = recomputed_outputs(work, tile), self.pads_inner(work)
        outputs = (min(-(-redone * tile[1] // work.tile_outputs(tile)), tile[1]), *tile[2:])
        first, *middles = (
            work.lead(tile) * math.prod(outputs[:at]) * samples * work.facts.channels
            for at, samples in enumerate(_pass_samples(work, outputs, inner))
        )
        terms, sizes = work.facts.terms or MOST_TERMS, [axis.k for axis in work.axes]
        pending = pending_sums(max(sizes)) + pending_sums(terms) + 1
        values = sum(middles) + pending * max([*middles, redone])
        copied = first if self._copies_samples(work, tile) else 0
        return Needs(terms * sum(sizes) * 16, (copied + values) * 8)

    def prepare(self, w: Matrix, plan: TiledWork) -> TileFunction:
        """Factor the kernel in float64 and build the passes of every product."""
        found = factors(w, plan.target_precision)
        passes = len(plan.axes) * (growth(found) if len(found) > 1 else 1.0)
        runs = [[longest_run(f, plan.precision, w.size, passes) for f in parts] for parts in found]
        types, pads, scratch = _middle_types(plan), self.pads_inner(plan), Scratch()
        return self._tile_function(
            [
                Term(parts, _fast_passes(parts, longest, plan, scratch), types, plan, pads, scratch)
                for parts, longest in zip(found, runs, strict=True)
            ],
            plan,
            scratch,
        )

    def definition(self, w: Matrix, plan: TiledWork) -> TileFunction:
        """Return the same passes as sums over taps, in float64."""
        types, pads = ["float64"] * len(plan.axes), self.pads_inner(plan)
        scratch = Scratch()
        terms = [
            Term(parts, list(map(TapPass, parts, plan.axes)), types, plan, pads, scratch)
            for parts in factors(w, plan.target_precision)
        ]
        return self._tile_function(terms, plan, scratch)

    @staticmethod
    def _tile_function(terms: list[Term], plan: TiledWork, scratch: Scratch) -> TileFunction:
        def tile(block: Matrix, out: Matrix) -> None:
            lead = out.ndim - len(plan.axes) - 1
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

    def accumulator(self, work: Work) -> str:
        facts, kind = work.facts, _sum_types(work)[-1] if work.facts.ones else ""
        is_held = facts.integral is not None and facts.integral <= HOLDS.get(kind, -1)
        return kind if is_held else super().accumulator(work)

    def rounds_sums(self, work: Work) -> bool:
        return work.facts.terms != 1

    def spreads_nan(self, work: Work) -> bool:
        return not all(_sum_types(work))

    def pads_inner(self, work: Work) -> bool:
        *others, _ = _widths(work, inner=True)
        if work.facts.exact or not others or min(others) < WIDE:
            return False
        return _slab_rows(work) >= min(max(work.axes[0].reach // 4, DOWN), work.sizes[0])

    def keeps_dtype(self, work: Work) -> bool:
        return _sum_types(work)[0] in HOLDS

    def columns_are_rows(self, work: Work) -> bool:
        return not self.pads_inner(work) and pass_widths(work)[0] >= WIDE


METHOD = Separable()


def _sum_types(work: Work) -> tuple[str, ...]:
    """Return, for each axis, the type in which its pass adds neighbours; "" if it is a band."""
    if not any(work.facts.flat):
        return ("",) * len(work.axes)
    if METHOD.name not in work.found:
        work.found[METHOD.name] = _find_sum_types(work)
    types: tuple[str, ...] = work.found[METHOD.name]
    return types


def _find_sum_types(work: Work) -> tuple[str, ...]:
    types = []
    narrow, most = NARROW.get(work.facts.input_dtype, ("", 0))
    if work.spec.boundary == "constant" and work.spec.cval:
        most = 0
    for at, (axis, flat) in enumerate(zip(work.axes, work.facts.flat, strict=True)):
        most //= axis.k
        kind = narrow if most else Method.accumulator(METHOD, work)
        adds = flat and axis.stride == 1 and _sum_cost(work, at, kind) < _band_cost(work, at)
        types.append(kind if adds else "")
        most = most if adds else 0
    return tuple(types)


def _sum_cost(work: Work, at: int, kind: str) -> float:
    """Return the nanoseconds of an output of a pass that adds neighbours in a type.

    They are those of float32: twice as many are counted later if the accumulator is float64.
    """
    return (len(doubling_steps(work.axes[at].k)) + 1) * (ADD_NARROW if kind in HOLDS else ADD)


def _band_cost(work: Work, at: int) -> float:
    """Return the nanoseconds of an output of a pass that is a product with a band."""
    inner = math.prod(axis.padded for axis in work.axes[at + 1 :]) * work.facts.channels
    repeats, block = (1, DOWN) if inner >= WIDE else (inner, max(ALONG // inner, 1))
    return work.axes[at].span(block) * repeats * MAC + PASS


def _widths(work: Work, inner: bool) -> list[int]:
    """Return the contiguous values of a sample of each pass; inner: if `pads_inner`."""
    if not inner:
        return pass_widths(work)
    after = [*(axis.n for axis in work.axes[1:]), work.facts.channels]
    return [math.prod(after[at:]) for at in range(len(after))]


def _slab_rows(work: Work) -> int:
    """Return the most rows of a tile that is whole along all axes but the first."""
    first, *rest = work.axes
    levels = LEVELS + 1 if any(_sum_types(work)) else 0
    row = math.prod(axis.n for axis in rest) * work.facts.channels
    padded = math.prod(sum(padded_sides(axis)) + axis.n for axis in rest) * work.facts.channels
    left = SLAB // METHOD.itemsize(work) - first.reach * row * (1 + levels)
    return max(left // (padded * (1 + len(work.axes) + levels)), 0)


def _pass_samples(work: Work, outputs: tuple[int, ...], inner: bool) -> list[int]:
    """Return the samples of a channel that each pass reads, for outputs of a tile.

    They are counted per output along the axes before. inner: if `pads_inner`.
    """
    if not inner:
        return [samples_under(work.axes[at:], outputs[at:]) for at in range(len(outputs))]
    padded = [
        work.axes[0].span(outputs[0]),
        *(axis.n + sum(padded_sides(axis)) for axis in work.axes[1:]),
    ]
    after = [*(axis.n for axis in work.axes[1:]), 1]
    return [n * math.prod(after[at:]) for at, n in enumerate(padded)]


def _fast_passes(
    parts: Sequence[Matrix], runs: Sequence[int], plan: TiledWork, scratch: Scratch
) -> list[Pass]:
    """Return a pass for each factor: sums for equal taps, otherwise bands of runs of taps."""
    types = _sum_types(plan)
    widths = _widths(plan, METHOD.pads_inner(plan))

    # The taps of the sums are one number, by which another factor or the last sums are scaled.
    scale = math.prod(float(part[0]) for part, kind in zip(parts, types, strict=True) if kind)
    scaled = types.index("") if "" in types else len(parts) - 1
    passes: list[Pass] = []
    for at, (part, axis) in enumerate(zip(parts, plan.axes, strict=True)):
        share = scale if at == scaled else 1.0
        if types[at]:
            passes.append(Sums(axis.k, axis.dilation, share, np.dtype(types[at]), scratch))
            continue
        taps, cuts = (share * part).astype(plan.accumulator), pieces(axis.k, runs[at])
        if widths[at] >= WIDE:
            passes.append(Down(taps, axis.stride, axis.dilation, cuts))
        else:
            passes.append(Along(taps, axis.stride, axis.dilation, widths[at], cuts))
    return passes


def _middle_types(plan: TiledWork) -> list[str]:
    """Return the types of the results between passes: bands read the accumulator's type."""
    return [
        kind if kind and following else plan.accumulator
        for kind, following in itertools.pairwise(_sum_types(plan))
    ]
