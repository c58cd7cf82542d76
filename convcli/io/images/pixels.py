"""The samples of a picture that Pillow has decoded, as an array."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

BAND = 1 << 17
"""Pixels that are taken at a time: few enough for a core's cache, with all copies of them."""


def samples(image: Image, dtype: DTypeLike) -> NDArray[Any]:
    """A picture's samples as an array of that type, (H, W), or (H, W, C) where it has more than one channel.

    They are taken in bands of rows: all at once, as `np.asarray` has them, they are copied twice more, through memory
    that is fresh each time, which takes three times as long.

    >>> from PIL import Image
    >>> samples(Image.new("RGB", (3, 2), (1, 2, 3)), "uint8").shape
    (2, 3, 3)
    """
    width, height = image.size
    rows = max(BAND // width, 1)
    array = np.empty((height, *np.asarray(image.crop((0, 0, width, 1))).shape[1:]), dtype)
    for top in range(0, height, rows):
        array[top : top + rows] = np.asarray(image.crop((0, top, width, min(top + rows, height))))
    return array
