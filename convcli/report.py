"""Records as text, tables and JSON. Rich and numpy load only where a function needs them."""

from __future__ import annotations

import json
import math
import sys
from typing import TYPE_CHECKING, Any

from convcli import __version__
from convcli.arrange import Arrangement
from convcli.network import Layer
from convcli.shapes import Axis, show

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from convcli.gradient_check import GradcheckReport
    from convcli.io import Data
    from convcli.job import Outcome, Pass, Prepared
    from convcli.tone import Ledger
    from convcli.verify import Verification

SCHEMA = 1
"""The version of every JSON object; it grows when a field changes its meaning or goes."""

AXIS_NAMES = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}


def print_json(command: str, record: dict[str, Any]) -> None:
    """One object on stdout: {"convcli": version, "schema": 1, "command": ..., and the record's fields}."""
    head = {"convcli": __version__, "schema": SCHEMA, "command": command}
    json.dump({**head, **record}, sys.stdout, allow_nan=False, default=_plain)
    sys.stdout.write("\n")


def axis_names(dims: int) -> tuple[str, ...]:
    return AXIS_NAMES.get(dims) or tuple(f"axis {axis}" for axis in range(dims))


def columns(rows: list[tuple[str, str]], indent: str = "  ") -> list[str]:
    """Label and text, the texts aligned."""
    width = max(len(label) for label, _ in rows)
    return [f"{indent}{label:<{width}}  {text}" for label, text in rows]


def layer_lines(layer: Layer) -> list[str]:
    """The output shape on a line of its own, then where every number comes from."""
    a = layer.arrangement
    counted = " and a bias each" if layer.biases > 1 else " and a bias" if layer.biases else ""
    rows = [(name, _formula(axis)) for name, axis in zip(axis_names(a.dims), layer.axes, strict=True)]
    rows += [
        ("channels", reading(a, transposed=layer.axes[0].transposed)),
        ("weights", f"{'*'.join(map(str, a.kernel))}{counted} = {layer.parameters:,}"),
        ("work", f"{layer.macs:,} multiply-adds"),
        ("dense", _dense(layer)),
    ]
    return [show(layer.output), *columns(rows)]


def layer_json(layer: Layer) -> dict[str, Any]:
    a = layer.arrangement
    return {
        "input": list(a.shape),
        "kernel": list(a.kernel),
        "output": list(layer.output),
        "dims": a.dims,
        "reading": a.reading,
        "groups": a.groups,
        "layout": a.layout,
        "transposed": layer.axes[0].transposed,
        "axes": [axis_json(axis) for axis in layer.axes],
        "parameters": layer.parameters,
        "bias_counted": layer.bias,
        "macs": layer.macs,
        "dense_parameters": layer.dense_parameters,
    }


def axis_json(axis: Axis) -> dict[str, Any]:
    return {
        "n": axis.n,
        "k": axis.k,
        "stride": axis.stride,
        "dilation": axis.dilation,
        "padding": [axis.lo, axis.hi],
        "out": axis.out,
        "unused": axis.unused,
        "formula": axis.formula,
    }


def reading(a: Arrangement, *, transposed: bool = False) -> str:
    """How the kernel's axes are read, in words."""
    window = show(a.window)
    if transposed:
        return f"{a.channels} -> {a.filters}, by the adjoint of a bank of {a.channels} kernels {window}"
    if a.reading == "each":
        return "none" if a.channel_axis is None else f"{a.channels}, each filtered alike"
    if a.reading == "depthwise":
        return f"{a.channels}, each with a kernel of its own"
    grouped = f", in {a.groups} groups" if a.groups > 1 else ""
    kernels = "one kernel" if a.filters == 1 else f"{a.filters} kernels"
    return f"{a.channels} -> {a.filters}: {kernels} {window}, summed over the channels{grouped}"


def _formula(axis: Axis) -> str:
    if not axis.unused:
        return axis.formula
    plural = "sample is" if axis.unused == 1 else "samples are"
    return f"{axis.formula}   (the stride steps over the end: {axis.unused} {plural} not used)"


def _dense(layer: Layer) -> str:
    times = layer.dense_parameters / layer.parameters
    return (
        f"a fully connected layer of the same shapes has {layer.dense_parameters:,} parameters, "
        f"{times:,.{0 if times >= 10 else 1}f} times as many"
    )


def _plain(value: Any) -> Any:
    """Numpy's scalars and arrays as Python's own."""
    return value.tolist()


