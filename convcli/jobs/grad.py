"""The gradients of a loss through one convolution.

The steps are load -> resolve -> plan -> forward -> backward -> save.

The loss is a number made of the output y. Its gradient in y, dy, is all that the backward pass
needs of it::

    sum          L = sum(y)              dy = 1
    mean         L = sum(y) / n          dy = 1 / n
    mse:FILE     L = sum((y - t)^2) / n  dy = 2 (y - t) / n      t: FILE's array, shaped like y
    upstream     L = sum(dy * y)         dy: a file's array, shaped like y

where n is the number of outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convcli import io
from convcli.engine.calls import run_problem
from convcli.engine.layer_form import flip_for, from_layer, to_problem
from convcli.engine.planning.facts import result_dtype
from convcli.errors import FileError, InputError, did_you_mean
from convcli.grad.layouts import backpropagate, check_upstream
from convcli.io import Written
from convcli.jobs.operands import Operands, load_operands
from convcli.jobs.requests import check_suffix
from convcli.limits import Limits
from convcli.progress import Progress, silent, steps
from convcli.shapes.geometry import Geometry
from convcli.stores import shown


class Loss(NamedTuple):
    """A loss: its value and its gradient in y, from y and the array of its file."""

    formula: str
    value: Callable[[NDArray[Any], NDArray[Any]], float]
    slope: Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]
    takes: str = ""
    """What its file contains, in words; empty if it takes none."""


LOSSES = {
    "sum": Loss(
        "sum(y)",
        lambda y, _: float(y.sum(dtype=np.float64)),
        lambda y, _: np.ones_like(y),
    ),
    "mean": Loss(
        "mean(y)",
        lambda y, _: float(y.mean(dtype=np.float64)),
        lambda y, _: np.full_like(y, 1 / y.size),
    ),
    "mse": Loss(
        "mean((y - target)^2)",
        lambda y, target: float(np.square(y - target, dtype=np.float64).mean()),
        lambda y, target: (2 / y.size * (y - target)).astype(y.dtype),
        takes="target",
    ),
    "upstream": Loss(
        "sum(dy * y)",
        lambda y, dy: float(np.vdot(dy.astype(np.float64), y.astype(np.float64))),
        lambda y, dy: dy,
        takes="upstream gradient",
    ),
}


@dataclass(frozen=True)
class GradRequest:
    """A loss to differentiate. input: a file, or a shape to fill with random numbers from `seed`.

    loss: `sum`, `mean` or `mse:FILE`, by default `sum`; or upstream: a file with dy. Not both.
    chosen: `dx`, `dw` or `db`, to write this gradient only; then the output may be a .npy.
    """

    input: str
    reference: str
    geometry: Geometry = field(default_factory=Geometry)
    output: str | None = None
    chosen: str | None = None
    upstream: str | None = None
    loss: str | None = None
    seed: int = 0
    overwrite: bool = False
    limits: Limits = field(default_factory=Limits.of)


@dataclass(frozen=True, eq=False)
class Slope:
    """One gradient: its array, and its size by two norms."""

    name: str
    values: NDArray[Any]

    @property
    def l2(self) -> float:
        """The root of the sum of squares, summed in float64."""
        flat = self.values.ravel().astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            return float(np.sqrt(np.dot(flat, flat)))

    @property
    def largest(self) -> float:
        return float(np.abs(self.values).max())

    @property
    def mean(self) -> float:
        with np.errstate(invalid="ignore", over="ignore"):
            return float(self.values.mean(dtype=np.float64))

    @property
    def zeros(self) -> int:
        """The number of values that are 0."""
        return int(self.values.size - np.count_nonzero(self.values))


@dataclass(frozen=True, eq=False)
class GradResult:
    """The loss and dy, dx, dw and db, each in the shape of the user's own array."""

    request: GradRequest
    operands: Operands
    loss: str
    file: str | None
    value: float
    dy: Slope
    slopes: tuple[Slope, ...]
    written: Written | None

    @property
    def chosen(self) -> tuple[Slope, ...]:
        """The gradients to write and to show: the requested one, or all."""
        return tuple(one for one in self.slopes if self.request.chosen in (None, one.name))


