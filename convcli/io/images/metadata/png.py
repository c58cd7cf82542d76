"""Read and write the metadata in the chunks of a PNG.

Source: W3C, "Portable Network Graphics (PNG) Specification (Third Edition)", 11.3 and 14;
PNG Development Group, "Extensions to the PNG 1.2 Specification".
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import BinaryIO, NamedTuple

from convcli.io.data import Metadata, Text
from convcli.io.images.metadata.exif import resized
from convcli.io.images.metadata.found import LONGEST, UNREADABLE, Found
from convcli.io.images.metadata.photoshop import join_resources
from convcli.io.images.metadata.upright import whole_ratio
from convcli.io.images.png_chunks import OF_SAMPLES, Chunk, find_chunks, write_chunk

COMMENT, XMP_TEXT, _RAW_PROFILE = "Comment", "XML:com.adobe.xmp", "Raw profile type "
_INCH = 0.0254  # metres
_LONG_TEXT = 1024  # characters, above which a text is compressed
INFLATED = 2**24
"""The most bytes to which all texts and profiles are inflated, as a small file may hold GiB."""

_SHOWN = 2**20
"""The most bytes of texts and profiles that are passed to Pillow, which refuses longer ones."""


class _Rule(NamedTuple):
    """The rule for a chunk that is copied unchanged: least and most bytes, what it describes."""

    least: int
    most: int
    describes: str


_COPIED = {
    b"gAMA": _Rule(4, 4, "colours"),
    b"cHRM": _Rule(32, 32, "colours"),
    b"sRGB": _Rule(1, 1, "colours"),
    b"cICP": _Rule(4, 4, "colours"),
    b"mDCV": _Rule(24, 24, "colours"),
    b"cLLI": _Rule(8, 8, "colours"),
    b"sPLT": _Rule(3, LONGEST, "colours"),
    b"pCAL": _Rule(14, LONGEST, "colours"),
    b"oFFs": _Rule(9, 9, "size"),
    b"sCAL": _Rule(4, LONGEST, "size"),
    b"sTER": _Rule(1, 1, "size"),
    b"sBIT": _Rule(1, 4, "samples"),
    b"hIST": _Rule(2, 512, "samples"),
    b"tIME": _Rule(7, 7, "samples"),
    b"caBX": _Rule(1, LONGEST, "samples"),
}
"""Chunks that are copied unchanged, if they still describe the output.

