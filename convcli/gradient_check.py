"""Numeric gradients against analytic ones, entry by entry, in float64.

The loss is sum(dy * y). A convolution is linear in x, in w and in its bias, so the central difference
(L(v + eps) - L(v - eps)) / (2 eps) has no truncation error at any step, and a large step is best: what is left is
round-off, which shrinks as the step grows. The default step is 1.

Relative error is |a - n| / max(|a|, |n|), and 0/0 passes. Differences below a floor of 1e-12 of the tensor's
largest gradient are round-off of the sum, not of the entry, and are measured against that floor.
Thresholds (Karpathy et al., CS231n notes, "Gradient checks", for float64): at most 1e-7 is good, above 1e-4 is
suspect, above 1e-2 is wrong; a check passes up to 1e-4.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convcli.backward import gradients
from convcli.engine import conv_layer
from convcli.engine.operations import real_array
from convcli.errors import InputError
from convcli.shapes import Padding, PerAxis, check_number, check_whole

GOOD, SUSPECT, WRONG = 1e-7, 1e-4, 1e-2
MOST = 2000
"""Entries checked in each tensor unless `samples` says otherwise; beyond it a random choice is checked."""
FLOOR = 1e-12


@dataclass(frozen=True, eq=False)
class TensorCheck:
    """One gradient, checked: which entries (flat indices), their analytic and numeric values."""

    name: str
    shape: tuple[int, ...]
    entries: NDArray[np.intp]
    analytic: NDArray[np.float64]
    numeric: NDArray[np.float64]
    gradient: NDArray[np.float64]
    """The whole analytic gradient, in the tensor's shape."""

    @property
    def absolute(self) -> NDArray[np.float64]:
        with np.errstate(invalid="ignore"):
            return np.abs(self.analytic - self.numeric)

    @property
    def relative(self) -> NDArray[np.float64]:
        scale = np.maximum(np.abs(self.analytic), np.abs(self.numeric))
        floor = FLOOR * max(float(scale.max(initial=0.0)), np.finfo(float).tiny)
        with np.errstate(invalid="ignore"):
            return self.absolute / np.maximum(scale, floor)

    @property
    def largest_absolute(self) -> float:
        return float(self.absolute.max())

    @property
    def largest_relative(self) -> float:
        return float(self.relative.max())

    @property
    def worst(self) -> tuple[int, ...]:
        """The index of the entry with the largest relative error."""
        return tuple(int(i) for i in np.unravel_index(self.entries[np.argmax(self.relative)], self.shape))

    @property
    def verdict(self) -> str:
        """good, fair, suspect or wrong, by the thresholds of this module; anything not finite is wrong."""
        error = self.largest_relative
        if not error <= WRONG:
            return "wrong"
        return "good" if error <= GOOD else "fair" if error <= SUSPECT else "suspect"

    @property
    def passed(self) -> bool:
        return self.largest_relative <= SUSPECT


@dataclass(frozen=True)
class GradcheckReport:
    """What was checked, how, and whether it held."""

    checks: tuple[TensorCheck, ...]
    eps: float
    seed: int
    output_shape: tuple[int, ...]
    dtype: str = "float64"

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)


def gradcheck(
    x: ArrayLike,
    w: ArrayLike,
    *,
    dy: ArrayLike | None = None,
    eps: float | None = None,
    samples: int | None = None,
    seed: int = 0,
    stride: PerAxis = 1,
    dilation: PerAxis = 1,
    padding: Padding = "valid",
    boundary: str = "constant",
    cval: float = 0.0,
    groups: int = 1,
    layout: str = "channels_last",
) -> GradcheckReport:
    """Check a layer's analytic dx, dw and db against central differences.

    x (N, *S, C), w (O, *K, C/groups); the options are conv_layer's. dy: the upstream gradient, (N, *P, O), by
    default standard normal from `seed`. eps: the step, by default 1. samples: how many entries of each tensor to
    check, by default all up to 2,000 and a random 2,000 of more.

    >>> rng = np.random.default_rng(0)
    >>> report = gradcheck(rng.standard_normal((1, 6, 6, 2)), rng.standard_normal((3, 3, 3, 2)))
    >>> report.passed, [(check.name, check.verdict) for check in report.checks]
    (True, [('dx', 'good'), ('dw', 'good'), ('db', 'good')])
    """
    step = 1.0 if eps is None else check_number(eps, "eps")
    if not 0 < step < np.inf:
        raise InputError(f"eps {eps}", "expected a positive step", "leave it out: 1 is best for a linear map")
    count = MOST if samples is None else check_whole(samples, "samples", least=1)
    options: dict[str, Any] = {
        "stride": stride,
        "dilation": dilation,
        "padding": padding,
        "boundary": boundary,
        "cval": cval,
        "groups": groups,
        "layout": layout,
    }
    x, w = real_array(x, "input").astype(np.float64), real_array(w, "kernel").astype(np.float64)
    rng = np.random.default_rng(seed)
    y = conv_layer(x, w, **options)
    upstream = rng.standard_normal(y.shape) if dy is None else real_array(dy, "upstream gradient").astype(np.float64)
    analytic = gradients(x, w, upstream, **options)
    bias = np.zeros(analytic.db.shape)

    def difference(tensor: NDArray[np.float64], at: int) -> float:
        """The central difference of the loss in one entry; outputs are subtracted first, which rounds least."""
        kept = tensor.flat[at]
        tensor.flat[at] = kept + step
        above = conv_layer(x, w, bias, **options)
        tensor.flat[at] = kept - step
        below = conv_layer(x, w, bias, **options)
        tensor.flat[at] = kept
        with np.errstate(invalid="ignore"):
            return float(np.vdot(above - below, upstream)) / (2 * step)

    tensors = (("dx", x, analytic.dx), ("dw", w, analytic.dw), ("db", bias, analytic.db))
    checks = tuple(_check(name, tensor, gradient, difference, rng, count) for name, tensor, gradient in tensors)
    return GradcheckReport(checks, step, seed, y.shape)


def _check(
    name: str,
    tensor: NDArray[np.float64],
    gradient: NDArray[Any],
    difference: Callable[[NDArray[np.float64], int], float],
    rng: np.random.Generator,
    most: int,
) -> TensorCheck:
    count = min(most, tensor.size)
    entries = np.sort(rng.choice(tensor.size, count, replace=False)) if count < tensor.size else np.arange(tensor.size)
    numeric = np.array([difference(tensor, int(at)) for at in entries])
    return TensorCheck(name, tensor.shape, entries, gradient.ravel()[entries], numeric, gradient)
