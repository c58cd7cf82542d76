"""Convolution of large kernels as a product of spectra, tile by tile (overlap-save).

A tile of T samples and the kernel are transformed, multiplied, and transformed back. The result is
a circular correlation: the last k - 1 outputs of a tile wrap around to its beginning and are
dropped, so tiles overlap by k - 1 samples::

    samples     |<------- T ------->|                     the cost of a sample does not depend on k,
                            |<------- T ------->|         but T - k + 1 of T outputs are of use
    outputs     |= = = = = =|. . . .|
                            |= = = = = =|. . . .|

Several tiles are transformed in one call. A NaN spreads over its tile, so the caller must check
that the result is finite. The error is a few roundings, of the root mean square of the tile, for
each doubling of T, and affects all outputs of the tile. Source: Stockham, "High-speed convolution
and correlation", 1966; the error: Higham, "Accuracy and Stability of Numerical Algorithms", 2002,
section 24.1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convcli.engine.methods.base import CostEstimate, Method, Needs, TileFunction
from convcli.engine.planning.costs import CALL
from convcli.engine.planning.facts import FEW_TERMS, TiledWork, Work
from convcli.engine.planning.tiles import several_items
from convcli.engine.threads import Scratch
from convcli.shapes.axis import Axis, samples_under

TRANSFORM = 1.1
"""Nanoseconds of one sample through a transform along one axis, one way."""

MOVE = 3.4
"""Nanoseconds to copy one sample into a tile, to multiply it, and to copy its output."""

SPECTRUM = 6.0
"""Nanoseconds to compute one sample of the kernel's spectrum, in float64."""

LARGEST = 1 << 22
"""Most samples of a tile, for a transform of tens of megabytes; larger kernels are refused."""

BATCH = 1 << 18
"""Samples of the tiles that are transformed in one call: 1 MiB of float32, and the same for their
spectra."""

ROW_SAMPLES = 1 << 20
"""Approximate samples of a row of such tiles: 4 MiB of float32."""

LENGTHS = tuple(n << power for power in range(2, 24) for n in (2, 3))
"""Lengths of a transform: products of small primes, which are fast."""

EDGES = {1: (1 << 13, 1 << 14), 2: (128, 512), 3: (32, 96)}
"""The shortest and longest edge of a tile, by dimensions: shorter ones need more calls, longer ones
exceed the cache."""

ERROR = 1e-14
"""Error of a float64 transform as a share of sum|w| * max|x|. It limits the whole numbers whose
rounded sums are exact."""

NORM: Final = "ortho"
"""Scales by the root of T in both directions. numpy 2.4 computes an unscaled transform in long
double, at a seventh of the speed."""


