"""Summarise the magnitude of a kernel's frequency response, in numbers and in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convcli.kernels.model import Kernel

# Samples of the response along an axis, by the number of axes: multiples of 4, 3 and 5, so that the
# zeros of small kernels (at 1/2, 1/3, 1/4, 1/5 cycles per sample) are among the samples.
_SAMPLES = {1: 720, 2: 240, 3: 60}
_FEW_SAMPLES = 12  # along each of four axes or more
_SAME = 1e-6  # relative difference below which two gains are equal
_RIPPLE = 0.02  # relative height up to which a gain above that of flat areas is no boost
_FINEST = 0.45  # cycles per sample from which a frequency counts as the finest detail


@dataclass(frozen=True)
class Response:
    """A summary of a kernel's frequency response.

    Frequencies are in cycles per sample, one per axis.

    flat: the signed gain of a constant input.
    peak, lowest: the largest and the smallest gain. peak_at, lowest_at: their frequencies; of equal
    gains, the frequency nearest to zero.
    nyquist: along each axis, the gain of samples that alternate in sign.
    line: the summary in words.
    """

    flat: float
    peak: float
    peak_at: tuple[float, ...]
    lowest: float
    lowest_at: tuple[float, ...]
    nyquist: tuple[float, ...]
    line: str


def response(kernel: Kernel) -> Response:
    """Summarise the frequency response of a kernel.

    >>> response(Kernel.of_taps("mean", [0.25, 0.5, 0.25])).line
    'low-pass: keeps flat areas (gain 1), suppresses fine detail \
(gain 0.00 at the Nyquist frequency)'
    >>> r = response(Kernel.of_terms("sobel-x", [([1, 2, 1], [-1, 0, 1])]))
    >>> r.line
    'band-pass, a derivative along x: silent on flat areas, strongest (gain 8) \
at 0.25 cycles a sample along x'
    >>> r.peak_at
    (0.0, 0.25)
    """
    gains, frequencies = _magnitudes(kernel.taps)
    distance = sum(
        np.square(axis) for axis in np.meshgrid(*frequencies, indexing="ij", sparse=True)
    )
    flat = kernel.gain
    peak = float(gains.max())
    lowest = float(gains.min())
    near = _SAME * max(peak, 1e-300)
    flat = 0.0 if abs(flat) <= near else flat
    lowest = 0.0 if lowest <= near else lowest
    peak_at = _nearest(gains >= peak - near, np.asarray(distance), frequencies)
    lowest_at = _nearest(gains <= lowest + near, np.asarray(distance), frequencies)
    nyquist = tuple(float(gains[tuple(_half(gains.shape, axis))]) for axis in range(gains.ndim))
    line = _line(kernel, flat, peak, peak_at, lowest, lowest_at, nyquist)
    return Response(flat, peak, peak_at, lowest, lowest_at, nyquist, line)


def _magnitudes(taps: NDArray[np.float64]) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    """Return |H| over the half spectrum of a real kernel, and the frequencies of each axis."""
    coarse = _SAMPLES.get(taps.ndim, _FEW_SAMPLES)
    # A single tap has the same gain at every frequency.
    sizes = [max(coarse, k + k % 2) if k > 1 else 1 for k in taps.shape]
    spectrum = np.fft.rfftn(taps, s=sizes, axes=range(taps.ndim))
    full = [
        np.abs(np.fft.fftfreq(n)) * np.where(np.arange(n) <= n // 2, 1.0, -1.0) for n in sizes[:-1]
    ]
    return np.abs(spectrum), [*full, np.fft.rfftfreq(sizes[-1])]


def _half(shape: Sequence[int], axis: int) -> list[int]:
    """Return the index of the Nyquist frequency along one axis.

    The last axis has half the spectrum.
    """
    place = [0] * len(shape)
    place[axis] = shape[axis] - 1 if axis == len(shape) - 1 else shape[axis] // 2
    return place


def _nearest(
    found: NDArray[np.bool_], distance: NDArray[np.float64], frequencies: list[NDArray[np.float64]]
) -> tuple[float, ...]:
    place = np.unravel_index(int(np.where(found, distance, np.inf).argmin()), found.shape)
    return tuple(float(axis[i]) for axis, i in zip(frequencies, place, strict=True))


def _line(
    kernel: Kernel,
    flat: float,
    peak: float,
    at: tuple[float, ...],
    lowest: float,
    lowest_at: tuple[float, ...],
    nyquist: tuple[float, ...],
) -> str:
    if not peak:
        return "silent: every output is zero"
    if abs(flat) < peak / 20:
        silent = (
            f"nearly silent on flat areas (gain {_gain(flat)})" if flat else "silent on flat areas"
        )
        return f"{_band(kernel, at)}: {silent}, strongest (gain {_gain(peak)}) at {_where(at)}"
    flatly = (
        f"keeps flat areas (gain {_gain(flat)})"
        if abs(flat - 1) < _SAME
        else f"flat areas have gain {_gain(flat)}"
    )
    if peak > abs(flat) * (1 + _RIPPLE):
        kind = "high-boost" if max(map(abs, at)) >= _FINEST else "band-boost"
        return f"{kind}: {flatly}, amplifies detail most (gain {_gain(peak)}) at {_where(at)}"
    if lowest >= peak * (1 - 1e-3):
        return f"all-pass: {flatly}, and every other frequency equally"
    # Axes whose finest detail keeps less than half its power.
    muted = [axis for axis, gain in enumerate(nyquist) if gain < 0.71 * peak]
    if not muted and lowest < peak / 2:
        return f"band-stop: {flatly}, suppresses {_where(lowest_at)} (gain {lowest:.2f})"
    if not muted:
        return f"low-pass, slight: {flatly}, lowest gain {lowest:.2f}"
    along = "" if len(muted) == len(nyquist) else f" along {axes_in_words(muted, len(nyquist))}"
    highest = max(nyquist[axis] for axis in muted)
    detail = f"suppresses fine detail (gain {highest:.2f} at the Nyquist frequency)"
    return f"low-pass{along}: {flatly}, {detail}"


def _band(kernel: Kernel, at: tuple[float, ...]) -> str:
    """Name the kind of a kernel with no response at zero frequency."""
    kind = "high-pass" if max(map(abs, at)) >= _FINEST else "band-pass"
    odd = [
        axis
        for axis in range(kernel.taps.ndim)
        if np.allclose(np.flip(kernel.taps, axis), -kernel.taps)
    ]
    return (
        f"{kind}, a derivative along {axes_in_words(odd, kernel.taps.ndim)}"
        if len(odd) == 1
        else kind
    )


def _where(at: tuple[float, ...]) -> str:
    axes: dict[str, list[int]] = {}
    for axis in reversed(range(len(at))):
        axes.setdefault(f"{abs(at[axis]):.3g}", []).insert(0, axis)
    parts = (
        f"{value} cycles a sample along {axes_in_words(found, len(at))}"
        for value, found in axes.items()
        if value != "0"
    )
    return " and ".join(parts) or "zero frequency"


def axes_in_words(axes: Sequence[int], ndim: int) -> str:
    """Return the names of axes, the last one first.

    >>> axes_in_words([0, 1], 2), axes_in_words([0], 4)
    ('x and y', 'axis 0')
    """
    names = ["xyz"[ndim - 1 - axis] if ndim - 1 - axis < 3 else f"axis {axis}" for axis in axes]
    return " and ".join(reversed(names))


def _gain(value: float) -> str:
    return f"{value:.3g}"
