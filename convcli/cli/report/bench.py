"""A measured case as a table with bars, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convcli import io
from convcli.bench.overhead import Overhead
from convcli.bench.peers import versions
from convcli.bench.run import BenchResult, Row
from convcli.errors import FileError
from convcli.io import Written
from convcli.shapes.parse import counted, show

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw


from convcli.bench.timing import Timing
from convcli.cli.report.progress import elapsed
from convcli.cli.report.table import Column, table
from convcli.cli.report.terminal import bold, coloured, dim, labelled
from convcli.cli.report.text import (
    axis_json,
    axis_names,
    bar,
    finite,
    formula,
    reading,
    written_json,
)

BAR = 10
"""Characters of the longest bar."""
LEGEND = (
    ("*", "the planner's choice"),
    ("GFLOP/s", "two operations per multiply-add of the definition, whatever the method does"),
    ("GB/s", "the input read once and the output written once"),
    ("of peak", "the share of this machine's rate for a matrix product"),
    ("of copy", "the share of this machine's rate for a copy to fresh memory"),
    ("differs", "the largest difference from the reference's result"),
)


class Style(NamedTuple):
    """How cases are shown.

    verbose: with predictions. quiet: without settings. columns: None for all that fit.
    """

    verbose: bool = False
    quiet: bool = False
    columns: Sequence[str] | None = None


def bench_lines(result: BenchResult, seconds: float, style: Style) -> list[str]:
    """Describe a case: settings, a row per method and peer, and what was not timed.

    seconds: the time that the whole measurement took.
    """
    lines = _table(result, style)
    if style.quiet:
        return [*lines, ""]
    head = labelled([*_head(result), ("took", elapsed(seconds))], indent="")
    out = ["not timed:", *labelled(result.left_out.items())] if result.left_out else []
    return [*head, *lines, *map(dim, out), ""]


def overhead_lines(measured: Sequence[Overhead], style: Style) -> list[str]:
    """Return a row for each kind of call, with its times in microseconds."""
    columns = [
        Column("call", [each.name for each in measured], left=True),
        Column("input", [show(each.input) for each in measured]),
        Column("kernel", [show(each.kernel) for each in measured]),
        Column("first us", [f"{1e6 * each.first.median:.3g}" for each in measured]),
        Column("repeated us", [f"{1e6 * each.repeated.median:.3g}" for each in measured]),
    ]
    return table(columns, chosen=style.columns)


def legend_lines() -> list[str]:
    """Return the meaning of the columns."""
    return [dim(line) for line in labelled(LEGEND, indent="")]


def _head(result: BenchResult) -> list[tuple[str, str]]:
    """Return the settings of a case, and the machine's rates."""
    case = result.case
    named = f"{result.kernel.name} ({show(result.conv_layout.kernel)})"
    copy = f"copy {result.copy.rate / 1e9:.3g} GB/s"
    products = f"matrix product {result.matmul.rate / 1e9:.3g} GFLOP/s"
    plan = result.plan
    a = result.conv_layout
    rows = [
        ("bench", f"{show(case.shape)} {case.dtype} with {named}, seed {case.seed}"),
    ]
    rows += [
        (name, formula(axis)) for name, axis in zip(axis_names(a.dims), plan.axes, strict=True)
    ]
    if a.channel_axis is not None:
        rows.append(("channels", reading(a)))
    runs = f"median of {counted(case.runs, 'run')} each, in turn"
    return [
        *rows,
        ("output", f"{show(a.with_spatial(plan.sizes))} {plan.dtype}, {plan.macs:,} multiply-adds"),
        ("method", f"{plan.method}: {plan.reason}"),
        ("limits", f"{copy}, {products}"),
        ("timed", f"{runs}; {counted(result.threads, 'thread')}"),
    ]


def _table(result: BenchResult, style: Style) -> list[str]:
    """Return a row for each method and peer, the fastest first; the planner's choice is bold."""
    rows = result.rows
    operations = [result.operations(row) for row in rows]
    traffic = [result.traffic(row) for row in rows]
    columns = [
        Column(
            "method",
            [f"{row.name} *" if row is result.pick else row.name for row in rows],
            left=True,
        ),
        Column("ms", [f"{1e3 * row.seconds:.3g}" for row in rows]),
        Column("/ pick", [f"{row.seconds / result.pick.seconds:.2f}" for row in rows], worth=6),
        Column("GFLOP/s", [f"{rate / 1e9:.3g}" for rate in operations], worth=5),
        Column("of peak", [f"{rate / result.matmul.rate:.0%}" for rate in operations], worth=2),
        Column("GB/s", [f"{rate / 1e9:.3g}" for rate in traffic], worth=4),
        Column("of copy", [f"{rate / result.copy.rate:.0%}" for rate in traffic], worth=1),
        Column("differs", [_difference(result, row) for row in rows]),
        Column(
            "bar", [bar(BAR * row.seconds / result.slowest) for row in rows], left=True, worth=3
        ),
    ]
    if style.verbose:
        columns.insert(2, Column("predicted", [_predicted(row) for row in rows], worth=7))
    chosen = rows.index(result.pick)
    return table([_emphasised(column, chosen) for column in columns], chosen=style.columns)


def _emphasised(column: Column, chosen: int) -> Column:
    """Return a column with the cell of one row bold."""
    cells = [
        bold(cell) if number == chosen and cell else cell
        for number, cell in enumerate(column.cells)
    ]
    return replace(column, cells=cells)


def _predicted(row: Row) -> str:
    return "" if row.predicted is None else f"{1e3 * row.predicted:.3g}"


def _difference(result: BenchResult, row: Row) -> str:
    if not row.passed:
        return coloured(f"{row.difference:.1e} WRONG", good=False)
    return "reference" if row.name == result.reference else f"{row.difference:.1e}"


