"""Whether a picture's file is whole, wherever its format has a way to tell; Pillow looks at little of it.

====== ============================================================================
png    the CRC-32 of every chunk, up to IEND
jpg    a marker after every scan, up to the end of the image (its samples have no checksum)
gif    every block, up to the trailer
webp   the length that its RIFF header declares
bmp    the length that its header declares
wav    the length that its RIFF header declares, and that of its samples
jp2    the end of the codestream
tiff   every page's directories and samples, which must lie in the file, and the Adler-32 of deflated ones
====== ============================================================================

What a decoder runs out of, in these formats and the others, it says itself.
"""

from __future__ import annotations

import os
import re
import sys
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, Literal, NamedTuple

from convcli.errors import FileError
from convcli.io.streams import BufferedPipe, available_bytes

BLOCK = 2**20
_END_OF_IMAGE, _BARE_MARKERS = 0xD9, (0x01, 0xD8)  # the latter have no length behind them
PAGES = 10_000
"""Pages of a TIFF at most: counting them takes Pillow a time that grows with their square."""

_BIG_TIFF = 43  # where a TIFF has 42
_TAG_BYTES = dict(zip((*range(1, 14), 16, 17, 18), (1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 8, 8, 8), strict=True))
"""Bytes of a value, for each type that a TIFF's entries have."""

_WHOLE_NUMBERS = {3: "H", 4: "I", 16: "Q"}
"""The types of offsets and lengths, in the words of `array`."""

PIECES = ((273, 279), (324, 325))
"""Tags of the offsets and the lengths of strips, and of tiles."""

_EXIF = (0x8769, 0x8825)  # tags that lead to directories besides those of the chain; EXIF 2.3, 4.6.3

DEFLATE = (8, 32946)
"""The compressions whose strips `deflated` looks through."""

_MOST_ENTRIES = 2**16  # of a directory; TIFF counts them in 16 bits, BigTIFF in 64

