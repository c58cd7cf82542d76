"""Flatten a picture's alpha onto a background, and convert its colours to gray."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from convcli.errors import InputError
from convcli.io import Data
from convcli.jobs.colour import opaque

Rgb: TypeAlias = tuple[int, int, int]

LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)
"""The weights of red, green and blue in luma.

Source: ITU-R BT.709, whose primaries are those of sRGB.
"""

PIECE = 1 << 18
"""Values that are converted at a time: 1 MiB of float32; several such buffers exist at once."""


def flatten(data: Data, background: Rgb | None, *, gray: bool) -> Data:
    """Put a picture on a background, if one is given, and convert it to gray, if requested.

    background: a colour of 8 bits per channel. Colours are the codes of the file, rounded to its
    number type. Raises InputError for an array, which has no colours.
    """
    for option, given in (("--background", background is not None), ("--gray", gray)):
        if given and data.kind != "image":
            raise InputError(
                option, f"{data.name} is an array, and only a picture has colours", "leave it out"
            )
    if background is not None and data.alpha:
        data = _over(data, background)
    is_rgb = data.array.shape[-1] - data.alpha == 3 and _has_channels(data)
    return _in_gray(data) if gray and is_rgb else data


def _has_channels(data: Data) -> bool:
    """Return whether the last axis is that of channels, not the width of a gray picture."""
    return data.alpha or data.array.ndim - (data.frames > 1) == 3


def _over(data: Data, background: Rgb) -> Data:
    """Composite a picture over an opaque colour; a gray one stays gray on a gray colour."""
    top = opaque(data.array.dtype)
    colours = data.array.shape[-1] - 1
    ground = np.array(background, np.float32) * (top / 255)
    if colours == 1 and len(set(background)) == 1:
        ground = ground[:1]

    def over(piece: NDArray[np.float32]) -> NDArray[np.float32]:
        cover = piece[..., -1:] / top
        return np.asarray(piece[..., :-1] * cover + ground * (1 - cover), np.float32)

    colour = "#" + "".join(f"{level:02x}" for level in background)
    return _mapped(
        replace(data, alpha=False, notes=(*data.notes, f"put on {colour}")), over, len(ground)
    )


def _in_gray(data: Data) -> Data:
    """Return the luma of a picture, and its alpha unchanged."""

    def luma(piece: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.concatenate([(piece[..., :3] @ LUMA)[..., None], piece[..., 3:]], axis=-1)

    return _mapped(replace(data, notes=(*data.notes, "luma of RGB")), luma, 1 + data.alpha)


def _mapped(
    data: Data, change: Callable[[NDArray[np.float32]], NDArray[np.float32]], channels: int
) -> Data:
    """Apply `change` to a picture's pixels, some rows at a time; it returns `channels` channels."""
    array = data.array
    rows = array.reshape(-1, *array.shape[-2:])
    made = np.empty((*rows.shape[:-1], channels), array.dtype)
    step = max(PIECE // rows[:1].size, 1)
    for start in range(0, len(rows), step):
        values: NDArray[Any] = change(rows[start : start + step].astype(np.float32))
        made[start : start + step] = np.rint(values) if array.dtype.kind in "iu" else values
    taken = array.nbytes + made.nbytes + 64 * PIECE
    whole = made.reshape(*array.shape[:-1], channels)
    return replace(data, array=whole, decoding=max(data.decoding, taken))
