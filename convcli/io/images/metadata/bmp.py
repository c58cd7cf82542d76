"""Read and write the metadata in the header of a BMP.

Sources: Microsoft, BITMAPFILEHEADER, BITMAPINFOHEADER, BITMAPV4HEADER, BITMAPV5HEADER; IBM, "OS/2
Presentation Manager Programming Reference", BITMAPINFOHEADER2.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import BinaryIO

from convcli.io.data import Part
from convcli.io.images.integrity import CUT, find_shortage
from convcli.io.images.metadata.found import LONGEST, Found

_FILE_HEADER = 14
_CORE, _INFO, _OS2, _V4, _V5 = 12, 40, 64, 108, 124
"""Bytes of headers: OS/2 1, Windows, OS/2 2, Windows versions 4 and 5."""

_KNOWN = (_CORE, _INFO, 52, 56, _OS2, _V4, _V5)
"""The headers that Pillow reads."""

_OFFSET_AT, _RESOLUTION_AT = 10, 38
_PER_METRE = 0.0254
_COLOURS = 48  # bytes of the endpoints and gamma of calibrated colours
_CALIBRATED, _EMBEDDED, _LINKED = bytes(4), b"DEBM", b"KNIL"
_UNPACKED = (0, 3, 6)  # values of the compression field without compression: plain, bit fields
_SRGB = b"BGRs"
_INTENT_ANY = 4  # LCS_GM_IMAGES, the perceptual intent


def find_metadata(stream: BinaryIO) -> Found:
    """Read the metadata of a header, and extend an OS/2 header to a size that Pillow reads."""
    found = Found("bmp")
    stream.seek(0)
    front = stream.read(_FILE_HEADER + _V5)
    if len(front) < _FILE_HEADER + 4:
        return found
    (declared,) = struct.unpack_from("<I", front, 2)
    if declared:
        found.note_rest(stream, max(declared, _end_of_samples(front)))
    (size,) = struct.unpack_from("<I", front, _FILE_HEADER)
    if _CORE < size < _OS2 and size not in _KNOWN:
        longer = _INFO if size < _INFO else _OS2
        (offset,) = struct.unpack_from("<I", front, _OFFSET_AT)
        found.edits[range(_OFFSET_AT, _OFFSET_AT + 4)] = struct.pack("<I", offset + longer - size)
        header = (
            struct.pack("<I", longer)
            + front[_FILE_HEADER + 4 : _FILE_HEADER + size]
            + bytes(longer - size)
        )
        found.edits[range(_FILE_HEADER, _FILE_HEADER + size)] = header
    if size >= _INFO and len(front) >= _RESOLUTION_AT + 8:
        across, down = struct.unpack_from("<2i", front, _RESOLUTION_AT)
        if across > 0 and down > 0:
            found.attempt("density", lambda: found.add_resolution(across, down, _PER_METRE))
    if size in (_V4, _V5) and len(front) >= _FILE_HEADER + size:
        _read_colours(found, stream, front[_FILE_HEADER : _FILE_HEADER + size])
    return found


def _read_colours(found: Found, stream: BinaryIO, header: bytes) -> None:
    """Read the profile of a header, embedded or linked, or its calibrated colours."""
    space, colours = header[56:60], header[60 : 60 + _COLOURS]
    if space == _CALIBRATED and any(colours):
        found.add_part(space, "calibrated colours", colours, "colours")
    if len(header) < _V5 or space not in (_EMBEDDED, _LINKED):
        return
    start, size = struct.unpack_from("<2I", header, 112)

    def read() -> None:
        stream.seek(_FILE_HEADER + start)
        content = stream.read(min(size, LONGEST))
        if not 0 < len(content) == size:
            raise ValueError("as the file does not hold it")
        if space == _EMBEDDED:
            found.keep("icc", content)
        else:
            found.add_part(space, "linked ICC profile", content, "colours")

    found.attempt("ICC profile", read)


def find_damage(stream: BinaryIO) -> str:
    """Describe how the samples of a file are cut, or return "".

    The header declares the bytes of compressed samples, or else those of the whole file.
    """
    stream.seek(0)
    front = stream.read(_FILE_HEADER + _INFO)
    needed = _end_of_samples(front)
    return find_shortage(stream, needed) if needed else CUT


def _end_of_samples(front: bytes) -> int:
    """Return the bytes up to the end of the samples, 0 if the header is cut."""
    try:
        declared, offset, size = struct.unpack_from("<2xI4xII", front)
        width, height, _, bits = struct.unpack_from(
            "<2H2H" if size == _CORE else "<2i2H", front, 18
        )
        compression, packed = (0, 0) if size < _INFO else struct.unpack_from("<2I", front, 30)
    except struct.error:
        return 0
    if compression not in _UNPACKED:
        return int(offset + packed if packed else declared)
    return int(offset + (width * bits + 31) // 32 * 4 * abs(height))


def with_colours(content: bytes, icc: bytes, parts: Sequence[Part]) -> bytes:
    """Replace the header of a file that Pillow wrote, version 3, by version 5 with colours.

    icc: a profile to embed. parts: calibrated colours or a linked profile, if there is no `icc`.
    """
    (declared, offset) = struct.unpack_from("<I4xI", content, 2)
    longer = _V5 - _INFO
    part = next(iter(parts), None)
    profile = icc or (part.content if part and part.kind == _LINKED else b"")
    space, colours = _SRGB, bytes(_COLOURS)
    if icc:
        space = _EMBEDDED
    elif part is not None:
        space = part.kind
        colours = part.content if space == _CALIBRATED else colours
    place = len(content) - _FILE_HEADER + longer if profile else 0
    info = struct.pack("<I", _V5) + content[_FILE_HEADER + 4 : _FILE_HEADER + _INFO]
    tail = struct.pack("<4I", _INTENT_ANY, place, len(profile), 0)
    head = content[:2] + struct.pack("<I4xI", declared + longer + len(profile), offset + longer)
    return (
        head + info + bytes(16) + space + colours + tail + content[_FILE_HEADER + _INFO :] + profile
    )
