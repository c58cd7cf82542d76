"""Properties of the values that a plan depends on: sizes of sums, factors, and rounding errors."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convcli.engine.planning.facts import (
    EXACT,
    GROWTH,
    MOST_TERMS,
    ROUNDING,
    PrecisionName,
    roundings_allowed,
)
from convcli.kernels.factorize import factorize
from convcli.kernels.model import Taps, Terms


def integral_bound(x: NDArray[Any], w: NDArray[Any], cval: float) -> int | None:
    """Return the largest possible |sum| of whole numbers, from x's type; None for other numbers."""
    if x.dtype.kind not in "biu" or not float(cval).is_integer() or not is_whole(w):
        return None
    largest = 1
    if x.dtype.kind != "b":
        info = np.iinfo(x.dtype)
        largest = max(abs(int(info.min)), int(info.max))
    bank = w.reshape(w.shape[0], -1) if w.ndim > 1 else w[None]
    with np.errstate(over="ignore"):
        total = float(np.abs(bank, dtype=np.float64).sum())
    return int(total) * max(largest, abs(int(cval))) if total < np.inf else None


def divisor(x: NDArray[Any], w: NDArray[Any], cval: float, dtype: np.dtype[Any]) -> int:
    """Return the number by which one kernel w is multiplied to be whole; 1 if it is not to be.

    The sums of integers x are then exact, and divided by the number. For a result of an integer
    type it is odd, so no quotient is halfway between two integers, and the nearest one is the
    result of w as well. dtype: the result's type.

    >>> image, box = np.zeros((9, 9), np.uint8), np.full((3, 3), 1 / 9)
    >>> divisor(image, box, 0.0, image.dtype), divisor(image, box / 2, 0.0, image.dtype)
    (9, 1)
    """
    whole_samples = x.dtype.kind in "biu" and float(cval).is_integer()
    if not whole_samples or dtype in (np.float16, np.float64) or not np.isfinite(w).all():
        return 1
    sizes = np.abs(w[w != 0], dtype=np.float64)
    least = float(sizes.min(initial=np.inf))
    number = round(1 / least) if 2.0**-16 < least < 1 else 1
    if number == 1 or (dtype.kind in "iu" and number % 2 == 0):
        return 1
    taps = whole_taps(w, number)
    rest = np.abs(np.asarray(w, np.float64) * number - taps).sum()
    bound = integral_bound(x, taps, cval)
    is_close = rest <= ROUNDING["float32"] * np.abs(taps).sum()
    return number if is_close and bound is not None and bound < MOST_DIVIDED else 1


def whole_taps(w: NDArray[Any], divisor: int) -> NDArray[Any]:
    """Return the taps times their divisor, as whole numbers."""
    return w if divisor == 1 else np.rint(np.asarray(w, np.float64) * divisor)


MOST_DIVIDED = 1 << 22
"""Bound of sums that float32 divides exactly enough: a quotient is at least half of 1 / divisor
away from halfway between two integers, and its rounding errors are smaller than that."""


def is_whole(values: NDArray[Any]) -> bool:
    """Return whether all values are finite whole numbers."""
    return values.dtype.kind in "biu" or bool(
        np.isfinite(values).all() and (values == np.rint(values)).all()
    )


def sum_range(x: NDArray[Any], w: NDArray[Any], cval: float, one_kernel: bool) -> tuple[int, int]:
    """Return bounds of the sums of whole numbers, from their values.

    one_kernel: w is a kernel (*K), not a bank (O, *K, C/groups). The bounds are exact integers.

    >>> sum_range(np.array([2, 7]), np.array([1, -1]), 0, one_kernel=True)
    (-7, 7)
    """
    bank, x = w.reshape(1 if one_kernel else len(w), -1), _distinct(x)
    least = min(int(x.min()), int(cval))
    most = max(int(x.max()), int(cval))
    ends = []
    for positive, negative in zip(_row_sums(bank, 1), _row_sums(bank, -1), strict=True):
        ends.append((positive * least - negative * most, positive * most - negative * least))
    lows, highs = zip(*ends, strict=True)
    return min(lows), max(highs)