_CUT = "it ends too early"
_SCAN_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""A marker in a scan or between segments: neither a stuffed byte (FF 00) nor a restart (FF D0 to D7) nor a fill."""


_ENDED = ("png", "gif", "webp", "bmp", "wav")
"""The formats that say where they end: through a pipe, nothing behind it is read."""


def damage(stream: BinaryIO, format: str) -> str:
    r"""What is wrong with a file of that format, in words, or "" where nothing is seen to be; reads from its start.

    >>> import io
    >>> damage(io.BytesIO(b"RIFF\xff\x00\x00\x00WEBP"), "webp")
    'it ends too early: 263 bytes were declared, 12 are there'
    """
    look = _LOOKS.get(format)
    stream.seek(0)
    found = look(stream) if look else ""
    if format in _ENDED and not found and isinstance(stream, BufferedPipe):
        stream.settle()
    stream.seek(0)
    return found


def damaged(name: str, how: str, kind: str, remedy: str = "copy it anew") -> FileError:
    """The error for a file of a kind that is not whole."""
    refusal = f"{remedy}; --allow-truncated reads no part of such a file"
    return FileError(f"{name} is damaged: {how}", f"expected a whole {kind} file", refusal)


def _png(stream: BinaryIO) -> str:
    """Source: W3C, "Portable Network Graphics (PNG) Specification", 5.3, chunk layout."""
    at, kind = 8, b""
    while kind != b"IEND":
        stream.seek(at)
        head = stream.read(8)
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if available_bytes(stream, at + 12 + length) < at + 12 + length:
            return _CUT
        stream.seek(at + 8)
        checksum, left = zlib.crc32(kind), length
        while left:
            block = stream.read(min(left, BLOCK))
            if not block:
                return _CUT
            checksum, left = zlib.crc32(block, checksum), left - len(block)
        if checksum != int.from_bytes(stream.read(4), "big"):
            return f"the checksum of its chunk {kind.decode('latin-1')!r} differs"
        at += 12 + length
    return ""


def _jpeg(stream: BinaryIO) -> str:
    """Source: ITU-T T.81, annex B; entropy-coded segments hold no marker but restarts."""
    start, at, block = 0, 2, b""
    while True:
        if not start <= at < start + len(block):
            stream.seek(at)
            start, block = at, stream.read(BLOCK)
        if not block:
            return _CUT
        found = _SCAN_MARKER.search(block, at - start)
        if not found:  # a marker may lie across the end of the block
            at, block = start + max(len(block) - 1, 1), b""
            continue
        marker, at = block[found.end() - 1], start + found.end()
        if marker == _END_OF_IMAGE:
            return ""
        if marker not in _BARE_MARKERS:
            stream.seek(at)
            at += int.from_bytes(stream.read(2), "big")


def _gif(stream: BinaryIO) -> str:
    """Source: CompuServe, "Graphics Interchange Format, version 89a", appendix B."""
    stream.seek(10)
    stream.seek(13 + _palette_bytes(stream.read(1)))
    while (kind := stream.read(1)) != b";":
        if kind == b",":
            stream.seek(_palette_bytes(stream.read(9)[8:]) + 1, os.SEEK_CUR)
        elif kind == b"!":
            stream.seek(1, os.SEEK_CUR)
        else:
            return "there is no block where one should begin" if kind else _CUT
        while length := stream.read(1):
            if length == b"\0":
                break
            stream.seek(length[0], os.SEEK_CUR)
    return ""


def _palette_bytes(flags: bytes) -> int:
    return 3 * 2 ** ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0


def _webp(stream: BinaryIO) -> str:
    return _shorter(stream, 8 + int.from_bytes(stream.read(8)[4:], "little"))


def _bmp(stream: BinaryIO) -> str:
    return _shorter(stream, int.from_bytes(stream.read(6)[2:], "little"))


def _wav(stream: BinaryIO) -> str:
    """Source: IBM and Microsoft, "Multimedia Programming Interface and Data Specifications 1.0", 1991, chapter 3."""
    if found := _webp(stream):
        return found
    at, kind = 12, b""
    while kind != b"data":
        stream.seek(at)
        kind, length = stream.read(4), int.from_bytes(stream.read(4), "little")
        if available_bytes(stream, at + 8 + length) < at + 8 + length or len(kind) < 4:
            return _CUT
        at += 8 + length + length % 2
    return ""


def _shorter(stream: BinaryIO, declared: int) -> str:
    held = available_bytes(stream, declared)
    return f"{_CUT}: {declared:,} bytes were declared, {held:,} are there" if declared > held else ""


def _jpeg2000(stream: BinaryIO) -> str:
    """Source: ISO/IEC 15444-1, A.4.4: no marker above FF 8F stands within a packet, so there only the end is FF D9."""
    tail = b""
    while block := stream.read(BLOCK):
        if b"\xff\xd9" in tail + block:
            return ""
        tail = block[-1:]
    return _CUT


class _Directory(NamedTuple):
    """One of a TIFF's chain: its entries, as they lie, how many it declares, and where the next one begins."""

    entries: bytes
    next: bytes
    declared: int
    big: bool
    order: Literal["little", "big"]


def pages(stream: BinaryIO) -> int:
    """How many directories a TIFF's chain has, up to its end or its first loop, and no more than one above PAGES."""
    return sum(1 for _ in _directories(stream))


def _tiff(stream: BinaryIO) -> str:
    """Every page, not the first alone: a file is read to its last page, or told to be cut."""
    size = stream.seek(0, os.SEEK_END)
    for page in _directories(stream):
        if _reach(page) > size or _samples_reach(stream, page) > size:
            return _CUT
        if any(_reach(inner) > size for inner in _inner(stream, page)):
            return _CUT
    return ""


def _samples_reach(stream: BinaryIO, page: _Directory) -> int:
    """Where the last strip or tile of a page ends, as far as it says."""
    pieces = (map(sum, zip(_values(stream, page, at), _values(stream, page, by), strict=False)) for at, by in PIECES)
    return max((end for ends in pieces for end in ends), default=0)


