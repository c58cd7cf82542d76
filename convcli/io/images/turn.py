"""Pictures turned upright, as EXIF and TIFF tell which way the stored ones lie."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Exif

_ORIENTATION = 0x0112
_TRANSPOSED, _FROM_THE_RIGHT, _FROM_BELOW = (5, 6, 7, 8), (2, 3, 6, 7), (3, 4, 7, 8)
"""Orientations whose rows are columns, and those that begin at the other side. Source: TIFF 6.0, section 8."""


def orientation_of(exif: Exif) -> int:
    """Which way a picture lies by its EXIF tags: 2 to 8, and 1 where it stands upright or nobody knows."""
    given = exif.get(_ORIENTATION, 1)
    return given if given in range(2, 9) else 1


def turns(orientation: int) -> bool:
    """Whether rows become columns."""
    return orientation in _TRANSPOSED


def upright(picture: NDArray[Any], orientation: int) -> NDArray[Any]:
    """A view of a picture (H, W) or (H, W, C) as it is meant to be seen.

    >>> upright(np.array([[1, 2], [3, 4]]), 6).tolist()
    [[3, 1], [4, 2]]
    """
    standing = picture.swapaxes(0, 1) if turns(orientation) else picture
    across, down = -1 if orientation in _FROM_THE_RIGHT else 1, -1 if orientation in _FROM_BELOW else 1
    return np.asarray(standing[::down, ::across])
