"""Read the header of a JPEG 2000 file: its components, its channels, and its palette.

Sources: ISO/IEC 15444-1, A.5.1 (the marker segment SIZ) and I.5.3 (the boxes of JP2).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

FRONT_BYTES = 2**20
"""Bytes at the start of a file that are searched for the codestream's header."""

SIGNATURE = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
SOC_SIZ = b"\xff\x4f\xff\x51"  # the markers that begin a codestream
CMYK, CIELAB, SYCC = 12, 14, 18  # of the enumerated colour spaces
_COLOUR, _ALPHA, _PREMULTIPLIED = 0, 1, 2  # types of a channel
_MOST_BITS = 38


class Component(NamedTuple):
    """A component: bits per sample, whether samples are signed, and their distances in pixels."""

    bits: int
    signed: bool
    steps: tuple[int, int] = (1, 1)

    @property
    def limits(self) -> tuple[int, int]:
        """The least and the largest value."""
        low = -(2 ** (self.bits - 1)) if self.signed else 0
        return low, low + 2**self.bits - 1


class Sizes(NamedTuple):
    """Width and height of a picture and of its tiles, and its components."""

    width: int
    height: int
    tile: tuple[int, int]
    components: tuple[Component, ...]


class Palette(NamedTuple):
    """The colours (entries, columns) of a palette, and the depth of each column."""

    colours: NDArray[np.int64]
    columns: tuple[Component, ...]


class Mapping(NamedTuple):
    """The source of a channel's samples: a component, and a column of the palette or None."""

    component: int
    column: int | None = None


@dataclass(frozen=True)
class Header:
    """What a JPEG 2000 file declares about its samples.

    start: the offset of the codestream. boxed: whether boxes describe it. colour_space: as
    enumerated; 0 if an ICC profile or nothing declares it. definitions: (channel, type,
    association) of each; empty if the file does not declare them.
    """

    start: int
    sizes: Sizes
    boxed: bool = False
    colour_space: int = 0
    palette: Palette | None = None
    mappings: tuple[Mapping, ...] = ()
    definitions: tuple[tuple[int, int, int], ...] = ()

    @property
    def channels(self) -> tuple[Mapping, ...]:
        """The sources of the channels' samples, in the order of the channels' numbers."""
        return self.mappings or tuple(
            Mapping(number) for number in range(len(self.sizes.components))
        )

    def depth(self, channel: Mapping) -> Component:
        """Return the bits and the sign of a channel's samples."""
        component = self.sizes.components[channel.component]
        if channel.column is None or self.palette is None:
            return component
        return self.palette.columns[channel.column]

    def ordered(self) -> tuple[tuple[int, ...], bool, bool]:
        """Return the channels in a picture's order, whether the last is alpha, and premultiplied.

        Colours come in the order of their associations, then all other channels. Alpha is one
        channel for the whole picture, after one or three colours. Without boxes, the last of 2 or 4
        channels is alpha, as for Pillow.
        """
        count = len(self.channels)
        if not self.definitions:
            return tuple(range(count)), not self.boxed and count in (2, 4), False
        defined = {channel: (kind, association) for channel, kind, association in self.definitions}
        colours = sorted(
            (defined[n][1], n) for n in range(count) if defined.get(n, (None,))[0] == _COLOUR
        )
        others = [n for n in range(count) if defined.get(n, (None,))[0] != _COLOUR]
        order = (*(n for _, n in colours), *others)
        kinds = [defined.get(n, (None, None)) for n in others]
        alpha = len(colours) in (1, 3) and kinds in ([(_ALPHA, 0)], [(_PREMULTIPLIED, 0)])
        return order, alpha, alpha and kinds[0][0] == _PREMULTIPLIED

    @property
    def is_plain(self) -> bool:
        """Whether Pillow reads the picture right.

        That is 8 bits, or 16 of gray only, without a palette, reordered channels, premultiplied
        alpha, CIELab or signed samples.
        """
        components = self.sizes.components
        count = len(components)
        order, alpha, premultiplied = self.ordered()
        natural = order == tuple(range(count)) and not premultiplied and self.palette is None
        if self.colour_space == CIELAB or not natural or count > 4:
            return False
        bits = {each.bits for each in components}
        luma, *chroma = components
        if bits == {16}:
            return count == 1 and not luma.signed
        signed = luma.signed or (any(each.signed for each in chroma) and self.colour_space != SYCC)
        return (
            bits == {8} and not signed and (alpha or count in (1, 3) or self.colour_space == CMYK)
        )


