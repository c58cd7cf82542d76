"""Compute dw: for every tap, the sum over all outputs of dy times the sample under the tap.

The outputs are cut into tiles whose samples fit the cache. The tiles are distributed over partial
sums in float64, which threads compute independently. In a tile the windows are copied to rows, and
one matrix product adds a stretch of outputs::

      deltas (O, P)       windows (P, K*C)    dw (O, K*C)
    [ d0 d1 | d2 d3 ]     [ x0 x1 x2 ]
                      @   [ x1 x2 x3 ]   =    [ d0 d1 ] @ [ x0 x1 x2 ]  +  [ d2 d3 ] @ [ x2 x3 x4 ]
                          [ ---------- ]                  [ x1 x2 x3 ]                 [ x3 x4 x5 ]
                          [ x2 x3 x4 ]
                          [ x3 x4 x5 ]

One call computes the products of all stretches. Kernels of a single channel have no matrix product:
samples times deltas are added tap by tap. The tiles depend only on the shapes, so the same arrays
always have the same result.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from convcli.engine.analysis import leaves_float32
from convcli.engine.methods.bands import pieces
from convcli.engine.methods.windows import boxes, cuts, windows
from convcli.engine.padding import padded_block
from convcli.engine.planning.blocking import PRODUCT, SHARE_RUN, SHARE_VALUES, bundle, stretch_of
from convcli.engine.planning.tiles import evenly, line_places
from convcli.engine.threads import Scratch, share_out
from convcli.limits import threads
from convcli.shapes.axis import Axis
from convcli.shapes.spec import ConvSpec

TILE_VALUES = 1 << 20
"""Values of the windows of a tile: 4 MiB of float32, more than a core's own cache, because the sums
are read and written once per tile. If dw has more than half as many values, its tiles have twice
the size of dw."""

KERNELS = 128
"""Kernels in one matrix product."""

TAP_VALUES = 1 << 18
"""Values of the sums that one call computes for some taps of a depthwise kernel."""

SHORT = 1 << 11
"""Values below which a line is short, so that several lines are joined into one."""

DEPTHWISE_TILE = 4
"""Values per sample in the size of a depthwise tile, which does not copy windows."""

PARTIAL_SUMS = 8
PARTIAL_VALUES = 1 << 22
"""dw is computed as at most PARTIAL_SUMS partial sums, which threads compute independently; fewer,
but at least two, if they would have more than PARTIAL_VALUES values together."""

SMALL = 2.0**-70
"""Sums below which products may have left float32's normal range, whose least value is 2**-126."""

_scratch = Scratch()


def kernel_gradient(
    x: NDArray[Any],
    dy: NDArray[Any],
    shape: tuple[int, ...],
    axes: tuple[Axis, ...],
    spec: ConvSpec,
    dtype: np.dtype[Any],
) -> NDArray[Any]:
    """Return dw in the shape of a bank (O, *K, C/groups).

    x (*batch, *S, C), dy (*batch, *P, O); dtype: the result's. Only boundary, cval and groups of
    `spec` are used. A bank of one kernel with one channel is summed over all channels of x.
    Products are computed in float32 only if they stay in its normal range.
    """
    if x.ndim == 1 + len(axes):
        x = x[None]
        dy = dy[None]
    work = np.result_type(dtype, x, dy)
    if leaves_float32(np.array([spec.cval])):
        work = np.result_type(work, np.float64)
    dw = _sum_tiles(x, dy, shape, axes, spec, work, dtype)
    largest = float(np.abs(dw).max())
    if work == np.float32 and not SMALL <= largest < np.inf:
        dw = _sum_tiles(x, dy, shape, axes, spec, np.dtype(np.float64), dtype)
    return dw


