"""Convert samples of a TIFF's page to gray or RGB of whole bytes.

Source: Adobe, "TIFF, Revision 6.0", 1992: 5 (palettes), 16 (CMYK), 21 (YCbCr).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convcli.io.images.tiff_directories import (
    COMPRESSION,
    GRAY,
    PHOTOMETRIC,
    PLANAR,
    RGB,
    SEPARATE,
    TILE_OFFSETS,
    TILE_WIDTH,
    UNCOMPRESSED,
    WHITE_IS_ZERO,
    as_tuple,
)
from convcli.shapes.parse import counted

PALETTE, CMYK, YCBCR = 3, 5, 6
COLOURS = {PALETTE: 1, CMYK: 4, YCBCR: 3, RGB: 3}
"""Samples per pixel that are colours; 1 for all other values of the tag."""

_INK_SET, _COEFFICIENTS, _SUBSAMPLING, _REFERENCE = 332, 529, 530, 532
_PACKED = (1, 2, 4)  # bits below 8 that Pillow reads in one channel
_NOT_CMYK = 2  # a value of the tag InkSet
_LUMA = 0.299, 0.587, 0.114
_RANGE = 0, 255, 128, 255, 128, 255
JPEG = 7
_DECODED = (6, JPEG)  # compressions for which tifffile converts YCbCr to RGB itself
_ARE = ("is", "are")
_SCALED = 8  # samples of fewer bits are scaled to 8 bits; others stay as stored


def misread_colours(tags: Mapping[int, Any], bits: int, samples: int) -> str:
    """Describe the bits or colours of a page that Pillow refuses or misreads, or return ""."""
    photometric = tags.get(PHOTOMETRIC)
    if photometric is None:
        return "samples of which it does not say what they mean"
    if TILE_WIDTH in tags and TILE_OFFSETS not in tags:
        return "tiles in the place of strips"
    if bits < 8 and (bits not in _PACKED or (samples > 1 and bits > 1)):
        return f"{bits}-bit samples"
    if photometric == PALETTE and bits > 8:
        return f"{bits}-bit indices of a palette"
    if photometric == CMYK and samples > COLOURS[CMYK]:
        return f"CMYK in {samples} channels"
    stored = tags.get(COMPRESSION, UNCOMPRESSED) == UNCOMPRESSED
    if photometric == YCBCR and stored and (tags.get(PLANAR) == SEPARATE or not _is_jpegs(tags)):
        return "YCbCr samples that are not JPEG's"
    return ""


def photometric(page: Any) -> int:
    """Return the photometric interpretation of a page; without the tag, libtiff's assumption."""
    if PHOTOMETRIC in page.tags:
        return int(page.photometric)
    return RGB if page.samplesperpixel - len(page.extrasamples) == COLOURS[RGB] else GRAY


def _is_jpegs(tags: Mapping[int, Any]) -> bool:
    """Return whether YCbCr samples have JPEG's coefficients and range, without subsampling."""
    luma = [float(value) for value in as_tuple(tags.get(_COEFFICIENTS, _LUMA))]
    levels = [float(value) for value in as_tuple(tags.get(_REFERENCE, _RANGE))]
    one_each = as_tuple(tags.get(_SUBSAMPLING, (2, 2))) == (1, 1)
    return one_each and np.allclose(luma, _LUMA, atol=1e-3) and levels == list(_RANGE)


def refuse_colours(page: Any) -> str:
    """Describe samples of a page that cannot be converted to gray or RGB, or return ""."""
    meant, dtype = photometric(page), np.dtype(page.dtype)
    name = getattr(page.photometric, "name", page.photometric)
    if meant in (GRAY, RGB) or (meant == WHITE_IS_ZERO and dtype.kind in "bu"):
        return ""
    if meant == PALETTE and dtype.kind in "bu" and page.colormap is not None:
        return ""
    if meant == CMYK and dtype.kind in "uf" and page.tags.valueof(_INK_SET, 1) != _NOT_CMYK:
        return ""
    if meant == YCBCR and page.compression in _DECODED:
        return ""
    if meant == YCBCR and dtype == np.uint8:
        one_each = as_tuple(page.subsampling or (1, 1)) == (1, 1)
        return "" if one_each else f"{name} samples with fewer of colours than of brightness"
    return f"{name} samples"


