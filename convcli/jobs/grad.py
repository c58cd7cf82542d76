"""A loss pulled back through one convolution, as a job: load -> forward -> loss -> gradients -> save.

The loss is a number made of the output y. Its gradient in y, dy, is all that the backward pass needs of it::

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
from convcli.engine.layer_form import forward
from convcli.engine.planning.facts import result_dtype
from convcli.errors import FileError, InputError, did_you_mean
from convcli.grad.layouts import check_upstream, layout_gradients
from convcli.io import Written
from convcli.jobs.operands import Operands, load_operands
from convcli.limits import Limits
from convcli.shapes.geometry import Geometry


class Loss(NamedTuple):
    """How a loss and its gradient in y come of y and, where it takes a file, of that file's array."""

    formula: str
    value: Callable[[NDArray[Any], NDArray[Any]], float]
    slope: Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]
    takes: str = ""
    """What its file holds, in words; nothing where it takes none."""


LOSSES = {
    "sum": Loss("sum(y)", lambda y, _: float(y.sum(dtype=np.float64)), lambda y, _: np.ones_like(y)),
    "mean": Loss("mean(y)", lambda y, _: float(y.mean(dtype=np.float64)), lambda y, _: np.full_like(y, 1 / y.size)),
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
    """What to differentiate, in the command line's words. input: a file, or a shape to fill with random numbers.

    loss: `sum`, `mean` or `mse:FILE`, by default `sum`; or upstream: a file with dy. Not both.
    """

    input: str
    reference: str
    geometry: Geometry = field(default_factory=Geometry)
    output: str | None = None
    upstream: str | None = None
    loss: str | None = None
    seed: int = 0
    overwrite: bool = False
    limits: Limits = field(default_factory=Limits.of)


@dataclass(frozen=True, eq=False)
class Slope:
    """One gradient: its array, shaped like what it is the gradient of, and its size by two norms."""

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


@dataclass(frozen=True, eq=False)
class GradResult:
    """What was found: the loss and dy, dx, dw and db, all shaped as the user's own arrays."""

    pullback: GradRequest
    laid: Operands
    loss: str
    file: str | None
    value: float
    dy: Slope
    slopes: tuple[Slope, ...]
    written: Written | None


def run_grad(pullback: GradRequest) -> GradResult:
    """Take the gradients and save them as a .npz of dx, dw and db.

    Raises ShapeError where an upstream gradient or a target is not shaped like the output, naming both, FileError
    for an output that is in the way or is no .npz, InputError and its kin for what else does not fit.

    >>> pulled = run_grad(GradRequest("6x6x2", "random:3x3x3x2", loss="mean"))
    >>> [(slope.name, slope.values.shape) for slope in pulled.slopes]
    [('dx', (6, 6, 2)), ('dw', (3, 3, 3, 2)), ('db', (3,))]
    """
    name, file = _loss(pullback)
    if pullback.output is not None:
        _check_output(pullback.output, overwrite=pullback.overwrite)
    laid = load_operands(pullback.input, pullback.reference, pullback.geometry, pullback.limits, seed=pullback.seed)
    laid.check_memory(pullback.limits, copies=3, floats=result_dtype(laid.x.dtype.name))
    loss, x, w = LOSSES[name], laid.x, laid.kernel.taps
    given = np.zeros(()) if file is None else io.load(file, limits=pullback.limits).array
    if file is not None:
        check_upstream(given, laid.arrangement, laid.spec, loss.takes)
    with np.errstate(invalid="ignore", over="ignore"):
        y = forward(x, w, laid.arrangement, laid.spec, op=pullback.geometry.op)
        value, dy = loss.value(y, given), loss.slope(y, given)
        found = layout_gradients(x, w, dy, laid.arrangement, laid.spec, op=pullback.geometry.op)
    written = None
    if pullback.output is not None:
        written = io.save(pullback.output, found._asdict(), format="npz", overwrite=pullback.overwrite)
    slopes = tuple(Slope(name, values) for name, values in found._asdict().items())
    return GradResult(pullback, laid, loss.formula, file, value, Slope("dy", dy), slopes, written)


def _loss(pullback: GradRequest) -> tuple[str, str | None]:
    """The loss's name and its file."""
    if pullback.upstream is not None:
        if pullback.loss is not None:
            raise InputError(
                f"the loss {pullback.loss} beside an upstream gradient",
                "an upstream gradient is a loss's already",
                "leave --loss or --upstream out",
            )
        return "upstream", pullback.upstream
    name, _, file = (pullback.loss or "sum").partition(":")
    known = [name if not loss.takes else f"{name}:FILE" for name, loss in LOSSES.items() if name != "upstream"]
    if name not in LOSSES or name == "upstream":
        raise InputError(
            f"loss {name!r}", f"expected one of {', '.join(known)}", did_you_mean(name, ("sum", "mean", "mse"))
        )
    if bool(file) != bool(LOSSES[name].takes):
        wanted = f"{name}:FILE, with a {LOSSES[name].takes} shaped like the output" if LOSSES[name].takes else name
        raise InputError(f"loss {pullback.loss}", f"expected {wanted}")
    return name, file or None


def _check_output(output: str, *, overwrite: bool) -> None:
    if output != "-" and Path(output).suffix.lower() != ".npz":
        raise FileError(f"{output} holds three arrays", "expected a name that ends in .npz", "rename it")
    io.check_target(output, overwrite=overwrite, format="npz")
