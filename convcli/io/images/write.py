"""Pictures encoded: a large PNG by all cores, all else through Pillow."""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from convcli.errors import InputError
from convcli.io.capabilities import channel_count
from convcli.io.data import NO_METADATA, Metadata
from convcli.io.formats import NONE, Format
from convcli.io.images.gif import indexing_bytes, write_gif
from convcli.io.images.metadata import options
from convcli.io.images.pillow import Whole, load_plugin
from convcli.io.images.png import STRIPE, ancillary, write_png
from convcli.io.images.png import encoding_bytes as png_bytes

PNG_LEVEL = 1
"""zlib's own level 6 takes about four times as long, for about the same size."""


def write_image(
    stream: BinaryIO,
    array: NDArray[Any],
    form: Format,
    settings: Mapping[str, int] = NONE,
    metadata: Metadata = NO_METADATA,
    threads: int = 1,
) -> None:
    """Encode (H, W) or (H, W, C), or frames (F, H, W, C), as `check_fit` lets pass, into a binary stream.

    settings: as `check_settings` lets pass.   metadata: what the file is to say besides, as `carry_over` leaves it.
    threads: that share the encoding of a large PNG; of a small picture Pillow's is the smaller one.
    """
    from PIL import Image

    native = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    frames = native if array.ndim == 4 else native[None]
    if form.name == "gif":
        write_gif(stream, list(frames), metadata)
        return
    load_plugin(form.pillow)
    height, width = frames.shape[1:3]
    given = {**_options(form.name, settings), **options(metadata, form, width, height)}
    if _in_stripes(form, array.shape, array.dtype):
        Image.new("L", (1, 1)).save(small := io.BytesIO(), form.pillow, **given)
        said = ancillary(small)
        write_png(stream, native, settings.get("compress_level", PNG_LEVEL), threads, said)
        return
    first, *others = (Image.fromarray(frame[..., 0] if frame.shape[2:] == (1,) else frame) for frame in frames)
    if others:
        given |= {"save_all": True, "append_images": others}
    try:
        first.save(cast("BinaryIO", Whole(stream)), form.pillow, **given)
    except (struct.error, OverflowError, ValueError, RuntimeError) as error:
        if not others:
            raise
        # Of frames that are alike Pillow makes one, and adds their durations.
        told = f"{form.name} cannot count how long frames last, those that are alike together"
        raise InputError(told, "expected shorter ones", "write .gif, or as .tiff without durations") from error


def _in_stripes(form: Format, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    """Whether it is a PNG of one frame, and of more than one stripe, or of samples that Pillow would cut."""
    if form.name != "png" or len(shape) > 3:
        return False
    return math.prod(shape) * dtype.itemsize > STRIPE or (dtype == np.uint16 and channel_count(shape) > 1)


def encoding_bytes(
    form: Format,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    settings: Mapping[str, int] = NONE,
    threads: int = 1,
) -> int:
    """Bytes that encoding such an image, or such frames, takes at most, besides the array and the file.

    Pillow uses the array's own memory for the modes L, RGBA and I;16, for WebP for RGBA alone, and holds a copy of 4
    bytes a pixel for others; the WebP encoder has planes of its own. Of several frames Pillow holds all, and for PNG,
    which stores what differs from the frame before, once more. A GIF is made frame by frame, and compared with the one
    before.
    """
    if _in_stripes(form, shape, dtype):
        return png_bytes(shape, dtype, threads)
    frames, *size = shape if len(shape) == 4 else (1, *shape)
    channels, pixels = channel_count(tuple(size)), math.prod(size[:2])
    if form.name == "gif":
        return indexing_bytes(pixels, channels) + (2 * pixels if frames > 1 else 0)
    if form.name == "webp":
        return pixels * frames * (0 if channels == 4 else 4) + _webp_bytes(pixels, channels, settings)
    copied = 0 if (dtype.name, channels) in (("uint8", 1), ("uint8", 4), ("uint16", 1)) else 4
    again = {"png": 1 if channels == 1 else 4}.get(form.name, 0) if frames > 1 else 0
    return pixels * frames * (copied + again)


def _webp_bytes(pixels: int, channels: int, settings: Mapping[str, int]) -> int:
    """Bytes that libwebp takes for noise, of which it makes the most: a smooth picture takes as little as half of it.

    Its symbol counts take as many bytes for few pixels as for many, later planes more where there are many.
    """
    if "quality" in settings:
        return pixels * (25 if channels in (1, 3) else 45)
    return pixels * 38 + (6 * 2**20 if pixels < 2**20 else 0)


def _options(name: str, settings: Mapping[str, int]) -> dict[str, Any]:
    chosen: dict[str, dict[str, Any]] = {
        "png": {"compress_level": PNG_LEVEL},
        # 4:4:4: halving the colour resolution would be one more filter.
        "jpg": {"quality": 95, "subsampling": 0},
        "webp": {"lossless": "quality" not in settings, "exact": True},
    }
    return {**chosen.get(name, {}), **settings}
