"""`convcli apply` with an output that is written region by region."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from convcli.errors import BatchError

if TYPE_CHECKING:
    from convcli.jobs.executors import Workers
    from convcli.jobs.regions.plan import RegionPlan
    from convcli.jobs.regions.run import RegionResult

REGIONS = ("chunks", "codec", "block", "resume", "jobs")
"""The options of RegionOptions."""


def writes_store(output: str | None, form: str | None) -> bool:
    """Return whether an output is a folder of chunks, by its name or format."""
    from convcli.io.formats import by_suffix, lookup

    if output is None or output == "-":
        return False
    named = lookup(form) if form else by_suffix(output)
    return named is not None and named.store


def run(
    settings: dict[str, Any],
    chosen: dict[str, Any],
    scheduler: str | None,
    *,
    dry_run: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Plan, run and report. Raises BatchError if a region failed."""
    from convcli.cli.report.progress import ProgressBar
    from convcli.io import check_name
    from convcli.jobs.apply_plan import ApplyRequest
    from convcli.jobs.executors import open_executor
    from convcli.jobs.regions.plan import RegionOptions, plan_regions
    from convcli.jobs.regions.run import InProcess, run_regions
    from convcli.jobs.requests import from_options

    began = time.perf_counter()
    check_name(settings["output"], settings["format"])
    request = from_options(ApplyRequest, **settings)
    plan = plan_regions(request, RegionOptions(**chosen))
    if dry_run:
        _print_plan(plan, as_json=as_json, quiet=quiet)
        return
    used: list[Workers] = []

    def open_workers(**needs: Any) -> Workers:
        alone = scheduler is None and (plan.jobs == 1 or len(plan.left) < 2)
        jobs = plan.jobs if scheduler is None else chosen["jobs"]
        used.append(InProcess() if alone else open_executor(scheduler, jobs, **needs))
        return used[0]

    try:
        with ProgressBar(f"apply, {len(plan.left):,} regions", shown=not quiet) as progress:
            result = run_regions(plan, open_workers, progress)
    except BaseException:
        _tell_unfinished(plan)
        raise
    _print_result(result, time.perf_counter() - began, used[0].words, as_json, quiet)
    if result.failed:
        raise BatchError(
            f"{len(result.failed):,} of {len(plan.grid):,} regions failed",
            f"{plan.output.path} is not finished",
            "correct the input, and add --resume",
        )


def _tell_unfinished(plan: RegionPlan) -> None:
    """Say how far an output is that was begun, and how to continue."""
    from convcli.jobs.regions.manifest import NAME

    if plan.output.folder.has(NAME):
        done = f"{len(plan.manifest.done):,} of {len(plan.grid):,} regions are done"
        name = plan.output.path
        click.echo(f"{name} cannot be opened yet: {done}; add --resume to continue", err=True)


def _print_plan(plan: RegionPlan, *, as_json: bool, quiet: bool) -> None:
    from convcli.cli.report import regions
    from convcli.cli.report.text import print_json, print_warnings

    print_warnings(plan.warnings)
    if as_json:
        print_json("apply", regions.plan_json(plan), plan.warnings)
    elif not quiet:
        click.echo("\n".join(regions.plan_lines(plan)))


def _print_result(
    result: RegionResult, seconds: float, workers: str, as_json: bool, quiet: bool
) -> None:
    from convcli.cli.report import regions
    from convcli.cli.report.text import print_json, print_warnings
    from convcli.jobs.warnings import value_warnings

    ledger = result.ledger
    values = () if ledger is None else tuple(value_warnings(result.plan.plan, ledger))
    warnings = (*result.plan.warnings, *values)
    print_warnings(warnings)
    if as_json:
        print_json("apply", regions.result_json(result, seconds), warnings)
    elif not quiet:
        click.echo("\n".join(regions.result_lines(result, seconds, workers)), err=True)
