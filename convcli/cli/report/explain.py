"""Single outputs taken apart: the patch, the kernel and their product side by side, and the sum."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from rich.text import Text

from convcli.cli.report.text import axis_json, axis_names, columns, described, finite, formula, make_console, reading
from convcli.learn.explain import Block, Cell, ExplainResult, Flow, Index, Step
from convcli.shapes.axis import Axis
from convcli.shapes.parse import show

SIDE = 9
"""Cells of an axis that are shown, of a longer one the first and the last four; planes and channels are as many."""
TERMS = 32
"""Terms of a gradient that are shown; of more the first and the last sixteen."""
LETTERS = "abcdefgh"
GAP = Text("...", "dim")


class Grid(NamedTuple):
    """One of the tables that stand side by side: what is between it and the one before, its title, its cells."""

    sign: str
    title: str
    cells: list[list[Text]]


def print_explanation(result: ExplainResult) -> None:
    """Print the convolution in a few lines, then every step."""
    console = make_console()
    console.print("\n".join(_head(result)), highlight=False, markup=False)
    for step in result.steps:
        console.print()
        for line in _step(result, step, console.width):
            console.print(line)
    if any(cell.padded for cell in _cells(result.steps)):
        console.print(_legend(result), style="yellow", highlight=False, markup=False)


def explanation_json(result: ExplainResult) -> dict[str, Any]:
    operands = result.operands
    return {
        "op": result.op,
        "input": {
            "name": operands.data.name,
            "shape": list(operands.conv_layout.shape),
            "notes": list(operands.data.notes),
        },
        "kernel": {"name": operands.kernel.name, "shape": list(operands.conv_layout.kernel)},
        "output": list(result.output),
        "axes": [axis_json(axis) for axis in result.axes],
        "boundary": operands.spec.boundary,
        "cval": finite(operands.spec.cval),
        "upstream": result.upstream,
        "steps": [_step_json(step) for step in result.steps],
    }


def _step_json(step: Step) -> dict[str, Any]:
    return {
        "at": list(step.at),
        "blocks": [
            {
                "channel": block.channel,
                "cells": [_cell_json(cell) for cell in block.cells],
                "total": finite(block.total),
            }
            for block in step.blocks
        ],
        "total": finite(step.total),
        "coverage": step.coverage,
        "value": finite(step.value),
        "delta": finite(step.delta),
    }


def _cell_json(cell: Cell) -> dict[str, Any]:
    return {
        "tap": list(cell.tap),
        "place": list(cell.place),
        "source": None if cell.source is None else list(cell.source),
        "padded": cell.padded,
        "x": finite(cell.x),
        "w": finite(cell.w),
        "product": finite(cell.product),
        "flow": None if cell.flow is None else {name: finite(value) for name, value in vars(cell.flow).items()},
    }


def _cells(steps: Sequence[Step]) -> Iterator[Cell]:
    return (cell for step in steps for block in step.blocks for cell in block.cells)


def _head(result: ExplainResult) -> list[str]:
    a = result.operands.conv_layout
    rows: list[tuple[str, str]] = [
        (result.op, f"{described(result.operands.data)} with {result.operands.kernel.name} ({show(a.kernel)})")
    ]
    rows += [(name, formula(axis)) for name, axis in zip(axis_names(a.dims), result.axes, strict=True)]
    rows.append(("channels", reading(a)))
    return columns([*rows, ("output", show(result.output))], indent="")


def _legend(result: ExplainResult) -> str:
    spec = result.operands.spec
    by = f"constant {_number(spec.cval)}" if spec.boundary == "constant" else spec.boundary
    return f"(v) lies outside the input: boundary {by}"


def _step(result: ExplainResult, step: Step, width: int) -> Iterator[Text]:
    name = f"y{_index(step.at)}"
    yield Text(f"{name} = {_rule(result, step)}", "bold")
    for block in step.blocks[:SIDE]:
        if block.channel is not None:
            yield Text(f"channel {block.channel}", "bold")
        yield from _block(result, block, width)
        if len(step.blocks) > 1:
            yield Text(f"  sum {_number(block.total)}")
    yield from _left_out(len(step.blocks), "channels")
    yield _result(name, step)
    if step.delta is not None:
        yield from _backward(result, step)


def _rule(result: ExplainResult, step: Step) -> str:
    """Return the sum with its indices filled in, such as `sum of w[a,b] * x[1+a,2+b]`."""
    a = result.operands.conv_layout
    letters = LETTERS[: a.dims]
    first = _place_of(result, step, flipped=result.op == "convolve")
    sign = "-" if result.op == "convolve" else "+"
    moved = [
        f"{start}{sign}{'' if axis.dilation == 1 else axis.dilation}{letter}"
        for start, axis, letter in zip(first, result.axes, letters, strict=True)
    ]
    return f"sum of w[{','.join(letters)}] * x[{','.join(moved)}]" + (", over the channels" * (len(step.blocks) > 1))


def _place_of(result: ExplainResult, step: Step, *, flipped: bool) -> Index:
    """Return the position of the kernel's first tap; in a convolution it is the window's last."""
    return step.blocks[0].cells[-1 if flipped else 0].place


def _result(name: str, step: Step) -> Text:
    parts = [_number(block.total) for block in step.blocks]
    if len(parts) == 1:
        parts = [_number(cell.product) for cell in _some(step.blocks[0].cells, 2 * SIDE)]
    hidden = len(step.blocks) == 1 and len(step.blocks[0].cells) > 2 * SIDE
    listed = [*parts[:SIDE], "...", *parts[-SIDE:]] if hidden else parts
    result = f"{name} = {' + '.join(listed)}".replace("+ -", "- ")
    if len(listed) > 1:
        result += f" = {_number(step.total)}"
    if step.coverage is not None:
        result += f"; over its coverage {_number(step.coverage)} = {_number(step.value)}"
    return Text(result, "bold")


def _some(items: Sequence[Any], limit: int) -> list[Any]:
    """Return all of them, or the first and the last."""
    return list(items) if len(items) <= limit else [*items[: limit // 2], *items[-(limit // 2) :]]


# Tables.


def _block(result: ExplainResult, block: Block, width: int) -> Iterator[Text]:
    """Yield one channel's tables, a band for each plane of the window."""
    window = tuple(axis.k for axis in result.axes)
    plane = window[-2:] if len(window) > 1 else (1, *window)
    size = math.prod(plane)
    planes = math.prod(window[:-2])
    for start in range(0, min(planes, SIDE) * size, size):
        yield from _band(_grids(result, block.cells[start : start + size], plane), width)
    yield from _left_out(planes, "planes")


