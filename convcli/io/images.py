"""Images through Pillow: each of its modes is mapped on purpose, and what it would silently cut is refused.

Pillow is imported inside the functions, so that work on arrays never loads it.
"""

from __future__ import annotations

import ctypes
import logging
import math
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from convcli.errors import DtypeError, FileError, LimitError, brief
from convcli.io import integrity
from convcli.io.data import Data
from convcli.io.formats import NONE, Format
from convcli.limits import Limits

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

# Pillow loads these on demand, by importing every plugin it has; importing the one spares that.
_PLUGINS = {"WEBP": "WebPImagePlugin", "TIFF": "TiffImagePlugin", "JPEG2000": "Jpeg2KImagePlugin"}
# A damaged file makes Pillow's decoders raise nearly anything.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, struct.error, zlib.error, OverflowError)
_ORIENTATION = 0x0112
_BITS_PER_SAMPLE, _SAMPLE_FORMAT = 258, 339  # TIFF 6.0, section 8 and 19
_UNSIGNED, _SIGNED = 1, 2
_COMPRESSION, _DEFLATE = 259, (8, 32946)
_DEEPEST = 32  # bytes of a pixel: four samples of 64 bits
_STRIPS, _TILES = (273, 279), (324, 325)  # offsets and byte counts
_PNM = {"1": "pbm", "L": "pgm", "I": "pgm", "RGB": "ppm", "F": "pfm"}


class _Reading(NamedTuple):
    """How a mode is read: the mode it is converted to, that for a file with transparency, the number type, a note."""

    opaque: str
    transparent: str
    dtype: str = "uint8"
    note: str = ""


def _to_rgb(what: str) -> _Reading:
    return _Reading("RGB", "RGBA", note=f"{what} converted to RGB")


_MODES = {
    "1": _Reading("L", "LA", note="bits expanded to 0 and 255"),
    "L": _Reading("L", "LA"),
    "LA": _Reading("LA", "LA"),
    "La": _Reading("LA", "LA", note="alpha unpremultiplied"),
    "P": _Reading("RGB", "RGBA", note="palette expanded to RGB"),
    "PA": _Reading("RGBA", "RGBA", note="palette expanded to RGB"),
    "RGB": _Reading("RGB", "RGBA"),
    "RGBX": _Reading("RGB", "RGB", note="unused fourth channel dropped"),
    "RGBA": _Reading("RGBA", "RGBA"),
    "RGBa": _Reading("RGBA", "RGBA", note="alpha unpremultiplied"),
    "CMYK": _to_rgb("CMYK"),
    "YCbCr": _to_rgb("YCbCr"),
    "LAB": _to_rgb("LAB"),
    "HSV": _to_rgb("HSV"),
    "I": _Reading("I", "I", "int32"),
    "F": _Reading("F", "F", "float32"),
} | {f"I;16{order}": _Reading("", "", "uint16") for order in ("", "L", "B", "N")}  # "" converts nothing


def read_image(stream: BinaryIO, name: str, form: Format, limits: Limits, *, allow_truncated: bool = False) -> Data:
    """Decode the first frame of an image whose content was recognised as `form`.

    Returns (H, W) or (H, W, C): uint8, uint16, int32 or float32, upright, straight alpha last. With allow_truncated a
    damaged file is read as far as it goes, and `damage` says what was found.
    Raises FileError for a damaged file, DtypeError for bits that Pillow would cut, LimitError for a
    header that declares more pixels, or more memory, than the limits allow.
    """
    try:
        if damage := integrity.damage(stream, form.name):
            raise _DamageError(name, form, damage)
        return _read(stream, name, form, limits)
    except _DamageError as damaged:
        if not allow_truncated:
            raise
        damage = damaged.damage
    stream.seek(0)
    with _lenient():
        return replace(_read(stream, name, form, limits, lenient=True), damage=damage)


