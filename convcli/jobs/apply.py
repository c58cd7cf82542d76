"""One input through its kernels: load -> plan -> execute -> save.

`plan_apply` loads the input, resolves the kernels and plans, without touching the output;
`run_apply` executes the plan and saves the result. Nothing here parses options or prints.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import repeat, zip_longest
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convcli import io
from convcli.engine.buffers import release_unused
from convcli.engine.layer_form import flip_for, to_problem
from convcli.engine.tiling import Chunk
from convcli.errors import InputError, ShapeError
from convcli.io import Data, OutputTarget, WriteRequest, Written
from convcli.jobs import colour
from convcli.jobs.apply_output import (
    are_maps,
    input_encoding,
    output_dtype,
    output_header,
    output_metadata,
    output_shape,
    unread_frames,
)
from convcli.jobs.apply_plan import ApplyPlan, ApplyRequest, KernelPass, expand
from convcli.jobs.chunks import chunks, output_index
from convcli.jobs.flatten import flatten
from convcli.jobs.memory import apply_footprint, planes_bytes
from convcli.jobs.operands import VOLUME, Planes, colour_planes, resolve_operands
from convcli.jobs.postprocess import (
    Ledger,
    combine,
    finite_range,
    scale_and_shift,
    to_dtype,
)
from convcli.jobs.precision import check_unread, exact_dtype, float_dtype, scales_far
from convcli.jobs.transfer import Curve, light_of
from convcli.jobs.verify import Check, Verification
from convcli.jobs.warnings import input_warnings, value_warnings
from convcli.kernels import Kernel
from convcli.kernels.model import normalized
from convcli.limits import LESS_WORK, threads
from convcli.progress import Progress, silent, steps
from convcli.shapes.layout import infer_layout
from convcli.system import renames_open_files

NO_PROGRESS: Iterator[Progress] = repeat(silent)

RELEASE_ABOVE = 40 << 20
"""Peak in bytes above which unused memory is returned to the system. A smaller run leaves little:
to have the system clear it again took a sixth of the time of a batch of megapixel pictures."""


@dataclass(frozen=True)
class ApplyResult:
    """The values of the output, their ledger, and the requested verifications.

    written: what was written; None if nothing was.
    """

    plan: ApplyPlan
    values: NDArray[Any]
    ledger: Ledger
    verifications: tuple[Verification, ...]
    written: Written | None

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warnings about the plan, the values and the written file."""
        written = self.written.warnings if self.written else ()
        return (*self.plan.warnings, *value_warnings(self.plan, self.ledger), *written)

    @property
    def verified(self) -> bool:
        return all(verification.passed for verification in self.verifications)


def plan_apply(request: ApplyRequest) -> ApplyPlan:
    """Load the input and the kernels and decide shapes, dtypes and methods. Writes nothing.

    Raises InputError or a subclass of it for an invalid input, kernel or option, and for an output
    that cannot be written under its name or in its format; LimitError for a run that needs more
    memory than the limit.
    """
    plan = decide(request)
    peak = apply_footprint(plan).peak
    request.limits.check_memory(f"filtering {plan.data.name}", peak, LESS_WORK)
    return replace(plan, peak=peak)


def decide(request: ApplyRequest, *, in_parts: bool = False) -> ApplyPlan:
    """Return the plan of a run, whose memory is not checked. Raises like `plan_apply`.

    in_parts: the output is a store, and the input may be one whose values are left unread.
    """
    request = expand(request)
    target = _check_request(request, stores=in_parts)

    # load
    data = _load(request, in_parts=in_parts)
    curve, misread = light_of(data) if request.linear else (None, ())
    planes = colour_planes(data, request.geometry.layout, curve=curve)
    if target is None and request.output is not None:
        target = io.check_target(request.output, format=data.format)

    # plan the work
    named = request.postprocess.dtype
    requested = None if named is None else np.dtype(named)
    floats = float_dtype(planes.x.dtype, requested)
    passes = tuple(
        _plan_pass(request, data, planes, reference, floats, curve) for reference in request.kernels
    )
    _check_axes(passes)

    # plan the output; computing its integers exactly may need a wider dtype
    header = output_header(request, data, passes[0], target)
    dtype = np.dtype(requested or output_dtype(data, target, header) or floats)
    ranges = [each.problem.whole_range() for each in passes] if dtype.kind in "iu" else []
    wide = scales_far(request.postprocess.scale) or any(each.plan.facts.extreme for each in passes)
    compute_dtype = exact_dtype(request.postprocess, ranges, dtype, "float64" if wide else floats)
    if compute_dtype != floats:
        passes = tuple(each.planned(compute_dtype, request.method) for each in passes)
    shape = output_shape(request, data, passes)
    metadata, dropped = output_metadata(request, data, passes[0], target, dtype, shape)
    writing = WriteRequest(
        alpha=data.alpha,
        maps=not data.alpha and are_maps(request, passes),
        frames=data.frames > 1,
        volume=passes[0].volume,
        settings=request.writing.settings,
        header=header,
        metadata=metadata,
        encoding=input_encoding(request, data, target),
        threads=threads(),
    )
    if target is not None:
        target.check(dtype, shape, writing)

    unread = unread_frames(request, data, passes[0], target, dtype)
    warnings = (*input_warnings(data), *misread, *unread)
    return ApplyPlan(
        request,
        data,
        passes,
        compute_dtype,
        dtype,
        target,
        shape,
        writing,
        curve,
        dropped,
        warnings,
    )