sBIT and tIME never do: filtered samples use all bits, and have a later time of change.
"""

_SEVERAL = (b"tEXt", b"zTXt", b"iTXt", b"sPLT")  # chunks of which a file may have several
_BEFORE_DENSITY = (b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"cLLI")
_NAMES = {
    **dict.fromkeys((b"tEXt", b"zTXt", b"iTXt"), "text"),
    b"iCCP": "ICC profile",
    b"eXIf": "EXIF",
    b"pHYs": "density",
    b"tIME": "time",
    b"caBX": "C2PA",
}
"""The names of chunks in messages, if these are not their types."""


def find_metadata(stream: BinaryIO) -> Found:
    """Read the metadata in the chunks of a file, up to where it is cut.

    Damaged and long chunks are hidden from Pillow.
    """
    reader = _Reader(stream)
    try:
        for place in find_chunks(stream):
            kind = place.kind
            if kind in (b"IHDR", b"PLTE"):
                reader.needed[kind] = place.read(stream)[0]
            elif kind == b"tRNS":
                reader.check_transparency(range(place.start, place.end), *place.read(stream))
            elif kind[0] & 0x20 and kind not in OF_SAMPLES and place.end - place.start > LONGEST:
                reader.found.leave_out(
                    _name(kind), "as it is too long", range(place.start, place.end)
                )
            elif kind[0] & 0x20 and kind not in OF_SAMPLES:
                reader.read(kind, range(place.start, place.end), *place.read(stream))
            reader.behind = reader.behind or kind == b"IDAT"
        reader.found.note_rest(stream, place.end)
    except ValueError:  # the file is cut
        pass
    return reader.found


class _Reader:
    """The metadata that is read, and the state that reading it needs."""

    def __init__(self, stream: BinaryIO) -> None:
        self.found = Found("png")
        self.needed = {b"IHDR": b"", b"PLTE": b""}
        self.behind = False  # whether the samples were before this chunk
        self._seen: set[bytes] = set()
        self._shown = 0
        self._left = INFLATED
        self._handlers: dict[bytes, Callable[[bytes], None]] = {
            b"tEXt": self._text,
            b"zTXt": self._packed_text,
            b"iTXt": self._international_text,
            b"iCCP": self._profile,
            b"pHYs": self._density,
            b"eXIf": self.found.add_exif,
            b"bKGD": self._background,
        }

    def read(self, kind: bytes, place: range, content: bytes, intact: bool) -> None:
        """Read a chunk, or leave it out."""
        name = _name(kind)
        if not intact:
            if not _is_nearly_of_samples(kind):
                self.found.leave_out(name, "as its checksum differs", place)
            return
        known = kind in self._handlers or kind in _COPIED
        if known and kind in self._seen and kind not in _SEVERAL:
            self.found.leave_out(name, "as the file has one before it", place)
            return
        self._seen.add(kind)
        shown = self._shown
        handle = self._handlers.get(kind) or partial(self._copy, kind)
        self.found.attempt(name, lambda: handle(content), place)
        if self._shown > max(shown, _SHOWN):
            self.found.edits[place] = b""

    def check_transparency(self, place: range, content: bytes, intact: bool) -> None:
        """Leave out an intact chunk of transparency that does not fit the samples.

        Of a palette's, only the values for which there is no colour are left out. Source: W3C,
        "Portable Network Graphics (PNG) Specification (Third Edition)", 11.3.2.1.
        """
        colour = self.needed[b"IHDR"][9:10]
        size = len(content)
        entries = len(self.needed[b"PLTE"]) // 3
        if not intact:
            return
        if colour == b"\x03" and size > entries > 0:
            what = f"transparency of {size - entries} more colours than the palette has"
            shortened = io.BytesIO()
            write_chunk(shortened, b"tRNS", content[:entries])
            self.found.leave_out(what, "as there are none", place, shortened.getvalue())
        elif not size or (colour != b"\x03" and size != {b"\0": 2, b"\x02": 6}.get(colour)):
            self.found.leave_out("transparency", "as it does not fit the samples", place)

    def _copy(self, kind: bytes, content: bytes) -> None:
        """Copy a chunk unchanged; the case of an unknown type's last letter allows that or not."""
        rule = _COPIED.get(kind, _Rule(0, LONGEST, "" if kind[3] & 0x20 else "samples"))
        if not rule.least <= len(content) <= rule.most:
            raise ValueError(UNREADABLE)
        behind = b"+" if self.behind and kind not in _COPIED else b""
        kept = b"" if rule.describes == "samples" else content
        self.found.add_part(kind + behind, _name(kind), kept, rule.describes)

    def _unpack(self, packed: bytes) -> bytes:
        """Inflate a text or a profile; raise ValueError if it is damaged or all are too long."""
        try:
            inflate = zlib.decompressobj()
            content = inflate.decompress(packed, self._left + 1)
        except zlib.error as error:
            raise ValueError(UNREADABLE) from error
        if len(content) > self._left:
            raise ValueError("as it is too long")
        if not inflate.eof:
            raise ValueError(UNREADABLE)
        self._left -= len(content)
        return content

    def _text(self, content: bytes) -> None:
        keyword, separator, value = content.partition(b"\0")
        if not separator:
            raise ValueError(UNREADABLE)
        self._add_text(keyword, value.decode("latin-1"))

    def _packed_text(self, content: bytes) -> None:
        keyword, _, packed = content.partition(b"\0")
        if packed[:1] != b"\0":
            raise ValueError(UNREADABLE)
        self._add_text(keyword, self._unpack(packed[1:]).decode("latin-1"))

    def _international_text(self, content: bytes) -> None:
        keyword, _, rest = content.partition(b"\0")
        language, translated, value = rest[2:].split(b"\0", 2)
        if rest[0] not in (0, 1) or rest[1] != 0:
            raise ValueError(UNREADABLE)
        value = self._unpack(value) if rest[0] else value
        self._add_text(keyword, value.decode(), language.decode("latin-1"), translated.decode())

    def _add_text(self, given: bytes, value: str, language: str = "", translated: str = "") -> None:
        """Add a text, or the metadata of another kind that its keyword declares."""
        keyword = given.decode("latin-1")
        if not 1 <= len(keyword) < 80:
            raise ValueError(UNREADABLE)
        self._shown += len(value)
        if keyword == XMP_TEXT:
            self.found.keep("xmp", value.encode())
        elif keyword.startswith(_RAW_PROFILE):
            self._raw_profile(keyword.removeprefix(_RAW_PROFILE), value)
        elif keyword == COMMENT and not language and not translated:
            self.found.comments.append(value.encode())
        else:
            self.found.text.append(Text(keyword, value, language, translated))

    def _raw_profile(self, kind: str, value: str) -> None:
        r"""Add a profile that ImageMagick writes as text: kind, length, hexadecimal bytes."""
        found = re.fullmatch(r"\s*\S+\s+(\d+)\s([0-9a-fA-F\s]*)", value)
        content = bytes.fromhex(re.sub(r"\s", "", found[2])) if found else b""
        if not found or len(content) != int(found[1]):
            raise ValueError(UNREADABLE)
        is_block = content.startswith(b"Exif\0\0")
        match "exif" if is_block else kind.lower():
            case "exif":
                self.found.add_exif(content)
            case "xmp" | "app1":
                self.found.keep("xmp", content.removeprefix(b"http://ns.adobe.com/xap/1.0/\0"))
            case "icc" | "icm":
                self.found.keep("icc", content)
            case "iptc" | "8bim":
                records = content.startswith(b"\x1c")
                self.found.add_resources(join_resources(content, b"") if records else content)
            case _:
                self.found.text.append(Text(_RAW_PROFILE + kind, value))

    def _profile(self, content: bytes) -> None:
        _, _, packed = content.partition(b"\0")
        profile = self._unpack(packed[1:]) if packed[:1] == b"\0" else b""
        if not profile:
            raise ValueError(UNREADABLE)
        self.found.keep("icc", profile)
        self._shown += len(profile)

    def _density(self, content: bytes) -> None:
        x, y, unit = struct.unpack(">IIB", content)
        self.found.add_resolution(x, y, {0: None, 1: _INCH}[unit])

    def _background(self, content: bytes) -> None:
        """Convert the background to the samples that are read: gray or RGB of 8 or 16 bits."""
        bits, colours = self.needed[b"IHDR"][8:10]
        if colours == 3:
            entry = self.needed[b"PLTE"][3 * content[0] : 3 * content[0] + 3]
            levels = tuple(entry)
        else:
            levels = struct.unpack(">3H" if colours & 2 else ">H", content)
        if len(levels) not in (1, 3):
            raise ValueError(UNREADABLE)
        scale = 255 // (2**bits - 1) if bits < 8 and colours != 3 else 1
        packed = b"".join((level * scale).to_bytes(2, "big") for level in levels)
        self.found.add_part(b"bKGD", "bKGD", packed, "colours")