class _DamageError(FileError):
    """A picture whose file is not whole; `damage` says how, in words."""

    def __init__(self, name: str, form: Format, damage: str) -> None:
        self.damage = damage
        given = f"{name} is damaged: {damage}"
        super().__init__(given, f"expected a whole {form.name} file", "copy it anew, or see --allow-truncated")


def _read(stream: BinaryIO, name: str, form: Format, limits: Limits, *, lenient: bool = False) -> Data:
    try:
        _limit_pages(stream, name, form)
        image, frames = _open(stream, form)
        with image:
            limits.check_pixels(name, *image.size)
            decoding = _decoding_bytes(image)
            limits.check_memory(name, decoding)
            _refuse_cut_bits(image, stream, name)
            if not lenient and (damage := _broken_strip(image, stream)):
                raise _DamageError(name, form, damage)
            return replace(_decoded(image, name, form, frames), decoding=decoding)
    except _DAMAGE as error:
        if isinstance(error, (DtypeError, FileError)):
            raise
        if lenient or type(error).__name__ == "UnidentifiedImageError":  # whose words are of Python's streams
            raise FileError(
                f"{name} is damaged, or of a kind that Pillow does not read",
                f"expected a whole {form.name} file",
                "save it anew, or as .npy",
            ) from error
        raise _DamageError(name, form, brief(error)) from error


def _limit_pages(stream: BinaryIO, name: str, form: Format) -> None:
    if form.pillow == "TIFF" and integrity.pages(stream) > integrity.PAGES:
        raise LimitError(f"{name} has more than {integrity.PAGES:,} pages", "expected fewer", "part it first")


def _open(stream: BinaryIO, form: Format) -> tuple[ImageFile, int]:
    """The image, its header read and none of its pixels decoded, and how many frames it has."""
    from PIL import Image

    _load_plugin(form.pillow)
    with _unguarded():
        image = Image.open(stream, formats=(form.pillow,))
        return image, getattr(image, "n_frames", 1)


def _broken_strip(image: ImageFile, stream: BinaryIO) -> str:
    """What is wrong with the first strip or tile of a deflated TIFF whose checksum differs, or ""."""
    tags: Any = getattr(image, "tag_v2", {})
    if image.format != "TIFF" or tags.get(_COMPRESSION) not in _DEFLATE:
        return ""
    pieces = [(tags.get(at, ()), tags.get(count, ())) for at, count in (_STRIPS, _TILES)]
    most = 2 * (image.width + 4096) * (image.height + 4096) * _DEEPEST  # tiles may reach over the edges
    return "".join(integrity.deflated(stream, zip(*piece, strict=True), most) for piece in pieces)


def _decoding_bytes(image: ImageFile) -> int:
    """Bytes that decoding takes at most: Pillow's own picture, turned and converted, and the array, twice.

    Pillow holds a pixel in 1 byte, or 2 for its 16-bit modes, or 4 for all others; it hands the samples over in pieces
    that it joins.
    """
    reading = _MODES[image.mode]
    wanted = (reading.transparent if image.has_transparency_data else reading.opaque) or image.mode
    stored = {"1": 1, "L": 1, "P": 1}.get(image.mode, 2 if image.mode.startswith("I;16") else 4)
    converted = 0 if wanted == image.mode else 1 if wanted == "L" else 4
    sample = {"LA": 2, "RGB": 3}.get(wanted, converted or stored)
    turned = stored if _is_turned(image) else 0
    return image.width * image.height * (stored + turned + converted + 2 * sample)


def _is_turned(image: ImageFile) -> bool:
    """Whether the header says that the picture lies on its side or its back; a PNG may say so behind its samples."""
    known = image.format != "PNG" or "exif" in image.info
    return known and image.getexif().get(_ORIENTATION, 1) in range(2, 9)


_pillow_state = threading.RLock()
_SILENCE = logging.NullHandler()  # where a program sets up no other, Pillow's logger would write to stderr


@contextmanager
def _lenient() -> Iterator[None]:
    """Let Pillow leave blank what a file does not hold, until the block ends; global to the process, as below."""
    from PIL import ImageFile

    with _pillow_state:
        before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, True
        try:
            yield
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = before


