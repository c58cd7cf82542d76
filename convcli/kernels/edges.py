"""Edge kernels: derivatives along an axis, compass masks, and the Frei-Chen basis.

Slopes are positive if values grow to the right (x), downward (y), or towards later slices (z).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from convcli.kernels.laplacian import SECOND_DIFFERENCE, along
from convcli.kernels.model import Taps, Terms
from convcli.kernels.parameters import AXES, COMPASS, Choice, KernelFamily, Number, Parameter

CENTRAL_DIFFERENCE = np.array([-1.0, 0.0, 1.0])
# The ring of eight around the centre, clockwise as COMPASS.
_ROUND = (*((0, 0), (0, 1), (0, 2), (1, 2)), *((2, 2), (2, 1), (2, 0), (1, 0)))
_TWO_D: dict[str, Any] = {"least_dims": 2, "most_dims": 2}
_RAY = dict.fromkeys(COMPASS, 2)

# Each mask as its authors drew it, with the divisor that makes it orthonormal.
_R = 2**0.5
_FREI_CHEN = {
    "1": (2 * _R, [[1, _R, 1], [0, 0, 0], [-1, -_R, -1]]),
    "2": (2 * _R, [[1, 0, -1], [_R, 0, -_R], [1, 0, -1]]),
    "3": (2 * _R, [[0, -1, _R], [1, 0, -1], [-_R, 1, 0]]),
    "4": (2 * _R, [[_R, -1, 0], [-1, 0, 1], [0, 1, -_R]]),
    "5": (2, [[0, 1, 0], [-1, 0, -1], [0, 1, 0]]),
    "6": (2, [[-1, 0, 1], [0, 0, 0], [1, 0, -1]]),
    "7": (6, [[1, -2, 1], [-2, 4, -2], [1, -2, 1]]),
    "8": (6, [[-2, 1, -2], [1, 4, 1], [-2, 1, -2]]),
    "9": (3, [[1, 1, 1], [1, 1, 1], [1, 1, 1]]),
}


def _slope(smooth: tuple[float, ...], *, dims: int, variant: str) -> Terms:
    """Return the central difference along one axis, smoothed along all others.

    (1, 2, 1) gives Sobel.
    """
    smoothing = (np.array(smooth, dtype=np.float64),) * dims
    return (along(dims - AXES[variant], CENTRAL_DIFFERENCE, smoothing),)


def _derivative(*, dims: int, variant: str, order: int) -> Terms:
    difference = CENTRAL_DIFFERENCE / 2 if order == 1 else SECOND_DIFFERENCE
    return (along(dims - AXES[variant], difference, (np.ones(1),) * dims),)


def _roberts(*, dims: int, variant: str) -> Terms:
    first, second = np.eye(2)
    if variant == "x":
        return (first, first), (-second, second)
    return (first, second), (-second, first)


def _ring(centre: float, ring: tuple[float, ...], turns: int) -> Taps:
    """Return a 3x3 mask from its ring, clockwise from the top left, rotated by `turns` eighths."""
    taps = np.full((3, 3), float(centre))
    for place, value in zip(_ROUND, np.roll(ring, turns), strict=True):
        taps[place] = value
    return taps


def _compass(ring: tuple[float, ...], *, dims: int, variant: str) -> Taps:
    """Return a mask, given for north, rotated to another direction."""
    return _ring(0, ring, COMPASS.index(variant) - COMPASS.index("n"))


def _emboss(*, dims: int, direction: str) -> Taps:
    return _ring(1, (-2, -1, 0, 1, 2, 1, 0, -1), COMPASS.index(direction))


def _frei_chen(*, dims: int, variant: str) -> Taps:
    divisor, mask = _FREI_CHEN[variant]
    return np.array(mask) / divisor


def _sloped(name: str, smooth: tuple[float, ...], how: str, source: str) -> KernelFamily:
    return KernelFamily(
        name,
        partial(_slope, smooth),
        f"edges: the slope along {{variant}}, {how}",
        source,
        variants=AXES,
    )


def _masks(name: str, build: Callable[..., Taps], source: str) -> KernelFamily:
    return KernelFamily(
        name,
        build,
        "responds to an edge brighter towards {variant}",
        source,
        variants=_RAY,
        **_TWO_D,
    )


FAMILIES = (
    _sloped(
        "sobel",
        (1, 2, 1),
        "smoothed across it by 1 2 1",
        "Sobel and Feldman, A 3x3 isotropic gradient operator for image processing, 1968",
    ),
    _sloped(
        "scharr",
        (3, 10, 3),
        "smoothed across it by 3 10 3 so that no direction is favoured",
        "Scharr, Optimale Operatoren in der Digitalen Bildverarbeitung, 2000",
    ),
    _sloped(
        "prewitt",
        (1, 1, 1),
        "averaged across it",
        "Prewitt, Object enhancement and extraction, 1970",
    ),
    KernelFamily(
        "derivative",
        _derivative,
        "derivative along {variant} by central differences, exact for a parabola",
        "Fornberg, Generation of finite difference formulas on arbitrarily spaced grids, 1988",
        (
            Parameter(
                "order",
                Number(integer=True, minimum=1, maximum=2),
                "1",
                "first or second derivative",
            ),
        ),
        AXES,
    ),
    KernelFamily(
        "roberts",
        _roberts,
        "difference along one of the two diagonals ({variant})",
        "Roberts, Machine perception of three-dimensional solids, 1963",
        variants={"x": 2, "y": 2},
        most_dims=2,
    ),
    _masks(
        "kirsch",
        partial(_compass, (5, 5, 5, -3, -3, -3, -3, -3)),
        "Kirsch, Computer determination of the constituent structure of biological images, 1971",
    ),
    _masks(
        "robinson",
        partial(_compass, (1, 2, 1, 0, -1, -2, -1, 0)),
        "Robinson, Edge detection by compass gradient masks, 1977",
    ),
    KernelFamily(
        "frei-chen",
        _frei_chen,
        "mask {variant} of nine, orthonormal: edges (1 to 4), lines (5 to 8), the mean (9)",
        "Frei and Chen, Fast boundary detection: a generalization and a new algorithm, 1977",
        variants=dict.fromkeys(_FREI_CHEN, 2),
        most_dims=2,
    ),
    KernelFamily(
        "emboss",
        _emboss,
        "shades the input as a relief lit from one side",
        "Schlag, Fast embossing effects on raster image data, Graphics Gems IV, 1994",
        (Parameter("direction", Choice(COMPASS), "nw", "where the light comes from"),),
        **_TWO_D,
    ),
)