def to_rgb(plane: NDArray[Any], page: Any) -> NDArray[Any]:
    """Convert samples (H, W) or (H, W, S) to gray or RGB.

    Of extra samples only alpha is kept with converted colours. plane: black is 0, alpha straight.
    Raises IndexError for an index that is not in the palette.
    """
    meant = photometric(page)
    if meant not in (PALETTE, CMYK, YCBCR) or (meant == YCBCR and page.compression in _DECODED):
        return plane
    samples = plane if plane.ndim == 3 else plane[..., None]
    colours = samples[..., : COLOURS[meant]]
    rgb = {PALETTE: _of_palette, CMYK: _of_cmyk, YCBCR: _of_ycbcr}[meant](colours, page)
    if not has_alpha(page):
        return rgb
    alpha = samples[..., COLOURS[meant]]
    if meant == PALETTE and page.bitspersample > _SCALED:
        alpha = alpha >> page.bitspersample - _SCALED
    return np.concatenate([rgb, alpha.astype(rgb.dtype)[..., None]], axis=2)


def describe_conversion(page: Any) -> str:
    """Describe what `to_rgb` and `scale_bits` do to the samples of a page, or return ""."""
    meant = photometric(page)
    if meant == PALETTE:
        return "palette expanded"
    if meant in (CMYK, YCBCR):
        return f"{'CMYK' if meant == CMYK else 'YCbCr'} converted to RGB"
    top = 2**page.bitspersample - 1
    return f"values scaled from 0..{top} to 0..255" if page.bitspersample < _SCALED else ""


def describe_loss(page: Any) -> str:
    """Describe the samples of a page that `to_rgb` leaves out, or return ""."""
    meant, extra = photometric(page), len(page.extrasamples)
    if meant not in (PALETTE, CMYK, YCBCR) or not extra or has_alpha(page):
        return ""
    samples = f"{counted(extra, 'more sample')} of each pixel"
    return f"{samples} left out, which {_ARE[extra > 1]} no alpha"


def has_alpha(page: Any) -> bool:
    """Return whether a page has exactly one extra sample, and that is alpha."""
    return len(page.extrasamples) == 1 and page.extrasamples[0] in (1, 2)


def _of_palette(indices: NDArray[Any], page: Any) -> NDArray[Any]:
    """Return colours (H, W, 3) of 8 bits; a palette whose values are all below 256 has 8 bits."""
    entries = np.asarray(page.colormap).T
    colours: NDArray[Any] = (entries if entries.max() < 256 else entries >> 8).astype(np.uint8)
    return np.asarray(colours[indices[..., 0].astype(np.intp)])


def _of_cmyk(inks: NDArray[Any], page: Any) -> NDArray[Any]:
    """Convert CMYK inks to RGB (H, W, 3), by the same formula as Pillow for 8 bits."""
    top = np.iinfo(inks.dtype).max if inks.dtype.kind == "u" else 1
    rgb = np.empty((*inks.shape[:2], 3), inks.dtype)
    for row, printed in zip(rgb, inks, strict=True):
        bare = top - printed.astype(np.float64)
        left = bare[:, :3] * bare[:, 3:] / top
        row[...] = left if top == 1 else np.rint(left)
    return rgb


def _of_ycbcr(samples: NDArray[Any], page: Any) -> NDArray[Any]:
    """Convert YCbCr to RGB (H, W, 3) by the page's coefficients and reference levels."""
    red, green, blue = _fractions(page, _COEFFICIENTS) or _LUMA
    levels = _fractions(page, _REFERENCE) or _RANGE
    black, white = np.array(levels[::2]), np.array(levels[1::2])
    full = np.array([255, 127, 127]) / np.where(white == black, 1, white - black)
    rgb = np.empty((*samples.shape[:2], 3), np.uint8)
    for row, stored in zip(rgb, samples, strict=True):
        luma, towards_blue, towards_red = ((stored - black) * full).T
        reds = luma + (2 - 2 * red) * towards_red
        blues = luma + (2 - 2 * blue) * towards_blue
        greens = (luma - red * reds - blue * blues) / green
        row[...] = np.clip(np.rint(np.stack([reds, greens, blues], axis=1)), 0, 255)
    return rgb


def _fractions(page: Any, tag: int) -> tuple[float, ...]:
    """Return the fractions of a tag, from tifffile's numerators and denominators; () for none."""
    values = as_tuple(page.tags.valueof(tag, ()))
    if tag not in page.tags or len(values) % 2:
        return ()
    pairs = zip(values[::2], values[1::2], strict=True)
    fractions = tuple(above / below if below else math.nan for above, below in pairs)
    return fractions if all(map(math.isfinite, fractions)) else ()


def scale_bits(plane: NDArray[Any], bits: int) -> NDArray[Any]:
    """Scale samples of fewer than 8 bits to 8; return all others unchanged.

    >>> scale_bits(np.uint8([0, 1, 31]), 5)
    array([  0,   8, 255], dtype=uint8)
    """
    if bits >= _SCALED:
        return plane
    top = 2**bits - 1
    table: NDArray[np.uint8] = np.rint(np.arange(256) * (255 / top)).clip(0, 255).astype(np.uint8)
    return np.take(table, plane.astype(np.uint8))