@contextmanager
def _unguarded() -> Iterator[None]:
    """Switch off Pillow's own limit of pixels, and mute its warnings, until the block ends.

    Both settings are global to the process, so they are held by one thread at a time and put back.
    """
    from PIL import Image

    with _pillow_state, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _refuse_cut_bits(image: ImageFile, stream: BinaryIO, name: str) -> None:
    cut = _cut_bits(image, stream)
    if cut:
        raise DtypeError(
            f"{name} holds {cut}",
            f"Pillow would cut them to its mode {image.mode}",
            "convert it to 8 bits, or to a .npy array, first",
        )


def _cut_bits(image: ImageFile, stream: BinaryIO) -> str:
    """Name the samples that Pillow would cut to its mode, or "" where it keeps them all."""
    if image.format == "TIFF":
        return _cut_tiff(image)
    if np.dtype(_MODES[image.mode].dtype) != np.uint8:
        return ""
    bits = _bits(image, stream)
    return f"{bits}-bit samples" if bits > 8 else ""


def _cut_tiff(image: ImageFile) -> str:
    tags: Any = getattr(image, "tag_v2", {})
    bits = max(tags.get(_BITS_PER_SAMPLE, (1,)))
    sample = max(tags.get(_SAMPLE_FORMAT, (_UNSIGNED,)))
    dtype = np.dtype(_MODES[image.mode].dtype)
    if bits > 8 * dtype.itemsize:
        return f"{bits}-bit samples"
    if bits == 8 and sample == _SIGNED:
        return "signed 8-bit samples"
    if bits == 32 and sample == _UNSIGNED and dtype == np.int32:
        return "unsigned 32-bit samples"
    return ""


def _bits(image: ImageFile, stream: BinaryIO) -> int:
    """Bits a sample, where a format that holds more than 8 is opened with an 8-bit mode."""
    if image.format == "PNG":
        return 16 if image.tile and ";16" in str(image.tile[0][3]) else 8
    if image.format == "PPM":
        return _netpbm_largest(image).bit_length()
    return _jpeg2000_bits(stream) if image.format == "JPEG2000" else 8


def _netpbm_largest(image: ImageFile) -> int:
    """The largest value that a netpbm header declares, where Pillow stretches the values by it; otherwise 0."""
    arguments = image.tile[0][3] if image.format == "PPM" and image.tile else None
    return int(arguments[1]) if isinstance(arguments, tuple) and len(arguments) == 2 else 0


def _jpeg2000_bits(stream: BinaryIO) -> int:
    """Bits a component, from the SIZ marker segment of the codestream (ISO/IEC 15444-1, A.5.1)."""
    before = stream.tell()
    stream.seek(0)
    _, marker, segment = stream.read(2**20).partition(b"\xff\x4f\xff\x51")
    stream.seek(before)
    count = int.from_bytes(segment[36:38], "big")
    depths = segment[38 : 38 + 3 * count : 3]
    return max(((depth & 0x7F) + 1 for depth in depths), default=8) if marker else 8


def _decoded(image: ImageFile, name: str, form: Format, frames: int) -> Data:
    mode = image.mode
    reading = _MODES[mode]
    stored_scale = _stored_scale(image)
    _scale_transparent_level(image)
    upright, turned = _upright(image)
    wanted = reading.transparent if upright.has_transparency_data else reading.opaque
    converted = upright if wanted in ("", upright.mode) else upright.convert(wanted)
    dtype = "uint16" if (image.format, mode) == ("PPM", "I") else reading.dtype
    notes = (
        f"first of {frames} frames" if frames > 1 else "",
        "EXIF orientation applied" if turned else "",
        reading.note,
        "transparent colour made alpha" if wanted.endswith("A") and mode in ("1", "L", "RGB") else "",
        stored_scale,
        f"transparent level {image.info['transparency']} left opaque"
        if mode.startswith("I;16") and "transparency" in image.info
        else "",
    )
    return Data(
        np.asarray(converted).astype(dtype, copy=False),
        "image",
        _format_name(image, form),
        name,
        mode,
        converted.mode in ("LA", "RGBA"),
        tuple(note for note in notes if note),
    )