def plan_lines(prepared: Prepared) -> list[str]:
    """What a job would do: sizes with their formula, the method and why, and the bytes that it takes."""
    job, data = prepared.job, prepared.data
    rows: list[tuple[str, str]] = [(job.op, f"{data.name} {show(data.array.shape)} {data.array.dtype}{_noted(data)}")]
    rows += [("kernel", f"{part.kernel.name}, {show(part.arrangement.kernel)}") for part in prepared.passes]
    rows += _geometry(prepared)
    target = f" -> {job.output} ({prepared.format})" if job.output is not None else ""
    rows.append(("output", f"{show(prepared.output_shape)} {prepared.dtype}{target}"))
    rows += [("method", f"{part.plan.method}: {part.plan.reason}") for part in _distinct(prepared)]
    rows.append(("work", f"{sum(part.plan.macs for part in prepared.passes):,} multiply-adds"))
    memory = memory_json(prepared)
    rows.append(("memory", ", ".join(f"{name} {size:,} bytes" for name, size in memory.items())))
    return columns(rows, indent="")


def outcome_lines(outcome: Outcome) -> list[str]:
    """What a job did, with the range ledger and the proofs that were asked for."""
    prepared, ledger, written = outcome.prepared, outcome.ledger, outcome.written
    job, data = prepared.job, prepared.data
    kernels = ", ".join(f"{part.kernel.name} ({show(part.arrangement.kernel)})" for part in prepared.passes)
    rows: list[tuple[str, str]] = [
        (job.op, f"{data.name} {show(data.array.shape)} {data.array.dtype}{_noted(data)} with {kernels}"),
        ("output", f"{show(outcome.values.shape)} {outcome.values.dtype}"),
    ]
    rows += _geometry(prepared)
    rows += [("method", f"{part.plan.method}: {part.plan.reason}") for part in _distinct(prepared)]
    rows.append(("range", _ledger(ledger)))
    rows += [("verify", _verification(verification)) for verification in outcome.verifications]
    if written is not None:
        rows.append(("wrote", f"{written.path} ({written.format}, {written.bytes:,} bytes)"))
    elif job.output is None:
        rows.append(("wrote", "nothing; give -o FILE to keep the result"))
    return columns(rows, indent="")


def plan_json(prepared: Prepared) -> dict[str, Any]:
    job, data = prepared.job, prepared.data
    return {
        "op": job.op,
        "input": {
            "name": data.name,
            "shape": list(data.array.shape),
            "dtype": str(data.array.dtype),
            "kind": data.kind,
            "format": data.format,
            "alpha": data.alpha,
            "notes": list(data.notes),
        },
        "kernels": [
            {"name": part.kernel.name, "shape": list(part.arrangement.kernel), "reading": part.arrangement.reading}
            for part in prepared.passes
        ],
        "axes": [axis_json(axis) for axis in prepared.passes[0].plan.axes],
        "boundary": job.boundary,
        "cval": job.cval,
        "combine": job.combine,
        "scale": job.scale,
        "bias": job.bias,
        "output": {"shape": list(prepared.output_shape), "dtype": str(prepared.dtype), "format": prepared.format},
        "plan": [
            {
                "method": part.plan.method,
                "reason": part.plan.reason,
                "accumulator": part.plan.accumulator,
                "tile": list(part.plan.tile),
                "macs": part.plan.macs,
            }
            for part in prepared.passes
        ],
        "memory": memory_json(prepared),
    }


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    written = outcome.written
    return {
        **plan_json(outcome.prepared),
        "ledger": {name: _finite(value) for name, value in vars(outcome.ledger).items()},
        "verify": [
            {name: _finite(value) for name, value in vars(verification).items()}
            for verification in outcome.verifications
        ]
        or None,
        "written": None
        if written is None
        else {"path": str(written.path), "format": written.format, "bytes": written.bytes},
    }


def memory_json(prepared: Prepared) -> dict[str, int]:
    """Bytes: the input, the float results, the working memory of the largest pass, and the output."""
    return {
        "input": prepared.data.array.nbytes,
        "results": sum(part.plan.output_bytes for part in prepared.passes),
        "working": max(part.plan.memory for part in prepared.passes),
        "output": math.prod(prepared.output_shape) * prepared.dtype.itemsize,
    }


