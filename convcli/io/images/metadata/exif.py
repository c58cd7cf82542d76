"""Read EXIF blocks as directories of tags, change them, and write them."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from convcli.io.images.directory import (
    LONG,
    SHORT,
    Head,
    Tag,
    directory_bytes,
    make_tag,
    read_directory,
    read_head,
    read_tags,
    values_of,
)
from convcli.io.images.metadata.upright import (
    ORIENTATION,
    orientation_of,
    swaps_axes,
    upright_point,
)
from convcli.io.images.pillow import DIRECTORY_ERRORS, unguarded

_WIDTH, _HEIGHT = 0xA002, 0xA003
_PLACES = (0x9214, 0xA214, 37396)
"""Tags of positions in the picture: SubjectArea, SubjectLocation, TIFF/EP's SubjectLocation."""

RESOLUTIONS = {282: 283, 0xA20E: 0xA20F, 37390: 37391}
"""Tags of resolution along x, and those along y: picture, focal plane, TIFF/EP's focal plane."""

_RESOLUTION, _UNIT = (282, 283), 296
_SWAPPED = RESOLUTIONS | {y: x for x, y in RESOLUTIONS.items()}
_FIRST = 8  # the offset of directory 0


class ExifBlock(NamedTuple):
    """The tags of directory 0, with the directories that they point to.

    order: the byte order, "<" or ">". thumbnail: whether a directory 1 follows, which is not read.
    """

    tags: tuple[Tag, ...]
    order: str = "<"
    thumbnail: bool = False

    def content(self) -> bytes:
        """Encode the block, b"" if it has no tag."""
        if not self.tags:
            return b""
        head = Head(self.order, big=False, first=_FIRST)
        lead = b"II*\0" if self.order == "<" else b"MM\0*"
        return lead + head.offset_bytes(_FIRST) + directory_bytes(self.tags, _FIRST, head)


def parse_exif(block: bytes) -> ExifBlock:
    """Read the tags of an EXIF block, without its thumbnail (directory 1).

    Offsets within a maker note are not adjusted. Raises ValueError for an invalid block.
    Source: EXIF 2.3 (CIPA DC-008), 4.5 and 4.6.
    """
    # Some programs leave out the link to directory 1, which the four bytes replace.
    stream = io.BytesIO(_without_name(block) + bytes(4))
    try:
        head = read_head(stream)
        directory = read_directory(stream, head, head.first)
        tags = read_tags(stream, head, directory.entries.values(), [])
    except DIRECTORY_ERRORS as error:
        raise ValueError("no EXIF block") from error
    return ExifBlock(tags, head.order, directory.next > 0)


def _without_name(block: bytes) -> bytes:
    """Remove the name before a block in a JPEG, which some programs write twice."""
    return re.sub(rb"^(Exif\0\0){1,2}", b"", block)


def is_exif(block: bytes) -> bool:
    """Return whether both `parse_exif` and Pillow read a block."""
    from PIL.Image import Exif

    try:
        with unguarded():
            parse_exif(block)
            tags = Exif()
            tags.load(b"Exif\0\0" + _without_name(block))
            orientation_of(tags)
    except DIRECTORY_ERRORS:
        return False
    return True


def has_thumbnail(block: bytes) -> bool:
    """Return whether a block has a thumbnail (directory 1); b"" has none."""
    return bool(block) and parse_exif(block).thumbnail


def exif_orientation(block: bytes) -> int:
    """Return the orientation of a block: 2 to 8, or 1 if it has no valid one."""
    given = _values(block).get(ORIENTATION, 1)
    return given if given in range(2, 9) else 1


def exif_resolution(block: bytes) -> tuple[float, float, float] | None:
    """Return dots per unit along x and y, and the units per inch; None if there are none."""
    values = _values(block)
    scale = {2: 1.0, 3: 2.54}.get(values.get(_UNIT, 0))
    if scale is None or not values.keys() >= {*_RESOLUTION}:
        return None
    x, y = (float(values[number]) for number in _RESOLUTION)
    return x, y, scale


