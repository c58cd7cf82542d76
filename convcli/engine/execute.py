"""Run a plan tile by tile on several threads: pad, compute, check for NaN, add the bias, store."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from itertools import count
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convcli.engine.analysis import MOST_FLOAT32, small_taps, whole_taps
from convcli.engine.blas import single_threaded
from convcli.engine.exact import TURN, prepare_residues, store_exact, wrapped
from convcli.engine.methods.bands import unlike
from convcli.engine.methods.base import REDONE, TileFunction
from convcli.engine.methods.windows import merges
from convcli.engine.padding import Span, are_rows, padded_block
from convcli.engine.planning.choose import make_plan
from convcli.engine.planning.plan import Plan
from convcli.engine.rounding import bounds, round_into, store_quotients
from convcli.engine.threads import Scratch, share_out, trim_scratch
from convcli.engine.tiling import Chunk, Tile, tiles, whole
from convcli.progress import Progress, silent

BUFFER = 1024
"""Size of numpy's buffer, in values, while a plan runs. Before numpy adds rows of up to a third of
its buffer (8192 values by default), it copies them; with this size it adds twice as fast. The
enclosing errstate restores the default."""


SMALL = 1 << 16
"""Most sums that are checked by one dot product, the fastest check in few calls."""


@contextmanager
def _numpy_settings() -> Iterator[None]:
    """Disable numpy's warnings and set the size of its buffer."""
    with np.errstate(invalid="ignore", over="ignore"):
        np.setbufsize(BUFFER)
        yield


class _Place(NamedTuple):
    """The samples and the outputs of a tile, as indices of arrays."""

    items: slice
    spans: list[Span]
    """The samples along each spatial axis; those outside of the input are padding."""
    target: tuple[slice, ...]
    whole: bool
    """Whether the tile is the whole output, without padding."""


