"""One named job: load -> plan -> execute -> save.

`plan_apply` loads the input, resolves the kernels and plans, touching no output; `run_apply` runs what was prepared
and writes the result. Nothing here parses options or prints.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property, reduce
from operator import add
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convcli import io
from convcli.engine.execute import give_back
from convcli.engine.layer_form import flip_for, from_layer, to_problem
from convcli.engine.planning import Plan
from convcli.engine.planning.facts import result_dtype
from convcli.engine.problem import Problem
from convcli.engine.tiling import Chunk
from convcli.errors import InputError
from convcli.io import NO_METADATA, Data, Header, Metadata, OutputTarget, WriteRequest, Written
from convcli.jobs import colour
from convcli.jobs.chunks import last_part, parts, place, within
from convcli.jobs.memory import Footprint, results_bytes
from convcli.jobs.operands import VOLUME, colour_planes, colour_planes_bytes, resolve_operands
from convcli.jobs.postprocess import Ledger, combine, combined_shape, extremes, fit, scaled
from convcli.jobs.requests import Postprocess, ReadOptions, WriteOptions
from convcli.jobs.verify import Check, Verification, checking_bytes
from convcli.kernels import Kernel
from convcli.kernels.model import normalized
from convcli.limits import LESS_WORK, Limits, threads
from convcli.shapes.geometry import Geometry
from convcli.shapes.layout import ConvLayout, infer_layout

WORTH_GIVING_BACK = 40 << 20
"""Bytes of a job's peak from which what is free is given back. A smaller one leaves little, and the system would clear
it for the next job, which took a sixth of the time of a batch of megapixels."""


@dataclass(frozen=True)
class ApplyRequest:
    """What to do with one input; values are checked by `plan_apply`.

    input, output: paths, or - for a pipe; without output nothing is written. kernels: references, or kernels.
    normalize: divide each kernel by its sum. linear: filter a picture in linear light.
    """

    input: str
    kernels: tuple[str | Kernel, ...]
    output: str | None = None
    geometry: Geometry = field(default_factory=Geometry)
    reading: ReadOptions = field(default_factory=ReadOptions)
    normalize: bool = False
    method: str = "auto"
    linear: bool = False
    verify: bool = False
    postprocess: Postprocess = field(default_factory=Postprocess)
    writing: WriteOptions = field(default_factory=WriteOptions)
    limits: Limits = field(default_factory=Limits.of)


@dataclass(frozen=True)
class KernelPass:
    """One kernel of a job, laid on the input: the engine's problem and its plan."""

    kernel: Kernel
    conv_layout: ConvLayout
    problem: Problem
    plan: Plan
    coverage: Problem | None
    """How alpha is filtered beside it, where the input has one."""

    @property
    def volume(self) -> bool:
        """Whether the first axis is one of pages, for a format that has them."""
        return self.conv_layout.dims == VOLUME

    @cached_property
    def output_shape(self) -> tuple[int, ...]:
        return self.conv_layout.with_spatial(self.plan.sizes)

    def part_size(self, part: Chunk) -> int:
        """How many values there are in a part of the result."""
        return math.prod(self.problem.part_shape(self.plan, part))


