"""A kernel of any rank as one band: each row of samples stands once for every tap along the row, shifted.

In rows stacked so, a window is a run of samples down a column, and the kernel, row after row, one line of taps that
slides down by as many samples as a row has copies. So a full-rank kernel is a band from the left (here 3x3)::

    [ y row 0 ]   [ w00 w01 w02 w10 w11 w12 w20 w21 w22  .   .   .  ]   [ x row 0            ]
    [ y row 1 ] = [  .   .   .  w00 w01 w02 w10 w11 w12 w20 w21 w22 ] @ [ x row 0, one on    ]
                                                                        [ x row 0, two on    ]
                                                                        [ x row 1            ]
                                                                        [ ..                 ]

A copy costs less than the arithmetic of its taps, and keeps only what the outputs want: stride and dilation along the
rows are settled by it, and the lanes and inner axes of a volume lie flat. Large kernels are cut into pieces, whose
results are added: so that no sum strays too far, and that the copies stay in the cache.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from convcli.engine.bands import Down, Matrix, pieces, undilated, unlike
from convcli.engine.factors import longest_run
from convcli.engine.pairwise import add_up
from convcli.engine.threads import Scratch
from convcli.engine.windows import Tile, under_tap
from convcli.planner import Plan
from convcli.tiles import stacked_taps


class _Piece(NamedTuple):
    """Taps that one product adds: those from `rows` on, one place on the axes between, a run along the last axis."""

    rows: slice
    between: tuple[int, ...]
    along: slice


def prepare(w: Matrix, plan: Plan) -> Tile:
    """Ready one kernel (*window), in any type."""
    w = w.astype(plan.accumulator)
    return _Stacked(w[:, None] if w.ndim == 1 else w, plan)


class _Stacked:
    def __init__(self, w: Matrix, plan: Plan) -> None:
        self.kind = w.dtype
        self.dims, self.rest, self.scratch = len(plan.axes), plan.axes[1:], Scratch()
        self.stride, self.phases = undilated(plan.axes[0].stride, plan.axes[0].dilation)
        longest = longest_run(w.ravel(), 1, 1.0, plan.precision) if plan.precision else w.size
        along = min(w.shape[-1], longest, stacked_taps(plan.facts, plan.axes, plan.tile))
        self.parts = [self._part(piece, w) for piece in _cut(w.shape, along, longest)]

    def _part(self, piece: _Piece, w: Matrix) -> tuple[_Piece, Down]:
        """A piece, and its taps as a line down the stacked rows."""
        index: tuple[Any, ...] = (piece.rows, *piece.between, piece.along)
        taps = w[index]
        return piece, Down(taps.ravel(), taps.shape[1] * self.stride, 1, [slice(0, taps.size)])

    def __call__(self, block: Matrix, out: Matrix) -> None:
        """Fill a tile: outputs (*items, rows, *rest, lanes) from a block of any type."""
        lead = out.ndim - 1 - self.dims
        inner, sizes = (
            (block.shape[lead + 1 :], out.shape[lead + 1 : -1]) if self.rest else ((1, block.shape[-1]), (1,))
        )
        x = block.reshape(-1, block.shape[lead], *inner)
        sums = out.reshape(len(x), out.shape[lead], -1)
        for phase in self.phases:
            seen, target = x[:, phase.samples], sums[:, phase.outputs]

            def fill(part: tuple[_Piece, Down], share: Matrix, seen: Matrix = seen) -> None:
                piece, band = part
                band(self._stack(piece, seen, share.shape[1], sizes), share)

            if target.size:
                add_up(self.parts, fill, target)

    def _stack(self, piece: _Piece, x: Matrix, outputs: int, sizes: tuple[int, ...]) -> Matrix:
        """The rows (A, n, *rest, lanes) that a piece meets, one copy for each tap of a row: (A, n * copies, Z)."""
        copies, samples = piece.along.stop - piece.along.start, (outputs - 1) * self.stride + _length(piece.rows)
        x = x[:, piece.rows.start : piece.rows.start + samples]
        shift = 0
        if self.rest:
            shift = self.rest[-1].dilation * x.strides[-2]
            x = under_tap(x, self.rest, sizes, (*piece.between, piece.along.start))
        values = math.prod(x.shape[2:])
        room = self.scratch("stack", (len(x), samples, copies, unlike(values, self.kind.itemsize)), self.kind)[
            ..., :values
        ]
        shape = (*x.shape[:2], copies, *x.shape[2:])
        room.reshape(shape)[...] = as_strided(x, shape, (*x.strides[:2], shift, *x.strides[2:]), writeable=False)
        return room.reshape(len(x), samples * copies, values)


def _cut(window: tuple[int, ...], along: int, longest: int) -> list[_Piece]:
    """A kernel as few pieces: at most `along` taps of a row, and at most `longest` in all."""
    rows = max(longest // along, 1) if along == window[-1] else 1
    return [
        _Piece(down, between, run)
        for between in np.ndindex(*window[1:-1])
        for run in pieces(window[-1], along)
        for down in pieces(window[0], rows)
    ]


def _length(run: slice) -> int:
    length: int = run.stop - run.start
    return length
