"""An output computed chunk by chunk, so that only a chunk of it is held in floats at a time.

A chunk is a range of batch items, or of one item's first spatial axis::

    (H, W, C)      rows 0..63 | rows 64..127 | ...          (N, H, W, C)    item 0 | item 1 | ...

Chunks begin where the engine's tiles do, and follow from shapes alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from convcli.engine.planning.plan import Plan
from convcli.engine.tiling import Chunk, whole
from convcli.shapes.layout import ConvLayout

CHUNK_VALUES = 1 << 23
"""Values in a chunk: 32 MiB of float32. With smaller ones, threads wait for each other more."""


def chunks(conv_layout: ConvLayout, plan: Plan) -> Iterator[Chunk]:
    """Cut the output of a plan into chunks of about CHUNK_VALUES.

    >>> from convcli import plan
    >>> import numpy as np
    >>> from convcli.shapes.layout import infer_layout
    >>> x, w = np.zeros((16384, 1024), np.float32), np.ones((3, 3))
    >>> [chunk.rows for chunk in chunks(infer_layout(x.shape, w.shape), plan(x, w))]
    [(0, 8192), (8192, 16382)]
    """
    (items, width), (rows, height) = _chunk_sizes(conv_layout, plan)
    for item in range(0, items, width):
        for row in range(0, rows, height):
            yield Chunk((item, min(item + width, items)), (row, min(row + height, rows)))


def last_chunk(conv_layout: ConvLayout, plan: Plan) -> Chunk:
    """Return the last of `chunks` without iterating over the others: there may be millions."""
    (items, width), (rows, height) = _chunk_sizes(conv_layout, plan)
    return Chunk(((items - 1) // width * width, items), ((rows - 1) // height * height, rows))


def _chunk_sizes(conv_layout: ConvLayout, plan: Plan) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return (items, items in a chunk) and (rows, rows in a chunk)."""
    (_, items), (_, rows) = whole(plan)
    counted = items if conv_layout.batch_axes else 1
    row = math.prod(conv_layout.with_spatial(plan.sizes)) // (rows * counted)
    height = whole_tiles(CHUNK_VALUES // row, plan.tile[1], rows)
    if not conv_layout.batch_axes:
        return (items, items), (rows, height)
    several = max(CHUNK_VALUES // (row * rows), 1) if height == rows else 1
    return (items, whole_tiles(several, plan.tile[0], items)), (rows, height)


def whole_tiles(wanted: int, tile: int, limit: int) -> int:
    """Round a size down to whole tiles, to at least one and at most `limit`."""
    return min(max(wanted // tile, 1) * tile, limit)


def chunk_of_plan(chunk: Chunk, conv_layout: ConvLayout, plan: Plan) -> Chunk:
    """Return the chunk for another kernel's plan, which may compute the channels as a batch."""
    return chunk if conv_layout.batch_axes else chunk._replace(items=whole(plan).items)


def output_index(chunk: Chunk, conv_layout: ConvLayout) -> tuple[slice, ...]:
    """Return the index of a chunk in the output, in the output's own axes."""
    items, rows = (slice(start, stop) for start, stop in chunk)
    channels_ahead = (
        conv_layout.output_channel_axis == conv_layout.batch_axes
        and conv_layout.layout == "channels_first"
    )
    return (*([items] * conv_layout.batch_axes), *([slice(None)] * channels_ahead), rows)
