"""Read files whose samples are whole with a warning of other damage; refuse damaged samples."""

from __future__ import annotations

import io
import random
import struct
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import pytest
from blocks import (
    BUILD,
    CASES,
    EXIF,
    SRGB,
    chunk,
    extension,
    gif,
    jpg,
    png,
    resource,
    riff,
    segment,
    webp,
)

from convcli.errors import FileError
from convcli.io import ReadRequest, load
from convcli.io.codec import codec_of
from convcli.io.formats import recognise
from convcli.io.streams import BufferedPipe
from convcli.limits import Limits

pytestmark = pytest.mark.filterwarnings(r"ignore::UserWarning:PIL\..*")  # the command mutes them


def spoil(content: bytes, at: int, by: bytes) -> bytes:
    """Insert bytes into content."""
    return content[:at] + by + content[at:]


def behind_first(content: bytes, by: bytes) -> bytes:
    """Insert bytes after the first segment of a JPEG with a JFIF header."""
    return spoil(content, 2 + len(segment(0xE0, bytes(14))), by)


def resized(content: bytes, by: int) -> bytes:
    """Change the length that a WebP declares."""
    return content[:4] + struct.pack("<I", len(content) - 8 + by) + content[8:]


def wrong_length(by: int) -> str:
    """Return the warning of a WebP whose declared length differs by some bytes."""
    length = len(webp(b""))
    return f"the declared length of {length + by} bytes left out, as the chunks take {length}"


