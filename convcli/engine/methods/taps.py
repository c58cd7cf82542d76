"""A kernel of few taps: shifted rows are multiplied and added, in the narrowest type that is exact.

The samples under a tap, for all outputs of a tile, are a view of the tile's samples with whole
rows, in which all channels follow each other. One operation on two such views takes 0.15 ns per
value of float32, and half of that for integers of 16 bits, which are exact if the sum of |taps| is
small (128 for samples of 8 bits). `tap_sums` counts the operations.

For unlike taps, one call of np.einsum multiplies and adds all of them in 0.1 ns per tap and value,
half of that for 16 bits. Its inner loop is a row, if no other step of the windows is as short.

With a stride along a row, the samples under a tap are not contiguous. They are copied so that they
are: every n-th sample of one channel (here a stride of 2 and two channels)::

    row      a0 b0 a1 b1 a2 b2 a3 b3          phase 0   a0 a2 | b0 b2
                                              phase 1   a1 a3 | b1 b3

Zero taps are skipped. By the definition, a NaN under one results in NaN, so the caller must check
the samples. If they are finite and not too large, no sum overflows either.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from convcli.engine.methods.base import CostEstimate, Method, Needs, TileFunction
from convcli.engine.planning.costs import CALL
from convcli.engine.planning.facts import TiledWork, Work, roundings_allowed
from convcli.engine.planning.tiles import TILES, evenly, strip
from convcli.engine.tap_sums import Part, TapSum, tap_sum
from convcli.engine.threads import Scratch
from convcli.options import itemsize
from convcli.shapes.parse import counted

OPERATION = 0.15
"""Nanoseconds of an operation on a value of float32; half for 16 bits, and twice for 64."""

MULTIPLY_ADD = 0.13
"""Nanoseconds of a tap in one call for all taps, for float32; half for 16 bits, twice for 64."""

LOOP = 40.0
"""Nanoseconds of such a call for each tap and row."""

PICK = 0.5
"""Nanoseconds of copying a sample to its phase and channel."""

TILE_BYTES = 1 << 21
"""Bytes of the sums of a tile. Its arrays exceed a second-level cache, but in smaller tiles threads
wait for the interpreter between short operations: with 512 KiB two threads took twice as long."""

ENOUGH = 1 << 17
"""Outputs of a tile that are enough, if there are then more tiles for the threads."""

LEAST_ROWS = 8
"""Rows that a tile should have: with fewer, most of its samples are read for others as well."""

FEW_CHANNELS = 6
"""Channels up to which a row with a stride is copied: runs of more samples are read in place."""


class Taps(Method):
    """One kernel as sums of shifted rows."""

    name = "gemm"

    def refusal(self, work: Work) -> str:
        facts = work.facts
        if facts.filters is not None:
            return "a bank has many kernels"
        if facts.extreme or facts.exact:
            return "the sums exceed float32's range or float64's precision"
        if facts.taps is None:
            return "the kernel has many taps, or counting them would take longer than it saves"
        precision = self.precision(work)
        if precision and facts.taps.depth > roundings_allowed(precision, work.terms):
            return "adding the taps one after the other would round too often"
        return ""

    def cost(self, work: Work) -> CostEstimate:
        assert work.facts.taps is not None
        operations, kind = max(work.facts.taps.operations, 1), self.accumulator(work)
        account = f"{counted(operations, 'operation')} on shifted rows, in {kind}"
        output = operations * OPERATION * self._width(work)
        if self.multiplies_windows(work):
            account = f"{counted(work.terms, 'multiply-add')} on shifted rows, in {kind}"
            output = self._all_taps(work)
        time = CALL + work.outputs * output
        if self.picks(work):
            whole = (*(work.facts.batch[:1] or (1,)), *work.sizes)
            time += work.tile_samples(whole) * PICK
        return CostEstimate(time, account)

    def tile(self, work: Work) -> tuple[int, ...]:
        channels, stride = work.facts.channels, work.axes[-1].stride if self.picks(work) else 1
        budget = TILE_BYTES // (self.itemsize(work) * stride * channels)
        rest = list(work.sizes[1:])
        if rest:
            rest[0] = evenly(rest[0], max(budget // math.prod(rest[1:]) // LEAST_ROWS, 1))
        budget = min(budget, max(work.outputs // TILES, ENOUGH) // channels)
        return strip(work, budget, rest)

    def memory(self, work: Work, tile: tuple[int, ...]) -> Needs:
        assert work.facts.taps is not None
        arrays = work.facts.taps.arrays + self.picks(work)
        ended = work.tile_samples(tile) // work.axes[-1].span(tile[-1]) * work.axes[-1].stride
        return Needs(0, arrays * (work.tile_samples(tile) + ended) * self.itemsize(work))

    def prepare(self, w: NDArray[Any], plan: TiledWork) -> TileFunction:
        if self.multiplies_windows(plan):
            return _Windows(w, plan)
        found = tap_sum(w)
        assert found is not None
        return _Rows(found, plan, self.picks(plan))

    def accumulator(self, work: Work) -> str:
        bound = work.facts.integral
        if bound is not None and work.facts.input_dtype[0] in "uib":
            if bound < 1 << 15:
                return "int16"
            if 1 << 24 <= bound < 1 << 31:
                return "int32"
        return super().accumulator(work)

    def keeps_dtype(self, work: Work) -> bool:
        whole = work.facts.input_dtype[0] in "uib"
        zero = work.spec.boundary != "constant" or work.spec.cval == 0
        return self.picks(work) and whole and zero

    def columns_are_rows(self, work: Work) -> bool:
        return work.facts.input_dtype == self.accumulator(work)

    def picks(self, work: Work) -> bool:
        """Return whether samples are copied to their phase along a row with a stride."""
        return work.axes[-1].stride > 1 and work.facts.channels <= FEW_CHANNELS

    def multiplies_windows(self, work: Work) -> bool:
        """Return whether one call multiplies and adds all taps, as it takes less time."""
        counts, axis, precision = work.facts.taps, work.axes[-1], self.precision(work)
        if counts is None or axis.stride > 1 or axis.dilation * work.facts.channels == 1:
            return False
        if precision and work.terms + 1 > roundings_allowed(precision, work.terms):
            return False
        return self._all_taps(work) < counts.operations * OPERATION * self._width(work)

    def _all_taps(self, work: Work) -> float:
        """Return the nanoseconds of an output in such a call."""
        row = work.axes[-1].out * work.facts.channels
        return work.terms * (MULTIPLY_ADD * self._width(work) + LOOP / row)

    def _width(self, work: Work) -> float:
        """Return the cost of a value as a share of float32's; float64 is counted later."""
        kind = self.accumulator(work)
        return itemsize(kind) / (8 if kind == "float64" else 4)

    def planar(self, work: Work) -> bool:
        return self.picks(work)

    def skips_taps(self, work: Work) -> bool:
        return True

    def spreads_nan(self, work: Work) -> bool:
        return True


