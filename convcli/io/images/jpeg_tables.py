"""Read the quantisation tables and the chroma subsampling of a JPEG, to write the output with them.

Source: ITU-T T.81, B.2.4.1 (tables) and B.2.2 (sampling factors); annex K.1 has the tables that
libjpeg (IJG) scales.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, BinaryIO

from convcli.io.images.jpeg_segments import START_OF_SCAN, find_segments

Table = tuple[int, ...]

_TABLES = 0xDB
_FRAMES = (0xC0, 0xC1, 0xC2)
_SUBSAMPLING = ("4:4:4", "4:2:2", "4:2:0")
"""The names of Pillow's numbers for chroma subsampling."""

_LUMA = (
    *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA = (
    *(17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99),
    *(24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99),
    *[99] * 32,
)
"""The tables of annex K.1, row-major."""

_ZIGZAG = sorted(
    range(64),
    key=lambda at: (at // 8 + at % 8, at // 8 if (at // 8 + at % 8) % 2 else at % 8),
)
"""Row-major indices of a block's 64 coefficients in the order of a file, which is zigzag."""


@dataclass(frozen=True)
class JpegTables:
    """The quantisation tables of an image and its chroma subsampling.

    tables: one per component, row-major. subsampling: 0 for 4:4:4, 1 for 4:2:2, 2 for 4:2:0; None
    for a picture of one component.
    """

    tables: tuple[Table, ...]
    subsampling: int | None

    @cached_property
    def quality(self) -> int | None:
        """The quality from 1 to 100 for which libjpeg writes these tables, or None."""
        bases = (_LUMA, *[_CHROMA] * 2, _LUMA)
        for quality in range(100, 0, -1):
            if all(
                table == _scaled(base, quality)
                for table, base in zip(self.tables, bases, strict=False)
            ):
                return quality
        return None

    @property
    def options(self) -> dict[str, Any]:
        """The options with which Pillow's encoder writes these tables."""
        subsampling = self.subsampling or 0
        if self.quality is not None:
            return {"quality": self.quality, "subsampling": subsampling}
        distinct = list(dict.fromkeys(self.tables[:2]))
        return {
            "quality": -1,
            "qtables": [list(table) for table in distinct],
            "subsampling": subsampling,
        }

    @property
    def words(self) -> str:
        """Describe the tables and the subsampling.

        >>> JpegTables((_scaled(_LUMA, 80), _scaled(_CHROMA, 80), _scaled(_CHROMA, 80)), 2).words
        "the input's quality 80, 4:2:0"
        """
        tables = "quantisation tables" if self.quality is None else f"quality {self.quality}"
        chroma = "" if self.subsampling is None else f", {_SUBSAMPLING[self.subsampling]}"
        return f"the input's {tables}{chroma}"


@lru_cache(256)
def _scaled(base: Table, quality: int) -> Table:
    """Return a table as libjpeg's jpeg_set_quality scales it, for baseline JPEG.

    Results are kept for the next file: to find its quality takes several of the 200 that there are.
    """
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return tuple(min(max((value * percent + 50) // 100, 1), 255) for value in base)


def find_tables(stream: BinaryIO) -> JpegTables | None:
    """Read the tables and the subsampling of a file's first image; None if they are not there."""
    tables: dict[int, Table] = {}
    components: list[tuple[int, int]] = []
    try:
        for segment in find_segments(stream):
            if segment.marker == START_OF_SCAN:
                break
            if segment.marker == _TABLES:
                tables.update(_parse_tables(segment.read(stream)))
            elif segment.marker in _FRAMES:
                parts = segment.read(stream)[6:]
                components = [(parts[at + 1], parts[at + 2]) for at in range(0, len(parts) - 2, 3)]
        found = tuple(tables[table] for _, table in components)
    except (ValueError, KeyError, IndexError):
        return None
    if not found:
        return None
    return JpegTables(found, _subsampling([factors for factors, _ in components]))


def _parse_tables(content: bytes) -> Iterator[tuple[int, Table]]:
    """Yield the number and the values, row-major, of each table of a segment.

    Values are limited to 1 to 255, as baseline JPEG holds them.
    """
    at = 0
    while at < len(content):
        size = 2 if content[at] >> 4 else 1
        values = [
            int.from_bytes(content[at + 1 + size * i : at + 1 + size * (i + 1)], "big")
            for i in range(64)
        ]
        placed = dict(zip(_ZIGZAG, values, strict=True))
        yield content[at] & 15, tuple(min(max(placed[place], 1), 255) for place in range(64))
        at += 1 + 64 * size


def _subsampling(factors: list[int]) -> int | None:
    """Return Pillow's number of the subsampling, or of the next one that keeps more chroma.

    factors: of each component, horizontal in the upper four bits and vertical in the lower four.
    """
    if len(factors) == 1:
        return None
    luma, chroma = factors[0], factors[1]
    wide, high = ((luma >> 4) >= 2 * (chroma >> 4)), ((luma & 15) >= 2 * (chroma & 15))
    return 2 if wide and high else int(wide)
