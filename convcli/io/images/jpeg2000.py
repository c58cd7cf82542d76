"""What a JPEG 2000 codestream says of itself, which Pillow does not pass on: its tiles, its bits, and its end."""

from __future__ import annotations

from typing import BinaryIO, NamedTuple

from convcli.io.images.integrity import BLOCK, CUT

_FRONT_BYTES = 2**20
"""Bytes of boxes that may stand before a codestream."""

_SOC_SIZ = b"\xff\x4f\xff\x51"  # the markers that begin a codestream
_EOC = b"\xff\xd9"  # the one that ends it


class Sizes(NamedTuple):
    """Width and height of a tile, and the most bits that a sample has."""

    tile_width: int
    tile_height: int
    bits: int


def read_sizes(stream: BinaryIO) -> Sizes | None:
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
    return Sizes(width, height, max(((depth & 0x7F) + 1 for depth in depths), default=8))


def find_damage(stream: BinaryIO) -> str:
    """Return what is wrong with a file, in words, or "".

    Source: ISO/IEC 15444-1, A.4.4: within a packet there is no marker above FF 8F, so FF D9 is the end.
    """
    tail = b""
    while block := stream.read(BLOCK):
        if _EOC in tail + block:
            return ""
        tail = block[-1:]
    return CUT
