"""A gradient check: load or generate the input, resolve the kernel, check, and save the evidence."""

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
    """Check the gradients of the requested convolution. Raises InputError and its kin for what does not fit.

    >>> run_gradcheck(GradcheckRequest("6x6x2", "random:3x3x3x2")).passed
    True
    """
    operands = load_operands(request.input, request.reference, request.geometry, request.limits, seed=request.seed)
    operands.check_memory(request.limits, copies=4)
    if not np.isfinite(operands.x).all():
        raise InputError(
            f"{request.input} holds values that are not finite",
            "expected numbers with differences",
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
    """Refuse, before any work, a target that `dump` would refuse."""
    check_suffix(target, ".json or .npz", f"dump {target}")
    io.check_target(target, overwrite=overwrite, format="npz")


def dump(report: GradcheckReport, target: str, record: dict[str, Any], *, overwrite: bool) -> None:
    """Write a report's evidence: the record as .json, or the arrays (see `evidence`) as .npz.

    Raises InputError for another suffix, FileError where the target exists.
    """
    check_dump(target, overwrite=overwrite)
    if Path(target).suffix.lower() == ".json":
        io.save_text(target, json.dumps(record, allow_nan=False) + "\n", "json", overwrite=overwrite)
    else:
        io.save(target, evidence(report), overwrite=overwrite)


def evidence(report: GradcheckReport) -> dict[str, NDArray[Any]]:
    """Return every array of a report: x, w, dy; dx, dw and db by their names and with an ending
    `_entries` (the checked ones, flat), `_analytic`, `_numeric`, `_relative`, `_adjoint` (both sides) and, where there
    was a second path, `_matrix`; and `sweep`, a row for each step: the step, the errors of dx, dw, db and the curve.

    >>> sorted(evidence(run_gradcheck(GradcheckRequest("5x5", "box"))))[:7]
    ['db', 'db_adjoint', 'db_analytic', 'db_entries', 'db_matrix', 'db_numeric', 'db_relative']
    """
    arrays: dict[str, NDArray[Any]] = dict(report.arrays)
    for check in report.checks:
        arrays[check.name] = check.gradient
        for part in ("entries", "analytic", "numeric", "relative"):
            arrays[f"{check.name}_{part}"] = getattr(check, part)
    for test in report.adjoint:
        arrays[f"{test.name}_adjoint"] = np.array([test.left, test.right])
    for path in report.paths:
        arrays[f"{path.name}_matrix"] = path.gradient
    if report.sweep is not None:
        arrays["sweep"] = np.array(report.sweep.rows)
    return arrays
