"""load: open a path or standard input, recognise what it holds, and decode it."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePath
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from convcli.errors import FileError, InputError, did_you_mean, reason
from convcli.io.arrays.nifti import SPATIAL, read_nifti
from convcli.io.arrays.npy import read_npy, read_npz
from convcli.io.arrays.raw import RawLayout, read_raw
from convcli.io.arrays.text import measure, read_text, survey
from convcli.io.arrays.wav import read_wav
from convcli.io.data import Data
from convcli.io.formats import Format, by_suffix, check_beyond, check_extra, lookup, suffixes
from convcli.io.images.png import is_deep_png, read_png16
from convcli.io.images.read import read_image
from convcli.io.images.tiff import beyond_pillow, read_tiff
from convcli.io.streams import BufferedPipe
from convcli.limits import Limits
from convcli.options import Frames

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
class Detected:
    """What first bytes look like: a format's name, or "" where none is read; and words for a message."""

    format: str
    words: str


def sniff(head: bytes) -> Detected:
    r"""Recognise content by its first bytes.

    >>> sniff(b"\x93NUMPY").format, sniff(b"1,2,3").words, sniff(b"%PDF-1.7").words
    ('npy', 'text', 'a PDF document')
    """
    for pattern, name, words in _MAGIC:
        if re.match(pattern, head, re.DOTALL):
            return Detected(name, words)
    return Detected("", "text" if is_text(head) else "unknown data")


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


UNTOLD = RawLayout()
"""Of raw numbers, neither shape nor type."""


class _Source(NamedTuple):
    """What was named: its name as given, the path without a key, and the key of an .npz archive."""

    name: str
    path: str
    key: str | None


def load(
    source: str | os.PathLike[str],
    *,
    format: str | None = None,
    limits: Limits | None = None,
    frames: Frames = "first",
    allow_truncated: bool = False,
    raw: RawLayout = UNTOLD,
    volume: bool = False,
) -> Data:
    """Read an image or an array from a path, from `archive.npz:key`, or from standard input for "-".

    The format is the one given, or that of the suffix, or what the first bytes look like; an image is decoded as what
    it is, whatever its suffix says. Images are (H, W) or (H, W, C), or (F, H, W, C) where all of several frames are
    wanted, arrays have any shape. Headers are held against the limits, by default `Limits.of()`, before what they
    declare is allocated. allow_truncated reads a damaged picture as far as it goes, and no other file. raw: how the
    numbers lie in a file that has no header. volume: all pages of a TIFF are one array, not the first a picture.
    Raises FileError for a file that is missing, unreadable or damaged, DtypeError for numbers that cannot be kept,
    LimitError for what would take more memory or has more pixels than may be.
    """
    named = _split(os.fspath(source))
    wanted = lookup(format) if format else by_suffix(named.path)
    limits = limits or Limits.of()
    called = _called(named)
    with _stream(named, limits) as stream:
        head = stream.read(SNIFFED_BYTES)
        if not head:
            raise FileError(f"{called} is empty", "expected an image or an array")
        form = _settle(named, wanted, sniff(head), piped=isinstance(stream, BufferedPipe), told=raw.shape is not None)
        check_extra(form, called)
        stream.seek(0)
        volume = volume and frames == "first"
        if form.stacks and (volume or (what := beyond_pillow(stream))):
            check_beyond(form, f"{called} holds {'pages of a volume' if volume else what}")
            data = read_tiff(stream, called, limits, frames=frames, volume=volume)
        elif form.name == "png" and is_deep_png(stream):
            check_beyond(form, f"{called} holds 16-bit samples in several channels")
            data = read_png16(stream, called, limits, frames)
        elif form.kind == "image":
            data = read_image(stream, called, form, limits, frames=frames, allow_truncated=allow_truncated)
        elif frames != "first":
            raise InputError(f"frames {frames}", f"{called} is an array", "leave --frames out")
        else:
            data = _read_array(stream, named, form, limits, raw)
            _check_axes(data.array, named.name)
        return replace(data, name=named.name, decoding=data.decoding + _held(stream))


def _split(name: str) -> _Source:
    """Part `archive.npz:key`, unless there is a file of that whole name.

    >>> _split("photo:1.npz").key, _split("weights.npz:conv1:w").key
    (None, 'conv1:w')
    """
    parts = re.fullmatch(r"(.+?\.npz):(.+)", name, re.IGNORECASE | re.DOTALL)
    if parts is None or os.path.lexists(name):
        return _Source(name, name, None)
    return _Source(name, parts[1], parts[2])


def _called(named: _Source) -> str:
    return "standard input" if named.path == "-" else named.path


@contextmanager
def _stream(named: _Source, limits: Limits) -> Iterator[BinaryIO]:
    """What was named as a stream that can be read twice: a file, or what comes through a pipe."""
    with _opened(named) as opened:
        if _is_regular(opened):
            yield opened
        else:
            with BufferedPipe(opened, _called(named), limits) as inflow:
                yield cast("BinaryIO", inflow)


