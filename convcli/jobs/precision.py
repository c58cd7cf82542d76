"""Choose the dtype in which a run of `apply` computes: wide enough for input, output and integers.

Results are floats until they are written. For an integer output, whole results are exact up to
2**24 in float32 and up to 2**53 in float64. Larger ones are computed in 64-bit integers, if every
step keeps them whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from convcli.engine.analysis import has_heavy_taps, integral_bound, largest_sum
from convcli.engine.exact import power_of_two
from convcli.engine.planning.facts import EXACT, result_dtype
from convcli.engine.problem import Problem
from convcli.errors import DtypeError
from convcli.jobs.requests import Postprocess

Range = tuple[Fraction, Fraction]
"""The least and the largest value."""

EXACT_FLOAT32 = 1 << 24
"""The integer up to which float32 represents every integer exactly."""


def float_dtype(given: np.dtype[Any], requested: np.dtype[Any] | None) -> str:
    """Return the float dtype to compute in, wide enough for the input and the requested output."""
    if requested is not None:
        wide_integer = requested.kind in "iu" and requested.itemsize > 2
        if requested == np.float64 or wide_integer:
            return "float64"
    return result_dtype(given.name)


def check_unread(problem: Problem, name: str, dtype: str | None) -> None:
    """Raise DtypeError if precision depends on the values of an input that has not been read.

    That is so for integers beyond float64's precision, and for float32 under very large taps.
    """
    x, w = problem.x, problem.w
    bound = integral_bound(x, w, problem.spec.cval)
    if dtype is not None and np.dtype(dtype).kind in "iu" and (bound or 0) > EXACT:
        raise DtypeError(
            f"sums of {x.dtype} as {dtype}",
            f"they may exceed 2**52, and {name} would have to be read whole to know",
            "use --dtype float64, or write a .npy",
        )
    if has_heavy_taps(x.dtype, largest_sum(w)):
        raise DtypeError(
            f"taps that sum up to {largest_sum(w):.3g} on float32",
            f"{name} would have to be read whole to choose the precision",
            "divide the kernel, and use --scale",
        )


def scales_far(scale: float) -> bool:
    """Return whether scaling may bring results outside float32's range into it."""
    return scale != 0 and not 1 / EXACT_FLOAT32 <= abs(scale) <= EXACT_FLOAT32


def exact_dtype(
    options: Postprocess,
    ranges: Sequence[tuple[int, int] | None],
    dtype: np.dtype[Any],
    floats: str,
) -> str:
    """Return the dtype in which whole results stay exact until they are written as `dtype`.

    ranges: of each kernel's sums, None if they are not whole. floats: the dtype otherwise.
    Raises DtypeError for an integer type if the results cannot be exact.

    >>> exact_dtype(Postprocess(), [(0, 1 << 60)], np.dtype("int64"), "float64")
    'int64'
    """
    whole = [(Fraction(each[0]), Fraction(each[1])) for each in ranges if each is not None]
    if not whole or dtype.kind not in "iu" or options.range == "rescale":
        return floats
    stages = _stages(options, whole, dtype)
    low = min(low for low, _ in stages)
    high = max(high for _, high in stages)
    largest = max(-low, high)
    all_whole = len(whole) == len(ranges)
    keeps_whole = all_whole and _keeps_whole(options, len(ranges))
    if largest <= EXACT:
        return "float64" if keeps_whole and largest > EXACT_FLOAT32 else floats

    # If a step makes fractions, compute in float64, which must hold the final values.
    if not keeps_whole:
        if all_whole and max(map(abs, stages[-1])) <= 2 * EXACT:
            return "float64"
        raise DtypeError(
            f"results of up to {power_of_two(largest)} in {dtype}, by steps that make fractions",
            "expected at most 2**53, up to which float64 is exact",
            "use --dtype float64, or whole taps, --scale and --bias",
        )
    for exact in ("int64", "uint64"):
        info = np.iinfo(exact)
        if info.min <= low and high <= info.max:
            return exact
    raise DtypeError(
        f"results of up to {power_of_two(largest)} in {dtype}",
        "expected at most 64 bits, with or without a sign, at every step",
        "use --dtype float64, or smaller numbers",
    )


def _keeps_whole(options: Postprocess, kernels: int) -> bool:
    """Return whether whole results stay whole in every step, or are rounded once at the end."""
    if options.combine == "magnitude" and kernels > 1:
        return False
    if options.combine == "mean" and kernels > 1:
        return options.scale == 1 and options.bias == 0
    return options.scale.is_integer() and options.bias.is_integer()


def _stages(options: Postprocess, ranges: Sequence[Range], dtype: np.dtype[Any]) -> list[Range]:
    """Return the range of the values after each step of postprocessing.

    The steps are the kernels' sums, combine, scale, bias and the range policy.
    """
    lows, highs = zip(*ranges, strict=True)
    stages: list[Range] = [(min(lows), max(highs))]

    total = (sum(lows, start=Fraction()), sum(highs, start=Fraction()))
    if options.combine == "sum":
        stages.append(total)
    elif options.combine == "mean":
        stages += [total, stages[0]]
    elif options.combine == "magnitude":
        stages.append(
            (Fraction(), sum((max(-low, high) for low, high in ranges), start=Fraction()))
        )

    low, high = sorted(end * Fraction(options.scale) for end in stages[-1])
    stages.append((low, high))
    shift = Fraction(options.bias)
    stages.append((low + shift, high + shift))

    low, high = stages[-1]
    if options.range == "abs":
        stages.append((Fraction(), max(-low, high)))
    elif options.range == "offset":
        info = np.iinfo(dtype)
        middle = (int(info.min) + int(info.max) + 1) // 2
        stages.append((low + middle, high + middle))
    return stages