@dataclass(frozen=True)
class ApplyPlan:
    """A job with its input loaded and every question settled but the numbers themselves."""

    job: ApplyRequest
    data: Data
    passes: tuple[KernelPass, ...]
    compute_dtype: str
    dtype: np.dtype[Any]
    target: OutputTarget | None
    output_shape: tuple[int, ...]
    writing: WriteRequest
    """How the output is written, and what its file says besides its samples."""
    dropped: tuple[str, ...] = ()
    """What the input's says and the output's format does not hold, and why."""

    @property
    def format(self) -> str | None:
        """The output's format; None if nothing is written."""
        return None if self.target is None else self.target.form.name

    @property
    def metadata(self) -> Metadata:
        """What the output's file says besides its samples."""
        return self.writing.metadata

    @cached_property
    def footprint(self) -> Footprint:
        """The bytes that the whole job holds, from shapes and types alone."""
        job, data, lead = self.job, self.data, self.passes[0]
        first, last = next(parts(lead.conv_layout, lead.plan)), last_part(lead.conv_layout, lead.plan)
        sizes = [run.part_size(within(first, run.conv_layout, run.plan)) for run in self.passes]
        share, rest = (Fraction(lead.part_size(part), math.prod(lead.plan.output)) for part in (first, last))
        output = math.prod(self.output_shape) * self.dtype.itemsize
        grows = self.target is not None and self.target.grows(output)
        encoding = 0
        if self.target is not None and not grows:
            encoding = self.target.encoding_bytes(self.dtype, self.output_shape, self.writing)
        return Footprint(
            reading=data.decoding,
            input=io.held(data.array, share) + colour_planes_bytes(data, linear=job.linear),
            results=results_bytes(
                sizes,
                sizes[0] // (data.array.shape[-1] - 1) if data.alpha else 0,
                np.dtype(self.compute_dtype).itemsize,
                combine=job.postprocess.combine,
                scales=(job.postprocess.scale != 1) + (job.postprocess.bias != 0),
                encodes=job.linear,
            )
            + (checking_bytes(lead.plan.output, len(lead.plan.axes), len(self.passes)) if job.verify else 0),
            working=max(run.plan.memory for run in self.passes),
            filled=int(output * min(share if grows else 1, 1 - rest)),
            output=int(output * (share if grows else 1)),
            encoding=encoding,
        )


@dataclass(frozen=True)
class ApplyResult:
    """What was done: the values that were written, their ledger and the proofs that were asked for."""

    prepared: ApplyPlan
    values: NDArray[Any]
    ledger: Ledger
    verifications: tuple[Verification, ...]
    written: Written | None

    @property
    def verified(self) -> bool:
        return all(verification.passed for verification in self.verifications)


def plan_apply(job: ApplyRequest) -> ApplyPlan:
    """Load the input and the kernels and settle shapes, types and plans. Writes nothing.

    Raises InputError and its kin for whatever does not fit, the output's name and format included.
    """
    if not job.kernels:
        raise InputError("no kernel", "expected at least one", "give one with -k, such as -k gaussian:sigma=2")
    for name, value in (("scale", job.postprocess.scale), ("bias", job.postprocess.bias)):
        if not math.isfinite(value):
            raise InputError(f"{name} {value}", "expected a finite number")
    target = None
    if job.output is not None:
        target = io.check_target(job.output, overwrite=job.writing.overwrite, format=job.writing.format)
    data = io.load(
        job.input,
        format=job.reading.input_format,
        limits=job.limits,
        frames=job.reading.frames,
        allow_truncated=job.reading.allow_truncated,
        raw=job.reading.raw,
        volume=job.geometry.dims == VOLUME,
    )
    if floats := colour_planes_bytes(data, linear=job.linear):
        job.limits.check_memory(data.name, data.array.nbytes + floats)
    x, cover = colour_planes(data, job.geometry.layout, linear=job.linear)
    if target is None and job.output is not None:
        target = io.check_target(job.output, format=data.format)
    requested = None if job.postprocess.dtype is None else np.dtype(job.postprocess.dtype)
    compute = _compute_dtype(x.dtype, requested)
    passes = tuple(_lay(job, data, x, cover, reference, compute) for reference in job.kernels)
    header = _header(job, data, passes[0], target)
    written = np.dtype(requested or _written_dtype(data, target, header) or compute)
    shape = _combined_shape(job, passes, data.alpha)
    given = Metadata(timing=data.metadata.timing) if job.writing.strip else data.metadata
    metadata, dropped = _output_metadata(given, data, target, written, shape)
    writing = WriteRequest(
        alpha=data.alpha,
        frames=data.frames > 1,
        volume=passes[0].volume,
        settings=job.writing.settings,
        header=header,
        metadata=metadata,
        threads=threads(),
    )
    if target is not None:
        target.check(written, shape, writing)
    prepared = ApplyPlan(job, data, passes, compute, written, target, shape, writing, dropped)
    job.limits.check_memory(f"filtering {data.name}", prepared.footprint.peak, LESS_WORK)
    return prepared


