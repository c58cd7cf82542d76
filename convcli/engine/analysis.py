"""What a plan wants to know of the values: how large sums get, and how far their roundings may lean one way."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convcli.engine.planning.facts import GROWTH, LEVELS, MOST_TERMS, STRAY
from convcli.kernels.factorize import factorize
from convcli.kernels.model import Taps, Terms

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


def l2_to_l1(w: NDArray[Any]) -> float:
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


ROUNDING = 2.0**-24
"""The largest relative error of one float32 operation."""

CUT = {"float32": 2 * ROUNDING, "float64": 4e-15}
"""What the terms may leave of the taps, as a share of sum|w|: as much as the taps' own rounding."""

LEAN_VALUES = 1 << 17
"""GemmBlocking of them with taps that are tried at a time."""

GOLDEN = (math.sqrt(5) - 1) / 4
"""Multiples of it, modulo a half, lie evenly between 0 and a half, and none is a round number."""


def factors(w: NDArray[np.generic], kind: str) -> Terms:
    """Terms of one 1-D factor per axis, in float64, that add to w within the precision of `kind`.

    Every kernel has such terms, though for most they are many. The last few kernels are remembered.
    """
    taps = np.ascontiguousarray(w, np.float64)
    return _factors(taps.tobytes(), taps.shape, kind)


@lru_cache(maxsize=16)
def _factors(data: bytes, shape: tuple[int, ...], kind: str) -> Terms:
    taps = np.frombuffer(data).reshape(shape)
    for tolerance in (1e-6, 1e-7, 1e-15) if kind == "float32" else (3e-15, 1e-16):
        terms = factorize(taps, tolerance=tolerance)
        if np.abs(_together(terms) - taps).sum() <= CUT[kind] * np.abs(taps).sum():
            break
    return terms


def separable_terms(w: NDArray[np.generic], kind: str) -> int | None:
    """How many terms stand for w; None where they would be less exact than w itself.

    Whole numbers are to stay whole, and terms that cancel each other would add roundings that w does not have.
    """
    if _is_long(w):
        return None
    terms = factors(w, kind)
    if (w == np.rint(w)).all() and not (len(terms) == 1 and all((f == np.rint(f)).all() for f in terms[0])):
        return None
    return len(terms) if growth(terms) <= GROWTH else None


def _is_long(w: NDArray[np.generic]) -> bool:
    """Whether w is surely no sum of MOST_TERMS products, told in a small part of the time that finding them takes.

    The products' number is at least the rank of w as a matrix, and so of what w makes of a few random vectors.
    """
    rows = np.asarray(w, np.float64).reshape(len(w), -1)
    if min(rows.shape) <= MOST_TERMS:
        return False
    probes = np.random.default_rng(0).standard_normal((rows.shape[1], MOST_TERMS + 1))
    spread = np.linalg.svd(rows @ probes, compute_uv=False)
    return bool(spread[-1] > 1e-6 * spread[0])


def growth(terms: Terms) -> float:
    """How much larger the terms' sum|w| is than that of what they add to."""
    whole = float(np.abs(_together(terms)).sum())
    parts = sum(math.prod(float(np.abs(factor).sum()) for factor in term) for term in terms)
    return parts / whole if whole else 1.0


def longest_run(factor: Taps, passes: int, terms_growth: float, kind: str) -> int:
    """The most taps (k,) to add in a row, for sums of `passes` such passes to keep to contract 3."""
    runs = math.ceil(_lean(np.asarray(factor, np.float64).tobytes()) * passes * terms_growth / STRAY[kind])
    return -(-len(factor) // max(runs, 1))


@lru_cache(maxsize=64)
def _lean(data: bytes) -> float:
    """Roundings that the sum of taps in a row strays by where each meets a sample of its own sign and of equal size."""
    taps = np.abs(np.frombuffer(data))
    taps = np.ldexp(taps, -np.frexp(taps.max())[1])
    flat = 0.5 + np.arange(1, LEVELS + 1) * GOLDEN % 0.5
    some = np.array_split(flat.astype(np.float32), min(-(-LEVELS * taps.size // LEAN_VALUES), LEVELS))
    return max(_strays(levels, taps.astype(np.float32)) for levels in some)


def _strays(levels: NDArray[np.float32], taps: NDArray[np.float32]) -> float:
    with np.errstate(all="ignore"):
        terms = np.multiply.outer(levels, taps)
        total = np.cumsum(terms, axis=1, dtype=np.float32)[:, -1]
        exact = terms.sum(axis=1, dtype=np.float64)
        return float(np.nanmax(np.abs(total - exact) / (exact * ROUNDING), initial=0.0))


def _together(terms: Terms) -> Taps:
    """The taps that terms add to."""
    total = np.zeros([len(factor) for factor in terms[0]])
    for term in terms:
        share = term[0]
        for factor in term[1:]:
            share = np.multiply.outer(share, factor)
        total += share
    return total