def run_apply(plan: ApplyPlan, progress: Progress = silent) -> ApplyResult:
    """Execute a plan and save the result, unless `verify` finds an output that exceeds its bound.

    Memory that earlier runs left unused is released first, and that of this run before its result
    is encoded.
    """
    _release_unused(plan)
    with io.output_buffer(plan.target, plan.output_shape, plan.dtype, plan.writing) as buffer:
        ledger, verifications = execute(plan, buffer.array, progress)
        _release_unused(plan)
        written = None
        if plan.target is not None and all(each.passed for each in verifications):
            written = buffer.publish(plan.writing)
    return ApplyResult(plan, buffer.array, ledger, verifications, written)


# Load.


def _check_request(request: ApplyRequest, *, stores: bool) -> OutputTarget | None:
    """Check what needs no input, and return the target if the output's name implies its format."""
    if not request.kernels:
        remedy = "give one with -k, such as -k gaussian:sigma=2"
        raise InputError("no kernel", "expected at least one", remedy)
    for name in ("scale", "bias"):
        value = getattr(request.postprocess, name)
        if not math.isfinite(value):
            raise InputError(f"{name} {value}", "expected a finite number")
    if request.output is None:
        return None
    writing = request.writing
    return io.check_target(
        request.output, overwrite=writing.overwrite, format=writing.format, stores=stores
    )


def _check_axes(passes: Sequence[KernelPass]) -> None:
    """Raise ShapeError for kernels that slide over different numbers of axes."""
    first, *others = passes
    for other in others:
        if other.conv_layout.dims != first.conv_layout.dims:
            counts = f"{first.conv_layout.dims} and {other.conv_layout.dims}"
            raise ShapeError(
                f"kernels {first.kernel.name} and {other.kernel.name} slide over {counts} axes",
                "expected the same number",
                "say by --dims how many axes of the input are spatial",
            )


def _load(request: ApplyRequest, *, in_parts: bool) -> Data:
    """Load the input and check that its colour planes fit into the memory limit."""
    reading = request.reading
    data = io.load(
        request.input,
        format=reading.input_format,
        limits=request.limits,
        frames=reading.frames,
        allow_truncated=reading.allow_truncated,
        raw=reading.raw,
        volume=request.geometry.dims == VOLUME,
        in_parts=in_parts,
    )
    data = flatten(data, reading.background, gray=reading.gray)
    if isinstance(data.array, np.memmap) and not renames_open_files() and _is_output(request):
        request.limits.check_memory(data.name, data.array.nbytes)
        data = replace(data, array=np.array(data.array))
    if floats := planes_bytes(data, linear=request.linear):
        request.limits.check_memory(data.name, data.array.nbytes + floats)
    return data


def _is_output(request: ApplyRequest) -> bool:
    """Return whether the output will replace the input."""
    try:
        return request.output is not None and Path(request.input).samefile(request.output)
    except OSError:  # one of them is not a file
        return False


# Plan.


def _plan_pass(
    request: ApplyRequest,
    data: Data,
    planes: Planes,
    reference: str | Kernel,
    compute_dtype: str,
    curve: Curve | None,
) -> KernelPass:
    """Resolve one kernel, plan it, and state the problem that filters the alpha of a picture."""
    geometry = request.geometry
    if curve and geometry.cval is not None:
        light = colour.decode_level(geometry.cval, data.array.dtype, curve)
        geometry = replace(geometry, cval=light)
    kernel, conv_layout, spec = resolve_operands(data, planes.x, reference, geometry, data.name)
    taps = flip_for(kernel.taps, conv_layout, geometry.op)
    if request.normalize:
        taps = normalized(taps, conv_layout.kernel_axes)
    problem = to_problem(planes.x, taps, conv_layout, spec)
    if data.parts is not None:
        check_unread(problem, data.called, request.postprocess.dtype)
    coverage = None
    if planes.alpha is not None:
        window = colour.coverage_kernel(taps, conv_layout.window_axes)
        shape = (*planes.alpha.shape, 1)
        alpha_layout = infer_layout(shape, window.shape, dims=conv_layout.dims)
        alpha_spec = replace(spec, groups=1, cval=colour.outside_alpha(geometry.cval))
        coverage = to_problem(planes.alpha[..., None], window, alpha_layout, alpha_spec)
    plan = problem.plan(compute_dtype, request.method)
    return KernelPass(kernel, taps, conv_layout, problem, plan, coverage)


