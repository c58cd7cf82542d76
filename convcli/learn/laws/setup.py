"""The data that the laws are measured on: a cropped input and a kernel, in float64."""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from convcli.engine.layer_form import to_layer
from convcli.engine.operations import conv_layer
from convcli.engine.planning.facts import TOLERANCE
from convcli.errors import InputError, LimitError, ShapeError
from convcli.grad.toeplitz import toeplitz
from convcli.jobs.operands import Operands, load_operands
from convcli.limits import Limits
from convcli.shapes.axis import Axis
from convcli.shapes.geometry import Geometry
from convcli.shapes.parse import show
from convcli.shapes.spec import ConvSpec

Array = NDArray[np.float64]
Expected = Literal["equal", "differs"]

ROUNDING = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Row:
    """One measured statement: both sides at the index `at`, where they differ most.

    A statement that is expected to differ is a counter-example; on some data (a constant input, for
    example) both sides agree all the same.
    """

    statement: str
    left: float
    right: float
    difference: float
    bound: float
    at: tuple[int, ...]
    expected: Expected = "equal"
    note: str = ""

    @property
    def equal(self) -> bool:
        return self.difference <= self.bound

    @property
    def verdict(self) -> str:
        """`holds` or `FAILED` for a law; `differs` or `agrees` for a counter-example."""
        if self.expected == "equal":
            return "holds" if self.equal else "FAILED"
        return "agrees" if self.equal else "differs"

    @property
    def passed(self) -> bool:
        return self.verdict != "FAILED"


def compare(
    statement: str,
    left: Array,
    right: Array,
    bound: float,
    *,
    expected: Expected = "equal",
    note: str = "",
) -> Row:
    """Compare two arrays of one shape at the index where they differ most.

    >>> row = compare("2 x = x + x", np.array([2.0, 4.0]), np.array([2.0, 4.5]), bound=0.1)
    >>> row.left, row.right, row.difference, row.at, row.verdict
    (4.0, 4.5, 0.5, (1,), 'FAILED')
    """
    apart = np.abs(left - right)
    worst = np.argmax(apart) if np.any(apart) else np.argmax(np.abs(left))
    at = tuple(int(i) for i in np.unravel_index(worst, left.shape))
    return Row(
        statement, float(left[at]), float(right[at]), float(apart[at]), bound, at, expected, note
    )


def bounded(scale: float, *, sums: int = 2, terms: int = 0) -> float:
    """Return the largest difference that rounding can cause.

    scale: sum|w| * max|x|, which no output exceeds.
    sums: the number of the engine's results, each within the contract's 1e-13 of the scale.
    terms: the number of other additions in a row, with one rounding each.
    """
    return (TOLERANCE["float64"][1] * sums + ROUNDING * terms) * scale


def largest(values: Array) -> float:
    return float(np.abs(values).max(initial=0.0))


def weight(kernel: Array) -> float:
    return float(np.abs(kernel).sum())


def ranges(indices: Iterable[int]) -> str:
    """Format indices as runs.

    >>> ranges([0, 1, 2, 5, 8, 9])
    '0..2,5,8..9'
    """
    runs: list[list[int]] = []
    for i in sorted(indices):
        if runs and i == runs[-1][-1] + 1:
            runs[-1].append(i)
        else:
            runs.append([i])
    return ",".join(f"{run[0]}" if len(run) == 1 else f"{run[0]}..{run[-1]}" for run in runs)


SIDES = {1: 32, 2: 32}
"""Default samples per side by the number of axes, more if the kernel needs them."""
OTHER = 12
"""The same for three axes and more."""
SAMPLES = 1 << 14
"""The most samples of the input: in `commutative`, each of them is a tap of the kernel."""
ITEMS = 4
"""The most items of a batch, or channels filtered independently, that are used."""
ENTRIES = 1 << 22
"""The most entries of the explicit matrix: 32 MiB in float64."""


@dataclass(frozen=True)
class LawsRequest:
    """The data to measure the laws on.

    size: the samples per side that the input is cropped to.
    """

    input: str
    reference: str
    geometry: Geometry = field(default_factory=Geometry)
    size: int | None = None
    seed: int = 0
    limits: Limits = field(default_factory=Limits.of)


