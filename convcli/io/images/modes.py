"""The one table of Pillow's modes: how each is read, and what of it Pillow would silently cut, which is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from convcli.errors import DtypeError
from convcli.io.images.jpeg2000 import read_sizes

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

_BITS_PER_SAMPLE, _SAMPLE_FORMAT = 258, 339  # TIFF 6.0, section 8 and 19
_UNSIGNED, _SIGNED = 1, 2


class Reading(NamedTuple):
    """How a mode is read: the mode it is converted to, that for a file with transparency, the number type, a note."""

    opaque: str
    transparent: str
    dtype: str = "uint8"
    note: str = ""

    @property
    def words(self) -> tuple[str, str, str]:
        """What comes of it: the samples, those where the file has transparency, and what is done.

        >>> MODES["P"].words
        ('RGB uint8', 'RGBA uint8', 'palette expanded')
        """
        opaque, transparent = (f"{_SAMPLES.get(mode, mode)} {self.dtype}" for mode in (self.opaque, self.transparent))
        return opaque, transparent, self.note


_SAMPLES = {"": "gray", "L": "gray", "I": "gray", "F": "gray", "LA": "gray and alpha"}


def _to_rgb(what: str) -> Reading:
    return Reading("RGB", "RGBA", note=f"{what} converted to RGB")


MODES = {
    "1": Reading("L", "LA", note="bits expanded to 0 and 255"),
    "L": Reading("L", "LA"),
    "LA": Reading("LA", "LA"),
    "La": Reading("LA", "LA", note="alpha unpremultiplied"),
    "P": Reading("RGB", "RGBA", note="palette expanded"),
    "PA": Reading("RGBA", "RGBA", note="palette expanded"),
    "RGB": Reading("RGB", "RGBA"),
    "RGBX": Reading("RGB", "RGB", note="unused fourth channel dropped"),
    "RGBA": Reading("RGBA", "RGBA"),
    "RGBa": Reading("RGBA", "RGBA", note="alpha unpremultiplied"),
    "CMYK": _to_rgb("CMYK"),
    "YCbCr": _to_rgb("YCbCr"),
    "LAB": _to_rgb("LAB"),
    "HSV": _to_rgb("HSV"),
    "I": Reading("I", "I", "int32"),
    "F": Reading("F", "F", "float32"),
} | {f"I;16{order}": Reading("", "", "uint16") for order in ("", "L", "B", "N")}  # "" converts nothing


def refuse_cut_bits(image: ImageFile, stream: BinaryIO, name: str) -> None:
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
    if np.dtype(MODES[image.mode].dtype) != np.uint8:
        return ""
    bits = _bits(image, stream)
    return f"{bits}-bit samples" if bits > 8 else ""


def _cut_tiff(image: ImageFile) -> str:
    tags: Any = getattr(image, "tag_v2", {})
    bits = max(tags.get(_BITS_PER_SAMPLE, (1,)))
    sample = max(tags.get(_SAMPLE_FORMAT, (_UNSIGNED,)))
    dtype = np.dtype(MODES[image.mode].dtype)
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
        return netpbm_largest(image).bit_length()
    if image.format == "JPEG2000" and (sizes := read_sizes(stream)):
        return sizes.bits
    return 8


def netpbm_largest(image: ImageFile) -> int:
    """The largest value that a netpbm header declares, where Pillow stretches the values by it; otherwise 0."""
    arguments = image.tile[0][3] if image.format == "PPM" and image.tile else None
    return int(arguments[1]) if isinstance(arguments, tuple) and len(arguments) == 2 else 0
