"""A kernel of few taps as a weighted sum of shifted samples, with as few operations as possible.

Taps of the same size are added first and multiplied once; taps of 1 and -1 need no multiplication::

    laplacian     y = -4 * x[1, 1]  +  x[0, 1] + x[1, 0] + x[1, 2] + x[2, 1]        5 operations

A column of taps that occurs several times, up to a factor, is computed once for all of them::

    sobel-x       v = 2 * x[1, :]  +  x[0, :] + x[2, :]        y = v[2] - v[0]      4 operations

No partial sum of such operations, in any order, exceeds the sum of |taps| times the largest sample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from convcli.engine.planning.facts import TapCounts
from convcli.kernels.model import Taps

MOST_TAPS = 81
"""Most non-zero taps for which operations are counted: matrix products are faster for more."""

LARGEST = 1 << 24
"""Largest whole number that a tap may be a multiple of, for a common divisor of a column."""


class Part(NamedTuple):
    """One operand of a sum: the samples under a tap, or a column's sum at a place."""

    sign: int
    column: int | None
    """Number of the column; None for the samples themselves."""
    tap: tuple[int, ...]
    """Position of the tap, or of the column."""


class Group(NamedTuple):
    """Parts that are added before they are multiplied by a positive weight."""

    weight: float
    parts: tuple[Part, ...]
    """Those to be added come before those to be subtracted."""


@dataclass(frozen=True)
class TapSum:
    """A weighted sum of samples and of columns, in groups; those of weight 1 come last."""

    columns: tuple[TapSum, ...]
    groups: tuple[Group, ...]
    counts: TapCounts

    @property
    def is_sample(self) -> bool:
        """Whether the sum is one sample, unweighted."""
        return self.counts.operations == 0


def tap_sum(w: NDArray[np.generic]) -> TapSum | None:
    """Return the sum of w's taps; None if they are zero, too many or not finite. It is cached.

    >>> kernels = [0, 2, 0], [1, -4, 1], [[1, 2], [2, 4]]
    >>> [tap_sum(np.array(w)).counts.operations for w in kernels]
    [1, 3, 4]
    """
    if not 0 < np.count_nonzero(w) <= MOST_TAPS or not np.isfinite(w).all():
        return None
    taps = np.ascontiguousarray(w, np.float64)
    return _cached(taps.tobytes(), taps.shape)


@lru_cache(maxsize=64)
def _cached(data: bytes, shape: tuple[int, ...]) -> TapSum:
    return _shortest(np.frombuffer(data).reshape(shape))


def _shortest(w: Taps) -> TapSum:
    plain = _sum(
        (), [_Term(float(w[tap]), None, tap) for tap in map(tuple, np.argwhere(w).tolist())]
    )
    if w.ndim == 1 or plain.counts.operations < 2:
        return plain
    numbers: dict[bytes, int] = {}
    columns: list[TapSum] = []
    by_columns: list[_Term] = []
    for place, column in enumerate(np.moveaxis(w, -1, 0)):
        if column.any():
            factor, primitive = _primitive(column)
            number = numbers.setdefault(primitive.tobytes(), len(columns))
            if number == len(columns):
                columns.append(_shortest(primitive))
            by_columns.append(_Term(factor, number, (place,)))
    joined = _sum(tuple(columns), by_columns)
    return joined if joined.counts.operations < plain.counts.operations else plain


def _primitive(column: Taps) -> tuple[float, Taps]:
    """Return a factor, and the column divided by it: small whole numbers without a common divisor.

    For other taps the factor is 1 or -1. The first tap of the divided column is positive.

    >>> _primitive(np.array([0, -0.25, -0.5])), _primitive(np.array([-0.3, 0.4]))
    ((-0.25, array([0., 1., 2.])), (-1.0, array([ 0.3, -0.4])))
    """
    ratios = [tap.as_integer_ratio() for tap in column.ravel().tolist()]
    scale = max(divisor for _, divisor in ratios)
    whole = [number * (scale // divisor) for number, divisor in ratios]
    factor = math.gcd(*whole) / scale if max(map(abs, whole)) <= LARGEST else 1.0
    factor = math.copysign(factor, column[column != 0][0])
    return factor, column / factor + 0.0  # no negative zeros


class _Term(NamedTuple):
    weight: float
    column: int | None
    tap: tuple[int, ...]


def _sum(columns: tuple[TapSum, ...], terms: list[_Term]) -> TapSum:
    """Return the sum of weighted terms, grouped by |weight|."""
    sizes: dict[float, list[Part]] = {}
    for weight, column, tap in terms:
        sizes.setdefault(abs(weight), []).append(Part(1 if weight > 0 else -1, column, tap))
    groups = [
        Group(size, tuple(sorted(parts, key=lambda part: -part.sign)))
        for size, parts in sorted(sizes.items(), key=lambda item: item[0] == 1)
    ]
    weighted = sum(group.weight != 1 or group.parts[0].sign < 0 for group in groups[:1])
    weighted += sum(group.weight != 1 for group in groups[1:])
    counts = [each.counts for each in columns]
    several = any(group.weight != 1 for group in groups[1:])
    inner = max((each.arrays for each in counts), default=0)
    return TapSum(
        columns,
        tuple(groups),
        TapCounts(
            operations=len(terms) - 1 + weighted + sum(each.operations for each in counts),
            depth=len(terms) + max((each.depth for each in counts), default=0),
            arrays=len(columns) + max(several, inner),
        ),
    )