def _distinct(x: NDArray[Any]) -> NDArray[Any]:
    """Return the samples without those that a stride of 0 repeats."""
    return x[tuple(slice(1) if step == 0 else slice(None) for step in x.strides)]


def _row_sums(bank: NDArray[Any], sign: int) -> list[int]:
    """Return the sum of the positive taps of each row; for sign -1, of its |negative taps|."""
    counted = bank > 0 if sign > 0 else bank < 0
    taps = np.where(counted, bank, bank.dtype.type(0))
    sums = np.abs(taps.sum(axis=-1, dtype=np.float64))
    if sums.max() <= EXACT:
        return [int(total) for total in sums]
    return [abs(sum(map(int, row.tolist()))) for row in taps]


def leaves_float32(values: NDArray[Any]) -> bool:
    """Return whether a finite value is too large for float32, or too small for its full precision.

    >>> leaves_float32(np.array([1.0, 0.0, np.inf])), leaves_float32(np.array([1e-39, 1.0]))
    (False, True)
    """
    if values.dtype.kind != "f" or values.dtype.itemsize <= 4:
        return False
    sizes = np.abs(values)
    if np.count_nonzero(sizes < LEAST_FLOAT32) != np.count_nonzero(sizes == 0):
        return True
    large = np.count_nonzero(sizes > MOST_FLOAT32)
    return bool(large and large != np.count_nonzero(sizes == np.inf))


LEAST_FLOAT32 = float(np.finfo(np.float32).tiny)
MOST_FLOAT32 = float(np.finfo(np.float32).max)
"""The ends of float32's normal range."""

HEAVY = 2.0**24
"""Sum of |taps| from which subnormal samples, of few digits in float32, have normal sums."""


def needs_float64(
    x: NDArray[Any], w: NDArray[Any], bias: NDArray[Any] | None, cval: float, weight: float
) -> bool:
    """Return whether an operand, or a sum of integers, leaves float32's normal range.

    weight: an upper bound of the sum of |taps|.
    """
    constant = cval != 0 and not LEAST_FLOAT32 <= abs(cval) <= MOST_FLOAT32 and math.isfinite(cval)
    if constant or leaves_float32(w) or (bias is not None and leaves_float32(bias)):
        return True
    if x.dtype.kind in "iu":
        return weight * 2.0 ** (8 * x.dtype.itemsize) > MOST_FLOAT32
    if not has_heavy_taps(x.dtype, weight):
        return False
    largest = float(np.nanmax(np.abs(_distinct(x)), initial=0))
    return 0 < largest < LEAST_FLOAT32 * HEAVY


def has_heavy_taps(kind: np.dtype[Any], weight: float) -> bool:
    """Return whether the samples decide if their sums need float64: those of float32 may."""
    return kind == np.float32 and weight >= HEAVY


def largest_sum(w: NDArray[Any]) -> float:
    """Return an upper bound of sum|w|: the largest magnitude times the number of taps."""
    return max(float(w.max()), -float(w.min())) * w.size


def small_taps(w: NDArray[Any]) -> tuple[NDArray[Any], int]:
    """Return taps and a power of two that scales them, for taps near the ends of float64's range.

    The magnitudes of the returned taps add up to less than 1, so no sum exceeds the samples, and
    intermediate values keep their precision. Other taps are returned unchanged, with the power 0.

    >>> small_taps(np.array([5e-324, 1e-323]))
    (array([0.125, 0.25 ]), -1071)
    """
    total = largest_sum(w)
    if not 0 < total < np.inf or FAR[0] < total < FAR[1]:
        return w, 0
    power = math.frexp(total)[1]
    return np.ldexp(w.astype(np.float64), -power), power


FAR = (2.0**-900, 2.0**900)
"""Sums of taps beyond which intermediate values could leave float64's normal range."""


CUT = {"float32": 2 * ROUNDING["float32"], "float64": 4e-15}
"""The allowed error of factoring, as a share of sum|w|: the same size as the taps' rounding."""


