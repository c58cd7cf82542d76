"""EXIF blocks, and the tags of a TIFF that describe a picture: each is a TIFF's directory."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, BinaryIO

from convcli.io.data import Metadata
from convcli.io.images.metadata.upright import orientation_of
from convcli.io.images.pillow import DIRECTORY_ERRORS, unguarded

if TYPE_CHECKING:
    from PIL.Image import Exif
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    _Tree = tuple[ImageFileDirectory_v2, dict[int, Any]]
    """A directory of tags, and the trees of the directories that it leads to, by their tags."""

_DESCRIPTION, _X_RESOLUTION, _Y_RESOLUTION, _UNIT, _XMP = 270, 282, 283, 296, 700
_STORAGE_DESCRIPTION = re.compile(r'ImageJ=|\{"shape":|(<\?xml[^>]*>\s*)?(<!--[\s\S]*?-->\s*)?<OME\b')
"""How a description begins that tells how pages are stored, of ImageJ, tifffile and OME: not of a picture."""

_EXIF, _GPS, _INTEROPERABILITY = 0x8769, 0x8825, 0xA005
_INNER = {None: (_EXIF, _GPS), _EXIF: (_INTEROPERABILITY,)}
"""The tags that lead to further directories, by the tag that led to the directory; None: directory 0."""

_WIDTH, _HEIGHT = 0xA002, 0xA003
_TIFF_HEADS = {b"II*\0": "<", b"MM\0*": ">"}
_LONG, _SLONG = 4, 9  # a TIFF's types of 32 bits
_CLASSIC_TYPES = {13: _LONG, 16: _LONG, 17: _SLONG, 18: _LONG}  # in place of offsets and numbers of 64 bits
_BIG_ENDIAN_BIG = b"MM\0+"
_CLASSIC_HEADS = {head[:2]: head + bytes(4) for head in _TIFF_HEADS}
# TIFF 6.0, section 8, EXIF 2.3, 4.6.4, and Windows' own: those that tell of the picture, and not how it is stored.
_SHORTS, _WINDOWS_TEXTS = (0x4746, 0x4749), tuple(range(0x9C9B, 0x9CA0))
_DESCRIBING = (269, 270, 271, 272, 285, 305, 306, 315, 316, 33432, *_SHORTS, *_WINDOWS_TEXTS)


def rewrite_exif(block: bytes, tags: Mapping[int, int]) -> bytes:
    r"""Return an EXIF block without its thumbnail (directory 1), and with these tags changed where it has them.

    Every value keeps its type; offsets within a maker note are not adjusted. Raises ValueError for what is no block.
    Source: EXIF 2.3 (CIPA DC-008), 4.5 and 4.6; TIFF 6.0, section 2.

    >>> entry = b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0"
    >>> rewrite_exif(b"II*\0\x08\0\0\0\x01\0" + entry + bytes(4), {0x0112: 1})[18:20]
    b'\x01\x00'
    """
    content = _without_name(block)
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


def is_exif(block: bytes) -> bool:
    """Return whether a block is one that `rewrite_exif` and Pillow read."""
    from PIL.Image import Exif

    try:
        with unguarded():
            rewrite_exif(block, {})
            tags = Exif()
            tags.load(b"Exif\0\0" + _without_name(block))
            orientation_of(tags)
    except DIRECTORY_ERRORS:
        return False
    return True


def has_thumbnail(block: bytes) -> bool:
    """Return whether a block that can be read has a directory 1."""
    content = _without_name(block)
    order = _TIFF_HEADS.get(content[:4])
    if order is None:
        return False
    try:
        (start,) = struct.unpack_from(f"{order}I", content, 4)
        (entries,) = struct.unpack_from(f"{order}H", content, start)
        (link,) = struct.unpack_from(f"{order}I", content, start + 2 + 12 * entries)
    except struct.error:
        return False
    return bool(link > 0)


def exif_orientation(block: bytes) -> int:
    """Return the orientation that a block which can be read tells; see `orientation_of`."""
    from PIL.Image import Exif

    tags = Exif()
    with unguarded():
        tags.load(b"Exif\0\0" + _without_name(block))
        return orientation_of(tags)


def exif_resolution(block: bytes) -> tuple[float, float, float] | None:
    """Return dots per unit along x and y, and how many make one per inch; None where it says none."""
    from PIL.Image import Exif

    tags = Exif()
    try:
        with unguarded():
            tags.load(b"Exif\0\0" + _without_name(block))
            scale = {2: 1.0, 3: 2.54}[tags[_UNIT]]
            return float(tags[_X_RESOLUTION]), float(tags[_Y_RESOLUTION]), scale
    except DIRECTORY_ERRORS:
        return None


def _without_name(block: bytes) -> bytes:
    """Return a block without the name that JPEG puts before it, and some writers twice."""
    return re.sub(rb"^(Exif\0\0){1,2}", b"", block)


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


def resized(block: bytes, width: int, height: int) -> bytes:
    return rewrite_exif(block, {_WIDTH: width, _HEIGHT: height})


def block_of_tags(given: Exif) -> bytes:
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
        tags.load(resized(metadata.exif, width, height))
    return _describing_tags(tags)[0] | ({_XMP: metadata.xmp} if metadata.xmp else {})


def unwritable_tags(block: bytes) -> list[str]:
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