@dataclass(frozen=True, eq=False)
class Setting:
    """The input x (N, *S, C), the kernel w (O, *K, C/groups), both float64, and their ConvSpec.

    f and g are one plane of each. `conv` is the true convolution, which flips the kernel; `w` is
    the kernel as it was given.
    """

    x: Array
    w: Array
    spec: ConvSpec
    seed: int

    @property
    def dims(self) -> int:
        return len(self.spec.stride)

    @property
    def spatial(self) -> tuple[int, ...]:
        return self.x.shape[1:-1]

    @cached_property
    def axes(self) -> tuple[Axis, ...]:
        return self.spec.axes(self.spatial, self.w.shape[1:-1])

    @property
    def f(self) -> Array:
        return self.x[0, ..., 0]

    @property
    def g(self) -> Array:
        return self.w[0, ..., 0]

    @property
    def options(self) -> dict[str, Any]:
        """The options of the layer."""
        return {**self.spec.options, "groups": self.spec.groups}

    @property
    def flipped(self) -> Array:
        return np.flip(self.w, tuple(range(1, self.w.ndim - 1)))

    def conv(self, x: Array) -> Array:
        return conv_layer(x, self.flipped, **self.options)

    def random(self, shape: tuple[int, ...]) -> Array:
        """Return random numbers, independent of those of random inputs and kernels."""
        return np.random.default_rng((self.seed, 2, *shape)).standard_normal(shape)

    @property
    def scale(self) -> float:
        """sum|w| * max|x|, over the kernel with the largest sum."""
        return self.gain * largest(self.x)

    @property
    def gain(self) -> float:
        return float(np.abs(self.w.reshape(len(self.w), -1)).sum(axis=1).max())

    @cached_property
    def small(self) -> Setting:
        """The first item, cropped until its matrix has at most ENTRIES.

        Raises LimitError if no size fits.
        """
        with suppress(ShapeError):  # raised once the input is smaller than the kernel
            for side in range(max(self.spatial), 0, -1):
                spatial = tuple(min(n, side) for n in self.spatial)
                if self._entries(spatial) <= ENTRIES:
                    return replace(self, x=middle(self.x[:1], spatial))
        raise LimitError(
            f"the matrix of kernel {show(self.w.shape)}",
            f"expected at most {ENTRIES:,} entries at some size of the input",
            "give a smaller kernel",
        )

    def _entries(self, spatial: tuple[int, ...]) -> int:
        outputs = math.prod(self.spec.sizes(spatial, self.w.shape[1:-1])) * len(self.w)
        return outputs * math.prod(spatial) * int(self.x.shape[-1])

    @cached_property
    def matrix(self) -> Array:
        """The matrix M of conv(x) = M vec(x), for one item."""
        return toeplitz(self.flipped, self.spatial, self.spec)


def make_setting(request: LawsRequest) -> tuple[Operands, Setting]:
    """Load the requested operands and crop them.

    Raises InputError for values that are not finite.
    """
    operands = load_operands(
        request.input, request.reference, request.geometry, request.limits, seed=request.seed
    )
    a = operands.conv_layout
    form = to_layer(operands.x, operands.kernel.taps, a)
    side = request.size or _side(a.window)
    spatial = tuple(min(n, side) for n in a.spatial)
    if math.prod(spatial) > SAMPLES:
        raise LimitError(
            f"laws on {show(spatial)} samples",
            f"expected at most {SAMPLES:,}",
            "use a smaller --size",
        )
    x = middle(form.x[:ITEMS], spatial).astype(np.float64)
    if not np.isfinite(x).all():
        raise InputError(
            f"{request.input} has NaN or infinite values",
            "expected finite values",
            "replace them first",
        )
    setting = Setting(
        x, form.w.astype(np.float64), replace(operands.spec, groups=form.groups), request.seed
    )
    positions = math.prod(setting.spec.sizes(setting.spatial, a.window))
    outputs = len(x) * len(form.w) * positions
    request.limits.check_memory(f"work on {operands.data.name}", 8 * 4 * (x.size + outputs))
    return operands, setting


def _side(window: tuple[int, ...]) -> int:
    """Return the default samples per side: twice the kernel if SAMPLES allow it.

    >>> _side((3, 3)), _side((21, 21)), _side((17, 17, 17))
    (32, 42, 25)
    """
    dims = len(window)
    k = max(window)
    return max(SIDES.get(dims, OTHER), k, min(2 * k, int(SAMPLES ** (1 / dims))))


def middle(x: Array, spatial: tuple[int, ...]) -> Array:
    """Return the middle of x (N, *S, C), cropped to `spatial`.

    >>> middle(np.arange(6.0).reshape(1, 6, 1), (2,)).ravel()
    array([2., 3.])
    """
    starts = [(n - size) // 2 for n, size in zip(x.shape[1:-1], spatial, strict=True)]
    spans = [slice(start, start + size) for start, size in zip(starts, spatial, strict=True)]
    return x[(slice(None), *spans)]
