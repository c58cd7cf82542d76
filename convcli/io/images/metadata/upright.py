"""Apply the orientation of a file to its picture, points and density."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from convcli.io.images.pillow import DIRECTORY_ERRORS

if TYPE_CHECKING:
    from PIL.Image import Exif

_DENSEST = 65535  # dots per inch, which JFIF writes in 16 bits
ORIENTATION = 0x0112
_TRANSPOSED, _FROM_THE_RIGHT, _FROM_BELOW = (5, 6, 7, 8), (2, 3, 6, 7), (3, 4, 7, 8)
"""Orientations that swap rows and columns, and that start from the right or from below.

Source: TIFF 6.0, section 8.
"""


def orientation_of(exif: Exif) -> int:
    """Return the orientation of EXIF tags: 2 to 8, or 1 if there is no valid one."""
    given = exif.get(ORIENTATION, 1)
    return given if given in range(2, 9) else 1


def swaps_axes(orientation: int) -> bool:
    """Return whether an orientation swaps rows and columns."""
    return orientation in _TRANSPOSED


def apply_orientation(picture: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return an upright view of a picture (H, W) or (H, W, C).

    >>> apply_orientation(np.array([[1, 2], [3, 4]]), 6).tolist()
    [[3, 1], [4, 2]]
    """
    upright = picture.swapaxes(0, 1) if swaps_axes(orientation) else picture
    row_step = -1 if orientation in _FROM_BELOW else 1
    column_step = -1 if orientation in _FROM_THE_RIGHT else 1
    return np.asarray(upright[::row_step, ::column_step])


def upright_point(
    x: float, y: float, orientation: int, width: int, height: int
) -> tuple[float, float]:
    """Convert a point of a picture to the upright picture.

    width, height: of the picture as stored.

    >>> upright_point(2, 0, 6, 3, 2)
    (1, 2)
    """
    if swaps_axes(orientation):
        x, y, width, height = y, x, height, width
    right = width - 1 - x if orientation in _FROM_THE_RIGHT else x
    return right, height - 1 - y if orientation in _FROM_BELOW else y


def valid_density(density: Any, scale: float, *, turned: bool) -> tuple[float, float] | None:
    try:
        x, y = (float(value) * scale for value in density)
    except DIRECTORY_ERRORS:
        return None
    if not all(math.isfinite(value) and 0.5 <= value <= _DENSEST for value in (x, y)):
        return None
    return (y, x) if turned else (x, y)


def whole_ratio(aspect: tuple[float, float], most: int) -> tuple[int, int]:
    """Return two integers up to `most` whose ratio is that of `aspect`, or approximates it.

    >>> whole_ratio((2, 1), 65535), whole_ratio((64, 42.5), 65535)
    ((2, 1), (128, 85))
    >>> whole_ratio((300_000, 100), 65535)
    (65535, 22)
    """
    x, y = aspect
    for scale in range(1, 101):
        pair = x * scale, y * scale
        if all(value == int(value) and value <= most for value in pair):
            return int(pair[0]), int(pair[1])
    factor = most / max(x, y)
    return max(round(x * factor), 1), max(round(y * factor), 1)


def as_bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text
