"""The backward pass of one output: its contributions to db, dw and dx."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from convcli.cli.report.explain_tables import (
    View,
    bold_lines,
    indexed,
    largest,
    number,
    plain_lines,
)
from convcli.learn.explain import Cell, ExplainResult, Flow, Step


def backward_lines(result: ExplainResult, step: Step, view: View) -> Iterator[Text]:
    """Yield the contributions of delta to db, dw and dx, with the sums over all outputs."""
    flow = step.flow
    if flow is None:
        return
    delta = number(flow.delta)
    given = f"dy{indexed(step.at)}"
    activation = result.neuron.activation
    if activation is not None:
        factors = f"{number(flow.dy)} * {number(flow.slope)}"
        given += f" * {activation}'({number(step.z)}) = {factors}"
    yield from bold_lines(f"backward, delta = {given} = {delta} (dy: {result.upstream})", view)
    whole = f"{delta}  of {number(flow.db_sum)}{OVER_ALL}"
    yield from plain_lines("db = the sum of delta: add delta to the bias's gradient", view)
    yield from plain_lines(f"  db[{flow.db}]  += delta = {whole}", view, "      ")
    cells = [
        (cell, cell.flow) for block in step.blocks for cell in block.cells if cell.flow is not None
    ]
    dw = "dw_i = sum_j delta_j x_(i+j-1): add to each tap delta times its sample" + _unlike(result)
    yield from plain_lines(dw, view)
    yield from _terms(
        [_dw(cell, flow, delta) for cell, flow in cells], [flow.dw for _, flow in cells], view
    )
    dx = "dx = the full convolution of delta with w: add to each sample delta times its tap"
    yield from plain_lines(dx, view)
    yield from _terms(
        [_dx(cell, flow, delta) for cell, flow in cells],
        [flow.delta * cell.w for cell, _ in cells],
        view,
    )


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
    sample = "the constant outside" if cell.source is None else f"x{indexed(cell.source)}"
    term = f"{delta} * {number(cell.x)}"
    return (
        f"dw{indexed(cell.tap)}",
        f"delta * {sample}",
        term,
        number(flow.dw),
        number(flow.dw_sum),
    )


def _dx(cell: Cell, flow: Flow, delta: str) -> tuple[str, ...]:
    if cell.source is None or flow.dx is None or flow.dx_sum is None:
        return "outside", f"delta * w{indexed(cell.tap)}", f"{delta} * {number(cell.w)}", "", ""
    name = f"dx{indexed(cell.source)}"
    term = f"{delta} * {number(cell.w)}"
    return name, f"delta * w{indexed(cell.tap)}", term, number(flow.dx), number(flow.dx_sum)


def _terms(rows: list[tuple[str, ...]], values: Sequence[float], view: View) -> Iterator[Text]:
    """Yield aligned rows; if there are many, those with the largest values."""
    shown = largest(rows, values, view.terms)
    widths = [max(len(row[column]) for row in shown) for column in range(5)]
    texts = [
        _term([text.ljust(size) for text, size in zip(row, widths, strict=True)]) for row in shown
    ]
    if view.columns is not None and any(len(text) > view.columns for text in texts):
        texts = [text.removesuffix(OVER_ALL) for text in texts]
        yield Text("  (of: the sum over all outputs)", "dim")
    for text in texts:
        yield from plain_lines(text.rstrip(), view, "      ")
    if len(rows) > len(shown):
        left = f"  ... {len(rows) - len(shown)} more terms"
        yield Text(f"{left}; these are the largest, -v and --json list all")


OVER_ALL = " over all outputs"


def _term(parts: Sequence[str]) -> str:
    name, what, term, value, whole = parts
    if not value.strip():
        return f"  {name}     {what} = {term}   is outside the input, and dropped"
    return f"  {name}  += {what} = {term} = {value}  of {whole}{OVER_ALL}"
