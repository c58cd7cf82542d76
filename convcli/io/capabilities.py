"""Check whether a format can write an array, and with which settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from convcli.errors import FormatError, InputError, ShapeError
from convcli.io.codec import PLAIN, WriteRequest, codec_of
from convcli.io.formats import Format, all_formats, can, check_extension
from convcli.shapes.parse import show


def check_holds(
    form: Format, dtype: np.dtype[Any], shape: tuple[int, ...], request: WriteRequest = PLAIN
) -> None:
    """Raise FormatError unless the format holds such an array without loss.

    FormatError is both a ShapeError and a DtypeError.

    >>> from convcli.io.formats import lookup
    >>> check_holds(lookup("png"), np.dtype("uint8"), (480, 640, 3))
    >>> check_holds(lookup("bmp"), np.dtype("uint16"), (480, 640))
    Traceback (most recent call last):
        ...
    convcli.errors.FormatError: bmp cannot hold uint16; ...
    """
    if 0 in shape:
        raise ShapeError(
            f"shape {show(shape)} has no values", "expected at least one", "use --padding same"
        )
    if refusal := codec_of(form).holds(dtype, shape, request):
        raise FormatError(refusal)


def check_settings(form: Format, settings: Mapping[str, int]) -> None:
    """Raise InputError for an encoder's setting that the format does not have.

    Raises DtypeError, which names the extra, for a setting of an extra that is not installed.

    >>> from convcli.io.formats import lookup
    >>> check_settings(lookup("png"), {"compress_level": 9})
    >>> check_settings(lookup("jpg"), {"compress_level": 9})
    Traceback (most recent call last):
        ...
    convcli.errors.InputError: jpg takes no compress level; png, tiff and zarr do; leave it out
    """
    for name, value in settings.items():
        words = name.replace("_", " ")
        if name not in form.settings:
            able = can(other.name for other in all_formats() if name in other.settings)
            raise InputError(f"{form.name} takes no {words}", able, "leave it out")
        if value and form.extension and name in form.extension.settings:
            check_extension(form.extension, f"{form.name} with a {words}", "take")
