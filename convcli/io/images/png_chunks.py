"""Read and write the chunks of a PNG, and the frames of an animation.

Source: W3C, "Portable Network Graphics (PNG) Specification (Third Edition)", 5 and 11.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from itertools import count, pairwise
from typing import BinaryIO, NamedTuple

from convcli.io.images.animation import Disposal, Region
from convcli.io.images.integrity import BLOCK, CUT
from convcli.io.streams import available_bytes

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEAD = len(SIGNATURE) + 25
"""Bytes up to the end of the chunk IHDR, which is the first."""

_SAMPLES = (b"IDAT", b"fdAT")  # the chunks of samples; fdAT for an animation's further frames
CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
OF_SAMPLES = (*CRITICAL, b"tRNS", b"acTL", b"fcTL", b"fdAT")
"""Chunks that change the decoded samples."""

_CHANNELS = {2: 3, 4: 2, 6: 4}
"""Channels of the colour types that have more than one in 16 bits."""

_DISPOSALS = {1: Disposal.CLEAR, 2: Disposal.RESTORE}  # by the numbers of fcTL


class Chunk(NamedTuple):
    """A chunk of a PNG: its type and its content."""

    kind: bytes
    content: bytes


class Place(NamedTuple):
    """The position of a chunk: its type, its start, and its end."""

    kind: bytes
    start: int
    end: int

    def read(self, stream: BinaryIO) -> tuple[bytes, bool]:
        """Return the content, and whether its CRC-32 matches."""
        stream.seek(self.start + 8)
        content = stream.read(self.end - self.start - 12)
        checksum = zlib.crc32(content, zlib.crc32(self.kind))
        return content, stream.read(4) == checksum.to_bytes(4, "big")


def find_chunks(stream: BinaryIO) -> Iterator[Place]:
    """Yield the positions of the chunks, up to IEND. Raises ValueError if the file is cut."""
    start, kind = len(SIGNATURE), b""
    while kind != b"IEND":
        stream.seek(start)
        head = stream.read(8)
        kind = head[4:]
        end = start + 12 + int.from_bytes(head[:4], "big")
        if available_bytes(stream, end) < end:
            raise ValueError(CUT)
        yield Place(kind, start, end)
        start = end


def read_chunks(stream: BinaryIO, *, with_samples: bool = False) -> Iterator[Chunk]:
    """Yield the chunks up to IEND, and check all of them.

    with_samples: include the content of chunks of samples. Raises ValueError if the file ends too
    early or a chunk's checksum differs.
    """
    for place in find_chunks(stream):
        kind, start, end = place
        content, intact = b"", True
        if kind in _SAMPLES and not with_samples:
            stream.seek(start + 8)
            checksum = zlib.crc32(kind)
            length = end - start - 12
            for done in range(0, length, BLOCK):
                checksum = zlib.crc32(stream.read(min(BLOCK, length - done)), checksum)
            intact = stream.read(4) == checksum.to_bytes(4, "big")
        else:
            content, intact = place.read(stream)
        if not intact:
            raise ValueError(f"the checksum of its chunk {kind.decode('latin-1')!r} differs")
        yield Chunk(kind, content)


def ancillary(stream: BinaryIO) -> list[Chunk]:
    """Return all chunks except the critical ones: header, palette, samples and end."""
    return [chunk for chunk in read_chunks(stream) if chunk.kind not in CRITICAL]


def write_chunk(stream: BinaryIO, kind: bytes, content: bytes) -> None:
    """Write one chunk, with its length and its checksum."""
    stream.write(len(content).to_bytes(4, "big") + kind)
    stream.write(content)
    stream.write(zlib.crc32(content, zlib.crc32(kind)).to_bytes(4, "big"))


def deep_channels(stream: BinaryIO) -> int:
    """Return the channels of a file with several of 16 bits, else 0.

    Leaves the stream at its start.
    """
    stream.seek(0)
    head = stream.read(26)
    stream.seek(0)
    deep = len(head) == 26 and head[12:16] == b"IHDR" and head[24] == 16
    return _CHANNELS.get(head[25], 0) if deep else 0


def size_of(content: bytes) -> tuple[int, int]:
    """Return the width and the height that the first chunk of a file declares."""
    width, height = struct.unpack_from(">II", content, len(SIGNATURE) + 8)
    return width, height


def count_frames(chunks: list[Chunk]) -> int:
    """Return the number of frames of an animated PNG, including its still image; else 1.

    Source: as above, 11.3.6.
    """
    animating = [chunk.kind for chunk in chunks if chunk.kind in (b"fcTL", b"fdAT")]
    return 1 + sum(pair == (b"fcTL", b"fdAT") for pair in pairwise(animating))


def read_regions(stream: BinaryIO) -> Iterator[Region]:
    """Yield the frames of an animation, without a still image before them.

    Raises ValueError if their chunks are out of sequence or a frame exceeds the canvas.
    Source: as above, 11.3.6.
    """
    shared: list[Chunk] = []
    frame: list[Chunk] = []
    sequence = count()
    for chunk in read_chunks(stream, with_samples=True):
        if chunk.kind in (b"fcTL", b"fdAT"):
            expected = next(sequence).to_bytes(4, "big")
            if chunk.content[:4] != expected:
                raise ValueError("the chunks of its animation are out of sequence")
        if chunk.kind in (b"IHDR", b"PLTE", b"tRNS"):
            shared.append(chunk)
        elif chunk.kind in _SAMPLES and frame:
            frame.append(chunk)
        elif chunk.kind in (b"fcTL", b"IEND"):
            if frame:
                yield _region(shared, frame)
            frame = [chunk]


def _region(shared: list[Chunk], frame: list[Chunk]) -> Region:
    """Return a frame of an animation as a PNG of its own.

    shared: the chunks for all frames. frame: the frame's fcTL, then the chunks of its samples.
    """
    control, *samples = frame
    _, width, height, left, top, delay, unit, disposal, blend = struct.unpack(
        ">5IHHBB", control.content
    )
    picture = io.BytesIO()
    picture.write(SIGNATURE)
    for kind, content in shared:
        own = struct.pack(">II", width, height) + content[8:] if kind == b"IHDR" else content
        write_chunk(picture, kind, own)
    for kind, content in samples:
        write_chunk(picture, b"IDAT", content[4:] if kind == b"fdAT" else content)
    write_chunk(picture, b"IEND", b"")
    canvas = struct.unpack_from(">II", shared[0].content)
    if left + width > canvas[0] or top + height > canvas[1]:
        raise ValueError("a frame of its animation lies outside of it")
    duration = 1000 * delay / (unit or 100)
    return Region(
        picture.getvalue(),
        left,
        top,
        width,
        height,
        duration,
        blend == 1,
        _DISPOSALS.get(disposal, Disposal.KEEP),
    )
