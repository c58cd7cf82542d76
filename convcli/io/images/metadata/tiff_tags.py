"""Convert the tags of a TIFF to metadata and back.

Tags that EXIF has too become an EXIF block, others become parts that only a TIFF holds.

Source: TIFF 6.0; its supplements 1 and 2; TIFF/EP (ISO 12234-2); EXIF 2.3; GeoTIFF 1.1 (OGC
19-008r4), annex A; DNG 1.7; GDAL's GeoTIFF driver; ImageJ's TiffDecoder;
https://www.loc.gov/preservation/digital/formats/content/tiff_tags.shtml for private tags.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import BinaryIO, NamedTuple, cast

from convcli.io.data import NO_METADATA, Metadata, Part, Scope
from convcli.io.images.directory import (
    ASCII,
    BYTE,
    DOUBLE,
    EXIF_DIRECTORY,
    GPS_DIRECTORY,
    HIDDEN,
    OFFSET_KINDS,
    RATIONAL,
    SHORT,
    UNDEFINED,
    Directory,
    Entry,
    Head,
    Tag,
    make_tag,
    read_tags,
    swap_bytes,
    tag_name,
    text_of,
    values_of,
)
from convcli.io.images.metadata.exif import ExifBlock, parse_exif, resized, upright_tags
from convcli.io.images.metadata.photoshop import split_resources
from convcli.io.images.metadata.upright import swaps_axes, valid_density
from convcli.io.images.metadata.xml import remove_elements
from convcli.io.images.metadata.xmp import upright_xmp
from convcli.io.images.tiff_directories import SAMPLE_TAGS

_WIDTH, _HEIGHT = 256, 257
DESCRIPTION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 270, 282, 283, 296
_XMP, _IPTC, _PHOTOSHOP, _ICC = 700, 33723, 34377, 34675
GDAL_METADATA, GDAL_NODATA = 42112, 42113
PIXEL_SCALE, TIE_POINTS, TRANSFORMATION, GEO_KEYS, RPC = 33550, 33922, 34264, 34735, 50844
_GEOGRAPHIC = (PIXEL_SCALE, TIE_POINTS, TRANSFORMATION, RPC)
_DOUBLES = {PIXEL_SCALE: 2, TIE_POINTS: 6, TRANSFORMATION: 16, RPC: 9}
"""The least number of values, in double precision, of these tags."""

_IMAGEJ_COUNTS, _IMAGEJ = 50838, 50839
_PAGE_NUMBER, _ORIENTATION, _REFERENCE = 297, 274, 532
_RESOLUTION = (X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT)
_FINEST = 2**16 - 1
"""The largest denominator of a resolution of at most 65535 dots with a numerator of 32 bits."""

_DIRECTORIES = (EXIF_DIRECTORY, GPS_DIRECTORY)
_DESCRIBING = (
    *(269, DESCRIPTION, 271, 272, 285, 305, 306, 315, 316, 33432),
    *(0x4746, 0x4749, *range(0x9C9B, 0x9CA0)),  # Windows' own
    *_DIRECTORIES,
)
"""Tags that EXIF has too. Source: EXIF 2.3, 4.6.4."""

_FIELDS = (X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT, _XMP, _IPTC, _PHOTOSHOP, _ICC)
"""Tags that are fields of Metadata."""

_STORAGE = frozenset({*SAMPLE_TAGS, 254, 255, _ORIENTATION, 288, 289, 326, 327, 328, 50674}) - {347}
"""Tags of how the samples are stored, which the writer sets."""

STACK_DESCRIPTION = re.compile(r'ImageJ=|\{"shape":|(<\?xml[^>]*>\s*)?(<!--[\s\S]*?-->\s*)?<OME\b')
"""The start of descriptions by ImageJ, tifffile and OME, which describe pages, not a picture."""

_STATISTICS = rb'Item(?= name="STATISTICS_)'


class Kind(NamedTuple):
    """A tag's name, and what it describes, as `Part.describes`.

    "never": always dropped. "field": not a part, but held by a field of Metadata.
    """

    name: str
    describes: str = ""


_KINDS = {
    263: Kind("Threshholding", "samples"),
    264: Kind("CellWidth", "samples"),
    265: Kind("CellLength", "samples"),
    280: Kind("MinSampleValue", "samples"),
    281: Kind("MaxSampleValue", "samples"),
    286: Kind("XPosition", "size"),
    287: Kind("YPosition", "size"),
    290: Kind("GrayResponseUnit", "colours"),
    291: Kind("GrayResponseCurve", "colours"),
    _PAGE_NUMBER: Kind("PageNumber"),
    300: Kind("ColorResponseUnit", "colours"),
    301: Kind("TransferFunction", "colours"),
    318: Kind("WhitePoint", "colours"),
    319: Kind("PrimaryChromaticities", "colours"),
    321: Kind("HalftoneHints", "samples"),
    330: Kind("SubIFDs", "never"),
    332: Kind("InkSet", "never"),
    333: Kind("InkNames", "never"),
    334: Kind("NumberOfInks", "never"),
    336: Kind("DotRange", "never"),
    340: Kind("SMinSampleValue", "samples"),
    341: Kind("SMaxSampleValue", "samples"),
    342: Kind("TransferRange", "colours"),
    343: Kind("ClipPath", "size"),
    344: Kind("XClipPathUnits", "size"),
    345: Kind("YClipPathUnits", "size"),
    346: Kind("Indexed", "never"),
    347: Kind("JPEGTables", "never"),
    400: Kind("GlobalParametersIFD", "never"),
    433: Kind("Decode", "never"),
    434: Kind("DefaultImageColor", "colours"),
    _REFERENCE: Kind("ReferenceBlackWhite", "never"),
    PIXEL_SCALE: Kind("GeoTIFF"),
    33920: Kind("GeoTIFF", "size"),
    TIE_POINTS: Kind("GeoTIFF"),
    TRANSFORMATION: Kind("GeoTIFF"),
    GEO_KEYS: Kind("GeoTIFF"),
    34736: Kind("GeoTIFF"),
    34737: Kind("GeoTIFF"),
    GDAL_METADATA: Kind("GDAL metadata", "colours"),
    GDAL_NODATA: Kind("GDAL nodata", "colours"),
    RPC: Kind("rational polynomial coefficients"),
    _IMAGEJ_COUNTS: Kind("ImageJ metadata", "stack"),
    _IMAGEJ: Kind("ImageJ metadata", "stack"),
    **dict.fromkeys((33421, 33422), Kind("colour filter array", "never")),
    **dict.fromkeys(
        (*range(50706, 50838), *range(50840, 50844), *range(50845, 51200)), Kind("DNG", "never")
    ),
    **dict.fromkeys(range(52525, 52560), Kind("DNG", "never")),
    37396: Kind("SubjectLocation", "size"),
    37724: Kind("Photoshop layers", "never"),
    **dict.fromkeys((33628, 33629, 33630, 33631), Kind("MetaMorph stack", "never")),
    34412: Kind("LSM stack", "never"),
    **dict.fromkeys((34361, 34362, 34386), Kind("FluoView stack", "never")),
    43314: Kind("NIH Image stack", "never"),
}
"""The known tags, except those of storage, EXIF and the fields; all others are private."""

_UNITLESS = Kind("resolution without a unit")
_LATER = "tags of later pages"
_DESCRIPTIONS = {"{": Kind("shape description", "stack"), "I": Kind("ImageJ description", "pages")}
_OME = Kind("OME description", "stack")


def read_tiff_metadata(
    stream: BinaryIO,
    head: Head,
    pages: Sequence[Directory],
    *,
    alone: bool = False,
    stacks: bool = True,
) -> Metadata:
    """Return the metadata of pages, the first of which is the picture's.

    alone: whether the file has further pages that were not requested. stacks: whether pages can be
    written as a description of several pages requires.
    """
    if not pages:
        return NO_METADATA

    # Sort the tags of the first page.
    tags = _read(stream, head, pages[0])
    orientation = _orientation(stream, head, pages[0])
    alone = alone or (len(pages) > 1 and not stacks)
    parts: list[Part] = []
    unheld: list[str] = []
    for number, tag in tags.items():
        kind = _kind(tag)
        if kind.describes == "field":
            continue
        is_of_stack = number == _PAGE_NUMBER or kind.describes in ("stack", "pages")
        is_turned = orientation > 1 and number in _GEOGRAPHIC
        if kind.describes == "never" or (alone and is_of_stack) or is_turned:
            unheld.append(kind.name)
        else:
            parts.append(_part(tag, kind))
    if not _has_unit(tags) and not _aspect(tags):
        parts += [_part(tags[number], _UNITLESS) for number in _RESOLUTION if number in tags]

    # Add those of later pages.
    for page, directory in enumerate(pages[1:], 1):
        later, lost = _of_later_page(_read(stream, head, directory), page)
        parts += later
        unheld += [_LATER] * lost

    # Make the EXIF block of the upright picture.
    size = _size(stream, head, pages[0])
    described = [tag for tag in tags.values() if tag.number in _DESCRIBING]
    exif = [tag for tag in described if _kind(tag).describes == "field"]
    block = ExifBlock(upright_tags(exif, orientation, *size), head.order).content()
    return _fields(tags, block, swaps_axes(orientation), tuple(parts), tuple(dict.fromkeys(unheld)))


def _read(stream: BinaryIO, head: Head, directory: Directory) -> dict[int, Tag]:
    """Read the tags of a directory, except those of storage and those that cannot be read."""
    entries = [entry for number, entry in directory.entries.items() if number not in _STORAGE]
    tags = read_tags(stream, head, map(_as_bytes, entries), [])
    found = {tag.number: tag for tag in tags if not _is_default(tag)}
    if not _has_unit(found) and _resolution(found) in ((), (1, 1)):
        found = {number: tag for number, tag in found.items() if number not in _RESOLUTION}
    if head.order == ">" and {_IMAGEJ_COUNTS, _IMAGEJ} <= found.keys():
        found[_IMAGEJ] = _little_endian(found[_IMAGEJ], values_of(found[_IMAGEJ_COUNTS]))
    if GDAL_METADATA in found:
        content, _ = remove_elements(found[GDAL_METADATA].content, _STATISTICS)
        found[GDAL_METADATA] = found[GDAL_METADATA]._replace(content=content)
    return found


def _little_endian(tag: Tag, counts: Sequence[int]) -> Tag:
    """Convert ImageJ's metadata from big-endian to little-endian.

    counts: the bytes of its head, which is b"IJIJ" and pairs of a type and a count, and of each
    value after it. Texts have characters of 16 bits, ranges numbers of 64 bits.
    """
    head = tag.content[: counts[0]]
    kinds: list[bytes] = []
    for at in range(4, len(head) - 7, 8):
        count = int.from_bytes(head[at + 4 : at + 8], "big")
        kinds += [head[at : at + 4]] * min(count, len(counts))
    content, start = swap_bytes(head, 4), len(head)
    for kind, count in zip(kinds, counts[1:], strict=False):
        size = {b"info": 2, b"labl": 2, b"prop": 2, b"rang": 8}.get(kind, 1)
        content += swap_bytes(tag.content[start : start + count], size)
        start += count
    return tag._replace(content=content)


def _size(stream: BinaryIO, head: Head, directory: Directory) -> tuple[int, int]:
    """Return the width and the height of a page as stored; 0 if they cannot be read."""
    entries = [entry for number, entry in directory.entries.items() if number in (_WIDTH, _HEIGHT)]
    tags = read_tags(stream, head, entries, [])
    sizes = {tag.number: next(iter(values_of(tag)), 0) for tag in tags}
    return sizes.get(_WIDTH, 0), sizes.get(_HEIGHT, 0)


def _orientation(stream: BinaryIO, head: Head, directory: Directory) -> int:
    entries = [entry for number, entry in directory.entries.items() if number == _ORIENTATION]
    given = [values_of(tag)[0] for tag in read_tags(stream, head, entries, [])]
    return given[0] if given and given[0] in range(2, 9) else 1


def _as_bytes(entry: Entry) -> Entry:
    """Change the type of an IPTC entry to bytes, which are never swapped, even if it is LONG."""
    return entry._replace(kind=UNDEFINED) if entry.number == _IPTC else entry


def _is_default(tag: Tag) -> bool:
    """Return whether a tag has no content."""
    if tag.kind == ASCII and not text_of(tag):
        return True
    return tag.number == HIDDEN


def _kind(tag: Tag) -> Kind:
    """Return the kind of a tag."""
    if tag.number == DESCRIPTION and STACK_DESCRIPTION.match(text_of(tag)):
        return _DESCRIPTIONS.get(text_of(tag)[0], _OME)
    if tag.number in _FIELDS or tag.number in _DESCRIBING:
        return Kind("", "field")
    least = 8 * _DOUBLES.get(tag.number, 0)
    if least and (tag.kind != DOUBLE or len(tag.content) < least):
        return Kind(_KINDS[tag.number].name, "never")
    if tag.number in _KINDS:
        return _KINDS[tag.number]
    name = tag_name(tag.number)
    return Kind(name, "never" if tag.kind in OFFSET_KINDS or tag.inner else "")


def _part(tag: Tag, kind: Kind, page: int = 0) -> Part:
    return Part(
        "tiff",
        struct.pack("<HH", tag.number, tag.kind),
        kind.name,
        tag.content,
        cast("Scope", kind.describes),
        page,
    )


def part_of(tag: Tag, part: Part) -> Part:
    """Replace the tag of a part of a TIFF."""
    return part._replace(kind=struct.pack("<HH", tag.number, tag.kind), content=tag.content)


def tag_of(part: Part) -> Tag:
    """Return the tag of a part of a TIFF."""
    number, kind = struct.unpack("<HH", part.kind)
    return Tag(number, kind, part.content)


def _of_later_page(tags: Mapping[int, Tag], page: int) -> tuple[list[Part], bool]:
    """Convert the tags of a later page to parts; return also whether some are dropped."""
    kinds = {tag.number: _kind(tag).describes for tag in tags.values()}
    own = [tag for tag in tags.values() if not tag.inner and kinds[tag.number] != "never"]
    described = {**kinds, _ICC: "colours"}
    parts = [
        _part(tag, Kind(_LATER, described[tag.number].replace("field", "")), page) for tag in own
    ]
    return parts, len(own) < len(tags)


def _has_unit(tags: Mapping[int, Tag]) -> bool:
    unit = tags.get(RESOLUTION_UNIT)
    return unit is None or values_of(unit)[:1] != (1,)


def _resolution(tags: Mapping[int, Tag]) -> tuple[float, ...]:
    """Return the dots along x and y that the tags have; () if none."""
    return tuple(values_of(tags[number])[0] for number in _RESOLUTION[:2] if number in tags)


def _aspect(tags: Mapping[int, Tag]) -> tuple[float, float] | None:
    """Return the dots along x and y of a picture without a unit; None if its pixels are square."""
    resolution = _resolution(tags)
    if _has_unit(tags) or len(resolution) < 2 or min(resolution) <= 0:
        return None
    x, y = resolution
    return None if x == y else (x, y)


def _fields(
    tags: Mapping[int, Tag],
    exif: bytes,
    turned: bool,
    parts: tuple[Part, ...],
    unheld: tuple[str, ...],
) -> Metadata:
    """Combine the tags that are fields of Metadata with the results of the others.

    turned: whether the picture's axes were swapped.
    """
    unit = values_of(tags[RESOLUTION_UNIT])[0] if RESOLUTION_UNIT in tags else 2
    per_inch = 2.54 if unit == 3 else 1
    density = valid_density(_resolution(tags), per_inch, turned=turned) if _has_unit(tags) else None
    if density is None and _has_unit(tags) and _resolution(tags):
        unheld += ("resolution",)
    aspect = _aspect(tags)

    def content(number: int) -> bytes:
        return tags[number].content if number in tags else b""

    iptc = others = b""
    try:
        iptc, others = split_resources(content(_PHOTOSHOP))
    except ValueError:
        unheld += ("Photoshop resources",)
    return Metadata(
        icc=content(_ICC),
        density=density,
        aspect=(aspect[1], aspect[0]) if aspect and turned else aspect,
        exif=exif,
        xmp=upright_xmp(content(_XMP)),
        iptc=content(_IPTC) or iptc,
        photoshop=others,
        parts=parts,
        unheld=unheld,
    )


def tiff_tags(metadata: Metadata, width: int, height: int) -> list[list[Tag]]:
    """Convert metadata to the tags of each page of a TIFF, up to the last page that has tags.

    width, height: of the picture.
    """
    first = {tag.number: tag for tag in _own_tags(metadata, width, height)}
    pages: dict[int, dict[int, Tag]] = {0: first}
    for part in metadata.parts:
        tag = tag_of(part)
        pages.setdefault(part.page, {})[tag.number] = tag
    return [list(pages.get(page, {}).values()) for page in range(max(pages) + 1)]


def _own_tags(metadata: Metadata, width: int, height: int) -> Iterator[Tag]:
    """Yield the tags of the first page from the fields of the metadata."""
    if metadata.exif:
        tags = parse_exif(resized(metadata.exif, width, height)).tags
        yield from (tag for tag in tags if tag.number not in (*_STORAGE, *_FIELDS, _REFERENCE))
    for resolution, unit in ((metadata.aspect, 1), (metadata.density, 2)):
        if resolution is not None:
            for number, value in zip(_RESOLUTION, resolution, strict=False):
                ratio = Fraction(value).limit_denominator(_FINEST)
                yield make_tag(number, RATIONAL, ratio.as_integer_ratio())
            yield make_tag(RESOLUTION_UNIT, SHORT, [unit])
    contents = {
        _XMP: metadata.xmp,
        _IPTC: metadata.iptc,
        _PHOTOSHOP: metadata.photoshop,
        _ICC: metadata.icc,
    }
    for number, content in contents.items():
        if content:
            yield Tag(number, BYTE if number == _XMP else UNDEFINED, content)


def is_stack(metadata: Metadata) -> bool:
    """Return whether ImageJ's description declares that the pages are contiguous."""
    return any(part.name == _DESCRIPTIONS["I"].name for part in metadata.parts)


def without_stack(metadata: Metadata) -> Metadata:
    """Remove the parts that ImageJ reads only if the pages are contiguous."""
    names = (_DESCRIPTIONS["I"].name, _KINDS[_IMAGEJ].name)
    return replace(metadata, parts=tuple(part for part in metadata.parts if part.name not in names))


def nodata_of(metadata: Metadata) -> str:
    """Return GDAL's value of samples without data, "" for none, or for NaN, which filters keep."""
    parts = [part for part in metadata.parts if part.name == _KINDS[GDAL_NODATA].name]
    texts = [text_of(tag_of(part)) for part in parts]
    return next((text for text in map(str.strip, texts) if text.lower() != "nan"), "")
