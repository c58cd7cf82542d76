"""Read and write directories of tags, of a TIFF file or an EXIF block.

Values keep their bytes and types; Pillow's reader converts a tag to the type that it expects.
Source: TIFF 6.0, section 2; EXIF 2.3, 4.6; the BigTIFF design of libtiff,
https://libtiff.gitlab.io/libtiff/.
"""

from __future__ import annotations

import itertools
import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple

from convcli.io.images.integrity import CUT

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, DOUBLE, IFD, LONG8 = 1, 2, 3, 4, 5, 7, 12, 13, 16
_CODES = {
    **dict.fromkeys((BYTE, ASCII, UNDEFINED, 129), "B"),
    6: "b",
    SHORT: "H",
    8: "h",
    LONG: "I",
    9: "i",
    RATIONAL: "I",
    10: "i",
    11: "f",
    DOUBLE: "d",
    IFD: "I",
    LONG8: "Q",
    17: "q",
    18: "Q",
}
"""The codes of `struct` by TIFF's types; a rational number has two."""

_RATIONALS = (RATIONAL, 10)
_SIZES = {
    kind: struct.calcsize(f"<{code}") * (2 if kind in _RATIONALS else 1)
    for kind, code in _CODES.items()
}
"""The bytes of one value, by TIFF's types."""

_CLASSIC_KINDS = {LONG8: LONG, 17: 9, 18: LONG}  # the 32-bit types that replace 64-bit ones
OFFSET_KINDS = (LONG, 9, IFD, LONG8, 17, 18)
"""The types of 32 and 64 bits whose values may be offsets in a file."""

EXIF_DIRECTORY, GPS_DIRECTORY, _INTEROPERABILITY = 0x8769, 0x8825, 0xA005
INNER = {None: (EXIF_DIRECTORY, GPS_DIRECTORY), EXIF_DIRECTORY: (_INTEROPERABILITY,)}
"""Tags that point to directories, by the tag that points to their own; None: directory 0."""

HIDDEN = 65535
"""A tag that no decoder knows, which replaces one that is left out."""

_MOST_ENTRIES = 4096
_LARGEST = 2**26
"""Limits for reading: entries of one directory, bytes of one tag."""


class Tag(NamedTuple):
    """One tag of a directory.

    kind: TIFF's type of its values. content: the values, little-endian. inner: the tags of the
    directory that it points to.
    """

    number: int
    kind: int
    content: bytes
    inner: tuple[Tag, ...] = ()


class Head(NamedTuple):
    """The header of a TIFF file or an EXIF block.

    order: the byte order, "<" or ">". big: whether offsets have 64 bits. first: the offset of the
    first directory. size: bytes of the file.
    """

    order: str
    big: bool
    first: int
    size: int = 0

    @property
    def link(self) -> int:
        """The offset of the field that holds the first directory's offset."""
        return 8 if self.big else 4

    def number(self, content: bytes) -> int:
        """Decode an unsigned number of any size."""
        return int.from_bytes(content, "little" if self.order == "<" else "big")

    def offset_bytes(self, offset: int) -> bytes:
        return struct.pack(f"{self.order}{'Q' if self.big else 'I'}", offset)


class Entry(NamedTuple):
    """An entry of a directory.

    number: the tag. kind: the type. size: bytes of the values; 0 for an unknown type. start, place:
    offsets of the values and of the entry. inline: the values, padded, if the entry holds them.
    """

    number: int
    kind: int
    size: int
    start: int
    place: int
    inline: bytes = b""


class Directory(NamedTuple):
    """The entries of a directory by their tags, and its offset.

    next: the offset of the next directory. link: the offset of the field that holds `next`.
    """

    entries: Mapping[int, Entry]
    start: int
    next: int
    link: int


def value_size(kind: int) -> int:
    """Return the bytes of one value of a type; 0 for an unknown one.

    >>> value_size(SHORT), value_size(RATIONAL), value_size(99)
    (2, 8, 0)
    """
    return _SIZES.get(kind, 0)


