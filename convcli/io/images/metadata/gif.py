"""Read and write the metadata in the blocks of a GIF.

Sources: CompuServe, "Graphics Interchange Format, version 89a", 1990, 18, 24 to 26; ICC.1:2022,
B.7; Adobe, "XMP Specification", part 3, 1.1.2.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from convcli.io.data import Metadata
from convcli.io.images.gif_blocks import (
    END,
    EXTENSION,
    TRAILER,
    Block,
    find_blocks,
    join_sub_blocks,
    split_sub_blocks,
)
from convcli.io.images.metadata.found import UNREADABLE, Found

_PLAIN_TEXT, _COMMENT, _CONTROL, _APPLICATION = 0x01, 0xFE, 0xF9, 0xFF
_XMP, _ICC = b"\x0bXMP DataXMP", b"\x0bICCRGBG1012"
_LOOPS = (b"\x0bNETSCAPE2.0", b"\x0bANIMEXTS1.0")
_MAGIC = b"\1" + bytes(range(255, -1, -1)) + b"\0"
"""The end of XMP, which is not in sub-blocks: readers that expect sub-blocks stop after it."""

_ASPECT = 12  # offset of the pixel aspect: (pixel width / pixel height) * 64 - 15
_BACKGROUND = 11  # offset of the background colour's palette entry
_EMPTY = 3  # bytes of an extension without content


def find_metadata(stream: BinaryIO) -> Found:
    """Read the metadata in the blocks of a file, up to where it is cut."""
    found = Found("gif")
    stream.seek(0)
    screen = stream.read(_ASPECT + 1)
    if len(screen) > _ASPECT:
        if screen[_ASPECT]:
            found.add_resolution(64, screen[_ASPECT] + 15, None)
        if screen[_BACKGROUND] and screen[_BACKGROUND - 1] & 0x80:
            found.add_stale("background colour")
    try:
        for block in find_blocks(stream):
            if block.stray:
                found.leave_out("bytes between blocks", "as they belong to none")
            if block.kind == END:
                found.warnings.append("the end of the GIF is missing; metadata may be missing too")
            if block.kind == TRAILER:
                found.note_rest(stream, block.end)
            if block.kind == EXTENSION and block.end - block.start == _EMPTY:
                found.edits[range(block.start, block.end)] = b""  # after which Pillow misreads
            elif block.kind == EXTENSION and block.label != _CONTROL:
                if not found.fits(block.end - block.start):
                    break
                _read(found, block, block.read(stream))
    except ValueError:  # the file is cut
        pass
    return found


def _read(found: Found, block: Block, content: bytes) -> None:
    """Read an extension, or leave it out."""
    if block.label == _COMMENT:
        found.comments.append(join_sub_blocks(content))
    elif block.label == _PLAIN_TEXT:
        found.add_stale("plain text")
    elif block.label != _APPLICATION:
        found.add_part(bytes([block.label]), f"extension {block.label}", content)
    elif content.startswith(_XMP):
        found.attempt("XMP", lambda: found.keep("xmp", _packet(content[len(_XMP) :])))
    elif content.startswith(_ICC):
        profile = join_sub_blocks(content[len(_ICC) :])
        found.attempt("ICC profile", lambda: found.keep("icc", profile))
    elif content[1:12] == b"C2PA_GIF\1\0\0":
        found.add_stale("C2PA")
    elif not content.startswith(_LOOPS):
        name = "".join(map(chr, filter(range(32, 127).__contains__, content[1:12])))
        found.add_part(bytes([block.label]), f"application extension {name}".rstrip(), content)


def _packet(content: bytes) -> bytes:
    """Return an XMP packet, which is not in sub-blocks, although some programs write it so."""
    if content.endswith(_MAGIC):
        return content[: -len(_MAGIC)]
    packet = join_sub_blocks(content)
    if not packet.startswith(b"<"):
        raise ValueError(UNREADABLE)
    return packet


def with_aspect(head: bytes, aspect: tuple[float, float] | None) -> bytes:
    """Set the pixel aspect in the first bytes of a file."""
    if not aspect:
        return head
    x, y = aspect
    factor = min(max(round(64 * y / x) - 15, 1), 255)
    return head[:_ASPECT] + bytes([factor]) + head[_ASPECT + 1 :]


def make_extensions(metadata: Metadata) -> Iterator[bytes]:
    """Yield the extensions to write before the first frame."""
    if metadata.icc:
        yield _extension(_APPLICATION, _ICC + split_sub_blocks(metadata.icc))
    if metadata.xmp:
        packet = metadata.xmp.rstrip(b"\0").replace(b"\0", b" ")
        yield _extension(_APPLICATION, _XMP + packet + _MAGIC)
    for comment in metadata.comments:
        yield _extension(_COMMENT, split_sub_blocks(comment))
    for part in metadata.parts:
        yield _extension(part.kind[0], part.content)


def _extension(label: int, content: bytes) -> bytes:
    return EXTENSION + bytes([label]) + content
