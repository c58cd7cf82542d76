"""The size of regions: multiples of the output's chunks that fit the memory of one task.

A task decodes every chunk that its windows touch. With c chunks along each of three axes that is
(c + 2)**3 / c**3 of the input: 27 times for one chunk, 3.4 for four.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from convcli.errors import InputError, LimitError
from convcli.io.parts import placeholder
from convcli.jobs.apply_plan import ApplyPlan
from convcli.jobs.memory import apply_footprint
from convcli.jobs.regions.geometry import Grid, Samples, samples_under
from convcli.jobs.regions.parts import covering, input_axes, part_of, region_samples
from convcli.limits import show_bytes
from convcli.shapes.parse import show

SIDE = 4
"""Chunks along each side of a region, where the memory allows it."""

ENOUGH = 512 * 2**20
"""Bytes of a task above which it does not grow beyond SIDE: little is left to save."""

DECODED = 10
"""Chunks that the zarr package decodes at once."""


def choose_block(
    plan: ApplyPlan, chunks: Sequence[int], stored: Sequence[int], limit: int, jobs: int
) -> tuple[int, ...]:
    """Return the block that each task computes.

    chunks: of the output. stored: chunks of the input. limit: bytes of one task. Raises LimitError
    if one chunk needs more.
    """
    shape = plan.output_shape
    block = tuple(
        n if source is None else min(size, n)
        for size, n, source in zip(chunks, shape, input_axes(plan), strict=True)
    )
    check_block(plan, block, stored, limit)
    growing = set(range(len(shape)))
    while growing:
        axis = max(growing, key=lambda at: _gain(plan, block, stored, at))
        wider = list(block)
        wider[axis] = min(2 * block[axis], shape[axis])
        tried = tuple(wider)
        few = block[axis] < SIDE * chunks[axis]
        size = task_bytes(plan, tried, stored)
        fits = size <= limit and (few or (size <= ENOUGH and len(Grid(shape, tried)) >= 2 * jobs))
        if fits and tried != block and _gain(plan, block, stored, axis) > 1:
            block = tried
        else:
            growing.remove(axis)
    return block


def _gain(plan: ApplyPlan, block: tuple[int, ...], stored: Sequence[int], axis: int) -> float:
    """Return how many times fewer samples are read with a block twice as long along an axis."""
    n = plan.output_shape[axis]
    if block[axis] >= n or input_axes(plan)[axis] is None:
        return 0.0
    wider = (*block[:axis], min(2 * block[axis], n), *block[axis + 1 :])
    before, after = (samples_read(plan, each, stored) for each in (block, wider))
    return before / after + (1e-9 * axis)


def samples_read(plan: ApplyPlan, block: Sequence[int], stored: Sequence[int]) -> int:
    """Return how many samples all tasks decode together, in whole chunks of the input."""
    grid = Grid(plan.output_shape, tuple(block))
    lead, cut = plan.passes[0], input_axes(plan)
    spatial = lead.conv_layout.spatial_axes
    total = 1
    for axis, n in enumerate(lead.conv_layout.shape):
        if axis not in cut:
            total *= n
        elif axis not in spatial:
            total *= sum(_decoded([span], stored[axis], n) for span in grid.along(cut.index(axis)))
        else:
            axes = [each.plan.axes[spatial.index(axis)] for each in plan.passes]
            boundary = lead.plan.spec.boundary
            total *= sum(
                _decoded(samples_under(axes, span, boundary).spans, stored[axis], n)
                for span in grid.along(cut.index(axis))
            )
    return total


def _decoded(spans: Sequence[tuple[int, int]], size: int, n: int) -> int:
    """Return the samples along an axis in the chunks that spans touch."""
    return sum(min(-(-stop // size) * size, n) - start // size * size for start, stop in spans)


def task_bytes(plan: ApplyPlan, block: tuple[int, ...], stored: Sequence[int]) -> int:
    """Return the bytes that the task of a block in the middle needs at most."""
    grid = Grid(plan.output_shape, block)
    middle = sum(
        (count > 2) * math.prod(grid.counts[axis + 1 :]) for axis, count in enumerate(grid.counts)
    )
    spans = covering(plan, grid.spans(middle))
    samples = region_samples(plan, spans)
    slab = placeholder([along.length for along in samples], plan.data.array.dtype)
    part = part_of(replace(plan, writing=replace(plan.writing, header=None)), slab, samples, spans)
    copies = 1 + any(along.order is not None for along in samples)
    return (
        apply_footprint(part).peak
        + copies * slab.nbytes
        + _decoding(stored, samples, slab.itemsize)
    )


def _decoding(stored: Sequence[int], samples: Sequence[Samples], itemsize: int) -> int:
    """Return the bytes of the chunks that are decoded at once."""
    sizes = [min(size, along.length + size) for size, along in zip(stored, samples, strict=True)]
    return DECODED * math.prod(sizes) * itemsize


def check_block(plan: ApplyPlan, block: tuple[int, ...], stored: Sequence[int], limit: int) -> None:
    """Raise LimitError if the task of a block needs more bytes than it may have."""
    needed = task_bytes(plan, block, stored)
    if needed > limit:
        smaller = "a smaller --block, smaller --chunks or fewer --jobs, or raise --max-memory"
        raise LimitError(
            f"a block of {show(block)} takes {show_bytes(needed)} with its halo",
            f"a task may have {show_bytes(limit)}",
            f"use {smaller}",
        )


def given_block(
    plan: ApplyPlan, given: Sequence[int], chunks: Sequence[int], name: str
) -> tuple[int, ...]:
    """Return the block that --block names; a single number is for every spatial axis.

    Raises InputError for another number of axes, and for a size that is no multiple of the chunks.
    """
    shape, cut = plan.output_shape, input_axes(plan)
    spatial = plan.passes[0].conv_layout.spatial_axes
    if len(given) == 1 and len(shape) > 1:
        given = [
            given[0] if source in spatial else size
            for source, size in zip(cut, chunks, strict=True)
        ]
    if len(given) != len(shape):
        raise InputError(
            f"--block {show(given)}", f"the output {show(shape)} has {len(shape)} axes"
        )
    block = tuple(
        n if source is None else min(size, n)
        for size, n, source in zip(given, shape, cut, strict=True)
    )
    fitting = tuple(
        n if size >= n else max(size // chunk, 1) * chunk
        for size, n, chunk in zip(block, shape, chunks, strict=True)
    )
    if fitting != block:
        raise InputError(
            f"a block of {show(block)} is no multiple of {name}'s chunks {show(chunks)}",
            "",
            f"use --block {show(fitting)}",
        )
    return block
