"""The report of an interactive page: where it is, and which part of the convolution it shows."""

from __future__ import annotations

from typing import Any

from convcli.cli.report.terminal import labelled
from convcli.cli.report.text import described, place, written_json
from convcli.learn.page import PageResult
from convcli.shapes.parse import show


def page_lines(result: PageResult) -> list[str]:
    """Describe the page that was written."""
    operands, written, whole = result.operands, result.written, result.whole
    kernel = f"{operands.kernel.name} ({show(operands.conv_layout.kernel)})"
    rows = [("page", f"{described(operands.data)} with {kernel}")]
    parts = []
    if result.shown != whole.x.shape[1:]:
        parts.append(
            f"{show(result.shown)} of {show(whole.x.shape[1:])}; choose another part there"
        )
    if len(result.channels) < len(whole.x):
        parts.append(f"channels {_numbers(result.channels)} of {len(whole.x)}")
    if len(result.filters) < whole.filters:
        parts.append(f"output channels {_numbers(result.filters)} of {whole.filters}")
    rows += [("shows", "; ".join(parts))] if parts else []
    rows.append(("wrote", f"{place(written)} ({written.bytes:,} bytes); open it in a browser"))
    return labelled(rows, indent="")


def _numbers(numbers: range) -> str:
    return f"{numbers.start} to {numbers.stop - 1}"


def page_json(result: PageResult) -> dict[str, Any]:
    operands = result.operands
    return {
        "op": result.whole.op,
        "input": {
            "name": operands.data.name,
            "shape": list(operands.conv_layout.shape),
            "notes": list(operands.data.notes),
        },
        "kernel": {"name": operands.kernel.name, "shape": list(operands.conv_layout.kernel)},
        "shown": {
            "shape": list(result.shown),
            "channels": list(result.channels),
            "output_channels": list(result.filters),
        },
        "page": written_json(result.written),
    }
