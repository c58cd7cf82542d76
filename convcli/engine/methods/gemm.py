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
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from convcli.engine.methods.bands import cut, pieces
from convcli.engine.methods.base import CostEstimate, Method, Needs, TileFunction
from convcli.engine.methods.windows import Box, Strided, boxes, merges, windows
from convcli.engine.planning.blocking import GemmBlocking, bundle, rows_of
from convcli.engine.planning.costs import GATHER, MAC
from convcli.engine.planning.facts import PrecisionName, TiledWork, Work
from convcli.engine.planning.tiles import evenly, layer_rest
from convcli.engine.threads import Scratch, share_out
from convcli.limits import threads
from convcli.shapes.axis import Axis

WINDOW = 0.2
"""Nanoseconds per sample to copy a window to a row."""

WINDOW_RUN = 5.0
"""Additional nanoseconds per run of contiguous samples."""

WORTH_SHARING = 1 << 18
"""Taps of a group from which several threads copy them to columns: a third of a millisecond."""

TRANSPOSED = 8
"""Stretches that are copied to columns at a time: some hundred kilobytes, in few calls."""


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


class _Windows(NamedTuple):
    """The positions of windows in a flat buffer, in samples."""

    number: int
    step: int
    """Distance of consecutive windows."""
    phases: int
    """Number of consecutive windows that overlap: a matrix contains every `phases`-th window."""
    run_steps: tuple[int, ...]
    """Distance of consecutive runs of a window, along each axis of the kernel except the last."""


class _Grid(NamedTuple):
    """Windows of consecutive lines; only the first windows of each line are outputs."""

    lines: int
    width: int


class _Part(NamedTuple):
    """The part of a tile that one call computes: a box of outputs, and their windows."""

    box: Box
    start: int
    """The first sample of the first window."""
    windows: _Windows
    grid: _Grid


class _Product(NamedTuple):
    """One matrix product: the taps, and views of the buffers of the samples and of the shares."""

    columns: NDArray[Any]
    samples: Strided
    shares: Strided


class _Pass(NamedTuple):
    """Stretches of a window whose shares are added in one run."""

    first: int
    """Index of their first sample."""
    columns: list[NDArray[Any]]
    """The kernels' taps (stretches, *leads, 1, 1, length, n) of equal stretches, and of a shorter
    last one."""

    @property
    def stretches(self) -> int:
        return sum(map(len, self.columns))