def run_apply(prepared: ApplyPlan) -> ApplyResult:
    """Execute and save. Nothing is written where `verify` finds an output that breaks its bound.

    What is free is given back first, for decoders leave much, and again before the result is encoded.
    """
    _give_back(prepared)
    with io.output_buffer(prepared.target, prepared.output_shape, prepared.dtype) as buffer:
        ledger, proofs = _fill(prepared, buffer.array)
        _give_back(prepared)
        written = None
        if prepared.target is not None and all(proof.passed for proof in proofs):
            written = buffer.publish(prepared.writing)
    return ApplyResult(prepared, buffer.array, ledger, proofs, written)


def _give_back(prepared: ApplyPlan) -> None:
    """Give back what is free, where a job takes much: the next one of a few megabytes soon asks for as much again."""
    if prepared.footprint.peak > WORTH_GIVING_BACK:
        give_back()


def _fill(prepared: ApplyPlan, out: NDArray[Any]) -> tuple[Ledger, tuple[Verification, ...]]:
    """Make the result in `out`, part by part; the ledger, and the proofs that were asked for."""
    job, lead = prepared.job, prepared.passes[0]
    cut = list(parts(lead.conv_layout, lead.plan))
    checks = [Check(run.problem, run.plan.output) for run in prepared.passes] if job.verify else []
    extent = _extent(prepared, cut) if job.postprocess.range == "rescale" and len(cut) > 1 else None
    ledgers = []
    for part in cut:
        target = out[place(part, lead.conv_layout)]
        ledgers.append(_fill_part(prepared, part, target, checks, extent, last=part is cut[-1]))
        for array in (out, prepared.data.array):
            io.release(array)
    ledger = reduce(add, ledgers)
    ledger.check()
    return ledger, tuple(check.verdict(prepared.compute_dtype) for check in checks)


def _fill_part(
    prepared: ApplyPlan,
    part: Chunk,
    target: NDArray[Any],
    checks: Sequence[Check],
    extent: tuple[float, float] | None,
    *,
    last: bool,
) -> Ledger:
    values, coverage = _floats(prepared, part, checks)
    if last:  # each part works in the memory of the one before, and the output is not whole until now
        _give_back(prepared)
    if coverage is not None:
        target[..., -1] = _alpha_plane(coverage, prepared.dtype)
        target = target[..., :-1]
    return fit(values, prepared.dtype, prepared.job.postprocess.range, extent, target)[1]


def _floats(prepared: ApplyPlan, part: Chunk, checks: Sequence[Check] = ()) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """A part of the result as it was computed, scaled and not yet fitted; and the coverage of what has alpha."""
    job, results, covers = prepared.job, [], []
    io.check_mapped(prepared.data.array, prepared.data.name)
    for at, run in enumerate(prepared.passes):
        piece = within(part, run.conv_layout, run.plan)
        y = run.problem.run_part(run.plan, piece)
        if checks:
            checks[at].look(y[..., None] if run.problem.added_channel else y, piece)
        y = from_layer(y, run.conv_layout)
        if run.coverage is not None:
            covers.append(run.coverage.run_part(run.coverage.plan(None, job.method), part)[..., 0])
            y = colour.divide(y, covers[-1])
        results.append(y)
    values = combine(results, job.postprocess.combine, _channel_axis(prepared.passes))
    values = scaled(values, job.postprocess.scale, job.postprocess.bias)
    if job.linear:
        values = colour.encode(values, prepared.data.array.dtype)
    return values, combine(covers, "mean", 0) if covers else None


