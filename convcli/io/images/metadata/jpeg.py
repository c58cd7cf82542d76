"""Read and write the metadata in the segments of a JPEG.

Sources: ITU-T T.871 (JFIF); CIPA DC-008 (Exif), 4.7; ICC.1:2022, B.4; Adobe, "XMP Specification",
part 3, 1.1.3; CIPA DC-007 (MPF); ISO 19566-5 (JUMBF).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO

from convcli.io.data import Metadata
from convcli.io.images.jpeg_segments import COMMENT, END_OF_IMAGE, Segment, find_segments
from convcli.io.images.metadata.exif import exif_resolution, resized
from convcli.io.images.metadata.found import UNREADABLE, Found
from convcli.io.images.metadata.photoshop import join_resources
from convcli.io.images.metadata.upright import whole_ratio
from convcli.io.images.metadata.xmp import (
    extension_of,
    join_extension,
    split_extension,
    without_pointer,
)

_FULL = 65533  # bytes of a segment besides its marker and its length
_JFIF, _EXIF, _ICC, _PHOTOSHOP = b"JFIF\0", b"Exif\0\0", b"ICC_PROFILE\0", b"Photoshop 3.0\0"
_XMP, _EXTENDED_XMP = b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"
_MPF, _ADOBE = b"MPF\0", b"Adobe"
_IDENTIFIER = 32  # bytes of the identifier of extended XMP
_APP0, _APP1, _APP2, _APP13, _APP14 = 0xE0, 0xE1, 0xE2, 0xED, 0xEE
_UNITS = {0: None, 1: 1.0, 2: 2.54}  # dots per inch of one dot per unit
_STALE = {
    (_APP0, b"JFXX\0"): "thumbnail",
    (_APP2, _MPF): "further pictures (MPF)",
    (_APP2, b"urn:iso:std:iso:ts:21496:-1\0"): "gain map",
    (0xEB, b""): "C2PA or other JUMBF",
    (0xEC, b"Ducky"): "APP12 Ducky",
}
"""Segments that are valid only for the input's samples, by their markers and first bytes."""

HEAD = 20
"""Bytes of a file up to the end of its JFIF header, as libjpeg writes it."""


def find_metadata(stream: BinaryIO) -> Found:
    """Read the metadata in the segments of a file, up to where it is cut.

    Damaged segments are hidden from Pillow.
    """
    reader = _Reader()
    found = reader.found
    try:
        for segment in find_segments(stream):
            if segment.stray:
                found.leave_out("bytes between segments", "as they belong to none")
            if segment.marker == END_OF_IMAGE and not reader.further:
                found.note_rest(stream, segment.end)
            if 0xE0 <= segment.marker <= 0xEF or segment.marker == COMMENT:
                reader.read(segment, segment.read(stream))
    except ValueError:  # the file is cut
        pass
    reader.join()
    return found