def _name(kind: bytes) -> str:
    return _NAMES.get(kind) or (kind.decode() if kind.isalpha() else repr(kind))


def _is_nearly_of_samples(kind: bytes) -> bool:
    """Return whether a type differs by one byte from that of a chunk that the samples need."""
    return any(sum(a != b for a, b in zip(kind, needed, strict=True)) == 1 for needed in OF_SAMPLES)


def make_chunks(metadata: Metadata, width: int, height: int) -> tuple[list[Chunk], list[Chunk]]:
    """Return the chunks of metadata to write before and after the samples of a picture."""
    parts = metadata.parts
    before = [Chunk(part.kind, part.content) for part in parts if part.kind in _BEFORE_DENSITY]
    if metadata.icc:
        before.insert(0, Chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc)))
    if resolution := _resolution(metadata):
        before.append(Chunk(b"pHYs", resolution))
    if metadata.exif:
        before.append(Chunk(b"eXIf", resized(metadata.exif, width, height)))
    before += [_text_chunk(text) for text in _texts(metadata)]
    others = [part for part in parts if part.kind not in _BEFORE_DENSITY]
    before += [Chunk(part.kind, part.content) for part in others if len(part.kind) == 4]
    return before, [Chunk(part.kind[:4], part.content) for part in others if len(part.kind) > 4]


def _resolution(metadata: Metadata) -> bytes:
    if metadata.density:
        x, y = (round(dots / _INCH) for dots in metadata.density)
        return struct.pack(">IIB", x, y, 1)
    if metadata.aspect:
        return struct.pack(">IIB", *whole_ratio(metadata.aspect, 2**31 - 1), 0)
    return b""


def _texts(metadata: Metadata) -> Iterator[Text]:
    yield from metadata.text
    for comment in metadata.comments:
        yield Text(COMMENT, _as_text(comment))
    if resources := join_resources(metadata.iptc, metadata.photoshop):
        rows = "\n".join(re.findall(".{1,72}", resources.hex()))
        yield Text(f"{_RAW_PROFILE}iptc", f"\niptc\n{len(resources):8}\n{rows}\n")
    if metadata.xmp:
        yield Text(XMP_TEXT, metadata.xmp.decode("utf-8", "replace"))


def _text_chunk(text: Text) -> Chunk:
    """Encode a text as a chunk, without NUL, which a text cannot hold.

    A long text is compressed, unless Pillow would refuse to inflate it.
    """
    keyword = text.keyword.encode("latin-1") + b"\0"
    value = text.value.rstrip("\0").replace("\0", " ")
    packed = _LONG_TEXT < len(value) <= _SHOWN
    latin = all(ord(letter) < 256 for letter in value)
    if not latin or text.language or text.translated or text.keyword == XMP_TEXT:
        content = value.encode()
        head = bytes([packed, 0]) + f"{text.language}\0{text.translated}\0".encode()
        return Chunk(b"iTXt", keyword + head + (zlib.compress(content) if packed else content))
    content = value.encode("latin-1")
    if packed:
        return Chunk(b"zTXt", keyword + b"\0" + zlib.compress(content))
    return Chunk(b"tEXt", keyword + content)


def _as_text(content: bytes) -> str:
    """Decode a comment as UTF-8, or else as Latin-1, with PNG's line ends."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    return text.replace("\r\n", "\n")
