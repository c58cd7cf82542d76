"""A kernel of any rank as a stack of bands: one matrix product for all its columns, and shifted sums.

Every column q of the kernel is a 1-D kernel down the rows, and has its band V_q. Stacked, the bands multiply a strip
of rows as it lies in memory, which gives every column's share of every output; each share belongs q samples to the
left of where it was computed, and their sum is the strip of outputs::

      [ V0 ]                   [ share 0 ]          share 0   . . . . . . .|
      [ V1 ]  @  strip    =    [ share 1 ]          share 1    |. . . . . . .
      [ V2 ]  (rows, W)        [ share 2 ]          share 2     | . . . . . . .
                                                    outputs     = = = = = =

Interleaved channels make the shift q * C, and a volume's rows are its planes laid flat, so nothing is rearranged.
"""

from __future__ import annotations

import math
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from convcli.engine.bands import ENDLESS, Matrix, as_matrix, band, pieces, span, unlike
from convcli.engine.pairwise import add_up
from convcli.engine.threads import Scratch
from convcli.engine.windows import Tile, under_tap
from convcli.planner import BAND_RUN, GATHER_RUN, STACK_VALUES, Plan, stack_rows


class _Stack(NamedTuple):
    """The bands of all taps along the last axis, for one place on the axes between: (taps * rows, samples)."""

    bands: Matrix
    shift: int


def prepare(w: Matrix, plan: Plan) -> Tile:
    """Ready one kernel (*window), in any type."""
    return _Stacked(w.astype(plan.accumulator), plan)


class _Stacked:
    def __init__(self, w: Matrix, plan: Plan) -> None:
        self.first, *self.rest = plan.axes
        self.scratch, self.lanes, self.rows = Scratch(), plan.facts.lanes, stack_rows(w.shape[0])
        w = w.reshape(*w.shape, 1) if w.ndim == 1 else w
        steps = [plan.facts.lanes * math.prod(a.padded for a in self.rest[at + 1 :]) for at in range(len(self.rest))]
        shifts = [[t * a.dilation * step for t in range(a.k)] for a, step in zip(self.rest, steps, strict=True)]
        self.shift = self.rest[-1].dilation * plan.facts.lanes if self.rest else 0
        self.reach = self.shift * (w.shape[-1] - 1)
        self.beyond = sum(line[-1] for line in shifts)
        self.ones = np.ones((1, w.shape[-1]), w.dtype)
        between = [range(k) for k in w.shape[1:-1]]
        self.stacks = [
            _Stack(
                np.concatenate(
                    [band(column, self.first, self.rows) for column in np.moveaxis(w, 0, -1)[tap].reshape(-1, len(w))]
                ),
                sum(line[t] for line, t in zip(shifts, tap, strict=False)),
            )
            for tap in product(*between)
        ]
        run = BAND_RUN[plan.precision] if plan.precision else ENDLESS
        self.longest = run * self.first.dilation if self.first.k > run else ENDLESS
        self.width = max(STACK_VALUES // len(self.stacks[0].bands), 64)

    def __call__(self, block: Matrix, out: Matrix) -> None:
        """Fill a tile: outputs (*items, rows, *rest, lanes) from a block."""
        lead = out.ndim - 2 - len(self.rest)
        shape = (math.prod(block.shape[:lead]), block.shape[lead], math.prod(block.shape[lead + 1 :]))
        items, sums = as_matrix(block, shape), out.reshape(shape[0], *out.shape[lead:])
        for rows, target in zip(items, sums, strict=True):
            for start in range(0, len(target), self.rows):
                self._strip(rows[start * self.first.stride :], target[start : start + self.rows])

    def _strip(self, rows: Matrix, out: Matrix) -> None:
        """One strip of outputs (rows, *rest, lanes), from its samples on."""
        positions = rows.shape[1] - self.beyond
        flat = out.reshape(len(out), -1)
        if flat.shape[1] == positions:
            self._sum(rows, flat)
            return
        room = self.scratch("positions", (len(out), rows.shape[1]), rows.dtype)
        self._sum(rows, room[:, :positions])
        grid = room.reshape(len(out), *(axis.padded for axis in self.rest), self.lanes)
        out[...] = under_tap(grid, tuple(self.rest), out.shape[1:-1], (0,) * len(self.rest))

    def _sum(self, rows: Matrix, out: Matrix) -> None:
        """Every flat position (rows, positions), in chunks whose shares stay in the cache."""
        for part in pieces(out.shape[1], self.width):
            for number, stack in enumerate(self.stacks):
                seen = rows[
                    : span(self.first, len(out)), part.start + stack.shift : part.stop + stack.shift + self.reach
                ]
                shares = self._shares(stack.bands, seen, len(out))
                target = out[:, part]
                sums = self.scratch("more", target.shape, out.dtype) if number else target
                self._gather(shares, sums)
                if number:
                    target += sums

    def _shares(self, bands: Matrix, seen: Matrix, outputs: int) -> Matrix:
        """The product (taps, outputs, samples of a row)."""
        if outputs < self.rows:
            bands = bands.reshape(-1, self.rows, bands.shape[1])[:, :outputs].reshape(-1, bands.shape[1])
        pitch = unlike(seen.shape[1], seen.itemsize)
        room = self.scratch("shares", (len(bands), pitch), seen.dtype)
        cut = pieces(len(seen), self.longest)
        add_up(cut, lambda piece, share: np.matmul(bands[:, piece], seen[piece], out=share), room[:, : seen.shape[1]])
        return room.reshape(-1, outputs, pitch)

    def _gather(self, shares: Matrix, out: Matrix) -> None:
        """Out (rows, values) = the sum of the shares, each moved by its shift.

        Seen with rows of one share a step longer than they are, the shares lie under each other, and a product with
        a row of ones adds them in one call: twice as fast as numpy's additions, and one wait for the other thread.
        """
        size = shares.itemsize
        tap, row = shares.strides[:2]
        moved = as_strided(
            shares, (len(out), len(shares), out.shape[1]), (row, tap + self.shift * size, size), writeable=False
        )
        cut = pieces(len(shares), GATHER_RUN)
        add_up(cut, lambda piece, total: np.matmul(self.ones[:, piece], moved[:, piece], out=total), out[:, None, :])
