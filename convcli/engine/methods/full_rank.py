"""A kernel of any rank as one band: each row of samples is copied once for every tap along it,
shifted.

In rows stacked so, a window is a run of samples down a column, and the kernel, row after row, one
line of taps that slides down by as many samples as a row has copies. So a full-rank kernel is a
band from the left (here 3x3)::

    [ y row 0 ]   [ w00 w01 w02 w10 w11 w12 w20 w21 w22  .   .   .  ]   [ x row 0            ]
    [ y row 1 ] = [  .   .   .  w00 w01 w02 w10 w11 w12 w20 w21 w22 ] @ [ x row 0, one on    ]
                                                                        [ x row 0, two on    ]
                                                                        [ x row 1            ]
                                                                        [ ..                 ]

A copy costs less than the arithmetic of its taps, and keeps only what the outputs need: it takes
care of stride and dilation along the rows, and channels and inner axes are flat in it. The copies
stay in the cache: a tile is computed panel by panel, of few rows and many columns, for products
that wait for memory run at half their speed. Large kernels are cut into pieces, whose results are
added: so that no sum rounds too often, and that panels are not too slim.

Views have the axes, in this order::

    samples   (item, row, place) where a panel starts | items, samples, *copies, places, *inner
    stack                                               items, samples, *copies, places, *inner
    product   a band (rows, stacked samples)  @         items, blocks, stacked samples, values
    outputs   (item, row, place) where a panel starts | items, blocks, rows, values
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
from convcli.engine.methods.windows import Box, Strided, cuts
from convcli.engine.planning.costs import CALL, GATHER, MAC, TOUCH
from convcli.engine.planning.facts import TiledWork, Work
from convcli.engine.planning.tiles import DOWN, ODD, TILES, WIDE, band_tile, evenly
from convcli.engine.threads import Scratch

STEPPED = 1.0
"""Nanoseconds more of one copy if the row is stepped through, for up to STEPPED_CHANNELS channels.
"""

STEPPED_CHANNELS = 8

PIECE = 225
"""Taps of a kernel that one product adds: a larger one is a sum of pieces."""

FULL_TILE = (1 << 18, 3 << 19)
"""Outputs in a tile, if it leaves twice TILES of them, and the most: 6 MiB of float32. Over smaller
tiles two threads took a tenth longer: while one makes the views of a tile, the other waits for the
interpreter."""

AMPLE = 1 << 25
"""Multiply-adds of such a tile that are enough even if its outputs are fewer."""

FEW_TAPS = 128
"""Taps of a kernel up to which it is rarely taken in pieces, whose sums wait for each other:
beyond, tiles are half as large."""

FULL_SEEN = 1 << 18
"""Samples that such a tile may see besides as many as it has outputs."""

PANEL_VALUES = 1 << 18
"""Values of the stacked copies of a panel: 1 MiB of float32, in a second-level cache."""

PANEL_ROWS = 32
"""Outputs in a column of a panel, if that leaves it a row to be cut: few, so that its rows are
long, for a processor reads ahead along a row; fewer would copy more of the rows that several panels
see."""

WHOLE_PANELS = 4
"""Panels in a column of a tile from which it has as many rows as they fill: fewer may overlap
instead.
"""

PANEL_WIDTH = 64
"""Values in its row, at least: slimmer products are slow."""

FEW_CHANNELS = 6
"""Channels that are copied one by one under a stride: runs of so few samples take two to three
times as long.
"""


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
            return CostEstimate(
                work.outputs * 100 * each, account, "a signal's band goes along it: separable"
            )
        return CostEstimate(CALL + work.outputs * each, account)

    def tile(self, work: Work) -> tuple[int, ...]:
        enough, most = FULL_TILE
        most //= self.itemsize(work) // 4 * (1 if work.terms <= FEW_TAPS else 2)
        enough = min(enough, AMPLE // work.terms)
        budget = min(max(work.outputs // (2 * TILES), enough), most)
        budget //= work.facts.channels + (0 if len(work.axes) > 1 else ODD)
        return band_tile(
            work,
            budget,
            most + FULL_SEEN,
            lambda rows: PANEL_ROWS if rows >= WHOLE_PANELS * PANEL_ROWS else DOWN,
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

        # The stacked copies of a panel, the sums of pieces, and the samples if their items have to
        # be merged.
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
        return Needs(
            (work.terms + bands) * size + work.terms * 16, (stack + moved + waiting) * size
        )

    def prepare(self, w: Matrix, plan: TiledWork) -> TileFunction:
        w = w.astype(plan.accumulator)
        return _StackedBands(w[:, None] if w.ndim == 1 else w, plan)

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
    """Cut a tile of such sizes into equal panels, of which the last ones may overlap the ones
    before.

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
    together = (
        PANEL_VALUES // (stacked * (places * values + ODD)) if (rows, places) == sizes[1:] else 1
    )
    return Panel(evenly(sizes.items, max(together, 1)), rows, places)


