"""Find the separable form of a kernel: taps as a sum of outer products of 1-D factors.

A k x k kernel of separable rank r costs 2*r*k multiplications a sample as factors, k*k as taps.

Sources: Treitel and Shanks, "The design of multistage separable planar filters", 1971 (a filter as
a sum of separable stages by singular values); the recursion over axes is the tensor-train SVD of
Oseledets, 2011, with its cores multiplied out.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from convcli.kernels.model import EXACT_INTEGER, Taps, Terms, checked_taps


def factorize(taps: ArrayLike, *, tolerance: float = 1e-12) -> Terms:
    """Write taps as the fewest outer products that an SVD along each axis in turn finds.

    taps: (*K), real.
    tolerance: the allowed error, relative to the norm of the taps; use 1e-6 for a kernel rounded to
    float32.

    Returns terms, each of one 1-D float64 factor per axis; their sum is the taps, within tolerance
    (normwise). A separable kernel of integers gets integer factors, and is reproduced exactly.
    For two axes the number of terms is minimal; for more it is an upper bound.
    Raises KernelError for taps that are not finite real numbers.

    >>> factorize([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    ((array([1., 2., 1.]), array([-1.,  0.,  1.])),)
    >>> len(factorize([[0, 1, 0], [1, -4, 1], [0, 1, 0]]))
    2
    """
    array = np.asarray(checked_taps(taps), dtype=np.float64)
    exponent = _scale_exponent(array)
    near_one = np.ldexp(array, -exponent)
    terms = _split(near_one, tolerance * float(np.linalg.norm(near_one)))
    return tuple((*term[:-1], np.ldexp(term[-1], exponent)) for term in terms)


def _scale_exponent(array: Taps) -> int:
    """Return the exponent to scale by if squares would overflow or underflow, else 0."""
    exponent = math.frexp(float(np.abs(array).max()))[1]
    return exponent if abs(exponent) > 300 else 0


def _split(taps: Taps, budget: float) -> Terms:
    """Return terms whose sum is within `budget` of taps, in the Euclidean norm."""
    if taps.ndim == 1:
        return ((taps.copy(),),)
    unfolded = taps.reshape(len(taps), -1)
    return tuple(
        (column, *rest)
        for column, row, share in _pairs(unfolded, budget)
        for rest in _split(row.reshape(taps.shape[1:]), share)
    )


def _pairs(matrix: Taps, budget: float) -> list[tuple[Taps, Taps, float]]:
    """Return columns and rows whose outer products sum to the matrix.

    Each has the error that is allowed for its row.
    """
    # Most kernels have rank 1, which this finds much faster than an SVD.
    cross = _cross(matrix, budget / 2)
    if cross is not None:
        column, row = cross
        return [(column, row, budget / 2 / (float(np.linalg.norm(column)) or 1.0))]
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    rank = _rank(values, budget)
    # The left vectors are orthonormal, so squared errors add up: each row, and the omitted rest,
    # gets an equal share.
    share = budget / math.sqrt(rank + 1)
    rank = _rank(values, share)
    return [(*_orient(left[:, i], values[i] * right[i]), share) for i in range(rank)]


def _rank(values: Taps, budget: float) -> int:
    """Return the number of singular values to keep, at least 1, so that the rest is in budget."""
    tails = np.sqrt(np.cumsum(values[::-1] ** 2))[::-1]
    return max(1, int(np.count_nonzero(tails > budget)))


def _cross(matrix: Taps, budget: float) -> tuple[Taps, Taps] | None:
    """Return the column and the row through the largest entry of a rank-1 matrix.

    They are exact if the matrix is a multiple of the row. None if their product is not within
    budget of the matrix.
    """
    i, j = np.unravel_index(int(np.abs(matrix).argmax()), matrix.shape)
    if not matrix[i, j]:
        return np.zeros(matrix.shape[0]), np.zeros(matrix.shape[1])
    row = _primitive(matrix[i])
    column, row = _orient(matrix[:, j] / row[j], row)
    error = float(np.linalg.norm(np.multiply.outer(column, row) - matrix))
    return (column, row) if error <= budget else None


def _primitive(row: Taps) -> Taps:
    """Divide a row of integers by their greatest common divisor; return any other row unchanged."""
    if (row % 1).any() or np.abs(row).max() > EXACT_INTEGER:
        return row
    return row / math.gcd(*(int(value) for value in row))


def _orient(column: Taps, row: Taps) -> tuple[Taps, Taps]:
    """Flip the signs of both if the column's largest entry is negative."""
    sign = -1.0 if column[np.abs(column).argmax()] < 0 else 1.0
    return column * sign, row * sign
