"""Read the metadata in the boxes and the codestream of a JPEG 2000 file.

Sources: ISO/IEC 15444-1, A.9.2 (COM) and annex I (boxes); ISO/IEC 15444-2, annex M; Adobe, "XMP
Specification", part 3, 1.1.4; ExifTool's table of UUIDs;
https://wiki.openstreetmap.org/wiki/GeoJP2.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

from convcli.io.images.metadata.found import UNREADABLE, Found

_SIGNATURE = b"\0\0\0\x0cjP  "
_SOC, _SOT, _COM = 0xFF4F, 0xFF90, 0xFF64
_LATIN = 1  # the kind of a comment that is Latin-1 text; 0 is binary
_ENCODERS = (b"Created by OpenJPEG", b"Kakadu-")
"""The start of comments that name the encoder."""

_PER_METRE = 0.0254
_UUIDS = {
    "be7acfcb97a942e89c71999491e3afac": "XMP",
    "4a706754696666457869662d3e4a5032": "EXIF",
    "0537cdab9d0c4431a72afa561f2a113e": "EXIF",
    "33c7a4d2b81d4723a0baf1a3e097ad38": "IPTC",
    "09a14e97c0b442e0bebf36df6f0ce36f": "IPTC",
    "2c4c0100850440b9a03e562148d6dfeb": "Photoshop resources",
    "b14bf8bd083d4b43a5ae8cd7d5a6ce03": "GeoJP2",
    "96a9f1f1dc98402da7aed68e34451809": "world file",
}
_STRUCTURE = (
    b"jP  ",
    b"ftyp",
    b"jp2c",
    b"jp2h",
    b"ihdr",
    b"bpcc",
    b"pclr",
    b"cmap",
    b"cdef",
    b"free",
)
_SUPERBOXES = (b"jp2h", b"res ")
_PROFILES = (2, 3)  # methods of a colour box whose content is an ICC profile
_NAMES = {
    b"xml ": "XML box",
    b"jp2i": "intellectual property box",
    b"uinf": "UUID info box",
    b"asoc": "association box",
    b"jumb": "C2PA or other JUMBF",
    b"rreq": "reader requirements box",
}


class Box(NamedTuple):
    """A box: its type, and the start and the end of its content."""

    kind: bytes
    start: int
    end: int


def find_metadata(stream: BinaryIO) -> Found:
    """Read the metadata in the boxes of a file, and in the main header of its codestream."""
    found = Found("jp2")
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    boxed = stream.read(len(_SIGNATURE)) == _SIGNATURE
    codestreams = [] if boxed else [0]
    densities: dict[bytes, tuple[float, float]] = {}
    end = 0
    for box in _boxes(stream, 0, size) if boxed else ():
        end = max(end, box.end)
        if box.kind == b"jp2c":
            codestreams.append(box.start)
        if box.kind in _STRUCTURE or box.kind == b"res ":
            continue
        if not found.fits(box.end - box.start):
            break
        stream.seek(box.start)
        _read_box(found, box.kind, stream.read(box.end - box.start), densities)
    if boxed and codestreams and end < size and found.left >= 0:
        found.leave_out("bytes after the last box", "as they are no box", range(end, size))
    density = densities.get(b"resd") or densities.get(b"resc")
    if density:
        found.attempt("density", lambda: found.add_resolution(*density, _PER_METRE))
    if len(set(densities.values())) > 1:
        found.add_stale("capture resolution")
    for start in codestreams[:1]:
        found.comments += _comments(stream, start)
    return found


def _boxes(stream: BinaryIO, start: int, end: int) -> Iterator[Box]:
    """Yield the boxes between two offsets, each before its inner ones, up to the first cut one."""
    while end - start >= 8:
        stream.seek(start)
        length, kind = struct.unpack(">I4s", stream.read(8))
        content = start + 8
        if length == 1:
            length = int.from_bytes(stream.read(8), "big")
            content += 8
        stop = start + length if length else end
        if not content <= stop <= end:
            return
        yield Box(kind, content, stop)
        if kind in _SUPERBOXES:
            yield from _boxes(stream, content, stop)
        start = stop


def _read_box(
    found: Found, kind: bytes, content: bytes, densities: dict[bytes, tuple[float, float]]
) -> None:
    if kind == b"uuid":
        uuid = content[:16].hex()
        _read_uuid(found, _UUIDS.get(uuid, f"UUID box {uuid}"), content[16:])
    elif kind == b"colr":
        if content[:1] in map(bytes, zip(_PROFILES)):
            found.attempt("ICC profile", lambda: found.keep("icc", content[3:]))
    elif kind in (b"resd", b"resc"):
        found.attempt("density", lambda: densities.update({kind: _resolution(content)}))
    else:
        found.add_stale(_NAMES.get(kind, f"box {kind.decode('latin-1')!r}"))


def _read_uuid(found: Found, name: str, content: bytes) -> None:
    readers: dict[str, Callable[[], None]] = {
        "XMP": lambda: found.keep("xmp", content),
        "EXIF": lambda: found.add_exif(content),
        "IPTC": lambda: found.keep("iptc", content),
        "Photoshop resources": lambda: found.add_resources(content),
    }
    if name in readers:
        found.attempt(name, readers[name])
    else:
        found.add_stale(name)


def _resolution(content: bytes) -> tuple[float, float]:
    """Return the samples per metre along x and y."""
    down, down_by, across, across_by, down_power, across_power = struct.unpack(">4H2b", content)
    if not down_by or not across_by:
        raise ValueError(UNREADABLE)
    return across / across_by * 10.0**across_power, down / down_by * 10.0**down_power


def _comments(stream: BinaryIO, start: int) -> Iterator[bytes]:
    """Yield the texts in the main header of a codestream."""
    stream.seek(start)
    if stream.read(2) != _SOC.to_bytes(2, "big"):
        return
    while len(head := stream.read(4)) == 4:
        marker, length = struct.unpack(">2H", head)
        if marker == _SOT or marker < _SOC or length < 2:
            return
        content = stream.read(length - 2)
        is_text = marker == _COM and content[:2] == _LATIN.to_bytes(2, "big")
        if is_text and not content[2:].startswith(_ENCODERS):
            yield content[2:].decode("latin-1").encode().rstrip(b"\0")
