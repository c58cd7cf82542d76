"""Pictures encoded through Pillow."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from convcli.errors import InputError
from convcli.io.data import NOTHING, Kept
from convcli.io.formats import NONE, Format
from convcli.io.kept import options
from convcli.io.pillow import Whole, load_plugin


def write_image(
    stream: BinaryIO, array: NDArray[Any], form: Format, settings: Mapping[str, int] = NONE, kept: Kept = NOTHING
) -> None:
    """Encode (H, W) or (H, W, C), or frames (F, H, W, C), as `check_fit` lets pass, into a binary stream.

    settings: as `check_settings` lets pass.

    kept: what the file is to say besides, as `fitting` leaves it.
    """
    from PIL import Image

    load_plugin(form.pillow)
    native = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    frames = native if array.ndim == 4 else native[None]
    height, width = frames.shape[1:3]
    given = {**_options(form.name, settings), **options(kept, form, width, height)}
    first, *others = (Image.fromarray(frame[..., 0] if frame.shape[2:] == (1,) else frame) for frame in frames)
    if others:
        given |= {"save_all": True, "append_images": others}
    try:
        first.save(cast("BinaryIO", Whole(stream)), form.pillow, **given)
    except (
        struct.error,
        OverflowError,
    ) as error:  # of frames that are alike Pillow makes one, and adds their durations
        told = f"{form.name} cannot show one picture as long as some that follow each other last"
        raise InputError(told, "it counts hundredths of a second up to 65,535", "write .png or .webp") from error


def encoding_bytes(form: Format, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """Bytes that encoding such an image, or such frames, takes at most, besides the array and the file.

    Pillow uses the array's own memory for the modes L, RGBA and I;16, and holds a copy of 4 bytes a pixel for others;
    the WebP encoder keeps several planes more, GIF's a palette image or two. Of several frames Pillow holds all, and
    for GIF and PNG, which store what differs from the frame before, once more.
    """
    frames, *size = shape if len(shape) == 4 else (1, *shape)
    channels = size[2] if len(size) == 3 else 1
    copied = 0 if (dtype.name, channels) in (("uint8", 1), ("uint8", 4), ("uint16", 1)) else 4
    again = {"png": 1 if channels == 1 else 4, "gif": 2}.get(form.name, 0) if frames > 1 else 0
    return math.prod(size[:2]) * (frames * (copied + again) + {"webp": 32, "gif": 3}.get(form.name, 0))


def _options(name: str, settings: Mapping[str, int]) -> dict[str, Any]:
    chosen: dict[str, dict[str, Any]] = {
        # zlib's own level 6 takes about four times as long as level 1, for about the same size.
        "png": {"compress_level": 1},
        # 4:4:4: halving the colour resolution would be one more filter.
        "jpg": {"quality": 95, "subsampling": 0},
        "webp": {"lossless": "quality" not in settings, "exact": True},
        # The whole gray ramp is what tells a reader that the image is gray.
        "gif": {"optimize": False},
    }
    return {**chosen.get(name, {}), **settings}
