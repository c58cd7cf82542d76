"""Read a picture's metadata and write it to the output, as far as the output's format holds it.

Metadata is read for the upright picture: the orientation is reset, the density swapped with the axes, an embedded
thumbnail dropped. Tags of a TIFF that describe the picture are EXIF; an EXIF block is a TIFF directory.
"""

from __future__ import annotations

import io
import math
import re
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from convcli.io.data import NO_METADATA, Metadata
from convcli.io.formats import Format
from convcli.io.images.pillow import DIRECTORY_ERRORS, unguarded

if TYPE_CHECKING:
    from PIL.Image import Exif
    from PIL.ImageFile import ImageFile
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    _Tree = tuple[ImageFileDirectory_v2, dict[int, Any]]
    """A directory of tags, and the trees of the directories that it leads to, by their tags."""

WORDS = {
    "icc": "ICC profile",
    "density": "density",
    "exif": "EXIF",
    "xmp": "XMP",
    "comment": "comment",
    "text": "text",
    "timing": "timing",
}
"""The kinds, as fields of Metadata, and their names."""

_COLOURS = {b"GRAY": "gray", b"RGB ": "RGB", b"CMYK": "CMYK", b"Lab ": "LAB"}  # ICC.1:2022, 7.2.6
_DENSEST = 65535  # dots per inch, which JFIF writes in 16 bits
COMMENT, XMP_TEXT, _RAW_PROFILE = "Comment", "XML:com.adobe.xmp", "Raw profile type "
_DESCRIPTION, _X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT, _XMP, _ICC = 270, 282, 283, 296, 700, 34675
_STORAGE_DESCRIPTION = re.compile(r'ImageJ=|\{"shape":|(<\?xml[^>]*>\s*)?(<!--[\s\S]*?-->\s*)?<OME\b')
"""How a description begins that tells how pages are stored, of ImageJ, tifffile and OME: not of a picture."""

_EXIF, _GPS, _INTEROPERABILITY = 0x8769, 0x8825, 0xA005
_INNER = {None: (_EXIF, _GPS), _EXIF: (_INTEROPERABILITY,)}
"""The tags that lead to further directories, by the tag that led to the directory; None: directory 0."""

_ORIENTATION, _WIDTH, _HEIGHT = 0x0112, 0xA002, 0xA003
_TIFF_HEADS = {b"II*\0": "<", b"MM\0*": ">"}
_LONG, _SLONG = 4, 9  # a TIFF's types of 32 bits
_CLASSIC_TYPES = {13: _LONG, 16: _LONG, 17: _SLONG, 18: _LONG}  # in place of offsets and numbers of 64 bits
_BIG_ENDIAN_BIG = b"MM\0+"
_CLASSIC_HEADS = {head[:2]: head + bytes(4) for head in _TIFF_HEADS}
_TRANSPOSED, _FROM_THE_RIGHT, _FROM_BELOW = (5, 6, 7, 8), (2, 3, 6, 7), (3, 4, 7, 8)
"""Orientations whose rows are columns, and those that begin at the other side. Source: TIFF 6.0, section 8."""

# TIFF 6.0, section 8, EXIF 2.3, 4.6.4, and Windows' own: those that tell of the picture, and not how it is stored.
_SHORTS, _WINDOWS_TEXTS = (0x4746, 0x4749), tuple(range(0x9C9B, 0x9CA0))
_DESCRIBING = (269, 270, 271, 272, 285, 305, 306, 315, 316, 33432, *_SHORTS, *_WINDOWS_TEXTS)
_XMP_ORIENTATION = re.compile(rb"""(tiff:Orientation(?:\s*=\s*["']|>\s*))[2-8]""")
_XMP_THUMBNAILS = re.compile(rb"<(xmp|xap):Thumbnails\b.*?</\1:Thumbnails>", re.DOTALL)


def orientation_of(exif: Exif) -> int:
    """Return the orientation of EXIF tags: 2 to 8, and 1 where the picture is upright or nothing valid is said."""
    given = exif.get(_ORIENTATION, 1)
    return given if given in range(2, 9) else 1


def swaps_axes(orientation: int) -> bool:
    """Return whether an orientation makes rows columns."""
    return orientation in _TRANSPOSED


