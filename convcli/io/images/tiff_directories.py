"""Read the pages of a TIFF: their tags, their number, and the offsets of their samples."""

from __future__ import annotations

import math
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any, BinaryIO, NamedTuple

from convcli.errors import FileError, LimitError
from convcli.io.images import integrity
from convcli.io.images.directory import (
    ASCII,
    Directory,
    Head,
    read_directory,
    read_head,
    read_tag,
    text_of,
    values_of,
)
from convcli.io.images.integrity import BLOCK, CUT
from convcli.io.images.pillow import DIRECTORY_ERRORS
from convcli.io.streams import count_bytes

DEFLATE = (8, 32946)  # compressions whose strips have a checksum
_PIECES = ((273, 279), (324, 325))  # tags of the offsets and the lengths of strips, and of tiles
PAGES = 10_000
"""The most pages of a TIFF that are read."""
_BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, SAMPLES = 258, 259, 262, 266, 277
_WIDTH, _HEIGHT, DESCRIPTION = 256, 257, 270
TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS = 322, 323, 324
PLANAR, COLOR_MAP, EXTRA, _FORMAT = 284, 320, 338, 339
UNSIGNED, SIGNED, FLOAT = 1, 2, 3
WHITE_IS_ZERO, GRAY, RGB = 0, 1, 2
UNCOMPRESSED, SEPARATE, LOWEST_BIT_FIRST = 1, 2, 2
SAMPLE_TAGS = frozenset(
    {
        *(*range(256, 260), 262, 266, 273, *range(277, 280), 284, 292, 293, 317, 320),
        *(*range(322, 326), 338, 339, 347),
        *(*range(512, 516), *range(517, 522), 529, 530, 531, 559),
    }
)
"""The tags without which samples cannot be decoded."""
_COLOUR_TAGS = frozenset({332, 532})
"""Tags for the conversion of some colours, which have a default: InkSet and ReferenceBlackWhite."""


_TIMES = 2
_SHARED = 4096
"""Bytes of a part that pages may share; a larger one is read _TIMES times."""


class Page(NamedTuple):
    """A page: the tags that decoding its samples needs, as numbers, and its directory."""

    tags: Mapping[int, Any]
    directory: Directory


def sample_type(tags: Mapping[int, Any]) -> tuple[int, int]:
    """Return the most bits of a page's samples, and the largest of their sample formats."""
    return max(as_tuple(tags.get(_BITS, 1))), max(as_tuple(tags.get(_FORMAT, UNSIGNED)))


def as_tuple(value: Any) -> Sequence[int]:
    return value if isinstance(value, tuple) else (value,)


def read_directories(stream: BinaryIO) -> Iterator[Directory]:
    """Yield the directories of a TIFF's pages, up to the last or the first that was read before.

    Yields at most PAGES + 1. Raises ValueError for a directory that is not in the file, and
    SharedError if directories overlap.
    """
    head = read_head(stream)
    offset = head.first
    budget = _Budget(stream)
    seen: set[int] = set()
    while offset and offset not in seen and len(seen) <= PAGES:
        seen.add(offset)
        directory = read_directory(stream, head, offset)
        budget.spend(directory.link - directory.start)
        yield directory
        offset = directory.next


def read_pages(stream: BinaryIO) -> Iterator[Page]:
    """Yield the pages of a TIFF, up to the last or the first that was read before.

    Raises ValueError for a directory, or a tag that decoding needs, that is not in the file, and
    SharedError if pages share more than small tags.
    """
    head = read_head(stream)
    budget = _Budget(stream)
    for directory in read_directories(stream):
        yield Page(_decode(stream, head, directory, budget), directory)


class SharedError(ValueError):
    """Parts of a file are used so often that reading them takes more time than the file's size."""


