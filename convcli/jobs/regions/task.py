"""One region: read the samples under its windows, compute it, and write its own chunks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convcli.errors import CheckError
from convcli.io import PLAIN
from convcli.io.arrays.zarr_output import ZarrOutput
from convcli.io.parts import Parts
from convcli.jobs.apply import execute, result_range
from convcli.jobs.apply_plan import ApplyPlan
from convcli.jobs.postprocess import Ledger, to_dtype
from convcli.jobs.regions.geometry import Grid, Samples, Span, boxes
from convcli.jobs.regions.parts import covering, part_of, region_samples
from convcli.jobs.verify import Verification


@dataclass(frozen=True)
class Recipe:
    """What a worker needs to compute any region; it is pickled.

    plan: of the whole, without its arrays. extent: the range that `rescale` maps.
    """

    plan: ApplyPlan
    parts: Parts
    output: ZarrOutput
    grid: Grid
    extent: tuple[float, float] | None = None

    @classmethod
    def of(cls, plan: ApplyPlan, parts: Parts, output: ZarrOutput, grid: Grid) -> Recipe:
        """Return the recipe of a plan, whose methods are those of the whole array."""
        none = np.empty(0, plan.data.array.dtype)
        data = replace(plan.data, array=none, parts=None, header=None)
        passes = tuple(replace(each, problem=each.problem._replace(x=none)) for each in plan.passes)
        bare = replace(plan, data=data, passes=passes, target=None, writing=PLAIN)
        return cls(bare, parts, output, grid)


class Finished(NamedTuple):
    """The ledger and the verifications of a region that was written."""

    ledger: Ledger
    verifications: tuple[Verification, ...]


def compute_region(recipe: Recipe, number: int) -> Finished:
    """Compute one region and write it.

    Raises FileError for a damaged chunk, named, and CheckError if an output differs from the
    definition; the region is not written then.
    """
    spans = recipe.grid.spans(number)
    part, place = _part(recipe, spans)
    if place is None:
        values: NDArray[Any] = np.empty(part.output_shape, part.dtype)
        ledger, verifications = execute(part, values, extent=recipe.extent)
    else:
        floats = np.empty(part.output_shape, part.compute_dtype)
        _, verifications = execute(_unconverted(part), floats)
        policy = part.request.postprocess.range
        values, ledger = to_dtype(floats[place], part.dtype, policy, recipe.extent)
        ledger.check()
    for each, checked in zip(part.passes, verifications, strict=False):
        if not checked.passed:
            given = f"outputs of {each.kernel.name} differ from the definition"
            raise CheckError(given, f"by {checked.largest_error:.3g} at most in region {number}")
    recipe.output.write(tuple(slice(*span) for span in spans), values)
    return Finished(ledger, verifications)


def region_range(recipe: Recipe, number: int) -> tuple[float, float]:
    """Compute one region, and return its smallest and its largest finite value."""
    part, place = _part(recipe, recipe.grid.spans(number))
    if place is None:
        return result_range(part)
    floats = np.empty(part.output_shape, part.compute_dtype)
    execute(_unconverted(part), floats)
    finite = floats[place][np.isfinite(floats[place])]
    return (float(finite.min()), float(finite.max())) if finite.size else (np.nan, np.nan)


def _part(recipe: Recipe, spans: Sequence[Span]) -> tuple[ApplyPlan, tuple[slice, ...] | None]:
    """Return the plan of a region, with its samples; and where it is in a larger one, if it is."""
    covered = covering(recipe.plan, spans)
    samples = region_samples(recipe.plan, covered)
    part = part_of(recipe.plan, read_samples(recipe.parts, samples), samples, covered)
    if covered == tuple(spans):
        return part, None
    return part, tuple(
        slice(start - first, stop - first)
        for (start, stop), (first, _) in zip(spans, covered, strict=True)
    )


def _unconverted(part: ApplyPlan) -> ApplyPlan:
    """Return a plan whose output is the floats before they are converted to the output's type."""
    postprocess = replace(part.request.postprocess, range="clip")
    request = replace(part.request, postprocess=postprocess)
    return replace(part, request=request, dtype=np.dtype(part.compute_dtype))


def read_samples(parts: Parts, samples: Sequence[Samples]) -> NDArray[Any]:
    """Read samples, and put them in the positions where windows expect them."""
    found = list(boxes([along.spans for along in samples]))
    if len(found) == 1:
        slab = parts.read(tuple(slice(*span) for span in found[0][0]))
    else:
        sizes = [sum(stop - start for start, stop in along.spans) for along in samples]
        slab = np.empty(sizes, parts.dtype)
        for box, place in found:
            slab[tuple(slice(*span) for span in place)] = parts.read(
                tuple(slice(*span) for span in box)
            )
    for axis, along in enumerate(samples):
        if along.order is not None:
            slab = slab.take(along.order, axis)
    return slab
