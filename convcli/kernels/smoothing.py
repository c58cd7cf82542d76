"""Smoothing kernels: they keep flat areas and suppress detail."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convcli.errors import KernelError
from convcli.kernels.model import Taps, Term, Terms, limit_taps
from convcli.kernels.parameters import KernelFamily, Number, Parameter

SIZE = Number(integer=True, minimum=1)
WIDTH = Number(minimum=1e-3)
TRUNCATE = Parameter(
    "truncate", Number(above=0, maximum=100), "4", "distance at which the tail is cut, in sigmas"
)
SIGMA = Parameter(
    "sigma", WIDTH, "1", "standard deviation, in samples", per_axis=True, measured="distance"
)
FWHM = Parameter(
    "fwhm",
    WIDTH,
    "auto",
    "full width at half maximum, in samples, instead of sigma",
    per_axis=True,
    measured="distance",
    instead="sigma",
    factor=1 / math.sqrt(8 * math.log(2)),
)
AUTO_SIZE = Parameter(
    "size",
    SIZE,
    "auto",
    "taps along an axis; auto is 2*int(truncate*sigma + 0.5) + 1",
    per_axis=True,
    measured="distance",
)
LENGTHS = Parameter("size", SIZE, "3", "taps along an axis", per_axis=True, measured="distance")
RADIUS = Number(minimum=0)


def offsets(size: int) -> Taps:
    """Return the distances of `size` samples from their middle.

    >>> offsets(3), offsets(2)
    (array([-1.,  0.,  1.]), array([-0.5,  0.5]))
    """
    return np.arange(size, dtype=np.float64) - (size - 1) / 2


def impulse(size: int) -> Taps:
    """Return a one in the middle of zeros."""
    return np.asarray(np.arange(size) == size // 2, dtype=np.float64)


def impulses(shape: tuple[int, ...]) -> Term:
    limit_taps(shape)
    return tuple(impulse(size) for size in shape)


def grid(shape: tuple[int, ...]) -> tuple[Taps, ...]:
    """Return the distances from the middle along each axis, broadcastable to `shape`."""
    limit_taps(shape)
    return np.meshgrid(*(offsets(size) for size in shape), indexing="ij", sparse=True)


def bell(sigma: float, size: int) -> Taps:
    """Return a sampled Gaussian whose taps sum to one."""
    exponents = -0.5 * (offsets(size) / sigma) ** 2
    taps = np.exp(exponents - exponents.max())
    return averaging(taps)


def averaging(weights: NDArray[Any]) -> Taps:
    """Divide weights by their sum, so that flat areas keep their value."""
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def bell_sizes(
    sigma: tuple[float, ...], size: tuple[int, ...] | None, truncate: float
) -> tuple[int, ...]:
    """Return `size`, or the sizes that reach `truncate` sigmas, by scipy.ndimage's rule."""
    sizes = size or tuple(2 * int(truncate * s + 0.5) + 1 for s in sigma)
    limit_taps(sizes)
    return sizes


def bells(sigma: tuple[float, ...], sizes: tuple[int, ...]) -> Term:
    return tuple(bell(s, k) for s, k in zip(sigma, sizes, strict=True))


def _identity(*, dims: int, size: tuple[int, ...]) -> Terms:
    return (impulses(size),)


def _box(*, dims: int, size: tuple[int, ...]) -> Terms:
    limit_taps(size)
    return (tuple(np.full(k, 1 / k) for k in size),)


def _gaussian(
    *, dims: int, sigma: tuple[float, ...], size: tuple[int, ...] | None, truncate: float
) -> Terms:
    return (bells(sigma, bell_sizes(sigma, size, truncate)),)


def _binomial(*, dims: int, size: tuple[int, ...]) -> Terms:
    limit_taps(size)
    return (tuple(_pascal(k) for k in size),)


def _pascal(size: int) -> Taps:
    """Return a row of Pascal's triangle divided by its sum."""
    return np.array([math.comb(size - 1, k) / 2 ** (size - 1) for k in range(size)])


