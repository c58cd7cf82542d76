"""Backwards: which layers lead from one size to another, the cheapest first.

The cost of a chain is its multiply-adds from one channel to one channel; among equal ones the fewer layers and the
smaller padding come first. A larger goal is reached by transposed convolutions, any other by convolutions. Left out
are layers that waste what they are given: strides longer than the window, which skip samples (or leave holes),
strides with dilation, padding of more than half a window, and a window of 1 that does nothing. The search goes
deeper only where what a chain costs so far, and the least that the rest can cost, still beats the chains found.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from convcli.errors import InputError
from convcli.network.receptive_field import Field
from convcli.shapes.spec import Axis, show

TAPS = range(1, 12)
STRIDES = range(1, 9)
DILATIONS = range(1, 5)
MOST_FOUND = 10

Sizes = tuple[int, ...]


@dataclass(frozen=True, order=True, slots=True)
class Link:
    """One layer of a chain, alike along every axis."""

    p: int
    d: int
    k: int
    s: int
    output_padding: int = 0
    transposed: bool = False

    def axis(self, n: int) -> Axis:
        return Axis(n, self.k, self.s, self.d, self.p, self.p, self.output_padding, self.transposed)

    @property
    def token(self) -> str:
        """The layer as the command line takes it, for one filter.

        >>> Link(k=4, s=2, p=1, d=1, transposed=True).token
        'deconv:1,k=4,s=2,p=1'
        """
        given = (("s", self.s, 1), ("p", self.p, 0), ("d", self.d, 1), ("out_padding", self.output_padding, 0))
        rest = [f"{key}={value}" for key, value, default in given if value != default]
        return ",".join([f"{'deconv' if self.transposed else 'conv'}:1", f"k={self.k}", *rest])


@dataclass(frozen=True, order=True, slots=True)
class Chain:
    """Layers that lead from one size to another; they sort by cost."""

    macs: int
    count: int
    links: tuple[Link, ...]
    sizes: tuple[Sizes, ...]  # of the input and behind each layer
    field: int  # receptive field


def solve(
    start: Sequence[int], goal: Sequence[int], *, rf: int | None = None, max_layers: int = 2
) -> tuple[Chain, ...]:
    """Find the cheapest chains of at most `max_layers` layers, at most `MOST_FOUND` of them.

    rf: the receptive field that a chain must have, in samples of the input.
    Raises InputError where the axes differ in number, or where nothing leads there.

    >>> [link.token for link in solve((224, 224), (112, 112), rf=7, max_layers=1)[0].links]
    ['conv:1,k=7,s=2,p=3']
    >>> [link.token for link in solve((14,), (28,))[0].links]
    ['deconv:1,k=2,s=2']
    """
    first, last = tuple(start), tuple(goal)
    if len(first) != len(last):
        raise InputError(f"from {show(first)} to {show(last)}", "expected as many axes in both")
    search = _Search(last, rf, any(m > n for n, m in zip(first, last, strict=True)))
    for layers in range(1, max_layers + 1):
        search.go((first,), (), Field(), 0, layers)
    if not search.found:
        seen = f" with a receptive field of {rf}" if rf else ""
        raise InputError(
            f"no chain of {max_layers} {'layer' if max_layers == 1 else 'layers or fewer'} leads from {show(first)} "
            f"to {show(last)}{seen}",
            f"tried windows of up to {TAPS[-1]}, strides up to {STRIDES[-1]}, dilations up to {DILATIONS[-1]}",
            "allow more with --max-layers" + (", or give another --rf" if rf else ""),
        )
    return tuple(search.found)


class _Search:
    """Chains to one goal, the best of them kept in order."""

    def __init__(self, goal: Sizes, rf: int | None, grows: bool) -> None:
        self.goal, self.rf, self.grows = goal, rf, grows
        self.found: list[Chain] = []

    def go(self, sizes: tuple[Sizes, ...], links: tuple[Link, ...], field: Field, macs: int, layers: int) -> None:
        """Try every way to go on with `layers` more layers."""
        steps = _ends(sizes[-1], self.goal, self.grows) if layers == 1 else _steps(sizes[-1], self.grows)
        for cost, link, out in steps:
            if macs + cost + self.least(out) * (layers - 1) > self.bound:
                return  # steps come by rising cost of their own
            seen = field.through(link.axis(sizes[-1][0]))
            if self.rf and seen.size > self.rf:
                continue
            if layers > 1:
                if self.leads(out):
                    self.go((*sizes, out), (*links, link), seen, macs + cost, layers - 1)
            elif self.rf in (None, seen.size):
                self.keep(Chain(macs + cost, len(links) + 1, (*links, link), (*sizes, out), seen.size))

    @property
    def bound(self) -> float:
        """What a chain may cost to be among the best."""
        return self.found[-1].macs if len(self.found) == MOST_FOUND else math.inf

    def least(self, out: Sizes) -> int:
        """The least that one more layer can cost."""
        return 0 if self.grows else math.prod(self.goal)

    def leads(self, out: Sizes) -> bool:
        """Whether the goal still lies ahead."""
        return all(n <= m if self.grows else n >= m for n, m in zip(out, self.goal, strict=True))

    def keep(self, chain: Chain) -> None:
        bisect.insort(self.found, chain)
        del self.found[MOST_FOUND:]


Step = tuple[int, Link, Sizes]


@cache
def _steps(sizes: Sizes, grows: bool) -> list[Step]:
    """Every layer that may follow on these sizes, with its cost and what comes out, the cheapest first."""
    found = []
    for link in _links(grows):
        axes = [link.axis(n) for n in sizes]
        if all(axis.reach <= axis.padded and axis.out >= 1 for axis in axes):
            found.append(_step(link, axes))
    return sorted(found)


@cache
def _ends(sizes: Sizes, goal: Sizes, grows: bool) -> list[Step]:
    """Those of them that reach the goal."""
    return [step for step in _steps(sizes, grows) if step[2] == goal]


def _step(link: Link, axes: list[Axis]) -> Step:
    moved = math.prod(axis.n if axis.transposed else axis.out for axis in axes)
    return moved * link.k ** len(axes), link, tuple(axis.out for axis in axes)


@cache
def _links(grows: bool) -> list[Link]:
    return list(_all_links(grows))


def _all_links(transposed: bool) -> Iterator[Link]:
    for k in TAPS:
        for s in STRIDES[:k]:
            for d in DILATIONS if k > 1 and s == 1 else (1,):
                for p in range((d * (k - 1) + 1) // 2 + 1 if k > 1 else 1):
                    for extra in range(s if transposed else 1):
                        if k * s > 1:
                            yield Link(p, d, k, s, extra, transposed)
