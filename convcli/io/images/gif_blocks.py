"""GIF: where its blocks lie, the frames that they make, and whether all samples of these are there.

Source: CompuServe, "Graphics Interchange Format, version 89a", 1990, 12, 18 to 23, and appendices B
and F.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import BinaryIO, NamedTuple

from convcli.io.images.animation import Disposal, Region
from convcli.io.images.integrity import CUT
from convcli.io.streams import available_bytes

FRAME, EXTENSION, TRAILER, END = b",", b"!", b";", b""
WIPED = 2
"""How a frame is disposed of before the next is shown: by transparency."""

_CONTROL = 0xF9  # the extension that tells the delay, the disposal and the transparent entry of the next frame
_CONTROL_BYTES = 8
_DISPOSALS = {WIPED: Disposal.CLEAR, 3: Disposal.RESTORE}
_SCREEN = 13  # bytes of a file before its palette
_LARGEST_CODE = 4096


class Block(NamedTuple):
    """A block: its kind, the label of an extension, where it lies, and how many stray bytes stand
    before it.

    kind: END where the file ends without a trailer.
    """

    kind: bytes
    label: int
    start: int
    end: int
    stray: int

    def read(self, stream: BinaryIO) -> bytes:
        """Return the sub-blocks of an extension as they are, with the empty one that ends them."""
        stream.seek(self.start + 2)
        return stream.read(self.end - self.start - 2)


def find_blocks(stream: BinaryIO) -> Iterator[Block]:
    """Yield the blocks up to the trailer. Raises ValueError where a block is cut.

    Empty bytes between blocks, which some writers leave there, count as nothing.
    """
    stream.seek(_SCREEN - 3)
    position = _SCREEN + palette_bytes(stream.read(1))
    kind = FRAME
    while kind not in (TRAILER, END):
        block = _find_block(stream, position)
        kind, position = block.kind, block.end
        yield block


def _find_block(stream: BinaryIO, position: int) -> Block:
    """Return the first block at a position or behind it. Raises ValueError where it is cut."""
    stream.seek(position)
    start, stray = position, 0
    while (kind := stream.read(1)) not in (FRAME, EXTENSION, TRAILER, END):
        stray += kind != b"\0"
        start += 1
    label, end = _skip_block(stream, kind)
    return Block(kind, label, start, end, stray)


def _skip_block(stream: BinaryIO, kind: bytes) -> tuple[int, int]:
    """Return the label of a block of that kind, and where it ends; the stream stands behind its
    first byte.
    """
    label = 0
    if kind == FRAME:
        stream.seek(palette_bytes(stream.read(9)[8:]) + 1, os.SEEK_CUR)
    elif kind == EXTENSION:
        label = int.from_bytes(stream.read(1), "big")
    while kind in (FRAME, EXTENSION) and (length := stream.read(1)) != b"\0":
        if not length:
            raise ValueError(CUT)
        stream.seek(length[0], os.SEEK_CUR)
    return label, stream.tell()


def palette_bytes(flags: bytes) -> int:
    """Return the bytes of the palette that flags, of a screen or a frame, declare."""
    return 3 * 2 ** ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0


def join_sub_blocks(content: bytes) -> bytes:
    r"""Return what sub-blocks hold, without their lengths.

    >>> join_sub_blocks(b"\x02ab\x01c\0")
    b'abc'
    """
    pieces, start = [], 0
    while start < len(content) and content[start]:
        pieces.append(content[start + 1 : start + 1 + content[start]])
        start += 1 + content[start]
    return b"".join(pieces)


def split_sub_blocks(content: bytes) -> bytes:
    r"""Return content as sub-blocks, with the empty one that ends them.

    >>> split_sub_blocks(b"abc")
    b'\x03abc\x00'
    """
    pieces = [content[start : start + 255] for start in range(0, len(content), 255)]
    return b"".join(bytes([len(piece)]) + piece for piece in pieces) + b"\0"


class _Frame(NamedTuple):
    """A frame: its descriptor, its own palette, and as sub-blocks behind the size of a code its
    compressed samples.
    """

    descriptor: bytes
    palette: bytes
    data: bytes


def _read_frame(stream: BinaryIO, block: Block) -> _Frame:
    stream.seek(block.start + 1)
    descriptor = stream.read(9)
    palette = stream.read(palette_bytes(descriptor[8:]))
    return _Frame(descriptor, palette, stream.read(block.end - stream.tell()))


def read_regions(stream: BinaryIO) -> Iterator[Region]:
    """Yield the frames, up to where the file is cut; a disposal that the format does not define
    keeps them.
    """
    stream.seek(_SCREEN - 3)
    flags = stream.read(1)
    stream.seek(_SCREEN)
    screen = flags + bytes(2) + stream.read(palette_bytes(flags))
    control = b""
    try:
        for block in find_blocks(stream):
            if block.kind == EXTENSION and block.label == _CONTROL:
                control = block.read(stream)[1:5]
            elif block.kind == FRAME:
                yield _region(screen, control, _read_frame(stream, block))
                control = b""
    except ValueError:
        return


def _region(screen: bytes, control: bytes, frame: _Frame) -> Region:
    """Return a frame: as a file of its size, without its place, delay and disposal.

    screen: flags and palette of the file. control: the block before the frame, or b"".
    """
    left, top, width, height = struct.unpack_from("<4H", frame.descriptor)
    flags, delay, transparent = struct.unpack("<BHB", control) if len(control) == 4 else (0, 0, 0)
    size = struct.pack("<2H", width, height)
    drawn = b"!\xf9\x04" + bytes([flags & 1, 0, 0, transparent, 0])
    head = b"GIF89a" + size + screen + drawn + b"," + bytes(4) + size
    picture = head + frame.descriptor[8:] + frame.palette + frame.data + b";"
    duration = 10 * delay if control else None
    disposal = _DISPOSALS.get(flags >> 2 & 7, Disposal.KEEP)
    return Region(picture, left, top, width, height, duration, blend=True, disposal=disposal)


def find_damage(stream: BinaryIO) -> str:
    """Return what is wrong with a file by its blocks, up to the trailer, in words, or "".

    Bytes between blocks, and a missing trailer, are no damage where all samples are there.
    """
    try:
        blocks = list(find_blocks(stream))
    except ValueError as error:
        return str(error)
    misplaced = "there is no block where one should begin"
    last = blocks[-1]
    is_cut_off = (
        last.kind == TRAILER and last.stray and available_bytes(stream, last.end + 1) > last.end
    )
    if (
        blocks[0].stray
        or is_cut_off
        or any(_hides_a_block(stream, *pair) for pair in pairwise(blocks))
    ):
        return misplaced
    if any(block.stray for block in blocks) and not _has_all_samples(stream, blocks):
        return misplaced
    return CUT if blocks[-1].kind == END and not _has_all_samples(stream, blocks) else ""


def _hides_a_block(stream: BinaryIO, before: Block, after: Block) -> bool:
    """Return whether the bytes between two blocks are one whose first byte is another, or the end
    of one.

    Its beginning is in the first of the two, where bytes of that are missing; not if that is a
    frame.
    """
    if not after.stray:
        return False
    if any(_ends_at(stream, before.end + 1, kind, after.start) for kind in (FRAME, EXTENSION)):
        return True
    if before.kind == FRAME:
        return False
    if before.label == _CONTROL and before.end - before.start != _CONTROL_BYTES:
        return True
    content = before.read(stream)
    for start in (
        before.start + 2 + at for at, byte in enumerate(content) if byte in FRAME + EXTENSION
    ):
        position, stray = start, 0
        try:
            while position < after.start and not stray:
                block = _find_block(stream, position)
                position, stray = block.end, block.stray + block.start - position
        except ValueError:
            continue
        if position == after.start and not stray:
            return True
    return False


def _ends_at(stream: BinaryIO, start: int, kind: bytes, end: int) -> bool:
    """Return whether a block of that kind, whose first byte stands before `start`, ends there."""
    stream.seek(start)
    try:
        return _skip_block(stream, kind)[1] == end
    except ValueError:
        return False


def _has_all_samples(stream: BinaryIO, blocks: Sequence[Block]) -> bool:
    """Return whether there is a frame, and each frame's samples end where its sub-blocks do."""
    frames = [block for block in blocks if block.kind == FRAME]
    return bool(frames) and all(_is_whole(_read_frame(stream, frame)) for frame in frames)


def _is_whole(frame: _Frame) -> bool:
    """Return whether a frame's codes make all of its samples and no more, and nothing follows them."""
    width, height = struct.unpack_from("<2H", frame.descriptor, 4)
    size = frame.data[0]
    if not 1 < size < 9:
        return False
    clear = 1 << size
    lengths: list[int] = []
    count, before, bits, bit_count, width_of_code = 0, 0, 0, 0, size + 1
    data = join_sub_blocks(frame.data[1:])
    for place, byte in enumerate(data, 1):
        bits |= byte << bit_count
        bit_count += 8
        while bit_count >= width_of_code:
            code = bits & ((1 << width_of_code) - 1)
            bits >>= width_of_code
            bit_count -= width_of_code
            if code == clear:
                lengths, width_of_code, before = [1] * clear + [0, 0], size + 1, 0
            elif code == clear + 1:
                return bool(count == width * height and place == len(data))
            elif code > len(lengths) or (code == len(lengths) and not before):
                return False
            else:
                if before and len(lengths) < _LARGEST_CODE:
                    lengths.append(before + 1)
                before = lengths[code]
                count += before
                if len(lengths) == 1 << width_of_code and width_of_code < 12:
                    width_of_code += 1
    return bool(count == width * height)
