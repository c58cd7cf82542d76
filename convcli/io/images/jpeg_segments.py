"""JPEG: where its segments lie.

Source: ITU-T T.81, annex B; entropy-coded segments hold no marker but restarts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from convcli.io.images.integrity import BLOCK, CUT

END_OF_IMAGE, START_OF_SCAN, COMMENT = 0xD9, 0xDA, 0xFE
_BARE_MARKERS = (0x01, 0xD8, END_OF_IMAGE)  # which no length follows
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""A marker in a scan or between segments: neither a stuffed byte (FF 00) nor a restart (FF D0 to
D7) nor a fill.
"""


class Segment(NamedTuple):
    """A marker, where it begins, where its segment ends, and how many stray bytes stand before it."""

    marker: int
    start: int
    end: int
    stray: int

    def read(self, stream: BinaryIO) -> bytes:
        """Return the content, without the marker and the length."""
        stream.seek(self.start + 4)
        return stream.read(self.end - self.start - 4)


def find_segments(stream: BinaryIO) -> Iterator[Segment]:
    """Yield the segments behind the first marker, up to the end of the image; of a scan its header
    alone.

    Raises ValueError where the file ends too early.
    """
    start, position, block = 0, 2, b""
    expected, in_scan = 2, False
    while True:
        # Have the block that holds the position; a segment may end far behind the last one.
        if not start <= position < start + len(block):
            stream.seek(position)
            start, block = position, stream.read(BLOCK)
        if not block:
            raise ValueError(CUT)

        found = _MARKER.search(block, position - start)
        if not found:  # a marker may lie across the end of the block
            position, block = start + max(len(block) - 1, 1), b""
            continue
        marker, position = block[found.end() - 1], start + found.end()
        begin = position - 2
        if marker not in _BARE_MARKERS:
            stream.seek(position)
            position += int.from_bytes(stream.read(2), "big")
        stray = 0
        if begin > expected and not in_scan:
            stream.seek(expected)
            stray = len(stream.read(begin - expected).strip(b"\xff"))
        yield Segment(marker, begin, position, stray)
        if marker == END_OF_IMAGE:
            return
        expected, in_scan = position, marker == START_OF_SCAN
