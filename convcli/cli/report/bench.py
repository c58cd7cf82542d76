"""A measured case as a table with bars, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from convcli.bench.run import Report, Row
from convcli.bench.timing import Timing
from convcli.cli.report.text import axis_json, axis_names, bar, columns, finite, formula, make_console, reading
from convcli.io import Written
from convcli.shapes.spec import show

BAR = 10
"""Characters of the longest bar."""
LEGEND = (
    "*         the planner's pick",
    "GFLOP/s   two for each multiply-add of the definition, however few a method gets by with",
    "GB/s      the input read once and the output written once",
    "of limit  their shares of the machine's own: of products of matrices, of copies to fresh memory",
    "differs   the largest difference from the reference's answer",
)


def print_bench(report: Report) -> None:
    """The case, a row for everybody who was timed, and why others were not."""
    console = make_console()
    console.print("\n".join(_head(report)), highlight=False, markup=False)
    console.print(_table(report))
    if report.left_out:
        rows = [(name, why) for name, why in report.left_out.items()]
        console.print("\n".join(["not timed:", *columns(rows)]), style="dim", highlight=False, markup=False)
    console.print()


def print_legend() -> None:
    """What the columns count."""
    make_console().print("\n".join(LEGEND), style="dim", highlight=False, markup=False)


def _head(report: Report) -> list[str]:
    case, plan, a = report.case, report.plan, report.arrangement
    rows = [
        ("bench", f"{show(case.shape)} {case.dtype} with {report.kernel.name} ({show(a.kernel)}), seed {case.seed}")
    ]
    rows += [(name, formula(axis)) for name, axis in zip(axis_names(a.dims), plan.axes, strict=True)]
    if a.channel_axis is not None:
        rows.append(("channels", reading(a)))
    turns = "turn" if case.runs == 1 else "turns"
    return columns(
        [
            *rows,
            ("output", f"{show(a.with_spatial(plan.sizes))} {plan.dtype}, {plan.macs:,} multiply-adds"),
            ("method", f"{plan.method}: {plan.reason}"),
            ("limits", f"copying {report.copy.rate / 1e9:.3g} GB/s, products {report.matmul.rate / 1e9:.3g} GFLOP/s"),
            ("timed", f"{case.runs} {turns} each, in turn, medians; {report.threads} threads"),
        ],
        indent="",
    )


def _table(report: Report) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("", no_wrap=True, min_width=max(len(row.name) for row in report.rows))
    for name in ("ms", "/ pick", "GFLOP/s", "of limit", "GB/s", "of limit", "differs"):
        table.add_column(name, justify="right")
    table.add_column("")
    for row in report.rows:
        operations, traffic = report.operations(row), report.traffic(row)
        table.add_row(
            f"{row.name} *" if row is report.pick else row.name,
            f"{1e3 * row.seconds:.3g}",
            f"{row.seconds / report.pick.seconds:.2f}",
            f"{operations / 1e9:.3g}",
            f"{operations / report.matmul.rate:.0%}",
            f"{traffic / 1e9:.3g}",
            f"{traffic / report.copy.rate:.0%}",
            _told_difference(report, row),
            bar(BAR * row.seconds / report.slowest),
            style="bold" if row is report.pick else "",
        )
    return table


def _told_difference(report: Report, row: Row) -> Text:
    if not row.passed:
        return Text(f"{row.difference:.1e} WRONG", "bold red")
    return Text("reference" if row.name == report.reference else f"{row.difference:.1e}")


def bench_json(reports: Sequence[Report], written: Written | None) -> dict[str, Any]:
    """Every number of some cases; seconds, bytes a second, operations a second."""
    return {
        "passed": not any(report.wrong for report in reports),
        "versions": reports[0].versions,
        "cases": [_case_json(report) for report in reports],
        "written": None if written is None else vars(written),
    }


def _case_json(report: Report) -> dict[str, Any]:
    case, plan, a = report.case, report.plan, report.arrangement
    return {
        "input": {"shape": list(case.shape), "dtype": case.dtype, "bytes": report.input_bytes},
        "kernel": {"name": report.kernel.name, "shape": list(a.kernel), "reading": a.reading},
        "output": {"shape": list(a.with_spatial(plan.sizes)), "dtype": plan.dtype, "bytes": plan.output_bytes},
        "axes": [axis_json(axis) for axis in plan.axes],
        "boundary": plan.spec.boundary,
        "cval": plan.spec.cval,
        "groups": plan.spec.groups,
        "layout": a.layout,
        "seed": case.seed,
        "threads": report.threads,
        "limit": case.limit,
        "macs": plan.macs,
        "pick": plan.method,
        "reason": plan.reason,
        "rejected": dict(plan.rejected),
        "reference": report.reference,
        "limits": {
            "copy": {"bytes_per_second": report.copy.rate, **_timing(report.copy.timing)},
            "matmul": {"operations_per_second": report.matmul.rate, **_timing(report.matmul.timing)},
        },
        "rows": [_row_json(report, row) for row in report.rows],
        "left_out": report.left_out,
    }


def _row_json(report: Report, row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "peer": row.is_peer,
        **_timing(row.timing),
        "to_pick": row.seconds / report.pick.seconds,
        "predicted": row.predicted,
        "operations_per_second": report.operations(row),
        "of_matmul": report.operations(row) / report.matmul.rate,
        "bytes_per_second": report.traffic(row),
        "of_copy": report.traffic(row) / report.copy.rate,
        "difference": finite(row.difference),
        "bound": row.bound,
        "passed": row.passed,
    }


def _timing(timing: Timing) -> dict[str, Any]:
    return {"seconds": timing.median, "turns": list(timing.turns)}
