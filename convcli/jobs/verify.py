"""Verify outputs by recomputing them from the definition, with no code of the engine.

For an output p, `y[p] = sum over taps t of w[t] * x[stride*p + dilation*t - lo]`, with the
boundary's sample if that index is outside. The sum is computed in float64, or in Python's integers
if the results are whole numbers beyond it. Checked are all outputs on the faces of the spatial box,
with corners and edges, where mistakes of padding appear, and a random choice of the others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convcli.engine.padding import boundary_index
from convcli.engine.planning.facts import tolerance
from convcli.engine.problem import Problem
from convcli.engine.tiling import Chunk
from convcli.jobs.postprocess import finite_range

SAMPLES = 1000
"""Number of random outputs that are checked besides the faces."""

PRODUCTS = 1 << 17
"""Products computed at once: 1 MiB of float64. Eight times as many took the same time."""


@dataclass(frozen=True)
class Verification:
    """The comparison of outputs with the definition; errors and bounds in units of the output."""

    checked: int
    total: int
    largest_error: float
    bound: float
    worst: tuple[int, ...]
    passed: bool


class Check:
    """A verification in progress: compare the engine's result chunk by chunk, then judge it.

    The bound is c * sum|w| * max|x|, c = 1e-6 for float32 and 1e-14 for float64, and ten times that
    for a sum of more than 48 terms; results of an integer type must be exact. An output is also
    wrong if only one of it and the definition's value is finite, or if it was never compared.
    """

    def __init__(
        self,
        problem: Problem,
        shape: tuple[int, ...],
        dtype: str,
        *,
        samples: int = SAMPLES,
        seed: int = 0,
    ) -> None:
        """Choose the outputs of `shape` (*batch, *P, channels or O) and of `dtype` to recompute."""
        self.problem = problem
        self.dtype = np.dtype(dtype)
        self.shape = shape
        self.first = len(shape) - 1 - len(problem.spec.stride)
        self.points = _points(shape, len(problem.spec.stride), samples, seed)
        self.index = np.unravel_index(self.points, shape)
        number = np.float64 if self.dtype.kind == "f" else object
        self.given: NDArray[Any] = np.full(len(self.points), np.nan, number)
        self.exact: NDArray[Any] = np.zeros(len(self.points), number)
        self.largest = abs(problem.spec.cval)

    def look(self, y: NDArray[Any], chunk: Chunk) -> None:
        """Compare a chunk of the result, in the axes of the engine's output."""
        ends = {self.first: chunk.rows, 0: chunk.items} if self.first else {0: chunk.rows}
        seen = np.logical_and.reduce(
            [(self.index[axis] >= lo) & (self.index[axis] < hi) for axis, (lo, hi) in ends.items()]
        )
        starts = [ends[axis][0] if axis in ends else 0 for axis in range(len(self.index))]
        index = [where[seen] - start for where, start in zip(self.index, starts, strict=True)]
        self.given[seen] = y[tuple(index)]
        if seen.any():
            self.exact[seen] = _by_definition(
                self.problem, self.points[seen], self.shape, self.exact.dtype
            )
        for samples in self._samples_under(chunk):
            low, high = finite_range(samples)
            self.largest = max(self.largest, -low, high)  # a comparison with NaN changes nothing

    def _samples_under(self, chunk: Chunk) -> NDArray[Any]:
        """Return the samples that a chunk's windows cover."""
        x, spec, window = self.problem.x, self.problem.spec, self.problem.window
        axis = spec.axes(x.shape[self.first : -1], window)[0]
        start, stop = axis.under(*chunk.rows)
        x = x[slice(*chunk.items)] if self.first else x
        return np.moveaxis(x, self.first, 0)[max(start, 0) : max(stop, 0)]

    def verdict(self) -> Verification:
        """Return whether the outputs keep to the bound; those of an integer type must be exact."""
        bound = 0.0
        if self.dtype.kind == "f":
            kernels = 1 if self.problem.filters is None else self.problem.filters
            w = self.problem.w.reshape(kernels, -1)
            taps = float(np.abs(w).astype(np.float64).sum(axis=1).max())
            bound = tolerance(self.dtype.name, w.shape[1]) * taps * self.largest
        with np.errstate(invalid="ignore"):
            error = np.abs(self.given - self.exact).astype(np.float64)
        finite = np.isfinite(self.exact.astype(np.float64))
        given = np.isfinite(self.given.astype(np.float64))
        agree = np.where(finite, error <= bound, ~given)
        error = np.where(finite & given, error, np.where(agree, 0.0, np.inf))
        worst = int(np.argmax(np.where(agree, error, np.inf)))
        return Verification(
            checked=len(self.points),
            total=math.prod(self.shape),
            largest_error=float(error.max()),
            bound=bound,
            worst=tuple(int(where[worst]) for where in self.index),
            passed=bool(agree.all()),
        )


