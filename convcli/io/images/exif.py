"""EXIF blocks, changed in place, so that whatever else they hold stays as it is, bytes and offsets.

A block is a small TIFF file::

    byte order, 42, -> directory 0: entries, -> directory 1 (the thumbnail's)
                                    one of them -> the EXIF directory

Source: EXIF 2.3 (CIPA DC-008), 4.5 and 4.6; TIFF 6.0, section 2.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

_ORIENTATION, _EXIF = 0x0112, 0x8769
_WIDTH, _HEIGHT = 0xA002, 0xA003
_THUMBNAILS = ((0x0201, 0x0202), (273, 279))  # where one begins, and how many bytes it has: JPEG, or a strip
_SHORT, _LONG = 3, 4
_ENTRY = 12  # bytes: tag, type, count, and the value or where it stands


def upright(block: bytes) -> bytes:
    r"""The block of a picture that stands upright, without the thumbnail, which would show what the picture was.

    Raises ValueError for what is no such block.

    >>> entry = b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0"
    >>> upright(b"II*\0\x08\0\0\0\x01\0" + entry + bytes(4))[18:20]
    b'\x01\x00'
    """
    content = bytearray(_bare(block))
    try:
        order, first = _head(content)
        for tag, at in _entries(content, order, first):
            if tag == _ORIENTATION:
                struct.pack_into(f"{order}HIHH", content, at + 2, _SHORT, 1, 1, 0)
        return _without_thumbnail(content, order, first)
    except struct.error as error:
        raise ValueError("no EXIF block") from error


def resized(block: bytes, width: int, height: int) -> bytes:
    """The block of a picture of that size, where it tells one. The block is one that `upright` has made."""
    content = bytearray(block)
    order, first = _head(content)
    sizes = {_WIDTH: width, _HEIGHT: height}
    for tag, at in _directory(content, order, first, _EXIF):
        if tag in sizes:
            struct.pack_into(f"{order}HII", content, at + 2, _LONG, 1, sizes[tag])
    return bytes(content)


def _bare(block: bytes) -> bytes:
    return re.sub(rb"^(Exif\0\0){1,2}", b"", block)


def _head(content: bytearray) -> tuple[str, int]:
    """The byte order, as struct writes it, and where directory 0 begins."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(content[:4]))
    if order is None:
        raise ValueError("no EXIF block")
    return order, struct.unpack_from(f"{order}I", content, 4)[0]


def _entries(content: bytearray, order: str, at: int) -> Iterator[tuple[int, int]]:
    """The tag of each entry of a directory, and where the entry begins."""
    (count,) = struct.unpack_from(f"{order}H", content, at)
    for place in range(at + 2, at + 2 + _ENTRY * count, _ENTRY):
        (tag,) = struct.unpack_from(f"{order}H10x", content, place)
        yield tag, place


def _directory(content: bytearray, order: str, first: int, name: int) -> list[tuple[int, int]]:
    """The entries of the directory that an entry of directory 0 leads to; none where it leads nowhere."""
    for tag, at in _entries(content, order, first):
        if tag == name:
            try:
                return list(_entries(content, order, _value(content, order, at)))
            except struct.error:
                return []
    return []


def _value(content: bytearray, order: str, at: int) -> int:
    """The number in an entry, of type SHORT or LONG."""
    kind, _, short = struct.unpack_from(f"{order}HIH", content, at + 2)
    return int(short) if kind == _SHORT else int(struct.unpack_from(f"{order}I", content, at + 8)[0])


def _without_thumbnail(content: bytearray, order: str, first: int) -> bytes:
    """The link to directory 1 cut, and what that led to taken off the end, or blanked within."""
    (count,) = struct.unpack_from(f"{order}H", content, first)
    link = first + 2 + _ENTRY * count
    if link + 4 > len(content):  # some writers leave the link out
        return bytes(content)
    (second,) = struct.unpack_from(f"{order}I", content, link)
    struct.pack_into(f"{order}I", content, link, 0)
    try:
        entries = dict(_entries(content, order, second)) if second else {}
        spans = [
            (_value(content, order, entries[start]), _value(content, order, entries[size]))
            for start, size in _THUMBNAILS
            if start in entries and size in entries
        ]
    except struct.error:
        spans = []
    for start, size in spans:
        end = min(start + size, len(content))
        if link < start < end:
            content[start:end] = b"" if end == len(content) else bytes(end - start)
    return bytes(content)
