"""What a picture's file says besides its samples: carried along, and written as far as the output's format holds it.

Read as the samples are, upright: an orientation is reset, a density turned with the picture, an embedded thumbnail
dropped. A TIFF's tags that describe the picture are EXIF, whose block is a TIFF directory.
"""

from __future__ import annotations

import io
import math
import re
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from convcli.io.data import NO_METADATA, Metadata, Timing
from convcli.io.formats import Format
from convcli.io.images.pillow import DIRECTORY_ERRORS

if TYPE_CHECKING:
    from PIL.Image import Exif
    from PIL.ImageFile import ImageFile

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
_COMMENT, _XMP_TEXT, _RAW_PROFILE = "Comment", "XML:com.adobe.xmp", "Raw profile type "
_MOST = 65535  # in 16 bits: the numerator and the denominator of a PNG's seconds
_LONG_TEXT = 1024  # characters, above which a PNG's text is compressed
_DESCRIPTION, _X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT, _XMP, _ICC = 270, 282, 283, 296, 700, 34675
_STORED = re.compile(r'ImageJ=|\{"shape":|(<\?xml[^>]*>\s*)?(<!--[\s\S]*?-->\s*)?<OME\b')
"""How a description begins that tells how pages are stored, of ImageJ, tifffile and OME: not of a picture."""

_EXIF, _GPS, _INTEROPERABILITY = 0x8769, 0x8825, 0xA005
_INNER = {None: (_EXIF, _GPS), _EXIF: (_INTEROPERABILITY,)}
"""The tags that lead to further directories, by the tag that led to the directory; None: directory 0."""

_ORIENTATION, _WIDTH, _HEIGHT = 0x0112, 0xA002, 0xA003
_TIFF_HEADS = {b"II*\0": "<", b"MM\0*": ">"}
_LONG = 4  # a TIFF's type of 32 bits
_TRANSPOSED, _FROM_THE_RIGHT, _FROM_BELOW = (5, 6, 7, 8), (2, 3, 6, 7), (3, 4, 7, 8)
"""Orientations whose rows are columns, and those that begin at the other side. Source: TIFF 6.0, section 8."""

# TIFF 6.0, section 8, EXIF 2.3, 4.6.4, and Windows' own: those that tell of the picture, and not how it is stored.
_DESCRIBING = (269, 270, 271, 272, 285, 305, 306, 315, 316, 33432, 0x4746, 0x4749, *range(0x9C9B, 0x9CA0))
_XMP_TURNED = re.compile(rb"""(tiff:Orientation(?:\s*=\s*["']|>\s*))[2-8]""")
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
        directory[tag] = _encoded(directory[tag])  # which decodes it: Pillow writes no other
    for tag in tags.keys() & set(directory):
        directory.tagtype[tag] = _LONG
        directory[tag] = tags[tag]

    # The directories behind it have places once its own size is known, which these places do not change.
    end = offset + len(directory.tobytes(offset))
    behind = b""
    for tag in _INNER.get(group, ()):
        if tag in directory:
            start, directory[tag] = directory[tag], end + len(behind)
            try:
                behind += _rewrite(stream, head, start, end + len(behind), tags, tag)
            except DIRECTORY_ERRORS:
                behind += bytes(6)  # no entries, and no directory behind it
    return directory.tobytes(offset) + behind


def read_metadata(image: ImageFile, orientation: int) -> Metadata:
    """What a picture, decoded and still open, says besides its samples; what cannot be read is left out."""
    info = image.info
    comment, text = info.get("comment", b""), dict(getattr(image, "text", {}))
    if _COMMENT in text:
        comment = text.pop(_COMMENT)
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
    """What of it an output of that format holds, and in words what it does not, and why.

    channels, frames: of the output. same_type: whether its numbers are of the input's type, which a profile describes.

    >>> from convcli.io.formats import lookup
    >>> carry_over(Metadata(comment=b"a cat", density=(300, 300)), lookup("bmp"), 3, same_type=True)
    (Metadata(icc=b'', density=(300, 300), exif=b'', xmp=b'', comment=b'', text=(), timing=None), \
('comment: bmp holds none',))
    """
    dropped = {kind: why for kind in WORDS if getattr(metadata, kind) and (why := _obstacle(metadata, kind, form))}
    if metadata.icc and "icc" not in dropped and (why := _undescribed(metadata.icc, form, channels, same_type)):
        dropped["icc"] = why
    if metadata.timing and "timing" not in dropped and frames != len(metadata.timing.durations):
        dropped["timing"] = f"it is of {len(metadata.timing.durations)} frames, the output has {frames}"
    left = replace(metadata, **{kind: getattr(NO_METADATA, kind) for kind in dropped})
    return left, tuple(f"{WORDS[kind]}: {why}" for kind, why in dropped.items())


