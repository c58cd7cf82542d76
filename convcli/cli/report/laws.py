"""The laws of convolution as one table, a block of rows for each law, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.text import Text

from convcli.cli.report.text import (
    axis_json,
    axis_names,
    columns,
    described,
    finite,
    formula,
    make_console,
    place,
    written_json,
)
from convcli.io import Written
from convcli.learn.laws import Finding, LawsResult, Row
from convcli.shapes.parse import show

HEAD = ("", "left", "right", "difference", "bound", "verdict")
STYLES = {"holds": "green", "differs": "green", "agrees": "yellow", "FAILED": "bold red"}
READ = "f, g: one plane of the input and of the kernel; x, w: all of them; *: convolution; z, h, dy: random"


def print_laws(result: LawsResult, written: Written | None) -> None:
    """Print the setting, every law with its rows, and the verdict."""
    console = make_console()
    console.print("\n".join(_head(result, written)), highlight=False, markup=False)
    widths = _widths(result)
    console.print(_line(HEAD, widths, "dim"))
    for found in result.findings:
        console.print(Text(f"{found.law.name}: {found.law.meaning}", "bold"))
        for line in _finding(found, widths):
            console.print(line)
    console.print(_verdict(result), highlight=False, markup=False)


def laws_json(result: LawsResult, written: Written | None) -> dict[str, Any]:
    operands = result.operands
    setting = result.setting
    matrix = result.matrix
    return {
        "passed": not result.failed,
        "input": {
            "name": operands.data.name,
            "shape": list(operands.conv_layout.shape),
            "used": list(setting.spatial),
            "notes": list(operands.data.notes),
        },
        "kernel": {"name": operands.kernel.name, "shape": list(operands.conv_layout.kernel)},
        "seed": setting.seed,
        "axes": [axis_json(axis) for axis in setting.axes],
        "boundary": setting.spec.boundary,
        "matrix": {**vars(matrix), "dense_parameters": matrix.dense_parameters},
        "written": written_json(written),
        "laws": [
            {"name": found.law.name, "meaning": found.law.meaning, "rows": [_row_json(row) for row in found.rows]}
            for found in result.findings
        ],
    }


def _row_json(row: Row) -> dict[str, Any]:
    measured = {name: finite(value) for name, value in vars(row).items()}
    return {**measured, "verdict": row.verdict, "passed": row.passed}


def _head(result: LawsResult, written: Written | None) -> list[str]:
    operands = result.operands
    setting = result.setting
    matrix = result.matrix
    rows = [("laws", f"{described(operands.data)} with {operands.kernel.name} ({show(operands.conv_layout.kernel)})")]
    if setting.spatial != operands.conv_layout.spatial:
        rows.append(
            ("cropped", f"to the middle {show(setting.spatial)} of {show(operands.conv_layout.spatial)}; see --size")
        )
    rows += [(name, formula(axis)) for name, axis in zip(axis_names(setting.dims), setting.axes, strict=True)]
    values = "value" if matrix.distinct == 1 else "values"
    rows.append(
        (
            "matrix M",
            f"{show(matrix.shape)} on {show(setting.small.spatial)}: {matrix.density:.2%} of it not zero, "
            f"{matrix.distinct} distinct {values}; a dense layer has {matrix.dense_parameters:,} weights",
        )
    )
    if written is not None:
        rows.append(("wrote", f"{place(written)} ({written.format}, {written.bytes:,} bytes)"))
    return columns([*rows, ("read", READ)], indent="")


def _widths(result: LawsResult) -> list[int]:
    rows = [HEAD, *(_texts(row) for found in result.findings for row in found.rows)]
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def _texts(row: Row) -> tuple[str, ...]:
    return (
        row.statement,
        f"{row.left:.5g}",
        f"{row.right:.5g}",
        f"{row.difference:.1e}",
        f"{row.bound:.1e}",
        row.verdict,
    )


def _finding(found: Finding, widths: list[int]) -> Iterator[Text]:
    for row in found.rows:
        yield _line(_texts(row), widths, STYLES[row.verdict])
        notes = [row.note] if row.note else []
        if not row.passed:
            notes.append(f"furthest apart at [{','.join(map(str, row.at))}]")
        if notes:
            yield Text(f"    {'; '.join(notes)}", "dim")


def _line(texts: tuple[str, ...], widths: list[int], style: str) -> Text:
    """Return a row of the table, with the verdict in its colour."""
    statement, *numbers, verdict = texts
    first, *rest, _ = widths
    aligned = (text.rjust(width) for text, width in zip(numbers, rest, strict=True))
    line = Text("  ".join(["", statement.ljust(first), *aligned, ""]))
    return line.append(verdict, style)


def _verdict(result: LawsResult) -> str:
    if result.failed:
        return f"FAILED: {', '.join(result.failed)}"
    return f"all {len(result.findings)} laws hold: what must be equal is, within the rounding that its bound allows"
