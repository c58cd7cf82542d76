"""Where the work is cut: the tiles that cover an output, or a part of one, once."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

from convcli.planner import Plan

Span = tuple[int, int]


class Part(NamedTuple):
    """A piece of the output: a run of the first batch axis (0 to 1 where there is none), and of the first spatial."""

    items: Span
    rows: Span


class Place(NamedTuple):
    """A tile: a run of the first batch axis, and of the outputs along each spatial axis."""

    items: Span
    spans: tuple[Span, ...]


def whole(plan: Plan) -> Part:
    """All of the output."""
    return Part((0, plan.facts.batch[0] if plan.facts.batch else 1), (0, plan.sizes[0]))


def places(plan: Plan, part: Part) -> Iterator[Place]:
    """Every tile of a part, covering it once.

    They follow from the plan and the part alone, so that the same input gives the same bytes on any number of threads.
    """
    items, *lengths = plan.tile
    axes = [part.rows, *((0, size) for size in plan.sizes[1:])]
    cuts = [list(_runs(span, length)) for span, length in zip(axes, lengths, strict=True)]
    for run in _runs(part.items, items):
        for spans in product(*cuts):
            yield Place(run, spans)


def _runs(span: Span, longest: int) -> Iterator[Span]:
    start, stop = span
    for at in range(start, stop, longest):
        yield at, min(at + longest, stop)
