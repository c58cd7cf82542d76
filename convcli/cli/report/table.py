"""Tables that fit the terminal: the columns of least worth are hidden, long words wrap, and a pipe
gets it all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

from convcli.cli.report.terminal import bold, dim, plain_length, width, wrapped
from convcli.errors import InputError, did_you_mean

GAP = "  "
NARROWEST = 12
"""Minimum width of wrapped cells after all columns that can be hidden are hidden."""


@dataclass(frozen=True)
class Column:
    """One column: its head, and its cells, which may be styled.

    worth: 0 for a column that is always shown; others are hidden if space is short, the lowest
    first, and those of equal worth together. least: the width down to which cells wrap at words
    before other columns are hidden; 0 for cells that never wrap.
    """

    head: str
    cells: Sequence[str]
    left: bool = False
    worth: int = 0
    least: int = 0
    widest: int = field(init=False)

    def __post_init__(self) -> None:
        longest = max(map(plain_length, (self.head, *self.cells)), default=0)
        object.__setattr__(self, "widest", longest)


def table(
    columns: Sequence[Column],
    *,
    chosen: Sequence[str] | None = None,
    between: Mapping[int, Sequence[str]] | None = None,
) -> list[str]:
    """Return the lines of a table: fitted to a terminal, elsewhere one line per row.

    chosen: the heads of the columns to show, in this order, without hiding any. between: lines to
    insert before the row of a number. If columns are hidden, the last line names them.
    """
    room = width()
    shown = list(columns) if chosen is None else pick(columns, chosen)
    hidden: list[str] = []
    while (
        chosen is None
        and room is not None
        and _total(shown) > room
        and any(column.worth for column in shown)
    ):
        least = min(column.worth for column in shown if column.worth)
        hidden += [column.head for column in shown if column.worth == least]
        shown = [column for column in shown if column.worth != least]
    widths = _widths(shown, room)
    lines = list(_lines(shown, widths, between or {}))
    if hidden:
        order = [column.head for column in columns if column.head in hidden]
        note = f"hidden at this width: {', '.join(order)}; use --columns, or widen the terminal"
        lines += map(dim, wrapped(note, room))
    return lines


class Headed(Protocol):
    """Anything with the head of a column."""

    @property
    def head(self) -> str: ...


H = TypeVar("H", bound=Headed)


def pick(columns: Sequence[H], chosen: Sequence[str]) -> list[H]:
    """Return the columns with these heads, in this order. Raises InputError for an unknown head."""
    known = {column.head: column for column in columns}
    if list(chosen) == ["all"]:
        return list(columns)
    for name in chosen:
        if name not in known:
            hint = did_you_mean(name, known)
            raise InputError(
                f"no column {name!r}", f"expected some of {', '.join(known)}, or all", hint
            )
    return [known[name] for name in chosen]


def _total(columns: Sequence[Column]) -> int:
    """Return the least total width of these columns, with cells wrapped where they may be."""
    return sum(_least(column) for column in columns) + len(GAP) * (len(columns) - 1)


def _least(column: Column) -> int:
    return (
        min(column.widest, max(column.least, len(column.head))) if column.least else column.widest
    )


def _widths(columns: Sequence[Column], room: int | None) -> list[int]:
    """Return each column's width; columns that wrap get the remaining space, in order."""
    if room is None:
        return [column.widest for column in columns]
    if _total(columns) > room:
        columns = [replace(column, least=min(column.least, NARROWEST)) for column in columns]
    spare = max(room - _total(columns), 0)
    widths = []
    for column in columns:
        more = min(column.widest - _least(column), spare)
        widths.append(_least(column) + more)
        spare -= more
    return widths


def _lines(
    columns: Sequence[Column], widths: Sequence[int], between: Mapping[int, Sequence[str]]
) -> Iterator[str]:
    heads = [
        _aligned(column.head, size, column.left)
        for column, size in zip(columns, widths, strict=True)
    ]
    yield bold(GAP.join(heads).rstrip())
    rows = list(zip(*(column.cells for column in columns), strict=True))
    for place, row in enumerate(rows):
        yield from between.get(place, ())
        parts = [
            wrapped(cell, size, _indent(cell)) if column.least else [cell]
            for column, cell, size in zip(columns, row, widths, strict=True)
        ]
        for number in range(max(map(len, parts))):
            cells = [part[number] if number < len(part) else "" for part in parts]
            line = [
                _aligned(*each)
                for each in zip(cells, widths, (c.left for c in columns), strict=True)
            ]
            yield GAP.join(line).rstrip()
    yield from between.get(len(rows), ())


def _indent(cell: str) -> str:
    """Return the indent of a cell's later lines: deeper than its first, if that has one."""
    blanks = len(cell) - len(cell.lstrip())
    return " " * (blanks + 2) if blanks else ""


def _aligned(cell: str, size: int, left: bool) -> str:
    blanks = " " * (size - plain_length(cell))
    return cell + blanks if left else blanks + cell
