"""Parts of every report: JSON objects, aligned lines, a console, and an axis in words."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from convcli import __version__
from convcli.cli.report.terminal import echo, labelled, print_message, width
from convcli.errors import printable
from convcli.shapes.axis import Axis
from convcli.shapes.parse import show

if TYPE_CHECKING:
    from rich.console import Console

    from convcli.io import Data, Written
    from convcli.shapes.layout import ConvLayout

SCHEMA = 2
"""The version of every JSON object; it grows when a field changes its meaning or is removed."""

PLAIN_WIDTH = 100
"""Width in columns of a picture that is written to a file or a pipe."""

EIGHTHS = " ▏▎▍▌▋▊▉"

AXIS_NAMES = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}


def print_json(command: str, record: dict[str, Any], warnings: Sequence[str] = ()) -> None:
    """Print one object: version, schema, command, warnings, and the record."""
    import json

    print(
        json.dumps(
            {**json_head(command), "warnings": list(warnings), **record},
            allow_nan=False,
            default=_plain,
        )
    )


def json_head(command: str) -> dict[str, Any]:
    """Return the first fields of every object: convcli's version, schema and command."""
    return {"convcli": __version__, "schema": SCHEMA, "command": command}


def print_warnings(warnings: Sequence[str]) -> None:
    """Print each warning as a line on stderr."""
    for warning in warnings:
        print_message("warning:", "yellow", warning)


def print_hint(hint: str) -> None:
    """Print a hint, if there is one, as a line on stderr."""
    if hint:
        print_message("hint:", "cyan", hint)


def axis_names(dims: int) -> tuple[str, ...]:
    return AXIS_NAMES.get(dims) or tuple(f"axis {axis}" for axis in range(dims))


def columns(rows: list[tuple[str, str]], indent: str = "  ") -> list[str]:
    """Align labels and their texts, as wide as the terminal."""
    return labelled(rows, indent)


def human(number: int) -> str:
    """Format a count with a prefix of a thousand, to three digits.

    >>> human(1_814_073_344), human(64_000), human(999_999), human(512)
    ('1.81 G', '64.0 k', '1.00 M', '512')
    """
    value = float(number)
    for prefix in ("", "k", "M", "G", "T", "P"):
        if value < 999.5 or prefix == "P":
            break
        value /= 1000
    if not prefix:
        return str(number)
    if value < 9.995:
        return f"{value:.2f} {prefix}"
    return f"{value:.{0 if value >= 99.95 else 1}f} {prefix}"


def bar(length: float) -> str:
    """Return a bar of this many characters, to an eighth of one.

    >>> bar(2.5), bar(0)
    ('██▌', '')
    """
    whole, eighths = divmod(int(8 * length), 8)
    return ("█" * whole + EIGHTHS[eighths]).rstrip()


def axis_json(axis: Axis) -> dict[str, Any]:
    return {
        "n": axis.n,
        "k": axis.k,
        "stride": axis.stride,
        "dilation": axis.dilation,
        "padding": [axis.lo, axis.hi],
        "out": axis.out,
        "unused": axis.unused,
        "formula": axis.formula,
    }


def reading(a: ConvLayout, *, transposed: bool = False) -> str:
    """Describe how the kernel's axes are read."""
    window = show(a.window)
    if transposed:
        bank = f"a bank of {a.channels} kernels {window}"
        return f"{a.channels} -> {a.filters}, by the adjoint of {bank}"
    if a.channel_mode == "each":
        return "none" if a.channel_axis is None else f"{a.channels}, each filtered independently"
    if a.channel_mode == "depthwise":
        return f"{a.channels}, each with its own kernel"
    grouped = f", in {a.groups} groups" if a.groups > 1 else ""
    kernels = "one kernel" if a.filters == 1 else f"{a.filters} kernels"
    return f"{a.channels} -> {a.filters}: {kernels} {window}, summed over the channels{grouped}"


def formula(axis: Axis) -> str:
    if not axis.unused:
        return axis.formula
    plural = "sample is" if axis.unused == 1 else "samples are"
    return f"{axis.formula}   (the stride steps over the end: {axis.unused} {plural} not used)"


def make_console(*, err: bool = False) -> Console:
    """Return a console for stdout or stderr that never wraps; Rich handles styles and NO_COLOR."""
    from rich.console import Console

    console = Console(soft_wrap=True, highlight=False, stderr=err)
    console.width = width(stream=sys.stderr if err else sys.stdout) or PLAIN_WIDTH
    return console


def finite(value: Any) -> Any:
    """Return None for NaN and the infinities, which JSON does not have."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def finite_lists(array: Any) -> Any:
    """Return an array as nested lists, with None for NaN and the infinities."""
    if array.ndim == 0:
        return finite(array.tolist())
    if array.ndim == 1:
        return [finite(value) for value in array.tolist()]
    return [finite_lists(part) for part in array]


def _plain(value: Any) -> Any:
    """Convert numpy scalars and arrays to Python's own types."""
    return value.tolist()


def place(written: Written) -> str:
    """Describe where something was written."""
    return "standard output" if written.path == "-" else printable(written.path)


def print_written(written: Written | None) -> None:
    """Print a line on stderr about the written file, if there is one."""
    if written is not None and written.path != "-":
        size = f"{written.bytes:,} bytes"
        echo([f"wrote {place(written)} ({written.format}, {size})"], err=True)


def written_json(written: Written | None) -> dict[str, Any] | None:
    """Return the record of the written file; None if there is none."""
    if written is None:
        return None
    return {
        "path": written.path,
        "format": written.format,
        "bytes": written.bytes,
        "lost": list(written.dropped),
    }


def described(data: Data) -> str:
    """Describe an input: name, shape, dtype, and conversions on loading."""
    noted = f" ({'; '.join(data.notes)})" if data.notes else ""
    return f"{data.called} {show(data.array.shape)} {data.array.dtype}{noted}"
