"""Make what a file says that of the upright picture: axes, density, XMP."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from convcli.io.images.pillow import DIRECTORY_ERRORS

if TYPE_CHECKING:
    from PIL.Image import Exif

_DENSEST = 65535  # dots per inch, which JFIF writes in 16 bits
ORIENTATION = 0x0112
_TRANSPOSED, _FROM_THE_RIGHT, _FROM_BELOW = (5, 6, 7, 8), (2, 3, 6, 7), (3, 4, 7, 8)
"""Orientations whose rows are columns, and those that begin at the other side. Source: TIFF 6.0, section 8."""

_XMP_ORIENTATION = re.compile(rb"""(tiff:Orientation(?:\s*=\s*["']|>\s*))[2-8]""")
_XMP_THUMBNAILS = re.compile(rb"<(xmp|xap):Thumbnails\b.*?</\1:Thumbnails>", re.DOTALL)


def orientation_of(exif: Exif) -> int:
    """Return the orientation of EXIF tags: 2 to 8, and 1 where the picture is upright or nothing valid is said."""
    given = exif.get(ORIENTATION, 1)
    return given if given in range(2, 9) else 1


def swaps_axes(orientation: int) -> bool:
    """Return whether an orientation makes rows columns."""
    return orientation in _TRANSPOSED


def apply_orientation(picture: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return a view of a picture (H, W) or (H, W, C) as it is meant to be seen.

    >>> apply_orientation(np.array([[1, 2], [3, 4]]), 6).tolist()
    [[3, 1], [4, 2]]
    """
    upright = picture.swapaxes(0, 1) if swaps_axes(orientation) else picture
    row_step = -1 if orientation in _FROM_BELOW else 1
    column_step = -1 if orientation in _FROM_THE_RIGHT else 1
    return np.asarray(upright[::row_step, ::column_step])


def valid_density(density: Any, scale: float, *, turned: bool) -> tuple[float, float] | None:
    try:
        x, y = (float(value) * scale for value in density)
    except DIRECTORY_ERRORS:
        return None
    if not all(math.isfinite(value) and 0.5 <= value <= _DENSEST for value in (x, y)):
        return None
    return (y, x) if turned else (x, y)


def upright_xmp(packet: bytes) -> bytes:
    r"""Return a packet of XMP for the upright picture, without thumbnails.

    >>> upright_xmp(b'<rdf:Description tiff:Orientation="6"><xmp:Thumbnails>...</xmp:Thumbnails>')
    b'<rdf:Description tiff:Orientation="1">'
    """
    return _XMP_THUMBNAILS.sub(b"", _XMP_ORIENTATION.sub(rb"\g<1>1", packet))


def as_bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text