def kinds(metadata: Metadata) -> list[str]:
    """The names of what there is.

    >>> kinds(Metadata(xmp=b"<x/>", density=(72, 72)))
    ['density', 'XMP']
    """
    return [word for kind, word in WORDS.items() if getattr(metadata, kind)]


def options(metadata: Metadata, form: Format, width: int, height: int) -> dict[str, Any]:
    """The metadata, as Pillow's encoder of that format takes it, for a picture of that size."""
    block = _resized(metadata.exif, width, height) if metadata.exif else b""
    given: dict[str, Any] = {
        "icc_profile": metadata.icc,
        "dpi": metadata.density,
        "exif": block,
        "xmp": metadata.xmp,
        "comment": metadata.comment,
    }
    if form.pillow == "PNG":
        given["pnginfo"] = _png_text(metadata)
    elif form.pillow == "TIFF":
        given["exif"], given["tiffinfo"] = b"", tiff_tags(metadata, width, height)
    elif form.pillow == "JPEG" and block:
        given["exif"] = b"Exif\0\0" + block
    if metadata.timing:
        given |= _played(metadata.timing, form)
    return {name: value for name, value in given.items() if value or name == "loop"}


def timing(durations: list[float], info: dict[Any, Any], form: Format) -> Timing:
    """How an animation plays, whose format counts how often as GIF does, which says nothing for once, or as others."""
    given = info.get("loop")
    if form.pillow != "GIF":
        return Timing(tuple(durations), given or 0)
    return Timing(tuple(durations), 1 if given is None else given and given + 1)


def _played(timing: Timing, form: Format) -> dict[str, Any]:
    """The same as Pillow's encoder takes it."""
    fraction = _fraction if form.pillow == "PNG" else float
    return {"duration": [fraction(duration) for duration in timing.durations], "loop": timing.plays}


def _fraction(duration: float) -> float:
    """Milliseconds as a PNG holds them: a fraction of seconds, of two numbers of 16 bits.

    >>> _fraction(41.7), _fraction(70_004), _fraction(1e9)
    (41.7, 70000, 65535000)
    """
    if duration <= _MOST:
        return duration
    step = next((step for step in (10, 100, 1000) if duration <= step * _MOST), 1000)
    return min(round(duration / step), _MOST) * step


def _obstacle(metadata: Metadata, kind: str, form: Format) -> str:
    """Why a format does not hold a kind, or ""."""
    most = form.metadata_limits.get(kind, 0)
    if not most:
        return f"{form.name} holds none"
    value = getattr(metadata, kind)
    return f"{form.name} holds at most {most:,} bytes" if isinstance(value, bytes) and len(value) > most else ""


def _undescribed(profile: bytes, form: Format, channels: int, same_type: bool) -> str:
    """Why a profile says nothing of the samples of an output, or ""."""
    described = _COLOURS.get(profile[16:20], "other")
    colours = "gray" if channels < 3 and form.gray else "RGB"
    if described != colours:
        return f"it describes {described} samples, the output is {colours}"
    return "" if same_type else "it describes samples of the input's number type"


def _density(image: ImageFile, *, turned: bool) -> tuple[float, float] | None:
    """Dots per inch along x and y as the picture stands, where the file tells them."""
    if image.format == "TIFF" and _X_RESOLUTION not in getattr(image, "tag_v2", ()):
        return None  # Pillow makes one up
    return _usable(image.info.get("dpi"), 1, turned=turned)


def _usable(density: Any, scale: float, *, turned: bool) -> tuple[float, float] | None:
    try:
        x, y = (float(value) * scale for value in density)
    except DIRECTORY_ERRORS:
        return None
    usable = all(math.isfinite(value) and 0.5 <= value <= _DENSEST for value in (x, y))
    return ((y, x) if turned else (x, y)) if usable else None


