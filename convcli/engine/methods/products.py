"""Products of the windows in a flat buffer with the kernels of a layer; see methods/gemm.py.

Kernels are cut into stretches, and their taps are the columns of one matrix for each stretch. A
call multiplies the columns of all stretches by all phases and blocks of the windows, and adds up
the shares.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from convcli.engine.methods.bands import cut, pieces
from convcli.engine.methods.windows import Strided, merges
from convcli.engine.planning.blocking import GemmBlocking, rows_of
from convcli.engine.threads import Scratch, share_out
from convcli.limits import threads

WORTH_SHARING = 1 << 18
"""Taps of a group from which several threads copy them to columns: a third of a millisecond."""

TRANSPOSED = 8
"""Stretches that are copied to columns at a time: some hundred kilobytes, in few calls."""


class Windows(NamedTuple):
    """The positions of windows in a flat buffer, in samples."""

    number: int
    step: int
    """Distance of consecutive windows."""
    phases: int
    """Number of consecutive windows that overlap: a matrix contains every `phases`-th window."""
    run_steps: tuple[int, ...]
    """Distance of consecutive runs of a window, along each axis of the kernel except the last."""


class Grid(NamedTuple):
    """Windows of consecutive lines; only the first windows of each line are outputs."""

    lines: int
    width: int


class _Product(NamedTuple):
    """One matrix product: the taps, and views of the buffers of the samples and of the shares."""

    columns: NDArray[Any]
    samples: Strided
    shares: Strided


class _Pass(NamedTuple):
    """Stretches of a window whose shares are added in one run."""

    first: int
    """Index of their first sample."""
    columns: list[NDArray[Any]]
    """The kernels' taps (stretches, *leads, 1, 1, length, n) of equal stretches, and of a shorter
    last one."""

    @property
    def stretches(self) -> int:
        return sum(map(len, self.columns))


class _Kernels:
    """Some kernels of a bank, (n, *leads, run), cut into stretches as columns of the products."""

    def __init__(self, w: NDArray[Any], blocking: GemmBlocking, scratch: Scratch) -> None:
        run, columns = w.shape[-1], _contiguous_columns if blocking.turned else _columns
        self.scratch, self.leads, self.turned = scratch, w.shape[1:-1], blocking.turned
        self.length = -(-run // -(-run // blocking.longest))
        self.passes: list[_Pass] = []
        self.products: dict[tuple[int, Windows, tuple[int, ...]], list[_Product]] = {}
        together = max(blocking.shares // math.prod(self.leads), 1)
        for stretches in pieces(-(-run // self.length), together):
            # All stretches of a pass are equal, except a shorter one at the end of the run.
            first, last = stretches.start * self.length, min(stretches.stop * self.length, run)
            end = last - (last - first) % self.length
            parts = [(start, stop) for start, stop in ((first, end), (end, last)) if start < stop]
            cut = [
                columns(w[..., start:stop], min(self.length, stop - start)) for start, stop in parts
            ]
            self.passes.append(_Pass(first, cut))

    def __call__(
        self, flat: NDArray[Any], start: int, windows: Windows, grid: Grid, out: NDArray[Any]
    ) -> None:
        """Compute out (*box, n) from the windows of flat samples; start: of the first window."""
        places, offset = math.prod(grid), start * flat.itemsize
        if len(self.passes) == 1:
            if self._fits(out, places):
                self._fill(flat, offset, windows, 0, out.reshape(1, *self.leads, places, -1))
            else:
                self._add_up(self._shares(flat, offset, windows, 0, places, out), grid, out)
            return
        sums = self.scratch("sums", (len(self.passes), places, out.shape[-1]), out.dtype)
        for number, total in enumerate(sums):
            self._add_up(
                self._shares(flat, offset, windows, number, places, out), Grid(1, places), total
            )
        self._add_up(sums, grid, out)

    def _fits(self, out: NDArray[Any], places: int) -> bool:
        """Return whether one product computes the outputs, and can write them in place."""
        alone = self.passes[0].stretches * math.prod(self.leads) == 1
        return alone and out.size == places * out.shape[-1] and merges(out, 1)

    def _shares(
        self,
        flat: NDArray[Any],
        offset: int,
        windows: Windows,
        number: int,
        places: int,
        out: NDArray[Any],
    ) -> NDArray[Any]:
        """Return what every stretch of a pass adds to every position: (shares, places, n)."""
        shape = (self.passes[number].stretches, *self.leads, places, out.shape[-1])
        shares = self.scratch("shares", shape, out.dtype)
        self._fill(flat, offset, windows, number, shares)
        return shares.reshape(-1, places, out.shape[-1])

    def _fill(
        self, flat: NDArray[Any], offset: int, windows: Windows, number: int, shares: NDArray[Any]
    ) -> None:
        """Compute shares (stretches, *leads, places, n) of a pass; offset: in bytes."""
        key = (number, windows, shares.strides)
        products = self.products.get(key)
        if products is None:
            products = self.products[key] = list(
                self._products(self.passes[number], windows, shares.strides)
            )
        for columns, samples, target in products:
            np.matmul(samples.of(flat, offset), columns, out=_rows_of_shares(shares, target))

    def _products(
        self, part: _Pass, windows: Windows, strides: tuple[int, ...]
    ) -> Iterator[_Product]:
        """Yield the products of a pass; strides: those of the shares."""
        stretch, *outer, row, value = strides
        start, target = part.first, 0
        for columns in part.columns:
            *leads, _, _, length, n = columns.shape
            for phase, phases, count in _phases(windows):
                # A product's rows are every `windows.phases`-th window, in blocks of similar size.
                most = rows_of(length * n) if self.turned else count
                block, size = cut(count, most), columns.itemsize
                shape = (*leads, phases, block.number, block.width)
                steps = (1, block.step * windows.phases, windows.phases)
                window_steps = (
                    self.length,
                    *windows.run_steps,
                    *(step * windows.step for step in steps),
                    1,
                )
                yield _Product(
                    columns,
                    Strided(
                        (*shape, length),
                        tuple(size * step for step in window_steps),
                        (start + phase * windows.step) * size,
                    ),
                    Strided(
                        (*shape, n),
                        (stretch, *outer, *(step * row for step in steps), value),
                        target + phase * row,
                    ),
                )
            start += len(columns) * self.length
            target += len(columns) * stretch

    def _add_up(self, shares: NDArray[Any], grid: Grid, out: NDArray[Any]) -> None:
        """Compute out (*box, n): the sum of shares (shares, lines * width, n).

        A product with ones is the fastest sum.
        """
        kept, n = math.prod(out.shape[:-1]) // grid.lines, out.shape[-1]
        if len(shares) == 1:
            out[...] = shares.reshape(*grid, n)[:, :kept].reshape(out.shape)
            return
        seen = shares.reshape(len(shares), grid.lines, grid.width * n)[:, :, : kept * n].swapaxes(
            0, 1
        )
        contiguous = out.flags.c_contiguous
        sums = out if contiguous else self.scratch("total", out.shape, out.dtype)
        np.matmul(_ones(len(shares), shares.dtype), seen, out=sums.reshape(grid.lines, 1, -1))
        if not contiguous:
            out[...] = sums


def _phases(windows: Windows) -> Iterator[tuple[int, int, int]]:
    """Yield (first window, number of phases, windows per phase).

    The first phases may have one window more than the others.

    >>> list(_phases(Windows(10, 1, 4, ())))
    [(0, 2, 3), (2, 2, 2)]
    """
    rounds, more = divmod(windows.number, windows.phases)
    for first, phases, count in ((0, more, rounds + 1), (more, windows.phases - more, rounds)):
        if phases * count:
            yield first, phases, count


class Group:
    """The kernels of one group, (n, *leads, run), divided into the columns of several products."""

    def __init__(self, w: NDArray[Any], blocking: GemmBlocking, scratch: Scratch) -> None:
        self.parts: dict[int, tuple[slice, _Kernels]] = {}
        parts = pieces(len(w), blocking.columns)

        def ready(at: int) -> None:
            self.parts[at] = parts[at], _Kernels(w[parts[at]], blocking, scratch)

        share_out(
            ready,
            range(len(parts)),
            workers=threads() if blocking.turned and w.size > WORTH_SHARING else 1,
        )

    def __call__(
        self, flat: NDArray[Any], start: int, windows: Windows, grid: Grid, out: NDArray[Any]
    ) -> None:
        """Compute out (*box, n), each `_Kernels` its own part."""
        for part, kernels in self.parts.values():
            kernels(flat, start, windows, grid, out[..., part])


def _rows_of_shares(shares: NDArray[Any], target: Strided) -> NDArray[Any]:
    """Return a view of the shares, if possible without as_strided, which is slow."""
    if shares.flags.c_contiguous:
        return target.of(shares, 0)
    return as_strided(
        shares[..., target.start // shares.strides[-2] :, :], target.shape, target.strides
    )


def _columns(w: NDArray[Any], length: int) -> NDArray[Any]:
    """Return kernels (n, *leads, run) as columns (stretches, *leads, 1, 1, length, n).

    The result is a view if the strides of w allow one.
    """
    cut = w.reshape(*w.shape[:-1], -1, length)
    return np.moveaxis(cut, (-2, 0), (0, -1))[..., None, None, :, :]


def _contiguous_columns(w: NDArray[Any], length: int) -> NDArray[Any]:
    """Return the same columns as a contiguous copy."""
    seen = _columns(w, length)
    columns = np.empty(seen.shape, w.dtype)
    for part in pieces(len(columns), TRANSPOSED):
        some = seen[part]
        # Rows a multiple of 4 KiB apart compete for the same cache sets, so transpose a copy.
        if some.strides[-1] != some.itemsize:
            some = np.moveaxis(np.ascontiguousarray(np.moveaxis(some, -1, 0)), 0, -1)
        columns[part] = some
    return columns


@lru_cache(maxsize=64)
def _ones(count: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.ones((1, count), dtype)
