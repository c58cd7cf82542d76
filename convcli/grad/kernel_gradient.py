"""dw: for every tap, the sum over all outputs of dy times the sample under the tap.

The outputs are cut into tiles whose samples fit the cache, and the tiles are dealt to partial sums,
each in float64, that threads compute independently. In a tile the windows are copied to rows, and
one matrix product adds up a stretch of outputs::

      deltas (O, P)         windows (P, K*C)       dw (O, K*C)
    [ d0 d1 | d2 d3 ]     [ x0 x1 x2 ]
                      @   [ x1 x2 x3 ]      =      [ d0 d1 ] @ [ x0 x1 x2 ]  +  [ d2 d3 ] @ [ x2 x3 x4 ]
                          [ ---------- ]                       [ x1 x2 x3 ]                 [ x3 x4 x5 ]
                          [ x2 x3 x4 ]
                          [ x3 x4 x5 ]

All stretches are products of one call. A kernel that sees one channel gives a product nothing to
share: samples times deltas are added up tap by tap. The cut follows from the shapes alone, so the
same arrays give the same bytes.
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
"""Values of the windows of a tile: 4 MiB of float32, more than a core's own cache holds, because
the sums are read and written once per tile. A dw of more than half as many values gets tiles of
twice its own size."""

KERNELS = 128
"""Kernels in one matrix product."""

TAP_VALUES = 1 << 18
"""Values of the sums that one call computes for some taps of a depthwise kernel."""

SHORT = 1 << 11
"""Values below which a line is short, so that several lines are taken as one."""

DEPTHWISE_TILE = 4
"""A depthwise tile copies no windows, and has a quarter of the samples of a tile that does."""

PARTIAL_SUMS = 8
PARTIAL_VALUES = 1 << 22
"""dw is computed as several partial sums, which threads share: at most PARTIAL_SUMS, and fewer, but
at least two, if they would hold more than PARTIAL_VALUES values in all. Both follow from the shapes
alone."""

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
    """Return dw in the shape of a bank (O, *K, C/groups): dy times the samples under each tap,
    summed over outputs.

    x (*batch, *S, C), dy (*batch, *P, O); dtype: of the result. Only the boundary and the groups of
    `spec` are read. A bank of one kernel with one channel is summed over all the channels of x.
    Products are made in float32 only where they keep to its normal range.
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

    # How a tile is summed: by matrix products, or tap by tap if every kernel sees one channel.
    stretch = stretch_of(math.prod(dy.shape[:-1]), "float32" if work == np.float32 else "float64")
    tile_sum: _GemmSum | _DepthwiseSum
    if shape[0] == spec.groups and shape[-1] == 1:
        tile_sum = _DepthwiseSum(shape, axes, spec.groups, stretch)
        values = DEPTHWISE_TILE * x.shape[-1]
    else:
        tile_sum = _GemmSum(shape, axes, spec.groups, stretch)
        values = math.prod(shape[1:-1]) * x.shape[-1]

    # The tiles, dealt to partial sums.
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
    """Yield (items of the first axis, rows of the first spatial axis) of tiles of at most about
    `limit` values.

    shape: of dy. first: its first spatial axis. values: behind one output.
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
    """dw of kernels that see several channels: deltas times windows by matrix products, for all
    groups.

    Sums are (taps, groups, O/groups, C/groups); with one group, or one bundle of all groups, the
    taps of a kernel are contiguous, (1, 1, O, taps * C). They are stored block by block, as the
    products make them.
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
        """Yield the kernels and the samples of each product, and its slice of the stored sums."""
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
        """Add one block: rows (P, taps, groups, C) and deltas (P, groups, O), in stretches of
        outputs.
        """
        limit = max(SHARE_VALUES // len(total), 1) * self.stretch
        for run in pieces(len(rows), limit):
            count = run.stop - run.start
            full, rest = divmod(count, self.stretch)
            number = full + (rest > 0)
            cut = run.start + full * self.stretch

            # One product per stretch, in groups of equally many, the last group filled up with
            # zeros.
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
        """Return all sums as a bank (O, *window, C/groups): of a bundle, each kernel with its own
        channels only.
        """
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
    """Fill out (stretches, taps, groups, O, C): rows (P, taps, groups, C) times deltas (P, groups,
    O), by stretch.
    """
    if len(out):
        cut = rows.reshape(len(out), -1, *rows.shape[1:])
        theirs = deltas.reshape(len(out), -1, *deltas.shape[1:])
        np.matmul(theirs.transpose(0, 2, 3, 1)[:, None], cut.transpose(0, 2, 3, 1, 4), out=out)


class _DepthwiseSum:
    """dw of kernels that see one channel each, (taps, channels), or one kernel for every channel,
    (taps, 1).

    There is no sum over channels for a matrix product. A stretch of lines, or of parts of one line,
    is multiplied and added up value by value for all taps in one call, and then along the line in
    float64.
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
            # Parts of a line, each whole widths and short enough to be one stretch; then what is
            # left of the line.
            lines = math.prod(deltas[box].shape[:summed])
            runs = pieces(full, max(self.stretch // lines, 1))
            parts = [slice(run.start * width, run.stop * width) for run in runs]
            if rest:
                parts.append(slice(full * width, positions))
            for part in parts:
                chosen: tuple[Any, ...] = (*box, ..., part, slice(None))
                self._add_lines(seen[chosen], deltas[chosen], summed, total)

    def _summed_axes(self, lead: list[int], line: int) -> int:
        """Return how many leading axes are summed at once; the others join the line, so that it is
        not short.
        """
        for summed in range(len(lead), 1, -1):
            is_long = math.prod(lead[summed:]) * line >= SHORT
            is_few = 4 * math.prod(lead[: summed - 1]) < self.stretch
            if is_long or is_few:
                return summed
        return 1

    def _seen(self, block: NDArray[Any], sizes: tuple[int, ...]) -> NDArray[Any]:
        """Return the samples under every tap, (*items, *P but the last, *window, positions, C).

        This is a view, except for a stride or short lines: those are copied per tap, so that they
        are contiguous.
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
        """Add lines (*lead, positions, C) times the samples under every tap, seen (*lead, *window,
        positions, C).

        The first `summed` leading axes are added up by the products; what is left of them is added
        along the line.
        """
        *lead, positions, channels = deltas.shape
        window = self.shape[1:-1]
        width = line_places(channels, positions)
        deltas = _fold_lines(deltas, positions // width, width)
        seen = _fold_lines(seen, positions // width, width)

        # The axes by number: leading axes, taps, the folds of a line, positions along a fold,
        # channels.
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