def _values(stream: BinaryIO, page: _Directory, tag: int) -> array[int]:
    """The whole numbers that a page holds under a tag; none where they are of another type."""
    length, held = (20, 8) if page.big else (12, 4)
    for at in range(0, len(page.entries), length):
        entry = page.entries[at : at + length]
        kind = int.from_bytes(entry[2:4], page.order)
        if int.from_bytes(entry[:2], page.order) == tag and kind in _WHOLE_NUMBERS:
            taken = _TAG_BYTES[kind] * int.from_bytes(entry[4:-held], page.order)
            if taken > held:
                stream.seek(int.from_bytes(entry[-held:], page.order))
            values = array(_WHOLE_NUMBERS[kind], stream.read(taken) if taken > held else entry[-held:][:taken])
            if page.order != sys.byteorder:
                values.byteswap()
            return values
    return array("B")


def _reach(directory: _Directory) -> int:
    """Where the last value that a directory points to ends; more than any file has where it is itself cut."""
    entries, following, declared, big, order = directory
    length, held = (20, 8) if big else (12, 4)
    if len(entries) < declared * length or len(following) < (8 if big else 4) or not declared:
        return 2**64
    ends = [0]
    for at in range(0, declared * length, length):
        values = int.from_bytes(entries[at + 4 : at + length - held], order)
        taken = _TAG_BYTES.get(int.from_bytes(entries[at + 2 : at + 4], order), 0) * values
        if taken > held:
            ends.append(taken + int.from_bytes(entries[at + length - held : at + length], order))
    return max(ends)


def _directories(stream: BinaryIO) -> Iterator[_Directory]:
    """Source: TIFF 6.0, section 2; Adobe and others, "BigTIFF design", 2004."""
    stream.seek(0)
    head = stream.read(4)
    order: Literal["little", "big"] = "little" if head[:1] == b"I" else "big"
    big = int.from_bytes(head[2:], order) == _BIG_TIFF
    stream.seek(4 * big, os.SEEK_CUR)
    seen: set[int] = set()
    at = int.from_bytes(stream.read(8 if big else 4), order)
    while at and at not in seen and len(seen) <= PAGES:
        seen.add(at)
        directory = _directory(stream, at, big, order)
        at = int.from_bytes(directory.next, order)
        yield directory
    stream.seek(0)


def _directory(stream: BinaryIO, at: int, big: bool, order: Literal["little", "big"]) -> _Directory:
    counted, entry, offset = (8, 20, 8) if big else (2, 12, 4)  # bytes of a count, an entry and an offset
    stream.seek(at)
    count = min(int.from_bytes(stream.read(counted), order), _MOST_ENTRIES)
    return _Directory(stream.read(entry * count), stream.read(offset), count, big, order)


def _inner(stream: BinaryIO, page: _Directory) -> Iterator[_Directory]:
    """The directories of EXIF that a page leads to."""
    for tag in _EXIF:
        for at in _values(stream, page, tag)[:1]:
            yield _directory(stream, at, page.big, page.order)._replace(next=bytes(8))


def deflated(stream: BinaryIO, pieces: Iterable[tuple[int, int]], most: int) -> str:
    """What is wrong with the first deflated strip or tile whose checksum differs, or "".

    pieces: (offset, bytes) of each; most: bytes that one may hold, unpacked.
    Source: RFC 1950, section 2.2. Decoders stop at the last sample that they want, before the checksum.
    """
    try:
        for offset, count in pieces:
            stream.seek(offset)
            if wrong := _unpack(stream, count, most):
                return wrong
    except zlib.error:
        return "the checksum of a strip differs"
    return ""


def _unpack(stream: BinaryIO, count: int, most: int) -> str:
    inflate, made = zlib.decompressobj(), 0
    while not inflate.eof and (block := stream.read(min(count, BLOCK))):
        count -= len(block)
        while block and not inflate.eof:
            made += len(inflate.decompress(block, BLOCK))
            block = inflate.unconsumed_tail
            if made > most:
                return "a strip holds more than the picture"
    inflate.flush()
    return "" if inflate.eof else _CUT


_LOOKS: dict[str, Callable[[BinaryIO], str]] = {
    "png": _png,
    "jpg": _jpeg,
    "gif": _gif,
    "webp": _webp,
    "bmp": _bmp,
    "jp2": _jpeg2000,
    "wav": _wav,
    "tiff": _tiff,
}
