"""A run of `apply`, planned or done, as lines and as JSON."""

from __future__ import annotations

from typing import Any

import numpy as np

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
from convcli.io import Data, kinds
from convcli.jobs.apply import ApplyResult
from convcli.jobs.apply_plan import ApplyPlan, KernelPass
from convcli.jobs.memory import Footprint, apply_footprint
from convcli.jobs.postprocess import Ledger
from convcli.jobs.verify import Verification
from convcli.shapes.parse import show


def plan_lines(plan: ApplyPlan) -> list[str]:
    """Describe a plan: sizes with their formula, the method and why, and the memory that it needs."""
    request = plan.request
    data = plan.data
    rows: list[tuple[str, str]] = [(request.geometry.op, described(data))]
    rows += [("kernel", f"{part.kernel.name}, {show(part.conv_layout.kernel)}") for part in plan.passes]
    rows += _geometry(plan)
    target = f" -> {request.output} ({plan.format})" if request.output is not None else ""
    rows.append(("output", f"{show(plan.output_shape)} {plan.dtype}{target}"))
    rows += _metadata(plan)
    rows += [("method", f"{part.plan.method}: {part.plan.reason}") for part in _distinct(plan)]
    rows += [("not", f"{method}: {why}") for part in _distinct(plan) for method, why in part.plan.rejected]
    rows.append(("work", f"{sum(part.plan.macs for part in plan.passes):,} multiply-adds by the definition"))
    rows.append(("memory", _footprint(apply_footprint(plan))))
    return columns(rows, indent="")


def result_lines(result: ApplyResult) -> list[str]:
    """Describe a result: sizes, the method, the range ledger and the verifications."""
    plan = result.plan
    ledger = result.ledger
    written = result.written
    request = plan.request
    data = plan.data
    kernels = ", ".join(f"{part.kernel.name} ({show(part.conv_layout.kernel)})" for part in plan.passes)
    rows: list[tuple[str, str]] = [
        (request.geometry.op, f"{described(data)} with {kernels}"),
        ("output", f"{show(result.values.shape)} {result.values.dtype}"),
    ]
    rows += _geometry(plan)
    rows += [("method", f"{part.plan.method}: {part.plan.reason}") for part in _distinct(plan)]
    rows.append(("range", _ledger(ledger)))
    rows += _metadata(plan)
    rows += [("verify", _verification(verification)) for verification in result.verifications]
    if written is not None:
        rows.append(("wrote", f"{place(written)} ({written.format}, {written.bytes:,} bytes)"))
        rows += [("reduced", what) for what in written.dropped]
    elif request.output is None:
        rows.append(("wrote", "nothing; give -o FILE to keep the result"))
    return columns(rows, indent="")


def hint(plan: ApplyPlan) -> str:
    """Return how a picture that becomes smaller would keep its size; "" for all others."""
    if not plan.shrinks:
        return ""
    axes = plan.passes[0].plan.axes
    sizes = f"{show(axis.n for axis in axes)} -> {show(axis.out for axis in axes)}"
    return f"{sizes}; --padding same keeps the size"


def plan_json(plan: ApplyPlan) -> dict[str, Any]:
    request = plan.request
    footprint = apply_footprint(plan)
    return {
        "op": request.geometry.op,
        "input": _input_json(plan.data),
        "kernels": [
            {"name": part.kernel.name, "shape": list(part.conv_layout.kernel), "reading": part.conv_layout.channel_mode}
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
            "kept": kinds(plan.metadata),
            "lost": list(plan.dropped),
        },
        "plan": [_work_json(part.plan) for part in plan.passes],
        "memory": {**vars(footprint), "peak": footprint.peak},
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


def result_json(result: ApplyResult) -> dict[str, Any]:
    written = result.written
    return {
        **plan_json(result.plan),
        "ledger": {name: finite(value) for name, value in vars(result.ledger).items()},
        "verify": [
            {name: finite(value) for name, value in vars(verification).items()} for verification in result.verifications
        ]
        or None,
        "written": written_json(written),
    }


def _geometry(plan: ApplyPlan) -> list[tuple[str, str]]:
    first = plan.passes[0]
    names = axis_names(first.conv_layout.dims)
    rows = [(name, formula(axis)) for name, axis in zip(names, first.plan.axes, strict=True)]
    if plan.curve:
        rows.append(("light", f"filtered in linear light, by {plan.curve.name}"))
    if first.conv_layout.channel_axis is not None or first.conv_layout.channel_mode != "each":
        rows.append(("channels", reading(first.conv_layout) + (", and alpha" if plan.data.alpha else "")))
    return rows


def _metadata(plan: ApplyPlan) -> list[tuple[str, str]]:
    """Describe what the output's file says besides its samples, and what was dropped."""
    rows = (("kept", ", ".join(kinds(plan.metadata))), ("not kept", "; ".join(plan.dropped)))
    return [row for row in rows if row[1]]


def _distinct(plan: ApplyPlan) -> list[KernelPass]:
    """Return one pass per method and reason, so that equal ones are listed once."""
    return list({(part.plan.method, part.plan.reason): part for part in plan.passes}.values())


def _footprint(footprint: Footprint) -> str:
    parts = ", ".join(f"{name} {size:,}" for name, size in vars(footprint).items())
    return f"at most {footprint.peak:,} bytes at once: {parts}"


def _ledger(ledger: Ledger) -> str:
    policy = "" if ledger.policy == "clip" else f" after {ledger.policy}"
    text = f"{ledger.low:.6g} to {ledger.high:.6g}{policy}"
    if ledger.dtype.startswith("float"):
        most = float(np.finfo(ledger.dtype).max)
        if ledger.below + ledger.above:
            text += f"; clipped {ledger.below:,} below {-most:.6g} and {ledger.above:,} above {most:.6g}"
            text += f", of {ledger.total:,} values"
        return text + (f"; {ledger.not_finite:,} not finite" if ledger.not_finite else "")
    info = np.iinfo(ledger.dtype)
    text += f"; clipped {ledger.below:,} below {info.min} and {ledger.above:,} above {info.max}"
    text += f", of {ledger.total:,} values"
    return text + (f"; {ledger.not_finite:,} not finite, NaN written as 0" if ledger.not_finite else "")


def _verification(verification: Verification) -> str:
    holds = "holds" if verification.passed else f"BROKEN at {list(verification.worst)}"
    return (
        f"{verification.checked:,} of {verification.total:,} outputs recomputed from the definition: "
        f"largest error {verification.largest_error:.2e}, bound {verification.bound:.2e}: {holds}"
    )
