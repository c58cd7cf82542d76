"""A layer as matrix products: each output's window is a row, each kernel a column, and a product gives every sum::

      windows (P, K*C)      kernels (K*C, O)      outputs (P, O)
    [ x0 x1 x2 ]             [ w0 ]                [ y0 ]
    [ x1 x2 x3 ]      @      [ w1 ]        =       [ y1 ]
    [ x2 x3 x4 ]             [ w2 ]                [ y2 ]

In general the windows are copied out, a boxful at a time (im2col). With stride 1 they are read where they lie: a row of
a window is one run of samples, the next window's begins one sample on, and since rows of a matrix may not overlap,
every R-th window is taken together, R being as many as a window is wide (here 3)::

    samples    a b c d e f g h i ..        phase 0    a b c | d e f | g h i        outputs 0 3 6
                                           phase 1    b c d | e f g | ..           outputs 1 4 ..
                                           phase 2    c d e | f g h | ..           outputs 2 5 ..

The lines of an image follow each other in memory, and all of a box's are multiplied as one: the few windows that
stretch from the end of a line to the beginning of the next are computed too, and left out. So each row of the kernel
has products of its own, and the shares of all rows are added up.

Long phases are cut into blocks, and windows that do not overlap are one phase. A product adds its terms one after the
other, which rounds as often, so long runs are cut into stretches. All stretches, phases, blocks and rows of the kernel
are products of one call: between calls the threads wait for the interpreter.
Groups of few channels are bundled, with zeros where a kernel does not look.

Source: Chellapilla, Puri and Simard, "High performance convolutional neural networks for document
processing", 2006.
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
from convcli.engine.methods.base import CostEstimate, Method, Needs, TileFunction
from convcli.engine.methods.windows import Box, boxes, merges, windows
from convcli.engine.planning.blocking import GemmBlocking, bundle, rows_of
from convcli.engine.planning.costs import GATHER, MAC
from convcli.engine.planning.facts import PrecisionName, Work
from convcli.engine.planning.plan import Plan
from convcli.engine.planning.tiles import evenly, layer_rest
from convcli.engine.threads import Scratch, share_out
from convcli.limits import threads
from convcli.shapes.axis import Axis

WINDOW = 0.2
"""Nanoseconds of one sample of a window copied out as a row."""

WINDOW_RUN = 5.0
"""Nanoseconds more of a run of such samples."""

WORTH_SHARING = 1 << 18
"""Taps of a group whose turning into columns is shared out over the threads: a third of a millisecond."""

TURNED = 8
"""Stretches that are turned into columns at a time: some hundred kilobytes, and few calls."""

FEW_PLACES = 256
"""Outputs of each kernel up to which it is read as it lies: products are a third slower so, and turning one tap takes
as long as that third of so many multiply-adds."""

_scratch = Scratch()


def forget() -> None:
    """Leave what threads have multiplied in, which they otherwise keep from run to run."""
    global _scratch
    _scratch = Scratch()


class Gemm(Method):
    """A layer as matrix products of windows and kernels."""

    name = "gemm"

    def refusal(self, work: Work) -> str:
        if work.facts.filters is None:
            return "one kernel for every channel"
        return "every channel has a kernel of its own" if work.is_depthwise else ""

    def cost(self, work: Work) -> CostEstimate:
        blocking = self._blocking(work, "float32")
        account = f"{blocking.terms} terms for each of {work.facts.filters} kernels: a matrix product over " + (
            "windows where they lie" if blocking.in_place else "gathered windows"
        )
        each = blocking.terms * MAC * (1 + 8 / blocking.columns) + GATHER * blocking.terms / blocking.longest
        rows = work.outputs / blocking.filters * blocking.terms
        copied = 0.0 if blocking.in_place else WINDOW + WINDOW_RUN / blocking.run
        return CostEstimate(work.outputs * each + rows * copied, account)

    def tile(self, work: Work) -> tuple[int, ...]:
        (batch, *between), first, rest = work.facts.batch, work.sizes[0], layer_rest(work)
        places, inner = math.prod(work.facts.batch) * math.prod(work.sizes), math.prod(between) * math.prod(rest)
        budget = self._blocking(work, self.precision(work)).tile(places)
        items = min(max(budget // (inner * first), 1), batch)
        return evenly(batch, items), evenly(first, min(-(-budget // inner), first)), *rest

    def memory(self, work: Work, tile: tuple[int, ...]) -> Needs:
        blocking, size = self._blocking(work, self.precision(work)), self.itemsize(work)
        scratch = blocking.scratch(work.lead(tile) * math.prod(tile[1:]))
        return Needs(work.taps * (1 + 2 * blocking.bundled) * size, (work.tile_samples(tile) + scratch) * size)

    def prepare(self, w: NDArray[Any], plan: Plan) -> TileFunction:
        blocking = self._blocking(plan, plan.precision)
        w = _bundle(w.astype(plan.accumulator, copy=False), blocking)
        turned = math.prod(plan.output[:-1]) > FEW_PLACES
        return (_InPlace if blocking.in_place else _Gathered)(w, plan.axes, blocking, turned)

    def spreads_nan(self, work: Work) -> bool:
        return bundle(work.depth, work.spec.groups) > 1

    @staticmethod
    def _blocking(work: Work, precision: PrecisionName | None) -> GemmBlocking:
        assert work.facts.filters is not None
        return GemmBlocking.of(work.axes, work.facts.channels, work.facts.filters, work.spec.groups, precision)


METHOD = Gemm()


def _bundle(w: NDArray[Any], products: GemmBlocking) -> NDArray[Any]:
    """Kernels (O, *window, C/groups) over all channels of a bundle of groups, with zeros for those of the others."""
    if products.bundled == 1:
        return w
    parts = w.reshape(products.groups, products.bundled, -1, *w.shape[1:])
    wide = np.zeros((*parts.shape[:-1], products.bundled, w.shape[-1]), w.dtype)
    for at in range(products.bundled):
        wide[:, at, ..., at, :] = parts[:, at]
    return wide.reshape(len(w), *w.shape[1:-1], -1)


class _Runs(NamedTuple):
    """Where windows lie in a flat buffer, in samples from where the first begins."""

    windows: int
    apart: int
    """From one window to the next."""
    phases: int
    """So many windows overlap each other."""
    steps: tuple[int, ...]
    """From one run of a window to the next, along each axis of the kernel but the last."""


class _Call(NamedTuple):
    """One product: the kernels' taps, and views of the samples and of the shares, each (first byte, shape, strides)."""

    columns: NDArray[Any]
    seen: tuple[int, tuple[int, ...], tuple[int, ...]]
    filled: tuple[int, tuple[int, ...], tuple[int, ...]]


