"""A result that is made and written part by part, so that no more than a part of it is held in floats.

A part is a run of the batch, or of one item's first spatial axis::

    (H, W, C)      rows 0..63 | rows 64..127 | ...          (N, H, W, C)    item 0 | item 1 | ...

Parts begin where the engine's tiles do, and follow from shapes alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from convcli.engine.planning import Plan
from convcli.engine.tiling import Chunk, whole
from convcli.shapes.layout import ConvLayout

PART_VALUES = 1 << 23
"""Results in a part: 32 MiB of float32. Smaller parts make the threads wait for each other more often."""


def parts(conv_layout: ConvLayout, plan: Plan) -> Iterator[Chunk]:
    """Cut the output of a plan into parts of about PART_VALUES.

    >>> from convcli import plan
    >>> import numpy as np
    >>> from convcli.shapes.layout import infer_layout
    >>> x, w = np.zeros((16384, 1024), np.float32), np.ones((3, 3))
    >>> [part.rows for part in parts(infer_layout(x.shape, w.shape), plan(x, w))]
    [(0, 8208), (8208, 16382)]
    """
    (items, width), (rows, height) = _cut(conv_layout, plan)
    for item in range(0, items, width):
        for at in range(0, rows, height):
            yield Chunk((item, min(item + width, items)), (at, min(at + height, rows)))


def last_part(conv_layout: ConvLayout, plan: Plan) -> Chunk:
    """The last of `parts`, of which there may be millions."""
    (items, width), (rows, height) = _cut(conv_layout, plan)
    return Chunk(((items - 1) // width * width, items), ((rows - 1) // height * height, rows))


def _cut(conv_layout: ConvLayout, plan: Plan) -> tuple[tuple[int, int], tuple[int, int]]:
    """How many items there are and how many a part has, and so of rows."""
    (_, items), (_, rows) = whole(plan)
    row = math.prod(conv_layout.with_spatial(plan.sizes)) // (rows * (items if conv_layout.batch_axes else 1))
    height = _run(PART_VALUES // row, plan.tile[1], rows)
    several = max(PART_VALUES // (row * rows), 1) if height == rows else 1
    width = _run(several, plan.tile[0], items) if conv_layout.batch_axes else items
    return (items, width), (rows, height)


def within(part: Chunk, conv_layout: ConvLayout, plan: Plan) -> Chunk:
    """The part as the plan of another kernel has it: where there is no batch, its engine may make one of channels."""
    return part if conv_layout.batch_axes else part._replace(items=whole(plan).items)


def place(part: Chunk, conv_layout: ConvLayout) -> tuple[slice, ...]:
    """Return the index of a part in the output, in the output's own axes."""
    items, rows = (slice(start, stop) for start, stop in part)
    channels_ahead = (
        conv_layout.output_channel_axis == conv_layout.batch_axes and conv_layout.layout == "channels_first"
    )
    return (*([items] * conv_layout.batch_axes), *([slice(None)] * channels_ahead), rows)


def _run(wanted: int, tile: int, most: int) -> int:
    """About as many as wanted, a whole number of tiles."""
    return min(max(wanted // tile, 1) * tile, most)