def _scale_transparent_level(image: ImageFile) -> None:
    """Scale the transparent level of a PNG of 2 or 4 bits, whose samples Pillow scales to 8, before it is decoded."""
    raw = str(image.tile[0][3]) if image.format == "PNG" and image.tile else ""
    if raw in ("L;2", "L;4") and "transparency" in image.info:
        image.info["transparency"] *= 255 // (2 ** int(raw[-1]) - 1)


def _upright(image: ImageFile) -> tuple[Image, bool]:
    """The decoded image as its EXIF orientation wants it, and whether that turned it."""
    from PIL import ImageOps

    turned = image.getexif().get(_ORIENTATION, 1) in range(2, 9)
    image.load()
    return (ImageOps.exif_transpose(image) if turned else image), turned  # a TIFF has turned itself by now


def _stored_scale(image: ImageFile) -> str:
    largest, full = _netpbm_largest(image), 65535 if image.mode == "I" else 255
    return f"values scaled from 0..{largest} to 0..{full}" if largest not in (0, full) else ""


def _format_name(image: ImageFile, form: Format) -> str:
    return _PNM.get(image.mode, form.name) if form.pillow == "PPM" else form.name


def write_image(stream: BinaryIO, array: NDArray[Any], form: Format, settings: Mapping[str, int] = NONE) -> None:
    """Encode (H, W) or (H, W, C), as `check_fit` lets pass, into a binary stream; settings as `check_settings` does."""
    from PIL import Image

    _load_plugin(form.pillow)
    native = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    Image.fromarray(native).save(cast("BinaryIO", _Whole(stream)), form.pillow, **_options(form.name, settings))


class _Whole:
    """A stream without a file descriptor, whose writes are whole or raise.

    Pillow's encoders write to a descriptor themselves, and take a part of a write, as on a full disk, for all of it.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.read, self.write = stream.read, stream.write
        self.seek, self.tell, self.flush = stream.seek, stream.tell, stream.flush


def encoding_bytes(form: Format, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """Bytes that encoding such an image takes at most, besides the image and the file.

    Pillow uses the array's own memory for the modes L, RGBA and I;16, and holds a copy of 4 bytes a pixel for others;
    the WebP encoder keeps several planes more, GIF's a palette image or two.
    """
    channels = shape[2] if len(shape) == 3 else 1
    copied = 0 if (dtype.name, channels) in (("uint8", 1), ("uint8", 4), ("uint16", 1)) else 4
    return math.prod(shape[:2]) * (copied + {"webp": 32, "gif": 3}.get(form.name, 0))


def _options(name: str, settings: Mapping[str, int]) -> dict[str, Any]:
    options: dict[str, dict[str, Any]] = {
        # zlib's own level 6 takes about four times as long as level 1, for about the same size.
        "png": {"compress_level": 1},
        # 4:4:4: halving the colour resolution would be one more filter.
        "jpg": {"quality": 95, "subsampling": 0},
        "webp": {"lossless": "quality" not in settings, "exact": True},
        # The whole gray ramp is what tells a reader that the image is gray.
        "gif": {"optimize": False},
    }
    return {**options.get(name, {}), **settings}


def _load_plugin(pillow: str) -> None:
    from PIL import Image

    Image.preinit()
    logging.getLogger("PIL").addHandler(_SILENCE)
    if pillow in _PLUGINS:
        import_module(f"PIL.{_PLUGINS[pillow]}")
    if pillow == "TIFF":
        _mute_libtiff()


@cache
def _mute_libtiff() -> None:
    """Keep libtiff, which Pillow's own library carries, from telling stderr in its words what Pillow then raises."""
    library = ctypes.CDLL(import_module("PIL._imaging").__file__)
    for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
        if (silence := getattr(library, name, None)) is not None:
            silence(None)
