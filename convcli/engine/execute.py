"""Run a plan: tile by tile, over the threads: pad, compute, look, add the bias, store."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convcli.engine import direct, gemm, separable, stacked
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
}
"""By method; `gemm` under one kernel for all lanes has no sum over channels, and stacks bands instead."""

BUFFER = 1024
"""numpy copies rows of up to a third of its buffer (8192 values) before adding them: at this size it adds twice as
fast. The setting ends with the errstate around it."""

Place = tuple[tuple[slice, ...], tuple[int, int]]
"""A tile: items of the first batch axis, and rows of the first spatial axis."""


def execute(plan: Plan, x: NDArray[Any], w: NDArray[Any], bias: NDArray[Any] | None, out: NDArray[Any]) -> None:
    """Fill `out` with the convolution that `plan` describes.

    x: (*batch, *S, lanes), any strides; w: (*window) or (O, *window, C/groups); bias: (O,) or None;
    out: (*batch, *P, lanes or O). x and w are only read. The tiles follow from the plan alone, so the same
    input gives the same bytes, whatever the number of threads.
    """
    share_out(_Run(plan, x, w, bias, out), _places(plan), spread=plan.spread)


class _Run:
    """One convolution under way: called with a place, it fills the outputs there."""

    def __init__(
        self, plan: Plan, x: NDArray[Any], w: NDArray[Any], bias: NDArray[Any] | None, out: NDArray[Any]
    ) -> None:
        self.plan, self.x, self.w, self.out = plan, x, w, out
        self.accumulator = np.dtype(plan.accumulator)
        with np.errstate(over="ignore"):
            self.shift = None if bias is None else bias.astype(self.accumulator)
            self.compute = STRATEGIES[_strategy(plan)](w, plan)
        self.scratch = Scratch()
        self.doubtful = plan.spreads_nan and not (x.dtype.kind in "biu" and np.isfinite(w).all())

    def __call__(self, place: Place) -> None:
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

    def _block(self, place: Place) -> NDArray[Any]:
        """The padded input under a tile: a view of x where it can be."""
        items, (start, stop) = place
        first, *rest = self.plan.axes
        spans = [
            (start * first.stride - first.lo, (stop - 1) * first.stride + first.reach - first.lo),
            *((-axis.lo, axis.n + axis.hi) for axis in rest),
        ]
        axes = range(self.x.ndim - 1 - len(self.plan.axes), self.x.ndim - 1)
        spec = self.plan.spec
        return extend(self.x[items], axes, spans, spec.boundary, spec.cval, self.accumulator, self._room)

    def _room(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        return self.scratch("block", shape, dtype)

    def _target(self, place: Place) -> NDArray[Any]:
        items, rows = place
        between = [slice(None)] * (len(self.plan.facts.batch) - len(items))
        view: NDArray[Any] = self.out[(*items, *between, slice(*rows))]
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


def _places(plan: Plan) -> Iterator[Place]:
    """Every tile, covering the output once."""
    items, rows = plan.tile
    batches = [(slice(at, at + items),) for at in range(0, plan.facts.batch[0], items)] if plan.facts.batch else [()]
    for batch in batches:
        for start in range(0, plan.sizes[0], rows):
            yield batch, (start, min(start + rows, plan.sizes[0]))
