"""Facts about a convolution, the contract's error bound, and the type and rounding of the sums."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Literal, NamedTuple

from convcli.errors import DtypeError
from convcli.options import itemsize
from convcli.shapes.axis import Axis, samples_under
from convcli.shapes.parse import check_countable
from convcli.shapes.spec import ConvSpec

FEW_TERMS = 48
"""Terms (taps times summed channels) up to which the contract's tighter bound applies."""

TOLERANCE = {"float32": (1e-6, 1e-5), "float64": (1e-14, 1e-13)}
"""The contract's bound on |y - exact| / (sum|w| * max|x|) up to FEW_TERMS, and beyond."""

ROUNDING = {"float32": 2.0**-24, "float64": 2.0**-53}
"""The largest relative error of one operation."""

SPARE = 0.9
"""Share of the tolerance for the additions of one sum; the rest is for rounded taps and parts."""

EXACT = 1 << 52
"""Bound of sums of whole numbers up to which float64 is exact: half of 2**53, because the bound
itself may be rounded."""

MOST_TERMS = 64
"""Most products of 1-D factors of a separable kernel: with more, other methods are faster."""

GROWTH = 2.5
"""Largest allowed ratio of the terms' sum|w| to the kernel's."""

PrecisionName = Literal["float32", "float64"]


def tolerance(dtype: str, terms: int) -> float:
    """Return the contract's bound on |y - exact| / (sum|w| * max|x|) for a sum of `terms` terms.

    >>> tolerance("float32", 48), tolerance("float32", 49), tolerance("float64", 576)
    (1e-06, 1e-05, 1e-13)
    """
    few, many = TOLERANCE[dtype]
    return few if terms <= FEW_TERMS else many


def roundings_allowed(dtype: PrecisionName, terms: int) -> float:
    """Return the allowed rounding error of adding `terms` terms, in roundings of the whole sum.

    >>> round(roundings_allowed("float32", 48), 1), round(roundings_allowed("float32", 576))
    (15.1, 151)
    """
    return SPARE * tolerance(dtype, terms) / ROUNDING[dtype]


class TapCounts(NamedTuple):
    """Facts about a kernel of few taps as a sum of shifted samples; see engine/tap_sums.py."""

    operations: int
    """Additions and multiplications of whole arrays."""
    depth: int
    """The most roundings of one value."""
    arrays: int
    """Arrays of partial sums that exist at once, besides the result."""


@dataclass(frozen=True)
class Facts:
    """Facts that a plan depends on, for x (*batch, *spatial, channels).

    filters: None if one kernel (*window) filters every channel; otherwise the kernel is a bank
    (filters, *window, channels / groups). integral: the largest possible |sum| if both arrays hold
    whole numbers, otherwise None. exact: whether it exceeds EXACT for a result of an integer type,
    so that the sums' last 64 bits are computed as integers.
    """

    batch: tuple[int, ...]
    spatial: tuple[int, ...]
    channels: int
    window: tuple[int, ...]
    filters: int | None
    input_dtype: str
    integral: int | None = None
    exact: bool = False
    weight: float = 0.0
    """An upper bound of the sum of the |taps| of the kernel, or of all kernels of a bank."""
    extreme: bool = False
    """Whether a tap, the padding constant, the bias or sums leave float32's normal range."""
    reads_samples: bool = False
    """Whether other facts depend on the samples, and not only on their type."""
    terms: int | None = None
    """Number of products of 1-D factors that add up to the kernel; 0 if too many, None if unknown.
    """
    flat: tuple[bool, ...] = ()
    """For each axis, whether the taps of the only product's factor are equal; () if unknown."""
    ones: bool = False
    """Whether every tap is 1."""
    taps: TapCounts | None = None
    """Facts about a kernel of few taps; None if there are many, or if they are unknown."""
    divisor: int = 1
    """Number by which the taps are multiplied to be whole, and the exact sums divided."""

    @property
    def out_channels(self) -> int:
        """Channels of the output: those of the input, or the number of kernels of a bank."""
        return self.channels if self.filters is None else self.filters


