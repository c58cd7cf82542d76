"""A run of `apply` that is cut into regions, planned or done, as lines and as JSON."""

from __future__ import annotations

from typing import Any

from convcli.cli.report import apply
from convcli.cli.report.progress import elapsed
from convcli.cli.report.terminal import width, wrapped
from convcli.cli.report.text import columns, described, finite
from convcli.jobs.regions.plan import RegionPlan
from convcli.jobs.regions.run import RegionResult
from convcli.limits import show_bytes
from convcli.shapes.parse import counted, show

MOST_FAILURES = 10
"""Failed regions that are listed; --json has all."""


def plan_lines(plan: RegionPlan) -> list[str]:
    """Describe a plan: the shapes, the regions, what they read, and the memory of one."""
    whole, grid = plan.plan, plan.grid
    rows: list[tuple[str, str]] = [(whole.request.geometry.op, described(whole.data))]
    rows += [
        ("kernel", f"{part.kernel.name}, {show(part.conv_layout.kernel)}") for part in whole.passes
    ]
    stored = f"chunks {show(plan.output.chunks)}"
    rows += apply.geometry(whole)
    rows.append(
        ("output", f"{show(whole.output_shape)} {whole.dtype} -> {plan.output.path}, {stored}")
    )
    rows += [("method", f"{part.plan.method}: {part.plan.reason}") for part in whole.passes]
    rows.append(("regions", f"{len(grid):,} of {show(grid.block)}{_done(plan)}"))
    rows.append(
        ("read", f"{show_bytes(plan.decoded)}, {100 * plan.halo:,.0f} % more than the input")
    )
    rows.append(("memory", f"at most {show_bytes(plan.task)} for each of {_jobs(plan)}"))
    return columns(rows, indent="")


def _done(plan: RegionPlan) -> str:
    done = len(plan.manifest.done)
    return f", {done:,} of them done before" if done else ""


def _jobs(plan: RegionPlan) -> str:
    return f"{counted(plan.jobs, 'task')} at once" if plan.jobs > 1 else "the tasks"


def result_lines(result: RegionResult, seconds: float, workers: str) -> list[str]:
    """Describe a result in one line; further lines report the range, the checks and failures."""
    plan, whole = result.plan, result.plan.plan
    where = f"{plan.output.path} {show(whole.output_shape)} {whole.dtype}"
    if result.failed:
        where = f"{plan.output.path} is not finished"
    source = f"{whole.data.name} {show(whole.data.array.shape)} {whole.data.array.dtype}"
    regions = f"{counted(result.done, 'region')} of {show(plan.grid.block)}"
    size = f", {show_bytes(result.bytes)}" if result.bytes else ""
    summary = f"{source} -> {where}{size}, {regions}, {elapsed(seconds)}"
    rows = [("read", "; ".join(whole.data.notes))] if whole.data.notes else []
    if workers:
        rows.append(("workers", workers))
    if result.ledger is not None and apply.is_remarkable(result.ledger):
        rows.append(("range", apply.ledger_words(result.ledger)))
    rows += _checks(result)
    rows += [("failed", f"region {number}: {why}") for number, why in result.failed[:MOST_FAILURES]]
    if len(result.failed) > MOST_FAILURES:
        rows.append(("failed", f"{len(result.failed) - MOST_FAILURES:,} others"))
    return [*wrapped(summary, width(), "  "), *(columns(rows) if rows else [])]


def _checks(result: RegionResult) -> list[tuple[str, str]]:
    """Return a row that sums up the verifications of all regions."""
    every = [checked for region in result.verifications for checked in region]
    if not every:
        return []
    count, error = sum(each.checked for each in every), max(each.largest_error for each in every)
    return [("verify", f"holds: {count:,} outputs recomputed, error {error:.1e}")]


def plan_json(plan: RegionPlan) -> dict[str, Any]:
    whole, grid = plan.plan, plan.grid
    return {
        **apply.decided_json(whole),
        "regions": {
            "count": len(grid),
            "done": len(plan.manifest.done),
            "block": list(grid.block),
            "chunks": list(plan.output.chunks),
            "read": plan.decoded,
            "halo": plan.halo,
            "memory": plan.task,
            "jobs": plan.jobs,
        },
    }


def result_json(result: RegionResult, seconds: float) -> dict[str, Any]:
    ledger = result.ledger
    return {
        **plan_json(result.plan),
        "ledger": None if ledger is None else {k: finite(v) for k, v in vars(ledger).items()},
        "finished": result.is_whole,
        "failed": [{"region": number, "reason": why} for number, why in result.failed],
        "bytes": result.bytes,
        "seconds": seconds,
    }
