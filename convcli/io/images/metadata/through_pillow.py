"""Read and write metadata by way of Pillow."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from convcli.io.data import Metadata, Text
from convcli.io.images.metadata.exif import block_of_tags, resized, rewrite_exif
from convcli.io.images.metadata.upright import (
    ORIENTATION,
    as_bytes,
    swaps_axes,
    valid_density,
)
from convcli.io.images.metadata.xmp import upright_xmp
from convcli.io.images.pillow import DIRECTORY_ERRORS

if TYPE_CHECKING:
    from PIL.Image import Exif
    from PIL.ImageFile import ImageFile

COMMENT, XMP_TEXT, _RAW_PROFILE = "Comment", "XML:com.adobe.xmp", "Raw profile type "
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT, _XMP, _ICC = 282, 283, 296, 700, 34675


def read_metadata(image: ImageFile, orientation: int) -> Metadata:
    """Return the metadata of a picture that is decoded and still open; what cannot be read is left out."""
    info = image.info
    comment, text = info.get("comment", b""), dict(getattr(image, "text", {}))
    if COMMENT in text:
        comment = text.pop(COMMENT)
    return Metadata(
        icc=info.get("icc_profile") or b"",
        density=_density(image, turned=swaps_axes(orientation)),
        exif=_exif(image),
        xmp=upright_xmp(as_bytes(info.get("xmp", b""))),
        comments=(as_bytes(comment),) if comment else (),
        text=tuple(_text(key, value) for key, value in text.items() if _is_text(key)),
    )


def read_tags(tags: Exif, *, turned: bool) -> Metadata:
    """Return the metadata in a TIFF's tags; `turned`: its orientation swapped the axes."""
    scale = {2: 1.0, 3: 2.54}.get(tags.get(_RESOLUTION_UNIT, 2))
    resolution = (tags.get(_X_RESOLUTION), tags.get(_Y_RESOLUTION))
    return Metadata(
        icc=as_bytes(tags.get(_ICC, b"")),
        density=valid_density(resolution, scale, turned=turned) if scale else None,
        exif=block_of_tags(tags),
        xmp=upright_xmp(as_bytes(tags.get(_XMP, b""))),
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
    """Return the dots per inch along x and y of the upright picture, None if the file does not tell them."""
    if image.format == "TIFF" and _X_RESOLUTION not in getattr(image, "tag_v2", ()):
        return None  # Pillow sets a default
    return valid_density(image.info.get("dpi"), 1, turned=turned)


def _exif(image: ImageFile) -> bytes:
    with suppress(*DIRECTORY_ERRORS):
        block = image.info.get("exif")
        if isinstance(block, bytes) and block:
            return rewrite_exif(block, {ORIENTATION: 1})
        return block_of_tags(image.getexif())
    return b""


def _is_text(key: str) -> bool:
    """Return whether a PNG's keyword may be written, and its text is held by no other kind."""
    return 1 <= len(key) < 80 and key != XMP_TEXT and not key.startswith(_RAW_PROFILE)


def _text(keyword: str, value: str) -> Text:
    language = getattr(value, "lang", None) or ""
    translated = getattr(value, "tkey", None) or ""
    return Text(keyword, str(value), language, translated)
