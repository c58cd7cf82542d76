"""Find the segments of a JPEG.

Source: ITU-T T.81, annex B; entropy-coded segments hold no marker except restarts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from convcli.io.images.integrity import BLOCK, CUT

END_OF_IMAGE, START_OF_SCAN, COMMENT = 0xD9, 0xDA, 0xFE
_BARE_MARKERS = (0x01, 0xD8, END_OF_IMAGE)  # markers without a length
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""A marker, except stuffed bytes (FF 00), restarts (FF D0 to D7) and fill bytes (FF FF)."""


class Segment(NamedTuple):
    """A marker, its start, the end of its segment, and the number of stray bytes before it."""

    marker: int
    start: int
    end: int
    stray: int

    def read(self, stream: BinaryIO) -> bytes:
        """Return the content, without the marker and the length."""
        stream.seek(self.start + 4)
        return stream.read(self.end - self.start - 4)


def find_segments(stream: BinaryIO) -> Iterator[Segment]:
    """Yield the segments after the first marker, up to the end of the image.

    A scan's segment is only its header. Raises ValueError if the file ends too early.
    """
    start, position, block = 0, 2, b""
    expected, in_scan = 2, False
    while True:
        # Read the block that holds the position; a segment may end far after the last one.
        if not start <= position < start + len(block):
            stream.seek(position)
            start, block = position, stream.read(BLOCK)
        if not block:
            raise ValueError(CUT)

        # Find the next marker, which may lie across the end of the block.
        found = _MARKER.search(block, position - start)
        if not found:
            position, block = start + max(len(block) - 1, 1), b""
            continue
        marker, position = block[found.end() - 1], start + found.end()
        begin = position - 2
        if marker not in _BARE_MARKERS:
            stream.seek(position)
            position += int.from_bytes(stream.read(2), "big")

        # Count the bytes that belong to no segment.
        stray = 0
        if begin > expected and not in_scan:
            stream.seek(expected)
            stray = len(stream.read(begin - expected).strip(b"\xff"))
        yield Segment(marker, begin, position, stray)
        if marker == END_OF_IMAGE:
            return
        expected, in_scan = position, marker == START_OF_SCAN