def _opened(named: _Source) -> AbstractContextManager[BinaryIO]:
    if not named.path:
        raise FileError("no input", "expected the name of a file", "use - for standard input")
    if named.path == "-" and sys.stdin is None:
        raise FileError("standard input is closed", "expected an image or an array", "pipe one in, or name a file")
    if named.path == "-":
        return nullcontext(sys.stdin.buffer)
    try:
        return Path(named.path).open("rb")
    except FileNotFoundError:
        raise _missing(named.path) from None
    except IsADirectoryError:
        raise FileError(f"{named.path} is a folder", "expected a file", "name a file in it") from None
    except (OSError, ValueError) as error:
        raise _unreadable(named.path, error) from error


def _is_regular(stream: BinaryIO) -> bool:
    """Whether a stream is a file that can be read twice and mapped."""
    try:
        return stream is not sys.stdin.buffer and stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):
        return False


def _unreadable(path: str, error: OSError | ValueError) -> FileError:
    return FileError(f"{path!r} cannot be read" if "\0" in path else f"{path} cannot be read", reason(error))


def _missing(path: str) -> FileError:
    folder = Path(path).parent
    if not folder.is_dir():
        return FileError(f"{path} does not exist", f"there is no folder {folder}")
    if os.path.lexists(path):
        return FileError(f"{path} is a symbolic link that leads nowhere", "expected an existing file")
    near = did_you_mean(Path(path).name, _names(folder))
    return FileError(f"{path} does not exist", "", near or "expected an existing file")


def _names(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir())
    except OSError:
        return []


def _settle(named: _Source, wanted: Format | None, look: Detected, *, piped: bool, told: bool) -> Format:
    """The format to decode as: what content and name agree on; told: the layout of raw numbers is known."""
    seen = lookup(look.format) if look.format else None
    if wanted is not None and wanted.bare:
        return wanted if told or seen is None else seen
    if wanted is None:
        if seen is not None:
            return seen
        if piped and look.words == "text":
            return lookup("csv")
        raise unrecognised(_called(named), look.words)
    if wanted.kind == "image" and seen is not None and seen.kind == "image":
        return seen
    if seen is wanted or (wanted.separator and look.words == "text"):
        return wanted
    readable = look.format or ("csv" if look.words == "text" else "")
    raise FileError(
        f"{_called(named)} is no {wanted.name} file",
        f"it looks like {look.words}",
        f"rename it, or use --input-format {readable}" if readable else "",
    )


def _held(stream: BinaryIO) -> int:
    """Bytes of memory that a stream takes besides what is read of it: those that are kept of a pipe."""
    return stream.held if isinstance(stream, BufferedPipe) else 0


def _read_array(stream: BinaryIO, named: _Source, form: Format, limits: Limits, raw: RawLayout) -> Data:
    """The array with the bytes that decoding it took at most; none where it is mapped."""
    data = partial(Data, kind="array", format=form.name, name=named.name)
    called, path = _called(named), "" if isinstance(stream, BufferedPipe) else named.path
    if form.separator:
        array, decoding = _read_text(stream, called, limits)
        return data(array, decoding=decoding)
    if form.extra == "nifti":
        volume, decoding, geometry, notes = read_nifti(stream, called, limits, packed=form.name == "nii.gz")
        return data(volume, decoding=decoding, notes=notes, dims=min(volume.ndim, SPATIAL), header=geometry)
    if form.extra == "wav":
        samples, decoding, recording, notes = read_wav(stream, called, limits)
        return data(samples, decoding=decoding, notes=notes, dims=1, header=recording)
    if form.name == "raw":
        array = read_raw(stream, called, raw, limits, path)
        return data(array, decoding=_held_by(array, copies=2), header=raw)
    if form.name == "npz":
        array = read_npz(stream, named.path, named.key, limits)
    else:
        array = read_npy(stream, called, limits, path=path)
    return data(array, decoding=_held_by(array))


def _held_by(array: NDArray[Any], copies: int = 1) -> int:
    return 0 if isinstance(array, np.memmap) else copies * array.nbytes


def _read_text(stream: BinaryIO, name: str, limits: Limits) -> tuple[NDArray[Any], int]:
    size, held = measure(stream, name, limits), _held(stream)
    found = survey(stream, name)
    limits.check_memory(name, held + size.parsing + found.bytes)
    return read_text(stream, name, found), size.parsing + found.bytes


def _check_axes(array: NDArray[Any], name: str) -> None:
    if array.size == 0:
        shape = "x".join(map(str, array.shape))
        raise FileError(f"{name} has shape {shape}, without a value", "expected at least one value an axis")
    if array.ndim == 0:
        raise FileError(f"{name} is a single number without an axis", "expected an array of one axis or more")
