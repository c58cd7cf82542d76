"""Where the work is cut: the tiles that cover an output, or a part of one, once."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

from convcli.engine.planning.plan import Plan

Span = tuple[int, int]

LINE = 16
"""Values in a line of the cache, and more."""


class Chunk(NamedTuple):
    """A piece of the output: a run of the first batch axis (0 to 1 where there is none), and of the first spatial."""

    items: Span
    rows: Span


class Tile(NamedTuple):
    """A tile: a run of the first batch axis, and of the outputs along each spatial axis."""

    items: Span
    spans: tuple[Span, ...]


def whole(plan: Plan) -> Chunk:
    """All of the output."""
    return Chunk((0, plan.facts.batch[0] if plan.facts.batch else 1), (0, plan.sizes[0]))


def tiles(plan: Plan, part: Chunk) -> Iterator[Tile]:
    """Every tile of a part, covering it once.

    They follow from the plan and the part alone, so that the same input gives the same bytes on any number of threads.
    """
    items = plan.tile[0]
    for run in _runs(part.items, items):
        for rows, area in _areas(plan):
            cuts = [_runs(span, length) for span, length in zip(area, plan.tile[2:], strict=True)]
            for spans in product(_runs(part.rows, rows), *cuts):
                yield Tile(run, spans)


def _areas(plan: Plan) -> Iterator[tuple[int, list[Span]]]:
    """Pieces of the output along the axes after the first, each with the rows of its tiles.

    A picture of wide rows has three: within its sides no window sees padding, so that samples are read where they lie::

        | side |               within               | side |
    """
    rows, *rest = plan.tile[1:]
    whole = [(0, size) for size in plan.sizes[1:]]
    last = plan.axes[-1]
    start, stop = last.inside
    start = min(-(-start // LINE) * LINE, stop)
    if not (
        len(rest) == 1
        and plan.implementation.columns_are_rows(plan)
        and plan.is_parallel
        and 2 * (stop - start) > last.out
    ):
        yield rows, whole
        return
    yield rows, [(start, stop)]
    for side in ((0, start), (stop, last.out)):
        if side[0] < side[1]:
            yield max(rows * rest[0] // (last.span(side[1] - side[0]) + 32), 1), [side]


def _runs(span: Span, longest: int) -> Iterator[Span]:
    start, stop = span
    for at in range(start, stop, longest):
        yield at, min(at + longest, stop)
