"""dw: for every tap, the deltas against the samples that the tap saw, summed over all outputs.

The outputs are cut into tiles whose samples stay in the cache, and the tiles dealt out to strands, each with sums of
its own in float64. Samples that lie in a row under the taps along the last axis go through one product. The cut follows
from the shapes alone, so the same arrays give the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from convcli.cores import threads
from convcli.engine.pad import extend
from convcli.engine.pairwise import add_up
from convcli.engine.threads import share_out
from convcli.engine.windows import under_tap
from convcli.shapes import Axis, ConvSpec

TILE_VALUES = 1 << 18
"""Samples gathered for dw at a time: 1 MiB of float32, which stays in a second-level cache."""

STRANDS = 8
STRAND_VALUES = 1 << 22
"""dw's tiles are dealt out to strands, which the threads share, and each strand has sums of its own: at most so many
strands, and fewer, but two, where all their sums would be more values than this. Both follow from the shapes alone."""

STRETCH = 32
"""Products that one term of dw adds in a row. Twice as many save a quarter of its time, and round twice as much."""


def weights(
    x: NDArray[Any],
    dy: NDArray[Any],
    shape: tuple[int, ...],
    axes: tuple[Axis, ...],
    spec: ConvSpec,
    kind: np.dtype[Any],
) -> NDArray[np.float64]:
    """dw, of a bank's shape: for every tap, the deltas against the samples that the tap saw, summed over all outputs.

    x (*batch, *S, C), dy (*batch, *P, O): of `spec` only the border and the groups are read. A bank of one kernel with
    one channel is summed over all the lanes that there are.
    """
    if x.ndim == 1 + len(axes):
        x, dy = x[None], dy[None]
    groups = spec.groups
    numbers = shape[0] == groups and shape[-1] == 1
    joined = groups == 1 and not numbers and axes[-1].dilation == 1
    window, depth = (shape[1:-2], shape[-2] * shape[-1]) if joined else (shape[1:-1], shape[-1])
    taps = list(np.ndindex(*window, 1) if joined else np.ndindex(*window))
    share, work = (_by_number, np.dtype(np.float64)) if numbers else (_by_product, np.result_type(kind, x, dy))
    along = range(x.ndim - 1 - len(axes), x.ndim - 1)
    tiles = list(_tiles(dy.shape, along, x.shape[-1] * (1 if numbers else math.prod(shape[1:-1]))))
    count = min(max(STRAND_VALUES // math.prod(shape), 2), STRANDS, len(tiles))
    strands = np.zeros((count, len(taps), groups, shape[0] // groups, depth))

    def add(strand: int) -> None:
        with np.errstate(invalid="ignore", over="ignore"):
            for items, (start, stop) in tiles[strand::count]:
                head, *rest = axes
                spans = [
                    head.under(start, stop),
                    *((-axis.lo, axis.n + axis.hi) for axis in rest),
                ]
                block = extend(x[items], along, spans, spec.boundary, spec.cval, work)
                deltas = dy[items][(slice(None),) * along[0] + (slice(start, stop),)].astype(work, copy=False)
                sizes = deltas.shape[along[0] : -1]
                lines, over = _joined(block, axes, sizes) if joined else (block, axes)
                share((under_tap(lines, over, sizes, tap) for tap in taps), deltas, strands[strand])

    share_out(add, range(count), workers=threads())
    total: NDArray[np.float64] = strands.sum(axis=0)
    return np.moveaxis(total.reshape(*window, *total.shape[1:]), (-3, -2), (0, 1)).reshape(shape)


def _joined(
    block: NDArray[Any], axes: tuple[Axis, ...], sizes: tuple[int, ...]
) -> tuple[NDArray[Any], tuple[Axis, ...]]:
    """What outputs see along the last axis, as one run of samples each (..., outputs, k * C): a view, with one tap."""
    block, (*leads, last) = np.ascontiguousarray(block), axes
    *strides, sample, value = block.strides
    shape = (*block.shape[:-2], sizes[-1], last.k * block.shape[-1])
    lines = as_strided(block, shape, (*strides, sample * last.stride, value), writeable=False)
    return lines, (*leads, Axis(sizes[-1], 1))


def _tiles(shape: tuple[int, ...], along: Sequence[int], samples: int) -> Iterator[tuple[slice, tuple[int, int]]]:
    """(items of the first axis, rows of the first spatial axis) that gather about TILE_VALUES, `samples` an output."""
    row = math.prod(shape[1:-1]) // shape[along[0]] * samples
    rows = min(max(TILE_VALUES // row, 1), shape[along[0]])
    items = max(TILE_VALUES // (row * rows), 1)
    for item in range(0, shape[0], items):
        for start in range(0, shape[along[0]], rows):
            yield slice(item, item + items), (start, min(start + rows, shape[along[0]]))


def _by_product(seen: Iterator[NDArray[Any]], dy: NDArray[Any], total: NDArray[np.float64]) -> None:
    """Add a tile's share of dw, (taps, groups, O/groups, C/groups): a product over its outputs for each tap."""
    _, groups, filters, depth = total.shape
    deltas = np.moveaxis(dy.reshape(-1, groups, filters), 0, -1)
    rows = np.stack([samples.reshape(-1, groups, depth) for samples in seen]).swapaxes(1, 2)
    stretches = [slice(at, at + STRETCH) for at in range(0, rows.shape[2], STRETCH)]
    sums = np.empty(total.shape, dy.dtype)
    add_up(stretches, lambda part, out: np.matmul(deltas[..., part], rows[:, :, part], out=out), sums)
    total += sums


def _by_number(seen: Iterator[NDArray[Any]], dy: NDArray[Any], total: NDArray[np.float64]) -> None:
    """The same where each kernel sees one channel, or lane by lane all of them: a product of numbers, not matrices."""
    axes = list(range(dy.ndim))
    kept = axes[-1:] if total.shape[1] == dy.shape[-1] else []
    for samples, sums in zip(seen, total, strict=True):
        sums[:, 0, 0] += np.einsum(samples, axes, dy, axes, kept)