def stacked_taps(k: int, stride: int) -> int:
    """Return how many copies of a panel's rows, one for each tap along them, fit, under k taps down
    the rows.
    """
    return max(PANEL_VALUES // (((PANEL_ROWS - 1) * stride + k) * PANEL_WIDTH), 1)


class _Piece(NamedTuple):
    """Some taps of the kernel, and the band that they make down the stacked rows."""

    box: Box
    k: int
    """Rows of taps."""
    copies: tuple[int, ...]
    """Taps along each of the other axes."""
    band: Matrix

    @property
    def every(self) -> int:
        """Stacked rows for each row of samples."""
        return math.prod(self.copies)


class _Product(NamedTuple):
    """Blocks of outputs that one call fills: all of a panel's, but for a last one of fewer rows."""

    band: Matrix
    stacked: Strided
    """The rows of the stack that they meet."""
    row: int
    """The first row of outputs."""
    filled: Strided
    """The outputs, from that row on: (*starts, ...), indexed by where a panel starts."""


class _PanelCut(NamedTuple):
    """How tiles of one shape are cut into panels.

    It is kept from tile to tile, for making views takes longer than it seems: meanwhile the other
    threads wait for the interpreter.
    """

    starts: list[tuple[int, ...]]
    """Where panels start: the item, the row and the place."""
    samples: Strided
    """Of the tile: (*starts, items, samples, *copies, places, *inner)."""
    stack: tuple[int, int]
    """Stacked rows of a panel, and values of one with its padding."""
    copied: Strided
    """Of the stack: (items, samples, *copies, places, *inner)."""
    products: list[_Product]


class _StackedBands:
    """A kernel (rows, *rest) in pieces, each a band down stacked rows."""

    def __init__(self, w: Matrix, plan: TiledWork) -> None:
        self.dtype, self.scratch = w.dtype, Scratch()
        self.dims, self.rest = len(plan.axes), plan.axes[1:]
        self.stride, self.phases = undilated(plan.axes[0].stride, plan.axes[0].dilation)
        longest = longest_run(w.ravel(), plan.precision, w.size)
        self.pieces = [
            self._piece(box, w)
            for box in _boxes(w.shape, stacked_taps(len(w), self.stride), longest)
        ]
        self.cuts: dict[tuple[int, ...], _PanelCut] = {}

    def _piece(self, box: Box, w: Matrix) -> _Piece:
        k, *copies = w[box].shape
        matrix = band(w[box].ravel(), math.prod(copies) * self.stride, 1, DOWN)
        return _Piece(box, k, tuple(copies[: len(self.rest)]), matrix)

    def __call__(self, block: Matrix, out: Matrix) -> None:
        """Fill a tile: outputs (*items, rows, *rest, channels) from a block of any type."""
        lead = out.ndim - 1 - self.dims
        x, sums = self._merged(block, lead), self._merged(out, lead)
        for phase in self.phases:
            seen, target = x[:, phase.samples], sums[:, phase.outputs]
            if target.size:
                pairwise_sum(range(len(self.pieces)), partial(self._fill, seen), target)

    def _merged(self, array: Matrix, lead: int) -> Matrix:
        """Return (*items, n, *rest, channels) as (A, n, *rest, channels); a signal has one place
        along the rows.
        """
        rest = array.shape[lead + 1 :]
        return array.reshape(-1, array.shape[lead], *(rest if self.rest else (1, *rest)))

    def _fill(self, x: Matrix, number: int, out: Matrix) -> None:
        """Fill out (A, m, *rest, channels) with one piece's sums over x (A, n, *rest, channels),
        panel by panel.
        """
        piece = self.pieces[number]
        key = (number, *x.strides, *out.shape, *out.strides)
        cut = self.cuts.get(key)
        if cut is None:
            cut = self.cuts[key] = self._cut(piece, x.strides, out.shape, out.strides)

        # The samples from the piece's first tap on.
        rows, *runs = piece.box
        first = [
            rows.start,
            *(run.start * axis.dilation for run, axis in zip(runs, self.rest, strict=False)),
        ]
        samples = as_strided(
            x[(slice(None), *(slice(start, None) for start in first))],
            cut.samples.shape,
            cut.samples.strides,
        )

        # Views of the stack and of the outputs, which are the same for all panels.
        stack = self.scratch("stack", cut.stack, self.dtype)
        copies = list(self._channels(cut.copied.of(stack), samples))
        products = [
            (
                one.band,
                one.stacked.of(stack),
                as_strided(out[:, one.row :], one.filled.shape, one.filled.strides),
            )
            for one in cut.products
        ]
        for start in cut.starts:
            for filled, copied in copies:
                filled[...] = copied[start]
            for matrix, stacked, filled in products:
                np.matmul(matrix, stacked, out=filled[start])

    def _cut(
        self, piece: _Piece, x: tuple[int, ...], shape: tuple[int, ...], out: tuple[int, ...]
    ) -> _PanelCut:
        """Cut outputs of a shape and of strides `out`, over samples of strides `x`, into panels."""
        sizes, inner = Panel(*shape[:3]), shape[3:]
        part = panel(sizes, math.prod(inner), piece.every, piece.k, self.stride)
        samples, values = (part.rows - 1) * self.stride + piece.k, part.places * math.prod(inner)
        starts = tuple(size - length + 1 for size, length in zip(sizes, part, strict=True))
        size = self.dtype.itemsize
        stack = (part.items * samples * piece.every, unlike(values, size))

        # A step along an axis moves by its stride from output to output, and by its dilation from
        # copy to copy.
        item, row, *along, channel = x
        shifts = [axis.dilation * step for axis, step in zip(self.rest, along, strict=False)]
        if self.rest:
            along = [axis.stride * step for axis, step in zip(self.rest, along, strict=True)]

        # The stack holds, for each row of samples, all its copies, and each of them flat.
        line = stack[1] * size
        lines = [math.prod(piece.copies[axis:]) * line for axis in range(len(piece.copies) + 1)]
        values_behind = [math.prod(inner[axis:]) * size for axis in range(len(inner) + 1)]
        each = (part.items, samples, *piece.copies, part.places, *inner)
        return _PanelCut(
            starts=list(product(*map(_starts, sizes, part))),
            samples=Strided(
                (*starts, *each),
                (item, self.stride * row, along[0], item, row, *shifts, *along, channel),
            ),
            stack=stack,
            copied=Strided(each, (samples * lines[0], *lines, *values_behind)),
            products=list(self._products(piece, part, starts, values, line, out)),
        )

    def _products(
        self,
        piece: _Piece,
        part: Panel,
        starts: tuple[int, ...],
        values: int,
        line: int,
        out: tuple[int, ...],
    ) -> Iterator[_Product]:
        """Yield the calls for a panel of so many values in a row. line: bytes of a stacked row;
        out: the strides.
        """
        size, every = self.dtype.itemsize, piece.every * self.stride
        item, row, place = out[:3]
        whole = ((part.rows - 1) * self.stride + piece.k) * piece.every * line
        for first, number, rows in down_blocks(part.rows):
            samples = piece.band.shape[1] - (DOWN - rows) * every
            yield _Product(
                band=piece.band[:rows, :samples],
                stacked=Strided(
                    (part.items, number, samples, values),
                    (whole, DOWN * every * line, line, size),
                    first * every * line,
                ),
                row=first,
                filled=Strided(
                    (*starts, part.items, number, rows, values),
                    (item, row, place, item, DOWN * row, row, size),
                ),
            )

    def _channels(self, filled: Matrix, panels: Matrix) -> Iterator[tuple[Matrix, Matrix]]:
        """Yield what is copied where: channel by channel if numpy would otherwise copy a few
        channels at a time.
        """
        channels = filled.shape[-1]
        if not self.rest or self.rest[-1].stride == 1 or channels > FEW_CHANNELS:
            yield filled, panels
            return
        for channel in range(channels):
            yield filled[..., channel], panels[..., channel]


def _boxes(window: tuple[int, ...], copies: int, longest: int) -> list[Box]:
    """Cut a kernel into few pieces: at most `longest` taps in each, at most `copies` of them in a
    row.

    >>> _boxes((3, 5), 5, 11)
    [(slice(0, 1, None), slice(0, 5, None)), (slice(1, 3, None), slice(0, 5, None))]
    """
    return [
        (rows, *box)
        for box in cuts(window[1:], min(copies, longest))
        for rows in pieces(
            window[0], max(longest // math.prod(run.stop - run.start for run in box), 1)
        )
    ]


def _starts(size: int, length: int) -> list[int]:
    """Return where pieces of a run start, all of one length: the last may overlap the one before.

    >>> _starts(10, 4)
    [0, 4, 6]
    """
    return [*range(0, size - length, length), size - length]