def _left_out(count: int, what: str) -> Iterator[Text]:
    if count > SIDE:
        yield Text(f"   ... {count - SIDE} {what} more, all of them in --json", "dim")


def _grids(result: ExplainResult, cells: Sequence[Cell], plane: Index) -> list[Grid]:
    flipped = result.op == "convolve"
    grids = [Grid("", _span(result.axes, cells), _cut(cells, plane, _sample))]
    if flipped:
        grids.append(Grid("", "w", _cut(cells[::-1], plane, _tap)))
    grids.append(Grid("*", "w flipped" if flipped else "w", _cut(cells, plane, _tap)))
    grids.append(Grid("=", "x * w flipped" if flipped else "x * w", _cut(cells, plane, _product)))
    return grids


def _span(axes: tuple[Axis, ...], cells: Sequence[Cell]) -> str:
    """Return the positions of a plane, such as `x[0..2,1..3]`; a step follows a colon."""
    ends = zip(cells[0].place, cells[-1].place, axes, strict=True)
    return f"x[{','.join(_range(*end) for end in ends)}]"


def _range(first: int, last: int, axis: Axis) -> str:
    if first == last:
        return str(first)
    step = f":{axis.dilation}" if axis.dilation > 1 else ""
    return f"{first}..{last}{step}"


