"""The report of single outputs: the patch, the kernel, their product, and the sum."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from rich.text import Text

from convcli.cli.report.matrix import heaviest_part
from convcli.cli.report.terminal import labelled, width, wrapped
from convcli.cli.report.text import (
    axis_json,
    axis_names,
    described,
    finite,
    formula,
    make_console,
    reading,
)
from convcli.learn.explain import Block, Cell, ExplainResult, Flow, Index, Step
from convcli.shapes.axis import Axis
from convcli.shapes.parse import show

SHAPES = ((9, 4, True), (9, 3, True), (9, 4, False), (7, 4, False), (5, 4, False), (3, 4, False))
"""Cells of an axis, digits, and whether tables are side by side; the first that fits is used."""
MOST = 9
"""Maximum number of planes and channels that are shown."""
LISTED = 18
"""Maximum number of products that are written out as a sum."""
TERMS = 32
"""Maximum number of terms of a gradient: the first and the last sixteen."""
LETTERS = "abcdefgh"


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


def print_explanation(result: ExplainResult, *, verbose: bool = False) -> None:
    """Print the convolution in a few lines, then every step.

    verbose: with all channels, planes and terms.
    """
    console = make_console()
    console.print("\n".join(_head(result)), highlight=False, markup=False)
    for step in result.steps:
        console.print()
        for line in _fitting(result, step, verbose):
            console.print(line)
    if any(cell.padded for cell in _cells(result.steps)):
        for text in wrapped(_legend(result), width()):
            console.print(text, style="yellow", highlight=False, markup=False)


def print_values(result: ExplainResult) -> None:
    """Print the value of every step alone."""
    print("\n".join(_number(step.value) for step in result.steps))


def _fitting(result: ExplainResult, step: Step, verbose: bool) -> list[Text]:
    """Return the lines of a step, with tables of the largest size that fits the terminal."""
    columns = width()
    lines: list[Text] = []
    for shape in SHAPES:
        view = View(columns, *shape, *((10**9, 10**9) if verbose else (MOST, TERMS)))
        lines = list(_step(result, step, view))
        if columns is None or all(len(line) <= columns for line in lines):
            break
    return lines


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
        "flow": None
        if cell.flow is None
        else {name: finite(value) for name, value in vars(cell.flow).items()},
    }


def _cells(steps: Sequence[Step]) -> Iterator[Cell]:
    return (cell for step in steps for block in step.blocks for cell in block.cells)


def _head(result: ExplainResult) -> list[str]:
    a = result.operands.conv_layout
    kernel = f"{result.operands.kernel.name} ({show(a.kernel)})"
    rows: list[tuple[str, str]] = [
        (result.op, f"{described(result.operands.data)} with {kernel}"),
    ]
    rows += [
        (name, formula(axis)) for name, axis in zip(axis_names(a.dims), result.axes, strict=True)
    ]
    rows.append(("channels", reading(a)))
    rows.append(("output", show(result.output)))
    if result.middle:
        at = ",".join(map(str, result.steps[0].at))
        rows.append(
            ("explained", f"{at}, the middle of the output; choose another with --at, or --all")
        )
    return labelled(rows, indent="")


def _legend(result: ExplainResult) -> str:
    spec = result.operands.spec
    by = f"constant {_number(spec.cval)}" if spec.boundary == "constant" else spec.boundary
    return f"(v) is outside the input: boundary {by}"


def _step(result: ExplainResult, step: Step, view: View) -> Iterator[Text]:
    name = f"y{_index(step.at)}"
    yield from _bold(f"{name} = {_rule(result, step)}", view)
    part = _part(result, step, view)
    for block in step.blocks[: view.most]:
        if block.channel is not None:
            yield Text(f"channel {block.channel}", "bold")
        yield from _block(result, block, part, view)
        if len(step.blocks) > 1:
            yield Text(f"  sum {_number(block.total)}")
    yield from _left_out(len(step.blocks), "channels", view)
    yield from _whole(result, part, view)
    yield from _bold(_result(name, step), view)
    if step.delta is not None:
        yield from _backward(result, step, view)


def _bold(text: str, view: View) -> Iterator[Text]:
    return (Text(line, "bold") for line in wrapped(text, view.columns, "    "))


def _part(result: ExplainResult, step: Step, view: View) -> tuple[range, ...]:
    """Return the taps to show along each axis: those with the most weight."""
    window = tuple(axis.k for axis in result.axes)
    taps = np.zeros(window)
    for block in step.blocks:
        taps += np.abs([cell.w for cell in block.cells]).reshape(window)
    planes = (view.most,) * (len(window) - 2)
    sides = (*planes, *(view.side,) * min(len(window), 2))
    return tuple(heaviest_part(taps, side)[axis] for axis, side in enumerate(sides))


def _whole(result: ExplainResult, part: tuple[range, ...], view: View) -> Iterator[Text]:
    """Yield which taps are shown, if not all."""
    window = tuple(axis.k for axis in result.axes)
    if any(len(run) < k for run, k in zip(part, window, strict=True)):
        shown = show(len(run) for run in part)
        text = f"the {shown} taps with the most weight of {show(window)}; --json lists all"
        yield from (Text(line, "dim") for line in wrapped(text, view.columns))


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
    return f"sum of w[{','.join(letters)}] * x[{','.join(moved)}]" + (
        ", over the channels" * (len(step.blocks) > 1)
    )


def _place_of(result: ExplainResult, step: Step, *, flipped: bool) -> Index:
    """Return the position of the kernel's first tap; in a convolution it is the window's last."""
    return step.blocks[0].cells[-1 if flipped else 0].place


def _result(name: str, step: Step) -> str:
    what = "channels" if len(step.blocks) > 1 else "products"
    parts = [block.total for block in step.blocks]
    if len(parts) == 1:
        parts = [cell.product for cell in step.blocks[0].cells]
    result = f"{name} = {' + '.join(map(_number, parts))}".replace("+ -", "- ")
    if len(parts) > LISTED:
        result = f"{name} = the sum of {len(parts):,} {what}"
    if len(parts) > 1:
        result += f" = {_number(step.total)}"
    if step.coverage is not None:
        result += f"; over its coverage {_number(step.coverage)} = {_number(step.value)}"
    return result


def _some(items: Sequence[Any], limit: int) -> list[Any]:
    """Return all of them, or the first and the last."""
    return list(items) if len(items) <= limit else [*items[: limit // 2], *items[-(limit // 2) :]]


# Tables.


def _block(
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


def _left_out(count: int, what: str, view: View) -> Iterator[Text]:
    if count > view.most:
        yield Text(f"   ... {count - view.most} more {what}; --json lists all", "dim")


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
    text = _short(cell.x, digits)
    return Text(f"({text})", "yellow") if cell.padded else Text(text)


def _tap(cell: Cell, digits: int) -> Text:
    return Text(_short(cell.w, digits), _sign(cell.w))


def _product(cell: Cell, digits: int) -> Text:
    return Text(_short(cell.product, digits), _sign(cell.product))


def _sign(value: float) -> str:
    if value > 0:
        return "red"
    return "blue" if value < 0 else "dim"


# The backward pass.


def _backward(result: ExplainResult, step: Step, view: View) -> Iterator[Text]:
    """Yield the contributions of delta to dw and dx, with the sums over all outputs."""
    delta = _number(step.delta or 0.0)
    yield from _bold(
        f"backward, delta = dy{_index(step.at)} = {delta} (dy: {result.upstream})", view
    )
    cells = [(cell, cell.flow) for cell in _cells([step]) if cell.flow is not None]
    dw = "dw_i = sum_j delta_j x_(i+j-1): add to each tap delta times its sample" + _unlike(result)
    yield from map(Text, wrapped(dw, view.columns, "  "))
    yield from _terms([_dw(cell, flow, delta) for cell, flow in cells], view)
    dx = "dx = the full convolution of delta with w: add to each sample delta times its tap"
    yield from map(Text, wrapped(dx, view.columns, "  "))
    yield from _terms([_dx(cell, flow, delta) for cell, flow in cells], view)


def _unlike(result: ExplainResult) -> str:
    """Return the properties of this convolution that the notation leaves out."""
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
    return (
        f"dw{_index(cell.tap)}",
        f"delta * {sample}",
        term,
        _number(flow.dw),
        _number(flow.dw_sum),
    )


def _dx(cell: Cell, flow: Flow, delta: str) -> tuple[str, ...]:
    if cell.source is None or flow.dx is None or flow.dx_sum is None:
        return "outside", f"delta * w{_index(cell.tap)}", f"{delta} * {_number(cell.w)}", "", ""
    name = f"dx{_index(cell.source)}"
    term = f"{delta} * {_number(cell.w)}"
    return name, f"delta * w{_index(cell.tap)}", term, _number(flow.dx), _number(flow.dx_sum)


def _terms(rows: list[tuple[str, ...]], view: View) -> Iterator[Text]:
    """Yield aligned rows, without the middle if there are many."""
    shown = _some(rows, view.terms)
    widths = [max(len(row[column]) for row in shown) for column in range(5)]
    texts = [
        _term([text.ljust(size) for text, size in zip(row, widths, strict=True)]) for row in shown
    ]
    if view.columns is not None and any(len(text) > view.columns for text in texts):
        texts = [text.removesuffix(OVER_ALL) for text in texts]
        yield Text("  (of: the sum over all outputs)", "dim")
    for count, text in enumerate(texts):
        if count == view.terms // 2 and len(rows) > view.terms:
            yield Text(f"  ... {len(rows) - view.terms} more terms; -v and --json list all")
        yield from map(Text, wrapped(text.rstrip(), view.columns, "      "))


OVER_ALL = " over all outputs"


def _term(parts: Sequence[str]) -> str:
    name, what, term, value, whole = parts
    if not value.strip():
        return f"  {name}     {what} = {term}   is outside the input, and dropped"
    return f"  {name}  += {what} = {term} = {value}  of {whole}{OVER_ALL}"


def _index(index: Index) -> str:
    return f"[{','.join(map(str, index))}]"


def _number(value: float) -> str:
    return f"{value + 0.0:.6g}"  # adding 0 takes the sign off a negative zero


def _short(value: float, digits: int) -> str:
    """Format integers as they are, and others to a few digits."""
    return _number(value) if value.is_integer() else f"{value:.{digits}g}"
