"""Read BMP files with bit fields, compared with the definition of their masks."""

from __future__ import annotations

from pathlib import Path
from struct import pack

import numpy as np
import pytest
from numpy.typing import NDArray

from convcli.errors import FileError, LimitError
from convcli.io import load
from convcli.limits import Limits

pytestmark = pytest.mark.usefixtures("in_tmp")

RNG = np.random.default_rng(0)
MASKS = {
    "32 bits, no alpha": (32, (0xFF, 0xFF00, 0xFF0000, 0)),
    "10 bits each, alpha of 2": (32, (0x3FF00000, 0xFFC00, 0x3FF, 0xC0000000)),
    "odd widths": (32, (0xFE000000, 0x1000000, 0xFF0000, 0)),
    "4 bits each": (16, (0xF00, 0xF0, 0xF, 0xF000)),
    "2, 3 and 1 bits": (16, (0x3, 0x1C, 0x20, 0)),
    "5 bits each, alpha of 1": (16, (0x7C00, 0x3E0, 0x1F, 0x8000)),
}
"""Bits of a pixel; the masks of red, green, blue and alpha."""


def bmp(
    pixels: NDArray[np.uint32],
    bits: int,
    masks: tuple[int, ...],
    length: int,
    *,
    down: bool = False,
) -> bytes:
    """Return a file of pixels (H, W); length: of the header, whose masks are at byte 40."""
    height, width = pixels.shape
    rows = pixels if down else pixels[::-1]
    row_bytes = (width * bits + 31) // 32 * 4
    samples = b"".join(
        row.astype(f"<u{bits // 8}").tobytes().ljust(row_bytes, b"\0") for row in rows
    )
    behind = 16 if length == 40 else 0
    compression = 6 if behind and masks[3] else 3
    header = pack(
        "<IiiHHIIiiII",
        length,
        width,
        -height if down else height,
        1,
        bits,
        compression,
        0,
        2835,
        2835,
        0,
        0,
    )
    header = (header + pack("<4I", *masks)).ljust(length + behind, b"\0")
    start = 14 + len(header)
    return b"BM" + pack("<IHHI", start + len(samples), 0, 0, start) + header + samples


def wanted(pixels: NDArray[np.uint32], masks: tuple[int, ...]) -> NDArray[np.float64]:
    fields = [mask for mask in masks if mask]
    top = 255 if max(mask.bit_count() for mask in fields) <= 8 else 65535
    values = [(pixels & mask).astype(np.float64) / mask * top for mask in fields]
    return np.rint(np.stack(values, -1))


@pytest.mark.parametrize("length", [40, 56, 108, 124])
@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("down", [False, True])
def test_fields_are_scaled_to_whole_bytes(name: str, length: int, down: bool) -> None:
    bits, masks = MASKS[name]
    pixels = RNG.integers(0, 2**bits, (5, 7), np.uint32)
    Path("x.bmp").write_bytes(bmp(pixels, bits, masks, length, down=down))
    data = load("x.bmp")
    np.testing.assert_array_equal(data.array, wanted(pixels, masks))
    assert data.alpha == bool(masks[3])
    assert data.metadata.density == pytest.approx((72, 72), abs=0.1)


def test_alpha_of_known_fields_is_read_in_its_own_compression() -> None:
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    pixels = RNG.integers(0, 2**32, (5, 7), np.uint32)
    Path("x.bmp").write_bytes(bmp(pixels, 32, masks, 40))
    np.testing.assert_array_equal(load("x.bmp").array, wanted(pixels, masks))


@pytest.mark.parametrize(
    "masks", [(0xF0F, 0xF0, 0xF000, 0), (0xFFF, 0xFF0, 0xF000, 0), (0, 0xF, 0xF0, 0)]
)
def test_fields_that_overlap_or_have_gaps_are_no_damage(masks: tuple[int, ...]) -> None:
    Path("x.bmp").write_bytes(bmp(np.zeros((5, 7), np.uint32), 16, masks, 56))
    with pytest.raises(
        FileError, match=r"x\.bmp is of a kind that Pillow does not read; Unsupported BMP bitfields"
    ):
        load("x.bmp")


@pytest.mark.parametrize("length", [40, 56])
def test_no_part_is_taken_for_the_whole(length: int) -> None:
    bits, masks = MASKS["4 bits each"]
    content = bmp(np.zeros((5, 7), np.uint32), bits, masks, length)
    for end in range(2, len(content)):
        Path("x.bmp").write_bytes(content[:end])
        with pytest.raises(FileError):
            load("x.bmp")


def test_sizes_are_checked_before_samples_are_read() -> None:
    bits, masks = MASKS["4 bits each"]
    content = bmp(np.zeros((5, 7), np.uint32), bits, masks, 56)
    Path("x.bmp").write_bytes(content[:-1])
    with pytest.raises(FileError, match=r"x\.bmp is damaged: it ends too early"):
        load("x.bmp")
    Path("x.bmp").write_bytes(content[:18] + pack("<ii", 2**20, 2**20) + content[26:])
    with pytest.raises(LimitError, match="1,099,511,627,776 pixels"):
        load("x.bmp")
    with pytest.raises(LimitError, match="of memory"):
        load("x.bmp", limits=Limits(2**30, 2**50))
