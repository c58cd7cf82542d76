"""Read and write metadata through Pillow."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from convcli.io.data import Metadata, Text
from convcli.io.images.metadata.exif import resized, upright_exif
from convcli.io.images.metadata.upright import (
    as_bytes,
    swaps_axes,
    valid_density,
)
from convcli.io.images.metadata.xmp import upright_xmp
from convcli.io.images.pillow import DIRECTORY_ERRORS

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

COMMENT, XMP_TEXT, _RAW_PROFILE = "Comment", "XML:com.adobe.xmp", "Raw profile type "


def read_metadata(image: ImageFile, orientation: int) -> Metadata:
    """Return the metadata of a decoded and open picture; leave out what cannot be read."""
    info = image.info
    comment, text = info.get("comment", b""), dict(getattr(image, "text", {}))
    if COMMENT in text:
        comment = text.pop(COMMENT)
    return Metadata(
        icc=info.get("icc_profile") or b"",
        density=_density(image, turned=swaps_axes(orientation)),
        exif=_exif(image, orientation),
        xmp=upright_xmp(as_bytes(info.get("xmp", b""))),
        comments=(as_bytes(comment),) if comment else (),
        text=tuple(_text(key, value) for key, value in text.items() if _is_text(key)),
    )


def encoder_options(metadata: Metadata, width: int, height: int) -> dict[str, Any]:
    """Return the metadata as options of most of Pillow's encoders, for a picture of that size."""
    given: dict[str, Any] = {
        "icc_profile": metadata.icc,
        "dpi": metadata.density,
        "exif": resized(metadata.exif, width, height) if metadata.exif else b"",
        "xmp": metadata.xmp,
        "comment": b"\n".join(metadata.comments),
    }
    if metadata.timing:
        given["duration"] = [float(duration) for duration in metadata.timing.durations]
        given["loop"] = metadata.timing.plays
    return given


def _density(image: ImageFile, *, turned: bool) -> tuple[float, float] | None:
    """Return the dots per inch along x and y of the upright picture, None if there are none."""
    return valid_density(image.info.get("dpi"), 1, turned=turned)


def _exif(image: ImageFile, orientation: int) -> bytes:
    with suppress(*DIRECTORY_ERRORS):
        block = image.info.get("exif")
        if isinstance(block, bytes) and block:
            return upright_exif(block, orientation, *image.size)
    return b""


def _is_text(key: str) -> bool:
    """Return whether a PNG's keyword is valid and does not declare XMP or a raw profile."""
    return 1 <= len(key) < 80 and key != XMP_TEXT and not key.startswith(_RAW_PROFILE)


def _text(keyword: str, value: str) -> Text:
    language = getattr(value, "lang", None) or ""
    translated = getattr(value, "tkey", None) or ""
    return Text(keyword, str(value), language, translated)