def apply_orientation(picture: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return a view of a picture (H, W) or (H, W, C) as it is meant to be seen.

    >>> apply_orientation(np.array([[1, 2], [3, 4]]), 6).tolist()
    [[3, 1], [4, 2]]
    """
    upright = picture.swapaxes(0, 1) if swaps_axes(orientation) else picture
    row_step = -1 if orientation in _FROM_BELOW else 1
    column_step = -1 if orientation in _FROM_THE_RIGHT else 1
    return np.asarray(upright[::row_step, ::column_step])


def rewrite_exif(block: bytes, tags: Mapping[int, int]) -> bytes:
    r"""Return an EXIF block without its thumbnail (directory 1), and with these tags changed where it has them.

    Every value keeps its type; offsets within a maker note are not adjusted. Raises ValueError for what is no block.
    Source: EXIF 2.3 (CIPA DC-008), 4.5 and 4.6; TIFF 6.0, section 2.

    >>> entry = b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0"
    >>> rewrite_exif(b"II*\0\x08\0\0\0\x01\0" + entry + bytes(4), {0x0112: 1})[18:20]
    b'\x01\x00'
    """
    content = re.sub(rb"^(Exif\0\0){1,2}", b"", block)
    order = _TIFF_HEADS.get(content[:4])
    try:
        if order is None:
            raise ValueError("no TIFF header")
        (first,) = struct.unpack_from(f"{order}I", content, 4)
        head = content[:4] + struct.pack(f"{order}I", 8)
        stream = io.BytesIO(content + bytes(4))  # some writers leave out the link to directory 1
        return head + _rewrite(stream, head, first, 8, tags)
    except DIRECTORY_ERRORS as error:
        raise ValueError("no EXIF block") from error


def _rewrite(
    stream: BinaryIO, head: bytes, start: int, offset: int, tags: Mapping[int, int], group: int | None = None
) -> bytes:
    """Return the directory at `start` as it is written at `offset`, followed by those that it leads to."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    directory = ImageFileDirectory_v2(head, group=group)
    directory.next = -1
    stream.seek(start)
    directory.load(stream)
    if directory.next < 0:
        raise ValueError("the directory is cut")
    for tag in directory:
        directory[tag] = _encode_text(directory[tag])  # which decodes it: Pillow writes no other
    for tag in tags.keys() & set(directory):
        directory.tagtype[tag] = _LONG
        directory[tag] = tags[tag]

    # Its size, which the offsets of inner directories do not change, says where these are written.
    end = offset + len(directory.tobytes(offset))
    inner = b""
    for tag in sorted(directory.keys() & _INNER.get(group, ())):
        inner_start = directory[tag]
        inner_offset = end + len(inner)
        directory[tag] = inner_offset
        try:
            inner += _rewrite(stream, head, inner_start, inner_offset, tags, tag)
        except DIRECTORY_ERRORS:
            inner += bytes(6)  # no entries, and no next directory
    return directory.tobytes(offset) + inner


def read_metadata(image: ImageFile, orientation: int) -> Metadata:
    """Return the metadata of a picture that is decoded and still open; what cannot be read is left out."""
    info = image.info
    comment, text = info.get("comment", b""), dict(getattr(image, "text", {}))
    if COMMENT in text:
        comment = text.pop(COMMENT)
    return Metadata(
        icc=info.get("icc_profile") or b"",
        density=_density(image, turned=swaps_axes(orientation)),
        exif=_exif(image),
        xmp=_upright_xmp(_as_bytes(info.get("xmp", b""))),
        comment=_as_bytes(comment),
        text=tuple((key, value) for key, value in text.items() if _is_text(key)),
    )


def carry_over(
    metadata: Metadata, form: Format, channels: int, *, same_type: bool, frames: int = 1
) -> tuple[Metadata, tuple[str, ...]]:
    """Return the metadata that an output of that format holds, and in words what is dropped, and why.

    channels, frames: of the output. same_type: whether its numbers are of the input's type, which a profile describes.

    >>> from convcli.io.formats import lookup
    >>> carry_over(Metadata(comment=b"a cat", density=(300, 300)), lookup("bmp"), 3, same_type=True)
    (Metadata(icc=b'', density=(300, 300), exif=b'', xmp=b'', comment=b'', text=(), timing=None, unheld=()), \
('comment: bmp holds none',))
    """
    dropped = {kind: why for kind in WORDS if getattr(metadata, kind) and (why := _refusal(metadata, kind, form))}
    if metadata.icc and "icc" not in dropped and (why := _profile_mismatch(metadata.icc, form, channels, same_type)):
        dropped["icc"] = why
    if metadata.timing and "timing" not in dropped and frames != len(metadata.timing.durations):
        dropped["timing"] = f"it is of {len(metadata.timing.durations)} frames, the output has {frames}"
    left = replace(metadata, **{kind: getattr(NO_METADATA, kind) for kind in dropped})
    if form.pillow == "TIFF" and (tags := _unwritable_tags(left.exif) if left.exif else []):
        dropped["exif"] = f"a TIFF does not hold such values of {', '.join(tags)}"
    lost = [f"{WORDS[kind]}: {why}" for kind, why in dropped.items()]
    lost += [f"{name}: not carried over" for name in metadata.unheld]
    return replace(left, unheld=()), tuple(lost)


def kinds(metadata: Metadata) -> list[str]:
    """Return the names of the kinds that are there.

    >>> kinds(Metadata(xmp=b"<x/>", density=(72, 72)))
    ['density', 'XMP']
    """
    return [word for kind, word in WORDS.items() if getattr(metadata, kind)]


def encoder_options(metadata: Metadata, width: int, height: int) -> dict[str, Any]:
    """Return the metadata as options of most of Pillow's encoders, for a picture of that size."""
    given: dict[str, Any] = {
        "icc_profile": metadata.icc,
        "dpi": metadata.density,
        "exif": _resized(metadata.exif, width, height) if metadata.exif else b"",
        "xmp": metadata.xmp,
        "comment": metadata.comment,
    }
    if metadata.timing:
        given["duration"] = [float(duration) for duration in metadata.timing.durations]
        given["loop"] = metadata.timing.plays
    return given


def _refusal(metadata: Metadata, kind: str, form: Format) -> str:
    """Return why a format does not hold a kind, or ""."""
    limit = form.metadata_limits.get(kind, 0)
    if not limit:
        return f"{form.name} holds none"
    value = getattr(metadata, kind)
    too_long = isinstance(value, bytes) and len(value) > limit
    return f"{form.name} holds at most {limit:,} bytes" if too_long else ""


def _profile_mismatch(profile: bytes, form: Format, channels: int, same_type: bool) -> str:
    """Return why a profile does not describe the samples of an output, or ""."""
    described = _COLOURS.get(profile[16:20], "other")
    colours = "gray" if channels < 3 and form.gray else "RGB"
    if described != colours:
        return f"it describes {described} samples, the output is {colours}"
    return "" if same_type else "it describes samples of the input's number type"


def _density(image: ImageFile, *, turned: bool) -> tuple[float, float] | None:
    """Return the dots per inch along x and y of the upright picture, None if the file does not tell them."""
    if image.format == "TIFF" and _X_RESOLUTION not in getattr(image, "tag_v2", ()):
        return None  # Pillow sets a default
    return _valid_density(image.info.get("dpi"), 1, turned=turned)


def _valid_density(density: Any, scale: float, *, turned: bool) -> tuple[float, float] | None:
    try:
        x, y = (float(value) * scale for value in density)
    except DIRECTORY_ERRORS:
        return None
    if not all(math.isfinite(value) and 0.5 <= value <= _DENSEST for value in (x, y)):
        return None
    return (y, x) if turned else (x, y)


def _exif(image: ImageFile) -> bytes:
    with suppress(*DIRECTORY_ERRORS):
        block = image.info.get("exif")
        if isinstance(block, bytes) and block:
            return rewrite_exif(block, {_ORIENTATION: 1})
        return _block_of_tags(image.getexif())
    return b""


def _resized(block: bytes, width: int, height: int) -> bytes:
    return rewrite_exif(block, {_WIDTH: width, _HEIGHT: height})


def _block_of_tags(given: Exif) -> bytes:
    """Return a block of the describing tags of a TIFF, or of a PNG that holds EXIF as text; b"" if there are none."""
    from PIL.Image import Exif

    fresh = Exif()
    fresh.update(_describing_tags(given)[0])
    return rewrite_exif(fresh.tobytes(), {}) if len(fresh) else b""


def tiff_tags(metadata: Metadata, width: int, height: int) -> dict[int, Any]:
    """Return EXIF and XMP as the tags of a TIFF of that size: numbers, text, bytes, and directories by their tags."""
    from PIL.Image import Exif

    tags = Exif()
    if metadata.exif:
        tags.load(_resized(metadata.exif, width, height))
    return _describing_tags(tags)[0] | ({_XMP: metadata.xmp} if metadata.xmp else {})


def _unwritable_tags(block: bytes) -> list[str]:
    """Return the names of the tags of an EXIF block whose values `tiff_tags` leaves out."""
    from PIL.Image import Exif

    tags = Exif()
    try:
        tags.load(block)
        return _describing_tags(tags)[1]
    except DIRECTORY_ERRORS:
        return []


def read_tiff_exif(stream: BinaryIO, head: bytes, start: int) -> tuple[bytes, list[str]]:
    """Return the tags of a TIFF's directory that describe the picture as an EXIF block, and the names of what is cut.

    head: of the file, up to its first offset, also of a BigTIFF. start: the offset of the directory. Every value keeps
    its type; one that cannot be read, such as a directory outside the file, is left out. b"" for no tag at all.
    """
    left_out: list[str] = []
    directory, inner = _read_tree(stream, head, start, None, left_out)
    if not len(directory) and not inner:
        return b"", left_out
    classic_head = directory.prefix + (b"*\0" if directory.prefix == b"II" else b"\0*")
    first = struct.pack("<I" if directory.prefix == b"II" else ">I", 8)
    return classic_head + first + _tree_bytes(directory, inner, 8), left_out


def new_directory(head: bytes, group: int | None = None) -> ImageFileDirectory_v2:
    """Return an empty directory of a TIFF with this head, whose `next` is the offset in it.

    Pillow takes a big-endian BigTIFF for a classic one.
    """
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    if not head.startswith(_BIG_ENDIAN_BIG):
        return ImageFileDirectory_v2(head, group=group)
    directory = ImageFileDirectory_v2(_CLASSIC_HEADS[b"MM"], group=group)
    directory._bigtiff = True
    directory.next = int.from_bytes(head[8:16], "big")
    return directory


def _read_tree(stream: BinaryIO, head: bytes, start: int, group: int | None, left_out: list[str]) -> _Tree:
    """Return the describing tags of a directory, and the directories that it leads to, by their tags.

    Adds the names of what cannot be read to `left_out`; raises ValueError for a directory that is cut or empty.
    """
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    given = new_directory(head, group)
    given.next = -1
    stream.seek(start)
    with unguarded():
        given.load(stream)
    if given.next < 0 or not len(given):
        raise ValueError("the directory is cut")

    # A BigTIFF's numbers of 64 bits become such as EXIF has.
    fresh = ImageFileDirectory_v2(_CLASSIC_HEADS[head[:2]], group=group)
    for tag in given:
        leads_on = tag in _INNER.get(group, ())
        if not leads_on and (group is not None or tag in _DESCRIBING):
            value = _encode_text(given[tag])
            kind = _CLASSIC_TYPES.get(given.tagtype[tag], given.tagtype[tag])
            if _is_storable(fresh, tag, value, kind):
                fresh.tagtype[tag] = kind
                fresh[tag] = value
            else:
                left_out.append(_tag_name(tag, group))
    if group is None and _STORAGE_DESCRIPTION.match(str(fresh.get(_DESCRIPTION, ""))):
        del fresh[_DESCRIPTION]

    inner: dict[int, _Tree] = {}
    for tag in given.keys() & set(_INNER.get(group, ())):
        try:
            inner[tag] = _read_tree(stream, head, given[tag], tag, left_out)
        except DIRECTORY_ERRORS:
            left_out.append(_tag_name(tag, group))
    return fresh, inner


def _tree_bytes(directory: ImageFileDirectory_v2, inner: Mapping[int, _Tree], offset: int) -> bytes:
    """Return a directory as it is written at an offset, followed by those that it leads to."""
    for tag in inner:
        directory.tagtype[tag] = _LONG
        directory[tag] = 0
    end = offset + len(directory.tobytes(offset))
    content = b""
    for tag, tree in sorted(inner.items()):
        directory[tag] = end + len(content)
        content += _tree_bytes(*tree, end + len(content))
    return directory.tobytes(offset) + content


def _is_storable(like: ImageFileDirectory_v2, tag: int, value: Any, kind: int | None = None) -> bool:
    """Return whether a directory of that group stores a value, as that type or as the one that the tag has."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    directory = ImageFileDirectory_v2(group=like.group)
    try:
        if kind is not None:
            directory.tagtype[tag] = kind
        directory[tag] = value
        directory.tobytes()
    except DIRECTORY_ERRORS:
        return False
    return True


def _tag_name(tag: int, group: int | None) -> str:
    from PIL import TiffTags

    name = TiffTags.lookup(tag, group).name
    return f"tag {tag}" if name == "unknown" else name


def read_tags(tags: Exif, *, turned: bool) -> Metadata:
    """Return the metadata in a TIFF's tags; `turned`: its orientation swapped the axes."""
    scale = {2: 1.0, 3: 2.54}.get(tags.get(_RESOLUTION_UNIT, 2))
    resolution = (tags.get(_X_RESOLUTION), tags.get(_Y_RESOLUTION))
    return Metadata(
        icc=_as_bytes(tags.get(_ICC, b"")),
        density=_valid_density(resolution, scale, turned=turned) if scale else None,
        exif=_block_of_tags(tags),
        xmp=_upright_xmp(_as_bytes(tags.get(_XMP, b""))),
    )


def _describing_tags(given: Exif) -> tuple[dict[int, Any], list[str]]:
    """Return the tags that describe the picture, without those that say how it is stored.

    Besides, the names of those that are left out, as a TIFF's tag does not hold such a value.
    """
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    left_out = [_tag_name(tag, None) for tag in _DESCRIBING if tag in given and not _is_fit(tag, given[tag])]
    fresh = {tag: _encode_text(given[tag]) for tag in _DESCRIBING if tag in given and _is_fit(tag, given[tag])}
    if _STORAGE_DESCRIPTION.match(str(fresh.get(_DESCRIPTION, ""))):
        del fresh[_DESCRIPTION]
    for group in (_EXIF, _GPS):
        directory = ImageFileDirectory_v2(group=group)
        inner = {name: _encode_text(value) for name, value in given.get_ifd(group).items()}
        if _INTEROPERABILITY in inner:
            inner[_INTEROPERABILITY] = given.get_ifd(_INTEROPERABILITY)
        refused = [name for name, value in inner.items() if not _is_storable(directory, name, value)]
        left_out += [_tag_name(name, group) for name in refused]
        fresh |= {group: held} if (held := {name: inner[name] for name in inner if name not in refused}) else {}
    return fresh, left_out


def _is_fit(tag: int, value: Any) -> bool:
    """Return whether a describing tag has a value of the type that TIFF, or Windows, defines for it."""
    if tag in _SHORTS:
        return isinstance(value, int) and 0 <= value < 2**16
    return isinstance(value, bytes if tag in _WINDOWS_TEXTS else (str, bytes))


def _encode_text(value: Any) -> Any:
    """Return text beyond ASCII as the bytes that it was read from: Pillow reads Latin-1, and writes question marks."""
    return value.encode("latin-1", "replace") if isinstance(value, str) and not value.isascii() else value


def _is_text(key: str) -> bool:
    """Return whether a PNG's keyword may be written, and its text is held by no other kind."""
    return 1 <= len(key) < 80 and key != XMP_TEXT and not key.startswith(_RAW_PROFILE)


def _upright_xmp(packet: bytes) -> bytes:
    r"""Return a packet of XMP for the upright picture, without thumbnails.

    >>> _upright_xmp(b'<rdf:Description tiff:Orientation="6"><xmp:Thumbnails>...</xmp:Thumbnails>')
    b'<rdf:Description tiff:Orientation="1">'
    """
    return _XMP_THUMBNAILS.sub(b"", _XMP_ORIENTATION.sub(rb"\g<1>1", packet))


def _as_bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text