class Fft(Method):
    """Overlap-save: the kernel's spectrum times the spectra of tiles of the input."""

    name = "fft"

    def refusal(self, work: Work) -> str:
        if work.facts.filters is not None:
            return "a bank has many kernels, each with its own spectrum"
        rounded = work.facts.integral is not None and work.facts.integral >= 0.25 / ERROR
        if rounded and not work.facts.exact:
            return "whole numbers as large as these would not be exact"
        size = fft_tile(work.axes)
        if math.prod(size) > LARGEST:
            return f"a tile of {'x'.join(map(str, size))} is too large to transform"
        return ""

    def cost(self, work: Work) -> CostEstimate:
        size = fft_tile(work.axes)
        tiles = math.prod(
            -(-(axis.padded - axis.reach + 1) // (n - axis.reach + 1))
            for n, axis in zip(size, work.axes, strict=True)
        )
        samples = math.prod(work.facts.batch) * work.facts.channels * tiles * math.prod(size)
        return CostEstimate(
            CALL + math.prod(size) * SPECTRUM + samples * (2 * len(work.axes) * TRANSFORM + MOVE),
            f"spectra of tiles of {'x'.join(map(str, size))}, for any kernel size",
        )

    def tile(self, work: Work) -> tuple[int, ...]:
        """Return the outputs of a row of transforms of about ROW_SAMPLES samples.

        For signals it is a batch of transforms.
        """
        facts, axes = work.facts, work.axes
        size = fft_tile(axes)
        batched = max(BATCH // math.prod(size), 1)
        steps = [
            max((n - axis.reach + 1) // axis.stride, 1) for n, axis in zip(size, axes, strict=True)
        ]

        # A signal: a run of its tiles, or several whole signals.
        if len(axes) == 1:
            rows = min(steps[0] * batched, axes[0].out)
            return several_items(facts, batched if rows == axes[0].out else 1), rows

        # Otherwise one tile along the first axis, whole middle axes, several tiles along the last.
        rows = min(steps[0], axes[0].out)
        between = [axis.out for axis in axes[1:-1]]
        last = axes[-1]
        across = size[0] * samples_under(axes[1:-1], between) * size[-1] * facts.channels
        width = min(steps[-1] * max(ROW_SAMPLES // across, 1), last.out)
        fits = (rows, width) == (axes[0].out, last.out)
        return several_items(facts, batched if fits else 1), rows, *between, width

    def memory(self, work: Work, tile: tuple[int, ...]) -> Needs:
        size = fft_tile(work.axes)
        values, batch = math.prod(size), max(BATCH, math.prod(size))
        spectrum = math.prod(size[:-1]) * (size[-1] // 2 + 1)
        return Needs(
            math.prod(axis.reach for axis in work.axes) * 8 + spectrum * 24,
            (batch + 2 * batch // values * spectrum) * self.itemsize(work),
        )

    def prepare(self, w: NDArray[Any], plan: TiledWork) -> TileFunction:
        return _Overlapping(w, plan)

    def accumulator(self, work: Work) -> str:
        """Return float64 for few terms, for which the error of float32 is too large.

        A float32 transform has an error of up to 1.1e-6 * sqrt(sum w^2) * max|x|, measured over 16
        million outputs of the worst input found: random signs with a kernel of a single nonzero
        tap.
        """
        return "float64" if work.terms <= FEW_TERMS else super().accumulator(work)

    def rounds_sums(self, work: Work) -> bool:
        return True

    def spreads_nan(self, work: Work) -> bool:
        return True

    def keeps_dtype(self, work: Work) -> bool:
        return work.spec.boundary != "constant" or work.spec.cval == 0


METHOD = Fft()


def fft_tile(axes: tuple[Axis, ...]) -> tuple[int, ...]:
    """Return the length of a transform along each axis, for which all tiles together are fastest.

    >>> fft_tile((Axis(4096, 31), Axis(4096, 31)))
    (256, 256)
    """
    shortest, longest = EDGES.get(len(axes), (8, 32))
    return tuple(_tile_length(axis, shortest, longest) for axis in axes)


@lru_cache(maxsize=256)
def _tile_length(axis: Axis, shortest: int, longest: int) -> int:
    whole = next((n for n in LENGTHS if n >= axis.padded), longest)
    fitting = [
        n
        for n in LENGTHS
        if max(axis.reach, min(shortest, whole)) <= n <= max(longest, 4 * axis.reach)
    ]

    def work(n: int) -> float:
        return -(-(axis.padded - axis.reach + 1) // (n - axis.reach + 1)) * n * math.log2(n)

    return min(fitting, key=work, default=axis.reach)


class _Unit(NamedTuple):
    """One channel of one tile: its item and channel, and its first position along each axis."""

    item: tuple[int, ...]
    channel: int
    begin: tuple[int, ...]


class _Overlapping:
    def __init__(self, w: NDArray[Any], plan: TiledWork) -> None:
        self.axes, self.scratch = plan.axes, Scratch()
        self.size = fft_tile(plan.axes)
        self.steps = [
            size - axis.reach + 1 for size, axis in zip(self.size, self.axes, strict=True)
        ]
        apart = np.zeros([axis.reach for axis in self.axes])
        apart[tuple(slice(None, None, axis.dilation) for axis in self.axes)] = w
        self.batch = max(BATCH // math.prod(self.size), 1)
        spectrum = np.fft.rfftn(apart, self.size, range(len(self.size)))
        np.conjugate(spectrum, out=spectrum)
        self.spectrum = spectrum.astype(
            np.complex128 if plan.accumulator == "float64" else np.complex64, copy=False
        )

    def __call__(self, block: NDArray[Any], out: NDArray[Any]) -> None:
        """Fill a tile: outputs (*items, *P, channels) from a block (*items, *S, channels)."""
        units = list(self._units(block, out))
        for at in range(0, len(units), self.batch):
            self._run(block, out, units[at : at + self.batch])

    def _units(self, block: NDArray[Any], out: NDArray[Any]) -> Iterator[_Unit]:
        lead = block.ndim - 1 - len(self.axes)
        places = [
            range(0, (count - 1) * axis.stride + 1, step)
            for count, axis, step in zip(out.shape[lead:-1], self.axes, self.steps, strict=True)
        ]
        for begin in product(*places):
            for item in np.ndindex(*block.shape[:lead]):
                for channel in range(block.shape[-1]):
                    yield _Unit(item, channel, begin)

    def _run(self, block: NDArray[Any], out: NDArray[Any], units: Sequence[_Unit]) -> None:
        tiles = self.scratch("tiles", (len(units), *self.size), out.dtype)
        for tile, unit in zip(tiles, units, strict=True):
            _gather(block[unit.item][..., unit.channel], unit.begin, tile)
        self._correlate(tiles)
        for tile, unit in zip(tiles, units, strict=True):
            self._keep(tile, unit.begin, out[unit.item][..., unit.channel])

    def _correlate(self, tiles: NDArray[Any]) -> None:
        """Correlate every tile with the kernel, in place."""
        shape = (len(tiles), *self.spectrum.shape)
        spectra = self.scratch("spectra", shape, self.spectrum.dtype)
        np.fft.rfft(tiles, out=spectra, norm=NORM)
        across = range(1, tiles.ndim - 1)
        for axis in across:
            np.fft.fft(spectra, axis=axis, out=spectra, norm=NORM)
        spectra *= self.spectrum
        for axis in across:
            np.fft.ifft(spectra, axis=axis, out=spectra, norm=NORM)
        np.fft.irfft(spectra, self.size[-1], out=tiles, norm=NORM)

    def _keep(self, tile: NDArray[Any], begin: tuple[int, ...], out: NDArray[Any]) -> None:
        """Copy the outputs of a tile that do not wrap around, at the positions of the stride."""
        stops = map(_stops, begin, self.steps, self.axes, out.shape)
        kept, places = zip(*stops, strict=True)
        out[places] = tile[kept]


def _gather(samples: NDArray[Any], begin: tuple[int, ...], tile: NDArray[Any]) -> None:
    """Copy the samples from `begin` on into a tile, followed by zeros."""
    seen = samples[
        tuple(slice(first, first + size) for first, size in zip(begin, tile.shape, strict=True))
    ]
    if seen.shape != tile.shape:
        tile[...] = 0
    tile[tuple(map(slice, seen.shape))] = seen


def _stops(first: int, step: int, axis: Axis, count: int) -> tuple[slice, slice]:
    """Return the outputs among `step` positions from `first`, as slices of tile and output."""
    start, stop = -(-first // axis.stride), min(-(-(first + step) // axis.stride), count)
    inside = slice(start * axis.stride - first, (stop - 1) * axis.stride - first + 1, axis.stride)
    return inside, slice(start, stop)