@dataclass(frozen=True)
class Work:
    """One convolution to be planned, for which each method estimates its cost."""

    facts: Facts
    spec: ConvSpec
    axes: tuple[Axis, ...]
    dtype: str
    """The result's type."""

    @classmethod
    def of(cls, facts: Facts, spec: ConvSpec, dtype: str | None = None) -> Work:
        """Return the work for a result of type `dtype`, or of the default type.

        Raises ShapeError if the kernel exceeds the padded input, LimitError if the output exceeds
        the address space.
        """
        axes = spec.axes(facts.spatial, facts.window)
        work = cls(facts, spec, axes, dtype or result_dtype(facts.input_dtype))
        check_countable(work.outputs)
        return work

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """The output's shape along the spatial axes."""
        return tuple(axis.out for axis in self.axes)

    @cached_property
    def outputs(self) -> int:
        """The number of values of the output."""
        return math.prod(self.facts.batch) * math.prod(self.sizes) * self.facts.out_channels

    @cached_property
    def found(self) -> dict[str, Any]:
        """What a method finds out about this work once, by the method's name."""
        return {}

    @property
    def depth(self) -> int:
        """Channels that one kernel sums over."""
        return 1 if self.facts.filters is None else self.facts.channels // self.spec.groups

    @cached_property
    def terms(self) -> int:
        """Terms of the sum for one output: taps times channels."""
        return math.prod(self.facts.window) * self.depth

    @cached_property
    def macs(self) -> int:
        """Multiply-adds by the definition."""
        return self.outputs * self.terms

    @property
    def taps(self) -> int:
        """Taps of the kernel, or of all kernels of a bank."""
        return self.terms * (self.facts.filters or 1)

    @property
    def is_depthwise(self) -> bool:
        """Whether every channel has its own single kernel."""
        return self.facts.filters == self.facts.channels == self.spec.groups

    @property
    def target_precision(self) -> PrecisionName:
        """Precision that the result needs."""
        return "float64" if self.dtype == "float64" or wide_integer(self.dtype) else "float32"

    def lead(self, tile: tuple[int, ...]) -> int:
        """Items of a tile, over all batch axes."""
        return tile[0] * math.prod(self.facts.batch[1:])

    def tile_outputs(self, tile: tuple[int, ...]) -> int:
        """Values of a tile of the output."""
        return self.lead(tile) * math.prod(tile[1:]) * self.facts.out_channels

    def tile_samples(self, tile: tuple[int, ...], inner: bool = True) -> int:
        """Values of the input that the windows of a tile cover.

        inner: whether they include the padding along axes after the first.
        """
        samples = self.lead(tile) * self.facts.channels
        if inner:
            return samples * samples_under(self.axes, tile[1:])
        first, *rest = self.axes
        return samples * first.span(tile[1]) * math.prod(axis.n for axis in rest)


@dataclass(frozen=True)
class TiledWork(Work):
    """A convolution whose accumulator type and tiles are decided, for `Method.prepare`."""

    accumulator: str
    """The type of the sums."""
    tile: tuple[int, ...]
    """Items of the first batch axis, and outputs along each spatial axis, of one tile."""

    @property
    def precision(self) -> PrecisionName | None:
        """Type whose rounding bounds the error; None if sums are wider than the result."""
        return precision_of(self.accumulator, self.dtype)

    @property
    def output(self) -> tuple[int, ...]:
        """The output in the engine's form: (*batch, *P, channels or filters)."""
        return (*self.facts.batch, *self.sizes, self.facts.out_channels)


@cache
def result_dtype(input_dtype: str) -> str:
    """Return the default type of a result for an input's type.

    float64 for float64 and for integers wider than 16 bits, otherwise float32.

    >>> result_dtype("uint8"), result_dtype("int32"), result_dtype("float64")
    ('float32', 'float64', 'float64')
    """
    if input_dtype.startswith(
        ("complex", "datetime", "timedelta", "str", "object", "bytes", "void")
    ):
        raise DtypeError(
            f"{input_dtype} values",
            "expected real numbers",
            "filter the real and imaginary parts one by one",
        )
    widest = 4 if input_dtype.startswith("float") else 2
    return "float64" if itemsize(input_dtype) > widest else "float32"


def precision_of(accumulator: str, dtype: str) -> PrecisionName | None:
    if accumulator == "float32":
        return "float32"
    return "float64" if dtype == "float64" else None


def wide_integer(dtype: str) -> bool:
    return dtype.startswith(("int", "uint")) and itemsize(dtype) > 2
