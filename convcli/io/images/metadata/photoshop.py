r"""Split and join Photoshop's image resources, one of which holds the records of IPTC-IIM.

A resource is b"8BIM", a number, a name of even length with its count, a size, and that many bytes,
padded to be even. Source: Adobe, "Photoshop File Formats Specification", image resource blocks.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

IPTC = 0x0404
_STALE = (0x03ED, 0x0409, 0x040C)
"""The resolution, which other fields of Metadata hold, and thumbnails."""

_SIGNATURES = (b"8BIM", b"MeSa", b"PHUT", b"AgHg", b"DCSR")
_NAMELESS = b"8BIM%b\0\0%b%b"


def split_resources(content: bytes) -> tuple[bytes, bytes]:
    r"""Return the records of IPTC, and all other resources except resolution and thumbnails.

    Raises ValueError for invalid resources.

    >>> split_resources(join_resources(b"\x1c\x02\x78\0\1A", b""))
    (b'\x1c\x02x\x00\x01A', b'')
    """
    iptc, others = b"", []
    for number, start, data_start, end in _resources(content):
        if number == IPTC:
            iptc = iptc or content[data_start:end]
        elif number not in _STALE:
            others.append(content[start : end + (end - data_start) % 2])
    return iptc, b"".join(others)


def has_old_thumbnail(content: bytes) -> bool:
    """Return whether the resources include a thumbnail."""
    return any(number in _STALE[1:] for number, *_ in _resources(content))


def join_resources(iptc: bytes, others: bytes) -> bytes:
    """Return the records of IPTC as a resource, if there are any, followed by the others."""
    if not iptc:
        return others
    head = struct.pack(">H", IPTC)
    return _NAMELESS % (head, struct.pack(">I", len(iptc)), iptc + bytes(len(iptc) % 2)) + others


def _resources(content: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Yield the number of each resource, its start, and the start and the end of its data."""
    start = 0
    while content[start : start + 4] in _SIGNATURES:
        try:
            number, length = struct.unpack_from(">HB", content, start + 4)
            name_end = start + 6 + (length + 2) // 2 * 2
            (size,) = struct.unpack_from(">I", content, name_end)
        except struct.error as error:
            raise ValueError("as it cannot be read") from error
        end = name_end + 4 + size
        if end > len(content):
            raise ValueError("as it cannot be read")
        yield number, start, name_end + 4, end
        start = end + size % 2
    if content[start:].strip(b"\0"):
        raise ValueError("as it cannot be read")