METHOD = Taps()


class _Windows:
    """A kernel whose taps are multiplied and added in one call."""

    def __init__(self, w: NDArray[Any], plan: TiledWork) -> None:
        self.taps, self.axes = w.astype(plan.accumulator), plan.axes

    def __call__(self, block: NDArray[Any], out: NDArray[Any]) -> None:
        """Fill a tile: outputs (*items, *P, channels) from a block (*items, *S, channels)."""
        ahead, (*sizes, places, channels) = out.ndim - len(self.axes) - 1, out.shape
        steps = block.strides[ahead:-1]
        moved = [step * axis.stride for step, axis in zip(steps, self.axes, strict=True)]
        spread = [step * axis.dilation for step, axis in zip(steps, self.axes, strict=True)]
        seen = as_strided(
            block,
            (*sizes, *self.taps.shape, places * channels),
            (*block.strides[:ahead], *moved[:-1], *spread, block.itemsize),
            writeable=False,
        )
        outputs = list(range(len(sizes)))
        taps = list(range(len(sizes), len(sizes) + len(self.axes)))
        rows = out.reshape(*sizes, places * channels)
        last = len(outputs) + len(taps)
        np.einsum(self.taps, taps, seen, [*outputs, *taps, last], [*outputs, last], out=rows)


class _Rows:
    """A kernel whose taps are added row by row."""

    def __init__(self, found: TapSum, plan: TiledWork, picks: bool) -> None:
        self.sum, self.axes, self.picks = found, plan.axes, picks
        self.dtype, self.scratch = np.dtype(plan.accumulator), Scratch()
        self.lead = (slice(None),) * len(plan.facts.batch)

    def __call__(self, block: NDArray[Any], out: NDArray[Any]) -> None:
        """Fill a tile: outputs (*items, *P, channels) from a block (*items, *S, channels)."""
        sizes = out.shape[-1 - len(self.axes) : -1]
        if self.picks:
            block, out = self._pick(block), out.swapaxes(-1, -2)
        self._add(self.sum, block, sizes, out, "")

    def _pick(self, block: NDArray[Any]) -> NDArray[Any]:
        """Return the samples as (*items, *S without the last, phases, channels, places)."""
        stride, (*rows, places, channels) = self.axes[-1].stride, block.shape
        picked = self.scratch("", (*rows, stride, channels, -(-places // stride)), self.dtype)
        for phase in range(stride):
            for channel in range(channels):
                seen = block[..., phase::stride, channel]
                picked[..., phase, channel, : seen.shape[-1]] = seen
        return picked

    def _add(
        self,
        total: TapSum,
        x: NDArray[Any],
        sizes: tuple[int, ...],
        out: NDArray[Any],
        name: str,
    ) -> None:
        """Fill out with a sum along the first axes of x, which have `sizes` outputs.

        name: of the sum's scratch arrays.
        """
        columns = [
            self._column(each, x, sizes[:-1], f"{name}{number}")
            for number, each in enumerate(total.columns)
        ]

        def operand(part: Part) -> NDArray[Any]:
            if part.column is None:
                return x[self._index(part.tap, sizes)]
            return columns[part.column][self._index(part.tap, sizes, len(sizes) - 1)]

        for number, (weight, parts) in enumerate(total.groups):
            if number and weight == 1:
                for part in parts:
                    _plus(out, part.sign, operand(part), out)
                continue
            term = self.scratch(f"{name}term", out.shape, self.dtype) if number else out
            first, *rest = parts
            value = operand(first)
            for part in rest:
                value = _plus(value, part.sign * first.sign, operand(part), term)
            if not rest or weight != 1 or first.sign < 0:
                np.multiply(value, self.dtype.type(weight * first.sign), out=term)
            if number:
                out += term

    def _column(
        self, total: TapSum, x: NDArray[Any], sizes: tuple[int, ...], name: str
    ) -> NDArray[Any]:
        """Return a column's sums, for all places along the axes behind its own."""
        if total.is_sample:
            return x[self._index(total.groups[0].parts[0].tap, sizes)]
        ahead = len(self.lead)
        shape = (*x.shape[:ahead], *sizes, *x.shape[ahead + len(sizes) :])
        room = self.scratch(f"{name} column", shape, self.dtype)
        self._add(total, x, sizes, room, f"{name}.")
        return room

    def _index(
        self, tap: tuple[int, ...], sizes: tuple[int, ...], first: int = 0
    ) -> tuple[slice | int, ...]:
        """Return the index of the samples under a tap, along the axes from `first` on."""
        index: list[slice | int] = [*self.lead, *(slice(None),) * first]
        for at, t in enumerate(tap, first):
            start, stride, size = t * self.axes[at].dilation, self.axes[at].stride, sizes[at]
            if self.picks and at == len(self.axes) - 1:
                place, phase = divmod(start, stride)
                index += [phase, slice(None), slice(place, place + size)]
            else:
                index.append(slice(start, start + (size - 1) * stride + 1, stride))
        return tuple(index)


def _plus(one: NDArray[Any], sign: int, other: NDArray[Any], out: NDArray[Any]) -> NDArray[Any]:
    """Fill out with the sum or, for a negative sign, with the difference, and return it."""
    (np.add if sign > 0 else np.subtract)(one, other, out=out)
    return out
