"""Fold a network's rows: one row for the layers of a block, and for equal blocks in sequence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from convcli.network.layers import FIELD
from convcli.network.summary import Rival, Row

Rows = tuple[Row, ...]


def fold(rows: Sequence[Row]) -> list[Row]:
    """Return one row per named block, and per sequence of equal instances, with their number.

    A folded row has the sums of its layers' parameters, work and memory, and the output and field
    of the last layer.

    >>> from convcli.network.graph import Network
    >>> from convcli.network.layers import Tensor
    >>> from convcli.network.parser import parse
    >>> from convcli.network.summary import summarise
    >>> net = Network.of(Tensor((9, 9), 4), parse("[conv:4,k=3,p=1 relu]x3 gap"))
    >>> [(row.number, row.last, row.layer, row.parameters) for row in fold(summarise(net).rows)]
    [(1, 6, '[conv:4,k=3,p=1 relu] x3', 444), (7, 7, 'gap', 0)]
    """
    folded: list[Row] = []
    for run in _runs(rows):
        first = run[0][0].instance
        if first is None or (len(run) == 1 and not first.named):
            folded += (row for instance in run for row in instance)
        else:
            times = f" x{len(run)}" if len(run) > 1 else ""
            folded.append(
                _merge([row for instance in run for row in instance], f"{first.text}{times}")
            )
    return folded


def _runs(rows: Sequence[Row]) -> Iterator[list[Rows]]:
    """Yield runs of equal instances in sequence; a layer without an instance is its own run."""
    run: list[Rows] = []
    for instance in _instances(rows):
        if run and _same(run[-1], instance):
            run.append(instance)
            continue
        if run:
            yield run
        run = [instance]
    if run:
        yield run


def _instances(rows: Sequence[Row]) -> Iterator[Rows]:
    for instance, group in groupby(rows, key=lambda row: row.instance):
        if instance is None:
            yield from ((row,) for row in group)
        else:
            yield tuple(group)


def _same(one: Rows, other: Rows) -> bool:
    """Return whether two instances have the same layers, outputs and costs.

    False for layers without an instance.
    """
    if one[0].instance is None or other[0].instance is None:
        return False
    if one[0].instance.text != other[0].instance.text:
        return False
    return [_key(row) for row in one] == [_key(row) for row in other]


def _key(row: Row) -> tuple[object, ...]:
    return row.layer, row.path, row.output, row.parameters, row.work


def _merge(rows: Sequence[Row], text: str) -> Row:
    """Return one row for several, with their sums."""
    last = rows[-1]
    lost = next((row for row in rows if row.lost), None)
    return last._replace(
        number=rows[0].number,
        layer=text,
        path="",
        formula="",
        parameters=sum(row.parameters for row in rows),
        work=sum(row.work for row in rows),
        share=None if last.share is None else sum(row.share or 0 for row in rows),
        memory=sum(row.memory for row in rows),
        dropped=lost.dropped if lost else (),
        lost=lost is not None,
        aligned=all(row.aligned for row in rows),
        unknown=last.unknown.union(*(row.unknown - {FIELD} for row in rows)),
        rivals=_sum_rivals(rows),
    )


def _sum_rivals(rows: Sequence[Row]) -> tuple[Rival, ...]:
    """Return the sums of the layers' rivals by name."""
    sums: dict[str, list[int]] = {}
    for rival in (rival for row in rows for rival in row.rivals):
        found = sums.setdefault(rival.name, [0, 0])
        found[0] += rival.parameters
        found[1] += rival.macs
    return tuple(Rival(name, *found) for name, found in sums.items())
