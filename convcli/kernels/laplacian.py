"""Kernels that respond to detail in any direction: Laplacians, band passes and sharpening."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from convcli.errors import KernelError
from convcli.kernels.model import Taps, Term, Terms
from convcli.kernels.parameters import KernelFamily, Number, Parameter
from convcli.kernels.smoothing import (
    AUTO_SIZE,
    FWHM,
    SIGMA,
    TRUNCATE,
    WIDTH,
    bell,
    bell_sizes,
    bells,
    grid,
    impulses,
    offsets,
)

SECOND_DIFFERENCE = np.array([1.0, -2.0, 1.0])


def scaled(factor: float, term: Term) -> Term:
    """Multiply a term by a number."""
    return (factor * term[0], *term[1:])


def along(axis: int, factor: Taps, others: Term) -> Term:
    """Replace the factor of one axis in a term."""
    return (*others[:axis], factor, *others[axis + 1 :])


def _laplacian(*, dims: int, neighbours: int | None) -> Terms:
    centre = impulses((3,) * dims)
    faces = 2 * dims
    everyone = 3**dims - 1
    if neighbours in (None, faces):
        return tuple(along(axis, SECOND_DIFFERENCE, centre) for axis in range(dims))
    if neighbours == everyone:
        return (np.ones(3),) * dims, scaled(-(3.0**dims), centre)
    raise KernelError(f"neighbours={neighbours} in {dims}-D", f"expected {faces} or {everyone}")


def _outline(*, dims: int) -> Terms:
    """Subtract all neighbours from the centre, whose weight is their number."""
    return scaled(-1.0, (np.ones(3),) * dims), scaled(3.0**dims, impulses((3,) * dims))


def _sharpen(*, dims: int, amount: float, neighbours: int | None) -> Terms:
    """Subtract the Laplacian from the input."""
    laplacian = _laplacian(dims=dims, neighbours=neighbours)
    return impulses((3,) * dims), *(scaled(-amount, term) for term in laplacian)


def _unsharp(
    *,
    dims: int,
    amount: float,
    sigma: tuple[float, ...],
    size: tuple[int, ...] | None,
    truncate: float,
) -> Terms:
    """Add the difference between the input and its blur."""
    sizes = bell_sizes(sigma, size, truncate)
    return scaled(1 + amount, impulses(sizes)), scaled(-amount, bells(sigma, sizes))


def _log(
    *, dims: int, sigma: tuple[float, ...], size: tuple[int, ...] | None, truncate: float
) -> Terms:
    sizes = bell_sizes(sigma, size, truncate)
    smooth = bells(sigma, sizes)
    return tuple(along(axis, _bent(sigma[axis], sizes[axis]), smooth) for axis in range(dims))


def _mexican_hat(**parameters: Any) -> Terms:
    return tuple(scaled(-1.0, term) for term in _log(**parameters))


def _bent(sigma: float, size: int) -> Taps:
    """Return a Gaussian's second derivative.

    The variance of the samples replaces sigma**2, so that the taps sum to zero.
    """
    smooth = bell(sigma, size)
    squares = offsets(size) ** 2
    return (squares - smooth @ squares) * smooth / sigma**4


def _dog(
    *, dims: int, sigma1: float, sigma2: float, size: tuple[int, ...] | None, truncate: float
) -> Terms:
    if sigma1 == sigma2:
        raise KernelError(
            f"sigma1={sigma1:g} and sigma2={sigma2:g} for kernel 'dog'", "expected two that differ"
        )
    first, second = (sigma1,) * dims, (sigma2,) * dims
    sizes = bell_sizes(max(first, second), size, truncate)
    return bells(first, sizes), scaled(-1.0, bells(second, sizes))


def _gabor(
    *, dims: int, sigma: float, theta: float, wavelength: float, psi: float, gamma: float
) -> Taps:
    """Return a cosine times a Gaussian, cut at three sigmas but not within one sample."""
    cos, sin = math.cos(math.radians(theta)), math.sin(math.radians(theta))
    length = sigma
    width = sigma / gamma
    reach = [max(3 * length * abs(a), 3 * width * abs(b), 1.0) for a, b in ((sin, cos), (cos, sin))]
    y, x = grid(tuple(2 * math.ceil(round(r, 9)) + 1 for r in reach))
    # Coordinates along and across the wave: y points down, theta turns counter-clockwise.
    ahead = x * cos - y * sin
    aside = x * sin + y * cos
    bump = np.exp(-0.5 * ((ahead / length) ** 2 + (aside / width) ** 2))
    envelope = bump / (2 * math.pi * length * width)
    taps: Taps = envelope * np.cos(2 * math.pi * ahead / wavelength + math.radians(psi))
    return taps


_NEIGHBOURS = Parameter(
    "neighbours",
    Number(integer=True, minimum=1),
    "auto",
    "4 (auto) or 8 in 2-D: those that share a face, or all of them",
)
_AMOUNT = Parameter("amount", Number(), "1", "how much of the detail to add")
_ODD_SIZE = Parameter(
    "size", Number(integer=True, minimum=1, odd=True), "auto", AUTO_SIZE.meaning, per_axis=True
)
_MARR = "Marr and Hildreth, Theory of edge detection, 1980"
_GONZALEZ = "Gonzalez and Woods, Digital Image Processing, 1992"

FAMILIES = (
    KernelFamily(
        "sharpen",
        _sharpen,
        "adds the detail that a Laplacian finds",
        _GONZALEZ,
        (_AMOUNT, _NEIGHBOURS),
    ),
    KernelFamily(
        "unsharp",
        _unsharp,
        "adds the detail that a Gaussian blur removes: unsharp masking",
        _GONZALEZ,
        (_AMOUNT, SIGMA, FWHM, _ODD_SIZE, TRUNCATE),
    ),
    KernelFamily(
        "laplacian",
        _laplacian,
        "the sum of the second differences: how far a sample lies below its neighbours",
        "Rosenfeld and Kak, Digital Picture Processing, 1976",
        (_NEIGHBOURS,),
    ),
    KernelFamily(
        "outline",
        _outline,
        "how far a sample lies above all its neighbours: lines, edges and corners",
        _GONZALEZ,
    ),
    KernelFamily(
        "log",
        _log,
        "the Laplacian of a Gaussian: edges are where it crosses zero, blobs where it peaks",
        _MARR,
        (SIGMA, FWHM, AUTO_SIZE, TRUNCATE),
    ),
    KernelFamily(
        "mexican-hat",
        _mexican_hat,
        "the Laplacian of a Gaussian with its sign turned: bright blobs of its size",
        "Ricker, The form and laws of propagation of seismic wavelets, 1953",
        (SIGMA, FWHM, AUTO_SIZE, TRUNCATE),
    ),
    KernelFamily(
        "dog",
        _dog,
        "the difference of two Gaussians: detail between two scales",
        _MARR,
        (
            Parameter(
                "sigma1", WIDTH, "1", "of the Gaussian added, in samples", measured="distance"
            ),
            Parameter(
                "sigma2",
                WIDTH,
                "1.6",
                "of the Gaussian subtracted, in samples",
                measured="distance",
            ),
            AUTO_SIZE,
            TRUNCATE,
        ),
    ),
    KernelFamily(
        "gabor",
        _gabor,
        "responds to waves of one length and direction",
        "Daugman, Uncertainty relation for resolution in space, spatial frequency, "
        "and orientation, 1985",
        (
            Parameter(
                "sigma",
                WIDTH,
                "2",
                "of the envelope along the wave, in samples",
                measured="distance",
            ),
            Parameter(
                "theta",
                Number(),
                "0",
                "where the wave travels, in degrees counter-clockwise from the right",
            ),
            Parameter("wavelength", WIDTH, "4", "in samples", measured="distance"),
            Parameter("psi", Number(), "0", "phase at the centre, in degrees"),
            Parameter("gamma", WIDTH, "1", "sigma along the wave over sigma across it"),
        ),
        least_dims=2,
        most_dims=2,
    ),
)