def run_grad(request: GradRequest, progress: Progress = silent) -> GradResult:
    """Compute the gradients of a loss and save them: all in a .npz, or one in a .npy.

    Raises ShapeError if an upstream gradient or a target is not shaped like the output, naming
    both; FileError for an output that exists or has another suffix; InputError or a subclass for
    another invalid input.

    >>> result = run_grad(GradRequest("6x6x2", "random:3x3x3x2", loss="mean"))
    >>> [(slope.name, slope.values.shape) for slope in result.slopes]
    [('dx', (6, 6, 2)), ('dw', (3, 3, 3, 2)), ('db', (3,))]
    """
    name, file = _parse_loss(request)
    loss = LOSSES[name]
    format = _output_format(request)

    # load, resolve
    geometry = request.geometry
    operands = load_operands(
        request.input, request.reference, geometry, request.limits, seed=request.seed
    )
    conv_layout, x = operands.conv_layout, operands.x
    operands.check_memory(request.limits, copies=3, floats=result_dtype(x.dtype.name))
    given = _load_loss(file, loss, operands, request.limits)

    # plan: one problem serves both directions
    taps = flip_for(operands.kernel.taps, conv_layout, geometry.op)
    problem = to_problem(x, taps, conv_layout, operands.spec)
    forward, backward = steps(progress, 2)

    with np.errstate(invalid="ignore", over="ignore"):
        # forward
        y = from_layer(run_problem(problem, None, "auto", None, forward), conv_layout)
        value = loss.value(y, given)

        # backward
        dy = loss.slope(y, given)
        gradients = backpropagate(
            problem, dy, conv_layout, op=geometry.op, progress=backward
        )._asdict()

    progress(1.0)

    # save
    written = None
    if request.output is not None:
        chosen = request.chosen
        values = gradients if chosen is None else {chosen: gradients[chosen]}
        written = io.save(
            request.output,
            values[chosen] if chosen is not None and format == "npy" else values,
            format=format,
            overwrite=request.overwrite,
        )
    slopes = tuple(Slope(name, values) for name, values in gradients.items())
    return GradResult(
        request,
        operands,
        loss.formula,
        file and shown(file),
        value,
        Slope("dy", dy),
        slopes,
        written,
    )


def _output_format(request: GradRequest) -> str:
    """Return the format of the output, and check its path before any work. Raises FileError."""
    output, one = request.output, request.chosen is not None
    format = "npy" if one else "npz"
    if output is None:
        return format
    if output != "-":
        format = Path(output).suffix.lower().removeprefix(".")
        if format == "npy" and not one:
            raise FileError(
                f"{output} holds one array, and there are three gradients",
                "expected a name that ends in .npz",
                "rename it, or choose one with --gradient dx, dw or db",
            )
        what = "one array, or several" if one else "three arrays"
        check_suffix(output, ".npy or .npz" if one else ".npz", f"{output} holds {what}")
    io.check_target(output, overwrite=request.overwrite, format=format)
    return format


def _parse_loss(request: GradRequest) -> tuple[str, str | None]:
    """Return the loss's name and its file."""
    if request.upstream is not None:
        if request.loss is not None:
            raise InputError(
                f"both the loss {request.loss} and an upstream gradient",
                "expected one of them",
                "leave --loss or --upstream out",
            )
        return "upstream", request.upstream
    name, _, file = (request.loss or "sum").partition(":")
    if name not in LOSSES or name == "upstream":
        known = [
            f"{name}:FILE" if loss.takes else name
            for name, loss in LOSSES.items()
            if name != "upstream"
        ]
        hint = did_you_mean(name, ("sum", "mean", "mse"))
        raise InputError(f"loss {name!r}", f"expected one of {', '.join(known)}", hint)
    takes = LOSSES[name].takes
    if bool(file) != bool(takes):
        wanted = f"{name}:FILE, with a {takes} shaped like the output" if takes else name
        raise InputError(f"loss {request.loss}", f"expected {wanted}")
    return name, file or None


def _load_loss(file: str | None, loss: Loss, operands: Operands, limits: Limits) -> NDArray[Any]:
    """Load the array of a loss's file and check its shape; return an empty one without a file."""
    if file is None:
        return np.zeros(())
    given = io.load(file, limits=limits).array
    check_upstream(given, operands.conv_layout, operands.spec, f"{loss.takes} {file}")
    return given