class _Pass(NamedTuple):
    """Stretches of a window whose shares are added up in a row."""

    first: int
    """The first sample of them."""
    columns: list[NDArray[Any]]
    """The kernels' taps there, (stretches, *leads, 1, 1, length, n): of equal stretches, and of a shorter last one."""

    @property
    def stretches(self) -> int:
        return sum(map(len, self.columns))


class _Kernels:
    """Some of a bank's kernels, (n, *leads, run), cut into stretches: the columns of the products."""

    def __init__(self, w: NDArray[Any], products: GemmBlocking, turned: bool) -> None:
        run, columns = w.shape[-1], _turned if turned else _columns
        self.length = -(-run // -(-run // products.longest))
        self.leads = w.shape[1:-1]
        self.passes: list[_Pass] = []
        self.calls: dict[tuple[int, _Runs, tuple[int, ...]], list[_Call]] = {}
        for some in pieces(-(-run // self.length), max(products.shares // math.prod(self.leads), 1)):
            first, last = some.start * self.length, min(some.stop * self.length, run)
            end = last - (last - first) % self.length
            parts = [(start, stop) for start, stop in ((first, end), (end, last)) if start < stop]
            cut = [columns(w[..., start:stop], min(self.length, stop - start)) for start, stop in parts]
            self.passes.append(_Pass(first, cut))

    def __call__(self, flat: NDArray[Any], start: int, runs: _Runs, grid: tuple[int, int], out: NDArray[Any]) -> None:
        """Fill out (*box, n) from the first places of each line of `grid`, which the windows follow line by line.

        flat: the samples; start: of them, the first.
        """
        places, (first, *more) = math.prod(grid), self.passes
        start *= flat.itemsize
        if not more:
            alone = first.stretches * math.prod(self.leads) == 1
            if alone and out.size == places * out.shape[-1] and merges(out, 1):
                self._fill(flat, start, runs, 0, out.reshape(1, *self.leads, places, -1))
            else:
                _add_up(self._shares(flat, start, runs, 0, places, out), grid, out)
            return
        sums = _scratch("sums", (len(self.passes), places, out.shape[-1]), out.dtype)
        for at, total in enumerate(sums):
            _add_up(self._shares(flat, start, runs, at, places, out), (1, places), total)
        _add_up(sums, grid, out)

    def _shares(
        self, flat: NDArray[Any], start: int, runs: _Runs, at: int, places: int, out: NDArray[Any]
    ) -> NDArray[Any]:
        """What every stretch of a pass adds to every place: (shares, places, n)."""
        stretches, n = self.passes[at].stretches, out.shape[-1]
        shares = _scratch("shares", (stretches, *self.leads, places, n), out.dtype)
        self._fill(flat, start, runs, at, shares)
        return shares.reshape(-1, places, n)

    def _fill(self, flat: NDArray[Any], start: int, runs: _Runs, at: int, shares: NDArray[Any]) -> None:
        """The same, into shares (stretches, *leads, places, n)."""
        like = (at, runs, shares.strides)
        calls = self.calls.get(like)
        if calls is None:
            calls = self.calls[like] = list(self._calls(runs, self.passes[at], shares.strides))
        for columns, (first, shape, strides), filled in calls:
            seen = np.ndarray(shape, flat.dtype, flat, start + first, strides)
            np.matmul(seen, columns, out=_view(shares, *filled))

    def _calls(self, runs: _Runs, one: _Pass, strides: tuple[int, ...]) -> Iterator[_Call]:
        """The products of a pass, on any buffer where the windows lie so, into shares of such strides."""
        stretch, *outer, row, value = strides
        on, start, target = runs.phases, one.first, 0
        rounds, more = divmod(runs.windows, on)
        for columns in one.columns:
            *leads, _, _, length, n = columns.shape
            for first, phases, count in ((0, more, rounds + 1), (more, on - more, rounds)):
                if phases * count:
                    block, size = cut(count, rows_of(length * n)), columns.itemsize
                    lot = (*leads, phases, block.number, block.width)
                    apart = (1, block.step * on, on)
                    steps = (self.length, *runs.steps, *(step * runs.apart for step in apart), 1)
                    yield _Call(
                        columns,
                        ((start + first * runs.apart) * size, (*lot, length), tuple(size * step for step in steps)),
                        (target + first * row, (*lot, n), (stretch, *outer, *(step * row for step in apart), value)),
                    )
            start, target = start + len(columns) * self.length, target + len(columns) * stretch


class _Group:
    """The kernels of one group, (n, *leads, run), as many at a time as a product takes."""

    def __init__(self, w: NDArray[Any], products: GemmBlocking, turned: bool) -> None:
        self.parts: dict[int, tuple[slice, _Kernels]] = {}
        parts = pieces(len(w), products.columns)

        def ready(at: int) -> None:
            self.parts[at] = parts[at], _Kernels(w[parts[at]], products, turned)

        share_out(ready, range(len(parts)), workers=threads() if turned and w.size > WORTH_SHARING else 1)

    def __call__(self, flat: NDArray[Any], start: int, runs: _Runs, grid: tuple[int, int], out: NDArray[Any]) -> None:
        """Fill out (*box, n), as each of its `_Kernels` does."""
        for part, kernels in self.parts.values():
            kernels(flat, start, runs, grid, out[..., part])


class _Gathered:
    """Windows copied out as rows, as many at a time as a product takes."""

    def __init__(self, w: NDArray[Any], axes: tuple[Axis, ...], products: GemmBlocking, turned: bool) -> None:
        self.axes, self.products = axes, products
        parts = w.reshape(products.groups, products.filters, products.terms)
        self.groups = [_Group(part, products, turned) for part in parts]

    def __call__(self, block: NDArray[Any], out: NDArray[Any]) -> None:
        """Fill a tile: outputs (*items, *P, O) from a block (*items, *rows, C)."""
        channels, shares = (_groups(array, self.products.groups) for array in (block, out))
        sizes, terms = out.shape[-1 - len(self.axes) : -1], self.products.terms
        for part, share, group in zip(channels, shares, self.groups, strict=True):
            seen = windows(part, self.axes, sizes)
            for box in boxes(out.shape[:-1], self.products.together):
                target = share[box]
                rows = math.prod(target.shape[:-1])
                group(self._rows(seen[box]), 0, _Runs(rows, terms, 1, ()), (1, rows), target)

    def _rows(self, seen: NDArray[Any]) -> NDArray[Any]:
        """Windows (*box, *window, C/groups), one after the other; where they lie so already, as they are."""
        if seen.flags.c_contiguous:
            return seen.reshape(-1)
        flat = _scratch("rows", (seen.size,), seen.dtype)
        flat.reshape(seen.shape)[...] = seen
        return flat


class _InPlace:
    """Windows read where they lie, lines that follow each other as one."""

    def __init__(self, w: NDArray[Any], axes: tuple[Axis, ...], products: GemmBlocking, turned: bool) -> None:
        self.products = products
        self.leads, self.phases = (axes[:-1], axes[-1].k) if products.joined else (axes, 1)
        self.dims, self.depth = len(axes), w.shape[-1]
        self.lots: dict[tuple[tuple[int, ...], tuple[int, ...]], list[tuple[Box, int, _Runs, tuple[int, int]]]] = {}
        runs = w.reshape(products.groups, -1, *(axis.k for axis in self.leads), products.run)
        self.groups = [_Group(part, products, turned) for part in runs]

    def __call__(self, block: NDArray[Any], out: NDArray[Any]) -> None:
        """Fill a tile: outputs (*items, *P, O) from a block (*items, *rows, C)."""
        flat = np.ascontiguousarray(block).reshape(-1)
        shares = _groups(out, self.products.groups)
        like = (block.shape, out.shape)
        if (lots := self.lots.get(like)) is None:
            lots = self.lots[like] = list(self._lots(*like))
        for box, start, runs, grid in lots:
            for number, (share, group) in enumerate(zip(shares, self.groups, strict=True)):
                group(flat, start + number * self.depth, runs, grid, share[box])

    def _lots(self, block: tuple[int, ...], out: tuple[int, ...]) -> Iterator[tuple[Box, int, _Runs, tuple[int, int]]]:
        """What is multiplied at a time, of a block and outputs of such shapes: a box, and where its windows lie."""
        first, apart = len(block) - 1 - self.dims, [math.prod(block[at + 1 :]) for at in range(len(block) - 1)]
        steps = tuple(axis.dilation * step for axis, step in zip(self.leads, apart[first:], strict=False))
        for box in boxes(out[:-1], self.products.together, max(len(out) - 3, first)):
            start = sum(step * (part.start or 0) for step, part in zip(apart, box, strict=True))
            sizes = [len(range(*part.indices(n))) for part, n in zip(box, out, strict=False)]
            rows, columns = (1, *sizes[first:])[-2:]
            width = block[-2] if rows > 1 else columns
            yield box, start, _Runs((rows - 1) * width + columns, apart[-1], self.phases, steps), (rows, width)


def _groups(array: NDArray[Any], count: int) -> list[NDArray[Any]]:
    """An array's channels in so many equal parts."""
    return [array] if count == 1 else np.split(array, count, axis=-1)


def _view(array: NDArray[Any], first: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> NDArray[Any]:
    """A view from so many bytes on; of one block of memory without as_strided, which takes as long as a product."""
    if array.flags.c_contiguous:
        return np.ndarray(shape, array.dtype, array, first, strides)
    return as_strided(array[..., first // array.strides[-2] :, :], shape, strides)


def _columns(w: NDArray[Any], length: int) -> NDArray[Any]:
    """Kernels (n, *leads, run) as columns (stretches, *leads, 1, 1, length, n): a view where w is one."""
    cut = w.reshape(*w.shape[:-1], -1, length)
    return np.moveaxis(cut, (-2, 0), (0, -1))[..., None, None, :, :]


def _turned(w: NDArray[Any], length: int) -> NDArray[Any]:
    """The same laid down in that order."""
    seen = _columns(w, length)
    columns = np.empty(seen.shape, w.dtype)
    for part in pieces(len(columns), TURNED):
        some = seen[part]
        if some.strides[-1] != some.itemsize:  # rows a multiple of 4 KiB apart share their place in the cache
            some = np.moveaxis(np.ascontiguousarray(np.moveaxis(some, -1, 0)), 0, -1)
        columns[part] = some
    return columns


def _add_up(shares: NDArray[Any], grid: tuple[int, int], out: NDArray[Any]) -> None:
    """Out (*box, n) = the sum of shares (shares, lines * places, n) at its places: a product with ones adds fastest."""
    lines, places = grid
    kept, n = math.prod(out.shape[:-1]) // lines, out.shape[-1]
    if len(shares) == 1:
        out[...] = shares.reshape(lines, places, n)[:, :kept].reshape(out.shape)
        return
    seen = shares.reshape(len(shares), lines, places * n)[:, :, : kept * n].swapaxes(0, 1)
    straight = out.flags.c_contiguous
    sums = out if straight else _scratch("total", out.shape, out.dtype)
    np.matmul(_ones(len(shares), shares.dtype), seen, out=sums.reshape(lines, 1, -1))
    if not straight:
        out[...] = sums


@lru_cache(maxsize=64)
def _ones(count: int, kind: np.dtype[Any]) -> NDArray[Any]:
    return np.ones((1, count), kind)
