"""JPEG 2000, which is only read: Pillow says nothing of its tiles, its bits and its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from convcli.io.images.codec import Pillow
from convcli.io.images.integrity import BLOCK, CUT
from convcli.io.images.read import stored_bytes

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

_FRONT_BYTES = 2**20
"""Bytes of boxes that may stand before a codestream."""

_SAMPLE_BYTES = 4  # of a sample in OpenJPEG
_SOC_SIZ = b"\xff\x4f\xff\x51"  # the markers that begin a codestream
_EOC = b"\xff\xd9"  # the one that ends it


class Jpeg2000(Pillow):
    """JPEG 2000, as a codestream or in boxes."""

    def find_damage(self, stream: BinaryIO) -> str:
        """Look for the end: within a packet there is no marker above FF 8F (ISO/IEC 15444-1, A.4.4)."""
        tail = b""
        while block := stream.read(BLOCK):
            if _EOC in tail + block:
                return ""
            tail = block[-1:]
        return CUT

    def sample_bits(self, image: ImageFile, stream: BinaryIO) -> int:
        sizes = _read_sizes(stream)
        return sizes.bits if sizes else 8

    def decoding_bytes(self, image: ImageFile, stream: BinaryIO) -> int:
        """Count also the samples of a tile, which OpenJPEG frees before Pillow hands over its own."""
        sizes = _read_sizes(stream)
        pixels = tile = image.width * image.height
        if sizes:
            tile = min(sizes.width, image.width) * min(sizes.height, image.height)
        stored = stored_bytes(image)
        decoder = tile * len(image.getbands()) * (_SAMPLE_BYTES + min(stored, 2))
        return max(super().decoding_bytes(image, stream), pixels * stored + decoder)


class _Sizes(NamedTuple):
    """Width and height of a tile, and the most bits that a sample has."""

    width: int
    height: int
    bits: int


def _read_sizes(stream: BinaryIO) -> _Sizes | None:
    """Return the sizes that a file declares, None where it has no such header; the stream stays where it is.

    Source: ISO/IEC 15444-1, A.5.1, the marker segment SIZ.
    """
    before = stream.tell()
    stream.seek(0)
    segment = stream.read(_FRONT_BYTES).partition(_SOC_SIZ)[2]
    stream.seek(before)
    if len(segment) < 39:
        return None
    width, height = (int.from_bytes(segment[start : start + 4], "big") for start in (20, 24))
    count = int.from_bytes(segment[36:38], "big")
    depths = segment[38 : 38 + 3 * count : 3]
    return _Sizes(width, height, max((depth & 0x7F) + 1 for depth in depths))