def _disk(*, dims: int, radius: tuple[float, ...]) -> Taps:
    """Average the samples inside an ellipse with these half axes."""
    longest = max(radius)
    sizes = tuple(2 * int(each) + 1 for each in radius)
    scales = [longest / each if each else 0.0 for each in radius]
    squares = sum((x * scale) ** 2 for x, scale in zip(grid(sizes), scales, strict=True))
    return averaging(np.asarray(squares <= longest * longest))


def _ring(*, dims: int, inner: float, outer: float) -> Taps:
    if inner > outer:
        raise KernelError(
            f"inner={inner:g} above outer={outer:g} for kernel 'ring'",
            "expected the smaller radius first",
        )
    squares = sum(x * x for x in grid((2 * int(outer) + 1,) * dims))
    mask = np.asarray((squares >= inner * inner) & (squares <= outer * outer))
    if not mask.any():
        raise KernelError(
            f"no sample from {inner:g} to {outer:g} away for kernel 'ring'",
            "expected at least one",
            "widen the ring",
        )
    return averaging(mask)


def _motion(*, dims: int, length: float, angle: float) -> Taps:
    """Weight each sample by its distance from the path: 1 on the path, 0 from one sample on."""
    half = (length - 1) / 2
    across, down = math.cos(math.radians(angle)), -math.sin(math.radians(angle))
    # Rounded so that cos(90 degrees), 6e-17 in floats, adds no column of zeros.
    y, x = grid(tuple(2 * math.ceil(round(half * abs(part), 9)) + 1 for part in (down, across)))
    along = np.clip(x * across + y * down, -half, half)
    return averaging(np.maximum(0.0, 1.0 - np.hypot(x - along * across, y - along * down)))


_JAHNE = "Jähne, Digital Image Processing, 2005"
_LONG = Number(minimum=1)

FAMILIES = (
    KernelFamily(
        "identity",
        _identity,
        "changes nothing: one at the centre, zeros around it",
        "Oppenheim and Schafer, Discrete-Time Signal Processing, 1989",
        (
            Parameter(
                "size",
                Number(integer=True, minimum=1, odd=True),
                "3",
                "taps along an axis",
                per_axis=True,
            ),
        ),
    ),
    KernelFamily(
        "box",
        _box,
        "blurs: the mean of the window",
        "Gonzalez and Woods, Digital Image Processing, 1992",
        (LENGTHS,),
    ),
    KernelFamily(
        "gaussian",
        _gaussian,
        "blurs equally in every direction, with the largest weights at the centre",
        "Koenderink, The structure of images, 1984",
        (SIGMA, FWHM, AUTO_SIZE, TRUNCATE),
    ),
    KernelFamily(
        "binomial",
        _binomial,
        "smooths by a row of Pascal's triangle, close to a Gaussian, in exact binary fractions",
        _JAHNE,
        (
            Parameter(
                "size",
                Number(integer=True, minimum=1, maximum=1000),
                "3",
                "taps along an axis",
                per_axis=True,
            ),
        ),
    ),
    KernelFamily(
        "disk",
        _disk,
        "the mean over a disk (a ball in 3-D), as a lens out of focus",
        "Potmesil and Chakravarty, A lens and aperture camera model for synthetic image "
        "generation, 1981",
        (Parameter("radius", RADIUS, "3", "in samples", per_axis=True, measured="distance"),),
    ),
    KernelFamily(
        "ring",
        _ring,
        "the mean over a ring, without the samples inside it",
        "after Secker, A ring median filter for digital images, 1995",
        (
            Parameter("inner", RADIUS, "2", "in samples", measured="distance"),
            Parameter("outer", RADIUS, "4", "in samples", measured="distance"),
        ),
    ),
    KernelFamily(
        "motion",
        _motion,
        "smears along a straight line, as a camera that moves",
        "Sondhi, Image restoration: the removal of spatially invariant degradations, 1972",
        (
            Parameter("length", _LONG, "9", "of the path, in samples", measured="distance"),
            Parameter(
                "angle", Number(), "0", "of the path in degrees, counter-clockwise from the right"
            ),
        ),
        least_dims=2,
        most_dims=2,
    ),
)
