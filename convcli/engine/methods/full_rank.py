"""A kernel of any rank as one band matrix, over rows copied once for every tap along them.

Each copy is shifted by one tap. In the stack of copies, a window is a run of samples down a column,
and the kernel, row after row, is one line of taps. From one output to the next it moves down by the
number of copies of a row. So a kernel of any rank is a band matrix, multiplied from the left (here
3x3)::

    [ y row 0 ]   [ w00 w01 w02 w10 w11 w12 w20 w21 w22  .   .   .  ]   [ x row 0            ]
    [ y row 1 ] = [  .   .   .  w00 w01 w02 w10 w11 w12 w20 w21 w22 ] @ [ x row 0, one on    ]
                                                                        [ x row 0, two on    ]
                                                                        [ x row 1            ]
                                                                        [ ..                 ]

A copy takes less time than the arithmetic of its taps, and contains only the samples that the
outputs need: it resolves stride and dilation along the rows, and joins channels and inner axes. The
copies fit the cache: a tile is computed panel by panel, of few rows and many columns, because
products that wait for memory run at half their speed. A long sum is cut into runs of a band's
columns, whose results are added, to limit its rounding error.

The axes of the views, in order::

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

from convcli.engine.methods.bands import (
    Matrix,
    band,
    band_runs,
    down_blocks,
    most_runs,
    undilated,
    unlike,
)
from convcli.engine.methods.base import CostEstimate, Method, Needs, TileFunction
from convcli.engine.methods.panels import (
    PANEL_BYTES,
    PANEL_ROWS,
    Panel,
    block_rows,
    panel,
    panel_starts,
    stacked_taps,
)
from convcli.engine.methods.summation import pairwise_sum, pending_sums
from convcli.engine.methods.windows import Box, Strided, cuts
from convcli.engine.planning.costs import CALL, GATHER, MAC, TOUCH
from convcli.engine.planning.facts import PrecisionName, TiledWork, Work
from convcli.engine.planning.tiles import DOWN, ODD, TILES, WIDE, band_tile
from convcli.engine.threads import Scratch

STEPPED = 1.0
"""Additional nanoseconds of one copy with a stride along the row, for up to STEPPED_CHANNELS
channels."""

STEPPED_CHANNELS = 8

SHORT = 0.15
"""Additional nanoseconds of one copy in a volume, whose rows are short."""

RUN = 225
"""Approximate taps that one product adds: the results of several are added."""

FULL_TILE = (1 << 18, 1 << 20)
"""Outputs in a tile, if there are then twice TILES of them, and the most: 4 MiB of float32. With
smaller tiles two threads took a tenth longer: while one creates the views of a tile, the other
waits for the interpreter."""

AMPLE = 1 << 25
"""Multiply-adds that are enough for such a tile, even if it has fewer outputs."""

FEW_TAPS = 128
"""Taps up to which a kernel rarely has pieces, whose pending sums take memory; tiles of larger
kernels are half the size."""

FULL_SEEN = 1 << 18
"""Samples that such a tile may cover in addition to the number of its outputs."""

FEW_CHANNELS = 6
"""Channels up to which a copy with a stride is made channel by channel: copying runs of 6 or fewer
samples takes two to three times as long."""


class FullRank(Method):
    """One kernel as a band matrix over stacked rows, panel by panel."""

    name = "gemm"
    worth_sharing = 1.5e-3  # waking a thread takes 0.1 ms, and each takes a share of the cache

    def refusal(self, work: Work) -> str:
        return "" if work.facts.filters is None else "a bank has many kernels"

    def cost(self, work: Work) -> CostEstimate:
        axes, taps, copies = work.axes, work.terms, math.prod(work.facts.window[1:])
        rows = "once" if copies == 1 else f"{copies} times"
        account = f"{taps} taps as one band, over rows copied {rows}"
        stepped = len(axes) > 1 and axes[-1].stride > 1
        gather = GATHER + (STEPPED / -(-work.facts.channels // STEPPED_CHANNELS) if stepped else 0)
        gather += SHORT if len(axes) > 2 else 0
        gather *= 1 + axes[0].reach / PANEL_ROWS  # samples that the next panel copies as well
        copy = (block_rows(taps) - 1) * axes[0].stride * MAC + gather
        each = taps * MAC + copies * copy + -(-taps // RUN) * TOUCH
        if len(axes) == 1 and work.facts.channels < WIDE:
            return CostEstimate(
                work.outputs * 100 * each, account, "for a signal, separable is faster"
            )
        return CostEstimate(CALL + work.outputs * each, account)

    def tile(self, work: Work) -> tuple[int, ...]:
        enough, most = FULL_TILE
        most //= self.itemsize(work) // 4 * (1 if work.terms <= FEW_TAPS else 2)
        enough = min(enough, AMPLE // work.terms)
        budget = min(max(work.outputs // (2 * TILES), enough), most)
        budget //= work.facts.channels + (0 if len(work.axes) > 1 else ODD)
        return band_tile(work, budget, most + FULL_SEEN, PANEL_ROWS)

    def memory(self, work: Work, tile: tuple[int, ...]) -> Needs:
        rows, *rest = work.facts.window if len(work.facts.window) > 1 else (*work.facts.window, 1)
        first, size = work.axes[0], self.itemsize(work)

        # Pieces of the kernel, and the band of each.
        stride = first.stride // math.gcd(first.stride, first.dilation)
        fitting = PANEL_BYTES // size
        copies = min(stacked_taps(rows, stride, fitting), math.prod(rest))
        number, left = 1, copies
        for k in reversed(rest):
            number *= -(-k // min(k, left))
            left = max(left // k, 1)
        columns = (rows + (DOWN - 1) * stride) * copies
        bands = DOWN * (work.terms + DOWN * number * copies * first.stride)

        # The stacked copies of a panel, the pending sums of runs and of pieces, and a copy of the
        # samples if their batch axes have to be merged.
        places, *inner = (*tile[2:], 1)[: max(len(rest), 1)]
        each = math.prod(inner) * work.facts.channels
        whole = Panel(work.lead(tile), tile[1], places)
        part = panel(whole, each, copies, rows, stride, block_rows(work.terms), fitting)
        stacks = [
            some.items * ((some.rows - 1) * stride + rows) * copies * (some.places * each + ODD)
            for some in (whole, part)
        ]
        stack = min(stacks[0], max(stacks[1], fitting))
        moved = work.tile_samples(tile) if len(work.facts.batch) > 1 else 0
        runs = most_runs(columns, self.precision(work), work.terms)
        waiting = pending_sums(number) * work.tile_outputs(tile)
        waiting += pending_sums(runs) * math.prod(part) * each
        return Needs(
            (work.terms + bands) * size + work.terms * 16, (stack + moved + waiting) * size
        )

    def prepare(self, w: Matrix, plan: TiledWork) -> TileFunction:
        w = w.astype(plan.accumulator)
        return _StackedBands(w[:, None] if w.ndim == 1 else w, plan)

    def spreads_nan(self, work: Work) -> bool:
        return True

    def keeps_dtype(self, work: Work) -> bool:
        # Converting float16 takes ten times as long as copying: once for each sample, not per copy.
        same = work.facts.input_dtype != "float16"
        return same and (work.spec.boundary != "constant" or work.spec.cval == 0)

    def pads_rows(self, work: Work) -> bool:
        return True

    def columns_are_rows(self, work: Work) -> bool:
        return True


METHOD = FullRank()


class _Piece(NamedTuple):
    """Some taps along the rows, and their band down the stacked rows."""

    box: Box
    k: int
    """Rows of taps."""
    copies: tuple[int, ...]
    """Taps along each of the other axes."""
    band: Matrix
    runs: list[slice]
    """The columns of the band that one product adds."""

    @property
    def every(self) -> int:
        """Stacked rows for each row of samples."""
        return math.prod(self.copies)


class _Run(NamedTuple):
    """Columns of a band, and the rows of the stack under them."""

    band: Matrix
    stacked: Strided


class _Product(NamedTuple):
    """Blocks of outputs that one call computes: all of a panel, or a last one of fewer rows."""

    runs: list[_Run]
    filled: Strided
    """The outputs: (*starts, ...), indexed by where a panel starts."""


class _PanelCut(NamedTuple):
    """The panels of tiles of one shape, and the views for their computation.

    It is cached from tile to tile: other threads wait for the interpreter while one creates views.
    """

    starts: list[tuple[int, ...]]
    """The item, the row and the place where each panel starts."""
    samples: Strided
    """View of the tile: (*starts, items, samples, *copies, places, *inner)."""
    stack: tuple[int, int]
    """Stacked rows of a panel, and values of one row including its padding."""
    copied: Strided
    """View of the stack: (items, samples, *copies, places, *inner)."""
    products: list[_Product]

    def stack_views(self, stack: Matrix) -> tuple[Matrix, list[list[tuple[Matrix, Matrix]]]]:
        """Return the copies in the stack, and of each product the bands and the rows under them."""
        runs = [[(run.band, run.stacked.of(stack)) for run in one.runs] for one in self.products]
        return self.copied.of(stack), runs


class _StackedBands:
    """A kernel (rows, *rest) as pieces, each a band down stacked rows."""

    def __init__(self, w: Matrix, plan: TiledWork) -> None:
        self.dtype, self.scratch = w.dtype, Scratch()
        self.dims, self.rest = len(plan.axes), plan.axes[1:]
        self.stride, self.phases = undilated(plan.axes[0].stride, plan.axes[0].dilation)
        self.block, self.fitting = block_rows(w.size), PANEL_BYTES // w.itemsize
        self.pieces = [
            self._piece((slice(0, len(w)), *box), w, plan.precision)
            for box in cuts(w.shape[1:], stacked_taps(len(w), self.stride, self.fitting))
        ]
        self.cuts: dict[tuple[int, ...], _PanelCut] = {}

    def _piece(self, box: Box, w: Matrix, precision: PrecisionName | None) -> _Piece:
        k, *copies = w[box].shape
        matrix = band(w[box].ravel(), math.prod(copies) * self.stride, 1, self.block)
        runs = band_runs(matrix, precision, w.size)
        return _Piece(box, k, tuple(copies[: len(self.rest)]), matrix, runs)

    def __call__(self, block: Matrix, out: Matrix) -> None:
        """Fill a tile: outputs (*items, rows, *rest, channels) from a block of any type."""
        lead = out.ndim - 1 - self.dims
        x, sums = self._merged(block, lead), self._merged(out, lead)
        for phase in self.phases:
            seen, target = x[:, phase.samples], sums[:, phase.outputs]
            if target.size:
                pairwise_sum(range(len(self.pieces)), partial(self._fill, seen), target)

    def _merged(self, array: Matrix, lead: int) -> Matrix:
        """Return (*items, n, *rest, channels) as (A, n, *rest, channels).

        For a signal, rest is an axis of length 1.
        """
        rest = array.shape[lead + 1 :]
        return array.reshape(-1, array.shape[lead], *(rest if self.rest else (1, *rest)))

    def _fill(self, x: Matrix, number: int, out: Matrix) -> None:
        """Compute one piece's sums, panel by panel.

        x: (A, n, *rest, channels); out: (A, m, *rest, channels).
        """
        piece = self.pieces[number]
        key = (number, *x.strides, *out.shape, *out.strides)
        cut = self.cuts.get(key)
        if cut is None:
            cut = self.cuts[key] = self._cut(piece, x.strides, out.shape, out.strides)

        samples = cut.samples.of(x)
        filled, bands = self.scratch.views("stack", cut.stack, self.dtype, cut, cut.stack_views)
        copies = list(self._channels(filled, samples))
        targets = [one.filled.of(out) for one in cut.products]
        for start in cut.starts:
            for target, copied in copies:
                target[...] = copied[start]
            for runs, target in zip(bands, targets, strict=True):
                pairwise_sum(runs, _multiply, target[start])

    def _cut(
        self, piece: _Piece, x: tuple[int, ...], shape: tuple[int, ...], out: tuple[int, ...]
    ) -> _PanelCut:
        """Cut outputs of a shape into panels; x and out: the strides of samples and outputs."""
        sizes, inner = Panel(*shape[:3]), shape[3:]
        each = math.prod(inner)
        part = panel(sizes, each, piece.every, piece.k, self.stride, self.block, self.fitting)
        samples, values = (part.rows - 1) * self.stride + piece.k, part.places * each
        starts = tuple(size - length + 1 for size, length in zip(sizes, part, strict=True))
        size = self.dtype.itemsize
        stack = (part.items * samples * piece.every, unlike(values, size))

        # A step along an axis moves by its stride from output to output, and by its dilation from
        # copy to copy.
        item, row, *along, channel = x
        shifts = [axis.dilation * step for axis, step in zip(self.rest, along, strict=False)]
        if self.rest:
            along = [axis.stride * step for axis, step in zip(self.rest, along, strict=True)]

        # The stack contains all copies of the first row of samples, then of the next.
        line = stack[1] * size
        lines = [math.prod(piece.copies[axis:]) * line for axis in range(len(piece.copies) + 1)]
        values_behind = [math.prod(inner[axis:]) * size for axis in range(len(inner) + 1)]
        copied = (part.items, samples, *piece.copies, part.places, *inner)
        first = sum(taps.start * shift for taps, shift in zip(piece.box[1:], shifts, strict=False))
        return _PanelCut(
            starts=list(product(*map(panel_starts, sizes, part))),
            samples=Strided(
                (*starts, *copied),
                (item, self.stride * row, along[0], item, row, *shifts, *along, channel),
                first,
            ),
            stack=stack,
            copied=Strided(copied, (samples * lines[0], *lines, *values_behind)),
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
        """Yield the products of a panel.

        values: in a row of outputs; line: bytes of a stacked row; out: the strides of the outputs.
        """
        size, every = self.dtype.itemsize, piece.every * self.stride
        item, row, place = out[:3]
        whole = ((part.rows - 1) * self.stride + piece.k) * piece.every * line
        for first, number, rows in down_blocks(part.rows, self.block):
            samples = piece.band.shape[1] - (self.block - rows) * every
            yield _Product(
                runs=[
                    _Run(
                        piece.band[:rows, run.start : min(run.stop, samples)],
                        Strided(
                            (part.items, number, min(run.stop, samples) - run.start, values),
                            (whole, self.block * every * line, line, size),
                            (first * every + run.start) * line,
                        ),
                    )
                    for run in piece.runs
                    if run.start < samples
                ],
                filled=Strided(
                    (*starts, part.items, number, rows, values),
                    (item, row, place, item, self.block * row, row, size),
                    first * row,
                ),
            )

    def _channels(self, filled: Matrix, panels: Matrix) -> Iterator[tuple[Matrix, Matrix]]:
        """Yield pairs of (target, source) to copy: per channel if there are few under a stride."""
        channels = filled.shape[-1]
        if not self.rest or self.rest[-1].stride == 1 or channels > FEW_CHANNELS:
            yield filled, panels
            return
        for channel in range(channels):
            yield filled[..., channel], panels[..., channel]


def _multiply(run: tuple[Matrix, Matrix], out: Matrix) -> None:
    np.matmul(*run, out=out)
