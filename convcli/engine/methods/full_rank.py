"""A kernel of any rank as one band: each row of samples stands once for every tap along it, shifted.

In rows stacked so, a window is a run of samples down a column, and the kernel, row after row, one line of taps that
slides down by as many samples as a row has copies. So a full-rank kernel is a band from the left (here 3x3)::

    [ y row 0 ]   [ w00 w01 w02 w10 w11 w12 w20 w21 w22  .   .   .  ]   [ x row 0            ]
    [ y row 1 ] = [  .   .   .  w00 w01 w02 w10 w11 w12 w20 w21 w22 ] @ [ x row 0, one on    ]
                                                                        [ x row 0, two on    ]
                                                                        [ x row 1            ]
                                                                        [ ..                 ]

A copy costs less than the arithmetic of its taps, and keeps only what the outputs want: stride and dilation along the
rows are settled by it, and channels and inner axes lie flat. The copies stay in the cache: a tile is taken
panel by panel, of few rows and many columns, for products that wait for memory run at half their speed. Large kernels
are cut into pieces, whose results are added: so that no sum strays too far, and that panels are not too slim.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from convcli.engine.analysis import longest_run, run_length
from convcli.engine.methods.bands import Matrix, band, down_blocks, pieces, undilated, unlike
from convcli.engine.methods.base import CostEstimate, Method, Needs, TileFunction
from convcli.engine.methods.summation import pairwise_sum, pending_sums
from convcli.engine.methods.windows import Box, cuts
from convcli.engine.planning.costs import CALL, GATHER, MAC, TOUCH
from convcli.engine.planning.facts import Work
from convcli.engine.planning.plan import Plan
from convcli.engine.planning.tiles import DOWN, ODD, TILES, WIDE, band_tile, evenly
from convcli.engine.threads import Scratch

STEPPED = 1.0
"""Nanoseconds more of one copy if the row is stepped through, for up to STEPPED_CHANNELS channels."""

STEPPED_CHANNELS = 8

PIECE = 225
"""Taps of a kernel that one product adds: a larger one is a sum of pieces."""

FULL_TILE = (1 << 18, 3 << 19)
"""Outputs in a tile, if it leaves twice TILES of them, and the most: 6 MiB of float32. Over smaller tiles two threads
took a tenth longer: while one makes the views of a tile, the other waits for the interpreter."""

AMPLE = 1 << 25
"""Multiply-adds of such a tile that are enough even if its outputs are fewer."""

FEW_TAPS = 128
"""Taps of a kernel up to which it is rarely taken in pieces, whose sums wait for each other: beyond, tiles are half as
large."""

FULL_SEEN = 1 << 18
"""Samples that such a tile may see besides as many as it has outputs."""

PANEL_VALUES = 1 << 18
"""Values of the stacked copies of a panel: 1 MiB of float32, in a second-level cache."""

PANEL_ROWS = 32
"""Outputs in a column of a panel, if that leaves it a row to be cut: few, so that its rows are long, for a processor
reads ahead along a row; fewer would copy more of the rows that several panels see."""

WHOLE_PANELS = 4
"""Panels in a column of a tile from which it has as many rows as they fill: fewer may overlap instead."""

PANEL_WIDTH = 64
"""Values in its row, at least: slimmer products are slow."""

FEW_CHANNELS = 6
"""Channels that are copied one by one under a stride: runs of so few samples take two to three times as long."""


class FullRank(Method):
    """One kernel as a band matrix over stacked rows, panel by panel."""

    name = "gemm"
    worth_sharing = 2.6e-3  # many short calls, between which threads wait for the interpreter
    pads_rows = True

    def refusal(self, work: Work) -> str:
        return "" if work.facts.filters is None else "a bank has many kernels"

    def cost(self, work: Work) -> CostEstimate:
        axes, taps, copies = work.axes, work.terms, math.prod(work.facts.window[1:])
        account = f"{taps} taps as one band, over rows that stand {copies} times"
        stepped = len(axes) > 1 and axes[-1].stride > 1
        gather = GATHER + (STEPPED / -(-work.facts.channels // STEPPED_CHANNELS) if stepped else 0)
        piece = copies * ((DOWN - 1) * axes[0].stride * MAC + gather) + TOUCH
        each = taps * MAC + -(-taps // PIECE) * piece
        if len(axes) == 1 and work.facts.channels < WIDE:
            return CostEstimate(work.outputs * 100 * each, account, "a signal's band goes along it: separable")
        return CostEstimate(CALL + work.outputs * each, account)

    def tile(self, work: Work) -> tuple[int, ...]:
        enough, most = FULL_TILE
        most //= self.itemsize(work) // 4 * (1 if work.terms <= FEW_TAPS else 2)
        enough = min(enough, AMPLE // work.terms)
        budget = min(max(work.outputs // (2 * TILES), enough), most)
        budget //= work.facts.channels + (0 if len(work.axes) > 1 else ODD)
        return band_tile(
            work, budget, most + FULL_SEEN, lambda rows: PANEL_ROWS if rows >= WHOLE_PANELS * PANEL_ROWS else DOWN
        )

    def memory(self, work: Work, tile: tuple[int, ...]) -> Needs:
        rows, *rest = work.facts.window if len(work.facts.window) > 1 else (*work.facts.window, 1)
        first, size = work.axes[0], self.itemsize(work)

        # Pieces of the kernel, and the band of each.
        longest = run_length(work.terms, work.terms, self.precision(work), work.terms)
        stride = first.stride // math.gcd(first.stride, first.dilation)
        copies = min(stacked_taps(rows, stride), longest, math.prod(rest))
        number, left = -(-rows // max(longest // copies, 1)), copies
        for k in reversed(rest):
            number *= -(-k // min(k, left))
            left = max(left // k, 1)
        bands = DOWN * (work.terms + DOWN * number * copies * first.stride)

        # The stacked copies of a panel, the sums of pieces, and the samples if their items have to be merged.
        places, *inner = (*tile[2:], 1)[: max(len(rest), 1)]
        each = math.prod(inner) * work.facts.channels
        whole = Panel(work.lead(tile), tile[1], places)
        part = panel(whole, each, copies, rows, stride)
        stacks = [
            some.items * ((some.rows - 1) * stride + rows) * copies * (some.places * each + ODD)
            for some in (whole, part)
        ]
        stack = min(stacks[0], max(stacks[1], PANEL_VALUES))
        moved = work.tile_samples(tile) if len(work.facts.batch) > 1 else 0
        waiting = pending_sums(number) * work.tile_outputs(tile)
        return Needs((work.terms + bands) * size + work.terms * 16, (stack + moved + waiting) * size)

    def prepare(self, w: Matrix, plan: Plan) -> TileFunction:
        w = w.astype(plan.accumulator)
        return _Stacked(w[:, None] if w.ndim == 1 else w, plan)

    def spreads_nan(self, work: Work) -> bool:
        return True

    def keeps_dtype(self, work: Work) -> bool:
        return work.spec.boundary != "constant" or work.spec.cval == 0

    def columns_are_rows(self, work: Work) -> bool:
        return True

    def rows_per_band(self, work: Work) -> int:
        return DOWN if len(work.axes) > 1 and work.axes[0].dilation == 1 else 1


METHOD = FullRank()


class Panel(NamedTuple):
    """What is computed at a time: so many items, and outputs along the first two axes."""

    items: int
    rows: int
    places: int


def panel(sizes: Panel, values: int, copies: int, k: int, stride: int) -> Panel:
    """Cut a tile of such sizes into equal panels, of which the last ones may overlap the ones before.

    values: behind a place. copies: of a row in the stack. k: taps down the rows.

    >>> panel(Panel(1, 256, 4094), 1, copies=3, k=3, stride=1)
    Panel(items=1, rows=32, places=2047)
    >>> panel(Panel(1000, 8, 8), 1, copies=3, k=3, stride=1)
    Panel(items=200, rows=8, places=8)
    """
    fitting = (PANEL_VALUES // (copies * (sizes.places * values + ODD)) - k) // stride + 1
    rows = max(fitting // DOWN * DOWN, PANEL_ROWS)
    rows = min(-(-evenly(sizes.rows, rows) // DOWN) * DOWN, sizes.rows)
    stacked = copies * ((rows - 1) * stride + k)
    width = max(PANEL_VALUES // stacked - ODD, PANEL_WIDTH)
    places = evenly(sizes.places, max(width // values, 1))
    together = PANEL_VALUES // (stacked * (places * values + ODD)) if (rows, places) == sizes[1:] else 1
    return Panel(evenly(sizes.items, max(together, 1)), rows, places)


def stacked_taps(k: int, stride: int) -> int:
    """Return how many copies of a panel's rows, one for each tap along them, fit, under k taps down the rows."""
    return max(PANEL_VALUES // (((PANEL_ROWS - 1) * stride + k) * PANEL_WIDTH), 1)


class _View(NamedTuple):
    """How a view goes over memory: the arguments of as_strided."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Piece(NamedTuple):
    """Some taps of the kernel, and the band that they make down the stacked rows."""

    box: Box
    k: int
    """Rows of taps."""
    copies: tuple[int, ...]
    """Taps along each of the other axes."""
    band: Matrix


class _Product(NamedTuple):
    """Blocks of outputs that one call fills: all of a panel's, but for a last one of fewer rows."""

    band: Matrix
    sample: int
    """The first stacked row that they meet."""
    seen: _View
    row: int
    """The first row of outputs."""
    filled: _View
    """Of the outputs, behind where a panel begins."""


class _Cut(NamedTuple):
    """How a tile is taken: what all tiles of its shape share, for views cost more than they seem to.

    While one thread makes them, the others wait for the interpreter.
    """

    starts: list[tuple[int, ...]]
    """Where panels begin: the item, the row and the place."""
    samples: _View
    """Of the tile, behind where a panel begins: (items, samples, *copies, places, ..)."""
    stack: tuple[int, int]
    """Stacked rows of a panel, and values from one to the next."""
    copied: _View
    """Of the stack, as the copies are laid down."""
    products: list[_Product]


class _Stacked:
    def __init__(self, w: Matrix, plan: Plan) -> None:
        self.kind = w.dtype
        self.dims, self.rest, self.scratch = len(plan.axes), plan.axes[1:], Scratch()
        self.stride, self.phases = undilated(plan.axes[0].stride, plan.axes[0].dilation)
        longest = longest_run(w.ravel(), plan.precision, w.size)
        self.pieces = [self._piece(box, w) for box in _boxes(w.shape, stacked_taps(len(w), self.stride), longest)]
        self.cuts: dict[tuple[int, ...], _Cut] = {}

    def _piece(self, box: Box, w: Matrix) -> _Piece:
        k, *copies = w[box].shape
        matrix = band(w[box].ravel(), math.prod(copies) * self.stride, 1, DOWN)
        return _Piece(box, k, tuple(copies[: len(self.rest)]), matrix)

    def __call__(self, block: Matrix, out: Matrix) -> None:
        """Fill a tile: outputs (*items, rows, *rest, channels) from a block of any type."""
        lead = out.ndim - 1 - self.dims
        x, sums = self._items(block, lead), self._items(out, lead)
        for phase in self.phases:
            seen, target = x[:, phase.samples], sums[:, phase.outputs]
            if target.size:
                pairwise_sum(range(len(self.pieces)), partial(self._fill, seen), target)

    def _items(self, array: Matrix, lead: int) -> Matrix:
        """An array (*items, n, *rest, channels) as (A, n, *rest, channels); a signal has one place along the rows."""
        rest = array.shape[lead + 1 :]
        return array.reshape(-1, array.shape[lead], *(rest if self.rest else (1, *rest)))

    def _fill(self, x: Matrix, at: int, out: Matrix) -> None:
        """What a piece adds to out (A, m, *rest, channels), from x (A, n, *rest, channels), panel by panel."""
        rows, *box = self.pieces[at].box
        first = [run.start * axis.dilation for run, axis in zip(box, self.rest, strict=False)]
        like = (at, *x.strides, *out.shape, *out.strides)
        cut = self.cuts.get(like) or self.cuts.setdefault(like, self._cut(at, x.strides, out.shape, out.strides))
        seen = as_strided(x[(slice(None), *(slice(start, None) for start in (rows.start, *first)))], *cut.samples)
        room = self.scratch("stack", cut.stack, self.kind)
        step = room.strides[0]
        copies = list(self._lines(np.ndarray(cut.copied.shape, self.kind, room, 0, cut.copied.strides), seen))
        products = [
            (
                one.band,
                np.ndarray(one.seen.shape, self.kind, room, one.sample * step, one.seen.strides),
                as_strided(out[:, one.row :], *one.filled),
            )
            for one in cut.products
        ]
        for start in cut.starts:
            for filled, copied in copies:
                filled[...] = copied[start]
            for matrix, stacked, filled in products:
                np.matmul(matrix, stacked, out=filled[start])

    def _cut(self, at: int, x: tuple[int, ...], shape: tuple[int, ...], out: tuple[int, ...]) -> _Cut:
        """For a piece, the strides of x and the shape and strides of the outputs, as `_fill` has them."""
        piece = self.pieces[at]
        sizes, behind, copies = Panel(*shape[:3]), shape[3:], math.prod(piece.copies)
        cut = panel(sizes, math.prod(behind), copies, piece.k, self.stride)
        samples, values = (cut.rows - 1) * self.stride + piece.k, cut.places * math.prod(behind)
        starts = tuple(size - length + 1 for size, length in zip(sizes, cut, strict=True))
        item, row, *along, channel = x
        shifts = [axis.dilation * step for axis, step in zip(self.rest, along, strict=False)]
        along = [axis.stride * step for axis, step in zip(self.rest, along, strict=True)] if self.rest else along

        stack, size = (cut.items * samples * copies, unlike(values, self.kind.itemsize)), self.kind.itemsize
        step = stack[1] * size
        inner = [math.prod(behind[at:]) * size for at in range(len(behind) + 1)]
        lines = [math.prod(piece.copies[at:]) * step for at in range(len(piece.copies) + 1)]
        return _Cut(
            starts=list(product(*map(_starts, sizes, cut))),
            samples=_View(
                (*starts, cut.items, samples, *piece.copies, cut.places, *behind),
                (item, self.stride * row, along[0], item, row, *shifts, *along, channel),
            ),
            stack=stack,
            copied=_View(
                (cut.items, samples, *piece.copies, cut.places, *behind), (samples * lines[0], *lines, *inner)
            ),
            products=list(self._products(piece, cut, starts, values, step, out)),
        )

    def _products(
        self, piece: _Piece, cut: Panel, starts: tuple[int, ...], values: int, step: int, out: tuple[int, ...]
    ) -> Iterator[_Product]:
        """The calls for a panel of so many values in a row, where stacked rows are `step` apart, and outputs `out`."""
        size, every = self.kind.itemsize, math.prod(piece.copies) * self.stride
        item, row, place = out[:3]
        held = ((cut.rows - 1) * self.stride + piece.k) * math.prod(piece.copies) * step
        for first, number, rows in down_blocks(cut.rows):
            samples = piece.band.shape[1] - (DOWN - rows) * every
            yield _Product(
                band=piece.band[:rows, :samples],
                sample=first * every,
                seen=_View((cut.items, number, samples, values), (held, DOWN * every * step, step, size)),
                row=first,
                filled=_View(
                    (*starts, cut.items, number, rows, values), (item, row, place, item, DOWN * row, row, size)
                ),
            )

    def _lines(self, filled: Matrix, panels: Matrix) -> Iterator[tuple[Matrix, Matrix]]:
        """What is copied where, channel by channel if numpy would otherwise copy a few channels at a time."""
        channels = filled.shape[-1]
        if not self.rest or self.rest[-1].stride == 1 or channels > FEW_CHANNELS:
            yield filled, panels
            return
        for channel in range(channels):
            yield filled[..., channel], panels[..., channel]


def _boxes(window: tuple[int, ...], copies: int, longest: int) -> list[Box]:
    """A kernel as few pieces: at most `longest` taps in each, at most `copies` of them in a row.

    >>> _boxes((3, 5), 5, 11)
    [(slice(0, 1, None), slice(0, 5, None)), (slice(1, 3, None), slice(0, 5, None))]
    """
    return [
        (rows, *box)
        for box in cuts(window[1:], min(copies, longest))
        for rows in pieces(window[0], max(longest // math.prod(map(_length, box)), 1))
    ]


def _starts(size: int, length: int) -> list[int]:
    """Where pieces of a run begin, all of one length: the last may overlap the one before.

    >>> _starts(10, 4)
    [0, 4, 6]
    """
    return [*range(0, size - length, length), size - length]


def _length(run: slice) -> int:
    length: int = run.stop - run.start
    return length
