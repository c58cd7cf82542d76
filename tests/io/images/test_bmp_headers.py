"""Read every version of BMP headers: metadata, and the length of the samples."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms
from tiffs import filtered

from convcli.errors import FileError
from convcli.io import load

pytestmark = pytest.mark.usefixtures("in_tmp")

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
ROWS = b"".join(row[:, ::-1].tobytes() + bytes(3) for row in PIXELS[::-1])
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
HEADERS = (12, 16, 24, 40, 48, 52, 56, 64, 108, 124)
ENDPOINTS = struct.pack("<12I", *range(1000, 1012))


def bmp(
    size: int = 40,
    *,
    gap: int = 0,
    declared: int | None = None,
    packed: int | None = None,
    colours: bytes = b"",
    profile: bytes = b"",
    place: int | None = None,
) -> bytes:
    """Return a BMP of 24 bits with a header of `size` bytes.

    colours: the fields of versions 4 and 5 from the colour space on.
    """
    if size == 12:
        header = struct.pack("<I4H", 12, 7, 5, 1, 24)
    else:
        fields = struct.pack(
            "<2i2H6I", 7, 5, 1, 24, 0, len(ROWS) if packed is None else packed, 2835, 5670, 0, 0
        )
        header = struct.pack("<I", size) + fields
        if size >= 108:
            header += bytes(56 - 40) + colours.ljust(52, b"\0")
        if size == 124:
            start = 124 + gap + len(ROWS) if place is None else place
            header += struct.pack("<4I", 4, start if profile else 0, len(profile), 0)
        header = header[:size].ljust(size, b"\0")
    offset = 14 + len(header) + gap
    whole = offset + len(ROWS) + len(profile)
    head = b"BM" + struct.pack("<I4xI", whole if declared is None else declared, offset)
    return head + header + bytes(gap) + ROWS + profile


@pytest.mark.parametrize("size", HEADERS)
@pytest.mark.parametrize("gap", [0, 8, 70_000])
@pytest.mark.parametrize("declared", [None, 0, 1, 2**31])
@pytest.mark.parametrize("packed", [0, 1, None])
def test_samples_are_read_whatever_sizes_are_declared(
    size: int, gap: int, declared: int | None, packed: int | None
) -> None:
    Path("x.bmp").write_bytes(bmp(size, gap=gap, declared=declared, packed=packed))
    data = load("x.bmp")
    np.testing.assert_array_equal(data.array, PIXELS)
    assert data.warnings == ()


@pytest.mark.parametrize("size", HEADERS)
def test_samples_that_are_cut_are_refused(size: int) -> None:
    for end in (1, 20, len(ROWS), len(ROWS) + 5):
        Path("x.bmp").write_bytes(bmp(size, declared=0)[:-end])
        with pytest.raises(FileError, match=r"x\.bmp is damaged: it ends too early"):
            load("x.bmp")


@pytest.mark.parametrize("mode", ["RGB", "P", "L", "1"])
def test_an_embedded_profile_is_kept(mode: str) -> None:
    Path("x.bmp").write_bytes(bmp(124, colours=b"DEBM", profile=SRGB))
    plan = filtered("x.bmp", "y.bmp").plan
    assert (plan.dropped, plan.metadata.icc) == ((), SRGB)
    data = load("y.bmp")
    np.testing.assert_array_equal(data.array, PIXELS)
    assert (data.metadata.icc, data.metadata.density) == (SRGB, pytest.approx((72, 144), abs=0.02))
    with Image.open("y.bmp") as image:
        np.testing.assert_array_equal(np.asarray(image), PIXELS)
    for target in ("y.png", "y.jpg", "y.webp", "y.tif"):
        filtered("x.bmp", target)
        assert load(target).metadata.icc == SRGB


def test_a_profile_goes_into_a_file_of_pillow_s_that_others_read() -> None:
    Image.fromarray(PIXELS).save("x.png", icc_profile=SRGB)
    filtered("x.png", "y.bmp")
    content = Path("y.bmp").read_bytes()
    declared, offset, size = struct.unpack_from("<2xI4xII", content)
    assert (declared, offset, size) == (len(content), 138, 124)
    place, length = struct.unpack_from("<2I", content, 14 + 112)
    assert content[14 + 56 : 14 + 60] == b"DEBM"
    assert content[14 + place : 14 + place + length] == SRGB


@pytest.mark.parametrize("size", [108, 124])
def test_calibrated_colours_are_kept_or_told(size: int) -> None:
    Path("x.bmp").write_bytes(bmp(size, colours=bytes(4) + ENDPOINTS))
    assert filtered("x.bmp", "y.bmp").plan.dropped == ()
    assert ENDPOINTS in Path("y.bmp").read_bytes()
    assert [part.content for part in load("y.bmp").metadata.parts] == [ENDPOINTS]
    np.testing.assert_array_equal(load("y.bmp").array, PIXELS)
    assert filtered("x.bmp", "y.png").plan.dropped == ("calibrated colours: png holds none",)
    told = filtered("x.bmp", "gray.bmp", channels="sum").plan.dropped
    assert told == ("calibrated colours: it describes the colours or the number type of the input",)


def test_a_linked_profile_is_kept_or_told() -> None:
    Path("x.bmp").write_bytes(bmp(124, colours=b"KNIL", profile=b"c:\\srgb.icc\0"))
    assert filtered("x.bmp", "y.bmp").plan.dropped == ()
    assert Path("y.bmp").read_bytes().endswith(b"c:\\srgb.icc\0")
    assert filtered("x.bmp", "y.jpg").plan.dropped == ("linked ICC profile: jpg holds none",)


@pytest.mark.parametrize("space", [b"BGRs", b" niW", bytes(4)])
def test_default_colours_say_nothing(space: bytes) -> None:
    Path("x.bmp").write_bytes(bmp(124, colours=space))
    assert filtered("x.bmp", "y.png").plan.dropped == ()


@pytest.mark.parametrize("place", [0, 2**31, 124 + len(ROWS) + 50])
def test_a_profile_that_is_not_in_the_file_is_left_out_and_told(place: int) -> None:
    content = bmp(124, colours=b"DEBM", profile=SRGB, place=place)
    Path("x.bmp").write_bytes(content if place else content[: 138 + len(ROWS)])
    data = load("x.bmp")
    np.testing.assert_array_equal(data.array, PIXELS)
    if place:
        assert data.warnings == ("ICC profile left out, as the file does not hold it",)


def test_packed_samples_are_read() -> None:
    indices = np.repeat(np.arange(4, dtype=np.uint8), 5).reshape(4, 5)
    runs = b"".join(bytes([5, value, 0, 0]) for value in indices[::-1, 0]) + b"\0\1"
    palette = bytes(value for level in range(256) for value in (level, level, level, 0))
    header = struct.pack("<I2i2H6I", 40, 5, 4, 1, 8, 1, len(runs), 0, 0, 0, 0)
    content = (
        b"BM" + struct.pack("<I4xI", 54 + 1024 + len(runs), 54 + 1024) + header + palette + runs
    )
    Path("x.bmp").write_bytes(content)
    np.testing.assert_array_equal(load("x.bmp").array, indices)
    Path("x.bmp").write_bytes(content[:-3])
    with pytest.raises(FileError, match=r"x\.bmp is damaged"):
        load("x.bmp")


def test_a_plain_file_is_pillow_s() -> None:
    Image.fromarray(PIXELS).save("x.png")
    filtered("x.png", "y.bmp")
    Image.fromarray(PIXELS).save(held := BytesIO(), "BMP")
    assert Path("y.bmp").read_bytes() == held.getvalue()


def test_a_picture_s_size_is_not_taken_for_its_header_s(request: Any) -> None:
    for size in (11, 125, 2**16 + 40):
        Path("x.bmp").write_bytes(b"BM" + bytes(12) + struct.pack("<I", size) + bytes(100))
        with pytest.raises(FileError, match=r"x\.bmp is no bmp file"):
            load("x.bmp")
