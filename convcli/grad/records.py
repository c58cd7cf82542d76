"""The results of a gradient check, with the thresholds of their verdicts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convcli.options import Op
from convcli.shapes.axis import Axis
from convcli.shapes.layout import ConvLayout
from convcli.shapes.spec import ConvSpec

GOOD, SUSPECT, WRONG = 1e-7, 1e-4, 1e-2
ADJOINT = PATHS = 1e-10
THRESHOLDS = {"good": GOOD, "suspect": SUSPECT, "wrong": WRONG, "adjoint": ADJOINT, "paths": PATHS}
FLOOR = 1e-12
"""Least denominator of a relative error, as a share of the tensor's largest gradient."""
TINY = float(np.finfo(float).tiny)
"""Least denominator: below it float64 is subnormal and relative errors are not meaningful."""
QUANTILES = (0.5, 0.9, 0.99)
TENSORS = ("dx", "dw", "db")

Floats = NDArray[np.float64]
Span = tuple[int, int]


@dataclass(frozen=True)
class Entry:
    """One checked entry: its index, values and errors, and the outputs that depend on it.

    window: the samples [first, stop) of the input, along each spatial axis, that share an output
    with the entry; those below 0 or past the end are padding. outputs: the outputs [first, stop)
    that depend on it. Both are None if no output does.
    """

    index: tuple[int, ...]
    analytic: float
    numeric: float
    absolute: float
    relative: float
    window: tuple[Span, ...] | None
    outputs: tuple[Span, ...] | None


@dataclass(frozen=True, eq=False)
class TensorCheck:
    """The check of one gradient: flat indices of entries, their analytic and numeric values."""

    name: str
    shape: tuple[int, ...]
    entries: NDArray[np.intp]
    analytic: Floats
    numeric: Floats
    gradient: Floats
    """The whole analytic gradient, in the tensor's shape."""
    step: float = 1.0
    worst: tuple[Entry, ...] = ()
    """The entries with the largest relative errors, the worst first."""
    round_off: float = 0.0
    """The largest error that rounding can cause in a numeric value, at this step."""

    @property
    def absolute(self) -> Floats:
        with np.errstate(invalid="ignore"):
            return np.abs(self.analytic - self.numeric)

    @property
    def relative(self) -> Floats:
        scale = np.maximum(np.abs(self.analytic), np.abs(self.numeric))
        floor = max(FLOOR * float(scale.max(initial=0.0)), TINY)
        with np.errstate(invalid="ignore"):
            return self.absolute / np.maximum(scale, floor)

    @property
    def largest_absolute(self) -> float:
        return float(self.absolute.max())

    @property
    def largest_relative(self) -> float:
        return float(self.relative.max())

    @property
    def quantiles(self) -> tuple[float, ...]:
        """Relative errors that the shares QUANTILES of the entries do not exceed."""
        return tuple(
            float(error) for error in np.quantile(self.relative, QUANTILES, method="higher")
        )

    @property
    def cosine(self) -> float:
        """Cosine of the angle between the analytic and the numeric entries; 1 if both are zero."""
        with np.errstate(invalid="ignore", over="ignore"):
            lengths = float(np.linalg.norm(self.analytic) * np.linalg.norm(self.numeric))
            product = float(np.vdot(self.analytic, self.numeric))
        return max(min(product / lengths, 1.0), -1.0) if lengths else float(not self.absolute.any())

    @property
    def verdict(self) -> str:
        """Verdict by the largest relative error: good, fair, suspect, or wrong if not finite.

        `drowned` if the check failed and round-off explains every error.
        """
        if self.drowned:
            return "drowned"
        error = self.largest_relative
        largest = {"good": GOOD, "fair": SUSPECT, "suspect": WRONG}
        return next((verdict for verdict, most in largest.items() if error <= most), "wrong")

    @property
    def passed(self) -> bool:
        return self.largest_relative <= SUSPECT

    @property
    def drowned(self) -> bool:
        """Whether the step is so small that round-off explains every entry that failed."""
        errors = self.absolute[~(self.relative <= SUSPECT)]
        return errors.size > 0 and bool((np.isfinite(errors) & (errors <= self.round_off)).all())


