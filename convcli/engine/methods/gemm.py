"""A layer as matrix products: each output's window is a row, and each kernel a column::

      windows (P, K*C)      kernels (K*C, O)      outputs (P, O)
    [ x0 x1 x2 ]             [ w0 ]                [ y0 ]
    [ x1 x2 x3 ]      @      [ w1 ]        =       [ y1 ]
    [ x2 x3 x4 ]             [ w2 ]                [ y2 ]

In general the windows are copied, some at a time (im2col). With stride 1 they are read in place: a
row of a window is one run of samples, and that of the next window begins one sample later. Rows of
a matrix must not overlap, so a matrix contains every R-th window, where R is the width of a window
(here 3)::

    samples    a b c d e f g h i ..        phase 0    a b c | d e f | g h i        outputs 0 3 6
                                           phase 1    b c d | e f g | ..           outputs 1 4 ..
                                           phase 2    c d e | f g h | ..           outputs 2 5 ..

The lines of an image are contiguous in memory, and all lines of a box are multiplied as one: the
few windows that extend from the end of a line to the beginning of the next are computed too, and
dropped. So each row of the kernel has its own products, and the shares of all rows are added.

Long phases are cut into blocks, and windows that do not overlap are one phase. A product adds its
terms one after the other, with one rounding each, so long runs are cut into stretches. One call
computes the products of all stretches, phases, blocks and rows of the kernel, because between calls
the threads wait for the interpreter. With few outputs, the taps are read as they lie, and a product
computes the outputs of all kernels, because copying taps to columns would take longer. Groups of
few channels are bundled, with zeros for the channels of a bundle that a kernel does not sum over.

Source: Chellapilla, Puri and Simard, "High performance convolutional neural networks for document
processing", 2006.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convcli.engine.methods.base import CostEstimate, Method, Needs, TileFunction
from convcli.engine.methods.products import Grid, Group, Windows
from convcli.engine.methods.windows import Box, boxes, windows
from convcli.engine.planning.blocking import GemmBlocking, bundle
from convcli.engine.planning.costs import GATHER, MAC
from convcli.engine.planning.facts import PrecisionName, TiledWork, Work
from convcli.engine.planning.tiles import evenly, layer_rest
from convcli.engine.threads import Scratch
from convcli.shapes.axis import Axis

WINDOW = 0.2
"""Nanoseconds per sample to copy a window to a row."""

WINDOW_RUN = 5.0
"""Additional nanoseconds per run of contiguous samples."""


class Gemm(Method):
    """A layer as matrix products of windows and kernels."""

    name = "gemm"

    def refusal(self, work: Work) -> str:
        if work.facts.filters is None:
            return "one kernel for every channel"
        return "every channel has its own kernel" if work.is_depthwise else ""

    def cost(self, work: Work) -> CostEstimate:
        blocking = self._blocking(work, "float32")
        rows = "windows read in place" if blocking.in_place else "copied windows"
        terms = f"{blocking.terms} terms for each of {work.facts.filters} kernels"
        account = f"{terms}: a matrix product over {rows}"
        product = blocking.terms * MAC * (1 + 8 / blocking.columns)
        each = product + GATHER * blocking.terms / blocking.longest
        samples = work.outputs / blocking.filters * blocking.terms
        copied = 0.0 if blocking.in_place else WINDOW + WINDOW_RUN / blocking.run
        return CostEstimate(work.outputs * each + samples * copied, account)

    def tile(self, work: Work) -> tuple[int, ...]:
        (batch, *between), first, rest = work.facts.batch, work.sizes[0], layer_rest(work)
        places = math.prod(work.facts.batch) * math.prod(work.sizes)
        inner = math.prod(between) * math.prod(rest)
        budget = self._blocking(work, self.precision(work)).tile(places)
        items = min(max(budget // (inner * first), 1), batch)
        return evenly(batch, items), evenly(first, min(-(-budget // inner), first)), *rest

    def memory(self, work: Work, tile: tuple[int, ...]) -> Needs:
        blocking, size = self._blocking(work, self.precision(work)), self.itemsize(work)
        scratch = blocking.scratch(work.lead(tile) * math.prod(tile[1:]))
        copies = (blocking.bundled > 1) + blocking.turned
        return Needs(
            work.taps * (1 + copies * blocking.bundled) * size,
            (work.tile_samples(tile) + scratch) * size,
        )

    def prepare(self, w: NDArray[Any], plan: TiledWork) -> TileFunction:
        blocking = self._blocking(plan, plan.precision)
        w = _bundle(w.astype(plan.accumulator, copy=False), blocking)
        return (_InPlace if blocking.in_place else _Gathered)(w, plan.axes, blocking)

    def spreads_nan(self, work: Work) -> bool:
        return bundle(work.depth, work.spec.groups) > 1

    @staticmethod
    def _blocking(work: Work, precision: PrecisionName | None) -> GemmBlocking:
        assert work.facts.filters is not None
        return GemmBlocking.of(
            work.axes,
            work.facts.channels,
            work.facts.filters,
            work.spec.groups,
            precision,
            math.prod(work.facts.batch) * math.prod(work.sizes),
        )


METHOD = Gemm()


def _bundle(w: NDArray[Any], blocking: GemmBlocking) -> NDArray[Any]:
    """Return kernels (O, *window, C/groups) widened to all channels of a bundle, with zeros."""
    if blocking.bundled == 1:
        return w
    parts = w.reshape(blocking.groups, blocking.bundled, -1, *w.shape[1:])
    wide = np.zeros((*parts.shape[:-1], blocking.bundled, w.shape[-1]), w.dtype)
    for group in range(blocking.bundled):
        wide[:, group, ..., group, :] = parts[:, group]
    return wide.reshape(len(w), *w.shape[1:-1], -1)


class _Part(NamedTuple):
    """The part of a tile that one call computes: a box of outputs, and their windows."""

    box: Box
    start: int
    """The first sample of the first window."""
    windows: Windows
    grid: Grid


class _Gathered:
    """Windows copied to rows, some at a time."""

    def __init__(self, w: NDArray[Any], axes: tuple[Axis, ...], blocking: GemmBlocking) -> None:
        self.axes, self.blocking, self.scratch = axes, blocking, Scratch()
        parts = w.reshape(blocking.groups, blocking.filters, blocking.terms)
        self.groups = [Group(part, blocking, self.scratch) for part in parts]

    def __call__(self, block: NDArray[Any], out: NDArray[Any]) -> None:
        """Fill a tile: outputs (*items, *P, O) from a block (*items, *rows, C)."""
        channels, shares = (_groups(array, self.blocking.groups) for array in (block, out))
        sizes, terms = out.shape[-1 - len(self.axes) : -1], self.blocking.terms
        for part, share, group in zip(channels, shares, self.groups, strict=True):
            seen = windows(part, self.axes, sizes)
            for box in boxes(out.shape[:-1], self.blocking.together):
                target = share[box]
                rows = math.prod(target.shape[:-1])
                group(self._rows(seen[box]), 0, Windows(rows, terms, 1, ()), Grid(1, rows), target)

    def _rows(self, seen: NDArray[Any]) -> NDArray[Any]:
        """Return windows (*box, *window, C/groups) as a flat array: a view if contiguous."""
        if seen.flags.c_contiguous:
            return seen.reshape(-1)
        flat = self.scratch("rows", (seen.size,), seen.dtype)
        flat.reshape(seen.shape)[...] = seen
        return flat


class _InPlace:
    """Windows read in place, with contiguous lines joined into one."""

    def __init__(self, w: NDArray[Any], axes: tuple[Axis, ...], blocking: GemmBlocking) -> None:
        self.blocking, scratch = blocking, Scratch()
        self.leads, self.phases = (axes[:-1], axes[-1].k) if blocking.joined else (axes, 1)
        self.dims, self.depth = len(axes), w.shape[-1]
        self.parts: dict[tuple[tuple[int, ...], tuple[int, ...]], list[_Part]] = {}
        runs = w.reshape(blocking.groups, -1, *(axis.k for axis in self.leads), blocking.run)
        self.groups = [Group(group, blocking, scratch) for group in runs]

    def __call__(self, block: NDArray[Any], out: NDArray[Any]) -> None:
        """Fill a tile: outputs (*items, *P, O) from a block (*items, *rows, C)."""
        flat = np.ascontiguousarray(block).reshape(-1)
        shares = _groups(out, self.blocking.groups)
        shapes = (block.shape, out.shape)
        parts = self.parts.get(shapes)
        if parts is None:
            parts = self.parts[shapes] = list(self._parts(*shapes))
        for part in parts:
            for number, (share, group) in enumerate(zip(shares, self.groups, strict=True)):
                group(
                    flat, part.start + number * self.depth, part.windows, part.grid, share[part.box]
                )

    def _parts(self, block: tuple[int, ...], out: tuple[int, ...]) -> Iterator[_Part]:
        """Yield the parts of a tile, from the shapes of its block and outputs."""
        first = len(block) - 1 - self.dims
        steps = [math.prod(block[axis + 1 :]) for axis in range(len(block) - 1)]
        run_steps = tuple(
            axis.dilation * step for axis, step in zip(self.leads, steps[first:], strict=False)
        )
        for box in boxes(out[:-1], self.blocking.together, max(len(out) - 3, first)):
            start = sum(step * (part.start or 0) for step, part in zip(steps, box, strict=True))
            sizes = [len(range(*part.indices(n))) for part, n in zip(box, out, strict=False)]
            lines, places = (1, *sizes[first:])[-2:]
            width = block[-2] if lines > 1 else places
            count = (lines - 1) * width + places
            yield _Part(
                box, start, Windows(count, steps[-1], self.phases, run_steps), Grid(lines, width)
            )


def _groups(array: NDArray[Any], count: int) -> list[NDArray[Any]]:
    """Return an array's channels in `count` equal parts."""
    return [array] if count == 1 else np.split(array, count, axis=-1)
