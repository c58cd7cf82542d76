"""A kernel of any rank as one band: each row of samples stands once for every tap along it, shifted.

In rows stacked so, a window is a run of samples down a column, and the kernel, row after row, one line of taps that
slides down by as many samples as a row has copies. So a full-rank kernel is a band from the left (here 3x3)::

    [ y row 0 ]   [ w00 w01 w02 w10 w11 w12 w20 w21 w22  .   .   .  ]   [ x row 0            ]
    [ y row 1 ] = [  .   .   .  w00 w01 w02 w10 w11 w12 w20 w21 w22 ] @ [ x row 0, one on    ]
                                                                        [ x row 0, two on    ]
                                                                        [ x row 1            ]
                                                                        [ ..                 ]

A copy costs less than the arithmetic of its taps, and keeps only what the outputs want: stride and dilation along the
rows are settled by it, and the lanes and inner axes of a volume lie flat. The copies stay in the cache: a tile is taken
panel by panel, a few hundred columns each, for products that wait for memory run at half their speed. Large kernels are
cut into pieces, whose results are added: so that no sum strays too far, and that panels are not too slim.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.lib.stride_tricks import as_strided

from convcli.engine.bands import Down, Matrix, pieces, undilated, unlike
from convcli.engine.factors import longest_run
from convcli.engine.pairwise import add_up
from convcli.engine.threads import Scratch
from convcli.engine.windows import Box, Tile, cuts, under_tap
from convcli.planner import Plan
from convcli.planner.tiles import evenly, panel_values, stacked_taps

FEW_LANES = 6
"""Lanes that are copied one by one under a stride: runs of so few samples take two to three times as long."""


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
        self.parts = [self._part(piece, w) for piece in _pieces(w.shape, stacked_taps(plan.axes, plan.tile), longest)]

    def _part(self, piece: Box, w: Matrix) -> tuple[Box, Down]:
        """A piece, and its taps as a line down the stacked rows."""
        taps = w[piece]
        copies = math.prod(taps.shape[1:])
        return piece, Down(taps.ravel(), copies * self.stride, 1, [slice(0, taps.size)])

    def __call__(self, block: Matrix, out: Matrix) -> None:
        """Fill a tile: outputs (*items, rows, *rest, lanes) from a block of any type."""
        lead = out.ndim - 1 - self.dims
        x, sums = self._items(block, lead), self._items(out, lead)
        for phase in self.phases:
            seen, target = x[:, phase.samples], sums[:, phase.outputs]
            if target.size:
                add_up(self.parts, partial(self._fill, seen), target)

    def _items(self, array: Matrix, lead: int) -> Matrix:
        """An array (*items, n, *rest, lanes) as (A, n, *rest, lanes); a signal has one place along the rows."""
        rest = array.shape[lead + 1 :]
        return array.reshape(-1, array.shape[lead], *(rest if self.rest else (1, *rest)))

    def _fill(self, x: Matrix, part: tuple[Box, Down], out: Matrix) -> None:
        """What a part adds to out (A, m, *rest, lanes), from x (A, n, *rest, lanes), panel by panel along axis 2."""
        (rows, *box), band = part
        samples = (out.shape[1] - 1) * self.stride + _length(rows)
        x = x[:, rows.start : rows.start + samples]
        copies, shifts = [_length(run) for run in box], [0]
        if self.rest:
            shifts = [axis.dilation * step for axis, step in zip(self.rest, x.strides[2:], strict=False)]
            x = under_tap(x, self.rest, out.shape[2:-1], tuple(run.start for run in box))
        stacked, each, places = len(x) * samples * math.prod(copies), math.prod(x.shape[3:]), out.shape[2]
        width = evenly(places, max(panel_values(stacked) // each, 1))
        values, starts = width * each, places - width + 1
        room = self.scratch("stack", (stacked, unlike(values, self.kind.itemsize)), self.kind)[:, :values]
        stack, shape = room.reshape(len(x), -1, values), (len(x), samples, *copies, width, *x.shape[3:])

        item, row, place, *more = x.strides
        panels = as_strided(x, (starts, *shape), (place, item, row, *shifts, place, *more), writeable=False)
        item, row, place, *_ = out.strides
        results = as_strided(out, (starts, *out.shape[:2], values), (place, item, row, out.itemsize))
        copies_of = list(self._lines(stack.reshape(shape), panels))
        products = list(band.products(band.runs[0], stack, results))
        for start in (*range(0, starts - 1, width), starts - 1):
            for filled, copied in copies_of:
                filled[...] = copied[start]
            for matrix, seen, targets in products:
                np.matmul(matrix, seen, out=targets[start])

    def _lines(self, filled: Matrix, panels: Matrix) -> Iterator[tuple[Matrix, Matrix]]:
        """What is copied where, lane by lane if numpy would otherwise copy a few lanes at a time."""
        lanes = filled.shape[-1]
        if not self.rest or self.rest[-1].stride == 1 or lanes > FEW_LANES:
            yield filled, panels
            return
        for lane in range(lanes):
            yield filled[..., lane], panels[..., lane]


def _pieces(window: tuple[int, ...], copies: int, longest: int) -> list[Box]:
    """A kernel as few pieces: at most `longest` taps in each, at most `copies` of them in a row.

    >>> _pieces((3, 5), 5, 11)
    [(slice(0, 1, None), slice(0, 5, None)), (slice(1, 3, None), slice(0, 5, None))]
    """
    return [
        (rows, *box)
        for box in cuts(window[1:], min(copies, longest))
        for rows in pieces(window[0], max(longest // math.prod(map(_length, box)), 1))
    ]


def _length(run: slice) -> int:
    length: int = run.stop - run.start
    return length