@dataclass(frozen=True)
class AdjointTest:
    """<A v, dy>, <v, A' dy> and their scale |A v| |dy|, where A maps one tensor to the output."""

    name: str
    left: float
    right: float
    scale: float
    v: Floats | None = None
    """The direction v."""

    @property
    def gap(self) -> float:
        """The difference relative to the scale."""
        return over(abs(self.left - self.right), self.scale)

    @property
    def passed(self) -> bool:
        return self.gap <= ADJOINT


@dataclass(frozen=True, eq=False)
class PathTest:
    """A gradient by an explicit matrix, compared with the engine's."""

    name: str
    matrix: tuple[int, int]
    """Shape of the matrix."""
    gradient: Floats
    gap: float
    """The largest difference, relative to the largest gradient."""

    @property
    def passed(self) -> bool:
        return self.gap <= PATHS


class SweepRow(NamedTuple):
    """|analytic - numeric| / |analytic| of some entries at one step.

    curved: that of dx with the loss sum(y^3) / 3.
    """

    eps: float
    dx: float
    dw: float
    db: float
    curved: float


@dataclass(frozen=True)
class Sweep:
    """The errors at many steps.

    slope: of dx's error on logarithmic axes up to step 1, or None if there is no error.
    """

    rows: tuple[SweepRow, ...]
    slope: float | None


@dataclass(frozen=True, eq=False)
class Setting:
    """The convolution that is checked: its operation, layout and options."""

    op: Op
    conv_layout: ConvLayout
    spec: ConvSpec

    @property
    def axes(self) -> tuple[Axis, ...]:
        return self.spec.axes(self.conv_layout.spatial, self.conv_layout.window)


@dataclass(frozen=True, eq=False)
class GradcheckReport:
    """The result of a gradient check: its tests, settings and verdict."""

    checks: tuple[TensorCheck, ...]
    seed: int
    output_shape: tuple[int, ...]
    setting: Setting | None = None
    dtype: str = "float64"
    adjoint: tuple[AdjointTest, ...] = ()
    paths: tuple[PathTest, ...] = ()
    """Empty if a matrix would have more than MATRIX values."""
    sweep: Sweep | None = None
    broken: str | None = None
    """The gradient that was corrupted on purpose."""
    arrays: tuple[tuple[str, Floats], ...] = ()
    """x, w and dy, by name."""
    y: Floats | None = None
    """The output."""

    @property
    def eps(self) -> float:
        """The largest step."""
        return max(check.step for check in self.checks)

    @property
    def passed(self) -> bool:
        return not self.failures

    @property
    def failures(self) -> tuple[str, ...]:
        """A sentence for each gradient that failed a test, and one for steps that are too small."""
        return (*self.mismatches, *self._drowned_steps())

    @property
    def mismatches(self) -> tuple[str, ...]:
        """A sentence for each gradient that failed, with the names of the tests."""
        tests: dict[str, tuple[Any, ...]] = {
            "the central differences": tuple(row for row in self.checks if not row.drowned),
            "the adjoint test": self.adjoint,
            "the transposed matrix": self.paths,
        }
        failed = {
            name: [
                what
                for what, rows in tests.items()
                if any(row.name == name and not row.passed for row in rows)
            ]
            for name in TENSORS
        }
        return tuple(
            f"{name} disagrees with {' and '.join(what)}" for name, what in failed.items() if what
        )

    def _drowned_steps(self) -> Iterator[str]:
        steps: dict[float, list[str]] = {}
        for check in self.checks:
            if check.drowned:
                steps.setdefault(check.step, []).append(check.name)
        for step, names in steps.items():
            listed = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
            yield f"the step {step:g} drowns in round-off and cannot check {listed}"


def length(values: Floats) -> float:
    """Return the Euclidean norm, without overflow or underflow of the squares."""
    largest = float(np.abs(values).max(initial=0.0))
    return largest * float(np.linalg.norm(values / largest)) if 0 < largest < math.inf else largest


def over(difference: float, scale: float) -> float:
    """Return a difference relative to a scale; zero relative to zero is zero."""
    return difference / scale if scale else difference and math.inf
