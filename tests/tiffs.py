"""Write TIFFs tag by tag, and read the tags of one, without a library."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from convcli.jobs.apply import plan_apply, run_apply
from convcli.jobs.apply_plan import ApplyRequest
from convcli.jobs.requests import from_options

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, SRATIONAL, DOUBLE, IFD = 1, 2, 3, 4, 5, 7, 10, 12, 13
CODES = {
    BYTE: "B",
    ASCII: "s",
    SHORT: "H",
    LONG: "I",
    RATIONAL: "I",
    UNDEFINED: "s",
    SRATIONAL: "i",
    DOUBLE: "d",
}
EXIF, GPS, INTEROPERABILITY = 0x8769, 0x8825, 0xA005
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (12, 10, 3), np.uint8)

Entry = tuple[int, Any]
"""A type and its values: text, bytes, or numbers, those of rationals in turn."""

Tags = dict[int, Entry]


def content_of(kind: int, values: Any, order: str) -> tuple[int, bytes]:
    """Return the number of values, and their bytes."""
    if isinstance(values, bytes):
        size = {RATIONAL: 8, SHORT: 2, LONG: 4, DOUBLE: 8}.get(kind, 1)
        return len(values) // size, values
    count = len(values) // (2 if kind in (RATIONAL, SRATIONAL) else 1)
    return count, struct.pack(f"{order}{len(values)}{CODES.get(kind, 'I')}", *values)


def directory(tags: Tags, start: int, order: str = "<", link: int = 0) -> bytes:
    """Return a directory at an offset, with its values after it."""
    entries, behind = b"", b""
    end = start + 2 + 12 * len(tags) + 4
    for number, (kind, values) in sorted(tags.items()):
        count, content = content_of(kind, values, order)
        if len(content) > 4:
            place = struct.pack(f"{order}I", end + len(behind))
            behind += content + bytes(len(content) % 2)
        else:
            place = content.ljust(4, b"\0")
        entries += struct.pack(f"{order}HHI", number, kind, count) + place
    return struct.pack(f"{order}H", len(tags)) + entries + struct.pack(f"{order}I", link) + behind


def tiff(*pages: Tags, order: str = "<", pixels: Any = PIXELS, inner: Tags | None = None) -> bytes:
    """Return a TIFF whose pages have these extra tags; `inner` is the EXIF or GPS directory."""
    content = bytearray((b"II*\0" if order == "<" else b"MM\0*") + bytes(4))
    link = 4
    height, width, channels = pixels.shape
    for page in pages:
        strip = len(content)
        content += pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
        own = {
            256: (SHORT, [width]),
            257: (SHORT, [height]),
            258: (SHORT, [8 * pixels.itemsize] * channels),
        }
        own |= {
            259: (SHORT, [1]),
            262: (SHORT, [2 if channels == 3 else 1]),
            273: (LONG, [strip]),
            277: (SHORT, [channels]),
        }
        own |= {278: (SHORT, [height]), 279: (LONG, [pixels.nbytes])}
        tags = {**own, **page}
        for number in (EXIF, GPS):
            if number in page and page[number][1] is None:
                tags[number] = (LONG, [len(content)])
                content += directory(inner or {}, len(content), order)
        content += bytes(len(content) % 2)
        struct.pack_into(f"{order}I", content, link, len(content))
        link = len(content) + 2 + 12 * len(tags)
        content += directory(tags, len(content), order)
    return bytes(content)


def tags_of(content: bytes, page: int = 0) -> dict[int, tuple[int, bytes]]:
    """Return the types and the contents of a page's tags, EXIF and GPS directories included."""
    order = "<" if content[:2] == b"II" else ">"
    (start,) = struct.unpack_from(f"{order}I", content, 4)
    for _ in range(page):
        (count,) = struct.unpack_from(f"{order}H", content, start)
        (start,) = struct.unpack_from(f"{order}I", content, start + 2 + 12 * count)
    return entries_at(content, start, order)


def entries_at(content: bytes, start: int, order: str) -> dict[int, tuple[int, bytes]]:
    found: dict[int, tuple[int, bytes]] = {}
    (count,) = struct.unpack_from(f"{order}H", content, start)
    for at in range(start + 2, start + 2 + 12 * count, 12):
        number, kind, length = struct.unpack_from(f"{order}HHI", content, at)
        size = length * {SHORT: 2, LONG: 4, RATIONAL: 8, SRATIONAL: 8, DOUBLE: 8, IFD: 4}.get(
            kind, 1
        )
        place = at + 8
        if size > 4:
            (place,) = struct.unpack_from(f"{order}I", content, place)
        values = content[place : place + size]
        found[number] = (kind, values)
        if number in (EXIF, GPS, INTEROPERABILITY):
            found |= entries_at(content, struct.unpack(f"{order}I", values)[0], order)
    return found


def filtered(source: str, target: str, kernel: str = "identity:size=1", **options: Any) -> Any:
    job = from_options(ApplyRequest, source, (kernel,), target, **options)
    return run_apply(plan_apply(job))


TEXT: Entry = (ASCII, b"a cat\0")
RATIO: Entry = (RATIONAL, [7, 2])
