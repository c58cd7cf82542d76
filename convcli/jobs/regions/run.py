"""Run the regions of an output on any workers, and publish the output when all are finished."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from convcli.errors import CheckError, ConvError, LimitError, WorkerError
from convcli.jobs.executors import Opener, Probe, Workers, as_finished
from convcli.jobs.postprocess import Ledger
from convcli.jobs.regions.manifest import NAME, Manifest
from convcli.jobs.regions.plan import RegionPlan
from convcli.jobs.regions.task import Finished, Recipe, compute_region, region_range
from convcli.jobs.verify import Verification
from convcli.limits import show_bytes
from convcli.progress import Progress, silent
from convcli.shapes.parse import show
from convcli.stores import StorePath, location

PRELOAD = "convcli.jobs.regions.task"


class InProcess(Workers):
    """No workers: calls run in this process, one at a time, with all its threads."""

    count = 1
    window = 1

    def submit_each(
        self, function: Callable[[Any], Any], items: Sequence[Any]
    ) -> list[Future[Any]]:
        futures = []
        for item in items:
            future: Future[Any] = Future()
            future.set_running_or_notify_cancel()
            try:
                future.set_result(function(item))
            except Exception as error:
                future.set_exception(error)
            futures.append(future)
        return futures

    def check_files(self, probes: tuple[Probe, ...]) -> None:
        """Do nothing: this process sees its files."""

    def close(self) -> None:
        """Do nothing."""

    kill = close


@dataclass
class RegionResult:
    """What a run came to. failed: regions with the reason; without any, the output is published.

    done: regions that this run finished.
    """

    plan: RegionPlan
    done: int = 0
    failed: list[tuple[int, str]] = field(default_factory=list)
    verifications: list[tuple[Verification, ...]] = field(default_factory=list)
    bytes: int = 0

    @property
    def ledger(self) -> Ledger | None:
        """The ledger of all regions that are finished."""
        return self.plan.manifest.ledger

    @property
    def is_whole(self) -> bool:
        return len(self.plan.manifest.done) == len(self.plan.grid)


def run_regions(
    plan: RegionPlan, open_workers: Opener, progress: Progress = silent
) -> RegionResult:
    """Compute the regions that are not finished, and publish the output when none failed.

    A region that fails does not stop the others. Raises ConvError if the range is to be checked and
    a value does not fit, or if an output differs from the definition; what is finished stays, and
    can be resumed.
    """
    result = RegionResult(plan)
    recipe = Recipe.of(plan.plan, plan.parts, plan.output, plan.grid)
    left, manifest = plan.left, plan.manifest
    twice = plan.plan.request.postprocess.range == "rescale" and manifest.extent is None
    total = len(left) * (1 + twice)
    with open_workers(preload=PRELOAD, most=len(left)) as workers:
        _check_memory(workers, plan)
        plan.begin()
        _check_seen(workers, plan)
        try:
            if twice:
                found = _ranges(workers, recipe, plan, result, lambda n: progress(n / total))
                if not result.failed:
                    manifest.extent = found
            if not result.failed:
                recipe = replace(recipe, extent=manifest.extent)
                before = len(left) if twice else 0
                for number, future in _each(workers, partial(compute_region, recipe), left):
                    if (finished := _outcome(result, number, future)) is not None:
                        _record(result, manifest, number, finished)
                    progress((before + result.done + len(result.failed)) / total)
        finally:
            manifest.write()
    if result.is_whole:
        plan.output.finish()
        result.bytes = plan.output.folder.size
    return result


def _check_seen(workers: Workers, plan: RegionPlan) -> None:
    """Raise InputError if workers do not see the folder or the store of the output."""
    place = location(plan.output.path)
    if isinstance(place, StorePath):
        if not isinstance(workers, InProcess):
            place.check_shared()
    elif workers.elsewhere:
        workers.check_files((Probe.of((place / NAME).absolute()),))


def _check_memory(workers: Workers, plan: RegionPlan) -> None:
    """Raise LimitError if a worker has less memory than a task needs."""
    if workers.memory is not None and plan.task > workers.memory:
        raise LimitError(
            f"a block of {show(plan.grid.block)} takes {show_bytes(plan.task)} with its halo",
            f"a worker may have {show_bytes(workers.memory)}",
            "use a smaller --block, or workers with more memory",
        )


def _record(result: RegionResult, manifest: Manifest, number: int, finished: Finished) -> None:
    result.done += 1
    if finished.verifications:
        result.verifications.append(finished.verifications)
    manifest.add(number, finished.ledger)


def _each(workers: Workers, call: Callable[[int], Any], left: Sequence[int]) -> Any:
    for finished in as_finished(workers, call, left, len(left)):
        yield from finished


def _ranges(
    workers: Workers,
    recipe: Recipe,
    plan: RegionPlan,
    result: RegionResult,
    count: Callable[[int], None],
) -> tuple[float, float]:
    """Compute every region once, and return the smallest and the largest finite value."""
    lows, highs = [], []
    every = range(len(plan.grid))
    for number, future in _each(workers, partial(region_range, recipe), every):
        found = _outcome(result, number, future)
        if found is not None:
            lows.append(found[0])
            highs.append(found[1])
        count(len(lows))
    return float(np.fmin.reduce(lows or [np.nan])), float(np.fmax.reduce(highs or [np.nan]))


def _outcome(result: RegionResult, number: int, future: Future[Any]) -> Any:
    """Return what a region came to; None if it failed, which is recorded.

    Raises an error that concerns every region.
    """
    try:
        return future.result()
    except (WorkerError, TimeoutError) as error:
        result.failed.append((number, str(error)))
    except ConvError as error:
        if error.exit_code == 1 or isinstance(error, CheckError):
            raise
        result.failed.append((number, str(error)))
    return None
