"""Samples for TIFFs, and TIFFs whose tags are SHORTs only, byte by byte."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

RNG = np.random.default_rng(0)


def samples(dtype: str, channels: int) -> NDArray[Any]:
    """Return numbers of a type's whole range, (40, 33[, channels]), with unequal bytes."""
    shape = (40, 33) if channels == 1 else (40, 33, channels)
    if np.dtype(dtype).kind == "f":
        return RNG.normal(0, 100, shape).astype(dtype)
    limits = np.iinfo(dtype)
    return RNG.integers(limits.min, limits.max, shape, dtype, endpoint=True)


def tiff_of(tags: dict[int, Any], pixels: bytes) -> bytes:
    """Return a little-endian TIFF, with its pixels after its header, from tags of SHORTs."""
    start = 8 + len(pixels) + len(pixels) % 2
    entries, beyond = b"", b""
    after = start + 2 + 12 * len(tags) + 4
    for tag, given in sorted(tags.items()):
        values = given if isinstance(given, list) else [given]
        content = b"".join(value.to_bytes(2, "little") for value in values)
        if len(content) > 4:
            place, beyond = (after + len(beyond)).to_bytes(4, "little"), beyond + content
        else:
            place = content.ljust(4, b"\0")
        entries += tag.to_bytes(2, "little") + b"\3\0" + len(values).to_bytes(4, "little") + place
    head = b"II*\0" + start.to_bytes(4, "little") + pixels.ljust(start - 8, b"\0")
    return head + len(tags).to_bytes(2, "little") + entries + bytes(4) + beyond
