"""What an engineer asks of a filter: cutoff, ripple, side lobes and group delay, along an axis."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convcli.kernels.curves import distinct_lines, long_axes
from convcli.kernels.model import Kernel, Taps
from convcli.kernels.response import axes_in_words

_LEAST, _PER_TAP = 4096, 16  # frequencies that are computed, at least and per tap
_MIRRORED = 1e-12  # relative difference of taps below which a kernel is symmetric


@dataclass(frozen=True)
class Bands:
    """The pass band and the stop band of a kernel along an axis, or along several equal ones.

    along: the axes in words. cutoffs, half_gains: frequencies in cycles per sample at which the
    gain crosses 1/sqrt(2) (-3 dB) and 1/2 (-6 dB) of the largest. ripple: difference in dB between
    the highest and the lowest extremum in the pass band. side_lobe: the highest maximum outside it
    in dB below the largest gain; None if there is none. delay: group delay in samples from the
    first tap, the same at every frequency; None if it is not.
    """

    along: str
    cutoffs: tuple[float, ...]
    half_gains: tuple[float, ...]
    ripple: float
    side_lobe: float | None
    delay: float | None


def kernel_bands(kernel: Kernel) -> tuple[Bands, ...]:
    """Measure the bands of a kernel along each axis of more than one tap on which it responds.

    The other axes are at zero frequency.

    >>> (found,) = kernel_bands(Kernel.of_taps("mean", [0.25, 0.5, 0.25]))
    >>> found.cutoffs, found.half_gains, found.delay
    ((0.182,), (0.25,), 1.0)
    """
    taps = kernel.taps
    lines = [
        (axis, taps.sum(axis=tuple(other for other in range(taps.ndim) if other != axis)))
        for axis in long_axes(taps)
    ]
    scale = float(np.abs(taps).max())
    found = distinct_lines(lines, _MIRRORED * scale)
    return tuple(
        _measure(axes_in_words(axes, taps.ndim), line)
        for axes, line in found
        if line.size > 1 and np.abs(line).max() > _MIRRORED * scale
    )


def _measure(along: str, line: Taps) -> Bands:
    size = max(_LEAST, _PER_TAP * line.size)
    gains = np.abs(np.fft.rfft(line, 2 * size))
    relative = gains / gains.max()
    pass_gain = math.sqrt(0.5)
    turns = _turns(relative)
    passed = [float(relative[at]) for at in turns if relative[at] >= pass_gain]
    rising = [at for at in turns if relative[at] < pass_gain and _is_peak(relative, at)]
    lobe = max((float(relative[at]) for at in rising), default=0.0)
    return Bands(
        along,
        _crossings(relative, pass_gain),
        _crossings(relative, 0.5),
        round(_decibels(max(passed) / min(passed)), 3),
        round(_decibels(lobe), 1) if lobe else None,
        (line.size - 1) / 2 if _is_linear_phase(line) else None,
    )


def _turns(gains: NDArray[np.float64]) -> list[int]:
    """Return the places of the extrema, both ends included."""
    rises = np.sign(np.diff(gains))
    inner = np.flatnonzero(rises[1:] * rises[:-1] < 0) + 1
    return [0, *(int(at) for at in inner), len(gains) - 1]


def _is_peak(gains: NDArray[np.float64], at: int) -> bool:
    return bool(gains[at] >= gains[max(at - 1, 0) : at + 2].max())


def _crossings(gains: NDArray[np.float64], level: float) -> tuple[float, ...]:
    """Return the frequencies at which the gain crosses a level, to three digits."""
    above = gains >= level
    before = np.flatnonzero(above[1:] != above[:-1])
    parts = (level - gains[before]) / (gains[before + 1] - gains[before])
    return tuple(float(f"{place:.3g}") for place in (before + parts) / (2 * (len(gains) - 1)))


def _is_linear_phase(line: Taps) -> bool:
    within = _MIRRORED * np.abs(line).max()
    mirrored = line[::-1]
    return bool(np.abs(line - mirrored).max() <= within or np.abs(line + mirrored).max() <= within)


def _decibels(gain: float) -> float:
    return 20 * math.log10(gain)
