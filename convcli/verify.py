"""Outputs recomputed from the literal definition in float64, by a path that shares nothing with the engine's.

For an output p, `y[p] = sum over taps t of w[t] * x[stride*p + dilation*t - lo]`, with the boundary's sample where
that lies outside. Checked are all outputs on the faces of the spatial box, corners and edges, where padding errs
if it errs, and a random choice of the others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convcli.engine.operations import Problem
from convcli.engine.pad import fold

SAMPLES = 1000
"""Random outputs checked besides the faces."""

CHUNK = 1 << 22
"""Products held at once: 32 MiB of float64."""

TOLERANCE = {"float32": 1e-6, "float64": 1e-14}
"""The contract's bound on |y - exact| / (sum|w| * max|x|), by the result's type."""


@dataclass(frozen=True)
class Verification:
    """How far the engine's outputs were from the definition's; errors and bounds in units of the output."""

    checked: int
    total: int
    largest_error: float
    bound: float
    worst: tuple[int, ...]
    passed: bool


def verify(problem: Problem, y: NDArray[Any], *, samples: int = SAMPLES, seed: int = 0) -> Verification:
    """Check the engine's float result y (*batch, *P, lanes or O) of `problem` at its faces and at random.

    The bound is c * sum|w| * max|x|, c = 1e-6 for float32 and 1e-14 for float64; an output is also wrong where it
    is finite and the definition's is not, or the other way round.
    """
    points = _points(y.shape, len(problem.spec.stride), samples, seed)
    exact = _literal(problem, points, y.shape)
    given = y.reshape(-1)[points].astype(np.float64)
    bound = TOLERANCE[y.dtype.name] * _scale(problem)
    with np.errstate(invalid="ignore"):
        error = np.abs(given - exact)
    agree = np.where(np.isfinite(exact), error <= bound, ~np.isfinite(given))
    error = np.where(np.isfinite(exact) & np.isfinite(given), error, np.where(agree, 0.0, np.inf))
    worst = int(np.argmax(np.where(agree, error, np.inf)))
    return Verification(
        checked=len(points),
        total=y.size,
        largest_error=float(error.max()),
        bound=bound,
        worst=tuple(int(i) for i in np.unravel_index(points[worst], y.shape)),
        passed=bool(agree.all()),
    )


def _points(shape: tuple[int, ...], dims: int, samples: int, seed: int) -> NDArray[np.intp]:
    """Flat indices of every output on a face of the spatial box, and of random others, each once."""
    total = math.prod(shape)
    if total <= samples:
        return np.arange(total)
    first = len(shape) - 1 - dims
    faces = []
    for axis in range(first, len(shape) - 1):
        for end in {0, shape[axis] - 1}:
            ranges = [np.arange(n) if at != axis else np.array([end]) for at, n in enumerate(shape)]
            faces.append(np.ravel_multi_index(np.ix_(*ranges), shape).ravel())
    chosen = np.random.default_rng(seed).integers(0, total, samples)
    return np.unique(np.concatenate([*faces, chosen]))


def _literal(problem: Problem, points: NDArray[np.intp], shape: tuple[int, ...]) -> NDArray[np.float64]:
    taps = math.prod(problem.w.shape if problem.filters is None else problem.w.shape[1:])
    step = max(CHUNK // taps, 1)
    parts = [_literal_chunk(problem, points[at : at + step], shape) for at in range(0, len(points), step)]
    return np.concatenate(parts)


def _literal_chunk(problem: Problem, points: NDArray[np.intp], shape: tuple[int, ...]) -> NDArray[np.float64]:
    x, w, spec = problem.x, problem.w, problem.spec
    dims = len(spec.stride)
    first = x.ndim - 1 - dims
    window = w.shape if problem.filters is None else w.shape[1:-1]
    index = np.unravel_index(points, shape)
    outside = np.zeros((len(points), *([1] * dims)), bool)
    where: list[Any] = [part.reshape(-1, *([1] * dims)) for part in index[:first]]
    for at, axis in enumerate(spec.axes(x.shape[first:-1], window)):
        place = index[first + at][:, None] * axis.stride + np.arange(axis.k) * axis.dilation - axis.lo
        folded = fold(place, axis.n, spec.boundary).reshape(-1, *(axis.k if d == at else 1 for d in range(dims)))
        outside = outside | (folded < 0)
        where.append(np.maximum(folded, 0))
    if problem.filters is None:
        seen = x[(*where, index[-1].reshape(-1, *([1] * dims)))].astype(np.float64)
        weights = w[None].astype(np.float64)
    else:
        depth, share = w.shape[-1], problem.filters // spec.groups
        group = index[-1] // share
        lanes = (group[:, None] * depth + np.arange(depth)).reshape(-1, *([1] * dims), depth)
        seen = x[(*(part[..., None] for part in where), lanes)].astype(np.float64)
        weights, outside = w[index[-1]].astype(np.float64), outside[..., None]
    seen = np.where(outside, spec.cval, seen)
    with np.errstate(invalid="ignore", over="ignore"):
        total: NDArray[np.float64] = (seen * weights).reshape(len(points), -1).sum(axis=1)
    return total


def _scale(problem: Problem) -> float:
    """sum|w| * max|x|, over the kernel with the largest sum and the finite samples."""
    rows = problem.w.reshape(1 if problem.filters is None else problem.filters, -1)
    largest = max((_largest(part) for part in problem.x), default=0.0)
    return float(np.abs(rows).astype(np.float64).sum(axis=1).max()) * max(largest, abs(problem.spec.cval))


def _largest(part: NDArray[Any]) -> float:
    low, high = float(part.min()), float(part.max())
    if np.isfinite(low) and np.isfinite(high):
        return max(-low, high)
    finite = np.abs(part[np.isfinite(part)])
    return float(finite.max(initial=0.0))