def _exif(image: ImageFile) -> bytes:
    with suppress(*DIRECTORY_ERRORS):
        block = image.info.get("exif")
        if isinstance(block, bytes) and block:
            return rewrite_exif(block, {_ORIENTATION: 1})
        return _rebuilt(image.getexif())
    return b""


def _resized(block: bytes, width: int, height: int) -> bytes:
    return rewrite_exif(block, {_WIDTH: width, _HEIGHT: height})


def _rebuilt(given: Exif) -> bytes:
    """A block of the describing tags of a TIFF, or of a PNG that holds EXIF as text; b"" where there are none."""
    from PIL.Image import Exif

    fresh = Exif()
    fresh.update(_described(given))
    return rewrite_exif(fresh.tobytes(), {}) if len(fresh) else b""


def tiff_tags(metadata: Metadata, width: int, height: int) -> dict[int, Any]:
    """EXIF and XMP as the tags of a TIFF of that size: numbers, text, bytes, and directories by their tags."""
    from PIL.Image import Exif

    tags = Exif()
    if metadata.exif:
        tags.load(_resized(metadata.exif, width, height))
    return _described(tags) | ({_XMP: metadata.xmp} if metadata.xmp else {})


def read_tags(tags: Exif, *, turned: bool) -> Metadata:
    """What a TIFF's tags say besides its samples, which was turned to stand upright."""
    scale = {2: 1.0, 3: 2.54}.get(tags.get(_RESOLUTION_UNIT, 2))
    resolution = (tags.get(_X_RESOLUTION), tags.get(_Y_RESOLUTION))
    return Metadata(
        icc=_as_bytes(tags.get(_ICC, b"")),
        density=_usable(resolution, scale, turned=turned) if scale else None,
        exif=_rebuilt(tags),
        xmp=_upright_xmp(_as_bytes(tags.get(_XMP, b""))),
    )


def _described(given: Exif) -> dict[int, Any]:
    """The tags that describe the picture, and nothing of how it is stored."""
    fresh = {tag: _encoded(given[tag]) for tag in _DESCRIBING if tag in given}
    if _STORED.match(str(given.get(_DESCRIPTION, ""))):
        del fresh[_DESCRIPTION]
    for tag in (_EXIF, _GPS):
        inner = {name: _encoded(value) for name, value in given.get_ifd(tag).items()}
        if _INTEROPERABILITY in inner:
            inner[_INTEROPERABILITY] = given.get_ifd(_INTEROPERABILITY)
        fresh |= {tag: inner} if inner else {}
    return fresh


def _encoded(value: Any) -> Any:
    """Text beyond ASCII as the bytes that it was read from: Pillow reads Latin-1, and would write question marks."""
    return value.encode("latin-1", "replace") if isinstance(value, str) and not value.isascii() else value


def _png_text(metadata: Metadata) -> Any:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    for key, value in _texts(metadata):
        info.add_text(key, value, zip=len(value) > _LONG_TEXT)
    if metadata.xmp:
        info.add_itxt(_XMP_TEXT, metadata.xmp.decode("utf-8", "replace"))
    return info if info.chunks else None


def _texts(metadata: Metadata) -> Iterator[tuple[str, str]]:
    yield from metadata.text
    if metadata.comment:
        yield _COMMENT, _as_text(metadata.comment)


def _is_text(key: str) -> bool:
    """Whether a PNG's keyword is one that may be written, and whose text no other kind holds."""
    return 1 <= len(key) < 80 and key != _XMP_TEXT and not key.startswith(_RAW_PROFILE)


def _upright_xmp(packet: bytes) -> bytes:
    r"""A packet of XMP whose picture stands upright, without thumbnails.

    >>> _upright_xmp(b'<rdf:Description tiff:Orientation="6"><xmp:Thumbnails>...</xmp:Thumbnails>')
    b'<rdf:Description tiff:Orientation="1">'
    """
    return _XMP_THUMBNAILS.sub(b"", _XMP_TURNED.sub(rb"\g<1>1", packet))


def _as_bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def _as_text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("latin-1")
