"""Tables of one output: the samples, the taps and their products, beside each other."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from rich.text import Text

from convcli.cli.report.terminal import wrapped
from convcli.learn.explain import Block, Cell, ExplainResult
from convcli.learn.indices import Index
from convcli.shapes.axis import Axis

T = TypeVar("T")

SHAPES = ((9, 4, True), (9, 3, True), (9, 4, False), (7, 4, False), (5, 4, False), (3, 4, False))
"""Cells of an axis, digits, and whether tables are side by side; the first that fits is used."""
MOST = 9
"""Maximum number of planes and channels that are shown."""
TERMS = 32
"""Maximum number of terms of a gradient that are shown: the largest."""
LARGEST = 6
"""Number of products that are named beside a table that does not hold all of them."""


class Grid(NamedTuple):
    """One table: the sign before it, its title, and its cells."""

    sign: str
    title: str
    cells: list[list[Text]]


class View(NamedTuple):
    """How much of a step is shown.

    columns: of the terminal, None for no limit. side: cells of an axis; digits: of a cell; beside:
    whether its tables are side by side. most: planes and channels; terms: of a gradient.
    """

    columns: int | None
    side: int
    digits: int
    beside: bool
    most: int
    terms: int


def bold_lines(text: str, view: View) -> Iterator[Text]:
    return (Text(line, "bold") for line in wrapped(text, view.columns, "    "))


def plain_lines(text: str, view: View, indent: str = "  ", style: str = "") -> Iterator[Text]:
    return (Text(line, style) for line in wrapped(text, view.columns, indent))


def largest(items: Sequence[T], weights: Sequence[float], most: int) -> list[T]:
    """Return at most this many items, those with the largest weights, in their own order.

    A weight that is not a number counts as the largest.
    """
    sizes = [math.inf if math.isnan(weight) else abs(weight) for weight in weights]
    order = sorted(range(len(items)), key=lambda at: -sizes[at])
    return [items[at] for at in sorted(order[:most])]


def block_tables(
    result: ExplainResult, block: Block, part: tuple[range, ...], view: View
) -> Iterator[Text]:
    """Yield one channel's tables, a band for each plane of the window."""
    window = tuple(axis.k for axis in result.axes)
    cells = np.empty(window, object)
    cells.ravel()[:] = block.cells
    shown = cells[np.ix_(*part)]
    planes = shown.reshape(-1, *(shown.shape[-2:] if shown.ndim > 1 else (1, *shown.shape)))
    for plane in planes:
        yield from _band(_grids(result, plane.tolist(), view.digits), view)


def _grids(result: ExplainResult, cells: list[list[Cell]], digits: int) -> list[Grid]:
    """Return the tables of a plane of cells: the samples, the taps, and their products."""
    flipped = result.op == "convolve"
    grids = [
        Grid(
            "",
            _span(result.axes, [cell for row in cells for cell in row]),
            _drawn(cells, _sample, digits),
        )
    ]
    if flipped:
        grids.append(Grid("", "w", _drawn([row[::-1] for row in cells[::-1]], _tap, digits)))
    grids.append(Grid("*", "w flipped" if flipped else "w", _drawn(cells, _tap, digits)))
    grids.append(
        Grid("=", "x * w flipped" if flipped else "x * w", _drawn(cells, _product, digits))
    )
    return grids


def _drawn(
    cells: Iterable[Iterable[Cell]], draw: Callable[[Cell, int], Text], digits: int
) -> list[list[Text]]:
    return [[draw(cell, digits) for cell in row] for row in cells]


def _span(axes: tuple[Axis, ...], cells: Sequence[Cell]) -> str:
    """Return the positions of a plane, such as `x[0..2,1..3]`; a step follows a colon."""
    ends = zip(cells[0].place, cells[-1].place, axes, strict=True)
    return f"x[{','.join(_range(*end) for end in ends)}]"


def _range(first: int, last: int, axis: Axis) -> str:
    if first == last:
        return str(first)
    step = f":{axis.dilation}" if axis.dilation > 1 else ""
    return f"{first}..{last}{step}"


def _band(grids: list[Grid], view: View) -> Iterator[Text]:
    """Yield the grids side by side, or one below another."""
    drawn = [_lines(grid) for grid in grids]
    if view.beside:
        for row in zip(*drawn, strict=True):
            yield _stripped(Text("  ").join(row))
        return
    for lines in drawn:
        yield from map(_stripped, lines)


def _stripped(line: Text) -> Text:
    line.rstrip()
    return line


def _lines(grid: Grid) -> list[Text]:
    """Return a title and the rows, all of one width, with the sign before the middle row."""
    widest = max(len(cell) for row in grid.cells for cell in row)
    rows = []
    for i, row in enumerate(grid.cells):
        sign = grid.sign if i == len(grid.cells) // 2 else ""
        line = Text(f"{sign:<2}")
        for cell in row:
            line.append(" " * (widest - len(cell) + 1)).append_text(cell)
        rows.append(line)
    broad = max(len(rows[0]), len(grid.title) + 3)
    for line in rows:
        line.pad_right(broad - len(line))
    return [Text(f"   {grid.title}".ljust(broad), "dim"), *rows]


def _sample(cell: Cell, digits: int) -> Text:
    """Return a cell's sample as text; a padded one is in brackets."""
    text = short(cell.x, digits)
    return Text(f"({text})", "yellow") if cell.padded else Text(text)


def _tap(cell: Cell, digits: int) -> Text:
    return Text(short(cell.w, digits), _sign(cell.w))


def _product(cell: Cell, digits: int) -> Text:
    return Text(short(cell.product, digits), _sign(cell.product))


def _sign(value: float) -> str:
    if value > 0:
        return "red"
    return "blue" if value < 0 else "dim"


def indexed(index: Index) -> str:
    return f"[{','.join(map(str, index))}]"


def number(value: float) -> str:
    return f"{value + 0.0:.6g}"  # adding 0 takes the sign off a negative zero


def short(value: float, digits: int) -> str:
    """Format integers as they are, and others to a few digits."""
    return number(value) if value.is_integer() else f"{value:.{digits}g}"