def read_sizes(segment: bytes) -> Sizes:
    """Return what the segment SIZ declares. Raises ValueError if it is cut.

    segment: the bytes after its marker.
    """
    try:
        *edges, count = struct.unpack(">8IH", segment[4:38])
        samples = struct.iter_unpack("BBB", segment[38 : 38 + 3 * count])
        components = tuple(
            Component((bits & 0x7F) + 1, bits > 0x7F, (dx, dy)) for bits, dx, dy in samples
        )
    except struct.error as error:
        raise ValueError("its segment SIZ is cut") from error
    if (
        len(components) != count
        or not components
        or max(each.bits for each in components) > _MOST_BITS
    ):
        raise ValueError("its segment SIZ is damaged")
    return Sizes(edges[0] - edges[2], edges[1] - edges[3], (edges[4], edges[5]), components)


def read_header(stream: BinaryIO) -> Header | None:
    """Read the header of a file, None if it is damaged; keeps the stream's position."""
    before = stream.tell()
    stream.seek(0)
    front = stream.read(FRONT_BYTES)
    stream.seek(before)
    try:
        if front.startswith(SOC_SIZ):
            return Header(0, read_sizes(front[4:]))
        boxes = dict(reversed(list(_boxes(front, 0, len(front)))))  # the first of each kind
        start = boxes[b"jp2c"].start
        if front[start : start + 4] != SOC_SIZ:
            return None
        header_box = boxes.get(b"jp2h", range(0))
        inner = dict(reversed(list(_boxes(front, header_box.start, header_box.stop))))
        content = {kind: front[place.start : place.stop] for kind, place in inner.items()}
        colour = content.get(b"colr", b"")
        header = Header(
            start,
            read_sizes(front[start + 4 :]),
            boxed=b"jp2h" in boxes,
            colour_space=int.from_bytes(colour[3:7], "big") if colour[:1] == b"\x01" else 0,
            palette=_palette(content[b"pclr"]) if b"pclr" in content else None,
            mappings=_mappings(content.get(b"cmap", b"")),
            definitions=tuple(struct.iter_unpack(">HHH", content.get(b"cdef", b"")[2:])),
        )
        for channel in header.channels:
            header.depth(channel)  # raises LookupError if a component or column is missing
        return header
    except (ValueError, LookupError, struct.error):
        return None


def _boxes(front: bytes, start: int, end: int) -> Iterator[tuple[bytes, range]]:
    """Yield the type of each box and the range of its content, up to the codestream's box."""
    while start + 8 <= end:
        length, kind = int.from_bytes(front[start : start + 4], "big"), front[start + 4 : start + 8]
        head = 8
        if length == 1:
            length, head = int.from_bytes(front[start + 8 : start + 16], "big"), 16
        stop = start + length if length else end
        if stop < start + head or (stop > end and kind != b"jp2c"):
            raise ValueError("a box is longer than what holds it")
        yield kind, range(start + head, stop)
        if kind == b"jp2c":
            return
        start = stop


def _palette(content: bytes) -> Palette:
    entries, count = struct.unpack(">HB", content[:3])
    columns = tuple(Component((bits & 0x7F) + 1, bits > 0x7F) for bits in content[3 : 3 + count])
    if max((each.bits for each in columns), default=0) > _MOST_BITS:
        raise ValueError("its palette is damaged")
    at = 3 + count
    colours = np.empty((entries, count), np.int64)
    for entry in range(entries):
        for column, each in enumerate(columns):
            size = (each.bits + 7) // 8
            colours[entry, column] = int.from_bytes(
                content[at : at + size], "big", signed=each.signed
            )
            at += size
    if at > len(content) or not entries or not count:
        raise ValueError("its palette is cut")
    return Palette(colours, columns)


def _mappings(content: bytes) -> tuple[Mapping, ...]:
    """Return the channels that a box cmap declares."""
    rows = struct.iter_unpack(">HBB", content)
    return tuple(
        Mapping(component, column if kind == 1 else None) for component, kind, column in rows
    )
