"""Leave out tags of a TIFF that point outside the file, with a warning; refuse damaged samples."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from tiffs import (
    ASCII,
    BYTE,
    EXIF,
    GPS,
    LONG,
    PIXELS,
    SHORT,
    TEXT,
    UNDEFINED,
    filtered,
    tags_of,
    tiff,
)

from convcli.errors import FileError
from convcli.io import load

pytestmark = pytest.mark.usefixtures("in_tmp")

# Tags that point outside the file.

BAD = {
    "outside": lambda size: size + 99_999,
    "far outside": lambda size: 2**31,
    "in the pixels": lambda size: 9,
    "at the head": lambda size: 0,
}


OUTSIDE = [
    *((EXIF, LONG), (GPS, LONG), (330, LONG)),
    *((305, ASCII), (34675, UNDEFINED), (700, BYTE), (65000, UNDEFINED)),
    *((65001, 99), (282, ASCII), (34675, SHORT)),
]
"""The numbers and types of tags whose values are outside the file."""


@pytest.mark.parametrize("where", BAD)
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    ("number", "kind"),
    OUTSIDE,
)
@pytest.mark.parametrize("pages", [1, 2])
def test_a_tag_that_leads_nowhere_is_left_out_with_a_warning(
    number: int, kind: int, order: str, where: str, pages: int
) -> None:
    pointer = number in (EXIF, GPS, 330)
    content = bytearray(tiff(*[{number: (LONG, [0])}] * pages, order=order))
    place = struct.pack(f"{order}I", BAD[where](len(content)))
    at = content.index(struct.pack(f"{order}HHI", number, LONG, 1), len(PIXELS.tobytes()))
    content[at : at + 12] = struct.pack(f"{order}HHI", number, kind, 1 if pointer else 5000) + place
    Path("x.tif").write_bytes(content)
    data = load("x.tif")
    np.testing.assert_array_equal(data.array, PIXELS)
    if number == 330 or (where in ("in the pixels", "at the head") and not pointer and kind != 99):
        return  # which may be valid values
    assert [warning for warning in data.warnings if "left out" in warning]
    filtered("x.tif", "y.tif")
    assert number not in tags_of(Path("y.tif").read_bytes())


def test_damage_of_samples_is_refused() -> None:
    whole = tiff({270: TEXT})
    for number in (256, 258, 273, 279):
        content = bytearray(whole)
        at = content.index(
            struct.pack("<HH", number, LONG if number in (273, 279) else SHORT), PIXELS.size
        )
        content[at + 4 : at + 12] = struct.pack("<II", 50, 2**30)
        Path("x.tif").write_bytes(content)
        with pytest.raises(FileError, match=r"x\.tif is damaged"):
            load("x.tif")


def test_a_link_out_of_the_file_is_left_out_but_not_with_all_pages() -> None:
    content = bytearray(tiff({}))
    (start,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, start)
    struct.pack_into("<I", content, start + 2 + 12 * count, 0x20202020)
    Path("x.tif").write_bytes(content)
    data = load("x.tif")
    np.testing.assert_array_equal(data.array, PIXELS)
    assert data.warnings == ("the link to a further page left out, as the file does not hold it",)
    with pytest.raises(FileError, match=r"x\.tif is damaged: it ends too early"):
        load("x.tif", frames="all")


def test_a_height_that_is_told_twice_and_cannot_be_read_is_no_fault() -> None:
    content = tiff({283: (SHORT, [1]), EXIF: (LONG, None)}, inner={0x9003: TEXT})
    spoiled = content.replace(struct.pack("<HH", 283, SHORT), struct.pack("<HH", 257, 257))
    assert spoiled != content
    Path("x.tif").write_bytes(spoiled)
    assert load("x.tif", allow_truncated=True).array.size == PIXELS.size
