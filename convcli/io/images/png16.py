"""PNG of 16 bits and more than one channel, which Pillow would cut to 8, read by imagecodecs.

Needs imagecodecs, `pip install 'convcli[png16]'`.
"""

from __future__ import annotations

import io
from importlib import import_module
from itertools import pairwise
from typing import BinaryIO

import numpy as np

from convcli.errors import FileError, brief
from convcli.io.data import Data, Kept
from convcli.io.images import integrity
from convcli.io.images.animation import chosen, which_frame
from convcli.io.images.metadata import read_kept
from convcli.io.images.pillow import unguarded
from convcli.io.images.png import Chunk, ancillary, write_png
from convcli.io.images.turn import orientation_of, upright
from convcli.limits import Limits
from convcli.options import Frames

_CHANNELS = {2: 3, 4: 2, 6: 4}
"""Channels of the colour types that have more than one, in 16 bits."""

_SAYING = (b"iCCP", b"pHYs", b"eXIf", b"tEXt", b"zTXt", b"iTXt")


def is_deep_png(stream: BinaryIO) -> bool:
    """Whether the header declares 16 bits a sample and more than one channel; the stream is left at its beginning.

    Source: W3C, "Portable Network Graphics (PNG) Specification", 11.2.1.
    """
    stream.seek(0)
    head = stream.read(26)
    stream.seek(0)
    return len(head) == 26 and head[12:16] == b"IHDR" and head[24] == 16 and head[25] in _CHANNELS


def read_png16(stream: BinaryIO, name: str, limits: Limits, frames: Frames = "first") -> Data:
    """The samples (H, W, C) of a PNG that `is_deep_png`, uint16, upright; a transparent colour becomes alpha.

    Of an animation, the first frame: imagecodecs takes no other. Raises FileError for others, and for a file that is
    damaged, LimitError for a header that declares more than the limits allow.
    """
    if damage := integrity.damage(stream, "png"):
        raise integrity.damaged(name, damage, "png")
    content = stream.read()
    width, height = int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")
    limits.check_pixels(name, width, height)
    channels = _CHANNELS[content[25]]
    limits.check_memory(name, 2 * len(content))
    chunks = ancillary(content)
    count = _frames(chunks)
    if chosen(frames, count, name) or (frames == "all" and count > 1):
        raise FileError(
            f"{name} has {count} frames of 16-bit samples in several channels",
            "of such, the first alone can be read",
            "leave --frames out, or save it with 8 bits",
        )
    kept, orientation = _said(chunks)
    samples = 2 * width * height * (channels + 1) * (2 if orientation > 1 else 1)
    decoding = len(content) + max(samples, len(content))
    limits.check_memory(name, decoding)
    codecs = import_module("imagecodecs")
    try:
        array = codecs.png_decode(content)
    except (codecs.PngError, ValueError, TypeError, RuntimeError) as error:
        raise integrity.damaged(name, brief(error), "png") from error
    notes = (
        which_frame(0, count),
        "transparent colour made alpha" if array.shape[2] > channels else "",
        "EXIF orientation applied" if orientation > 1 else "",
    )
    alpha = array.shape[2] in (2, 4)
    mode = {2: "LA;16", 3: "RGB;16", 4: "RGBA;16"}[array.shape[2]]
    standing = np.ascontiguousarray(upright(array, orientation))
    told = tuple(filter(None, notes))
    return Data(standing, "image", "png", name, mode, alpha, told, kept=kept, decoding=decoding)


def _frames(chunks: list[Chunk]) -> int:
    """Frames of an animated PNG, with the picture that is shown where nothing plays; 1 of a still one.

    Source: W3C, "Portable Network Graphics (PNG) Specification (Third Edition)", 11.3.6.
    """
    animating = [chunk.kind for chunk in chunks if chunk.kind in (b"fcTL", b"fdAT")]
    return 1 + sum(pair == (b"fcTL", b"fdAT") for pair in pairwise(animating))


def _said(chunks: list[Chunk]) -> tuple[Kept, int]:
    """What a PNG says besides its samples, and its EXIF orientation: read by Pillow from one of a single pixel."""
    from PIL import Image

    said = [chunk for chunk in chunks if chunk.kind in _SAYING]
    write_png(small := io.BytesIO(), np.zeros((1, 1), np.uint8), said=said)
    with unguarded(), Image.open(small, formats=("PNG",)) as image:
        image.load()
        orientation = orientation_of(image.getexif())
        return read_kept(image, orientation), orientation