class _Budget:
    """The bytes of a file that may be read as pages' directories and tags: each a few times.

    Pages may share small tags, such as the bits of each sample.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._left = _TIMES * count_bytes(stream)

    def spend(self, size: int) -> None:
        if size > _SHARED:
            self._left -= size
        if self._left < 0:
            raise SharedError("its pages overlap")


def _decode(stream: BinaryIO, head: Head, directory: Directory, budget: _Budget) -> dict[int, Any]:
    """Return the tags that decoding needs: a single value as a number, several as a tuple."""
    tags: dict[int, Any] = {}
    for number in directory.entries.keys() & (SAMPLE_TAGS | _COLOUR_TAGS):
        budget.spend(directory.entries[number].size)
        with suppress(*(() if number in SAMPLE_TAGS else DIRECTORY_ERRORS)):
            values = values_of(read_tag(stream, head, directory.entries[number]))
            tags[number] = values[0] if len(values) == 1 else values
    return tags


def description_of(stream: BinaryIO, page: Page) -> str:
    """Return the description of a page, "" if it has none or it cannot be read."""
    entry = page.directory.entries.get(DESCRIPTION)
    if entry is None or entry.kind != ASCII:
        return ""
    with suppress(*DIRECTORY_ERRORS):
        return text_of(read_tag(stream, read_head(stream), entry))
    return ""


def readable_directories(stream: BinaryIO) -> Iterator[Directory]:
    """Yield the directories of a TIFF's pages up to the first that is cut."""
    with suppress(*DIRECTORY_ERRORS):
        yield from read_directories(stream)


def count_pages(stream: BinaryIO, name: str) -> int:
    """Count the pages of a TIFF up to the first that is cut; raise LimitError above PAGES."""
    count = sum(1 for _ in readable_directories(stream))
    stream.seek(0)
    if count > PAGES:
        raise LimitError(f"{name} has more than {PAGES:,} pages", "expected fewer", "part it first")
    return count


def count_images(stream: BinaryIO) -> tuple[int, int]:
    """Return the number of images that the first description declares, and that the file holds.

    ImageJ above 4 GiB, and tifffile on request, write contiguous images with one directory, whose
    strips are those of the first image. The second number is 1 if the first image is compressed or
    not contiguous. Leaves the stream at its start.
    """
    try:
        first = next(read_pages(stream))
        page = first.tags
        bits, _ = sample_type(page)
        samples = int(page.get(SAMPLES, 1))
        values = page[_WIDTH] * page[_HEIGHT] * samples
        declared = max(declared_values(description_of(stream, first), values, samples) // values, 1)

        # Count the images that fit between the first strip and the end of the file.
        strips = list(strips_and_tiles(page))
        joined = all(start + count == after for (start, count), (after, _) in pairwise(strips))
        stored = page.get(COMPRESSION, UNCOMPRESSED) == UNCOMPRESSED and bits % 8 == 0
        if not (stored and joined) or TILE_OFFSETS in page:
            return declared, 1
        held = (stream.seek(0, os.SEEK_END) - strips[0][0]) // (values * bits // 8)
        return declared, max(min(declared, held), 1)
    except Exception:  # damage of any kind, which is reported when the file is decoded
        return 1, 1
    finally:
        stream.seek(0)


def declared_values(description: str, values: int, samples: int) -> int:
    """Return the number of values that a description declares, 0 if it declares none.

    description: ImageJ's, tifffile's or OME's. values: per image. samples: per pixel.
    """
    if found := re.search(r"\AImageJ=[\s\S]*^images=(\d+)", description, re.M):
        return int(found[1]) * values
    if description.startswith('{"shape":'):
        import json

        return math.prod(json.loads(description)["shape"])
    if pixels := re.search(r"<Pixels\b([^>]*)", description.partition("<OME")[2]):
        sizes = dict(re.findall(r"\bSize([CTZ])=\"(\d+)\"", pixels[1]))
        return math.prod(map(int, sizes.values())) * values // samples
    return 0


def strips_and_tiles(page: Mapping[int, Any]) -> Iterator[tuple[int, int]]:
    """Yield the offset and the bytes of each strip and tile of a page."""
    for offsets_tag, counts_tag in _PIECES:
        offsets = as_tuple(page.get(offsets_tag, ()))
        counts = as_tuple(page.get(counts_tag, ()))
        yield from zip(offsets, counts, strict=False)


def find_broken_deflate(stream: BinaryIO, pieces: Iterable[tuple[int, int]], limit: int) -> str:
    """Describe the damage to the first deflated strip or tile whose checksum differs, or return "".

    pieces: (offset, bytes) of each. limit: most bytes of one, inflated. Decoders stop at the last
    sample that they need, before the checksum. Source: RFC 1950, section 2.2.
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
