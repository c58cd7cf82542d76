"""A run of `apply`, planned or done, as lines and as JSON."""

from __future__ import annotations

from typing import Any

import numpy as np

from convcli.cli.report.progress import elapsed
from convcli.cli.report.terminal import width, wrapped
from convcli.cli.report.text import (
    axis_json,
    axis_names,
    columns,
    described,
    finite,
    formula,
    place,
    reading,
    written_json,
)
from convcli.engine.planning.plan import Plan
from convcli.errors import printable
from convcli.io import Data, Written, kinds
from convcli.jobs.apply import ApplyResult
from convcli.jobs.apply_plan import ApplyPlan, KernelPass
from convcli.jobs.memory import Footprint, apply_footprint
from convcli.jobs.postprocess import Ledger, share
from convcli.shapes.parse import show

COLOURS = {(1, False): "gray", (2, True): "gray and alpha", (3, False): "RGB", (4, True): "RGBA"}
"""Pictures in words, by their channels and whether the last is alpha."""

MAPPED = {"rescale": "rescaled to", "offset": "shifted to", "abs": "as magnitudes"}
"""Words for the change of the range by a policy."""


def plan_lines(plan: ApplyPlan) -> list[str]:
    """Describe a plan: sizes and formulas, the method and its reason, and the memory."""
    request = plan.request
    data = plan.data
    rows: list[tuple[str, str]] = [(request.geometry.op, described(data))]
    rows += [
        ("kernel", f"{part.kernel.name}, {show(part.conv_layout.kernel)}") for part in plan.passes
    ]
    rows += geometry(plan)
    target = f" -> {request.output} ({plan.format})" if request.output is not None else ""
    rows.append(("output", f"{show(plan.output_shape)} {plan.dtype}{target}"))
    rows += _metadata(plan)
    rows += [("method", f"{part.plan.method}: {part.plan.reason}") for part in _distinct(plan)]
    rows += [
        ("rejected", f"{method}: {why}")
        for part in _distinct(plan)
        for method, why in part.plan.rejected
    ]
    rows.append(
        ("work", f"{sum(part.plan.macs for part in plan.passes):,} multiply-adds by the definition")
    )
    rows.append(("memory", _footprint(apply_footprint(plan))))
    return columns(rows, indent="")


def short_lines(result: ApplyResult, seconds: float) -> list[str]:
    """Describe a result in one line.

    Further lines report the range, the checks and the metadata if they are remarkable.
    """
    plan = result.plan
    rows = [("read", "; ".join(plan.data.notes))] if plan.data.notes else []
    if is_remarkable(result.ledger):
        rows.append(("range", ledger_words(result.ledger)))
    rows += _verifications(result)
    if result.written is not None:
        rows += [("reduced", what) for what in result.written.dropped]
    return [*wrapped(_summary(result, seconds), width(), "  "), *(columns(rows) if rows else [])]


def _summary(result: ApplyResult, seconds: float) -> str:
    """Describe a result in one line: the input, the output, and the time."""
    plan = result.plan
    made = _output(plan)
    target = plan.target
    took = ", ".join(filter(None, (made, plan.encoding, elapsed(seconds))))
    if target is None:
        where = f"{took}; not saved, use -o FILE to save it"
    elif result.written is None:
        where = f"{took}; not written"
    else:
        where = f"{place(result.written)} {took}"
    return f"{_input(plan)} -> {where}"


def _input(plan: ApplyPlan) -> str:
    data = plan.data
    dims = plan.passes[0].conv_layout.dims
    name = "standard input" if data.name == "-" else printable(data.name)
    picture = data.kind == "image" and dims == 2
    return f"{name} {_values(data.array.shape, data.array.dtype, data, picture=picture)}"


def _output(plan: ApplyPlan) -> str:
    data = plan.data
    pictured = data.kind == "image" if plan.target is None else plan.target.form.kind == "image"
    picture = pictured and plan.passes[0].conv_layout.dims == 2 and not plan.writing.maps
    return _values(plan.output_shape, plan.dtype, data, picture=picture)


