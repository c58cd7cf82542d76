"""The directories of a TIFF: tags, pages, where the samples are, and whether the file is whole."""

from __future__ import annotations

import json
import math
import os
import re
import warnings
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice, pairwise
from struct import unpack_from
from typing import TYPE_CHECKING, Any, BinaryIO

from convcli.errors import FileError, LimitError
from convcli.io.images import integrity
from convcli.io.images.integrity import BLOCK, CUT
from convcli.io.images.metadata.exif import new_directory
from convcli.io.images.pillow import DIRECTORY_ERRORS, unguarded

if TYPE_CHECKING:
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

DEFLATE = (8, 32946)  # the compressions whose strips have a checksum
_PIECES = ((273, 279), (324, 325))  # tags of the offsets and the lengths of strips, and of tiles
INNER = {0x8769, 0x8825}  # tags of EXIF that lead to directories besides those of the chain; EXIF 2.3, 4.6.3
BIG_TIFF = (b"II\x2b\0", b"MM\0\x2b")
PAGES = 10_000
"""Pages of a TIFF at most: counting them takes Pillow a time that grows with their square."""
_BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, SAMPLES = 258, 259, 262, 266, 277
_WIDTH, _HEIGHT, _DESCRIPTION, TILE_OFFSETS = 256, 257, 270, 324
PLANAR, COLOR_MAP, EXTRA, _FORMAT = 284, 320, 338, 339
UNSIGNED, SIGNED, FLOAT = 1, 2, 3
WHITE_IS_ZERO, GRAY, RGB = 0, 1, 2
UNCOMPRESSED, SEPARATE, LOWEST_BIT_FIRST = 1, 2, 2
BYTE, ASCII, SHORT, LONG, LONG8 = 1, 2, 3, 4, 16
OF_BYTES = (700, *range(0x9C9B, 0x9CA0))  # XMP, and Windows' texts
_SEVERAL, _LAST_TYPE = 16, 18  # entries that tell a directory, and the types that they may have


def sample_type(tags: Mapping[int, Any]) -> tuple[int, int]:
    """Return the most bits of a sample, and the largest of the numbers that tell signed and floating ones."""
    return max(as_tuple(tags.get(_BITS, 1))), max(as_tuple(tags.get(_FORMAT, UNSIGNED)))


def as_tuple(value: Any) -> Sequence[int]:
    return value if isinstance(value, tuple) else (value,)


def directories(stream: BinaryIO) -> Iterator[ImageFileDirectory_v2]:
    """Yield the directories of a TIFF's chain up to its end or its first loop, and no more than one above PAGES.

    Raises ValueError where one of them, or a value, is not in the file.
    """
    head = read_head(stream)
    offset = new_directory(head).next
    seen: set[int] = set()
    while offset and offset not in seen and len(seen) <= PAGES:
        seen.add(offset)
        directory = read_directory(stream, head, offset)
        yield directory
        offset = directory.next


def read_head(stream: BinaryIO) -> bytes:
    stream.seek(0)
    head = stream.read(8)
    return head + stream.read(8) if head[:4] in BIG_TIFF else head


def read_directory(stream: BinaryIO, head: bytes, offset: int) -> ImageFileDirectory_v2:
    """Return the directory at an offset, read in full. Raises ValueError where it, or a value, is not in the file.

    head: of the file, as far as the offset of its first directory.
    """
    directory = new_directory(head)
    stream.seek(offset)
    with unguarded():
        warnings.simplefilter("error")  # Pillow warns of what is missing, and leaves it out
        try:
            directory.load(stream)
        except UserWarning as warning:
            raise ValueError(CUT) from warning
    if not len(directory):
        raise ValueError("it has a directory without an entry")
    return directory


def page_offset(stream: BinaryIO, number: int) -> int:
    """Return the offset of the directory of a page, counted from 0; of the last, if several images are behind it."""
    offset: int = new_directory(read_head(stream)).next
    for page in islice(directories(stream), number):
        offset = page.next or offset
    return offset


def is_cut(stream: BinaryIO, head: bytes, start: int) -> bool:
    """Return whether a directory that cannot be read begins as one: the file ends within it, or right before it.

    A pointer that is garbage leads out of the file, or to what has no types of TIFF where entries have theirs.
    """
    if not len(head) <= start <= stream.seek(0, os.SEEK_END) + 1:
        return False
    big = head[:4] in BIG_TIFF
    count_size, entry_size = (8, 20) if big else (2, 12)
    stream.seek(start)
    count = int.from_bytes(stream.read(count_size), "little" if head[:2] == b"II" else "big")
    entries = stream.read(min(count, _SEVERAL) * entry_size)
    order = "<" if head[:2] == b"II" else ">"
    types = [unpack_from(f"{order}H", entries, at + 2)[0] for at in range(0, len(entries) - 3, entry_size)]
    return all(1 <= each <= _LAST_TYPE for each in types) and (count > 0 or not stream.read(1))


