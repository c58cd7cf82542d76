"""A gradient check: load or generate the input, resolve the kernel, check, save the arrays."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convcli import io
from convcli.errors import InputError
from convcli.grad import GradcheckReport, check_layout_gradients
from convcli.jobs.operands import load_operands
from convcli.jobs.requests import check_suffix
from convcli.limits import Limits
from convcli.progress import Progress, silent
from convcli.shapes.geometry import Geometry
from convcli.stores import shown


@dataclass(frozen=True)
class GradcheckRequest:
    """Gradients to check. input: a file, or a shape to fill with random numbers."""

    input: str
    reference: str
    geometry: Geometry = field(default_factory=Geometry)
    eps: float | None = None
    samples: int | None = None
    seed: int = 0
    sweep: bool = False
    broken: str | None = None
    limits: Limits = field(default_factory=Limits.of)


def run_gradcheck(request: GradcheckRequest, progress: Progress = silent) -> GradcheckReport:
    """Check the gradients of the requested convolution.

    Raises InputError or a subclass for an invalid input, kernel or option.

    >>> run_gradcheck(GradcheckRequest("6x6x2", "random:3x3x3x2")).passed
    True
    """
    operands = load_operands(
        request.input, request.reference, request.geometry, request.limits, seed=request.seed
    )
    operands.check_memory(request.limits, copies=4)
    if not np.isfinite(operands.x).all():
        raise InputError(
            f"{operands.data.name} holds values that are not finite",
            "expected finite numbers",
            "replace them, or give a shape to check on random numbers",
        )
    return check_layout_gradients(
        operands.x,
        operands.kernel.taps,
        operands.conv_layout,
        operands.spec,
        op=request.geometry.op,
        eps=request.eps,
        samples=request.samples,
        seed=request.seed,
        sweep=request.sweep,
        broken=request.broken,
        progress=progress,
    )


def check_dump(target: str, *, overwrite: bool) -> None:
    """Raise, before any work, what `dump` would raise for its target."""
    check_suffix(target, ".json or .npz", f"dump {target}")
    io.check_target(target, overwrite=overwrite, format="npz")


def dump(report: GradcheckReport, target: str, record: dict[str, Any], *, overwrite: bool) -> None:
    """Write a report's evidence: the record as .json, or the arrays (see `evidence`) as .npz.

    Raises FileError for another suffix, or if the target exists.
    """
    check_dump(target, overwrite=overwrite)
    if Path(target).suffix.lower() == ".json":
        io.save_text(
            target, json.dumps(record, allow_nan=False) + "\n", "json", overwrite=overwrite
        )
    else:
        io.save(target, evidence(report, record), overwrite=overwrite)


def settings(report: GradcheckReport, request: GradcheckRequest) -> dict[str, Any]:
    """Return what was checked and how; with the arrays, this is enough to repeat the check.

    `reading`: how the kernel's axes match the input's channels. `padding`: samples before and after
    each axis.

    >>> request = GradcheckRequest("5x5", "box", Geometry(padding="same"))
    >>> found = settings(run_gradcheck(request), request)
    >>> found["op"], found["reading"], found["padding"]
    ('correlate', 'each', [[1, 1], [1, 1]])
    """
    setting = report.setting
    assert setting is not None
    conv_layout = setting.conv_layout
    return {
        "op": setting.op,
        "input": shown(request.input),
        "kernel": shown(request.reference),
        "dims": conv_layout.dims,
        "batch_axes": conv_layout.batch_axes,
        "layout": conv_layout.layout,
        "reading": conv_layout.channel_mode,
        "groups": conv_layout.groups,
        "stride": list(setting.spec.stride),
        "dilation": list(setting.spec.dilation),
        "padding": [[axis.lo, axis.hi] for axis in setting.axes],
        "boundary": setting.spec.boundary,
        "cval": setting.spec.cval,
    }


def evidence(report: GradcheckReport, record: dict[str, Any]) -> dict[str, NDArray[Any]]:
    """Return every array of a report: x, w, dy and y, and several for each of dx, dw and db.

    The gradients have these names, the others an ending each: `_entries` (the checked ones, flat),
    `_analytic`, `_numeric`, `_relative`, `_step`, `_adjoint` (both sides), `_v` and `_scale` (the
    direction and the scale of that test) and, if there was a second path, `_matrix`. `sweep` has a
    row for each step: the step, the errors of dx, dw, db and the curve. The texts and numbers of
    the record follow.
    """
    arrays: dict[str, NDArray[Any]] = dict(report.arrays)
    if report.y is not None:
        arrays["y"] = report.y
    for check in report.checks:
        arrays[check.name] = check.gradient
        arrays[f"{check.name}_step"] = np.array([check.step])
        for part in ("entries", "analytic", "numeric", "relative"):
            arrays[f"{check.name}_{part}"] = getattr(check, part)
    for test in report.adjoint:
        arrays[f"{test.name}_adjoint"] = np.array([test.left, test.right])
        arrays[f"{test.name}_scale"] = np.array([test.scale])
        arrays[f"{test.name}_v"] = np.asarray(test.v)
    for path in report.paths:
        arrays[f"{path.name}_matrix"] = path.gradient
    if report.sweep is not None:
        arrays["sweep"] = np.array(report.sweep.rows)
    plain = {
        name: value for name, value in record.items() if isinstance(value, str | int | float | list)
    }
    texts = {
        name: np.atleast_1d(np.array(value)) for name, value in plain.items() if name not in arrays
    }
    return arrays | {
        name: array for name, array in texts.items() if array.size and array.dtype != object
    }
