"""Read BMP files whose bit fields have widths or positions that Pillow does not read.

Source: Microsoft, "BITMAPV5HEADER", Windows GDI.
"""

from __future__ import annotations

from struct import unpack_from
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convcli.io.images.integrity import CUT
from convcli.io.streams import available_bytes

_FRONT = 14  # bytes of the file header, before the bitmap header
_HEADERS = (40, 52, 56, 108, 124)  # lengths of bitmap headers; the masks follow the first 40 bytes
_BITFIELDS, _ALPHA_BITFIELDS = 3, 6
_PILLOWS = {
    16: {(0xF800, 0x7E0, 0x1F, 0), (0x7C00, 0x3E0, 0x1F, 0)},
    32: {
        (0xFF0000, 0xFF00, 0xFF, 0),
        (0xFF000000, 0xFF0000, 0xFF00, 0),
        (0xFF000000, 0xFF00, 0xFF, 0),
        (0xFF000000, 0xFF0000, 0xFF00, 0xFF),
        (0xFF, 0xFF00, 0xFF0000, 0xFF000000),
        (0xFF0000, 0xFF00, 0xFF, 0xFF000000),
        (0xFF000000, 0xFF00, 0xFF, 0xFF0000),
        (0, 0, 0, 0),
    },
}
"""The masks of red, green, blue and alpha that Pillow reads, by bits per pixel.

Pillow drops the alpha of 16-bit pixels.
"""


class Layout(NamedTuple):
    """Offset of the pixels, width and height, and how the pixels are stored."""

    start: int
    width: int
    height: int
    upwards: bool
    bits: int
    masks: tuple[int, ...]

    @property
    def row_bytes(self) -> int:
        return (self.width * self.bits + 31) // 32 * 4

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype that keeps every bit of the widest field."""
        widest = max(mask.bit_count() for mask in self.masks)
        return np.dtype(np.uint8 if widest <= 8 else np.uint16)

    @property
    def note(self) -> str:
        widths = ", ".join(str(mask.bit_count()) for mask in self.masks if mask)
        return f"fields of {widths} bits scaled to {8 * self.dtype.itemsize}"


def find_layout(stream: BinaryIO) -> Layout | None:
    """Return the layout of bit fields that Pillow does not read, None for all other files.

    Leaves the stream at its start. Pillow refuses fields that overlap or have gaps by itself.
    """
    stream.seek(0)
    head = stream.read(_FRONT + 124)
    stream.seek(0)
    if len(head) < _FRONT + 56:
        return None
    start, length, width, height = unpack_from("<IIii", head, 10)
    bits, compression = unpack_from("<HI", head, 28)
    if (
        length not in _HEADERS
        or compression not in (_BITFIELDS, _ALPHA_BITFIELDS)
        or bits not in _PILLOWS
    ):
        return None
    has_alpha = length >= 56 or compression == _ALPHA_BITFIELDS
    masks = (*unpack_from("<3I", head, 54), unpack_from("<I", head, 66)[0] if has_alpha else 0)
    known = compression == _BITFIELDS and masks in _PILLOWS[bits]
    if known or width < 1 or height == 0 or not _are_fields(masks, bits):
        return None
    return Layout(start, width, abs(height), height > 0, bits, masks)


def _are_fields(masks: tuple[int, ...], bits: int) -> bool:
    """Return whether masks are contiguous, disjoint, within a pixel, and include three colours."""
    runs = [mask // (mask & -mask) if mask else 0 for mask in masks]
    apart = sum(masks) == masks[0] | masks[1] | masks[2] | masks[3]
    return (
        apart
        and all(masks[:3])
        and sum(masks) < 2**bits
        and all(run & (run + 1) == 0 for run in runs)
    )


def read_pixels(stream: BinaryIO, layout: Layout) -> NDArray[Any]:
    """Return the samples (H, W, C), each field scaled to the whole range of 8 or 16 bits.

    Alpha, if any, is last. Raises ValueError if the file ends too early.
    """
    size = layout.row_bytes * layout.height
    if available_bytes(stream, layout.start + size) < layout.start + size:
        raise ValueError(CUT)
    stream.seek(layout.start)
    stored_rows = np.frombuffer(stream.read(size), f"<u{layout.bits // 8}")
    pixels = stored_rows.reshape(layout.height, -1)[:, : layout.width]
    fields = [mask for mask in layout.masks if mask]
    samples = np.empty((layout.height, layout.width, len(fields)), layout.dtype)
    for channel, mask in enumerate(fields):
        lowest = mask & -mask
        scale = np.iinfo(layout.dtype).max / (mask // lowest)
        for row, stored in zip(samples, pixels[:: -1 if layout.upwards else 1], strict=True):
            row[:, channel] = np.rint((stored & mask) // lowest * scale)
    return samples
