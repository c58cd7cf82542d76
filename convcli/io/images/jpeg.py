"""JPEG: its settings, and a check of its end, as libjpeg decodes whatever follows a cut scan as samples."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, BinaryIO

from convcli.io.data import Metadata
from convcli.io.images.codec import Pillow
from convcli.io.images.integrity import BLOCK, CUT

_END_OF_IMAGE = 0xD9
_BARE_MARKERS = (0x01, 0xD8)  # which no length follows
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""A marker in a scan or between segments: neither a stuffed byte (FF 00) nor a restart (FF D0 to D7) nor a fill."""


class Jpeg(Pillow):
    """JPEG, without halving the resolution of colours, which would be one more filter."""

    def find_damage(self, stream: BinaryIO) -> str:
        """Look for the end of the image behind the last scan.

        Source: ITU-T T.81, annex B; entropy-coded segments hold no marker but restarts.
        """
        start, position, block = 0, 2, b""
        while True:
            # Have the block that holds the position; a segment may end far behind the last one.
            if not start <= position < start + len(block):
                stream.seek(position)
                start, block = position, stream.read(BLOCK)
            if not block:
                return CUT

            found = _MARKER.search(block, position - start)
            if not found:  # a marker may lie across the end of the block
                position, block = start + max(len(block) - 1, 1), b""
                continue
            marker, position = block[found.end() - 1], start + found.end()
            if marker == _END_OF_IMAGE:
                return ""
            if marker not in _BARE_MARKERS:
                stream.seek(position)
                position += int.from_bytes(stream.read(2), "big")

    def metadata_options(self, metadata: Metadata, width: int, height: int) -> dict[str, Any]:
        given = super().metadata_options(metadata, width, height)
        if given["exif"]:
            given["exif"] = b"Exif\0\0" + given["exif"]
        return given

    def settings(self, given: Mapping[str, int]) -> dict[str, Any]:
        return {"quality": 95, "subsampling": 0, **given}
