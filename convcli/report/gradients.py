"""A gradient check, as a table and as JSON."""

from __future__ import annotations

import math
from typing import Any

from rich.table import Table

from convcli.gradient_check import GradcheckReport
from convcli.report.text import finite, make_console
from convcli.shapes import show


def print_gradcheck(report: GradcheckReport) -> None:
    """The table, and the verdict with its thresholds in words."""
    console = make_console()
    console.print(
        f"loss = sum(dy * y), y {show(report.output_shape)}, {report.dtype}, step {report.eps:g}, seed {report.seed}",
        highlight=False,
    )
    console.print(gradcheck_table(report))
    verdict = "passed" if report.passed else "FAILED"
    console.print(
        f"{verdict}: relative error |a - n| / max(|a|, |n|); good up to 1e-7, suspect above 1e-4, wrong above 1e-2. "
        "The map is linear, so the difference is exact but for round-off.",
        highlight=False,
    )


def gradcheck_table(report: GradcheckReport) -> Table:
    """One row for each gradient: how many entries were checked, the largest errors and the entry they are at."""
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    table.add_column("gradient")
    table.add_column("shape", overflow="fold")
    for name in ("checked", "analytic", "numeric", "abs error", "rel error"):
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("at", overflow="fold")
    table.add_column("verdict")
    for check in report.checks:
        worst = int(check.relative.argmax())
        table.add_row(
            check.name,
            show(check.shape),
            f"{len(check.entries):,} of {math.prod(check.shape):,}",
            f"{check.analytic[worst]:.7g}",
            f"{check.numeric[worst]:.7g}",
            f"{check.largest_absolute:.1e}",
            f"{check.largest_relative:.1e}",
            "[" + ",".join(map(str, check.worst)) + "]",
            Text(check.verdict, style="green" if check.passed else "bold red"),
        )
    return table


def gradcheck_json(report: GradcheckReport, *, arrays: bool = False) -> dict[str, Any]:
    """The report as a record; with `arrays`, every checked entry and the whole gradients too."""
    record: dict[str, Any] = {
        "passed": report.passed,
        "eps": report.eps,
        "seed": report.seed,
        "dtype": report.dtype,
        "output": list(report.output_shape),
        "checks": [],
    }
    for check in report.checks:
        row: dict[str, Any] = {
            "name": check.name,
            "shape": list(check.shape),
            "checked": len(check.entries),
            "total": math.prod(check.shape),
            "largest_absolute": finite(check.largest_absolute),
            "largest_relative": finite(check.largest_relative),
            "worst": list(check.worst),
            "verdict": check.verdict,
            "passed": check.passed,
        }
        if arrays:
            row |= {
                "entries": check.entries.tolist(),
                "analytic": check.analytic.tolist(),
                "numeric": check.numeric.tolist(),
                "gradient": check.gradient.tolist(),
            }
        record["checks"].append(row)
    return record
