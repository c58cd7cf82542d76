"""A run of `apply` that writes a store, cut into regions and decided before anything is written."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import cast

from convcli.errors import FileError, InputError
from convcli.io.arrays.ome import ZarrHeader
from convcli.io.arrays.zarr_output import ZarrOutput, check_output, has_begun, plan_output
from convcli.io.parts import ArrayParts, Parts
from convcli.jobs.apply import decide
from convcli.jobs.apply_plan import ApplyPlan, ApplyRequest
from convcli.jobs.batch.task import Recipe as BatchRecipe
from convcli.jobs.regions.blocks import (
    check_block,
    choose_block,
    given_block,
    samples_read,
    task_bytes,
)
from convcli.jobs.regions.geometry import Grid
from convcli.jobs.regions.manifest import NAME, Manifest
from convcli.limits import threads
from convcli.shapes.parse import show
from convcli.stores import is_url


@dataclass(frozen=True, kw_only=True)
class RegionOptions:
    """Options of an output that is written region by region.

    chunks: of the output. codec: a name in CODECS. block: the part of the output that one task
    computes. jobs: tasks that run at once. None is for the default.
    """

    chunks: tuple[int, ...] | None = None
    codec: str | None = None
    block: tuple[int, ...] | None = None
    resume: bool = False
    jobs: int | None = None


@dataclass(frozen=True)
class RegionPlan:
    """A run that was cut into regions.

    manifest: of the output, with the regions that an earlier run finished. task: bytes of memory of
    one task. decoded: bytes of samples that all tasks decode.
    """

    plan: ApplyPlan
    parts: Parts
    output: ZarrOutput
    grid: Grid
    manifest: Manifest
    task: int
    decoded: int
    resumed: bool
    jobs: int

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warnings of the plan, and one if regions differ from the whole in their last bits."""
        if all(each.plan.method != "fft" for each in self.plan.passes):
            return self.plan.warnings
        given = "fft computes each region by itself, so the last bits differ from the whole array's"
        return (*self.plan.warnings, f"{given}; use --method direct for equal ones")

    @property
    def halo(self) -> float:
        """The share of samples that is decoded more than once, 0.5 for 50 % more."""
        return self.decoded / self.plan.data.array.nbytes - 1

    @property
    def left(self) -> range | list[int]:
        """The numbers of the regions that are not finished."""
        every = range(len(self.grid))
        return [n for n in every if n not in self.manifest.done] if self.manifest.done else every

    def begin(self) -> None:
        """Remove an output that is replaced, and create the store of the new one.

        In one that is resumed, files are removed that a killed run did not finish.
        """
        if self.resumed:
            self.output.folder.remove_leftovers()
            return
        self.output.folder.remove()
        self.output.begin()
        self.manifest.write()


def plan_regions(request: ApplyRequest, options: RegionOptions) -> RegionPlan:
    """Decide the regions of a run whose output is a store. Writes nothing.

    Raises like `plan_apply`; FileError for an output that exists, is of another recipe or input,
    InputError for a block that does not fit, and LimitError if one task needs too much memory.
    """
    path = cast("str", request.output)
    _check_paths(request.input, path)
    check_output(path, overwrite=request.writing.overwrite, resume=options.resume)
    plan = decide(request, in_parts=True)
    if plan.data.alpha or plan.curve:
        what = "alpha" if plan.data.alpha else "linear light"
        remedy = "write a .tiff or .npy" + ", or use --background" * plan.data.alpha
        raise InputError(f"{request.input} with {what}", "a zarr output has none", remedy)
    parts = plan.data.parts or ArrayParts(plan.data.array, plan.data.name)
    output = plan_output(
        path,
        plan.output_shape,
        plan.dtype,
        cast("ZarrHeader | None", plan.writing.header),
        chunks=options.chunks,
        codec=options.codec,
        level=request.writing.compress_level,
        strip=request.writing.strip,
    )
    digest = _digest(request, parts, output)
    kept = _unfinished(output, digest) if options.resume else None
    stored, jobs = parts.chunks, options.jobs or threads()
    limit = request.limits.memory // jobs
    if options.block is not None:
        block = given_block(plan, options.block, output.chunks, path)
    elif kept is not None:
        block = kept.block
    else:
        block = choose_block(plan, output.chunks, stored, limit, jobs)
    check_block(plan, block, stored, limit)
    if kept is not None and kept.block != block:
        given = f"--block {show(block)}"
        raise FileError(given, f"{path} was begun with {show(kept.block)}", "leave --block out")
    manifest = kept or Manifest(output.folder, digest, block)
    decoded = samples_read(plan, block, stored) * parts.dtype.itemsize
    needed = task_bytes(plan, block, stored)
    grid = Grid(plan.output_shape, block)
    return RegionPlan(plan, parts, output, grid, manifest, needed, decoded, kept is not None, jobs)


def _check_paths(source: str, target: str) -> None:
    """Raise FileError if one of the stores is in the other."""
    ends = [PurePath(name if is_url(name) else Path(name).resolve()) for name in (source, target)]
    if ends[0].is_relative_to(ends[1]) or ends[1].is_relative_to(ends[0]):
        raise FileError(
            f"{target} overlaps the input {source}", "expected another store", "name a new one"
        )


def _digest(request: ApplyRequest, parts: Parts, output: ZarrOutput) -> str:
    """Return the digest of all that the output's values and chunks depend on."""
    described = repr(sorted(output.metadata.items()))
    text = "\n".join((BatchRecipe.of(request).digest, parts.identity, described))
    return hashlib.sha256(text.encode()).hexdigest()


def _unfinished(output: ZarrOutput, digest: str) -> Manifest | None:
    """Return the manifest of an output that is continued; None if there is no output.

    Raises FileError for one that is finished, or that another recipe or input began.
    """
    folder = output.folder
    if not folder.exists or folder.is_empty:
        return None
    if not folder.has(NAME):
        if has_begun(folder):
            return None
        raise FileError(
            f"{output.path} is finished", "nothing is left to resume", "pass --overwrite to redo it"
        )
    found = Manifest.read(folder)
    if found.recipe != digest:
        raise FileError(
            f"{output.path} was begun with another input, kernel or option",
            "expected the same",
            "pass --overwrite to begin anew",
        )
    return found