def print_gradcheck(report: GradcheckReport) -> None:
    """The table, and the verdict with its thresholds in words."""
    console = make_console()
    console.print(
        f"loss = sum(dy * y), y {show(report.output_shape)}, {report.dtype}, step {report.eps:g}, seed {report.seed}",
        highlight=False,
    )
    console.print(gradcheck_table(report))
    verdict = "passed" if report.passed else "FAILED"
    console.print(
        f"{verdict}: relative error |a - n| / max(|a|, |n|); good up to 1e-7, suspect above 1e-4, wrong above 1e-2. "
        "The map is linear, so the difference is exact but for round-off.",
        highlight=False,
    )


def make_console() -> Console:
    """A console for stdout; Rich sees to terminals, NO_COLOR and the width."""
    from rich.console import Console

    return Console(soft_wrap=True)


def gradcheck_table(report: GradcheckReport) -> Table:
    """One row for each gradient: how many entries were checked, the largest errors and the entry they are at."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    table.add_column("gradient")
    table.add_column("shape")
    for name in ("checked", "analytic", "numeric", "abs error", "rel error"):
        table.add_column(name, justify="right")
    table.add_column("at")
    table.add_column("verdict")
    for check in report.checks:
        worst = int(check.relative.argmax())
        table.add_row(
            check.name,
            show(check.shape),
            f"{len(check.entries):,} of {math.prod(check.shape):,}",
            f"{check.analytic[worst]:.10g}",
            f"{check.numeric[worst]:.10g}",
            f"{check.largest_absolute:.1e}",
            f"{check.largest_relative:.1e}",
            "[" + ",".join(map(str, check.worst)) + "]",
            Text(check.verdict, style="green" if check.passed else "bold red"),
        )
    return table


def gradcheck_json(report: GradcheckReport, *, arrays: bool = False) -> dict[str, Any]:
    """The report as a record; with `arrays`, every checked entry and the whole gradients too."""
    record: dict[str, Any] = {
        "passed": report.passed,
        "eps": report.eps,
        "seed": report.seed,
        "dtype": report.dtype,
        "output": list(report.output_shape),
        "checks": [],
    }
    for check in report.checks:
        row: dict[str, Any] = {
            "name": check.name,
            "shape": list(check.shape),
            "checked": len(check.entries),
            "total": math.prod(check.shape),
            "largest_absolute": _finite(check.largest_absolute),
            "largest_relative": _finite(check.largest_relative),
            "worst": list(check.worst),
            "verdict": check.verdict,
            "passed": check.passed,
        }
        if arrays:
            row |= {
                "entries": check.entries.tolist(),
                "analytic": check.analytic.tolist(),
                "numeric": check.numeric.tolist(),
                "gradient": check.gradient.tolist(),
            }
        record["checks"].append(row)
    return record


def _geometry(prepared: Prepared) -> list[tuple[str, str]]:
    first = prepared.passes[0]
    names = axis_names(first.arrangement.dims)
    rows = [(name, _formula(axis)) for name, axis in zip(names, first.plan.axes, strict=True)]
    if first.arrangement.channel_axis is not None or first.arrangement.reading != "each":
        rows.append(("channels", reading(first.arrangement) + (", and alpha" if prepared.data.alpha else "")))
    return rows


def _distinct(prepared: Prepared) -> list[Pass]:
    """One pass for each method and reason: several kernels alike need saying once."""
    return list({(part.plan.method, part.plan.reason): part for part in prepared.passes}.values())


def _ledger(ledger: Ledger) -> str:
    policy = "" if ledger.policy == "clip" else f" after {ledger.policy}"
    told = f"{ledger.low:.6g} to {ledger.high:.6g}{policy}"
    if not ledger.dtype.startswith("float"):
        told += f"; clipped {ledger.below:,} below and {ledger.above:,} above, of {ledger.total:,} values"
    lost = " (written as the nearest end, NaN as 0)" if not ledger.dtype.startswith("float") else ""
    return told + (f"; {ledger.not_finite:,} not finite{lost}" if ledger.not_finite else "")


def _verification(verification: Verification) -> str:
    holds = "holds" if verification.passed else f"BROKEN at {list(verification.worst)}"
    return (
        f"{verification.checked:,} of {verification.total:,} outputs recomputed from the definition: "
        f"largest error {verification.largest_error:.2e}, bound {verification.bound:.2e}: {holds}"
    )


def _noted(data: Data) -> str:
    return f" ({'; '.join(data.notes)})" if data.notes else ""


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: they become null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