def checking_bytes(shape: tuple[int, ...], dims: int, checks: int) -> int:
    """Return the bytes that `checks` Checks of results of this shape need.

    >>> checking_bytes((100, 100, 1), 2, checks=1) // 2**20
    4
    """
    faces = sum(len({0, n - 1}) * math.prod(shape) // n for n in shape[len(shape) - 1 - dims : -1])
    each = 8 * (len(shape) + 3) * (faces + SAMPLES)
    return (checks + 1) * each + 4 * 8 * PRODUCTS


def _points(shape: tuple[int, ...], dims: int, samples: int, seed: int) -> NDArray[np.intp]:
    """Return flat indices of all outputs on the faces of the spatial box, and of random others."""
    total = math.prod(shape)
    if total <= samples:
        return np.arange(total)
    first = len(shape) - 1 - dims
    faces = []
    for axis in range(first, len(shape) - 1):
        for end in {0, shape[axis] - 1}:
            ranges = [np.arange(n) for n in shape]
            ranges[axis] = np.array([end])
            faces.append(np.ravel_multi_index(np.ix_(*ranges), shape).ravel())
    chosen = np.random.default_rng(seed).integers(0, total, samples)
    return np.unique(np.concatenate([*faces, chosen]))


def _by_definition(
    problem: Problem, points: NDArray[np.intp], shape: tuple[int, ...], number: np.dtype[Any]
) -> NDArray[Any]:
    """Compute the outputs at flat indices by the definition, PRODUCTS products at a time.

    number: float64, or object for whole numbers, which Python adds exactly.
    """
    taps = math.prod(problem.w.shape if problem.filters is None else problem.w.shape[1:])
    step = max(PRODUCTS // taps, 1)
    starts = range(0, len(points), step)
    return np.concatenate(
        [_sum_products(problem, points[start : start + step], shape, number) for start in starts]
    )


def _sum_products(
    problem: Problem, points: NDArray[np.intp], shape: tuple[int, ...], number: np.dtype[Any]
) -> NDArray[Any]:
    """Sum the products of each output's window with the kernel; points: flat indices of outputs."""
    x, w, spec = problem.x, problem.w, problem.spec
    dims = len(spec.stride)
    first = x.ndim - 1 - dims
    index = np.unravel_index(points, shape)

    # the sample under every tap along each axis, as arrays (points, ..., taps, ...) that broadcast
    outside = np.zeros((len(points), *([1] * dims)), bool)
    where: list[Any] = [batch.reshape(-1, *([1] * dims)) for batch in index[:first]]
    for turn, axis in enumerate(spec.axes(x.shape[first:-1], problem.window)):
        sample = axis.sample(index[first + turn][:, None], np.arange(axis.k))
        shape_along = [axis.k if other == turn else 1 for other in range(dims)]
        folded = boundary_index(sample, axis.n, spec.boundary).reshape(-1, *shape_along)
        outside = outside | (folded < 0)
        where.append(np.maximum(folded, 0))

    # one kernel for each channel, or a bank whose kernels sum over the channels of their group
    if problem.filters is None:
        channel = index[-1].reshape(-1, *([1] * dims))
        samples = _as_numbers(x[(*where, channel)], number)
        weights = _as_numbers(w[None], number)
    else:
        depth = w.shape[-1]
        group = index[-1] // (problem.filters // spec.groups)
        channels = (group[:, None] * depth + np.arange(depth)).reshape(-1, *([1] * dims), depth)
        samples = _as_numbers(x[(*(along[..., None] for along in where), channels)], number)
        weights = _as_numbers(w[index[-1]], number)
        outside = outside[..., None]

    samples = np.where(outside, _as_numbers(np.array(spec.cval), number), samples)
    with np.errstate(invalid="ignore", over="ignore"):
        total: NDArray[Any] = (samples * weights).reshape(len(points), -1).sum(axis=1)
    return total


def _as_numbers(values: NDArray[Any], number: np.dtype[Any]) -> NDArray[Any]:
    """Return values as float64, or as Python's integers."""
    if number == np.float64:
        return values.astype(number)
    return np.asarray(np.frompyfunc(int, 1, 1)(values), object)
