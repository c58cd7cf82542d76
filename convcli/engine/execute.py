"""Run a plan: tile by tile, over the threads: pad, compute, look, add the bias, store."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convcli.engine.buffers import LINE
from convcli.engine.methods.bands import unlike
from convcli.engine.methods.base import TileFunction
from convcli.engine.methods.windows import merges
from convcli.engine.padding import padded_block
from convcli.engine.planning.choose import make_plan
from convcli.engine.planning.memory import REDONE
from convcli.engine.planning.plan import Plan
from convcli.engine.planning.tiles import ALONG
from convcli.engine.rounding import bounds, round_into
from convcli.engine.threads import Scratch, share_out
from convcli.engine.tiling import Chunk, Tile, tiles, whole

BUFFER = 1024
"""numpy copies rows of up to a third of its buffer (8192 values) before adding them: at this size it adds twice as
fast. The setting ends with the errstate around it."""


def execute(
    plan: Plan,
    x: NDArray[Any],
    w: NDArray[Any],
    bias: NDArray[Any] | None,
    out: NDArray[Any],
    part: Chunk | None = None,
) -> None:
    """Fill `out` with the convolution that `plan` describes, or with a part of it.

    x: (*batch, *S, channels), any strides; w: (*window) or (O, *window, C/groups); bias: (O,) or None;
    out: (*batch, *P, channels or O), cut to the part. x and w are only read. The tiles follow from the plan and the
    part alone, so the same input gives the same bytes, whatever the number of threads.
    """
    part = part or whole(plan)
    run = _Run(plan, x, w, bias, out, part)
    share_out(run, tiles(plan, part), workers=plan.threads, around=_quietly)


@contextmanager
def _quietly() -> Iterator[None]:
    """Without numpy's warnings, and with its buffers of the size that sums are added fastest with."""
    with np.errstate(invalid="ignore", over="ignore"):
        np.setbufsize(BUFFER)
        yield


class _Run:
    """One convolution under way: called with a place, it fills the outputs there."""

    def __init__(
        self, plan: Plan, x: NDArray[Any], w: NDArray[Any], bias: NDArray[Any] | None, out: NDArray[Any], part: Chunk
    ) -> None:
        self.plan, self.x, self.w, self.out, self.part = plan, x, w, out, part
        method = plan.implementation
        self.accumulator = np.dtype(plan.accumulator)
        with np.errstate(invalid="ignore", over="ignore"):
            self.shift = None if bias is None else bias.astype(self.accumulator)
            self.compute = method.prepare(w, plan)
        self.scratch, self.rounds_sums = Scratch(), plan.facts.integral is not None and method.rounds_sums(plan)
        lead = out.ndim - 1 - len(plan.axes)
        self.looked_at = (*(slice(None),) * lead, slice(None, None, method.rows_per_band(plan)))
        self.taken = x.dtype if method.keeps_dtype(plan) else self.accumulator
        bounded = plan.facts.filters is None and out.dtype.kind in "iu"
        self.within = bounds(x.dtype, w, plan.spec.cval) if bounded else None
        self.doubtful = method.spreads_nan(plan) and not (
            x.dtype.kind in "biu" and np.isfinite(plan.spec.cval) and np.isfinite(w).all()
        )

    def __call__(self, place: Tile) -> None:
        block, target = self._block(place), self._target(place)
        in_place = target.dtype == self.accumulator and _is_rows(target) and not self._crosses_lines(target)
        sums = target if in_place else self._sums(target.shape)
        self.compute(block, sums)
        if self.doubtful and not self._finite(sums):
            self._by_definition(block, sums)
        if self.rounds_sums:
            np.rint(sums, out=sums)
        if self.shift is not None:
            sums += self.shift
        if not in_place:
            round_into(sums, target, spent=True, within=self.within)

    def _block(self, place: Tile) -> NDArray[Any]:
        """The padded input under a tile: a view of x where it can be."""
        spans = [axis.under(*span) for axis, span in zip(self.plan.axes, place.spans, strict=True)]
        axes = range(self.x.ndim - 1 - len(self.plan.axes), self.x.ndim - 1)
        spec = self.plan.spec
        x = self.x[slice(*place.items)] if self.plan.facts.batch else self.x
        return padded_block(x, axes, spans, spec.boundary, spec.cval, self.taken, self._room)

    def _room(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        return self.scratch("block", shape, dtype)

    def _sums(self, shape: tuple[int, ...]) -> NDArray[Any]:
        """Room for the sums of a tile; under a band the rows of a picture begin with a line of the cache."""
        values, picture = math.prod(shape[-2:]), len(self.plan.axes) == 2
        row = unlike(values, self.accumulator.itemsize) if self.plan.implementation.pads_rows and picture else values
        return self.scratch("sums", (*shape[:-2], row), self.accumulator)[..., :values].reshape(shape)

    def _crosses_lines(self, target: NDArray[Any]) -> bool:
        """Whether stores touch two lines of the cache each, because rows of a picture do not begin with one.

        That is where a pass along rows, which writes a vector's values of each at a time, would take twice as long.
        """
        vectors = (
            self.plan.implementation.stores_down_rows and len(self.plan.axes) == 2 and ALONG % target.shape[-1] == 0
        )
        return vectors and bool(target.strides[-3] % LINE)

    def _target(self, place: Tile) -> NDArray[Any]:
        """The outputs of a tile, in `out`."""
        (start, stop), *rest = place.spans
        (item, end), (above, _) = place.items, self.part.rows
        items = [slice(item - self.part.items[0], end - self.part.items[0])] if self.plan.facts.batch else []
        between = [slice(None)] * (len(self.plan.facts.batch) - len(items))
        rows = slice(start - above, stop - above)
        view: NDArray[Any] = self.out[(*items, *between, rows, *(slice(*span) for span in rest))]
        return view

    def _finite(self, sums: NDArray[Any]) -> bool:
        """Whether all values are finite, in one fast pass; values whose squares overflow are taken for infinite."""
        seen = sums[self.looked_at]
        lines = seen.reshape(*seen.shape[:-2], -1)
        return bool(np.isfinite(np.vecdot(lines, lines)).all())

    @cached_property
    def _definition(self) -> tuple[TileFunction, np.dtype[Any]]:
        plan = make_plan(self.plan.facts, self.plan.spec, dtype=self.plan.dtype, method="direct")
        return plan.implementation.prepare(self.w, plan), np.dtype(plan.accumulator)

    def _by_definition(self, block: NDArray[Any], sums: NDArray[Any]) -> None:
        """Once more tap by tap: a band or a transform multiplies what no window covers by zero, and 0 * nan is nan."""
        tile, kind = self._definition
        first, lead = self.plan.axes[0], (slice(None),) * (sums.ndim - 1 - len(self.plan.axes))
        rows = max(REDONE * sums.shape[len(lead)] // sums.size, 1)
        for start in range(0, sums.shape[len(lead)], rows):
            part = sums[(*lead, slice(start, start + rows))]
            begin = start * first.stride
            seen = block[(*lead, slice(begin, begin + first.span(part.shape[len(lead)])))]
            exact = np.empty(part.shape, kind)
            tile(seen, exact)
            part[...] = exact


def _is_rows(part: NDArray[Any]) -> bool:
    """Whether a piece of the output is a matrix of whole rows (A, Z), so that the methods can write into it."""
    row = part[(0,) * (part.ndim - 2)]
    return row.flags.c_contiguous and merges(part, 2)
