"""The data that the laws are measured on: a cropped input and a kernel, in float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convcli.engine.layer_form import to_layer
from convcli.engine.operations import conv_layer, convolve, correlate
from convcli.engine.planning.facts import TOLERANCE
from convcli.errors import InputError, LimitError, ShapeError
from convcli.grad.backward import Gradients, gradients
from convcli.grad.toeplitz import toeplitz
from convcli.jobs.operands import Operands, load_operands
from convcli.kernels import kernel
from convcli.limits import Limits
from convcli.options import LawName, Op
from convcli.shapes.axis import Axis
from convcli.shapes.geometry import Geometry
from convcli.shapes.parse import show
from convcli.shapes.spec import ConvSpec
from convcli.stores import shown

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
LARGEST = 1e100
"""The largest value: products of three values, and their sums, are far from overflow."""
SAMPLES = 1 << 14
"""The most samples of the input: in `commutative`, each of them is a tap of the kernel."""
ITEMS = 4
"""The most items of a batch, or channels filtered independently, that are used."""
ENTRIES = 1 << 22
"""The most entries of the explicit matrix: 32 MiB in float64."""


@dataclass(frozen=True)
class LawsRequest:
    """The data to measure the laws on.

    size: the samples per side that the input is cropped to. broken: the name of a law to break.
    """

    input: str
    reference: str
    geometry: Geometry = field(default_factory=Geometry)
    size: int | None = None
    seed: int = 0
    broken: LawName | None = None
    limits: Limits = field(default_factory=Limits.of)


def sampled_gaussian(sigma: float, size: int) -> Array:
    """Return a Gaussian of `size` samples, whose sum is 1."""
    return np.asarray(kernel(f"gaussian:sigma={sigma!r},size={size}", dims=1).taps)


class Operations(NamedTuple):
    """The operations that the laws are about; a mistake (see mistakes.py) replaces one of them."""

    layer: Callable[..., Array] = conv_layer
    convolve: Callable[..., Array] = convolve
    correlate: Callable[..., Array] = correlate
    gradients: Callable[..., Gradients] = gradients
    gaussian: Callable[[float, int], Array] = sampled_gaussian


OPERATIONS = Operations()


@dataclass(frozen=True, eq=False)
class Setting:
    """The input x (N, *S, C), the kernel w (O, *K, C/groups), both float64, and their ConvSpec.

    f and g are one plane of each. `conv` is the layer, which flips the kernel if `op` says so; `w`
    is the kernel as it was given.
    """

    x: Array
    w: Array
    spec: ConvSpec
    seed: int
    op: Op = "convolve"
    operations: Operations = OPERATIONS

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
    def spread(self) -> Array:
        """G with zeros between its taps, for a dilation: the kernel of the product f * g."""
        taps = np.zeros([axis.reach for axis in self.axes])
        taps[tuple(slice(None, None, step) for step in self.spec.dilation)] = self.g
        return taps

    @property
    def correlated(self) -> Array:
        """The kernel with which the layer is a correlation: w, flipped if it convolves."""
        flips = tuple(range(1, self.w.ndim - 1)) if self.op == "convolve" else ()
        return np.flip(self.w, flips)

    def conv(self, x: Array, bias: float = 0.0) -> Array:
        biases = np.full(len(self.w), bias) if bias else None
        return self.operations.layer(x, self.correlated, biases, **self.options)

    def filtered(self, f: Array, op: Op | None = None, **options: Any) -> Array:
        """Return f filtered with g by an operation, by default the layer's."""
        filter = getattr(self.operations, op or self.op)
        return np.asarray(filter(f, self.g, dilation=self.spec.dilation, **options))

    @property
    def has_constant(self) -> bool:
        """Whether outputs see a padding constant other than zero: the layer is affine then."""
        padded = any(axis.lo or axis.hi for axis in self.axes)
        return self.spec.boundary == "constant" and self.spec.cval != 0 and padded

    def level(self, values: Array) -> float:
        """Return the largest magnitude that a window over these values sees."""
        return max(largest(values), abs(self.spec.cval) if self.has_constant else 0.0)

    def random(self, shape: tuple[int, ...]) -> Array:
        """Return random numbers, independent of those of random inputs and kernels."""
        return np.random.default_rng((self.seed, 2, *shape)).standard_normal(shape)

    @property
    def scale(self) -> float:
        """sum|w| * max|x|, over the kernel with the largest sum."""
        return self.gain * self.level(self.x)

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
        return toeplitz(self.correlated, self.spatial, self.spec)


def make_setting(request: LawsRequest) -> tuple[Operands, Setting]:
    """Load the requested operands and crop them.

    Raises InputError for values that are not finite, or too large.
    """
    operands = load_operands(
        request.input, request.reference, request.geometry, request.limits, seed=request.seed
    )
    a = operands.conv_layout
    form = to_layer(operands.x, operands.kernel.taps, a)
    reach = [d * (k - 1) + 1 for d, k in zip(operands.spec.dilation, a.window, strict=True)]
    side = request.size or _side(tuple(reach))
    spatial = tuple(min(n, side) for n in a.spatial)
    if math.prod(spatial) > SAMPLES:
        raise LimitError(
            f"laws on {show(spatial)} samples",
            f"expected at most {SAMPLES:,}",
            "use a smaller --size",
        )
    x = middle(form.x[:ITEMS], spatial).astype(np.float64)
    _check_magnitude(shown(request.input), x)
    _check_magnitude(operands.kernel.name, operands.kernel.taps)
    _check_magnitude("--cval", np.asarray(operands.spec.cval))
    setting = Setting(
        x,
        form.w.astype(np.float64),
        replace(operands.spec, groups=form.groups),
        request.seed,
        request.geometry.op,
    )
    positions = math.prod(setting.spec.sizes(setting.spatial, a.window))
    outputs = len(x) * len(form.w) * positions
    request.limits.check_memory(f"work on {operands.data.name}", 8 * 4 * (x.size + outputs))
    return operands, setting


def _check_magnitude(name: str, values: Array) -> None:
    """Raise InputError for values that are not finite, or whose products may overflow."""
    if not np.isfinite(values).all():
        raise InputError(
            f"{name} has NaN or infinite values", "expected finite values", "replace them first"
        )
    if largest(values) > LARGEST:
        raise InputError(
            f"{name} has a value of magnitude {largest(values):g}",
            f"expected at most {LARGEST:g}, so that products are finite",
            "use smaller numbers",
        )


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
