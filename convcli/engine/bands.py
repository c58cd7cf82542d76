"""A one-dimensional correlation as a matrix product: the kernel slides down a band matrix, and the library runs it.

A block of B outputs needs B + k - 1 samples, and the taps stand in each row one step further (here B = 3, k = 3)::

    [ y0 ]   [ w0 w1 w2  .  . ]   [ x0 ]       The samples are the array itself, seen in place: along an axis that
    [ y1 ] = [  . w0 w1 w2  . ] @ [ .. ]       is followed by many others (rows of an image) a block is a matrix
    [ y2 ]   [  .  . w0 w1 w2 ]   [ x4 ]       already; along the last axis, windows of B + k - 1 samples at every
                                               B-th place are the rows of one, multiplied by the band turned over.

A matrix product adds its terms in order, so a long kernel is cut into pieces, which bounds the run of roundings.
The zeros beside the band meet samples that no window covers: 0 * nan is nan, so whoever multiplies by a band must
look whether the result is finite.

Source: a Toeplitz matrix for a block of a convolution, as in Burrus, "Block implementation of digital filters", 1971.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from convcli.engine.pairwise import add_up
from convcli.engine.threads import Scratch
from convcli.shapes import Axis

Matrix: TypeAlias = NDArray[Any]
ROWS = 16
"""Outputs in a block of the band from the left: more multiply by more zeros, fewer read the samples more often."""

BLOCK = 16
"""The same from the right, and four times that for a LONG kernel, whose windows are copied for each product."""

LONG = 200

ENDLESS = 1 << 40

WIDE = 32
"""So many values after an axis make its blocks matrices of their own; fewer are woven into the band."""

CACHED = 50_000
"""Values of a block and its product that stay in the cache: wider blocks are cut into columns."""


def band(taps: Matrix, axis: Axis, outputs: int) -> Matrix:
    """The matrix (outputs, samples) that takes a run of samples to its correlation with taps (k,).

    >>> band(np.array([1, 2, 3]), Axis(5, 3), 3)
    array([[1, 2, 3, 0, 0],
           [0, 1, 2, 3, 0],
           [0, 0, 1, 2, 3]])
    """
    matrix = np.zeros((outputs, span(axis, outputs)), taps.dtype)
    rows = np.arange(outputs)
    for at, tap in enumerate(taps):
        matrix[rows, rows * axis.stride + at * axis.dilation] = tap
    return matrix


def span(axis: Axis, outputs: int) -> int:
    """Samples that a run of outputs needs."""
    return (outputs - 1) * axis.stride + axis.reach


def pieces(samples: int, longest: int) -> list[slice]:
    """Cut a run of samples into equal pieces of at most `longest`."""
    count = -(-samples // longest)
    return [slice(samples * i // count, samples * (i + 1) // count) for i in range(count)]


def columns(values: int, rows: int) -> list[slice]:
    """Cut the columns of a block, of so many rows with those of its product, to what stays in the cache."""
    return pieces(values, max(CACHED // rows // 128, 2) * 128)


def unlike(values: int, itemsize: int) -> int:
    """A row length of at least `values` that keeps the rows of a buffer out of each other's places in the cache.

    Rows a multiple of 4 KiB apart share them, and a product that writes 16 such rows at once runs at half its speed.
    """
    lines = -(-values * itemsize // 64)
    return (lines if lines % 2 else lines + 1) * 64 // itemsize


def as_matrix(block: Matrix, shape: tuple[int, int, int]) -> Matrix:
    """A block as (A, n, Z) with rows that a matrix product takes where they are; a copy where they do not lie so."""
    merged = block.reshape(shape)
    item, size, row = merged.strides[0], merged.itemsize, merged.strides[1]
    fits = merged.strides[2] == size and row % size == 0 and row >= shape[2] * size and item % size == 0
    return merged if fits and merged.flags.aligned else np.ascontiguousarray(merged)


class Before:
    """The band from the left, on blocks (samples, Z): for axes that many values lie behind.

    Fills out (A, m, Z) from x (A, n, Z). longest: the taps that one product may add in a row.
    """

    def __init__(self, taps: Matrix, axis: Axis, longest: int) -> None:
        self.axis, self.longest = axis, longest if longest < len(taps) else ENDLESS
        self.matrix = band(taps, axis, ROWS)

    def __call__(self, x: Matrix, out: Matrix, flat: Matrix | None = None) -> None:
        blocks, rest = divmod(out.shape[1], ROWS)
        step = ROWS * self.axis.stride
        if blocks:
            seen = _blocks(x, blocks, self.matrix.shape[1], step)
            self._product(seen, ROWS, _blocks(out, blocks, ROWS, ROWS))
        if rest:
            seen = x[:, blocks * step : blocks * step + span(self.axis, rest)]
            self._product(seen, rest, out[:, blocks * ROWS :])

    def _product(self, x: Matrix, outputs: int, out: Matrix) -> None:
        cut = pieces(x.shape[-2], self.longest * self.axis.dilation)
        for part in columns(x.shape[-1], x.shape[-2] + outputs):

            def fill(piece: slice, share: Matrix, part: slice = part) -> None:
                np.matmul(self.matrix[:outputs, piece], x[..., piece, part], out=share)

            add_up(cut, fill, out[..., part])


class Behind:
    """The band from the right, on windows of samples that begin at every block: for axes with little behind them.

    The rows of a matrix may not overlap for BLAS, and these windows do. Those of every R-th block do not, so R
    products give all; where rows are as long as `room` lays them, those of all items at once.
    """

    def __init__(self, taps: Matrix, axis: Axis, width: int, longest: int) -> None:
        self.axis, self.width = axis, width
        outputs = -(-(BLOCK if len(taps) < LONG else 4 * BLOCK) // width)
        self.matrix = np.kron(band(taps, axis, outputs).T, np.eye(width, dtype=taps.dtype))
        self.longest = longest * width * axis.dilation if longest < len(taps) else ENDLESS
        self.samples, self.block = self.matrix.shape
        self.step = outputs * axis.stride * width
        self.apart = -(-self.samples // self.step)
        self.scratch = Scratch()

    def room(self, scratch: Scratch, name: str, items: int, values: int) -> tuple[Matrix, Matrix]:
        """A flat buffer and its rows (items, values): windows may run past a row's end, into the next."""
        pitch = self._windows(values) * self.step
        flat = scratch(name, (items * pitch + self.samples,), self.matrix.dtype)
        rows = flat[: items * pitch].reshape(items, pitch)
        rows[:, values:] = 0  # met by zeros of the band, and 0 * nan is nan
        flat[items * pitch :] = 0
        return flat, rows[:, :values]

    def __call__(self, x: Matrix, out: Matrix, flat: Matrix | None = None) -> None:
        """Fill out (A, m, Z) from x (A, n, Z), which `room` has given if there is a `flat`."""
        values = x.shape[1] * self.width
        if flat is None and len(x) == 1 and out.flags.c_contiguous:
            self._one(x.reshape(-1), out.reshape(-1))
            return
        if flat is None:
            flat, rows = self.room(self.scratch, "rows", len(x), values)
            rows[...] = x.reshape(rows.shape)
        windows = self._windows(values)
        products = self.scratch("products", (len(x) * windows * self.block,), self.matrix.dtype)
        for first in range(self.apart):
            count = len(x) * windows // self.apart
            self._product(flat[first * self.step :], count, products[first * self.block :])
        kept = products.reshape(len(x), -1)[:, : out.shape[1] * self.width]
        out[...] = kept.reshape(out.shape)

    def _windows(self, values: int) -> int:
        """Windows in a row of `room`: as many of each of the R products."""
        return int(-(-values // (self.apart * self.step)) * self.apart)

    def _one(self, line: Matrix, out: Matrix) -> None:
        """One long row, straight into its place, and the outputs after the last whole block by themselves."""
        blocks, rest = divmod(len(out), self.block)
        for first in range(min(self.apart, blocks)):
            count = -(-(blocks - first) // self.apart)
            self._product(line[first * self.step :], count, out[first * self.block :])
        if rest:
            needed = span(self.axis, rest // self.width) * self.width
            start = blocks * self.step
            end, line = self.matrix[:needed, :rest], line[start : start + needed]
            add_up(
                pieces(needed, self.longest),
                lambda piece, share: np.matmul(line[piece], end[piece], out=share),
                out[blocks * self.block :],
            )

    def _product(self, line: Matrix, count: int, out: Matrix) -> None:
        seen = _windows(line, count, self.samples, self.apart * self.step)
        target = _windows(out, count, self.block, self.apart * self.block)
        add_up(
            pieces(self.samples, self.longest),
            lambda piece, share: np.matmul(seen[:, piece], self.matrix[piece], out=share),
            target,
        )


def _blocks(x: Matrix, count: int, length: int, step: int) -> Matrix:
    """Blocks of rows that begin at every `step`-th row of x (A, n, Z): (A, count, length, Z)."""
    item, row, value = x.strides
    return as_strided(x, (len(x), count, length, x.shape[2]), (item, step * row, row, value))


def _windows(line: Matrix, count: int, length: int, step: int) -> Matrix:
    """Windows of a line, as rows: as_strided does the same in ten times the microseconds."""
    return np.ndarray((count, length), line.dtype, line, strides=(step * line.itemsize, line.itemsize))
