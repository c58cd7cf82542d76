"""Convert float results to another type: rounded half to even, saturated, never wrapped."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

SLACK = 2e-5
"""Margin of the bounds, as a share of sum|w| * max|x|: twice the largest error of a sum."""

LARGEST = 1e30
"""Limit of the bounds' difference: partial sums of larger numbers could overflow."""


Bounds = tuple[float, float]
"""The least and the largest possible value, not counting NaN."""


def bounds(kind: np.dtype[Any], w: NDArray[Any], cval: float) -> Bounds | None:
    """Return bounds of the sums of one kernel w over samples of an integer type.

    None for a float type, or if the bounds are not finite or too large.

    >>> low, high = bounds(np.dtype(np.uint8), np.array([0.25, 0.75]), 0.0)
    >>> print(f"{low:.4f} {high:.4f}")
    -0.0051 255.0051
    """
    if kind.kind not in "iu":
        return None
    info, taps = np.iinfo(kind), w.astype(np.float64)
    least, most = min(float(info.min), cval), max(float(info.max), cval)
    above, below = taps[taps > 0].sum(), taps[taps < 0].sum()
    slack = SLACK * (above - below) * max(-least, most)
    low = float(above * least + below * most - slack)
    high = float(above * most + below * least + slack)
    return (low, high) if math.isfinite(high - low) and high - low < LARGEST else None


def round_into(
    values: NDArray[Any], out: NDArray[Any], spent: bool = False, within: Bounds | None = None
) -> None:
    """Write values into `out`, converted to its type.

    For an integer type they are rounded half to even and saturated; NaN becomes 0. spent: the
    values may be overwritten, which saves an array. within: bounds of the values, if known, which
    save checks.

    >>> out = np.empty(4, np.uint8)
    >>> round_into(np.array([-3.0, 1.5, 300.0, np.nan]), out)
    >>> out
    array([  0,   2, 255,   0], dtype=uint8)
    """
    if out.dtype.kind not in "iu":
        with np.errstate(over="ignore"):
            out[...] = values if out.dtype.kind != "b" else values != 0
        return
    info = np.iinfo(out.dtype)
    fits = within is not None and info.min - 0.5 < within[0] <= within[1] < info.max + 0.5
    if values.dtype.kind in "iu":
        own = np.iinfo(values.dtype)
        if not fits:
            least, most = max(info.min, own.min), min(info.max, own.max)
            values = np.clip(values, least, most, out=values if spent else None)
        out[...] = values
        return
    if int(values.dtype.type(info.max)) > info.max:
        _store_wide(np.rint(values, out=values if spent else None), out)
        return
    if not fits:
        values = np.clip(values, float(info.min), float(info.max), out=values if spent else None)
        if within is None and np.isnan(values.min(initial=0)):
            np.nan_to_num(values, copy=False, nan=0.0)
    if spent:  # a conversion in two passes takes less time than one with numpy's buffer
        out[...] = np.rint(values, out=values)
    else:
        np.rint(values, out=out, casting="unsafe")


def store_quotients(
    sums: NDArray[Any], divisor: int, out: NDArray[Any], within: Bounds | None
) -> None:
    """Write whole sums divided by a number into `out`, which may be `sums`; sums are overwritten.

    For an integer type they are rounded to the nearest, as the number is odd, and saturated.
    within: bounds of the quotients, if known.

    >>> out = np.empty(4, np.uint8)
    >>> store_quotients(np.array([0, 4, 5, 2300], np.uint16), 9, out, None)
    >>> out
    array([  0,   0,   1, 255], dtype=uint8)
    """
    if out.dtype.kind not in "iu":
        if out is not sums:
            out[...] = sums
        out *= out.dtype.type(1 / divisor)
        return
    if sums.dtype.kind in "iu":
        sums += sums.dtype.type(divisor // 2)
        sums //= sums.dtype.type(divisor)
    else:
        sums *= sums.dtype.type(1 / divisor)
    round_into(sums, out, spent=True, within=within)


def _store_wide(rounded: NDArray[Any], out: NDArray[Any]) -> None:
    """Do the same for an integer type whose largest value no float of this precision represents.

    Values at or beyond the type's ends are set by index.
    """
    info = np.iinfo(out.dtype)
    over, under = rounded >= float(info.max), rounded <= float(info.min)
    out[...] = np.where(over | under | np.isnan(rounded), 0, rounded).astype(out.dtype)
    out[over], out[under] = info.max, info.min