def _values(block: bytes) -> dict[int, Any]:
    """Return the first value of each tag of directory 0."""
    return {tag.number: values_of(tag)[0] for tag in parse_exif(block).tags if not tag.inner}


def rewrite_exif(block: bytes, tags: Mapping[int, int]) -> bytes:
    r"""Change the values of tags that an EXIF block has, and remove its thumbnail (directory 1).

    Every other value keeps its type. Raises ValueError for an invalid block.

    >>> entry = b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0"
    >>> rewrite_exif(b"II*\0\x08\0\0\0\x01\0" + entry + bytes(4), {0x0112: 1})[18:20]
    b'\x01\x00'
    """
    parsed = parse_exif(block)
    changed = change_tags(parsed.tags, lambda tag: [_changed(tag, tags)])
    return parsed._replace(tags=changed).content()


def _changed(tag: Tag, values: Mapping[int, int]) -> Tag:
    if tag.number not in values:
        return tag
    value = values[tag.number]
    return make_tag(tag.number, SHORT if tag.kind == SHORT and value < 2**16 else LONG, [value])


def change_tags(tags: Iterable[Tag], change: Callable[[Tag], Iterable[Tag]]) -> tuple[Tag, ...]:
    """Replace each tag, and those of the directories they point to, by the result of `change`.

    A tag whose directory becomes empty is removed.
    """
    changed = []
    for tag in (new for given in tags for new in change(given)):
        inner = change_tags(tag.inner, change)
        if inner or not tag.inner:
            changed.append(tag._replace(inner=inner))
    return tuple(changed)


def resized(block: bytes, width: int, height: int) -> bytes:
    """Change the size in a block to that of a picture."""
    return rewrite_exif(block, {_WIDTH: width, _HEIGHT: height})


def upright_exif(block: bytes, orientation: int, width: int, height: int) -> bytes:
    """Convert a block for the upright picture; width, height: of the picture as stored."""
    parsed = parse_exif(block)
    return parsed._replace(tags=upright_tags(parsed.tags, orientation, width, height)).content()


def upright_tags(tags: Iterable[Tag], orientation: int, width: int, height: int) -> tuple[Tag, ...]:
    """Convert EXIF tags for the upright picture; width, height: of the picture as stored."""

    def change(tag: Tag) -> list[Tag]:
        if tag.number == ORIENTATION:
            return [_changed(tag, {ORIENTATION: 1})]
        if is_place(tag) and orientation > 1:
            return [map_place(tag, move, swap=swap)]
        return [tag._replace(number=_SWAPPED.get(tag.number, tag.number))] if swap else [tag]

    def move(x: float, y: float) -> tuple[float, float]:
        return upright_point(x, y, orientation, width, height)

    swap = swaps_axes(orientation)
    return change_tags(tags, change)


def is_place(tag: Tag) -> bool:
    """Return whether a tag is a valid position in the picture (EXIF 2.3, 4.6.5)."""
    return tag.number in _PLACES and tag.kind in (SHORT, LONG) and len(values_of(tag)) > 1


def map_place(
    tag: Tag,
    move: Callable[[float, float], tuple[float, float]],
    *,
    swap: bool = False,
    scales: tuple[float, float] = (1, 1),
) -> Tag:
    """Move a tag's position: a point, a centre and a diameter, or a centre and two sides.

    Values are clipped to the range of the tag's type. swap: exchange the sides. scales: divisors of
    the sides. Source: EXIF 2.3, 4.6.5, SubjectArea.
    """
    x, y, *sides = values_of(tag)
    if swap:
        sides.reverse()
    sides = [side / scale for side, scale in zip(sides, scales, strict=False)]
    most = 2**16 - 1 if tag.kind == SHORT else 2**32 - 1
    values = [min(max(round(value), 0), most) for value in (*move(x, y), *sides)]
    return make_tag(tag.number, tag.kind, values)