def readable_directories(stream: BinaryIO) -> Iterator[ImageFileDirectory_v2]:
    """Yield the directories of a TIFF up to the first that is cut."""
    with suppress(*DIRECTORY_ERRORS):
        yield from directories(stream)


def count_pages(stream: BinaryIO, name: str) -> int:
    """Return how many pages a TIFF has, up to the first that is cut; raise LimitError for more than PAGES."""
    count = sum(1 for _ in readable_directories(stream))
    stream.seek(0)
    if count > PAGES:
        raise LimitError(f"{name} has more than {PAGES:,} pages", "expected fewer", "part it first")
    return count


def count_images(stream: BinaryIO) -> tuple[int, int]:
    """Return how many images the description of the first page declares, and how many follow each other in the file.

    ImageJ above 4 GiB, and tifffile on demand, write one directory for all, whose strips are those of the first.
    The second is 1 if the first image is compressed or lies in pieces. The stream is left at its start.
    """
    try:
        page = next(directories(stream))
        bits, _ = sample_type(page)
        samples = int(page.get(SAMPLES, 1))
        values = page[_WIDTH] * page[_HEIGHT] * samples
        description = str(page.get(_DESCRIPTION, ""))
        declared = max(declared_values(description, values, samples) // values, 1)
        strips = list(strips_and_tiles(page))
        joined = all(start + count == after for (start, count), (after, _) in pairwise(strips))
        stored = page.get(COMPRESSION, UNCOMPRESSED) == UNCOMPRESSED and bits % 8 == 0
        if not (stored and joined) or TILE_OFFSETS in page:
            return declared, 1
        held = (stream.seek(0, os.SEEK_END) - strips[0][0]) // (values * bits // 8)
        return declared, max(min(declared, held), 1)
    except Exception:  # as above
        return 1, 1
    finally:
        stream.seek(0)


def declared_values(description: str, values: int, samples: int) -> int:
    """Return how many values a description of ImageJ, tifffile or OME declares; 0 for any other.

    values: of one image. samples: of one pixel.
    """
    if found := re.search(r"\AImageJ=[\s\S]*^images=(\d+)", description, re.M):
        return int(found[1]) * values
    if description.startswith('{"shape":'):
        return math.prod(json.loads(description)["shape"])
    if pixels := re.search(r"<OME\b[\s\S]*?<Pixels\b([^>]*)", description):
        sizes = dict(re.findall(r"\bSize([CTZ])=\"(\d+)\"", pixels[1]))
        return math.prod(map(int, sizes.values())) * values // samples
    return 0


def strips_and_tiles(page: Mapping[int, Any]) -> Iterator[tuple[int, int]]:
    """Yield the offset and the bytes of each strip and tile of a page."""
    for offsets, counts in _PIECES:
        yield from zip(as_tuple(page.get(offsets, ())), as_tuple(page.get(counts, ())), strict=False)


def find_broken_deflate(stream: BinaryIO, pieces: Iterable[tuple[int, int]], limit: int) -> str:
    """Return what is wrong with the first deflated piece whose checksum differs, or "".

    pieces: (offset, bytes) of each; limit: bytes that one may hold, unpacked. Decoders stop at the last sample that
    they want, before the checksum.
    Source: RFC 1950, section 2.2.
    """
    try:
        for offset, count in pieces:
            stream.seek(offset)
            if wrong := _inflate(stream, count, limit):
                return wrong
    except zlib.error:
        return "the checksum of a strip differs"
    return ""


def _inflate(stream: BinaryIO, count: int, limit: int) -> str:
    decompressor = zlib.decompressobj()
    unpacked = 0
    while not decompressor.eof and (block := stream.read(min(count, BLOCK))):
        count -= len(block)
        while block and not decompressor.eof:
            unpacked += len(decompressor.decompress(block, BLOCK))
            block = decompressor.unconsumed_tail
            if unpacked > limit:
                return "a strip holds more than the picture"
    decompressor.flush()
    return "" if decompressor.eof else CUT


def damaged(name: str, how: str) -> FileError:
    return integrity.damaged(name, how, "tiff", "copy it anew, or save it as .npy")