def _values(shape: tuple[int, ...], dtype: np.dtype[Any], data: Data, *, picture: bool) -> str:
    """Describe an array by shape and type; a picture by size, colours, and type unless uint8."""
    several = data.frames > 1
    size = shape[several:]
    channels = size[2] if len(size) == 3 else 1
    colours = COLOURS.get((channels, data.alpha))
    if not picture or len(size) not in (2, 3) or colours is None:
        return f"{show(shape)} {dtype}"
    counted = f"{shape[0]} frames of " if several else ""
    return f"{counted}{show(size[:2])} {colours}" + ("" if dtype == np.uint8 else f" {dtype}")


def result_lines(result: ApplyResult, seconds: float) -> list[str]:
    """Describe a result: sizes, the method, the range ledger, the verifications and the time."""
    plan = result.plan
    ledger = result.ledger
    written = result.written
    request = plan.request
    data = plan.data
    kernels = ", ".join(
        f"{part.kernel.name} ({show(part.conv_layout.kernel)})" for part in plan.passes
    )
    unsaved = ", not saved; use -o FILE to save it" if request.output is None else ""
    rows: list[tuple[str, str]] = [
        (request.geometry.op, f"{described(data)} with {kernels}"),
        ("output", f"{show(result.values.shape)} {result.values.dtype}{unsaved}"),
    ]
    rows += geometry(plan)
    rows += [("method", f"{part.plan.method}: {part.plan.reason}") for part in _distinct(plan)]
    rows.append(("range", ledger_words(ledger)))
    rows += _metadata(plan)
    rows += _verifications(result)
    if written is not None:
        likewise = f", {plan.encoding}" if plan.encoding else ""
        rows.append(
            ("wrote", f"{place(written)} ({written.format}, {written.bytes:,} bytes{likewise})")
        )
        rows += [("reduced", what) for what in written.dropped]
    rows.append(("time", elapsed(seconds)))
    return columns(rows, indent="")


def hint(plan: ApplyPlan) -> str:
    """Return a hint if a picture becomes smaller, else ""."""
    if not plan.shrinks:
        return ""
    axes = plan.passes[0].plan.axes
    sizes = f"{show(axis.n for axis in axes)} -> {show(axis.out for axis in axes)}"
    return f"{sizes}; --padding same keeps the size"


def plan_json(plan: ApplyPlan) -> dict[str, Any]:
    footprint = apply_footprint(plan)
    return {**decided_json(plan), "memory": {**vars(footprint), "peak": footprint.peak}}


def decided_json(plan: ApplyPlan) -> dict[str, Any]:
    """Describe a plan without its memory."""
    request = plan.request
    return {
        "op": request.geometry.op,
        "input": _input_json(plan.data),
        "kernels": [
            {
                "name": part.kernel.name,
                "shape": list(part.conv_layout.kernel),
                "reading": part.conv_layout.channel_mode,
            }
            for part in plan.passes
        ],
        "axes": [axis_json(axis) for axis in plan.passes[0].plan.axes],
        "boundary": plan.border.boundary,
        "cval": plan.border.cval,
        "combine": request.postprocess.combine,
        "scale": request.postprocess.scale,
        "bias": request.postprocess.bias,
        "linear": request.linear,
        "curve": plan.curve.name if plan.curve else None,
        "output": {
            "shape": list(plan.output_shape),
            "dtype": str(plan.dtype),
            "format": plan.format,
            "encoding": plan.encoding or None,
            "kept": kinds(plan.metadata),
            "lost": list(plan.dropped),
        },
        "plan": [_work_json(part.plan) for part in plan.passes],
    }


def _input_json(data: Data) -> dict[str, Any]:
    return {
        "name": data.name,
        "shape": list(data.array.shape),
        "dtype": str(data.array.dtype),
        "kind": data.kind,
        "format": data.format,
        "alpha": data.alpha,
        "frames": data.frames,
        "notes": list(data.notes),
        "damage": data.damage,
    }


def _work_json(plan: Plan) -> dict[str, Any]:
    return {
        "method": plan.method,
        "reason": plan.reason,
        "rejected": dict(plan.rejected),
        "accumulator": plan.accumulator,
        "tile": list(plan.tile),
        "macs": plan.macs,
        "threads": plan.threads,
        "memory": plan.memory,
    }