class _Kernels:
    """Some kernels of a bank, (n, *leads, run), cut into stretches as columns of the products."""

    def __init__(self, w: NDArray[Any], blocking: GemmBlocking, scratch: Scratch) -> None:
        run, columns = w.shape[-1], _contiguous_columns if blocking.turned else _columns
        self.scratch, self.leads, self.turned = scratch, w.shape[1:-1], blocking.turned
        self.length = -(-run // -(-run // blocking.longest))
        self.passes: list[_Pass] = []
        self.products: dict[tuple[int, _Windows, tuple[int, ...]], list[_Product]] = {}
        together = max(blocking.shares // math.prod(self.leads), 1)
        for stretches in pieces(-(-run // self.length), together):
            # All stretches of a pass are equal, except a shorter one at the end of the run.
            first, last = stretches.start * self.length, min(stretches.stop * self.length, run)
            end = last - (last - first) % self.length
            parts = [(start, stop) for start, stop in ((first, end), (end, last)) if start < stop]
            cut = [
                columns(w[..., start:stop], min(self.length, stop - start)) for start, stop in parts
            ]
            self.passes.append(_Pass(first, cut))

    def __call__(
        self, flat: NDArray[Any], start: int, windows: _Windows, grid: _Grid, out: NDArray[Any]
    ) -> None:
        """Compute out (*box, n) from the windows of flat samples; start: of the first window."""
        places, offset = math.prod(grid), start * flat.itemsize
        if len(self.passes) == 1:
            if self._fits(out, places):
                self._fill(flat, offset, windows, 0, out.reshape(1, *self.leads, places, -1))
            else:
                self._add_up(self._shares(flat, offset, windows, 0, places, out), grid, out)
            return
        sums = self.scratch("sums", (len(self.passes), places, out.shape[-1]), out.dtype)
        for number, total in enumerate(sums):
            self._add_up(
                self._shares(flat, offset, windows, number, places, out), _Grid(1, places), total
            )
        self._add_up(sums, grid, out)

    def _fits(self, out: NDArray[Any], places: int) -> bool:
        """Return whether one product computes the outputs, and can write them in place."""
        alone = self.passes[0].stretches * math.prod(self.leads) == 1
        return alone and out.size == places * out.shape[-1] and merges(out, 1)

    def _shares(
        self,
        flat: NDArray[Any],
        offset: int,
        windows: _Windows,
        number: int,
        places: int,
        out: NDArray[Any],
    ) -> NDArray[Any]:
        """Return what every stretch of a pass adds to every position: (shares, places, n)."""
        shape = (self.passes[number].stretches, *self.leads, places, out.shape[-1])
        shares = self.scratch("shares", shape, out.dtype)
        self._fill(flat, offset, windows, number, shares)
        return shares.reshape(-1, places, out.shape[-1])

    def _fill(
        self, flat: NDArray[Any], offset: int, windows: _Windows, number: int, shares: NDArray[Any]
    ) -> None:
        """Compute shares (stretches, *leads, places, n) of a pass; offset: in bytes."""
        key = (number, windows, shares.strides)
        products = self.products.get(key)
        if products is None:
            products = self.products[key] = list(
                self._products(self.passes[number], windows, shares.strides)
            )
        for columns, samples, target in products:
            np.matmul(samples.of(flat, offset), columns, out=_rows_of_shares(shares, target))

    def _products(
        self, part: _Pass, windows: _Windows, strides: tuple[int, ...]
    ) -> Iterator[_Product]:
        """Yield the products of a pass; strides: those of the shares."""
        stretch, *outer, row, value = strides
        start, target = part.first, 0
        for columns in part.columns:
            *leads, _, _, length, n = columns.shape
            for phase, phases, count in _phases(windows):
                # A product's rows are every `windows.phases`-th window, in blocks of similar size.
                most = rows_of(length * n) if self.turned else count
                block, size = cut(count, most), columns.itemsize
                shape = (*leads, phases, block.number, block.width)
                steps = (1, block.step * windows.phases, windows.phases)
                window_steps = (
                    self.length,
                    *windows.run_steps,
                    *(step * windows.step for step in steps),
                    1,
                )
                yield _Product(
                    columns,
                    Strided(
                        (*shape, length),
                        tuple(size * step for step in window_steps),
                        (start + phase * windows.step) * size,
                    ),
                    Strided(
                        (*shape, n),
                        (stretch, *outer, *(step * row for step in steps), value),
                        target + phase * row,
                    ),
                )
            start += len(columns) * self.length
            target += len(columns) * stretch

    def _add_up(self, shares: NDArray[Any], grid: _Grid, out: NDArray[Any]) -> None:
        """Compute out (*box, n): the sum of shares (shares, lines * width, n).

        A product with ones is the fastest sum.
        """
        kept, n = math.prod(out.shape[:-1]) // grid.lines, out.shape[-1]
        if len(shares) == 1:
            out[...] = shares.reshape(*grid, n)[:, :kept].reshape(out.shape)
            return
        seen = shares.reshape(len(shares), grid.lines, grid.width * n)[:, :, : kept * n].swapaxes(
            0, 1
        )
        contiguous = out.flags.c_contiguous
        sums = out if contiguous else self.scratch("total", out.shape, out.dtype)
        np.matmul(_ones(len(shares), shares.dtype), seen, out=sums.reshape(grid.lines, 1, -1))
        if not contiguous:
            out[...] = sums


def _phases(windows: _Windows) -> Iterator[tuple[int, int, int]]:
    """Yield (first window, number of phases, windows per phase).

    The first phases may have one window more than the others.

    >>> list(_phases(_Windows(10, 1, 4, ())))
    [(0, 2, 3), (2, 2, 2)]
    """
    rounds, more = divmod(windows.number, windows.phases)
    for first, phases, count in ((0, more, rounds + 1), (more, windows.phases - more, rounds)):
        if phases * count:
            yield first, phases, count


class _Group:
    """The kernels of one group, (n, *leads, run), divided into the columns of several products."""

    def __init__(self, w: NDArray[Any], blocking: GemmBlocking, scratch: Scratch) -> None:
        self.parts: dict[int, tuple[slice, _Kernels]] = {}
        parts = pieces(len(w), blocking.columns)

        def ready(at: int) -> None:
            self.parts[at] = parts[at], _Kernels(w[parts[at]], blocking, scratch)

        share_out(
            ready,
            range(len(parts)),
            workers=threads() if blocking.turned and w.size > WORTH_SHARING else 1,
        )

    def __call__(
        self, flat: NDArray[Any], start: int, windows: _Windows, grid: _Grid, out: NDArray[Any]
    ) -> None:
        """Compute out (*box, n), each `_Kernels` its own part."""
        for part, kernels in self.parts.values():
            kernels(flat, start, windows, grid, out[..., part])


class _Gathered:
    """Windows copied to rows, some at a time."""

    def __init__(self, w: NDArray[Any], axes: tuple[Axis, ...], blocking: GemmBlocking) -> None:
        self.axes, self.blocking, self.scratch = axes, blocking, Scratch()
        parts = w.reshape(blocking.groups, blocking.filters, blocking.terms)
        self.groups = [_Group(part, blocking, self.scratch) for part in parts]

    def __call__(self, block: NDArray[Any], out: NDArray[Any]) -> None:
        """Fill a tile: outputs (*items, *P, O) from a block (*items, *rows, C)."""
        channels, shares = (_groups(array, self.blocking.groups) for array in (block, out))
        sizes, terms = out.shape[-1 - len(self.axes) : -1], self.blocking.terms
        for part, share, group in zip(channels, shares, self.groups, strict=True):
            seen = windows(part, self.axes, sizes)
            for box in boxes(out.shape[:-1], self.blocking.together):
                target = share[box]
                rows = math.prod(target.shape[:-1])
                group(
                    self._rows(seen[box]), 0, _Windows(rows, terms, 1, ()), _Grid(1, rows), target
                )

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
        self.groups = [_Group(group, blocking, scratch) for group in runs]

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
                box, start, _Windows(count, steps[-1], self.phases, run_steps), _Grid(lines, width)
            )


def _groups(array: NDArray[Any], count: int) -> list[NDArray[Any]]:
    """Return an array's channels in `count` equal parts."""
    return [array] if count == 1 else np.split(array, count, axis=-1)


def _rows_of_shares(shares: NDArray[Any], target: Strided) -> NDArray[Any]:
    """Return a view of the shares, if possible without as_strided, which is slow."""
    if shares.flags.c_contiguous:
        return target.of(shares, 0)
    return as_strided(
        shares[..., target.start // shares.strides[-2] :, :], target.shape, target.strides
    )


def _columns(w: NDArray[Any], length: int) -> NDArray[Any]:
    """Return kernels (n, *leads, run) as columns (stretches, *leads, 1, 1, length, n).

    The result is a view if the strides of w allow one.
    """
    cut = w.reshape(*w.shape[:-1], -1, length)
    return np.moveaxis(cut, (-2, 0), (0, -1))[..., None, None, :, :]


def _contiguous_columns(w: NDArray[Any], length: int) -> NDArray[Any]:
    """Return the same columns as a contiguous copy."""
    seen = _columns(w, length)
    columns = np.empty(seen.shape, w.dtype)
    for part in pieces(len(columns), TRANSPOSED):
        some = seen[part]
        # Rows a multiple of 4 KiB apart compete for the same cache sets, so transpose a copy.
        if some.strides[-1] != some.itemsize:
            some = np.moveaxis(np.ascontiguousarray(np.moveaxis(some, -1, 0)), 0, -1)
        columns[part] = some
    return columns


@lru_cache(maxsize=64)
def _ones(count: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.ones((1, count), dtype)