JFIF = segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")
GIF_FRAME = gif(b"").index(b",\0\0\0\0")
BETWEEN = "bytes between segments left out, as they belong to none"
BETWEEN_BLOCKS = "bytes between blocks left out, as they belong to none"
REST = "3 bytes after the end of the picture left out"
BROKEN: dict[str, tuple[str, bytes, tuple[str, ...]]] = {
    "png, bytes behind its end": ("png", png(b"") + b"abc", (REST,)),
    "png, zeros behind its end": ("png", png(b"") + bytes(3), ()),
    "png, gAMA twice": (
        "png",
        png(2 * chunk(b"gAMA", bytes(4))),
        ("gAMA left out, as the file has one before it",),
    ),
    "png, unknown chunk with a wrong checksum": (
        "png",
        png(chunk(b"abCd", b"x")[:-1] + b"?"),
        ("abCd left out, as its checksum differs",),
    ),
    "jpg, bytes behind its end": ("jpg", jpg(b"") + b"abc", (REST,)),
    "jpg, zeros behind its end": ("jpg", jpg(b"") + bytes(3), ()),
    "jpg, bytes between segments": ("jpg", behind_first(jpg(JFIF), b"stray"), (BETWEEN,)),
    "jpg, fill bytes between segments": ("jpg", behind_first(jpg(JFIF), b"\xff\xff"), ()),
    "jpg, JFIF that is cut": (
        "jpg",
        jpg(segment(0xE0, b"JFIF\0")),
        ("JFIF left out, as it cannot be read",),
    ),
    "jpg, JFIF of an unknown unit": (
        "jpg",
        jpg(segment(0xE0, b"JFIF\0\1\1\7\0\1\0\1\0\0")),
        ("JFIF left out, as it cannot be read",),
    ),
    "jpg, EXIF that is none": (
        "jpg",
        jpg(segment(0xE1, b"Exif\0\0garbage")),
        ("EXIF left out, as it cannot be read",),
    ),
    "jpg, a part of a profile": (
        "jpg",
        jpg(segment(0xE2, b"ICC_PROFILE\0\1\2" + SRGB)),
        ("ICC profile left out, as a part of it is missing",),
    ),
    "jpg, a profile without a number": (
        "jpg",
        jpg(segment(0xE2, b"ICC_PROFILE\0")),
        ("ICC_PROFILE left out, as it cannot be read",),
    ),
    "jpg, resources that are cut": (
        "jpg",
        jpg(segment(0xED, b"Photoshop 3.0\0" + resource(0x0404, b"abcd")[:-2])),
        ("Photoshop resources left out, as it cannot be read",),
    ),
    "jpg, Adobe that is cut": (
        "jpg",
        jpg(segment(0xEE, b"Adobe")),
        ("Adobe left out, as it cannot be read",),
    ),
    "jpg, MPF that is none": ("jpg", jpg(segment(0xE2, b"MPF\0garbage")), ()),
    "gif, bytes behind its end": ("gif", gif(b"") + b"abc", (REST,)),
    "gif, bytes between blocks": (
        "gif",
        gif(extension(0xFE, b"cat") + b"stray" + extension(0xFE, b"cat") + b"stray"),
        (BETWEEN_BLOCKS,),
    ),
    "gif, zeros between blocks": ("gif", spoil(gif(b""), GIF_FRAME, bytes(4)), ()),
    "gif, bytes before the trailer": ("gif", spoil(gif(b""), -1, b"stray"), (BETWEEN_BLOCKS,)),
    "gif, no trailer": (
        "gif",
        gif(b"")[:-1],
        ("the end of the GIF is missing; metadata may be missing too",),
    ),
    "gif, an empty extension": ("gif", gif(extension(0x01)), ()),
    "webp, bytes behind its end": ("webp", webp(b"") + b"abc", (REST,)),
    "webp, too long a length": ("webp", resized(webp(b""), 10), (wrong_length(10),)),
    "webp, too short a length": ("webp", resized(webp(b""), -10), (wrong_length(-10),)),
    "webp, EXIF that is none": (
        "webp",
        webp(riff(b"EXIF", b"garbage")),
        ("EXIF left out, as it cannot be read",),
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_beside_the_samples_is_told(tmp_path: Path, name: str) -> None:
    form, content, warnings = BROKEN[name]
    (tmp_path / f"good.{form}").write_bytes(BUILD[form][0](b""))
    (tmp_path / f"bad.{form}").write_bytes(content)
    data = load(tmp_path / f"bad.{form}")
    np.testing.assert_array_equal(data.array, load(tmp_path / f"good.{form}").array)
    assert data.warnings == warnings


@pytest.mark.parametrize(
    "content",
    [
        png(chunk(b"pHYs", b"?")),
        jpg(segment(0xE0, b"JFIF\0")),
        gif(extension(0x01)),
        webp(riff(b"EXIF", b"garbage")),
        resized(webp(b""), -10),
    ],
)
def test_of_a_pipe_no_more_than_the_picture_is_read(content: bytes) -> None:
    known = recognise(content)
    assert known is not None
    pipe = BufferedPipe(io.BytesIO(content + bytes(2**24)), "x", Limits.of())
    array = codec_of(known[0]).read(cast("BinaryIO", pipe), ReadRequest("x")).array
    assert array.shape[:2] == (3, 4)
    assert pipe.taken < 2**22


LZW = gif(b"").index(b",\0\0\0\0") + 10
DAMAGED = {
    "gif without a trailer, its codes cut": gif(b"")[: LZW + 2] + b"\0",
    "gif with stray bytes, its codes cut": gif(b"")[: LZW + 1] + b"\1\x84\0stray;",
    "gif with stray bytes, more codes than samples": gif(b"")[:-2] + b"\1\0\0stray;",
    "gif with stray bytes behind its palette, where that may be shifted": spoil(
        gif(b""), GIF_FRAME, b"stray"
    ),
    "gif with a comment that swallows the start of a block": gif(
        b"!\xfe\7cat\0" + extension(0xF9, b"\1\0\0\1")
    ),
    "gif with a frame that begins otherwise": gif(extension(0xFE, b"cat")).replace(
        b",\0\0\0\0", b"?\0\0\0\0"
    )
    + b";",
    "gif with stray bytes that hold a trailer": spoil(gif(b""), -1, b"stray;more"),
    "gif with stray bytes, and no frame": gif(b"")[:GIF_FRAME] + b"stray;",
    "webp whose samples are cut": webp(b"")[:-4],
    "webp whose samples are cut, of that length": resized(webp(b"")[:-4], 0),
    "webp without a chunk": b"RIFF\4\0\0\0WEBP",
    "jpg without an end": jpg(b"")[:-2],
    "png without an end": png(b"")[:-12],
}


@pytest.mark.parametrize("name", DAMAGED)
def test_broken_samples_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"x.{name.split()[0]}"
    path.write_bytes(DAMAGED[name])
    with pytest.raises(FileError, match="is damaged"):
        load(path)


def mutated(content: bytes, random_: random.Random) -> bytes:
    """Change, remove or insert bytes of content."""
    at = random_.randrange(len(content) + 1)
    change = random_.choice((1, 2, 3))
    inserted = random_.randbytes(random_.randrange(1, 9)) if change > 1 else b""
    return content[:at] + inserted + content[at + (8 if change == 1 else change - 2) :]


def rebuilt(form: str, block: bytes, random_: random.Random) -> bytes:
    """Return a block of a table of kinds, with the content of the first changed."""
    if form == "png":
        length = int.from_bytes(block[:4], "big")
        return chunk(block[4:8], mutated(block[8 : 8 + length], random_))
    if form == "jpg":
        length = int.from_bytes(block[2:4], "big")
        return segment(block[1], mutated(block[4 : 2 + length], random_)[:65533])
    if form == "webp":
        return riff(block[:4], mutated(block[8:], random_))
    return extension(block[1], mutated(block[3:], random_)[:255])


# An Adobe segment and ANIM change how the samples are read; GIF's screen is no extension.
CHANGEABLE = [
    (form, name)
    for form, name in CASES
    if not name.startswith(("APP14", "ANIM", "pixel aspect", "background"))
]


@pytest.mark.parametrize(("form", "name"), CHANGEABLE)
def test_samples_are_read_whatever_stands_beside_them(tmp_path: Path, form: str, name: str) -> None:
    """The samples are right, although a mutated EXIF orientation may turn them."""
    build, table = BUILD[form]
    (tmp_path / f"good.{form}").write_bytes(build(b""))
    expected = np.sort(load(tmp_path / f"good.{form}").array, axis=None)
    random_ = random.Random(f"{form} {name}")
    for _ in range(10):
        (tmp_path / f"x.{form}").write_bytes(build(rebuilt(form, table[name][0], random_)))
        data = load(tmp_path / f"x.{form}")
        np.testing.assert_array_equal(np.sort(data.array, axis=None), expected)


def test_a_broken_exif_of_an_empty_block_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(jpg(segment(0xE1, b"Exif\0\0")))
    (tmp_path / "y.jpg").write_bytes(jpg(segment(0xE1, b"Exif\0\0" + EXIF)))
    assert load(tmp_path / "x.jpg").warnings == load(tmp_path / "y.jpg").warnings == ()