# Execute.


def execute(
    plan: ApplyPlan,
    out: NDArray[Any],
    progress: Progress = silent,
    extent: tuple[float, float] | None = None,
) -> tuple[Ledger, tuple[Verification, ...]]:
    """Compute the result into `out`, chunk by chunk; return its ledger and the verifications.

    extent: the range of the values that `rescale` maps, by default that of this result. Raises
    ConvError if the range is to be checked, and a value does not fit.
    """
    request, lead = plan.request, plan.passes[0]
    cut = list(chunks(lead.conv_layout, lead.plan))
    twice = request.postprocess.range == "rescale" and len(cut) > 1 and extent is None
    parts = steps(progress, len(cut) * len(plan.passes) * (1 + twice))
    checks = []
    if request.verify:
        checks = [Check(each.problem, each.plan.output, plan.compute_dtype) for each in plan.passes]
    if twice:
        extent = _result_range(plan, cut, parts)
    ledgers = []
    for chunk in cut:
        target = out[output_index(chunk, lead.conv_layout)]
        values, coverage = compute_chunk(plan, chunk, checks, parts)
        if chunk is cut[-1]:  # earlier chunks reuse this memory
            _release_unused(plan)
        ledgers.append(_write_chunk(plan, values, coverage, target, extent))
        del values, coverage
        for array in (out, plan.data.array):
            io.release(array)
    ledger = reduce(add, ledgers)
    ledger.check()
    return ledger, tuple(check.verdict() for check in checks)


def compute_chunk(
    plan: ApplyPlan,
    chunk: Chunk,
    checks: Sequence[Check] = (),
    parts: Iterator[Progress] = NO_PROGRESS,
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Compute a chunk of the result, and its coverage if the picture has alpha.

    The chunk has the plan's `compute_dtype`. parts: one progress callback per kernel.
    """
    request, source = plan.request, plan.data.array
    postprocess = request.postprocess
    io.check_mapped(source, plan.data.name)
    results = []
    coverages = []
    for each, check in zip_longest(plan.passes, checks):
        result = each.run(chunk, check, next(parts))
        coverage = each.run_coverage(chunk, request.method)
        if coverage is not None:
            result = colour.divide(result, coverage)
            coverages.append(coverage)
        results.append(result)
    values = combine(results, postprocess.combine, plan.passes[0].channel_axis)
    values = scale_and_shift(values, postprocess.scale, postprocess.bias)
    if plan.curve:
        values = colour.encode(values, source.dtype, plan.curve)
    return values, combine(coverages, "mean", 0) if coverages else None


def _write_chunk(
    plan: ApplyPlan,
    values: NDArray[Any],
    coverage: NDArray[Any] | None,
    target: NDArray[Any],
    extent: tuple[float, float] | None,
) -> Ledger:
    """Convert a chunk's floats to the output's dtype in `target`, and its coverage to alpha.

    Alpha has the range of an integer output's dtype. A float output keeps the input's levels, so
    its alpha has the range of the input's dtype.
    """
    if coverage is not None:
        ranged = plan.dtype if plan.dtype.kind in "iu" else plan.data.array.dtype
        alpha = np.clip(coverage, 0, 1) * coverage.dtype.type(colour.opaque(ranged))
        target[..., -1] = to_dtype(alpha, plan.dtype, "clip")[0]
        target = target[..., :-1]
    return to_dtype(values, plan.dtype, plan.request.postprocess.range, extent, target)[1]


def result_range(plan: ApplyPlan) -> tuple[float, float]:
    """Compute the result, and return its smallest and its largest finite value."""
    cut = list(chunks(plan.passes[0].conv_layout, plan.passes[0].plan))
    return _result_range(plan, cut, NO_PROGRESS)


def _result_range(
    plan: ApplyPlan, cut: Sequence[Chunk], parts: Iterator[Progress]
) -> tuple[float, float]:
    """Compute every chunk once, and return the smallest and the largest finite value."""
    ends = []
    for chunk in cut:
        ends.append(finite_range(compute_chunk(plan, chunk, (), parts)[0]))
        io.release(plan.data.array)
    lows, highs = zip(*ends, strict=True)
    return float(np.fmin.reduce(lows)), float(np.fmax.reduce(highs))


def _release_unused(plan: ApplyPlan) -> None:
    """Return unused memory to the system if the run's peak exceeds RELEASE_ABOVE."""
    if plan.peak > RELEASE_ABOVE:
        release_unused()