def _cut(cells: Sequence[Cell], plane: Index, draw: Callable[[Cell], Text]) -> list[list[Text]]:
    """Return the drawn cells as rows, without the middle of long rows and columns."""
    height, width = plane
    rows = [_elided([draw(cell) for cell in cells[i * width : (i + 1) * width]]) for i in _shown(height)]
    if height > SIDE:
        rows.insert(SIDE // 2, [GAP] * len(rows[0]))
    return rows


def _shown(n: int) -> list[int]:
    return _some(range(n), SIDE if n <= SIDE else SIDE - 1)


def _elided(row: list[Text]) -> list[Text]:
    return row if len(row) <= SIDE else [*row[: SIDE // 2], GAP, *row[-(SIDE // 2) :]]


def _band(grids: list[Grid], width: int) -> Iterator[Text]:
    """Yield the grids side by side if the width allows, else one below another."""
    drawn = [_lines(grid) for grid in grids]
    total = sum(max(len(line) for line in lines) + 2 for lines in drawn)
    if total <= width:
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


def _sample(cell: Cell) -> Text:
    """Return a cell's sample as text; a padded one is in brackets."""
    return Text(f"({_short(cell.x)})", "yellow") if cell.padded else Text(_short(cell.x))


def _tap(cell: Cell) -> Text:
    return Text(_short(cell.w), _sign(cell.w))


def _product(cell: Cell) -> Text:
    return Text(_short(cell.product), _sign(cell.product))


def _sign(value: float) -> str:
    if value > 0:
        return "red"
    return "blue" if value < 0 else "dim"


# The way back.


def _backward(result: ExplainResult, step: Step) -> Iterator[Text]:
    """Yield how delta flows back, term by term, with the sums over all outputs."""
    delta = _number(step.delta or 0.0)
    yield Text(f"backward, delta = dy{_index(step.at)} = {delta} (dy: {result.upstream})", "bold")
    cells = [(cell, cell.flow) for cell in _cells([step]) if cell.flow is not None]
    yield Text("dw_i = sum_j delta_j x_(i+j-1): to each tap delta times the sample under it" + _unlike(result))
    yield from _terms([_dw(cell, flow, delta) for cell, flow in cells])
    yield Text("dx = the full convolution of delta with w: to each sample delta times the tap over it")
    yield from _terms([_dx(cell, flow, delta) for cell, flow in cells])


def _unlike(result: ExplainResult) -> str:
    """Yield what the notation leaves out, if this convolution has it."""
    axes = result.axes
    parts = [
        ("the kernel flipped", result.op == "convolve"),
        ("stride between the windows", any(axis.stride > 1 for axis in axes)),
        ("dilation between the taps", any(axis.dilation > 1 for axis in axes)),
        ("padding before the first sample", any(axis.lo for axis in axes)),
    ]
    had = [name for name, there in parts if there]
    return f" (here with {', '.join(had)})" if had else ""


def _dw(cell: Cell, flow: Flow, delta: str) -> tuple[str, ...]:
    sample = "the constant outside" if cell.source is None else f"x{_index(cell.source)}"
    term = f"{delta} * {_number(cell.x)}"
    return f"dw{_index(cell.tap)}", f"delta * {sample}", term, _number(flow.dw), _number(flow.dw_sum)


def _dx(cell: Cell, flow: Flow, delta: str) -> tuple[str, ...]:
    if cell.source is None or flow.dx is None or flow.dx_sum is None:
        return "outside", f"delta * w{_index(cell.tap)}", f"{delta} * {_number(cell.w)}", "", ""
    name = f"dx{_index(cell.source)}"
    term = f"{delta} * {_number(cell.w)}"
    return name, f"delta * w{_index(cell.tap)}", term, _number(flow.dx), _number(flow.dx_sum)


def _terms(rows: list[tuple[str, ...]]) -> Iterator[Text]:
    """Yield aligned rows; the middle of many is left out."""
    shown = _some(rows, TERMS)
    widths = [max(len(row[column]) for row in shown) for column in range(5)]
    for count, row in enumerate(shown):
        if count == TERMS // 2 and len(rows) > TERMS:
            yield Text(f"  ... {len(rows) - TERMS} terms more, all of them in --json")
        name, what, term, value, whole = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        result = f"  {name}  += {what} = {term} = {value}  of {whole} over all outputs"
        yield Text(result.rstrip() if row[3] else f"  {name}     {what} = {term}   falls on the constant, and is lost")


def _index(index: Index) -> str:
    return f"[{','.join(map(str, index))}]"


def _number(value: float) -> str:
    return f"{value + 0.0:.6g}"  # adding 0 takes the sign off a negative zero


def _short(value: float) -> str:
    """Format integers as they are, others to four digits, so that three tables fit side by side."""
    return _number(value) if value.is_integer() else f"{value:.4g}"
