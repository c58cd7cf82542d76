"""Small work as one matrix product over a copy of all windows (im2col).

The samples under a tap, for all outputs, are copied to one row of a matrix. A bank's windows are
copied to the matrix's rows instead, each next to its neighbours in memory::

      kernel (T)    samples (T, P)                  windows (P, T)    kernels (T, O)
    [ w0 w1 w2 ]  [ x0 x1 x2 .. ]  =  [ y0 .. ]     [ x0 x1 x2 ]      [ w0 ]
                  [ x1 x2 x3 .. ]                   [ x1 x2 x3 ]  @   [ w1 ]
                  [ x2 x3 x4 .. ]                   [ x2 x3 x4 ]      [ w2 ]

That reads and writes every sample once for each tap, 0.2 nanoseconds in the cache, but it is two
calls, where other methods need twenty. No sample outside of a window is multiplied.

Source: Chellapilla, Puri and Simard, "High performance convolutional neural networks for document
processing", 2006.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from convcli.engine.methods.base import CostEstimate, Method, Needs, TileFunction
from convcli.engine.methods.windows import Strided
from convcli.engine.planning.costs import MAC
from convcli.engine.planning.facts import TiledWork, Work, roundings_allowed
from convcli.engine.threads import Scratch

TAP = 0.2
"""Nanoseconds of copying and multiplying one sample under one tap."""

CALLS = 5_000.0
"""Nanoseconds of the calls."""

MOST_VALUES = 1 << 17
"""Most samples of the matrix: 512 KiB of float32, which fit a second-level cache."""

MOST_MACS = 1 << 18
"""Most multiply-adds: OpenBLAS computes smaller products on one thread."""


class Im2col(Method):
    """Small work as one product over copied windows."""

    name = "gemm"

    def refusal(self, work: Work) -> str:
        if _values(work) > MOST_VALUES or work.macs > MOST_MACS:
            return "its windows are too many to copy"
        precision = self.precision(work)
        if precision and work.terms > roundings_allowed(precision, work.terms):
            return "adding so many terms one after the other would round too often"
        return ""

    def cost(self, work: Work) -> CostEstimate:
        time = CALLS + _values(work) * TAP + work.macs * MAC
        return CostEstimate(time, f"{work.terms} terms, in one product over copied windows")

    def tile(self, work: Work) -> tuple[int, ...]:
        return (work.facts.batch[0] if work.facts.batch else 1, *work.sizes)

    def memory(self, work: Work, tile: tuple[int, ...]) -> Needs:
        size = self.itemsize(work)
        return Needs(work.taps * size, (_values(work) + work.tile_outputs(tile)) * size)

    def prepare(self, w: NDArray[Any], plan: TiledWork) -> TileFunction:
        return _Product(w.astype(plan.accumulator, copy=False), plan)

    def accumulator(self, work: Work) -> str:
        """Return float64 for more terms than float32 may add one after the other."""
        many = work.terms > roundings_allowed("float32", work.terms)
        return "float64" if many else super().accumulator(work)

    def keeps_dtype(self, work: Work) -> bool:
        # Converting float16 takes ten times as long as copying: once for each sample.
        same = work.facts.input_dtype != "float16"
        return same and (work.spec.boundary != "constant" or work.spec.cval == 0)


METHOD = Im2col()


def _values(work: Work) -> int:
    """Return the number of copied samples."""
    kernels = work.facts.filters or 1
    return work.outputs // kernels * work.terms * work.spec.groups


class _Product:
    """A kernel (*window), or a bank (O, *window, C/groups), as one factor of a product."""

    def __init__(self, w: NDArray[Any], plan: TiledWork) -> None:
        self.axes, self.lead, self.scratch = plan.axes, len(plan.facts.batch), Scratch()
        self.is_bank = plan.facts.filters is not None
        self.groups, self.depth = plan.spec.groups, plan.depth
        if self.is_bank:
            w = w.reshape(self.groups, -1, plan.terms).swapaxes(1, 2)
        self.taps = w if self.is_bank else w.reshape(1, -1)
        self.views: dict[tuple[tuple[int, ...], ...], Strided] = {}

    def __call__(self, block: NDArray[Any], out: NDArray[Any]) -> None:
        """Fill outputs (*items, *P, channels or O) from a block (*items, *S, channels)."""
        key = out.shape, block.strides
        view = self.views.get(key)
        if view is None:
            view = self.views[key] = self._windows(*key)
        copied = self.scratch("windows", view.shape, self.taps.dtype)
        copied[...] = view.of(block)

        sums = out if out.flags.c_contiguous else np.empty(out.shape, out.dtype)
        if self.is_bank:
            rows = copied.reshape(self.groups, -1, self.taps.shape[1])
            target = sums.reshape(rows.shape[1], self.groups, -1).swapaxes(0, 1)
            np.matmul(rows, self.taps, out=target)
        else:
            columns = copied.reshape(self.taps.size, -1)
            np.matmul(self.taps, columns, out=sums.reshape(1, -1))
        if sums is not out:
            out[...] = sums

    def _windows(self, out: tuple[int, ...], strides: tuple[int, ...]) -> Strided:
        """Return the view of the windows of outputs of a shape, in blocks with these strides.

        (*window, *items, *P, channels), or for a bank (groups, *items, *P, *window, C/groups).
        """
        items, steps, value = strides[: self.lead], strides[self.lead : -1], strides[-1]
        window = tuple(axis.k for axis in self.axes)
        taps = [axis.dilation * step for axis, step in zip(self.axes, steps, strict=True)]
        places = [axis.stride * step for axis, step in zip(self.axes, steps, strict=True)]
        if self.is_bank:
            shape = (self.groups, *out[:-1], *window, self.depth)
            return Strided(shape, (self.depth * value, *items, *places, *taps, value))
        return Strided((*window, *out), (*taps, *items, *places, value))
