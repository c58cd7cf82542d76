"""What a job would do, and what it did: sizes, method, the range ledger and the proofs."""

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
from convcli.errors import printable
from convcli.io import Data, kinds
from convcli.jobs.apply import ApplyPlan, ApplyResult, KernelPass
from convcli.jobs.memory import Footprint
from convcli.jobs.postprocess import Ledger
from convcli.jobs.verify import Verification
from convcli.shapes.parse import show


def plan_lines(prepared: ApplyPlan) -> list[str]:
    """What a job would do: sizes with their formula, the method and why, and the bytes that it takes."""
    job, data = prepared.job, prepared.data
    rows: list[tuple[str, str]] = [(job.geometry.op, described(data))]
    rows += [("kernel", f"{part.kernel.name}, {show(part.conv_layout.kernel)}") for part in prepared.passes]
    rows += _geometry(prepared)
    target = f" -> {job.output} ({prepared.format})" if job.output is not None else ""
    rows.append(("output", f"{show(prepared.output_shape)} {prepared.dtype}{target}"))
    rows += _metadata(prepared)
    rows += [("method", f"{part.plan.method}: {part.plan.reason}") for part in _distinct(prepared)]
    rows += [("not", f"{method}: {why}") for part in _distinct(prepared) for method, why in part.plan.rejected]
    rows.append(("work", f"{sum(part.plan.macs for part in prepared.passes):,} multiply-adds by the definition"))
    rows.append(("memory", _footprint(prepared.footprint)))
    return columns(rows, indent="")


def outcome_lines(outcome: ApplyResult) -> list[str]:
    """What a job did, with the range ledger and the proofs that were asked for."""
    prepared, ledger, written = outcome.prepared, outcome.ledger, outcome.written
    job, data = prepared.job, prepared.data
    kernels = ", ".join(f"{part.kernel.name} ({show(part.conv_layout.kernel)})" for part in prepared.passes)
    rows: list[tuple[str, str]] = [
        (job.geometry.op, f"{described(data)} with {kernels}"),
        ("output", f"{show(outcome.values.shape)} {outcome.values.dtype}"),
    ]
    rows += _geometry(prepared)
    rows += [("method", f"{part.plan.method}: {part.plan.reason}") for part in _distinct(prepared)]
    rows.append(("range", _ledger(ledger)))
    rows += _metadata(prepared)
    rows += [("verify", _verification(verification)) for verification in outcome.verifications]
    if written is not None:
        rows.append(("wrote", f"{place(written)} ({written.format}, {written.bytes:,} bytes)"))
        rows += [("reduced", told) for told in written.dropped]
    elif job.output is None:
        rows.append(("wrote", "nothing; give -o FILE to keep the result"))
    return columns(rows, indent="")


def damage_line(data: Data) -> str:
    """What is wrong with an input that was read all the same."""
    told = f"{data.name} is damaged: {data.damage}; it is read as far as it goes, and what is missing is left blank"
    return printable(told)


def plan_json(prepared: ApplyPlan) -> dict[str, Any]:
    job, data = prepared.job, prepared.data
    return {
        "op": job.geometry.op,
        "input": {
            "name": data.name,
            "shape": list(data.array.shape),
            "dtype": str(data.array.dtype),
            "kind": data.kind,
            "format": data.format,
            "alpha": data.alpha,
            "frames": data.frames,
            "notes": list(data.notes),
            "damage": data.damage,
        },
        "kernels": [
            {"name": part.kernel.name, "shape": list(part.conv_layout.kernel), "reading": part.conv_layout.channel_mode}
            for part in prepared.passes
        ],
        "axes": [axis_json(axis) for axis in prepared.passes[0].plan.axes],
        "boundary": job.geometry.boundary,
        "cval": job.geometry.cval,
        "combine": job.postprocess.combine,
        "scale": job.postprocess.scale,
        "bias": job.postprocess.bias,
        "linear": job.linear,
        "output": {
            "shape": list(prepared.output_shape),
            "dtype": str(prepared.dtype),
            "format": prepared.format,
            "kept": kinds(prepared.metadata),
            "lost": list(prepared.dropped),
        },
        "plan": [
            {
                "method": part.plan.method,
                "reason": part.plan.reason,
                "rejected": dict(part.plan.rejected),
                "accumulator": part.plan.accumulator,
                "tile": list(part.plan.tile),
                "macs": part.plan.macs,
                "threads": part.plan.threads,
                "memory": part.plan.memory,
            }
            for part in prepared.passes
        ],
        "memory": {**vars(prepared.footprint), "peak": prepared.footprint.peak},
    }


def outcome_json(outcome: ApplyResult) -> dict[str, Any]:
    written = outcome.written
    return {
        **plan_json(outcome.prepared),
        "ledger": {name: finite(value) for name, value in vars(outcome.ledger).items()},
        "verify": [
            {name: finite(value) for name, value in vars(verification).items()}
            for verification in outcome.verifications
        ]
        or None,
        "written": written_json(written),
    }


def _geometry(prepared: ApplyPlan) -> list[tuple[str, str]]:
    first = prepared.passes[0]
    names = axis_names(first.conv_layout.dims)
    rows = [(name, formula(axis)) for name, axis in zip(names, first.plan.axes, strict=True)]
    if prepared.job.linear:
        rows.append(("light", "filtered in linear light, by the sRGB curve"))
    if first.conv_layout.channel_axis is not None or first.conv_layout.channel_mode != "each":
        rows.append(("channels", reading(first.conv_layout) + (", and alpha" if prepared.data.alpha else "")))
    return rows


def _metadata(prepared: ApplyPlan) -> list[tuple[str, str]]:
    """What the output's file says besides its samples, and what of the input's it cannot."""
    rows = (("kept", ", ".join(kinds(prepared.metadata))), ("not kept", "; ".join(prepared.dropped)))
    return [row for row in rows if row[1]]


def _distinct(prepared: ApplyPlan) -> list[KernelPass]:
    """One pass for each method and reason: several kernels alike need saying once."""
    return list({(part.plan.method, part.plan.reason): part for part in prepared.passes}.values())


def _footprint(footprint: Footprint) -> str:
    told = ", ".join(f"{name} {size:,}" for name, size in vars(footprint).items())
    return f"at most {footprint.peak:,} bytes at once: {told}"


def _ledger(ledger: Ledger) -> str:
    policy = "" if ledger.policy == "clip" else f" after {ledger.policy}"
    told = f"{ledger.low:.6g} to {ledger.high:.6g}{policy}"
    if ledger.dtype.startswith("float"):
        return told + (f"; {ledger.not_finite:,} not finite" if ledger.not_finite else "")
    info = np.iinfo(ledger.dtype)
    told += f"; clipped {ledger.below:,} below {info.min} and {ledger.above:,} above {info.max}"
    told += f", of {ledger.total:,} values"
    return told + (f"; {ledger.not_finite:,} not finite, NaN written as 0" if ledger.not_finite else "")


def _verification(verification: Verification) -> str:
    holds = "holds" if verification.passed else f"BROKEN at {list(verification.worst)}"
    return (
        f"{verification.checked:,} of {verification.total:,} outputs recomputed from the definition: "
        f"largest error {verification.largest_error:.2e}, bound {verification.bound:.2e}: {holds}"
    )
