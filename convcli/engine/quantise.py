"""Float results into the type that was asked for: rounded half to even, saturated, never wrapped."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def store(values: NDArray[Any], out: NDArray[Any], spent: bool = False) -> None:
    """Write float values into `out`, whatever its type.

    Integers are rounded half to even and saturate at the type's ends; NaN, which no integer can say, becomes 0.
    Values that are `spent` may be written over, which saves fresh pages for as many.

    >>> out = np.empty(4, np.uint8)
    >>> store(np.array([-3.0, 1.5, 300.0, np.nan]), out)
    >>> out
    array([  0,   2, 255,   0], dtype=uint8)
    """
    if out.dtype.kind not in "iu":
        with np.errstate(over="ignore"):
            out[...] = values if out.dtype.kind != "b" else values != 0
        return
    info = np.iinfo(out.dtype)
    rounded = np.rint(values, out=values if spent else None)
    if int(values.dtype.type(info.max)) > info.max:
        _store_wide(rounded, out)
        return
    np.clip(rounded, float(info.min), float(info.max), out=rounded)
    if np.isnan(rounded.min(initial=0)):
        np.nan_to_num(rounded, copy=False, nan=0.0)
    np.copyto(out, rounded, casting="unsafe")


def _store_wide(rounded: NDArray[Any], out: NDArray[Any]) -> None:
    """As `store`, where the type's largest value is not a float: those at or past it are set by hand."""
    info = np.iinfo(out.dtype)
    over, under = rounded >= float(info.max), rounded <= float(info.min)
    out[...] = np.where(over | under | np.isnan(rounded), 0, rounded).astype(out.dtype)
    out[over], out[under] = info.max, info.min