def make_tag(number: int, kind: int, values: Iterable[float] | bytes) -> Tag:
    r"""Return a tag of these values, those of rational numbers as numerator and denominator.

    >>> make_tag(282, RATIONAL, (300, 1)).content
    b',\x01\x00\x00\x01\x00\x00\x00'
    """
    if isinstance(values, bytes):
        return Tag(number, kind, values)
    return Tag(number, kind, b"".join(struct.pack(f"<{_CODES[kind]}", value) for value in values))


def values_of(tag: Tag) -> tuple[Any, ...]:
    """Return the numbers of a tag; rational ones are divided, and 0 if the denominator is 0.

    >>> values_of(make_tag(282, RATIONAL, (72, 1, 1, 0)))
    (72.0, 0.0)
    """
    code = _CODES[tag.kind]
    count = len(tag.content) // struct.calcsize(f"<{code}")
    numbers = struct.unpack(f"<{count}{code}", tag.content)
    if tag.kind in _RATIONALS:
        pairs = zip(numbers[::2], numbers[1::2], strict=True)
        return tuple(above / below if below else 0.0 for above, below in pairs)
    return numbers


def text_of(tag: Tag) -> str:
    """Return the text of a tag, up to the first NUL."""
    return tag.content.partition(b"\0")[0].decode("latin-1")


def read_head(stream: BinaryIO) -> Head:
    """Read the head of a TIFF, or of an EXIF block. Raises ValueError if there is none."""
    stream.seek(0)
    content = stream.read(16)
    order = {b"II": "<", b"MM": ">"}.get(content[:2])
    head = Head(order or "<", big=False, first=0)
    version = head.number(content[2:4])
    if order is None or version not in (42, 43) or len(content) < 8 * (version - 41):
        raise ValueError("no TIFF header")
    first = head.number(content[8:16] if version == 43 else content[4:8])
    return Head(order, version == 43, first, stream.seek(0, os.SEEK_END))


def read_directory(stream: BinaryIO, head: Head, offset: int) -> Directory:
    """Read the directory at an offset. Raises ValueError if it is cut or has no entry."""
    count_size, entry_size, link_size = (8, 20, 8) if head.big else (2, 12, 4)
    stream.seek(offset)
    count = head.number(_read(stream, count_size))
    if not 0 < count <= _MOST_ENTRIES:
        raise ValueError("it has a directory without an entry" if not count else CUT)
    content = _read(stream, count * entry_size)
    entries = {}
    fields = struct.iter_unpack(f"{head.order}HH{'Q' if head.big else 'I'}{link_size}s", content)
    for place, (number, kind, values, inline) in zip(
        itertools.count(offset + count_size, entry_size), fields
    ):
        size = values * _SIZES.get(kind, 0)
        if size > link_size:
            entries[number] = Entry(number, kind, size, head.number(inline), place)
        else:
            entries[number] = Entry(
                number, kind, size, place + entry_size - link_size, place, inline
            )
    link = offset + count_size + len(content)
    return Directory(entries, offset, head.number(_read(stream, link_size)), link)


def _read(stream: BinaryIO, size: int) -> bytes:
    content = stream.read(size)
    if len(content) < size:
        raise ValueError(CUT)
    return content


def is_in_file(entry: Entry, size: int) -> bool:
    """Return whether the values of an entry have a known type and lie within the file's bytes."""
    return entry.size > 0 and entry.start + entry.size <= size


def read_tag(stream: BinaryIO, head: Head, entry: Entry) -> Tag:
    """Read the values of an entry, as little-endian.

    Raises ValueError if they are not in the file, of an unknown type, or too large.
    """
    if not is_in_file(entry, head.size) or entry.size > _LARGEST:
        raise ValueError(CUT)
    content = entry.inline[: entry.size]
    if not content:
        stream.seek(entry.start)
        content = _read(stream, entry.size)
    return Tag(entry.number, entry.kind, _swapped(content, entry.kind, head.order))


def _swapped(content: bytes, kind: int, order: str) -> bytes:
    """Convert the values of a type between little-endian and `order`."""
    return content if order == "<" else swap_bytes(content, struct.calcsize(f"<{_CODES[kind]}"))


def swap_bytes(content: bytes, size: int) -> bytes:
    r"""Return numbers of `size` bytes each in the other byte order.

    An incomplete number at the end is dropped.

    >>> swap_bytes(b"\1\2\3\4", 2)
    b'\x02\x01\x04\x03'
    """
    whole = len(content) // size * size
    swapped = bytearray(whole)
    for byte in range(size):
        swapped[byte::size] = content[size - 1 - byte : whole : size]
    return bytes(swapped)