def factors(w: NDArray[np.generic], kind: str) -> Terms:
    """Return products of 1-D factors, in float64, that add up to w within the precision of `kind`.

    Every kernel has such terms, but most have many. The results for the last kernels are cached.
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


def flat_axes(w: NDArray[np.generic], kind: str) -> tuple[bool, ...]:
    """Return, for each axis of a kernel that is one product, whether its factor's taps are equal.

    >>> flat_axes(np.array([[-1, 0, 1], [-1, 0, 1], [-1, 0, 1]]), "float32")
    (True, False)
    """
    (term,) = factors(w, kind)
    return tuple(bool(factor.min() == factor.max()) for factor in term)


def separable_terms(w: NDArray[np.generic], kind: str) -> int:
    """Return the number of terms that add up to w; 0 if they would be less exact than w itself.

    That is so if w is whole and its factors are not, or if terms cancel each other, which adds
    rounding errors.
    """
    if _is_long(w):
        return 0
    terms = factors(w, kind)
    if (w == np.rint(w)).all() and not (
        len(terms) == 1 and all((f == np.rint(f)).all() for f in terms[0])
    ):
        return 0
    return len(terms) if growth(terms) <= GROWTH else 0


def _is_long(w: NDArray[np.generic]) -> bool:
    """Return whether w is certainly not a sum of MOST_TERMS products, without factoring it.

    The number of products is at least the rank of w as a matrix, which is at least the rank of w
    times a few random vectors.
    """
    rows = np.asarray(w, np.float64).reshape(len(w), -1)
    if min(rows.shape) <= MOST_TERMS:
        return False
    probes = np.random.default_rng(0).standard_normal((rows.shape[1], MOST_TERMS + 1))
    spread = np.linalg.svd(rows @ probes, compute_uv=False)
    return bool(spread[-1] > 1e-6 * spread[0])


def growth(terms: Terms) -> float:
    """Return the ratio of the terms' sum|w| to that of their sum."""
    whole = float(np.abs(_together(terms)).sum())
    parts = sum(math.prod(float(np.abs(factor).sum()) for factor in term) for term in terms)
    return parts / whole if whole else 1.0


def worst_roundings(taps: Taps) -> float:
    """Return the largest rounding error of adding taps (k,) in order.

    Its unit is one rounding of sum|w| * max|x|. Every step rounds a partial sum, which is at most
    the sum of |w| so far: n/2 units if the taps are equal, up to n if the first is by far the
    largest. Source: Higham, "Accuracy and Stability of Numerical Algorithms", 2002, section 4.2.

    >>> worst_roundings(np.ones(9)), worst_roundings(np.array([1000.0, 0, 0, 0]))
    (5.0, 4.0)
    """
    heights = np.cumsum(np.abs(taps, dtype=np.float64))
    return float(heights.sum() / heights[-1]) if 0 < heights[-1] < np.inf else float(len(taps))


def longest_run(
    taps: Taps, precision: PrecisionName | None, terms: int, passes: float = 1.0
) -> int:
    """Return how many of the taps (k,) one product may add in order within the contract's error.

    precision: None if no sum rounds. terms: those of the whole kernel. passes: the number of such
    sums that follow each other.

    >>> longest_run(np.ones(25), "float32", 25), longest_run(np.ones(48), "float32", 48)
    (25, 24)
    """
    return run_length(len(taps), worst_roundings(taps), precision, terms, passes)


def run_length(
    taps: int, roundings: float, precision: PrecisionName | None, terms: int, passes: float = 1.0
) -> int:
    """Return the same from the number of taps and their rounding error in roundings."""
    if precision is None:
        return taps
    return -(-taps // max(math.ceil(roundings * passes / roundings_allowed(precision, terms)), 1))


def _together(terms: Terms) -> Taps:
    """Return the sum of the terms."""
    total = np.zeros([len(factor) for factor in terms[0]])
    for term in terms:
        share = term[0]
        for factor in term[1:]:
            share = np.multiply.outer(share, factor)
        total += share
    return total
