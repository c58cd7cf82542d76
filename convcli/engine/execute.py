"""Run a plan: tile by tile, pad, compute, add the bias, store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convcli.engine import direct, gemm
from convcli.engine.pad import extend
from convcli.engine.quantise import store
from convcli.planner import Plan

STRATEGIES = {"direct": direct.prepare, "gemm": gemm.prepare}


def execute(plan: Plan, x: NDArray[Any], w: NDArray[Any], bias: NDArray[Any] | None, out: NDArray[Any]) -> None:
    """Fill `out` with the convolution that `plan` describes.

    x: (*batch, *S, lanes), any strides; w: (*window) or (O, *window, C/groups); bias: (O,) or None;
    out: (*batch, *P, lanes or O). x and w are only read. The tiles follow from the plan alone, so the same
    input gives the same bytes.
    """
    accumulator = np.dtype(plan.accumulator)
    run = STRATEGIES[plan.method](w.astype(accumulator), plan)
    shift = None if bias is None else bias.astype(accumulator)
    spatial_axes = range(x.ndim - 1 - len(plan.axes), x.ndim - 1)
    with np.errstate(invalid="ignore", over="ignore"):
        for items, (start, stop) in _tiles(plan):
            first, *rest = plan.axes
            spans = [
                (start * first.stride - first.lo, (stop - 1) * first.stride + first.reach - first.lo),
                *((-axis.lo, axis.n + axis.hi) for axis in rest),
            ]
            block = extend(x[items], spatial_axes, spans, plan.spec.boundary, plan.spec.cval, accumulator)
            target = out[(*items, *([slice(None)] * (len(plan.facts.batch) - len(items))), slice(start, stop))]
            in_place = target.dtype == accumulator and target.flags.c_contiguous
            sums = target if in_place else np.empty(target.shape, accumulator)
            run(block, sums)
            if shift is not None:
                sums += shift
            if not in_place:
                store(sums, target)


def _tiles(plan: Plan) -> Iterator[tuple[tuple[slice, ...], tuple[int, int]]]:
    """(items of the first batch axis, rows of the first spatial axis), covering the output once."""
    items, rows = plan.tile
    batches = [(slice(at, at + items),) for at in range(0, plan.facts.batch[0], items)] if plan.facts.batch else [()]
    for batch in batches:
        for start in range(0, plan.sizes[0], rows):
            yield batch, (start, min(start + rows, plan.sizes[0]))
