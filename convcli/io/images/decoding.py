"""What decoding a picture takes in memory, from its header."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO

from convcli.io.images.modes import MODES
from convcli.io.images.pixels import BAND
from convcli.io.images.turn import orientation_of

if TYPE_CHECKING:
    from PIL.Image import Image

_CANVASES = 8  # bytes of a pixel in WebP's own pictures: as it is, and as it was before the last frame
_SAMPLE = 4  # bytes of a sample in OpenJPEG
_SIZES = b"\xff\x4f\xff\x51"
_FRONT = 2**20  # bytes of boxes that may stand before a codestream


def decoding_bytes(image: Image, stream: BinaryIO) -> int:
    """Bytes that decoding takes at most: Pillow's own picture, turned and converted, the array, and the codec's.

    Pillow holds a pixel in 1 byte, or 2 for its 16-bit modes, or 4 for all others, and once more of the rows that it
    hands over at a time. libwebp keeps the file and two pictures meanwhile, and Pillow the samples as it had them from
    there. OpenJPEG keeps those of a tile, which are gone before they are handed over.
    """
    reading = MODES[image.mode]
    wanted = (reading.transparent if image.has_transparency_data else reading.opaque) or image.mode
    stored = {"1": 1, "L": 1, "P": 1}.get(image.mode, 2 if image.mode.startswith("I;16") else 4)
    converted = 0 if wanted == image.mode else 1 if wanted == "L" else 4
    sample = {"LA": 2, "RGB": 3}.get(wanted, converted or stored)
    turned = stored if _is_turned(image) else 0
    pixels = image.width * image.height
    band = min(max(BAND, image.width), pixels) * (stored + 2 * sample)
    handed = pixels * (stored + turned + converted + sample) + band
    if image.format == "WEBP":
        return handed + pixels * (_CANVASES + sample) + _size(stream)
    if image.format == "JPEG2000":
        channels = len(image.getbands())
        return max(handed, pixels * stored + _tile_pixels(image, stream) * channels * (_SAMPLE + min(stored, 2)))
    return handed


def _is_turned(image: Image) -> bool:
    """Whether the header says that the picture lies on its side or its back; a PNG may say so behind its samples."""
    known = image.format != "PNG" or "exif" in image.info
    return known and orientation_of(image.getexif()) > 1


def _size(stream: BinaryIO) -> int:
    at = stream.tell()
    size = stream.seek(0, os.SEEK_END)
    stream.seek(at)
    return size


def _tile_pixels(image: Image, stream: BinaryIO) -> int:
    """Pixels of a JPEG 2000's tile, at most those of the picture. Source: ISO/IEC 15444-1, A.5.1."""
    at = stream.tell()
    stream.seek(0)
    sizes = stream.read(_FRONT).partition(_SIZES)[2]
    stream.seek(at)
    if len(sizes) < 28:
        return image.width * image.height
    across, down = (int.from_bytes(sizes[at : at + 4], "big") for at in (20, 24))
    return min(across, image.width) * min(down, image.height)