def _sum_tiles(
    x: NDArray[Any],
    dy: NDArray[Any],
    shape: tuple[int, ...],
    axes: tuple[Axis, ...],
    spec: ConvSpec,
    work: np.dtype[Any],
    dtype: np.dtype[Any],
) -> NDArray[Any]:
    """Return dw in `dtype`, from products in the dtype `work`."""
    first = x.ndim - 1 - len(axes)
    along = range(first, x.ndim - 1)

    # A tile is summed by matrix products, or tap by tap if every kernel has a single channel.
    stretch = stretch_of(math.prod(dy.shape[:-1]), "float32" if work == np.float32 else "float64")
    tile_sum: _GemmSum | _DepthwiseSum
    if shape[0] == spec.groups and shape[-1] == 1:
        tile_sum = _DepthwiseSum(shape, axes, spec.groups, stretch)
        values = DEPTHWISE_TILE * x.shape[-1]
    else:
        tile_sum = _GemmSum(shape, axes, spec.groups, stretch)
        values = math.prod(shape[1:-1]) * x.shape[-1]

    # Distribute the tiles over partial sums.
    tiles = list(_tiles(dy.shape, first, values, max(TILE_VALUES, 2 * math.prod(shape))))
    count = min(max(PARTIAL_VALUES // math.prod(shape), 2), PARTIAL_SUMS, len(tiles))
    partial_sums = np.zeros((count, tile_sum.size))

    def add(number: int) -> None:
        with np.errstate(invalid="ignore", over="ignore"):
            for items, (start, stop) in tiles[number::count]:
                head, *rest = axes
                spans = [head.under(start, stop), *((-axis.lo, axis.n + axis.hi) for axis in rest)]
                block = padded_block(x[items], along, spans, spec.boundary, spec.cval, work)
                rows = (slice(None),) * first + (slice(start, stop),)
                deltas = dy[items][rows].astype(work, copy=False)
                tile_sum.add(block, deltas, partial_sums[number])

    share_out(add, range(count), workers=threads())
    return tile_sum.result(partial_sums, dtype)


def _tiles(
    shape: tuple[int, ...], first: int, values: int, limit: int
) -> Iterator[tuple[slice, tuple[int, int]]]:
    """Yield tiles of about `limit` values: items of the first axis, rows of the first spatial axis.

    shape: of dy. first: its first spatial axis. values: of the windows, per output.
    """
    number = shape[0]
    height = shape[first]
    row = math.prod(shape[1:-1]) // height * values
    limit = min(limit, max(-(-number * height // 2), 1) * row)  # at least two tiles
    rows = evenly(height, max(limit // row, 1))
    items = evenly(number, max(limit // (row * height), 1))
    for run in pieces(number, items):
        for part in pieces(height, rows):
            yield run, (part.start, part.stop)


class _GemmSum:
    """dw of kernels with several channels: deltas times windows, by matrix products.

    The sums are (taps, groups, O/groups, C/groups); with one group, or one bundle of all groups,
    the taps of a kernel are contiguous: (1, 1, O, taps * C). They are stored block by block, in the
    order of the products.
    """

    def __init__(
        self, shape: tuple[int, ...], axes: tuple[Axis, ...], groups: int, stretch: int
    ) -> None:
        self.shape = shape
        self.axes = axes
        self.stretch = stretch
        self.bundled = bundle(shape[-1], groups)
        taps = math.prod(shape[1:-1])
        bundles = groups // self.bundled
        separate = 1 if bundles == 1 else taps
        depth = taps // separate * shape[-1] * self.bundled
        self.sums = (separate, bundles, shape[0] // bundles, depth)
        self.size = math.prod(self.sums)

    def _blocks(self) -> Iterator[tuple[slice, slice, slice]]:
        """Yield for each product its kernels, its samples, and its slice of the stored sums."""
        *lead, filters, depth = self.sums
        end = 0
        for kernels in pieces(filters, KERNELS):
            number = kernels.stop - kernels.start
            for samples in pieces(depth, evenly(depth, max(PRODUCT // (self.stretch * number), 1))):
                start = end
                end += math.prod(lead) * number * (samples.stop - samples.start)
                yield kernels, samples, slice(start, end)

    def add(self, block: NDArray[Any], deltas: NDArray[Any], total: NDArray[np.float64]) -> None:
        """Add a tile to `total`: samples (*items, *S, C) and deltas (*items, *P, O)."""
        taps, groups, filters, depth = self.sums
        rows = seen = windows(block, self.axes, deltas.shape[-1 - len(self.axes) : -1])
        if not seen.flags.c_contiguous:
            rows = _scratch("rows", seen.shape, seen.dtype)
            rows[...] = seen
        rows = rows.reshape(-1, taps, groups, depth)
        deltas = deltas.reshape(-1, groups, filters)
        for kernels, samples, stored in self._blocks():
            self._add_block(rows[..., samples], deltas[..., kernels], total[stored])

    def _add_block(
        self, rows: NDArray[Any], deltas: NDArray[Any], total: NDArray[np.float64]
    ) -> None:
        """Add one block in stretches: rows (P, taps, groups, C) and deltas (P, groups, O)."""
        limit = max(SHARE_VALUES // len(total), 1) * self.stretch
        for run in pieces(len(rows), limit):
            count = run.stop - run.start
            full, rest = divmod(count, self.stretch)
            number = full + (rest > 0)
            cut = run.start + full * self.stretch

            # One product per stretch, in groups of equal size, the last one padded with zeros.
            group_count = -(-number // SHARE_RUN)
            shape = (group_count, -(-number // group_count), len(total))
            shares = _scratch("shares", shape, rows.dtype)
            flat = shares.reshape(-1, *rows.shape[1:-1], deltas.shape[-1], rows.shape[-1])
            _multiply(rows[run.start : cut], deltas[run.start : cut], flat[:full])
            _multiply(rows[cut : run.stop], deltas[cut : run.stop], flat[full:number])
            flat[number:] = 0

            # The products of a group are added in the type of the products, the groups in float64.
            sums = np.matmul(np.ones((1, shares.shape[1]), shares.dtype), shares)[:, 0]
            total += sums[0] if group_count == 1 else sums.sum(axis=0, dtype=np.float64)

    def result(self, partial_sums: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return all sums as a bank (O, *window, C/groups), without a bundle's other groups."""
        sums = np.empty(self.sums, dtype)
        for kernels, samples, stored in self._blocks():
            part = sums[..., kernels, samples]
            part[...] = partial_sums[:, stored].sum(axis=0).reshape(part.shape)
        taps, bundles, filters, _ = self.sums
        if bundles * self.bundled == 1:
            return sums.reshape(self.shape)
        if bundles == 1:
            taps = math.prod(self.shape[1:-1])
            sums = np.moveaxis(sums.reshape(1, filters, taps, -1), 2, 0)
        bundled = self.bundled
        parts = sums.reshape(taps, bundles, bundled, filters // bundled, bundled, -1)
        own = np.moveaxis(np.diagonal(parts, axis1=2, axis2=4), -1, 2)
        return np.moveaxis(own, 0, 3).reshape(self.shape)


def _multiply(rows: NDArray[Any], deltas: NDArray[Any], out: NDArray[Any]) -> None:
    """Multiply rows (P, taps, groups, C) by deltas (P, groups, O), per stretch.

    out: (stretches, taps, groups, O, C).
    """
    if len(out):
        cut = rows.reshape(len(out), -1, *rows.shape[1:])
        theirs = deltas.reshape(len(out), -1, *deltas.shape[1:])
        np.matmul(theirs.transpose(0, 2, 3, 1)[:, None], cut.transpose(0, 2, 3, 1, 4), out=out)


class _DepthwiseSum:
    """dw of kernels of a single channel (taps, channels), or of one kernel for all (taps, 1).

    There is no sum over channels, and so no matrix product. One call multiplies a stretch of lines,
    or of parts of one line, for all taps, and adds the lines value by value. The result is then
    summed along the line in float64.
    """

    def __init__(
        self, shape: tuple[int, ...], axes: tuple[Axis, ...], groups: int, stretch: int
    ) -> None:
        self.shape = shape
        self.axes = axes
        self.stretch = stretch
        self.size = math.prod(shape[1:-1]) * groups

    def add(self, block: NDArray[Any], deltas: NDArray[Any], total: NDArray[np.float64]) -> None:
        """Add a tile to `total`: samples (*items, *S, C) and deltas (*items, *P, C)."""
        *lead, positions, channels = deltas.shape
        seen = self._seen(block, deltas.shape[-1 - len(self.axes) : -1])
        summed = self._summed_axes(lead, positions * channels)
        width = line_places(channels, positions)
        full, rest = divmod(positions, width)
        for box in boxes(tuple(lead[:summed]), self.stretch):
            # Parts of a line of a multiple of `width` and at most one stretch; then the rest.
            lines = math.prod(deltas[box].shape[:summed])
            runs = pieces(full, max(self.stretch // lines, 1))
            parts = [slice(run.start * width, run.stop * width) for run in runs]
            if rest:
                parts.append(slice(full * width, positions))
            for part in parts:
                chosen: tuple[Any, ...] = (*box, ..., part, slice(None))
                self._add_lines(seen[chosen], deltas[chosen], summed, total)

    def _summed_axes(self, lead: list[int], line: int) -> int:
        """Return how many leading axes are summed first; the others are joined to the line."""
        for summed in range(len(lead), 1, -1):
            is_long = math.prod(lead[summed:]) * line >= SHORT
            is_few = 4 * math.prod(lead[: summed - 1]) < self.stretch
            if is_long or is_few:
                return summed
        return 1

    def _seen(self, block: NDArray[Any], sizes: tuple[int, ...]) -> NDArray[Any]:
        """Return the samples under every tap: (*items, *P but the last, *window, positions, C).

        The result is a view, except with a stride or short lines, which are copied per tap to be
        contiguous.
        """
        *before, last = self.axes
        if last.stride == 1 and sizes[-1] * block.shape[-1] >= SHORT:
            return np.moveaxis(windows(block, self.axes, sizes), -2 - len(self.axes), -2)
        lines = np.moveaxis(windows(block, (last,), sizes[-1:]), -2, 0)
        dense = _scratch("lines", lines.shape, lines.dtype)
        dense[...] = lines
        seen = windows(dense.reshape(*dense.shape[:-2], -1), tuple(before), sizes[:-1])
        return np.moveaxis(seen, 0, -2).reshape(*seen.shape[1:-1], last.k, *dense.shape[-2:])

    def _add_lines(
        self, seen: NDArray[Any], deltas: NDArray[Any], summed: int, total: NDArray[np.float64]
    ) -> None:
        """Add lines of deltas times the samples under every tap to `total`.

        deltas: (*lead, positions, C); seen: (*lead, *window, positions, C). The product sums the
        first `summed` leading axes; the rest is summed along the line.
        """
        *lead, positions, channels = deltas.shape
        window = self.shape[1:-1]
        width = line_places(channels, positions)
        deltas = _fold_lines(deltas, positions // width, width)
        seen = _fold_lines(seen, positions // width, width)

        # Number the axes for einsum: leading axes, taps, folds of a line, positions, channels.
        lines = list(range(len(lead)))
        taps = list(range(len(lead), len(lead) + len(window)))
        fold, position, channel = range(len(lead) + len(window), seen.ndim)

        along_line = math.prod(lead[summed:]) * width
        sums = total.reshape(*window, -1)
        for cut in cuts(window, max(TAP_VALUES // (along_line * channels), 1)):
            some = seen[(slice(None),) * len(lead) + cut]
            shape = (*some.shape[len(lead) : -3], *lead[summed:], width, channels)
            out = _scratch("sums", shape, some.dtype)
            np.einsum(
                some,
                [*lines, *taps, fold, position, channel],
                deltas,
                [*lines, fold, position, channel],
                [*taps, *lines[summed:], position, channel],
                out=out,
            )
            flat = out.reshape(*out.shape[: len(taps)], along_line, channels)
            added = flat.sum(axis=-2, dtype=np.float64)
            sums[cut] += added if channels == sums.shape[-1] else added.sum(axis=-1, keepdims=True)

    def result(self, partial_sums: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return all sums as a bank (O, *window, 1)."""
        sums: NDArray[np.float64] = partial_sums.sum(axis=0)
        return np.moveaxis(sums.reshape(-1, self.shape[0]), 0, 1).reshape(self.shape).astype(dtype)


def _fold_lines(array: NDArray[Any], folds: int, width: int) -> NDArray[Any]:
    """View (..., folds * width, C) as (..., folds, width, C)."""
    *outer, step, one = array.strides
    shape = (*array.shape[:-2], folds, width, array.shape[-1])
    return as_strided(array, shape, (*outer, width * step, step, one))
