"""The separable form of a kernel for the engine: terms within the precision of the sums, and how far those stray.

A product with a band adds k terms one after the other. Over a flat part of an image the roundings of such a sum all
lean one way, which is the worst that happens: `lean` adds the taps up on flat inputs and measures it, and a kernel
that strays too far is added in runs.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from convcli.engine.planning.facts import GROWTH, LEVELS, MOST_TERMS, STRAY
from convcli.kernels.factorize import factorize
from convcli.kernels.model import Taps, Terms

ROUNDING = 2.0**-24
"""The largest relative error of one float32 operation."""

CUT = {"float32": 2 * ROUNDING, "float64": 4e-15}
"""What the terms may leave of the taps, as a share of sum|w|: as much as the taps' own rounding."""

LEAN_VALUES = 1 << 17
"""Products of them with taps that are tried at a time."""

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
