"""What a file's first bytes look like, whatever its name says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath

from convcli.errors import FileError, InputError, did_you_mean
from convcli.io.formats import suffixes

# First bytes -> the format, or "" with words for what convcli does not read.
_MAGIC = (
    (rb"\x89PNG\r\n\x1a\n", "png", "a PNG image"),
    (rb"\xff\xd8\xff", "jpg", "a JPEG image"),
    (rb"GIF8[79]a", "gif", "a GIF image"),
    (rb"RIFF....WEBP", "webp", "a WebP image"),
    (rb"BM.{10}\x00\x00", "bmp", "a BMP image"),
    (rb"II\*\x00|MM\x00\*", "tiff", "a TIFF image"),
    (rb"P[14]\s", "pbm", "a PBM image"),
    (rb"P[25]\s", "pgm", "a PGM image"),
    (rb"P[36]\s", "ppm", "a PPM image"),
    (rb"Pf\s", "pfm", "a PFM image"),
    (rb"\x00\x00\x00\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", "jp2", "a JPEG 2000 image"),
    (rb"\x93NUMPY", "npy", "a .npy array"),
    (rb"PK(\x03\x04|\x05\x06)", "npz", "a zip archive, as .npz is"),
    (rb"....ftyp(avif|avis)", "", "an AVIF image"),
    (rb"....ftyp(heic|heix|mif1)", "", "a HEIC image"),
    (rb"II\x2b\x00|MM\x00\x2b", "tiff", "a BigTIFF image"),
    (rb"%PDF", "", "a PDF document"),
    (rb"%!PS", "", "a PostScript document"),
    (rb"\x1f\x8b", "nii.gz", "gzip-compressed data, as .nii.gz is"),
    (rb"(\x5c\x01\x00\x00|\x00\x00\x01\x5c).{340}n\+1\x00", "nii", "a NIfTI volume"),
    (rb"(\x1c\x02\x00\x00|\x00\x00\x02\x1c)n\+2\x00", "nii", "a NIfTI-2 volume"),
    (rb"RIFF....WAVE", "wav", "a WAV recording"),
    (rb"\x89HDF", "", "an HDF5 file"),
    (rb"\s*<(\?xml|svg|!DOCTYPE|html)", "", "an XML or HTML document"),
    (rb"(\xff\xfe|\xfe\xff)", "", "UTF-16 text"),
)
SNIFFED_BYTES = 512


@dataclass(frozen=True)
class Look:
    """What first bytes look like: a format's name, or "" where none is read; and words for a message."""

    format: str
    words: str


def sniff(head: bytes) -> Look:
    r"""Recognise content by its first bytes.

    >>> sniff(b"\x93NUMPY").format, sniff(b"1,2,3").words, sniff(b"%PDF-1.7").words
    ('npy', 'text', 'a PDF document')
    """
    for pattern, name, words in _MAGIC:
        if re.match(pattern, head, re.DOTALL):
            return Look(name, words)
    return Look("", "text" if is_text(head) else "unknown data")


def is_text(head: bytes) -> bool:
    """Whether first bytes are UTF-8 without control characters; a character may be cut at their end.

    >>> is_text("1;2 # größe".encode()), is_text(bytes(8))
    (True, False)
    """
    try:
        head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:
            return False
    return not re.search(rb"[\x00-\x08\x0e-\x1f\x7f]", head)


def unrecognised(name: str, look: str) -> InputError:
    """The error for a file whose suffix and content both say nothing."""
    bare = PurePath(name).suffix.lower()
    readable = " ".join(suffixes())
    return FileError(
        f"{name} has no suffix that is read" + (f" and looks like {look}" if look else ""),
        f"expected one of {readable}",
        did_you_mean(bare, suffixes()) if bare else "name the format with --input-format",
    )