def result_json(
    result: ApplyResult, seconds: float, plotted: Written | None = None
) -> dict[str, Any]:
    verified = zip(result.plan.passes, result.verifications, strict=False)
    return {
        **plan_json(result.plan),
        "ledger": _finite(vars(result.ledger)),
        "verify": [
            {"kernel": part.kernel.name, **_finite(vars(checked))} for part, checked in verified
        ]
        or None,
        "written": written_json(result.written),
        "plot": written_json(plotted),
        "seconds": seconds,
    }


def _finite(record: dict[str, Any]) -> dict[str, Any]:
    return {name: finite(value) for name, value in record.items()}


def geometry(plan: ApplyPlan) -> list[tuple[str, str]]:
    """Return a row for the arithmetic of each axis, and for the channels."""
    first = plan.passes[0]
    names = axis_names(first.conv_layout.dims)
    rows = [(name, formula(axis)) for name, axis in zip(names, first.plan.axes, strict=True)]
    if plan.curve:
        rows.append(("light", f"filtered in linear light, by {plan.curve.name}"))
    if first.conv_layout.channel_axis is not None or first.conv_layout.channel_mode != "each":
        rows.append(
            ("channels", reading(first.conv_layout) + (", and alpha" if plan.data.alpha else ""))
        )
    return rows


def _metadata(plan: ApplyPlan) -> list[tuple[str, str]]:
    """Describe the metadata that the output keeps."""
    kept = kinds(plan.metadata)
    return [("metadata", ", ".join(kept))] if kept else []


def _distinct(plan: ApplyPlan) -> list[KernelPass]:
    """Return one pass per method and reason, so that equal ones are listed once."""
    return list({(part.plan.method, part.plan.reason): part for part in plan.passes}.values())


def _footprint(footprint: Footprint) -> str:
    parts = ", ".join(f"{name} {size:,}" for name, size in vars(footprint).items())
    return f"at most {footprint.peak:,} bytes at once: {parts}"


def is_remarkable(ledger: Ledger) -> bool:
    """Return whether a policy, clipping or non-finite values changed the range."""
    return ledger.policy not in ("clip", "error") or bool(
        ledger.below + ledger.above + ledger.not_finite
    )


def ledger_words(ledger: Ledger) -> str:
    """Describe the range of the values, how it was mapped, and what was clipped."""
    text = f"{ledger.low_before:.6g} to {ledger.high_before:.6g}"
    if np.isnan(ledger.low_before):
        text = "no finite value"
    elif ledger.policy not in ("clip", "error"):
        text += f", {MAPPED[ledger.policy]} {ledger.low:.6g} to {ledger.high:.6g}"
    if clipped := ledger.below + ledger.above:
        is_float = ledger.dtype.startswith("float")
        limits = np.finfo(ledger.dtype) if is_float else np.iinfo(ledger.dtype)
        form = ".6g" if is_float else "d"
        ends = [
            (ledger.below, f"below {limits.min:{form}}"),
            (ledger.above, f"above {limits.max:{form}}"),
        ]
        counts = " and ".join(f"{count:,} {where}" for count, where in ends if count)
        text += f"; clipped {share(clipped, ledger.total)}: {counts}"
    if ledger.not_finite:
        zeros = ", NaN written as 0" if ledger.nan and not ledger.dtype.startswith("float") else ""
        text += f"; {ledger.not_finite:,} of {ledger.total:,} values not finite{zeros}"
    return text


def _verifications(result: ApplyResult) -> list[tuple[str, str]]:
    """Return a row for each verification, which names the kernel if there are several."""
    rows = []
    for part, checked in zip(result.plan.passes, result.verifications, strict=False):
        verdict = "holds" if checked.passed else f"BROKEN at {list(checked.worst)}"
        named = f"{part.kernel.name} {verdict}" if len(result.plan.passes) > 1 else verdict
        errors = f"error {checked.largest_error:.1e}, bound {checked.bound:.1e}"
        rows.append(("verify", f"{named}: {checked.checked:,} outputs recomputed, {errors}"))
    return rows
