"""Read the samples of a TIFF's pages through tifffile."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from convcli.errors import DtypeError, FileError, ShapeError
from convcli.io.images.codec import unpremultiply
from convcli.io.images.metadata.upright import apply_orientation
from convcli.io.images.tiff_colour import photometric, refuse_colours, to_rgb
from convcli.io.images.tiff_directories import (
    DEFLATE,
    GRAY,
    RGB,
    WHITE_IS_ZERO,
    damaged,
    find_broken_deflate,
)
from convcli.limits import Limits
from convcli.options import DTYPES

STRAIGHT, PREMULTIPLIED = 2, 1
"""The numbers of extra samples that are alpha."""


def check_pages(pages: Sequence[Any], stream: BinaryIO, name: str, limits: Limits) -> int:
    """Return the most bytes that reading pages of one shape and dtype takes.

    Raises FileError for pages that differ or are damaged, DtypeError for samples that would need a
    conversion, LimitError for too many pixels or bytes.
    """
    lead = pages[0]
    limits.check_pixels(name, lead.imagewidth, lead.imagelength)
    values = math.prod(lead.shape)
    chunk = max(values, math.prod(lead.chunks))  # a tile may exceed the picture
    decoding: int = (len(pages) * values + 2 * chunk) * np.dtype(lead.dtype).itemsize
    if extra_sample(lead) == PREMULTIPLIED:
        decoding += 8 * values
    if photometric(lead) not in (WHITE_IS_ZERO, GRAY, RGB):
        decoding += 8 * lead.imagewidth * lead.imagelength * np.dtype(lead.dtype).itemsize
    limits.check_memory(name, decoding)
    expected = lead.shape, lead.dtype, extra_sample(lead)
    for page in pages:
        _check_page(page, stream, name)
        if (page.shape, page.dtype, extra_sample(page)) != expected:
            given = f"{name} has pages of different shapes or types"
            raise FileError(given, "expected a stack of one", "part it first")
    return decoding


def _check_page(page: Any, stream: BinaryIO, name: str) -> None:
    """Raise for samples that would need a conversion, and for missing or damaged strips."""
    if page.dtype is None or np.dtype(page.dtype).name not in (*DTYPES, "bool"):
        raise DtypeError(
            f"{name} holds {page.bitspersample}-bit samples",
            "expected 8, 16, 32 or 64",
            "convert it first",
        )
    if refused := refuse_colours(page):
        raise DtypeError(f"{name} holds {refused}", "expected gray or RGB", "convert it first")

    # Check that the strips or tiles are in the file.
    size = stream.seek(0, 2)
    pieces = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    if len(pieces) != math.prod(page.chunked) or any(
        count < 1 or start + count > size for start, count in pieces
    ):
        raise damaged(name, "it ends too early")

    # Check that they hold the samples.
    stored = math.prod(page.shape) * page.bitspersample // 8
    if page.compression in DEFLATE:
        limit = 2 * math.prod(page.shape) * 8 + 2 * math.prod(page.chunks) * 8
        if damage := find_broken_deflate(stream, pieces, limit):
            raise damaged(name, damage)
    elif page.compression == 1 and sum(count for _, count in pieces) < stored:
        raise damaged(name, "its strips hold less than its samples")


def extra_sample(page: Any) -> int:
    """Return the kind of a page's one extra sample, 0 if it has none or several."""
    extra = [int(each) for each in page.extrasamples]
    return extra[-1] if len(extra) == 1 else 0


def read_page(page: Any, number: int) -> NDArray[Any]:
    """Read the samples (H, W) or (H, W, C) of a page: upright, black as 0, alpha straight.

    number: of the image, if one directory describes several contiguous images.
    """
    plane: NDArray[Any] = (
        page.asarray(maxworkers=1) if number == 0 else _following_image(page, number)
    )
    plane = np.moveaxis(plane, 0, -1) if page.axes == "SYX" else plane
    if plane.ndim != 2 + (page.samplesperpixel > 1):
        raise ShapeError(
            f"a page has the axes {page.axes}",
            "expected height, width and samples",
            "save it as .npy",
        )
    if photometric(page) == WHITE_IS_ZERO:
        gray = plane if plane.ndim == 2 else plane[..., :1]
        gray ^= plane.dtype.type(2**page.bitspersample - 1)
    straight = (
        unpremultiply(plane, page.bitspersample) if extra_sample(page) == PREMULTIPLIED else plane
    )
    return apply_orientation(to_rgb(straight, page), page.tags.valueof("Orientation", 1))


def _following_image(page: Any, number: int) -> NDArray[Any]:
    """Read the samples, in the page's shape, of an image that follows the page's own."""
    dtype = np.dtype(page.dtype).newbyteorder(page.parent.byteorder)
    offset = page.dataoffsets[0] + number * page.nbytes
    values: NDArray[Any] = page.parent.filehandle.read_array(dtype, page.size, offset)
    return values.reshape(page.shape)
