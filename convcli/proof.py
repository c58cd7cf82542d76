"""A gradient check as a job: load or make the input, lay the kernel on it, check, and keep the evidence."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convcli import io
from convcli.arrange import Arrangement, arrange
from convcli.engine.arranged import as_layer
from convcli.errors import InputError
from convcli.gradient_check import GradcheckReport, TensorCheck, gradcheck
from convcli.job import resolve_kernel
from convcli.shapes import Padding, PerAxis, parse_shape
from convcli.words import Channels, Layout


@dataclass(frozen=True)
class Trial:
    """What to check, in the command line's words. input: a file, or a shape to fill with random numbers."""

    input: str
    reference: str
    eps: float | None = None
    samples: int | None = None
    seed: int = 0
    stride: PerAxis = 1
    dilation: PerAxis = 1
    padding: Padding = "valid"
    boundary: str = "constant"
    cval: float = 0.0
    dims: int | None = None
    channels: Channels | None = None
    groups: int = 1
    layout: Layout = "channels_last"


def prove(trial: Trial) -> GradcheckReport:
    """Check the gradients of a trial's convolution. Raises InputError and its kin for what does not fit.

    >>> prove(Trial("6x6x2", "random:3x3x3x2")).passed
    True
    """
    x, dims = _input(trial)
    if not np.isfinite(x).all():
        raise InputError(f"{trial.input} holds values that are not finite", "expected numbers with differences")
    resolved = resolve_kernel(trial.reference, x.shape, dims, trial.input, trial.layout)
    arrangement = arrange(
        x.shape, resolved.taps.shape, dims=dims, channels=trial.channels, groups=trial.groups, layout=trial.layout
    )
    form = as_layer(x, resolved.taps, arrangement)
    report = gradcheck(
        form.x,
        form.w,
        eps=trial.eps,
        samples=trial.samples,
        seed=trial.seed,
        stride=trial.stride,
        dilation=trial.dilation,
        padding=trial.padding,
        boundary=trial.boundary,
        cval=trial.cval,
        groups=form.groups,
    )
    return replace(report, checks=tuple(_in_own_shape(check, arrangement) for check in report.checks))


def check_dump(target: str, *, overwrite: bool) -> None:
    """Refuse, before any work, a target that `dump` would refuse."""
    if Path(target).suffix.lower() not in (".json", ".npz"):
        raise InputError(f"dump {target}", "expected a name that ends in .json or .npz", "rename it")
    io.check_target(target, overwrite=overwrite, format="npz")


def dump(report: GradcheckReport, target: str, record: dict[str, Any], *, overwrite: bool) -> None:
    """Write a report's evidence: everything as .json, or the arrays (dx, dx_entries, dx_numeric, ...) as .npz.

    Raises InputError for another suffix, FileError where the target exists.
    """
    check_dump(target, overwrite=overwrite)
    if Path(target).suffix.lower() == ".json":
        io.save_text(target, json.dumps(record) + "\n", "json", overwrite=overwrite)
    else:
        arrays: dict[str, NDArray[Any]] = {}
        for check in report.checks:
            arrays[check.name] = check.gradient
            arrays[f"{check.name}_entries"] = check.entries
            arrays[f"{check.name}_analytic"] = check.analytic
            arrays[f"{check.name}_numeric"] = check.numeric
        io.save(target, arrays, overwrite=overwrite)


def _input(trial: Trial) -> tuple[NDArray[Any], int | None]:
    try:
        shape = parse_shape(trial.input)
    except InputError:
        if re.fullmatch(r"[\dxX]+", trial.input) and not Path(trial.input).exists():
            raise
        data = io.load(trial.input)
        return data.array, 2 if data.kind == "image" and trial.dims is None else trial.dims
    return np.random.default_rng(trial.seed).standard_normal(shape), trial.dims


def _in_own_shape(check: TensorCheck, arrangement: Arrangement) -> TensorCheck:
    """A tensor's entries under the shape that the user gave it, where the layer form only added axes of 1."""
    given = {"dx": arrangement.shape, "dw": arrangement.kernel}.get(check.name, check.shape)
    bare = tuple(n for n in given if n > 1)
    if bare != tuple(n for n in check.shape if n > 1):
        return check
    return replace(check, shape=given, gradient=check.gradient.reshape(given))
