"""A one-dimensional correlation as products with a band matrix, whose rows are the shifted kernel.

A block of B outputs needs B + k - 1 samples, and each row of the band has the taps shifted by one
more step (B = 3, k = 3)::

    [ y0 ]   [ w0 w1 w2  .  . ]   [ x0 ]
    [ y1 ] = [  . w0 w1 w2  . ] @ [ .. ]
    [ y2 ]   [  .  . w0 w1 w2 ]   [ x4 ]

The samples are views of the array. Along an axis that many values follow (rows of an image), a
block is a matrix already; along the last axis a block of many rows is multiplied by the transposed
band.

Blocks overlap and are narrow, so there are many small products, which numpy computes in one call on
a batch of views. OpenBLAS multiplies small matrices without packing them first, which makes narrow
ones fast: on one core, 24 samples by 16 outputs run at 50 billion multiply-adds per second in
products of up to SMALL, and at 30 in larger ones.

The zeros outside of the band are multiplied by samples that no window covers. 0 * nan is nan, so
the caller must check that the result is finite.

Source: a Toeplitz matrix for a block of a convolution, as in Burrus, "Block implementation of
digital filters", 1971.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from convcli.engine.methods.summation import pairwise_sum
from convcli.engine.planning.facts import PrecisionName, roundings_allowed
from convcli.engine.planning.tiles import ALONG, DOWN

Matrix: TypeAlias = NDArray[Any]

DEEP = 128
"""Rows in a product along the last axis: fewer are slower, more exceed the first-level cache."""

FOLD = 15
"""Blocks in one row when a long row is folded into many, so that blocks are read in order; an odd
number, so that the rows do not compete for the same cache sets."""

SMALL = 900_000
"""Multiply-adds of a product that OpenBLAS treats as small: it changes its algorithm at a million.
"""


class Cut(NamedTuple):
    """A run of positions as `number` equal pieces, `step` apart, which may overlap."""

    number: int
    step: int
    width: int


def cut(places: int, most: int) -> Cut:
    """Cut a run of positions into equal pieces of about `most`.

    >>> cut(4094, 1000)
    Cut(number=5, step=818, width=822)
    """
    count = -(-places // max(most, 1))
    step = places // count
    return Cut(count, step, places - (count - 1) * step)


def pieces(terms: int, longest: int) -> list[slice]:
    """Cut a run of terms into nearly equal pieces of at most `longest`."""
    count = -(-terms // longest)
    return [slice(terms * i // count, terms * (i + 1) // count) for i in range(count)]


def unlike(values: int, itemsize: int) -> int:
    """Return a row length of at least `values` that distributes rows over the cache's sets.

    Rows a multiple of 4 KiB apart compete for the same sets, and a product that reads 16 such rows
    at once runs at half its speed.
    """
    lines = -(-values * itemsize // 64)
    return (lines if lines % 2 else lines + 1) * 64 // itemsize


def as_matrix(block: Matrix, shape: tuple[int, int, int]) -> Matrix:
    """Return a block as (A, n, Z), copied if a matrix product cannot read its rows in place."""
    merged = block.reshape(shape)
    item, size, row = merged.strides[0], merged.itemsize, merged.strides[1]
    fits = (
        merged.strides[2] == size
        and row % size == 0
        and row >= shape[2] * size
        and item % size == 0
    )
    return merged if fits and merged.flags.aligned else np.ascontiguousarray(merged)


def band(taps: Matrix, stride: int, dilation: int, outputs: int) -> Matrix:
    """Return the matrix (outputs, samples) that correlates a run of samples with taps (k,).

    >>> band(np.array([1, 2, 3]), 1, 1, 3)
    array([[1, 2, 3, 0, 0],
           [0, 1, 2, 3, 0],
           [0, 0, 1, 2, 3]])
    """
    matrix = np.zeros(
        (outputs, (outputs - 1) * stride + (len(taps) - 1) * dilation + 1), taps.dtype
    )
    rows = np.arange(outputs)[:, None]
    matrix[rows, rows * stride + np.arange(len(taps)) * dilation] = taps
    return matrix


def band_runs(matrix: Matrix, precision: PrecisionName | None, terms: int) -> list[slice]:
    """Cut a band's columns into the fewest equal runs that keep the contract's error.

    precision: None if no sum rounds. terms: those of the whole kernel.

    >>> band_runs(band(np.ones(48), 1, 1, 2), "float32", 48)
    [slice(0, 24, None), slice(24, 49, None)]
    """
    samples = matrix.shape[1]
    for longest in (-(-samples // number) for number in range(1, samples)):
        runs = pieces(samples, longest)
        if precision is None or not _roundings(matrix, runs) > roundings_allowed(precision, terms):
            return runs
    return pieces(samples, 1)


def _roundings(matrix: Matrix, runs: Sequence[slice]) -> float:
    """Return the largest rounding error of a row, in roundings of its sum of |taps|.

    Every step rounds a partial sum, at most the sum of |taps| so far; adding zero rounds nothing.
    """
    sizes = np.abs(matrix, dtype=np.float64)
    sums = sum((np.cumsum(sizes[:, run], axis=1) * (sizes[:, run] > 0)).sum(axis=1) for run in runs)
    return float((sums / sizes.sum(axis=1)).max())


def most_runs(samples: int, precision: PrecisionName | None, terms: int) -> int:
    """Return the most runs into which a band of so many columns is cut, for any taps."""
    if precision is None or terms <= roundings_allowed(precision, terms):
        return 1
    return -(-samples // int(roundings_allowed(precision, terms)))


def down_blocks(outputs: int, block: int = DOWN) -> list[tuple[int, int, int]]:
    """Cut outputs into blocks and a smaller last one.

    Return, for each size of block: (first output, number of blocks, outputs per block).

    >>> down_blocks(10), down_blocks(3)
    ([(0, 2, 4), (8, 1, 2)], [(0, 1, 3)])
    """
    number, left = divmod(outputs, block)
    return [some for some in ((0, number, block), (number * block, 1, left)) if all(some[1:])]


class Phase(NamedTuple):
    """Every n-th sample and output of an axis, between which there is no dilation."""

    samples: slice
    outputs: slice


def undilated(stride: int, dilation: int) -> tuple[int, list[Phase]]:
    """Return the phases of an axis, whose bands need no zeros between taps, and their stride.

    >>> undilated(2, 2)
    (1, [Phase(samples=slice(0, None, 2), outputs=slice(0, None, 1))])
    """
    left, count = stride // math.gcd(stride, dilation), dilation // math.gcd(stride, dilation)
    return left, [
        Phase(slice(p * stride, None, dilation), slice(p, None, count)) for p in range(count)
    ]


class _Run(NamedTuple):
    """Consecutive taps that one product adds: their band, and the index of its first sample."""

    matrix: Matrix
    first: int


class Down:
    """A band multiplied from the left to blocks (samples, Z), for axes that many values follow.

    A call computes out (A, m, Z) from x (A, n, Z). cuts: the runs of taps that one product adds.
    """

    def __init__(self, taps: Matrix, stride: int, dilation: int, cuts: Sequence[slice]) -> None:
        self.step, self.phases = undilated(stride, dilation)
        self.runs = [_Run(band(taps[part], self.step, 1, DOWN), part.start) for part in cuts]

    def __call__(self, x: Matrix, out: Matrix) -> None:
        for phase in self.phases:
            seen = x[:, phase.samples]
            pairwise_sum(
                self.runs,
                lambda run, share, seen=seen: self._slide(run, seen, share),  # type: ignore[misc]
                out[:, phase.outputs],
            )

    def _slide(self, run: _Run, x: Matrix, out: Matrix) -> None:
        for first, number, outputs in down_blocks(out.shape[1]):
            samples = run.matrix.shape[1] - (DOWN - outputs) * self.step
            seen = _blocks(x[:, run.first + first * self.step :], number, DOWN * self.step, samples)
            target = out[:, first : first + number * outputs].reshape(len(out), number, outputs, -1)
            _across(run.matrix[:outputs, :samples], seen, target)


class Along:
    """A band multiplied from the right to rows of samples, for axes that few values follow.

    A call computes out (A, m, Z) from x (A, n, Z), both with contiguous rows; the band repeats each
    tap for the Z values of a sample. cuts: the runs of taps that one product adds.
    """

    def __init__(
        self, taps: Matrix, stride: int, dilation: int, width: int, cuts: Sequence[slice]
    ) -> None:
        self.stride, self.width, self.outputs = stride, width, max(ALONG // width, 1)
        self.runs = []
        for part in cuts:
            matrix = band(taps[part], stride, dilation, self.outputs).T.copy()
            repeated = np.kron(matrix, np.eye(width, dtype=taps.dtype))
            self.runs.append(_Run(repeated, part.start * dilation))

    def __call__(self, x: Matrix, out: Matrix) -> None:
        if len(x) < DOWN and self._fold(x, out):
            return
        pairwise_sum(self.runs, lambda run, share: self._slide(run, x, share), out)

    def _fold(self, x: Matrix, out: Matrix) -> bool:
        """Compute a long row as many short ones and a rest; return False if it is too short."""
        longest = max(len(run.matrix) for run in self.runs)
        each = (
            max(FOLD, -(-longest // (self.stride * self.width * self.outputs)) | 1) * self.outputs
        )
        rows = out.shape[1] // each
        if rows < DOWN:
            return False
        for line, target in zip(x, out, strict=True):
            samples = each * self.stride
            value, item = line.strides[0], line.itemsize
            shape = (rows, len(line) - (rows - 1) * samples, self.width)
            seen = as_strided(line, shape, (samples * value, value, item))
            filled = as_strided(
                target, (rows, each, self.width), (each * target.strides[0], *target.strides)
            )
            self(seen, filled)
            if rows * each < len(target):
                self(line[None, rows * samples :], target[None, rows * each :])
        return True

    def _slide(self, run: _Run, x: Matrix, out: Matrix) -> None:
        blocks, rest = divmod(out.shape[1], self.outputs)
        step, samples = self.outputs * self.stride, len(run.matrix) // self.width
        if blocks:
            self._through(run.matrix, x[:, run.first :], out, blocks)
        if rest:
            samples -= (self.outputs - rest) * self.stride
            matrix = run.matrix[: samples * self.width, : rest * self.width]
            self._through(
                matrix, x[:, run.first + blocks * step :], out[:, blocks * self.outputs :], 1
            )

    def _through(self, matrix: Matrix, x: Matrix, out: Matrix, blocks: int) -> None:
        samples, outputs = matrix.shape
        size, row, target = x.itemsize, x.strides[0], out.strides[0]
        deep = cut(len(x), DEEP)
        step = self.outputs * self.stride * self.width
        shape = (deep.number, blocks, deep.width)
        seen = as_strided(x, (*shape, samples), (deep.step * row, step * size, row, size))
        filled = as_strided(
            out, (*shape, outputs), (deep.step * target, outputs * size, target, size)
        )
        np.matmul(seen, matrix, out=filled)


def _blocks(x: Matrix, count: int, step: int, length: int) -> Matrix:
    """Return blocks (A, count, length, Z), which begin at every `step`-th row of x (A, n, Z)."""
    item, row, value = x.strides
    return as_strided(x, (len(x), count, length, x.shape[2]), (item, step * row, row, value))


def _across(matrix: Matrix, x: Matrix, out: Matrix) -> None:
    """Compute out (A, count, B, Z) = matrix @ x (A, count, samples, Z), in small products."""
    columns = cut(x.shape[3], max(SMALL // matrix.size, DEEP))
    if columns.number > 1:
        x, out = _columns(x, columns), _columns(out, columns)
    np.matmul(matrix, x, out=out)


def _columns(x: Matrix, columns: Cut) -> Matrix:
    """Return the columns of blocks (A, count, length, Z): (A, count, columns, length, width)."""
    item, block, row, value = x.strides
    return as_strided(
        x,
        (*x.shape[:2], columns.number, x.shape[2], columns.width),
        (item, block, columns.step * value, row, value),
    )