class _Reader:
    """The metadata that is read, and the pieces of what is split over several segments."""

    def __init__(self) -> None:
        self.found = Found("jpg")
        self.further = False  # whether further pictures follow
        self._handlers: tuple[tuple[int, bytes, Callable[[Segment, bytes], None]], ...] = (
            (COMMENT, b"", lambda _, content: self.found.comments.append(content)),
            (_APP0, _JFIF[:4], self._jfif),
            (_APP1, _EXIF, lambda segment, content: self._exif.append((segment, content))),
            (_APP1, _XMP, lambda _, content: self.found.keep("xmp", content)),
            (_APP1, _EXTENDED_XMP, self._extended),
            (_APP2, _ICC, self._profile),
            (_APP14, _ADOBE, self._adobe),
            (_APP13, _PHOTOSHOP, lambda _, content: self._resources.append(content)),
        )
        self._exif: list[tuple[Segment, bytes]] = []
        self._icc: list[tuple[int, int, bytes]] = []
        self._resources: list[bytes] = []
        self._extensions: dict[bytes, dict[int, bytes]] = {}
        self._length = 0  # the declared length of the extension

    def read(self, segment: Segment, content: bytes) -> None:
        """Read a segment, or leave it out."""
        place = range(segment.start, segment.end)
        if not self.found.fits(len(content), place):
            return
        for marker, prefix, handle in self._handlers:
            if segment.marker == marker and content.startswith(prefix):
                name = prefix.split(b"\0")[0].decode()
                self.found.attempt(name, lambda: handle(segment, content[len(prefix) :]), place)  # noqa: B023
                return
        self._other(segment.marker, content)

    def _other(self, marker: int, content: bytes) -> None:
        for (stale, prefix), name in _STALE.items():
            if marker == stale and content.startswith(prefix):
                self.further = self.further or prefix == _MPF
                self.found.add_stale(name)
                return
        word = re.match(rb"[ -~]{2,32}", content)
        name = f"APP{marker - _APP0}" + (f" {word[0].decode()}" if word else "")
        self.found.add_part(bytes([marker]), name, content)

    def _jfif(self, _: Segment, content: bytes) -> None:
        """Read the resolution; some programs repeat the header, and the first one counts."""
        _, _, _, unit, x, y, across, down = struct.unpack_from(">3B B 2H 2B", content)
        if across * down:
            self.found.add_stale("thumbnail")
        if unit not in _UNITS or min(x, y) < 1:
            raise ValueError(UNREADABLE)
        if not self.found.density and not self.found.aspect:
            self.found.add_resolution(x, y, _UNITS[unit])

    def _profile(self, _: Segment, content: bytes) -> None:
        number, count = content[:2]
        self._icc.append((number, count, content[2:]))

    def _adobe(self, _: Segment, content: bytes) -> None:
        """Check the segment, which describes only how the samples were stored."""
        struct.unpack_from(">3HB", content)
        self.found.add_stale("APP14 Adobe")

    def _extended(self, _: Segment, content: bytes) -> None:
        identifier = content[:_IDENTIFIER]
        self._length, offset = struct.unpack_from(">II", content, _IDENTIFIER)
        self._extensions.setdefault(identifier, {})[offset] = content[_IDENTIFIER + 8 :]

    def join(self) -> None:
        """Join what is split over several segments."""
        found = self.found
        blocks = b"".join(content for _, content in self._exif)
        places = [range(segment.start, segment.end) for segment, _ in self._exif]
        found.attempt("EXIF", lambda: found.add_exif(blocks), *places)
        needs_density = found.exif and not found.density and not found.aspect
        if needs_density and (resolution := exif_resolution(found.exif)):
            found.attempt("density", lambda: found.add_resolution(*resolution))
        found.attempt("ICC profile", self._join_profile)
        resources = b"".join(self._resources)
        if resources:
            found.attempt("Photoshop resources", lambda: found.add_resources(resources))
        self._join_xmp()

    def _join_profile(self) -> None:
        if not self._icc:
            return
        pieces = sorted(self._icc)
        if [number for number, _, _ in pieces] != list(range(1, pieces[0][1] + 1)):
            raise ValueError("as a part of it is missing")
        self.found.keep("icc", b"".join(content for _, _, content in pieces))

    def _join_xmp(self) -> None:
        """Join the packet and its extension; remove the pointer to an incomplete extension."""
        found = self.found
        identifier = extension_of(found.xmp)
        pieces = self._extensions.pop(identifier, {})
        if self._extensions:
            found.leave_out("extended XMP", "as no XMP points to it")
        if not identifier:
            return
        try:
            extension = b""
            for offset, content in sorted(pieces.items()):
                if offset != len(extension):
                    raise ValueError("as a part of it is missing")
                extension += content
            if not pieces or len(extension) != self._length:
                raise ValueError("as a part of it is missing")
            found.xmp = join_extension(found.xmp, extension)
        except ValueError as error:
            found.leave_out("extended XMP", str(error))
            found.xmp = without_pointer(found.xmp)


def make_segments(metadata: Metadata, width: int, height: int) -> bytes:
    """Return the segments of metadata to write after the JFIF header of a picture."""
    return b"".join(
        _segment(marker, content) for marker, content in _contents(metadata, width, height)
    )


def _contents(metadata: Metadata, width: int, height: int) -> Iterator[tuple[int, bytes]]:
    if metadata.exif:
        yield _APP1, _EXIF + resized(metadata.exif, width, height)
    if metadata.xmp:
        yield from _packets(metadata.xmp)
    pieces = _cut(metadata.icc, _FULL - len(_ICC) - 2)
    for number, piece in enumerate(pieces, 1):
        yield _APP2, _ICC + bytes([number, len(pieces)]) + piece
    for piece in _cut(join_resources(metadata.iptc, metadata.photoshop), _FULL - len(_PHOTOSHOP)):
        yield _APP13, _PHOTOSHOP + piece
    for part in metadata.parts:
        yield part.kind[0], part.content
    for comment in metadata.comments:
        yield COMMENT, comment


def _packets(packet: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the segments of a packet.

    If it is too long for one segment, it becomes the extension of a packet without other content.
    """
    if len(packet) <= _FULL - len(_XMP):
        yield _APP1, _XMP + packet
        return
    pointing, identifier = split_extension(packet)
    yield _APP1, _XMP + pointing
    size = _FULL - len(_EXTENDED_XMP) - _IDENTIFIER - 8
    for number, piece in enumerate(_cut(packet, size)):
        head = _EXTENDED_XMP + identifier + struct.pack(">II", len(packet), number * size)
        yield _APP1, head + piece


def _cut(content: bytes, size: int) -> list[bytes]:
    return [content[start : start + size] for start in range(0, len(content), size)]


def _segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def with_aspect(head: bytes, aspect: tuple[float, float]) -> bytes:
    """Set the pixel aspect in the first bytes of a file, which end with its JFIF header."""
    unit = head.index(_JFIF) + len(_JFIF) + 2
    return head[:unit] + b"\0" + struct.pack(">HH", *whole_ratio(aspect, 65535)) + head[unit + 5 :]
