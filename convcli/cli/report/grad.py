"""A loss's gradients through one convolution, as lines and as JSON."""

from __future__ import annotations

from typing import Any

from convcli.cli.report.matrix import SHOWN, matrix_lines
from convcli.cli.report.progress import elapsed
from convcli.cli.report.terminal import bold, labelled, width, wrapped
from convcli.cli.report.text import (
    axis_json,
    axis_names,
    finite,
    finite_lists,
    formula,
    place,
    reading,
)
from convcli.jobs.grad import GradResult, Slope
from convcli.shapes.parse import show

BY = {
    "dx": "the full convolution of dy with the kernel",
    "dw": "the input correlated with dy",
    "db": "the sum of dy",
}
"""The formula of each gradient in words."""

SMALL = 64
"""Maximum number of values of a gradient that are printed without -v."""


def grad_lines(result: GradResult, seconds: float) -> list[str]:
    """Describe the convolution, the loss, and each gradient's shape and norms.

    seconds: the time that it took.
    """
    operands = result.operands
    written = result.written
    a = operands.conv_layout
    notes = "; ".join(
        (*operands.data.notes, *(("colours times alpha",) if operands.data.alpha else ()))
    )
    noted = f" ({notes})" if notes else ""
    rows = [
        (
            result.request.geometry.op,
            f"{operands.data.name} {show(a.shape)} {operands.x.dtype}{noted} "
            f"with {operands.kernel.name} ({show(a.kernel)})",
        ),
        ("output", f"{show(result.dy.values.shape)} {result.slopes[0].values.dtype}"),
    ]
    axes = operands.spec.axes(a.spatial, a.window)
    rows += [(name, formula(axis)) for name, axis in zip(axis_names(a.dims), axes, strict=True)]
    if a.channel_axis is not None or a.channel_mode != "each":
        rows.append(("channels", reading(a)))
    file = f", {result.file}" if result.file else ""
    rows.append(("loss", f"{result.loss}{file} = {result.value:.6g}"))
    slopes = (result.dy, *result.slopes)
    shapes = [show(slope.values.shape) for slope in slopes]
    norms = [f"L2 {slope.l2:.6g}" for slope in slopes]
    largest = [f"max |.| {slope.largest:.6g}" for slope in slopes]
    widths = [max(map(len, column)) for column in (shapes, norms, largest)]
    for slope, *cells in zip(slopes, shapes, norms, largest, strict=True):
        padded = "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True))
        rows.append((slope.name, f"{padded}  {BY.get(slope.name, '')}".rstrip()))
    if written is None:
        rows.append(("gradients", "not saved; use -o FILE.npz to save them"))
    else:
        what = result.request.chosen or "dx, dw and db"
        rows.append(
            ("wrote", f"{place(written)} ({what}; {written.format}, {written.bytes:,} bytes)")
        )
    rows.append(("took", elapsed(seconds)))
    return labelled(rows, indent="")


def value_lines(result: GradResult, *, every: bool, titles: bool) -> list[str]:
    """Return the values of the chosen gradients; of large ones the range, the mean and the ends.

    every: also those of more than SMALL values. titles: with each gradient's name and shape.
    """
    lines: list[str] = []
    for slope in result.chosen:
        values = slope.values
        if not every and values.size > SMALL:
            continue
        title = f"{slope.name} {show(values.shape)}"
        lines += ["", bold(title)] if titles else []
        if titles and values.size > SHOWN:
            lines += wrapped(_summary(slope), width())
        lines += matrix_lines(values)
    return lines


def _summary(slope: Slope) -> str:
    """Describe a gradient that is too large to print whole."""
    values = slope.values
    low, high = (f"{end:.6g}" for end in (values.min(), values.max()))
    zeros = f"{slope.zeros:,} of {values.size:,} values are 0"
    return f"from {low} to {high}, mean {slope.mean:.6g}; {zeros}"


def grad_json(result: GradResult, *, values: bool = False) -> dict[str, Any]:
    """Return the result as a record; values: with the values of the chosen gradients."""
    operands = result.operands
    written = result.written
    request = result.request
    a = operands.conv_layout
    return {
        "op": request.geometry.op,
        "input": {
            "name": operands.data.name,
            "shape": list(a.shape),
            "dtype": str(operands.x.dtype),
        },
        "kernel": {
            "name": operands.kernel.name,
            "shape": list(a.kernel),
            "reading": a.channel_mode,
        },
        "axes": [axis_json(axis) for axis in operands.spec.axes(a.spatial, a.window)],
        "boundary": operands.spec.boundary,
        "cval": operands.spec.cval,
        "loss": {"formula": result.loss, "file": result.file, "value": finite(result.value)},
        "dy": _slope_json(result.dy),
        "gradients": [
            _slope_json(slope) | (_values_json(slope) if values and slope in result.chosen else {})
            for slope in result.slopes
        ],
        "written": None
        if written is None
        else {"path": written.path, "format": written.format, "bytes": written.bytes},
    }


def _slope_json(slope: Slope) -> dict[str, Any]:
    return {
        "name": slope.name,
        "shape": list(slope.values.shape),
        "dtype": str(slope.values.dtype),
        "l2": finite(slope.l2),
        "largest": finite(slope.largest),
    }


def _values_json(slope: Slope) -> dict[str, Any]:
    """Return the range of a gradient, and its values if it has at most SHOWN."""
    values = slope.values
    return {
        "low": finite(float(values.min())),
        "high": finite(float(values.max())),
        "mean": finite(slope.mean),
        "zeros": slope.zeros,
        "values": finite_lists(values) if values.size <= SHOWN else None,
    }