def read_tags(
    stream: BinaryIO,
    head: Head,
    entries: Iterable[Entry],
    left_out: list[str],
    group: int | None = None,
) -> tuple[Tag, ...]:
    """Read the values of entries, and the directories that they point to.

    group: the tag that points to their directory. Adds the names of tags that cannot be read to
    `left_out`.
    """
    found = []
    for entry in entries:
        try:
            tag = read_tag(stream, head, entry)
            if entry.number in INNER.get(group, ()):
                inner = read_directory(stream, head, values_of(tag)[0]).entries.values()
                held = read_tags(stream, head, inner, left_out, entry.number)
                tag = Tag(entry.number, LONG, bytes(4), held)
                if not held:
                    raise ValueError(CUT)
            found.append(_classic(tag))
        except (ValueError, OverflowError, OSError, struct.error, TypeError):
            left_out.append(tag_name(entry.number, group))
    return tuple(found)


def _classic(tag: Tag) -> Tag:
    """Convert 64-bit numbers of a BigTIFF's tag to 32 bits; raise struct.error if too large."""
    if tag.kind not in _CLASSIC_KINDS:
        return tag
    return make_tag(tag.number, _CLASSIC_KINDS[tag.kind], values_of(tag))


def tag_name(number: int, group: int | None = None) -> str:
    """Return the name of a tag; group: the tag that points to its directory.

    >>> tag_name(33432), tag_name(65000)
    ('Copyright', 'tag 65000')
    """
    from PIL import TiffTags

    name = TiffTags.lookup(number, group).name
    return f"tag {number}" if name == "unknown" else name


def directory_bytes(tags: Sequence[Tag], offset: int, head: Head, following: int = 0) -> bytes:
    """Encode a directory at an offset, followed by its values and the directories it points to.

    following: the offset of the next directory, 0 for none.
    """
    count_size, entry_size, link_size = (8, 20, 8) if head.big else (2, 12, 4)
    ordered = sorted(tags, key=lambda tag: tag.number)
    end = offset + count_size + entry_size * len(ordered) + link_size
    sizes = [len(tag.content) for tag in ordered if len(tag.content) > link_size]
    inner_start = end + sum(size + size % 2 for size in sizes)
    entries = values = inner = b""
    for tag in ordered:
        content = _swapped(tag.content, tag.kind, head.order)
        count = len(content) // value_size(tag.kind)
        kind = tag.kind
        if tag.inner:
            place = inner_start + len(inner)
            kind, content = LONG8 if head.big else LONG, head.offset_bytes(place)
            inner += directory_bytes(tag.inner, place, head)
        elif len(content) > link_size:
            place = end + len(values)
            values += content + bytes(len(content) % 2)
            content = head.offset_bytes(place)
        start = struct.pack(f"{head.order}HH{'Q' if head.big else 'I'}", tag.number, kind, count)
        entries += start + content.ljust(link_size, b"\0")
    lead = struct.pack(f"{head.order}{'Q' if head.big else 'H'}", len(ordered))
    return lead + entries + head.offset_bytes(following) + values + inner


def add_tags(stream: BinaryIO, pages: Iterable[Sequence[Tag]]) -> None:
    """Add tags to each page of a TIFF, replacing those of the same numbers.

    A page's directory is rewritten at the end of the file. pages: the tags of each, in file order.
    """
    head = read_head(stream)
    link, offset = head.link, head.first
    for tags in pages:
        directory = read_directory(stream, head, offset)
        if tags:
            numbers = {tag.number for tag in tags}
            own = [entry for entry in directory.entries.values() if entry.number not in numbers]
            every = [read_tag(stream, head, entry) for entry in own] + list(tags)
            start = stream.seek(0, os.SEEK_END)
            start += -start % 8
            stream.write(bytes(start - stream.tell()))
            stream.write(directory_bytes(every, start, head, directory.next))
            stream.seek(link)
            stream.write(head.offset_bytes(start))
            link = start + (8 + 20 * len(every) if head.big else 2 + 12 * len(every))
        else:
            link = directory.link
        offset = directory.next