class Prepared:
    """A convolution whose kernel and tiles are prepared; a call computes it, or a part of it.

    It holds no arrays of the caller except w, which must not change, and no scratch memory. Several
    threads may call it at a time.
    """

    def __init__(
        self,
        plan: Plan,
        w: NDArray[Any],
        bias: NDArray[Any] | None,
        x: NDArray[Any],
    ) -> None:
        """Prepare w (*window) or (O, *window, C/groups), with bias (O,) or None, for a plan.

        x: an array of the same shape, strides and type as those that are to be convolved.
        """
        self.plan, self.method = plan, plan.implementation
        input_dtype, dtype = x.dtype, np.dtype(plan.dtype)
        self.w, self.power = whole_taps(w, plan.facts.divisor), 0
        if plan.facts.extreme:
            self.w, self.power = small_taps(w)
        self.scratch, self.accumulator = Scratch(), np.dtype(plan.accumulator)
        self.planar = self.method.planar(plan) and plan.facts.channels > 1
        self.block_dtype = input_dtype if self.method.keeps_dtype(plan) else self.accumulator

        # Samples with gaps are copied once, because a method would copy them more often.
        self.is_copied = plan.facts.filters is None and not are_rows(x)
        self.reads_in_place = input_dtype == self.block_dtype and not self.is_copied
        with np.errstate(invalid="ignore", over="ignore"):
            self.bias = None if bias is None else bias.astype(self.accumulator)
            self.compute = self.method.prepare(self.w, plan)

        # Sums of whole numbers are rounded if the method leaves a fraction; bounds of the sums of
        # integer samples are known in advance.
        self.rounds_sums = plan.facts.integral is not None and self.method.rounds_sums(plan)
        one_kernel = plan.facts.filters is None
        self.bounds = (
            bounds(input_dtype, w, plan.spec.cval) if one_kernel and dtype.kind in "iu" else None
        )

        # Sums that exceed float64's precision are corrected by their residues modulo 2**64.
        self.residue_of: TileFunction | None = None
        if plan.facts.exact:
            self.residue_of = prepare_residues(w, make_plan(plan, "direct"))
            self.whole_bias = np.zeros(1, np.uint64) if bias is None else wrapped(bias)

        # Check for NaN only if there can be one. Partial sums in float32 may also overflow although
        # the result does not.
        finite = input_dtype.kind in "biu" and np.isfinite(plan.spec.cval) and np.isfinite(w).all()
        self.checks_nan = self.method.spreads_nan(plan) and not finite
        self.checks_overflow = self.accumulator == np.float32 and input_dtype.kind == "f"
        if self.checks_overflow:
            self.largest_sample = MOST_FLOAT32 / max(plan.facts.weight, w.size)
        self.checks_samples = self.method.skips_taps(plan)
        self.written: dict[tuple[tuple[int, ...], tuple[int, ...]], bool] = {}

    def __call__(
        self,
        x: NDArray[Any],
        out: NDArray[Any],
        part: Chunk | None = None,
        progress: Progress = silent,
    ) -> None:
        """Fill `out` with the convolution of x, or with a part of it.

        x: (*batch, *S, channels), any strides, only read; out: (*batch, *P, channels or O), cut to
        the part. The tiles depend only on the plan and the part, so the result has the same bytes
        with any number of threads.
        """
        places = self._all if part is None else self._places(part)
        if len(places) == 1 and not self.plan.is_parallel:
            with single_threaded, np.errstate(invalid="ignore", over="ignore"):
                self._compute(x, out, places[0])
            trim_scratch()
            progress(1.0)
            return
        finished = count(1)

        def compute(place: _Place) -> None:
            self._compute(x, out, place)
            progress(next(finished) / len(places))

        share_out(compute, places, workers=self.plan.threads, around=_numpy_settings)

    @cached_property
    def _all(self) -> list[_Place]:
        return self._places(whole(self.plan))

    def _places(self, part: Chunk) -> list[_Place]:
        """Return the places of all tiles of a part."""
        return [self._place(tile, part) for tile in tiles(self.plan, part)]

    def _place(self, tile: Tile, part: Chunk) -> _Place:
        batch, (rows, *rest) = len(self.plan.facts.batch), tile.spans
        target = [_shifted(rows, part.rows[0]), *(slice(*span) for span in rest)]
        if batch:
            lead = [_shifted(tile.items, part.items[0]), *[slice(None)] * (batch - 1)]
            target = lead + target
        spans = [axis.under(*span) for axis, span in zip(self.plan.axes, tile.spans, strict=True)]
        if self.method.pads_inner(self.plan):
            spans[1:] = [(0, axis.n) for axis in self.plan.axes[1:]]
        alone = (
            part == whole(self.plan)
            and self.plan.sizes == tuple(stop - start for start, stop in tile.spans)
            and (not batch or tile.items == part.items)
        )
        inside = spans == [(0, axis.n) for axis in self.plan.axes]
        return _Place(slice(*tile.items), spans, tuple(target), alone and inside)

    def _compute(self, x: NDArray[Any], out: NDArray[Any], place: _Place) -> None:
        """Compute the outputs of one tile."""
        if place.whole and self.reads_in_place:
            block, target = x, out
        else:
            block = self._block(x, place, self.block_dtype, self.plan.spec.cval)
            target = out[place.target]
        in_place = target.dtype == self.accumulator and not self.planar and self._is_written(target)
        sums = target if in_place else self._sums(target.shape)
        self.compute(block, sums)
        checks = self.checks_nan or self.checks_overflow
        suspect = checks and not self._all_finite(block, sums)
        if suspect and (self.checks_nan or self._may_overflow(block)):
            self._compute_by_definition(block, sums)
        if self.power:
            np.ldexp(sums, self.power, out=sums)
        if self.rounds_sums:
            np.rint(sums, out=sums)
        if self.bias is not None:
            sums += self.bias
        if self.residue_of is not None:
            store_exact(sums, self._residues(x, place, sums.shape, self.residue_of), target)
        elif self.plan.facts.divisor > 1:
            store_quotients(sums, self.plan.facts.divisor, target, self.bounds)
        elif not in_place:
            round_into(sums, target, spent=True, within=self.bounds)

    def _residues(
        self, x: NDArray[Any], place: _Place, shape: tuple[int, ...], residue_of: TileFunction
    ) -> NDArray[np.uint64]:
        """Return the sums of a tile, with the bias, modulo 2**64."""
        block = self._block(x, place, np.dtype(np.uint64), int(self.plan.spec.cval) % TURN)
        residues = self.scratch("residues", shape, np.uint64)
        residue_of(block, residues)
        residues += self.whole_bias
        return residues

    def _block(
        self, x: NDArray[Any], place: _Place, dtype: np.dtype[Any], cval: float
    ) -> NDArray[Any]:
        """Return the padded input under a tile: a view of x if possible."""
        axes = range(x.ndim - 1 - len(self.plan.axes), x.ndim - 1)
        x = x[place.items] if self.plan.facts.batch else x

        def room(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
            return self.scratch("block", shape, dtype)

        boundary, copied = self.plan.spec.boundary, self.is_copied
        return padded_block(x, axes, place.spans, boundary, cval, dtype, room, copied)

    def _sums(self, shape: tuple[int, ...]) -> NDArray[Any]:
        """Return an array for the sums of a tile, with rows aligned to cache lines if useful."""
        if self.planar:
            planes = (*shape[:-2], shape[-1], shape[-2])
            return self.scratch("sums", planes, self.accumulator).swapaxes(-1, -2)
        row = values = math.prod(shape[-2:])
        if self.method.pads_rows(self.plan) and len(self.plan.axes) == 2:
            row = unlike(values, self.accumulator.itemsize)
        rows = self.scratch("sums", (*shape[:-2], row), self.accumulator)
        return rows[..., :values].reshape(shape)

    def _is_written(self, target: NDArray[Any]) -> bool:
        """Return whether the method writes a part of the output in place."""
        key = target.shape, target.strides
        written = self.written.get(key)
        if written is None:
            written = self.written[key] = _is_rows(target)
        return written

    def _all_finite(self, block: NDArray[Any], sums: NDArray[Any]) -> bool:
        """Return whether all values are finite and their squares do not overflow.

        If the method skips taps, the samples are checked: sums of small ones do not overflow.
        """
        if self.checks_samples:
            most = min(self.largest_sample**2, MOST_FLOAT32) if self.checks_overflow else np.inf
            return _squares_below(most, block)
        if sums.size <= SMALL and sums.flags.c_contiguous:
            values = sums.reshape(-1)
            return math.isfinite(np.dot(values, values))
        return _squares_below(np.inf, sums)

    def _may_overflow(self, block: NDArray[Any]) -> bool:
        """Return whether sums of the finite samples of a block may overflow float32."""
        sizes = np.abs(block)
        return bool((sizes[np.isfinite(sizes)] > self.largest_sample).any())

    @cached_property
    def _definition(self) -> tuple[TileFunction, np.dtype[Any]]:
        own = self.method.definition(self.w, self.plan)
        if own is not None:
            return own, np.dtype(np.float64)
        plan = make_plan(replace(self.plan, facts=replace(self.plan.facts, extreme=True)), "direct")
        return plan.implementation.prepare(self.w, plan), np.dtype(plan.accumulator)

    def _compute_by_definition(self, block: NDArray[Any], sums: NDArray[Any]) -> None:
        """Recompute a tile tap by tap in float64, some rows at a time.

        Bands and transforms multiply samples outside of a window by zero, and 0 * nan is nan.
        """
        compute, dtype = self._definition
        first, lead = self.plan.axes[0], (slice(None),) * (sums.ndim - 1 - len(self.plan.axes))
        height = sums.shape[len(lead)]
        rows = max(REDONE * height // sums.size, 1)
        for start in range(0, height, rows):
            part = sums[(*lead, slice(start, start + rows))]
            begin = start * first.stride
            seen = block[(*lead, slice(begin, begin + first.span(part.shape[len(lead)])))]
            exact = np.empty(part.shape, dtype)
            compute(seen, exact)
            part[...] = exact


def _squares_below(most: float, values: NDArray[Any]) -> bool:
    """Return whether no sum of squares of a row of (..., n, channels) is NaN or reaches `most`."""
    joined = values.strides[-2] == values.shape[-1] * values.strides[-1]
    lines = values.reshape(*values.shape[:-2], -1) if joined else values.swapaxes(-1, -2)
    return bool((np.vecdot(lines, lines) < most).all())


def _shifted(span: tuple[int, int], origin: int) -> slice:
    return slice(span[0] - origin, span[1] - origin)


def _is_rows(part: NDArray[Any]) -> bool:
    """Return whether a part of the output is a matrix (A, Z) that methods can write to directly."""
    row = part[(0,) * (part.ndim - 2)]
    return row.flags.c_contiguous and merges(part, 2)
