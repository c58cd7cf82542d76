"""Adjust densities and positions in metadata to the samples of a convolution's output."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from convcli.io.data import Metadata, Part
from convcli.io.images.directory import DOUBLE, RATIONAL, Tag, make_tag, text_of, values_of
from convcli.io.images.metadata.exif import (
    RESOLUTIONS,
    change_tags,
    is_place,
    map_place,
    parse_exif,
)
from convcli.io.images.metadata.tiff_tags import (
    DESCRIPTION,
    GEO_KEYS,
    PIXEL_SCALE,
    RPC,
    TIE_POINTS,
    TRANSFORMATION,
    part_of,
    tag_of,
)
from convcli.io.images.metadata.xml import remove_elements

_COARSEST = 0.5  # dots per inch below which formats with integers would round to 0
_FINEST = 2**16  # the largest denominator of a resolution
_PIXEL_IS_POINT, _RASTER_TYPE = 2, 1025
_OUTSIDE = "it is a position outside the output"


@dataclass(frozen=True)
class Place:
    """The positions of an output's samples along one axis of the input: start + i * stride.

    before, after: the numbers of samples of the input and of the output.
    """

    start: float = 0
    stride: int = 1
    before: int = 1
    after: int = 1

    @property
    def same(self) -> bool:
        """Whether the output has the input's samples at the same positions."""
        return (self.start, self.stride, self.before) == (0, 1, self.after)

    def at(self, position: float) -> float:
        """Convert a position in the input to one in the output.

        >>> Place(start=1, stride=2).at(5)
        2.0
        """
        return (position - self.start) / self.stride


class Places(NamedTuple):
    """The positions along the columns, the rows and the pages of a picture."""

    x: Place = Place()
    y: Place = Place()
    z: Place = Place()

    @property
    def same(self) -> bool:
        return self.x.same and self.y.same and self.z.same

    def point(self, x: float, y: float) -> tuple[float, float]:
        return self.x.at(x), self.y.at(y)

    def is_inside(self, x: float, y: float) -> bool:
        """Return whether a point of the input, rounded to a sample, is in the output."""
        moved = self.point(x, y)
        return all(0 <= round(at) < axis.after for at, axis in zip(moved, self, strict=False))


def move_metadata(metadata: Metadata, places: Places) -> tuple[Metadata, tuple[str, ...]]:
    """Adjust metadata to an output's samples; return messages about what is dropped, and why."""
    if places.same:
        return metadata, ()
    lost: list[str] = []
    density = metadata.density
    if density is not None:
        density = density[0] / places.x.stride, density[1] / places.y.stride
        if min(density) < _COARSEST:
            lost.append(f"density: it is less than {_COARSEST} dots per inch")
            density = None
    aspect = metadata.aspect
    if aspect is not None:
        aspect = aspect[0] / places.x.stride, aspect[1] / places.y.stride
        aspect = None if aspect[0] == aspect[1] else aspect
    parts = tuple(_move_part(part, places, metadata) for part in metadata.parts)
    moved = replace(
        metadata,
        density=density,
        aspect=aspect,
        exif=_move_exif(metadata.exif, places, lost),
        xmp=_move_xmp(metadata.xmp, places, lost),
        parts=parts,
    )
    return moved, tuple(dict.fromkeys(lost))


# EXIF.


def _move_exif(block: bytes, places: Places, lost: list[str]) -> bytes:
    if not block:
        return block

    def change(tag: Tag) -> list[Tag]:
        if is_place(tag):
            x, y, *_ = values_of(tag)
            if not places.is_inside(x, y):
                lost.append(f"EXIF subject area: {_OUTSIDE}")
                return []
            scales = (places.x.stride, places.y.stride)
            return [map_place(tag, places.point, scales=scales)]
        return [_scale_resolution(tag, places)]

    parsed = parse_exif(block)
    return parsed._replace(tags=change_tags(parsed.tags, change)).content()


def _scale_resolution(tag: Tag, places: Places) -> Tag:
    """Divide a tag of resolution by the stride; return any other tag unchanged."""
    axis = places.x if tag.number in RESOLUTIONS else places.y
    if tag.kind != RATIONAL or tag.number not in (*RESOLUTIONS, *RESOLUTIONS.values()):
        return tag
    ratio = Fraction(values_of(tag)[0]).limit_denominator(_FINEST) / axis.stride
    return make_tag(tag.number, RATIONAL, ratio.limit_denominator(_FINEST).as_integer_ratio())


# XMP.


def _property(names: bytes) -> re.Pattern[bytes]:
    """Return a pattern of properties with numbers, as attributes and as elements."""
    return re.compile(
        rb"""(?P<lead>(?P<name>%s)(?:\s*=\s*["']|>\s*))(?P<value>\d+(?:\.\d+|/[1-9]\d*)?)""" % names
    )


def _remove_properties(packet: bytes, names: bytes) -> tuple[bytes, int]:
    """Remove properties, written as attributes or as elements, and count them."""
    packet, attributes = re.subn(rb"""\s(?:%s)\s*=\s*(?:"[^"]*"|'[^']*')""" % names, b"", packet)
    packet, elements = remove_elements(packet, names)
    return packet, attributes + elements


_XMP_RESOLUTION = _property(rb"tiff:[XY]Resolution|exif:FocalPlane[XY]Resolution")
_XMP_SIZE = _property(rb"tiff:Image(?:Width|Length)|exif:Pixel[XY]Dimension")
_XMP_PLACES = {
    "subject area": rb"exif:Subject(?:Area|Location)",
    "regions": rb"mwg-rs:Regions|MP:RegionInfo",
    "crop": rb"crs:(?:Crop\w+|HasCrop)",
    "panorama": rb"GPano:\w+",
}
"""Properties of positions in the picture.

Source: XMP specification, part 2; MWG guidelines 2.0, 5.9.
"""


