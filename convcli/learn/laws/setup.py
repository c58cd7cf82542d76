"""Where the laws are measured: an input and a kernel of a layer, in float64, small to read."""

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
    """One statement, measured: left and right are both sides where they differ most, which is `at`.

    A statement that is expected to differ is a counter-example: it need not fail where the data are
    too plain for it.
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
        """Holds or FAILED for what must be equal; differs or agrees for a counter-example."""
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
    """Compare two arrays of one shape where they are furthest apart.

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
    """Return the largest difference that rounding explains.

    scale: sum|w| * max|x|, which no output exceeds.
    sums: results of the engine that took part, each within the contract's 1e-13 of the scale.
    terms: additions made elsewhere, one after the other, of one rounding each.
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
"""Samples a side by default, more where the kernel needs them; OTHER for three axes and more."""
OTHER = 12
SAMPLES = 1 << 14
"""Samples of the input at most: where input and kernel change places, each of them is a tap."""
ITEMS = 4
"""Items of a batch, or channels filtered alike, that take part."""
ENTRIES = 1 << 22
"""Entries of the explicit matrix: 32 MiB."""


@dataclass(frozen=True)
class LawsRequest:
    """The data to measure the laws on. size: samples per side that the input is cropped to.

    size: samples a side that the input is cropped to.
    """

    input: str
    reference: str
    geometry: Geometry = field(default_factory=Geometry)
    size: int | None = None
    seed: int = 0
    limits: Limits = field(default_factory=Limits.of)


@dataclass(frozen=True, eq=False)
class Setting:
    """x (N, *S, C) and w (O, *K, C/groups) in float64, and how w moves.

    f and g are one plane of each.

    `conv` is the true convolution, which flips the kernel; `w` is the kernel as it was given.
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
        """Return random numbers for other operands, in a stream of their own.

        They are of no kernel's or input's stream.
        """
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

        Raises LimitError where that leaves nothing.
        """
        with suppress(ShapeError):  # of an input that has become smaller than the kernel
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
        """M of conv(x) = M vec(x), for one item."""
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
            f"{request.input} holds NaN or infinities",
            "expected finite values",
            "replace them first",
        )
    setting = Setting(
        x, form.w.astype(np.float64), replace(operands.spec, groups=form.groups), request.seed
    )
    outputs = (
        len(x)
        * len(form.w)
        * math.prod(axis.out for axis in setting.spec.axes(setting.spatial, a.window))
    )
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
    """Return the middle of x (N, *S, C), of these sizes.

    >>> middle(np.arange(6.0).reshape(1, 6, 1), (2,)).ravel()
    array([2., 3.])
    """
    starts = [(n - size) // 2 for n, size in zip(x.shape[1:-1], spatial, strict=True)]
    return x[
        (slice(None), *(slice(at, at + size) for at, size in zip(starts, spatial, strict=True)))
    ]
