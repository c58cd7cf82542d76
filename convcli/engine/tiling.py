"""Cut an output into tiles that cover it, or a part of it, once."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

from convcli.engine.planning.plan import Plan

Span = tuple[int, int]

LINE = 16
"""The middle of a picture begins at a multiple of this: 16 float32 values are a cache line."""

SIDE = 32
"""Outputs added to the width of a side's tile when its rows are chosen: the tile's fixed cost."""


class Chunk(NamedTuple):
    """A part of the output: spans of the first batch axis and of the first spatial axis.

    The first span is (0, 1) if there is no batch axis.
    """

    items: Span
    rows: Span


class Tile(NamedTuple):
    """A tile: a span of the first batch axis, and of the outputs along each spatial axis."""

    items: Span
    spans: tuple[Span, ...]


def whole(plan: Plan) -> Chunk:
    """Return the whole output as one chunk."""
    return Chunk((0, plan.facts.batch[0] if plan.facts.batch else 1), (0, plan.sizes[0]))


def tiles(plan: Plan, part: Chunk) -> Iterator[Tile]:
    """Yield tiles that cover a part without overlap.

    They depend only on the plan and the part, so the result has the same bytes with any number of
    threads.
    """
    if plan.tile[1:] == plan.sizes and part.items[1] <= plan.tile[0] and not plan.is_parallel:
        yield Tile(part.items, (part.rows, *((0, size) for size in plan.sizes[1:])))
        return
    for items in _pieces(part.items, plan.tile[0]):
        for rows, area in _areas(plan):
            cuts = [_pieces(span, length) for span, length in zip(area, plan.tile[2:], strict=True)]
            for spans in product(_pieces(part.rows, rows), *cuts):
                yield Tile(items, spans)


def _areas(plan: Plan) -> Iterator[tuple[int, list[Span]]]:
    """Yield areas of the output: the rows of their tiles, and their spans along the other axes.

    A picture with wide rows has three. In its middle no window contains padding, so samples are
    read in place::

        | side |               middle               | side |
    """
    rows, *rest = plan.tile[1:]
    last = plan.axes[-1]
    start, stop = last.inside
    start = min(-(-start // LINE) * LINE, stop)
    by_columns = len(rest) == 1 and plan.implementation.columns_are_rows(plan) and plan.is_parallel
    if not by_columns or 2 * (stop - start) <= last.out:
        yield rows, [(0, size) for size in plan.sizes[1:]]
        return
    yield rows, [(start, stop)]
    for first, end in ((0, start), (stop, last.out)):
        if first < end:
            yield max(rows * rest[0] // (last.span(end - first) + SIDE), 1), [(first, end)]


def _pieces(span: Span, longest: int) -> Iterator[Span]:
    start, stop = span
    for first in range(start, stop, longest):
        yield first, min(first + longest, stop)
