"""What a plan wants to know of the values: how large sums get, and how far their roundings may lean one way."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

WORTH_A_LOOK = 1 << 10
"""Places from which `longest_sum` is worth its time: as much as longer sums save at half as many."""

SEEN = 1 << 16
"""Taps that it looks at at a time: they stay in the cache."""

TOWER = 0.3
"""The most that a tap may be of its kernel's sum|w|: at the height of a taller one all others would round."""

ALIKE = 8
"""One tap in so many may be as large as the one before: runs of equal terms round all the same way."""

LONG = 96
"""Terms that may be added in a row where taps are unlike, in whatever order."""

CLIMB = 64.0
"""The most that the squared heights of a longer sum may add up to, on its way to a height of 1. A step at a height h
strays by 0.43 h roundings (the root of the mean square), and so the sum by 3.4, of which the contract allows five times
as many."""


def longest_sum(w: NDArray[Any]) -> int:
    """Terms that a float32 sum over a bank's taps (O, ...) may add in a row; 0 where they may lean one way.

    Unlike taps, of which none towers, round now up, now down: the sum wanders. By sum w^2 <= max|w| * sum|w|, the
    largest tap's square as a share of sum w^2 is no less than its share of sum|w|.

    >>> bank = np.random.default_rng(0).random((8, 3, 3, 64))
    >>> longest_sum(bank), longest_sum(bank[..., :16]), longest_sum(np.ones((8, 3, 3, 16)))
    (96, 144, 0)
    """
    kernels = w.reshape(len(w), -1)
    rows, terms = max(SEEN // kernels.shape[1], 1), kernels.shape[1]
    parts = [kernels[first : first + rows] for first in range(0, len(kernels), rows)]
    with np.errstate(invalid="ignore", over="ignore"):
        longest = [_longest(np.abs(part.astype(np.float32, copy=False))) for part in parts]
    if not all(longest):
        return 0
    return terms if min(longest) == terms else LONG


def _longest(taps: NDArray[np.float32]) -> int:
    """The same of some kernels' |w| (n, terms): all of their terms where those may be more than LONG."""
    if not (taps.max(axis=1) ** 2 <= TOWER * np.vecdot(taps, taps)).all():
        return 0
    flat, few = taps.reshape(-1), taps.shape[1] // ALIKE
    repeated = flat[1:] == flat[:-1]  # across two kernels too, for rows are compared three times more slowly
    if np.count_nonzero(repeated) > few and np.count_nonzero(taps[:, 1:] == taps[:, :-1], axis=1).max() > few:
        return 0
    if LONG < taps.shape[1] < 2 * LONG:
        heights = np.cumsum(taps, axis=1)
        if (np.vecdot(heights, heights) <= CLIMB * heights[:, -1] ** 2).all():
            return int(taps.shape[1])
    return LONG


def peak(w: NDArray[Any]) -> float:
    """The root of sum w^2 as a share of sum|w|; 1 where that cannot be told."""
    taps = np.abs(w, dtype=np.float64)
    largest = taps.max()
    if not 0 < largest < np.inf:
        return 1.0
    taps /= largest
    return float(np.sqrt((taps * taps).sum()) / taps.sum())


def integral_bound(x: NDArray[Any], w: NDArray[Any], cval: float) -> int | None:
    """The largest |sum| there can be when x and w hold whole numbers, from x's type alone; else None."""
    if x.dtype.kind not in "biu" or not float(cval).is_integer() or not np.isfinite(w).all() or (w != np.rint(w)).any():
        return None
    largest = 1 if x.dtype.kind == "b" else max(abs(int(np.iinfo(x.dtype).min)), int(np.iinfo(x.dtype).max))
    bank = w.reshape(w.shape[0], -1) if w.ndim > 1 else w[None]
    return int(np.abs(bank, dtype=np.float64).sum()) * max(largest, abs(int(cval)))
