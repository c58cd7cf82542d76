"""Find the blocks of a GIF and its frames, and check that all samples are there.

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
KEPT, WIPED = 1, 2
"""The disposals that keep, and that clear, a frame's area before the next frame is shown."""

_CONTROL = 0xF9  # the extension with the next frame's delay, disposal and transparent entry
_CONTROL_BYTES = 8
_DISPOSALS = {WIPED: Disposal.CLEAR, 3: Disposal.RESTORE}
_SCREEN = 13  # bytes of a file before its palette
_LARGEST_CODE = 4096


class Block(NamedTuple):
    """A block: its kind, its label if it is an extension, and where it starts and ends.

    kind: END if the file ends without a trailer. stray: nonzero bytes between the block and the one
    before it.
    """

    kind: bytes
    label: int
    start: int
    end: int
    stray: int

    def read(self, stream: BinaryIO) -> bytes:
        """Return the sub-blocks of an extension as stored, with the empty one that ends them."""
        stream.seek(self.start + 2)
        return stream.read(self.end - self.start - 2)


def find_blocks(stream: BinaryIO) -> Iterator[Block]:
    """Yield the blocks up to the trailer. Raises ValueError if a block is cut.

    Zero bytes between blocks, which some programs write, are ignored.
    """
    stream.seek(_SCREEN - 3)
    position = _SCREEN + palette_bytes(stream.read(1))
    kind = FRAME
    while kind not in (TRAILER, END):
        block = _find_block(stream, position)
        kind, position = block.kind, block.end
        yield block


def _find_block(stream: BinaryIO, position: int) -> Block:
    """Return the first block at a position or after it. Raises ValueError if it is cut."""
    stream.seek(position)
    start, stray = position, 0
    while (kind := stream.read(1)) not in (FRAME, EXTENSION, TRAILER, END):
        stray += kind != b"\0"
        start += 1
    label, end = _skip_block(stream, kind)
    return Block(kind, label, start, end, stray)


def _skip_block(stream: BinaryIO, kind: bytes) -> tuple[int, int]:
    """Return the label and the end of a block of that kind; the stream is after its first byte."""
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
    r"""Join the content of sub-blocks, without their lengths.

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
    """A frame: its descriptor, its own palette, and its data.

    data: the code size, then the compressed samples as sub-blocks.
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
    """Yield the frames up to where the file is cut; an undefined disposal keeps a frame."""
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
    """Return a frame as a file of the frame's size, without its position, delay and disposal.

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
    """Describe damage to the blocks of a file, up to the trailer, or return "".

    Bytes between blocks and a missing trailer are no damage if all samples are there.
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
    """Return whether the bytes between two blocks are a damaged block or the end of one.

    Either the first byte of a block was changed, or bytes of the block before are missing, so that
    it reaches into the block that follows; the latter is not checked after a frame.
    """
    if not after.stray:
        return False

    # A block whose first byte was changed.
    if any(_ends_at(stream, before.end + 1, kind, after.start) for kind in (FRAME, EXTENSION)):
        return True
    if before.kind == FRAME:
        return False

    # A block that begins inside the block before, which is too short.
    if before.label == _CONTROL and before.end - before.start != _CONTROL_BYTES:
        return True
    content = before.read(stream)
    for at, byte in enumerate(content):
        if byte not in FRAME + EXTENSION:
            continue
        position, stray = before.start + 2 + at, 0
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
    """Return whether a block of that kind, whose second byte is at `start`, ends at `end`."""
    stream.seek(start)
    try:
        return _skip_block(stream, kind)[1] == end
    except ValueError:
        return False


def _has_all_samples(stream: BinaryIO, blocks: Sequence[Block]) -> bool:
    """Return whether there is a frame, and the samples of all frames are complete."""
    frames = [block for block in blocks if block.kind == FRAME]
    return bool(frames) and all(_is_whole(_read_frame(stream, frame)) for frame in frames)


def _is_whole(frame: _Frame) -> bool:
    """Return whether a frame's LZW codes make exactly its samples, and nothing follows them."""
    width, height = struct.unpack_from("<2H", frame.descriptor, 4)
    size = frame.data[0]
    if not 1 < size < 9:
        return False

    # Count the samples by the lengths of the codes' strings; the strings are not needed.
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
