"""EXIF blocks: read as directories of tags, changed, and written again."""

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
"""Tags that tell where in the picture something is: SubjectArea and SubjectLocation, also as
TIFF/EP has it.
"""

RESOLUTIONS = {282: 283, 0xA20E: 0xA20F, 37390: 37391}
"""The tags of resolution along x, and those along y: of the picture, of the focal plane, and as
TIFF/EP has that.
"""

_RESOLUTION, _UNIT = (282, 283), 296
_SWAPPED = RESOLUTIONS | {y: x for x, y in RESOLUTIONS.items()}
_FIRST = 8  # where directory 0 begins


class ExifBlock(NamedTuple):
    """The tags of directory 0, with the directories that these lead to, and the byte order, "<" or
    ">".

    thumbnail: whether a directory 1 follows, which is not read.
    """

    tags: tuple[Tag, ...]
    order: str = "<"
    thumbnail: bool = False

    def content(self) -> bytes:
        """Return the block as it is written, b"" for no tag."""
        if not self.tags:
            return b""
        head = Head(self.order, big=False, first=_FIRST)
        lead = b"II*\0" if self.order == "<" else b"MM\0*"
        return lead + head.offset_bytes(_FIRST) + directory_bytes(self.tags, _FIRST, head)


def parse_exif(block: bytes) -> ExifBlock:
    """Return the tags of an EXIF block, without its thumbnail (directory 1).

    Offsets within a maker note are not adjusted. Raises ValueError for what is no block.
    Source: EXIF 2.3 (CIPA DC-008), 4.5 and 4.6.
    """
    stream = io.BytesIO(
        _without_name(block) + bytes(4)
    )  # some writers leave out the link to directory 1
    try:
        head = read_head(stream)
        directory = read_directory(stream, head, head.first)
        tags = read_tags(stream, head, directory.entries.values(), [])
    except DIRECTORY_ERRORS as error:
        raise ValueError("no EXIF block") from error
    return ExifBlock(tags, head.order, directory.next > 0)


def _without_name(block: bytes) -> bytes:
    """Return a block without the name that JPEG puts before it, and some writers twice."""
    return re.sub(rb"^(Exif\0\0){1,2}", b"", block)


def is_exif(block: bytes) -> bool:
    """Return whether a block is one that `parse_exif` and Pillow read."""
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
    """Return whether a block has a directory 1; b"" has none."""
    return bool(block) and parse_exif(block).thumbnail


def exif_orientation(block: bytes) -> int:
    """Return the orientation that a block tells: 2 to 8, or 1 where it says that of no other."""
    given = _values(block).get(ORIENTATION, 1)
    return given if given in range(2, 9) else 1


def exif_resolution(block: bytes) -> tuple[float, float, float] | None:
    """Return dots per unit along x and y, and how many make one per inch; None where it says none."""
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
    r"""Return an EXIF block without its thumbnail (directory 1), and with these tags changed where
    it has them.

    Every other value keeps its type. Raises ValueError for what is no block.

    >>> entry = b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0"
    >>> rewrite_exif(b"II*\0\x08\0\0\0\x01\0" + entry + bytes(4), {0x0112: 1})[18:20]
    b'\x01\x00'
    """
    parsed = parse_exif(block)
    return parsed._replace(
        tags=change_tags(parsed.tags, lambda tag: [_changed(tag, tags)])
    ).content()


def _changed(tag: Tag, values: Mapping[int, int]) -> Tag:
    if tag.number not in values:
        return tag
    value = values[tag.number]
    return make_tag(tag.number, SHORT if tag.kind == SHORT and value < 2**16 else LONG, [value])


def change_tags(tags: Iterable[Tag], change: Callable[[Tag], Iterable[Tag]]) -> tuple[Tag, ...]:
    """Return tags, and those of the directories they lead to, each replaced by what `change` makes
    of it.

    A tag that led to a directory goes with the last tag of that.
    """
    changed = []
    for tag in (new for given in tags for new in change(given)):
        inner = change_tags(tag.inner, change)
        if inner or not tag.inner:
            changed.append(tag._replace(inner=inner))
    return tuple(changed)


def resized(block: bytes, width: int, height: int) -> bytes:
    """Return a block for a picture of that size."""
    return rewrite_exif(block, {_WIDTH: width, _HEIGHT: height})


def upright_exif(block: bytes, orientation: int, width: int, height: int) -> bytes:
    """Return a block for the picture that is turned upright; width, height: as it is stored."""
    parsed = parse_exif(block)
    return parsed._replace(tags=upright_tags(parsed.tags, orientation, width, height)).content()


def upright_tags(tags: Iterable[Tag], orientation: int, width: int, height: int) -> tuple[Tag, ...]:
    """Return the tags of EXIF for the picture that is turned upright; width, height: as it is
    stored.
    """

    def change(tag: Tag) -> list[Tag]:
        if tag.number == ORIENTATION:
            return [_changed(tag, {ORIENTATION: 1})]
        if is_place(tag) and orientation > 1:
            return [
                map_place(
                    tag, lambda x, y: upright_point(x, y, orientation, width, height), swap=swap
                )
            ]
        return [tag._replace(number=_SWAPPED.get(tag.number, tag.number))] if swap else [tag]

    swap = swaps_axes(orientation)
    return change_tags(tags, change)


def is_place(tag: Tag) -> bool:
    """Return whether a tag tells a place in the picture, as EXIF 2.3, 4.6.5 has it."""
    return tag.number in _PLACES and tag.kind in (SHORT, LONG) and len(values_of(tag)) > 1


def map_place(
    tag: Tag,
    move: Callable[[float, float], tuple[float, float]],
    *,
    swap: bool = False,
    scales: tuple[float, float] = (1, 1),
) -> Tag:
    """Return a tag of a place in the picture, moved: a point, a circle's centre and diameter, or a
    box's and its sides.

    What lies outside of what the tag can tell is moved to the nearest that it can. swap: exchange
    the sides of a box. scales: by which sides become shorter. Source: EXIF 2.3, 4.6.5, SubjectArea.
    """
    x, y, *sides = values_of(tag)
    if swap:
        sides.reverse()
    sides = [side / scale for side, scale in zip(sides, scales, strict=False)]
    most = 2**16 - 1 if tag.kind == SHORT else 2**32 - 1
    return make_tag(
        tag.number, tag.kind, [min(max(round(value), 0), most) for value in (*move(x, y), *sides)]
    )
