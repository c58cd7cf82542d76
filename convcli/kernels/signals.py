"""Kernels for signals: filters designed by windows, windows that average, and least squares.

Frequencies are in cycles per sample: 0.5, the Nyquist frequency, is the highest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise

import numpy as np

from convcli.errors import KernelError
from convcli.kernels.model import Taps, Terms, limit_taps
from convcli.kernels.parameters import AUTO, Band, Choice, KernelFamily, Number, Parameter
from convcli.kernels.smoothing import LENGTHS, SIZE, WIDTH, averaging, grid, offsets

_TRANSITION = 3.3
"""Taps times the width in which the gain of a Hamming filter falls from 1 to 0."""
_FAINT = 1000
"""A Moffat profile is cut where it falls to 1 / _FAINT."""

# Windows: a size -> (N,), with 1 in the middle.


def _cosines(parts: tuple[float, ...], size: int) -> Taps:
    """Return the sum of cosines with 0, 1, 2, ... periods from end to end."""
    angles = 2 * math.pi * offsets(size) / max(size - 1, 1)
    waves = [part * np.cos(order * angles) for order, part in enumerate(parts)]
    return np.asarray(sum(waves), dtype=np.float64)


def _kaiser(size: int, *, beta: float) -> Taps:
    return np.kaiser(size, beta)


_hamming = partial(_cosines, (0.54, 0.46))
_hann = partial(_cosines, (0.5, 0.5))
_blackman = partial(_cosines, (0.42, 0.5, 0.08))
_WINDOWS: Mapping[str, Callable[[int], Taps]] = {
    "hamming": _hamming,
    "hann": _hann,
    "blackman": _blackman,
    "box": np.ones,
}


def _window(*, dims: int, size: tuple[int, ...], shape: Callable[..., Taps], **own: float) -> Terms:
    """Average by a window along each axis."""
    limit_taps(size)
    return (tuple(averaging(shape(length, **own)) for length in size),)


def _exponential(length: int, *, tau: float) -> Taps:
    return np.exp(-np.abs(offsets(length)) / tau)


# Filters: the taps of an ideal filter, which are endless, cut off by a window.


def _filter(
    bands: Callable[[tuple[float, ...]], tuple[tuple[float, float], ...]],
    *,
    dims: int,
    cutoff: float | tuple[float, ...],
    taps: int | None,
    window: str,
    beta: float,
) -> Terms:
    """Pass the frequencies of some bands, the first of which has a gain of 1.

    bands: the bands (low, high) that cutoffs mean. The gain is 1 at the end of the first band if
    that is 0 or 0.5, else in its middle.
    """
    cutoffs = cutoff if isinstance(cutoff, tuple) else (cutoff,)
    passed = bands(cutoffs)
    size = taps or _enough_taps(cutoffs)
    limit_taps((size,) * dims)
    if size % 2 == 0 and passed[-1][1] == 0.5:
        raise KernelError(
            f"taps={size} for a filter that passes 0.5 cycles a sample",
            "expected an odd number, for the gain of an even filter is 0 there",
            f"use taps={size + 1}",
        )
    ideal = sum(_ideal(high, size) - _ideal(low, size) for low, high in passed)
    shape = _kaiser(size, beta=beta) if window == "kaiser" else _WINDOWS[window](size)
    middle = _reference(*passed[0])
    cut = ideal * shape
    return ((cut / (cut @ np.cos(2 * math.pi * middle * offsets(size))),) * dims,)


def _reference(low: float, high: float) -> float:
    """Return the frequency at which a band has a gain of 1."""
    if low == 0:
        return 0.0
    return 0.5 if high == 0.5 else (low + high) / 2


def _ideal(cutoff: float, size: int) -> Taps:
    """Return the taps around the middle of the filter that passes frequencies up to a cutoff."""
    return 2 * cutoff * np.sinc(2 * cutoff * offsets(size))


def _enough_taps(cutoffs: tuple[float, ...]) -> int:
    """Return an odd number of taps whose transition fits between the cutoffs, 0 and 0.5."""
    edges = (0.0, *cutoffs, 0.5)
    width = min(high - low for low, high in pairwise(edges))
    return 2 * math.ceil(_TRANSITION / width / 2) + 1


# Fits, resampling and profiles.


def _savgol(*, dims: int, window: int, order: int, deriv: int) -> Terms:
    """Fit a polynomial to the window by least squares; return the weights of its derivative."""
    limit_taps((window,))
    if order >= window:
        raise KernelError(
            f"order={order} for kernel 'savgol' with window={window}",
            "expected an order below the window",
            f"use window={order + 1 + order % 2} or more",
        )
    if deriv > order:
        raise KernelError(
            f"deriv={deriv} for kernel 'savgol' with order={order}",
            "expected at most the order: higher derivatives are 0",
        )
    reach = max(window // 2, 1)
    fit = np.linalg.pinv(np.vander(offsets(window) / reach, order + 1, increasing=True))
    return ((fit[deriv] * (math.factorial(deriv) / reach**deriv),),)


def _lanczos(*, dims: int, scale: float, lobes: int, size: tuple[int, ...] | None) -> Terms:
    sizes = size or (2 * math.ceil(scale * lobes) - 1,) * dims
    limit_taps(sizes)
    return (tuple(averaging(_resampler(length, scale, lobes)) for length in sizes),)


def _resampler(size: int, scale: float, lobes: int) -> Taps:
    at = offsets(size) / scale
    return np.where(np.abs(at) < lobes, np.sinc(at) * np.sinc(at / lobes), 0.0)


def _moffat(*, dims: int, gamma: float, alpha: float, size: tuple[int, ...] | None) -> Taps:
    reach = gamma * math.sqrt(_FAINT ** (1 / alpha) - 1)
    sizes = size or (2 * math.ceil(reach) + 1,) * dims
    squares = sum(np.square(x) for x in grid(sizes))
    return averaging((1 + np.asarray(squares) / gamma**2) ** -alpha)


_BETA = Parameter("beta", Number(minimum=0, maximum=500), "8", "of the Kaiser window")
_FREQUENCY = Number(above=0, below=0.5)
_TAPS = Parameter(
    "taps",
    SIZE,
    AUTO,
    "number of taps; auto fits a Hamming filter between the cutoffs, 0 and 0.5",
)
_WINDOW = Parameter(
    "window", Choice((*_WINDOWS, "kaiser")), "hamming", "that cuts the ideal filter off"
)
_OPPENHEIM = "Oppenheim and Schafer, Discrete-Time Signal Processing, 1989"
_HARRIS = (
    "Harris, On the use of windows for harmonic analysis with the discrete Fourier transform, 1978"
)
_BAND = Parameter(
    "cutoff",
    Band(_FREQUENCY),
    "0.1-0.2",
    "lowest and highest, in cycles per sample",
    measured="frequency",
)
_CUTOFF = Parameter(
    "cutoff",
    _FREQUENCY,
    "0.25",
    "where the gain is a half, in cycles per sample",
    measured="frequency",
)


def _designed(
    name: str,
    meaning: str,
    cutoff: Parameter,
    bands: Callable[[tuple[float, ...]], tuple[tuple[float, float], ...]],
    most_dims: int | None = 1,
) -> KernelFamily:
    return KernelFamily(
        name,
        partial(_filter, bands),
        meaning,
        _OPPENHEIM,
        (cutoff, _TAPS, _WINDOW, _BETA),
        most_dims=most_dims,
    )


def _windowed(name: str, shape: Callable[..., Taps], source: str, *own: Parameter) -> KernelFamily:
    return KernelFamily(
        name,
        partial(_window, shape=shape),
        f"a mean weighted by a {name.capitalize()} window",
        source,
        (_LONGER, *own),
    )


_LONGER = Parameter(
    "size",
    Number(integer=True, minimum=3),
    "9",
    LENGTHS.meaning,
    per_axis=True,
    measured="distance",
)

FAMILIES = (
    _designed(
        "lowpass",
        "passes the frequencies below the cutoff, along each axis",
        _CUTOFF,
        lambda at: ((0.0, at[0]),),
        most_dims=None,
    ),
    _designed(
        "highpass",
        "passes the frequencies above the cutoff",
        _CUTOFF,
        lambda at: ((at[0], 0.5),),
    ),
    _designed(
        "bandpass",
        "passes the frequencies between the cutoffs",
        _BAND,
        lambda at: ((at[0], at[1]),),
    ),
    _designed(
        "bandstop",
        "removes the frequencies between the cutoffs",
        _BAND,
        lambda at: ((0.0, at[0]), (at[1], 0.5)),
    ),
    KernelFamily(
        "savgol",
        _savgol,
        "the value or a derivative of the polynomial that fits the window best",
        "Savitzky and Golay, Smoothing and differentiation of data by simplified least squares "
        "procedures, 1964",
        (
            Parameter(
                "window",
                Number(integer=True, minimum=1, maximum=10001, odd=True),
                "5",
                "of taps",
                measured="distance",
            ),
            Parameter(
                "order", Number(integer=True, minimum=0, maximum=20), "2", "of the polynomial"
            ),
            Parameter(
                "deriv",
                Number(integer=True, minimum=0),
                "0",
                "which derivative, for samples at a distance of 1",
            ),
        ),
        most_dims=1,
    ),
    KernelFamily(
        "lanczos",
        _lanczos,
        "low-pass before reducing by a scale: a sinc, cut off by the middle of a wider one",
        "Duchon, Lanczos filtering in one and two dimensions, 1979",
        (
            Parameter("scale", Number(minimum=1), "2", "by which samples become fewer"),
            Parameter("lobes", Number(integer=True, minimum=1, maximum=100), "3", "of the sinc"),
            Parameter(
                "size",
                SIZE,
                AUTO,
                "taps along an axis; auto is 2*ceil(scale*lobes) - 1",
                per_axis=True,
            ),
        ),
    ),
    _windowed("hann", _hann, _HARRIS),
    _windowed("hamming", _hamming, _HARRIS),
    _windowed(
        "kaiser",
        _kaiser,
        "Kaiser and Schafer, On the use of the I0-sinh window for spectrum analysis, 1980",
        _BETA,
    ),
    KernelFamily(
        "exponential",
        partial(_window, shape=_exponential),
        "a mean whose weights fall by 1/e within a distance, along each axis",
        _HARRIS,
        (
            _LONGER,
            Parameter(
                "tau",
                WIDTH,
                "1",
                "distance in samples within which weights fall by 1/e",
                measured="distance",
            ),
        ),
    ),
    KernelFamily(
        "moffat",
        _moffat,
        "blurs as the atmosphere blurs a star: a bell with wide wings",
        "Moffat, A theoretical investigation of focal stellar images, 1969",
        (
            Parameter("gamma", WIDTH, "1", "width of the core, in samples", measured="distance"),
            Parameter("alpha", Number(minimum=0.5, maximum=1000), "3", "steepness of the wings"),
            Parameter(
                "size",
                SIZE,
                AUTO,
                "taps along an axis; auto ends where a thousandth is left",
                per_axis=True,
            ),
        ),
    ),
)