def _extent(prepared: ApplyPlan, cut: Sequence[Chunk]) -> tuple[float, float]:
    """The least and the largest value of all parts, which are made once more afterwards."""
    ends = []
    for part in cut:
        ends.append(extremes(_floats(prepared, part)[0]))
        io.release(prepared.data.array)
    lows, highs = zip(*ends, strict=True)
    return float(np.fmin.reduce(lows)), float(np.fmax.reduce(highs))


def _lay(
    job: ApplyRequest, data: Data, x: NDArray[Any], cover: NDArray[Any] | None, reference: str | Kernel, compute: str
) -> KernelPass:
    geometry = job.geometry
    if job.linear:
        geometry = replace(geometry, cval=colour.decode_level(geometry.cval, data.array.dtype))
    resolved, conv_layout, spec = resolve_operands(data, x, reference, geometry, data.name)
    taps = flip_for(resolved.taps, conv_layout, job.geometry.op)
    taps = normalized(taps) if job.normalize else taps
    problem = to_problem(x, taps, conv_layout, spec)
    coverage = None
    if cover is not None:
        window = colour.coverage_kernel(taps, conv_layout.window_axes)
        flat = infer_layout((*cover.shape, 1), window.shape, dims=conv_layout.dims)
        coverage = to_problem(cover[..., None], window, flat, replace(spec, groups=1, cval=1.0))
    return KernelPass(resolved, conv_layout, problem, problem.plan(compute, job.method), coverage)


def _compute_dtype(given: np.dtype[Any], requested: np.dtype[Any] | None) -> str:
    """Where results are held before they are fitted into the written type: wide enough for both."""
    wide = requested is not None and (requested == np.float64 or (requested.kind in "iu" and requested.itemsize > 2))
    return "float64" if wide else result_dtype(given.name)


def _header(job: ApplyRequest, data: Data, lead: KernelPass, target: OutputTarget | None) -> Header | None:
    """What the output's file says besides its values: what the input's said, moved as the convolution moves samples."""
    if target is not None and target.form.headerless:
        return job.reading.raw
    if target is None or data.header is None or target.form.name not in data.header.formats:
        return None
    return data.header.moved([axis.start for axis in lead.plan.axes], [axis.stride for axis in lead.plan.axes])


def _written_dtype(data: Data, target: OutputTarget | None, header: Header | None) -> np.dtype[Any] | None:
    """The type to write where none was asked for; None means the computed floats themselves."""
    if target is not None:
        return target.codec.output_dtype(data.array.dtype, data.kind, header)
    return data.array.dtype if data.kind == "image" and data.array.dtype.kind in "iu" else None


def _combined_shape(job: ApplyRequest, passes: tuple[KernelPass, ...], with_alpha: bool) -> tuple[int, ...]:
    shape = combined_shape([part.output_shape for part in passes], job.postprocess.combine, _channel_axis(passes))
    return (*shape[:-1], shape[-1] + 1) if with_alpha else shape


def _channel_axis(passes: tuple[KernelPass, ...]) -> int:
    """Where the results' channels stand; where they have none, the new axis at the end."""
    axis = passes[0].conv_layout.output_channel_axis
    return len(passes[0].output_shape) if axis is None else axis


def _output_metadata(
    given: Metadata, data: Data, target: OutputTarget | None, written: np.dtype[Any], shape: tuple[int, ...]
) -> tuple[Metadata, tuple[str, ...]]:
    """What an output of that shape holds of what the input's file says, and in words what it does not."""
    if target is None:
        return NO_METADATA, ()
    channels = shape[-1] if len(shape) > 2 else 1
    frames = shape[0] if data.frames > 1 else 1
    return io.carry_over(given, target.form, channels, frames=frames, same_type=written == data.array.dtype)


def _alpha_plane(coverage: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    top = float(np.iinfo(dtype).max) if dtype.kind in "iu" else 1.0
    return fit(np.clip(coverage, 0, 1) * coverage.dtype.type(top), dtype, "clip")[0]
