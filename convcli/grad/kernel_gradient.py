"""dw: for every tap, the deltas against the samples that the tap saw, summed over all outputs.

The outputs are cut into tiles whose samples stay in the cache, and the tiles dealt out to strands, each with sums of
its own in float64. Within a tile the windows are copied out as rows, and a product adds up a stretch of outputs::

      deltas (O, P)         windows (P, K*C)       dw (O, K*C)
    [ d0 d1 | d2 d3 ]     [ x0 x1 x2 ]
                      @   [ x1 x2 x3 ]      =      [ d0 d1 ] @ [ x0 x1 x2 ]  +  [ d2 d3 ] @ [ x2 x3 x4 ]
                          [ ---------- ]                       [ x1 x2 x3 ]                 [ x3 x4 x5 ]
                          [ x2 x3 x4 ]
                          [ x3 x4 x5 ]

All stretches are products of one call. Where a kernel sees one channel there is nothing for a product to share: samples
times deltas, tap by tap, are added up. The cut follows from the shapes alone, so the same arrays give the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

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
"""Samples gathered for dw at a time: 4 MiB of float32, more than a core's own cache holds, but the sums are gone
through after every tile. A dw of more than half as many gathers twice its own number."""

KERNELS = 128
"""Kernels in one product."""

TAP_VALUES = 1 << 18
"""Sums along a line, for some taps, where no product makes them."""

SHORT = 1 << 11
"""Values of a line that are few: several lines are taken as one."""

LANE_TILE = 4
"""What a tile has fewer samples where they are not gathered, one part in so many."""

STRANDS = 8
STRAND_VALUES = 1 << 22
"""dw's tiles are dealt out to strands, which the threads share, and each strand has sums of its own: at most so many
strands, and fewer, but two, where all their sums would be more values than this. Both follow from the shapes alone."""

_scratch = Scratch()


def weights(
    x: NDArray[Any],
    dy: NDArray[Any],
    shape: tuple[int, ...],
    axes: tuple[Axis, ...],
    spec: ConvSpec,
    kind: np.dtype[Any],
) -> NDArray[Any]:
    """Dw of a bank's shape: for every tap, the deltas against the samples that the tap saw, summed over all outputs.

    x (*batch, *S, C), dy (*batch, *P, O); kind: of the result. Of `spec` only the border and the groups are read. A
    bank of one kernel with one channel is summed over all the channels that there are.
    """
    if x.ndim == 1 + len(axes):
        x, dy = x[None], dy[None]
    work = np.result_type(kind, x, dy)
    numbers = shape[0] == spec.groups and shape[-1] == 1
    stretch = stretch_of(math.prod(dy.shape[:-1]), "float32" if work == np.float32 else "float64")
    share = (_Numbers if numbers else _GemmBlocking)(shape, axes, spec.groups, stretch)
    first = x.ndim - 1 - len(axes)
    along = range(first, x.ndim - 1)
    gathered = LANE_TILE * x.shape[-1] if numbers else math.prod(shape[1:-1]) * x.shape[-1]
    tiles = list(_tiles(dy.shape, first, gathered, max(TILE_VALUES, 2 * math.prod(shape))))
    count = min(max(STRAND_VALUES // math.prod(shape), 2), STRANDS, len(tiles))
    strands = np.zeros((count, share.size))

    def add(strand: int) -> None:
        with np.errstate(invalid="ignore", over="ignore"):
            for items, (start, stop) in tiles[strand::count]:
                head, *rest = axes
                spans = [head.under(start, stop), *((-axis.lo, axis.n + axis.hi) for axis in rest)]
                block = padded_block(x[items], along, spans, spec.boundary, spec.cval, work)
                deltas = dy[items][(slice(None),) * first + (slice(start, stop),)].astype(work, copy=False)
                share(block, deltas, strands[strand])

    share_out(add, range(count), workers=threads())
    return share.laid(strands, kind)


def _tiles(shape: tuple[int, ...], first: int, samples: int, most: int) -> Iterator[tuple[slice, tuple[int, int]]]:
    """(items of the first axis, rows of the first spatial axis) that gather about so many, `samples` an output."""
    number, height = shape[0], shape[first]
    row = math.prod(shape[1:-1]) // height * samples
    most = min(most, max(-(-number * height // 2), 1) * row)
    rows = evenly(height, max(most // row, 1))
    items = evenly(number, max(most // (row * height), 1))
    for run in pieces(number, items):
        for part in pieces(height, rows):
            yield run, (part.start, part.stop)


class _GemmBlocking:
    """dw of kernels that see several channels, or share one: deltas times windows, for all groups.

    Sums are (taps, groups, O/groups, C/groups); where there is one group, or one bundle of all of them, the taps of a
    kernel lie in a row, (1, 1, O, taps * C). They are kept block by block, as products make them.
    """

    def __init__(self, shape: tuple[int, ...], axes: tuple[Axis, ...], groups: int, stretch: int) -> None:
        self.result, self.axes, self.stretch = shape, axes, stretch
        self.bundled = bundle(shape[-1], groups)
        taps, bundles = math.prod(shape[1:-1]), groups // self.bundled
        runs = 1 if bundles == 1 else taps
        self.sums = (runs, bundles, shape[0] // bundles, taps // runs * shape[-1] * self.bundled)
        self.size = math.prod(self.sums)

    def _blocks(self) -> Iterator[tuple[slice, slice, slice]]:
        """The kernels and the samples of each product, and where among the sums theirs are."""
        *lead, filters, depth = self.sums
        end = 0
        for o in pieces(filters, KERNELS):
            number = o.stop - o.start
            for d in pieces(depth, evenly(depth, max(PRODUCT // (self.stretch * number), 1))):
                start, end = end, end + math.prod(lead) * number * (d.stop - d.start)
                yield o, d, slice(start, end)

    def __call__(self, block: NDArray[Any], deltas: NDArray[Any], total: NDArray[np.float64]) -> None:
        """Add a tile's share, from samples (*items, *S, C) and deltas (*items, *P, O)."""
        taps, groups, filters, depth = self.sums
        rows = seen = windows(block, self.axes, deltas.shape[-1 - len(self.axes) : -1])
        if not seen.flags.c_contiguous:
            rows = _scratch("rows", seen.shape, seen.dtype)
            rows[...] = seen
        rows, deltas = rows.reshape(-1, taps, groups, depth), deltas.reshape(-1, groups, filters)
        for o, d, at in self._blocks():
            self._add(rows[..., d], deltas[..., o], total[at])

    def _add(self, rows: NDArray[Any], deltas: NDArray[Any], total: NDArray[np.float64]) -> None:
        most = max(SHARE_VALUES // len(total), 1) * self.stretch
        for run in pieces(len(rows), most):
            some, theirs = rows[run], deltas[run]
            whole, rest = divmod(len(some), self.stretch)
            number, cut = whole + (rest > 0), whole * self.stretch
            several = -(-number // SHARE_RUN)
            shares = _scratch("shares", (several, -(-number // several), len(total)), rows.dtype)
            flat = shares.reshape(-1, *rows.shape[1:-1], deltas.shape[-1], rows.shape[-1])
            _multiply(some[:cut], theirs[:cut], flat[:whole])
            _multiply(some[cut:], theirs[cut:], flat[whole:number])
            flat[number:] = 0
            sums = np.matmul(np.ones((1, shares.shape[1]), shares.dtype), shares)[:, 0]
            total += sums[0] if several == 1 else sums.sum(axis=0, dtype=np.float64)

    def laid(self, strands: NDArray[np.float64], kind: np.dtype[Any]) -> NDArray[Any]:
        """All sums as a bank (O, *window, C/groups): of a bundle, only what a kernel and its own channels make."""
        sums = np.empty(self.sums, kind)
        for o, d, at in self._blocks():
            part = sums[..., o, d]
            part[...] = strands[:, at].sum(axis=0).reshape(part.shape)
        taps, bundles, filters, _ = self.sums
        if bundles * self.bundled == 1:
            return sums.reshape(self.result)
        if bundles == 1:
            taps = math.prod(self.result[1:-1])
            sums = np.moveaxis(sums.reshape(1, filters, taps, -1), 2, 0)
        parts = sums.reshape(taps, bundles, self.bundled, filters // self.bundled, self.bundled, -1)
        own = np.moveaxis(np.diagonal(parts, axis1=2, axis2=4), -1, 2)
        return np.moveaxis(own, 0, 3).reshape(self.result)


def _multiply(rows: NDArray[Any], deltas: NDArray[Any], out: NDArray[Any]) -> None:
    """Fill out (stretches, taps, groups, O, C) from as many equal stretches of rows (P, taps, groups, C)."""
    if len(out):
        cut = rows.reshape(len(out), -1, *rows.shape[1:])
        theirs = deltas.reshape(len(out), -1, *deltas.shape[1:])
        np.matmul(theirs.transpose(0, 2, 3, 1)[:, None], cut.transpose(0, 2, 3, 1, 4), out=out)


class _Numbers:
    """dw where each kernel sees one channel, or channel by channel all of them, (taps, channels) or (taps, 1).

    There is no sum over channels to give to a product. A stretch of lines, or of pieces of one, is multiplied and added
    up value by value for all taps in one call, and then along the line in float64.
    """

    def __init__(self, shape: tuple[int, ...], axes: tuple[Axis, ...], groups: int, stretch: int) -> None:
        self.result, self.axes, self.stretch = shape, axes, stretch
        self.size = math.prod(shape[1:-1]) * groups

    def __call__(self, block: NDArray[Any], deltas: NDArray[Any], total: NDArray[np.float64]) -> None:
        """Add a tile's share, from samples (*items, *S, C) and deltas (*items, *P, C)."""
        *lead, places, channels = deltas.shape
        seen = self._seen(block, deltas.shape[-1 - len(self.axes) : -1])
        added = next(
            at
            for at in range(len(lead), 0, -1)
            if math.prod(lead[at:]) * places * channels >= SHORT
            or 4 * math.prod(lead[: at - 1]) < self.stretch
            or at == 1
        )
        width = line_places(channels, places)
        whole, rest = divmod(places, width)
        for box in boxes(tuple(lead[:added]), self.stretch):
            lines = math.prod(deltas[box].shape[:added])
            runs = pieces(whole, max(self.stretch // lines, 1))
            parts = [slice(run.start * width, run.stop * width) for run in runs]
            if rest:
                parts.append(slice(whole * width, places))
            for part in parts:
                at: tuple[Any, ...] = (*box, ..., part, slice(None))
                self._add(seen[at], deltas[at], added, total)

    def _seen(self, block: NDArray[Any], sizes: tuple[int, ...]) -> NDArray[Any]:
        """What every tap sees, (*items, *P but the last, *window, places, C): a view, but of strides and short lines.

        Those are copied for every tap along them, so that they lie in a row.
        """
        *before, last = self.axes
        if last.stride == 1 and sizes[-1] * block.shape[-1] >= SHORT:
            return np.moveaxis(windows(block, self.axes, sizes), -2 - len(self.axes), -2)
        lines = np.moveaxis(windows(block, (last,), sizes[-1:]), -2, 0)
        dense = _scratch("lines", lines.shape, lines.dtype)
        dense[...] = lines
        seen = windows(dense.reshape(*dense.shape[:-2], -1), tuple(before), sizes[:-1])
        return np.moveaxis(seen, 0, -2).reshape(*seen.shape[1:-1], last.k, *dense.shape[-2:])

    def _add(self, seen: NDArray[Any], deltas: NDArray[Any], added: int, total: NDArray[np.float64]) -> None:
        """Add what lines (*lead, places, C), or pieces of them, make with what taps see of them.

        added: so many of the axes before the lines' are added up at once; what is left of them goes on a line.
        """
        *lead, places, channels = deltas.shape
        window = self.result[1:-1]
        width = line_places(channels, places)
        folded = (places // width, width)
        *outer, step, one = deltas.strides
        deltas = as_strided(deltas, (*lead, *folded, channels), (*outer, width * step, step, one))
        *outer, step, one = seen.strides
        seen = as_strided(seen, (*seen.shape[:-2], *folded, channels), (*outer, width * step, step, one))
        lines, taps = [*range(len(lead))], [*range(len(lead), len(lead) + len(window))]
        fold, line, channel = range(len(lead) + len(window), seen.ndim)
        kept, sums = math.prod(lead[added:]) * width, total.reshape(*window, -1)
        for cut in cuts(window, max(TAP_VALUES // (kept * channels), 1)):
            some = seen[(slice(None),) * len(lead) + cut]
            out = _scratch("sums", (*some.shape[len(lead) : -3], *lead[added:], width, channels), some.dtype)
            axes = [*lines, *taps, fold, line, channel]
            np.einsum(
                some, axes, deltas, [*lines, fold, line, channel], [*taps, *lines[added:], line, channel], out=out
            )
            along = out.reshape(*out.shape[: len(taps)], kept, channels).sum(axis=-2, dtype=np.float64)
            sums[cut] += along if channels == sums.shape[-1] else along.sum(axis=-1, keepdims=True)

    def laid(self, strands: NDArray[np.float64], kind: np.dtype[Any]) -> NDArray[Any]:
        """All sums as a bank (O, *window, 1)."""
        sums: NDArray[np.float64] = strands.sum(axis=0)
        return np.moveaxis(sums.reshape(-1, self.result[0]), 0, 1).reshape(self.result).astype(kind)