def _move_xmp(packet: bytes, places: Places, lost: list[str]) -> bytes:
    def divided(found: re.Match[bytes]) -> bytes:
        place = places.x if b"X" in found["name"] else places.y
        ratio = Fraction(found["value"].decode()) / place.stride
        return found["lead"] + b"%d/%d" % ratio.as_integer_ratio()

    def resized(found: re.Match[bytes]) -> bytes:
        is_width = found["name"] in (b"tiff:ImageWidth", b"exif:PixelXDimension")
        place = places.x if is_width else places.y
        return found["lead"] + str(place.after).encode()

    packet = _XMP_SIZE.sub(resized, _XMP_RESOLUTION.sub(divided, packet))
    for name, properties in _XMP_PLACES.items():
        packet, count = _remove_properties(packet, properties)
        if count:
            lost.append(f"XMP {name}: it has positions in the input")
    return packet


# The tags of a TIFF.


def _move_part(part: Part, places: Places, metadata: Metadata) -> Part:
    """Adjust a part to the output."""
    if part.form != "tiff":
        return part
    tag = tag_of(part)
    if tag.number in _MOVES:
        return part_of(_MOVES[tag.number](tag, places, metadata), part)
    return part_of(_scale_resolution(tag, places), part)


def _move_scale(tag: Tag, places: Places, metadata: Metadata) -> Tag:
    x, y, *rest = values_of(tag)
    return make_tag(tag.number, DOUBLE, [x * places.x.stride, y * places.y.stride, *rest])


def _half(metadata: Metadata) -> float:
    """Return the offset of a GeoTIFF's coordinates in a pixel: 0 at its centre, 0.5 at its corner.

    Source: GeoTIFF 1.1, 7.1.2, GTRasterTypeGeoKey.
    """
    for tag in map(tag_of, metadata.parts):
        if tag.number == GEO_KEYS:
            keys = np.reshape(values_of(tag)[: len(values_of(tag)) // 4 * 4], (-1, 4))
            if any(
                key == _RASTER_TYPE and value == _PIXEL_IS_POINT for key, _, _, value in keys[1:]
            ):
                return 0.0
    return 0.5


def _move_tie_points(tag: Tag, places: Places, metadata: Metadata) -> Tag:
    """Adjust tie points (column, row, height, x, y, z).

    Several points keep their coordinates x, y and move to other samples. A single point, in a file
    with a pixel scale, keeps its sample and gets the coordinates of that in the output.
    """
    half = _half(metadata)
    tags = map(tag_of, metadata.parts)
    scale = next((each for each in tags if each.number == PIXEL_SCALE), None)
    points = _grouped(tag, 6)
    for point in points:
        x, y = places.point(point[0] - half, point[1] - half)
        if scale is None or len(points) > 1:
            point[:2] = x + half, y + half
        else:
            across, down, *_ = values_of(scale)
            point[3] += (point[0] - x - half) * places.x.stride * across
            point[4] -= (point[1] - y - half) * places.y.stride * down
    return make_tag(tag.number, DOUBLE, [value for point in points for value in point])


def _move_transformation(tag: Tag, places: Places, metadata: Metadata) -> Tag:
    """Multiply the matrix from samples to the world by that from output to input samples."""
    half = _half(metadata)
    motion = np.eye(4)
    for axis, place in enumerate(places[:2]):
        motion[axis, axis] = place.stride
        motion[axis, 3] = place.start + half - place.stride * half
    moved = np.reshape(values_of(tag), (4, 4)) @ motion
    return make_tag(tag.number, DOUBLE, moved.ravel().tolist())


def _move_coefficients(tag: Tag, places: Places, metadata: Metadata) -> Tag:
    """Adjust rational polynomial coefficients.

    The offsets of line and sample are the 3rd and 4th values, their scales the 8th and 9th.
    Source: http://geotiff.maptools.org/rpc_prop.html
    """
    values = list(values_of(tag))
    for at, place in ((2, places.y), (3, places.x)):
        values[at] = place.at(values[at])
        values[at + 5] /= place.stride
    return make_tag(tag.number, DOUBLE, values)


def _move_description(tag: Tag, places: Places, metadata: Metadata) -> Tag:
    """Adjust the distance of pages and the origin, in samples, of ImageJ's description."""
    text = text_of(tag)
    for name, place in (("x", places.x), ("y", places.y), ("z", places.z)):
        text = _edited(text, f"{name}origin", place.at)
    text = _edited(text, "spacing", lambda distance: distance * places.z.stride)
    return tag._replace(content=text.encode("latin-1") + b"\0")


def _edited(text: str, name: str, change: Callable[[float], float]) -> str:
    return re.sub(
        rf"(?m)^({name}=)(-?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)$",
        lambda found: f"{found[1]}{change(float(found[2])):.12g}",
        text,
    )


def _grouped(tag: Tag, size: int) -> list[list[Any]]:
    values = values_of(tag)
    starts = range(0, len(values) // size * size, size)
    return [list(values[start : start + size]) for start in starts]


_MOVES: dict[int, Callable[[Tag, Places, Metadata], Tag]] = {
    PIXEL_SCALE: _move_scale,
    TIE_POINTS: _move_tie_points,
    TRANSFORMATION: _move_transformation,
    RPC: _move_coefficients,
    DESCRIPTION: _move_description,
}
