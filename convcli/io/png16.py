"""PNG of 16 bits and more than one channel, which Pillow would cut to 8: by imagecodecs.

Needs imagecodecs, `pip install 'convcli[png16]'`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from convcli.errors import brief
from convcli.io import integrity
from convcli.io.data import Data
from convcli.limits import Limits

_CHANNELS = {2: 3, 4: 2, 6: 4}
"""Channels of the colour types that have more than one, in 16 bits."""


def is_deep_png(stream: BinaryIO) -> bool:
    """Whether the header declares 16 bits a sample and more than one channel; the stream is left at its beginning.

    Source: W3C, "Portable Network Graphics (PNG) Specification", 11.2.1.
    """
    stream.seek(0)
    head = stream.read(26)
    stream.seek(0)
    return len(head) == 26 and head[12:16] == b"IHDR" and head[24] == 16 and head[25] in _CHANNELS


def read_png16(stream: BinaryIO, name: str, limits: Limits) -> Data:
    """The samples (H, W, C) of a PNG that `is_deep_png`, uint16; a transparent colour becomes alpha.

    Raises FileError for one that is damaged, LimitError for a header that declares more than the limits allow.
    """
    if damage := integrity.damage(stream, "png"):
        raise integrity.damaged(name, damage, "png")
    content = stream.read()
    width, height = int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")
    limits.check_pixels(name, width, height)
    channels = _CHANNELS[content[25]]
    decoding = len(content) + 2 * width * height * (channels + 1)
    limits.check_memory(name, decoding)
    codecs = import_module("imagecodecs")
    try:
        array = codecs.png_decode(content)
    except (codecs.PngError, ValueError, TypeError, RuntimeError) as error:
        raise integrity.damaged(name, brief(error), "png") from error
    notes = ("transparent colour made alpha",) if array.shape[2] > channels else ()
    alpha = array.shape[2] in (2, 4)
    mode = {2: "LA;16", 3: "RGB;16", 4: "RGBA;16"}[array.shape[2]]
    return Data(array, "image", "png", name, mode, alpha, notes, decoding=decoding)


def write_png16(stream: BinaryIO, array: NDArray[Any], settings: Mapping[str, int]) -> None:
    """Encode (H, W, C) of uint16, with the setting `compress_level`, 1 where it is left out."""
    level = settings.get("compress_level", 1)
    stream.write(import_module("imagecodecs").png_encode(np.ascontiguousarray(array), level=level))
