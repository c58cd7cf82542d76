"""Convolution as a product of spectra, tile by tile (overlap-save): for kernels too large for sums over their taps.

A tile of T samples and the kernel are transformed, multiplied, and transformed back. That is a circular correlation:
the last k - 1 outputs of a tile wrap around into its beginning and are left out, so tiles overlap by so many samples::

    samples     |<------- T ------->|                     the cost of a sample does not depend on k,
                            |<------- T ------->|         but T - k + 1 of T outputs are of use
    outputs     |= = = = = =|. . . .|
                            |= = = = = =|. . . .|

Each channel of each tile is transformed several in one call. A NaN spreads over its tile, so whoever uses this
must look whether the result is finite. The error is a few roundings for each doubling of T, of the root mean square of
the tile rather than of its largest value, and spread over the outputs of the tile.
Source: Stockham, "High-speed convolution and correlation", 1966; the error: Higham, "Accuracy and Stability of
Numerical Algorithms", 2002, section 24.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convcli.engine.methods.windows import TileFunction
from convcli.engine.planning import Plan
from convcli.engine.planning.tiles import FFT_BATCH, fft_tile
from convcli.engine.threads import Scratch
from convcli.shapes.axis import Axis

NORM: Final = "ortho"
"""Scales by the root of T both ways. numpy runs a transform that it need not scale in long double, at a seventh of the
speed (2.4)."""


class _Unit(NamedTuple):
    """One channel of one tile: its item and channel, and its first position along each axis."""

    item: tuple[int, ...]
    channel: int
    begin: tuple[int, ...]


def prepare(w: NDArray[Any], plan: Plan) -> TileFunction:
    """Ready one kernel (*window), in any type; it is transformed in float64."""
    return _Overlapping(w, plan)


class _Overlapping:
    def __init__(self, w: NDArray[Any], plan: Plan) -> None:
        self.axes, self.scratch = plan.axes, Scratch()
        self.size = fft_tile(plan.axes)
        self.steps = [size - axis.reach + 1 for size, axis in zip(self.size, self.axes, strict=True)]
        apart = np.zeros(self.size)
        apart[tuple(slice(0, axis.reach, axis.dilation) for axis in self.axes)] = w
        self.batch = max(FFT_BATCH // apart.size, 1)
        spectrum = np.fft.rfftn(apart)
        del apart  # as large as what follows
        np.conjugate(spectrum, out=spectrum)
        self.spectrum = spectrum.astype(np.complex128 if plan.accumulator == "float64" else np.complex64, copy=False)

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
        """Every tile by the kernel, in place."""
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
        """The outputs of a tile that do not wrap around: those of its positions that the strides stop at."""
        kept, places = zip(
            *(
                _stops(first, step, axis, count)
                for first, step, axis, count in zip(begin, self.steps, self.axes, out.shape, strict=True)
            ),
            strict=True,
        )
        out[places] = tile[kept]


def _gather(samples: NDArray[Any], begin: tuple[int, ...], tile: NDArray[Any]) -> None:
    """Copy the samples from `begin` on into a tile; zeros where there are none."""
    seen = samples[tuple(slice(first, first + size) for first, size in zip(begin, tile.shape, strict=True))]
    if seen.shape != tile.shape:
        tile[...] = 0
    tile[tuple(map(slice, seen.shape))] = seen


def _stops(first: int, step: int, axis: Axis, count: int) -> tuple[slice, slice]:
    """Which of the `step` positions from `first` on are outputs, in the tile and in the output."""
    start, stop = -(-first // axis.stride), min(-(-(first + step) // axis.stride), count)
    return slice(start * axis.stride - first, (stop - 1) * axis.stride - first + 1, axis.stride), slice(start, stop)