def bench_json(
    results: Sequence[BenchResult], written: Written | None, measured: Sequence[Overhead] = ()
) -> dict[str, Any]:
    """Return all numbers of the cases: times and rates; or those of calls, for --overhead."""
    return {
        "passed": not any(result.wrong for result in results),
        "versions": versions(),
        "cases": [_case_json(result) for result in results],
        "overhead": [_overhead_json(each) for each in measured],
        "written": written_json(written),
    }


def _overhead_json(measured: Overhead) -> dict[str, Any]:
    return {
        "call": measured.name,
        "input": list(measured.input),
        "kernel": list(measured.kernel),
        "first": _timing(measured.first),
        "repeated": _timing(measured.repeated),
    }


def _case_json(result: BenchResult) -> dict[str, Any]:
    case = result.case
    plan = result.plan
    a = result.conv_layout
    return {
        "input": {"shape": list(case.shape), "dtype": case.dtype, "bytes": result.input_bytes},
        "kernel": {"name": result.kernel.name, "shape": list(a.kernel), "reading": a.channel_mode},
        "output": {
            "shape": list(a.with_spatial(plan.sizes)),
            "dtype": plan.dtype,
            "bytes": plan.output_bytes,
        },
        "axes": [axis_json(axis) for axis in plan.axes],
        "boundary": plan.spec.boundary,
        "cval": plan.spec.cval,
        "groups": plan.spec.groups,
        "layout": a.layout,
        "seed": case.seed,
        "threads": result.threads,
        "limit": case.limit,
        "macs": plan.macs,
        "pick": plan.method,
        "reason": plan.reason,
        "rejected": dict(plan.rejected),
        "reference": result.reference,
        "limits": {
            "copy": {"bytes_per_second": result.copy.rate, **_timing(result.copy.timing)},
            "matmul": {
                "operations_per_second": result.matmul.rate,
                **_timing(result.matmul.timing),
            },
        },
        "rows": [_row_json(result, row) for row in result.rows],
        "left_out": result.left_out,
    }


def _row_json(result: BenchResult, row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "peer": row.is_peer,
        **_timing(row.timing),
        "to_pick": row.seconds / result.pick.seconds,
        "predicted": row.predicted,
        "operations_per_second": result.operations(row),
        "of_matmul": result.operations(row) / result.matmul.rate,
        "bytes_per_second": result.traffic(row),
        "of_copy": result.traffic(row) / result.copy.rate,
        "difference": finite(row.difference),
        "bound": row.bound,
        "passed": row.passed,
    }


def _timing(timing: Timing) -> dict[str, Any]:
    return {"seconds": timing.median, "turns": list(timing.turns)}


COLOURS = {
    "pick": (0, 90, 160),
    "method": (110, 170, 215),
    "peer": (165, 165, 165),
    "wrong": (200, 30, 30),
}
LINE = 22
MARGIN = 16
NAMES = 200
BARS = 480
TIMES = 120
GAP = 3
"""Pixels: the height of a line, the margins, the widths of the three columns, and between two bars.
"""
SIZE = 13
"""Of the letters."""


def check_picture(target: str, *, overwrite: bool) -> None:
    """Refuse, before any work, a target that `save_bars` would refuse. Raises FileError."""
    resolved = io.check_target(target, overwrite=overwrite)
    if resolved is None or resolved.form.kind != "image" or not resolved.form.keeps(np.uint8, 3):
        raise FileError(
            f"{target} for a picture", "expected a format that holds colours", "write .png"
        )


def save_bars(results: Sequence[BenchResult], target: str, *, overwrite: bool) -> Written:
    """Write the bars of the cases as a picture, one case below the other."""
    return io.save(target, draw_bars(results), overwrite=overwrite)


def draw_bars(results: Sequence[BenchResult]) -> NDArray[np.uint8]:
    """Draw a picture (H, W, 3): for each case its title, and a bar per row."""
    from PIL import Image, ImageDraw

    lines = sum(len(result.rows) + 2 for result in results)
    sheet = Image.new(
        "RGB", (2 * MARGIN + NAMES + BARS + TIMES, 2 * MARGIN + (lines - 1) * LINE), "white"
    )
    draw = ImageDraw.Draw(sheet)
    top = MARGIN
    for result in results:
        _write(draw, MARGIN, top, _title(result))
        for row in result.rows:
            top += LINE
            _draw_row(draw, result, row, top)
        top += 2 * LINE
    return np.asarray(sheet)


def _draw_row(draw: ImageDraw, result: BenchResult, row: Row, top: int) -> None:
    left = MARGIN + NAMES
    right = left + max(round(BARS * row.seconds / result.slowest), 1)
    _write(draw, left - 8, top, row.name, right=True)
    draw.rectangle(
        (left, top + GAP, right - 1, top + LINE - GAP - 1), fill=COLOURS[_kind(result, row)]
    )
    _write(draw, right + 6, top, f"{1e3 * row.seconds:.3g} ms")


def _kind(result: BenchResult, row: Row) -> str:
    if not row.passed:
        return "wrong"
    if row is result.pick:
        return "pick"
    return "peer" if row.is_peer else "method"


def _title(result: BenchResult) -> str:
    case = result.case
    setting = f"{show(case.shape)} {case.dtype} with {result.kernel.name}"
    return f"{setting}, {counted(result.threads, 'thread')}: the choice is darkest"


def _write(draw: ImageDraw, left: int, top: int, text: str, *, right: bool = False) -> None:
    from PIL import ImageFont

    font: Any = ImageFont.load_default(SIZE)
    draw.text(
        (left, top + LINE // 2), text, fill="black", font=font, anchor="rm" if right else "lm"
    )
