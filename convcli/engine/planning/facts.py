"""What a plan needs to know of a convolution, and what follows from it for the sums: their type, and their rounding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from convcli.errors import DtypeError

FFT_PEAK = 0.5
"""The largest `peak` for which a float32 transform keeps to the contract. Its error is at most 1.1e-6 of the root of
sum w^2 times max|x|, measured over 16 million outputs of the worst input found, random signs under a single tap."""

FFT_ERROR = 1e-14
"""The error of a float64 result as a share of sum|w| * max|x|, by the contract; whole numbers are rounded to exact."""

SHORT_SUM = 576
"""Terms that a float32 sum of `direct` may have. Each rounding costs 6e-8 and the contract allows 1e-6, so 16 of them,
which the sum by halves has from 576 terms; longer sums run in float64. GemmBlocking are cut into short runs instead."""

LEVELS = 64
"""Flat inputs on which it is tried how far a kernel's sums stray."""

MOST_TERMS = 64
"""GemmBlocking of 1-D factors that are looked for in a kernel: with more, other methods take less time."""

GROWTH = 2.5
"""How many times the kernel's own sum|w| that of its terms may be."""

STRAY = {"float32": 12.0, "float64": 80.0}
"""Roundings that all passes of a kernel may add up to; contract 3 allows 16.7 of float32's and 90 of float64's."""

Strategy = Literal["direct", "gemm", "separable", "fft"]


@dataclass(frozen=True)
class Facts:
    """What a plan needs to know, in the engine's own form: x (*batch, *spatial, channels), channels last.

    filters is None where the kernel (*window) filters every channel alike; otherwise the kernel is a bank
    (filters, *window, channels / groups). `integral` is the largest possible |sum| when both arrays hold whole
    numbers, else None.
    """

    batch: tuple[int, ...]
    spatial: tuple[int, ...]
    channels: int
    window: tuple[int, ...]
    filters: int | None
    input_dtype: str
    kernel_dtype: str
    integral: int | None = None
    terms: int | None = None
    """How many products of 1-D factors add to the kernel, where that is known and no less exact."""
    peak: float = 1.0
    """The root of the kernel's sum of squares as a share of sum|w|: 1 for a single tap, 1/k for a box of k*k."""
    longest: int = 0
    """Terms of a bank that a float32 sum may add in a row, where its taps are known; else 0."""

    @property
    def out_channels(self) -> int:
        """Lanes of the output: those of the input, or one for each kernel of a bank."""
        return self.channels if self.filters is None else self.filters


def result_dtype(input_dtype: str) -> str:
    """The result's type for an input's: float64 for float64 and for integers wider than 16 bits, else float32.

    >>> result_dtype("uint8"), result_dtype("int32"), result_dtype("float64")
    ('float32', 'float64', 'float64')
    """
    if input_dtype.startswith(("complex", "datetime", "timedelta", "str", "object", "bytes", "void")):
        raise DtypeError(
            f"{input_dtype} values", "expected real numbers", "filter the real and imaginary parts one by one"
        )
    return "float64" if size_of(input_dtype) > (4 if input_dtype.startswith("float") else 2) else "float32"


def accumulator_of(facts: Facts, dtype: str, terms: int, method: str) -> str:
    """Where sums are held: wide enough for the result, for exact integers, and for the contract's error."""
    wide = dtype == "float64" or wide_integer(dtype)
    inexact = facts.integral is not None and (facts.integral >= 1 << 24 or rounds(facts, method))
    long = method == "direct" and terms > SHORT_SUM
    peaked = method == "fft" and facts.peak > FFT_PEAK
    return "float64" if wide or inexact or long or peaked or result_dtype(facts.input_dtype) == "float64" else "float32"


def rounds(facts: Facts, method: str) -> bool:
    """Whether a method's sums of whole numbers have a fraction, to be rounded away."""
    return method == "fft" or (method == "separable" and facts.terms != 1)


def precision_of(accumulator: str, dtype: str) -> Literal["float32", "float64"] | None:
    if accumulator == "float32":
        return "float32"
    return "float64" if dtype == "float64" else None


def wide_integer(dtype: str) -> bool:
    return dtype.startswith(("int", "uint")) and size_of(dtype) > 2


def size_of(dtype: str) -> int:
    """Bytes of one value, from the type's name.

    >>> size_of("uint8"), size_of("float64"), size_of("bool")
    (1, 8, 1)
    """
    digits = "".join(filter(str.isdigit, dtype))
    return int(digits) // 8 if digits else 1


TOLERANCE = {"float32": 1e-6, "float64": 1e-14}
"""The contract's bound on |y - exact| / (sum|w| * max|x|), by the result's type."""
