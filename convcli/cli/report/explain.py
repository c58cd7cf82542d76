"""The report of single outputs: the patch, the kernel, their product, and the sum."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from rich.text import Text

from convcli.cli.report.explain_backward import backward_lines
from convcli.cli.report.explain_tables import (
    LARGEST,
    MOST,
    SHAPES,
    TERMS,
    View,
    block_tables,
    bold_lines,
    indexed,
    largest,
    number,
    plain_lines,
)
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
from convcli.learn.explain import Block, Cell, ExplainResult, Step
from convcli.learn.indices import Index, in_input, in_kernel, split_index
from convcli.learn.neuron import Neuron
from convcli.shapes.layout import ConvLayout
from convcli.shapes.parse import show

LISTED = 18
"""Maximum number of products that are written out as a sum."""
LETTERS = "abcdefgh"


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
    print("\n".join(number(step.value) for step in result.steps))


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
        **input_json(result.neuron),
        "axes": [axis_json(axis) for axis in result.axes],
        "boundary": operands.spec.boundary,
        "cval": finite(operands.spec.cval),
        "upstream": result.upstream,
        "bias": result.neuron.bias,
        "activation": result.neuron.activation,
        "steps": [_step_json(step) for step in result.steps],
    }


def input_json(neuron: Neuron) -> dict[str, Any]:
    """Return the first fields of an explanation: operation, input, kernel and output."""
    operands = neuron.operands
    return {
        "op": neuron.op,
        "input": {
            "name": operands.data.name,
            "shape": list(operands.conv_layout.shape),
            "notes": list(operands.data.notes),
        },
        "kernel": {"name": operands.kernel.name, "shape": list(operands.conv_layout.kernel)},
        "output": list(neuron.output),
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
        "z": finite(step.z),
        "value": finite(step.value),
        "delta": None if step.flow is None else finite(step.flow.delta),
        "flow": None
        if step.flow is None
        else {name: finite(value) for name, value in vars(step.flow).items()},
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


def head_rows(neuron: Neuron) -> list[tuple[str, str]]:
    """Return the convolution in a few rows: operands, sizes, channels and the output's shape."""
    operands = neuron.operands
    a = operands.conv_layout
    kernel = f"{operands.kernel.name} ({show(a.kernel)})"
    rows: list[tuple[str, str]] = [(neuron.op, f"{described(operands.data)} with {kernel}")]
    rows += [
        (name, formula(axis)) for name, axis in zip(axis_names(a.dims), neuron.axes, strict=True)
    ]
    return [*rows, ("channels", reading(a)), ("output", show(neuron.output))]


def _head(result: ExplainResult) -> list[str]:
    rows = head_rows(result.neuron)
    if result.middle:
        at = ",".join(map(str, result.steps[0].at))
        rows.append(
            ("explained", f"{at}, the middle of the output; choose another with --at, or --all")
        )
    return labelled(rows, indent="")


def _legend(result: ExplainResult) -> str:
    return f"(v) is outside the input: boundary {boundary(result.neuron)}"


def boundary(neuron: Neuron) -> str:
    """Return the boundary, and the constant if it has one."""
    spec = neuron.operands.spec
    return f"constant {number(spec.cval)}" if spec.boundary == "constant" else spec.boundary


def _step(result: ExplainResult, step: Step, view: View) -> Iterator[Text]:
    name = f"y{indexed(step.at)}"
    yield from bold_lines(f"{name} = {_rule(result, step)}", view)
    part = _part(result, step, view)
    weights = [sum(abs(cell.product) for cell in block.cells) for block in step.blocks]
    for block in largest(step.blocks, weights, view.most):
        if block.channel is not None:
            yield from bold_lines(_channel(result, step, block), view)
        yield from block_tables(result, block, part, view)
        if len(step.blocks) > 1:
            yield Text(f"  sum {number(block.total)}")
    yield from _left_out(len(step.blocks), "channels", view)
    yield from _whole(result, step, part, view)
    for line in _results(name, step):
        yield from bold_lines(line, view)
    yield from backward_lines(result, step, view)


def _part(result: ExplainResult, step: Step, view: View) -> tuple[range, ...]:
    """Return the taps to show along each axis: those with the most weight."""
    window = tuple(axis.k for axis in result.axes)
    taps = np.zeros(window)
    for block in step.blocks:
        taps += np.abs([cell.w for cell in block.cells]).reshape(window)
    planes = (view.most,) * (len(window) - 2)
    sides = (*planes, *(view.side,) * min(len(window), 2))
    return tuple(heaviest_part(taps, side)[axis] for axis, side in enumerate(sides))


