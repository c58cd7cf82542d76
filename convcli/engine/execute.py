"""Run a plan: tile by tile, over the threads: pad, compute, look, add the bias, store."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convcli.engine import direct, fft, gemm, separable, stacked
from convcli.engine.pad import extend
from convcli.engine.quantise import store
from convcli.engine.threads import Scratch, share_out
from convcli.engine.windows import Tile
from convcli.planner import Plan, make_plan

STRATEGIES = {
    "direct": direct.prepare,
    "gemm": gemm.prepare,
    "stacked": stacked.prepare,
    "separable": separable.prepare,
    "fft": fft.prepare,
}
"""By method; `gemm` under one kernel for all lanes has no sum over channels, and stacks bands instead."""

BUFFER = 1024
"""numpy copies rows of up to a third of its buffer (8192 values) before adding them: at this size it adds twice as
fast. The setting ends with the errstate around it."""


class Part(NamedTuple):
    """A piece of the output: a run of the first batch axis (0 to 1 where there is none), and of the first spatial."""

    items: tuple[int, int]
    rows: tuple[int, int]


def whole(plan: Plan) -> Part:
    """All of the output."""
    return Part((0, plan.facts.batch[0] if plan.facts.batch else 1), (0, plan.sizes[0]))


def execute(
    plan: Plan,
    x: NDArray[Any],
    w: NDArray[Any],
    bias: NDArray[Any] | None,
    out: NDArray[Any],
    part: Part | None = None,
) -> None:
    """Fill `out` with the convolution that `plan` describes, or with a part of it.

    x: (*batch, *S, lanes), any strides; w: (*window) or (O, *window, C/groups); bias: (O,) or None;
    out: (*batch, *P, lanes or O), cut to the part. x and w are only read. The tiles follow from the plan and the
    part alone, so the same input gives the same bytes, whatever the number of threads.
    """
    part = part or whole(plan)
    share_out(_Run(plan, x, w, bias, out, part), _places(plan, part), spread=plan.spread)


class _Run:
    """One convolution under way: called with a place, it fills the outputs there."""

    def __init__(
        self, plan: Plan, x: NDArray[Any], w: NDArray[Any], bias: NDArray[Any] | None, out: NDArray[Any], part: Part
    ) -> None:
        self.plan, self.x, self.w, self.out, self.part = plan, x, w, out, part
        self.accumulator = np.dtype(plan.accumulator)
        with np.errstate(over="ignore"):
            self.shift = None if bias is None else bias.astype(self.accumulator)
            self.compute = STRATEGIES[_strategy(plan)](w, plan)
        self.scratch = Scratch()
        self.doubtful = plan.spreads_nan and not (x.dtype.kind in "biu" and np.isfinite(w).all())

    def __call__(self, place: Part) -> None:
        with np.errstate(invalid="ignore", over="ignore"):
            np.setbufsize(BUFFER)
            block, target = self._block(place), self._target(place)
            in_place = target.dtype == self.accumulator and target.flags.c_contiguous
            sums = target if in_place else self.scratch("sums", target.shape, self.accumulator)
            self.compute(block, sums)
            if self.doubtful and not _finite(sums):
                self._by_definition(block, sums)
            if self.plan.whole:
                np.rint(sums, out=sums)
            if self.shift is not None:
                sums += self.shift
            if not in_place:
                store(sums, target)

    def _block(self, place: Part) -> NDArray[Any]:
        """The padded input under a tile: a view of x where it can be."""
        items, (start, stop) = place
        first, *rest = self.plan.axes
        spans = [
            (start * first.stride - first.lo, (stop - 1) * first.stride + first.reach - first.lo),
            *((-axis.lo, axis.n + axis.hi) for axis in rest),
        ]
        axes = range(self.x.ndim - 1 - len(self.plan.axes), self.x.ndim - 1)
        spec = self.plan.spec
        x = self.x[slice(*items)] if self.plan.facts.batch else self.x
        return extend(x, axes, spans, spec.boundary, spec.cval, self.accumulator, self._room)

    def _room(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        return self.scratch("block", shape, dtype)

    def _target(self, place: Part) -> NDArray[Any]:
        items, rows = (
            slice(start - first, stop - first) for (start, stop), (first, _) in zip(place, self.part, strict=True)
        )
        batch = (items, *[slice(None)] * (len(self.plan.facts.batch) - 1)) if self.plan.facts.batch else ()
        view: NDArray[Any] = self.out[(*batch, rows)]
        return view

    @cached_property
    def _definition(self) -> tuple[Tile, np.dtype[Any]]:
        plan = make_plan(self.plan.facts, self.plan.spec, dtype=self.plan.dtype, method="direct")
        return direct.prepare(self.w, plan), np.dtype(plan.accumulator)

    def _by_definition(self, block: NDArray[Any], sums: NDArray[Any]) -> None:
        """Once more tap by tap: a band or a transform multiplies what no window covers by zero, and 0 * nan is nan."""
        tile, kind = self._definition
        exact = sums if kind == sums.dtype else np.empty(sums.shape, kind)
        tile(block.astype(kind, copy=False), exact)
        if exact is not sums:
            sums[...] = exact


def _strategy(plan: Plan) -> str:
    return "stacked" if plan.method == "gemm" and plan.facts.filters is None else plan.method


def _finite(sums: NDArray[Any]) -> bool:
    """Whether all values are finite, in one fast pass; values whose squares overflow are taken for infinite."""
    flat = sums.reshape(-1)
    return bool(np.isfinite(np.dot(flat, flat)))


def _places(plan: Plan, part: Part) -> Iterator[Part]:
    """Every tile, covering the part once."""
    for items in _runs(part.items, plan.tile[0]):
        for rows in _runs(part.rows, plan.tile[1]):
            yield Part(items, rows)


def _runs(span: tuple[int, int], longest: int) -> Iterator[tuple[int, int]]:
    start, stop = span
    for at in range(start, stop, longest):
        yield at, min(at + longest, stop)
