"""Read and write the metadata in the chunks of a WebP, and check its lengths.

Source: RFC 9649, 2.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import BinaryIO, NamedTuple

from convcli.io.data import Part
from convcli.io.images.integrity import CUT
from convcli.io.images.metadata.found import Found
from convcli.io.streams import BufferedPipe, available_bytes

_HEAD = 12  # bytes before the first chunk
_OF_SAMPLES = (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANMF")
_KNOWN = (*_OF_SAMPLES, b"ANIM", b"ICCP", b"EXIF", b"XMP ")
_PLAIN_BACKGROUNDS = (bytes(4), b"\xff\xff\xff\xff")
_UNUSED = b"JUNK"
"""A type that no reader knows, which hides a damaged chunk."""

_ALPHA = 0x10  # the flag of VP8X that declares alpha


class _Chunk(NamedTuple):
    """A chunk: its type, its start, and the end of its content without the padding byte."""

    kind: bytes
    start: int
    end: int

    def read(self, stream: BinaryIO) -> bytes:
        stream.seek(self.start + 8)
        return stream.read(self.end - self.start - 8)


def _declared(stream: BinaryIO) -> int:
    """Return the declared bytes of the file."""
    stream.seek(4)
    return 8 + int.from_bytes(stream.read(4), "little")


def _find_chunks(stream: BinaryIO) -> Iterator[_Chunk]:
    """Yield the chunks before the declared end, and, except in a pipe, known ones after it.

    Raises ValueError if the file ends too early.
    """
    start, end = _HEAD, _declared(stream)
    while start < end or not isinstance(stream, BufferedPipe):
        stream.seek(start)
        head = stream.read(8)
        content_end = start + 8 + int.from_bytes(head[4:], "little")
        if not head or (start >= end and head[:4] not in _KNOWN):
            return
        if len(head) < 8 or available_bytes(stream, content_end) < content_end:
            raise ValueError(CUT)
        yield _Chunk(head[:4], start, content_end)
        start = content_end + content_end % 2


def find_damage(stream: BinaryIO) -> str:
    """Describe damage to a file, a cut chunk or no chunk, or return ""."""
    try:
        return "" if list(_find_chunks(stream)) else CUT
    except ValueError as error:
        return str(error)


def find_metadata(stream: BinaryIO) -> Found:
    """Read the metadata in the chunks of a file, up to where it is cut.

    A wrong length of the file is corrected for Pillow.
    """
    found = Found("webp")
    end = _HEAD
    try:
        for chunk in _find_chunks(stream):
            end = chunk.end
            if chunk.kind in _OF_SAMPLES:
                continue
            if not found.fits(chunk.end - chunk.start):
                break
            _read(found, chunk, chunk.read(stream))
    except ValueError:  # the file is cut
        return found
    _mend_length(found, stream, end)
    return found


def _read(found: Found, chunk: _Chunk, content: bytes) -> None:
    """Read a chunk, or leave it out."""
    kind = chunk.kind
    if kind == b"ICCP":
        found.attempt("ICC profile", lambda: found.keep("icc", content))
    elif kind == b"XMP ":
        found.attempt("XMP", lambda: found.keep("xmp", content))
    elif kind == b"EXIF":
        if not found.attempt("EXIF", lambda: found.add_exif(content)):
            found.edits[range(chunk.start, chunk.start + 4)] = _UNUSED
    elif kind == b"ANIM":
        if content[:4] not in _PLAIN_BACKGROUNDS:
            found.add_stale("background colour")
    elif kind == b"C2PA":
        found.add_stale("C2PA")
    else:
        is_printable = kind.isascii() and kind.decode().isprintable()
        name = kind.decode().strip() if is_printable else repr(kind)
        found.add_part(kind, f"chunk {name}", content)


def _mend_length(found: Found, stream: BinaryIO, end: int) -> None:
    """Correct a declared length that differs from the chunks', and warn of it.

    end: the end of the last chunk.
    """
    declared = _declared(stream)
    even = end + end % 2
    held = available_bytes(stream, even)
    if held >= declared >= end:
        found.note_rest(stream, declared)
        return
    found.leave_out(f"the declared length of {declared:,} bytes", f"as the chunks take {even:,}")
    found.edits[range(4, 8)] = struct.pack("<I", even - 8)
    found.note_rest(stream, even)
    found.edits[range(end, end + 1)] = bytes(even - end)


def with_parts(content: bytes, parts: Sequence[Part], width: int, height: int) -> bytes:
    """Add chunks to a file, and convert it to the extended format, which allows them.

    width, height: of the picture.
    """
    chunks = content[_HEAD:]
    if not chunks.startswith(b"VP8X"):
        has_alpha = chunks.startswith(b"VP8L") and bool(chunks[12] & _ALPHA)
        size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        chunks = _chunk(b"VP8X", bytes([_ALPHA * has_alpha, 0, 0, 0]) + size) + chunks
    chunks += b"".join(_chunk(part.kind, part.content) for part in parts)
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def _chunk(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)