def _whole(
    result: ExplainResult, step: Step, part: tuple[range, ...], view: View
) -> Iterator[Text]:
    """Yield which taps are shown, and the largest products, if not all are shown."""
    window = tuple(axis.k for axis in result.axes)
    if all(len(run) == k for run, k in zip(part, window, strict=True)):
        return
    shown = show(len(run) for run in part)
    text = f"the {shown} taps with the most weight of {show(window)}; --json lists all"
    yield from plain_lines(text, view, "", "dim")
    cells = list(_cells([step]))
    yield from plain_lines("the largest products of all:", view, "", "dim")
    for cell in sorted(
        largest(cells, [cell.product for cell in cells], LARGEST),
        key=lambda cell: -abs(cell.product),
    ):
        sample = "the constant outside" if cell.source is None else f"x{indexed(cell.source)}"
        values = f"{number(cell.w)} * {number(cell.x)} = {number(cell.product)}"
        yield from plain_lines(f"  w{indexed(cell.tap)} * {sample} = {values}", view, "      ")


def _rule(result: ExplainResult, step: Step) -> str:
    """Return the sum with its indices filled in, such as `sum of w[a,b] * x[1+a,2+b]`.

    The kernel's number and the channel are named; `c` is the channel that is summed over.
    """
    a = result.operands.conv_layout
    output = split_index(step.at, a)
    first = step.blocks[0].channel or 0
    several = len(step.blocks) > 1
    letters = _letters(a, several=several)
    start = _place_of(result, step, flipped=result.op == "convolve")
    sign = "-" if result.op == "convolve" else "+"
    moved = tuple(
        f"{place}{sign}{'' if axis.dilation == 1 else axis.dilation}{letter}"
        for place, axis, letter in zip(start, result.axes, letters, strict=True)
    )
    tap, sample = ("c", f"{first}+c".removeprefix("0+")) if several else ("0", str(first))
    w = in_kernel(letters, a, str(output.channel), tap)
    x = in_input(moved, a, tuple(map(str, output.batch)), sample)
    rule = f"sum of w[{','.join(w)}] * x[{','.join(x)}]"
    rule += ", over the channels c" * several
    if step.neuron.bias:
        rule = f"({rule}) + bias" if several else f"{rule} + bias"
    return f"{step.neuron.activation}({rule})" if step.neuron.activation else rule


def _letters(a: ConvLayout, *, several: bool) -> tuple[str, ...]:
    """Return a letter for each axis of the window; c is a channel if there are several."""
    return tuple(LETTERS.replace("c", "") if several else LETTERS)[: a.dims]


def _channel(result: ExplainResult, step: Step, block: Block) -> str:
    """Return the title of a channel: with its part of the kernel, if there are several."""
    if len(step.blocks) == 1:
        return f"channel {block.channel}"
    a = result.operands.conv_layout
    kernel_channel = str(step.blocks.index(block))
    o = str(split_index(step.at, a).channel)
    w = in_kernel(_letters(a, several=True), a, o, kernel_channel)
    return f"channel {block.channel}: w[{','.join(w)}]"


def _place_of(result: ExplainResult, step: Step, *, flipped: bool) -> Index:
    """Return the position of the kernel's first tap; in a convolution it is the window's last."""
    return step.blocks[0].cells[-1 if flipped else 0].place


def _results(name: str, step: Step) -> Iterator[str]:
    """Yield the sum with its value, and what bias and activation make of it."""
    what = "channels" if len(step.blocks) > 1 else "products"
    parts = [block.total for block in step.blocks]
    if len(parts) == 1:
        parts = [cell.product for cell in step.blocks[0].cells]
    neuron = step.neuron
    left = "sum" if neuron.bias or neuron.activation else name
    result = f"{left} = {' + '.join(map(number, parts))}".replace("+ -", "- ")
    if len(parts) > LISTED:
        result = f"{left} = the sum of {len(parts):,} {what}"
    if len(parts) > 1:
        result += f" = {number(step.total)}"
    if step.coverage is not None:
        result += f"; over its coverage {number(step.coverage)} = {number(step.filtered)}"
    yield result
    if left == "sum":
        yield f"{name} = {_activated(step)} = {number(step.value)}"


def _activated(step: Step) -> str:
    """Return the steps from the sum to the output, such as `relu(5 - 7) = relu(-2)`."""
    neuron = step.neuron
    sum = f"{number(step.filtered)} + {number(neuron.bias)}".replace("+ -", "- ")
    if neuron.activation is None:
        return f"sum + bias = {sum}"
    z = f"{neuron.activation}({number(step.z)})"
    return f"{neuron.activation}({sum}) = {z}" if neuron.bias else z


def _left_out(count: int, what: str, view: View) -> Iterator[Text]:
    if count > view.most:
        yield Text(f"   ... {count - view.most} more {what}; --json lists all", "dim")
