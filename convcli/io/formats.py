"""The one table of formats: suffixes, what each can hold, and how its content is recognised."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from convcli.errors import DtypeError, FileError, InputError, ShapeError, did_you_mean
from convcli.io.data import Kind

NUMBERS = "biuf"  # numpy's kinds of real numbers: bool, signed, unsigned, floating
NONE: Mapping[str, int] = MappingProxyType({})  # settings of an encoder
_RESCALE = "use --dtype uint8 with --range rescale, or write"


@dataclass(frozen=True)
class Format:
    """One file format: its names, and what it holds without loss of bits.

    `channels` maps each number type that an image format holds to the channel counts it holds it with (2 and 4 end in
    alpha); it is empty for a format that is only read. Array formats name `kinds` of numbers and a largest `ndim`.
    """

    name: str
    suffixes: tuple[str, ...]
    kind: Kind = "image"
    pillow: str = ""  # Pillow's name of the format
    channels: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    max_side: int = 2**31 - 1
    kinds: str = ""
    max_ndim: int = 64
    separator: str = ""  # between the numbers of a text format
    settings: tuple[str, ...] = ()  # of its encoder: what `check_settings` lets pass

    @property
    def writable(self) -> bool:
        """Whether `save` writes it; every format of the table is read."""
        return bool(self.channels or self.kinds)

    @property
    def contents(self) -> str:
        """What the format holds, in words.

        >>> lookup("png").contents
        'uint8 (1, 2, 3 or 4 channels), uint16 (1 channel) and bool (1 channel)'
        """
        if self.kind == "array":
            return f"numbers in up to {self.max_ndim} axes"
        return _listed((f"{dtype} ({_counted(counts)})" for dtype, counts in self.channels.items()), "and")


def _listed(words: Iterable[str], last: str) -> str:
    *most, end = words
    return f"{', '.join(most)} {last} {end}" if most else end


def _counted(counts: tuple[int, ...]) -> str:
    return f"{_listed(map(str, counts), 'or')} channel{'s' if counts != (1,) else ''}"


# GIF holds gray alone: colour would be cut to 256 entries. JPEG is the only lossy format that is written.
_TABLE = (
    Format(
        "png",
        (".png",),
        pillow="PNG",
        channels={"uint8": (1, 2, 3, 4), "uint16": (1,), "bool": (1,)},
        settings=("compress_level",),
    ),
    Format(
        "jpg",
        (".jpg", ".jpeg", ".jpe", ".jfif"),
        pillow="JPEG",
        channels={"uint8": (1, 3)},
        max_side=65500,
        settings=("quality",),
    ),
    Format("webp", (".webp",), pillow="WEBP", channels={"uint8": (1, 2, 3, 4)}, max_side=16383, settings=("quality",)),
    Format("bmp", (".bmp", ".dib"), pillow="BMP", channels={"uint8": (1, 3), "bool": (1,)}),
    Format("gif", (".gif",), pillow="GIF", channels={"uint8": (1,)}, max_side=65535),
    Format(
        "tiff",
        (".tiff", ".tif"),
        pillow="TIFF",
        channels={"uint8": (1, 2, 3, 4), "uint16": (1,), "int32": (1,), "float32": (1,), "bool": (1,)},
    ),
    Format("ppm", (".ppm", ".pnm"), pillow="PPM", channels={"uint8": (3,)}),
    Format("pgm", (".pgm",), pillow="PPM", channels={"uint8": (1,), "uint16": (1,)}),
    Format("pbm", (".pbm",), pillow="PPM", channels={"bool": (1,)}),
    Format("pfm", (".pfm",), pillow="PPM", channels={"float32": (1,)}),
    Format("jp2", (".jp2", ".j2k", ".jpx", ".j2c"), pillow="JPEG2000"),
    Format("npy", (".npy",), "array", kinds=NUMBERS),
    Format("npz", (".npz",), "array", kinds=NUMBERS),
    Format("csv", (".csv",), "array", kinds=NUMBERS, max_ndim=2, separator=","),
    Format("tsv", (".tsv",), "array", kinds=NUMBERS, max_ndim=2, separator="\t"),
    Format("txt", (".txt",), "array", kinds=NUMBERS, max_ndim=2, separator=" "),
)
_BY_NAME = {form.name: form for form in _TABLE}
_BY_SUFFIX = {suffix: form for form in _TABLE for suffix in form.suffixes}

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
    (rb"II\x2b\x00|MM\x00\x2b", "", "a BigTIFF image"),
    (rb"%PDF", "", "a PDF document"),
    (rb"%!PS", "", "a PostScript document"),
    (rb"\x1f\x8b", "", "gzip-compressed data"),
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


def formats() -> tuple[Format, ...]:
    """Every format that is read, in the order of the documentation; `writable` says whether it is written too.

    >>> [form.name for form in formats() if not form.writable]
    ['jp2']
    """
    return _TABLE


def lookup(name: str) -> Format:
    """The format of that name; a suffix will do.

    Raises FileError, with the nearest name, where there is none.

    >>> lookup("npy").kind, lookup(".jpeg").name
    ('array', 'jpg')
    """
    bare = name.lower().lstrip(".")
    form = _BY_NAME.get(bare) or _BY_SUFFIX.get(f".{bare}")
    if form is None:
        remedy = did_you_mean(bare, _BY_NAME) or "see --help"
        raise FileError(f"unknown format '{name}'", f"expected one of {', '.join(_BY_NAME)}", remedy)
    return form


def by_suffix(path: str) -> Format | None:
    """The format that a path's suffix names, whatever its case.

    >>> by_suffix("a/Photo.JPEG").name, by_suffix("noise")
    ('jpg', None)
    """
    return _BY_SUFFIX.get(PurePath(path).suffix.lower())


def suffixes(*, writable: bool = False) -> tuple[str, ...]:
    """Every suffix that is read, or only those that are written.

    >>> ".jp2" in suffixes(), ".jp2" in suffixes(writable=True)
    (True, False)
    """
    return tuple(suffix for suffix, form in _BY_SUFFIX.items() if form.writable or not writable)


def holds(format: str, dtype: DTypeLike, channels: int = 1) -> bool:
    """Whether a format keeps every bit of that number type, with that many channels for an image format.

    >>> holds("png", "uint16"), holds("png", "uint16", 3), holds("tiff", "float32"), holds("npy", "float64")
    (True, False, True, True)
    """
    form, kind = lookup(format), np.dtype(dtype)
    if form.kind == "image":
        return channels in form.channels.get(kind.name, ())
    return kind.kind in form.kinds and (not form.separator or kind.itemsize <= 8)


def check_fit(format: str, dtype: DTypeLike, shape: tuple[int, ...], *, alpha: bool = False) -> None:
    """Raise unless the format holds such an array without loss: ShapeError for its axes, DtypeError for its numbers.

    shape: (H, W) or (H, W, C) for an image format; `alpha` says that the last channel is alpha.

    >>> check_fit("png", "uint8", (480, 640, 3))
    >>> check_fit("png", "float32", (480, 640))
    Traceback (most recent call last):
        ...
    convcli.errors.DtypeError: png cannot hold float32; it holds uint8 (1, 2, 3 or 4 channels), uint16 (1 channel) \
and bool (1 channel); use --dtype uint8 with --range rescale, or write .tiff or .npy
    """
    form, kind = lookup(format), np.dtype(dtype)
    check_writable(form)
    if 0 in shape:
        raise ShapeError(f"shape {_shown(shape)} has no values", "expected at least one", "use --padding same")
    if form.kind == "array":
        _check_array(form, kind, shape)
    else:
        _check_image(form, kind, shape, alpha)


def check_writable(form: Format) -> None:
    """Raise FileError for a format that is only read."""
    if not form.writable:
        raise FileError(f"{form.name} is read but not written", "", "write .png, .tiff or .npy")


def _check_array(form: Format, kind: np.dtype[Any], shape: tuple[int, ...]) -> None:
    if not holds(form.name, kind):
        raise DtypeError(f"{form.name} cannot hold {kind}", "it holds real numbers", "convert them first")
    if not 1 <= len(shape) <= form.max_ndim:
        given = f"{form.name} cannot hold {len(shape)} axes, {_shown(shape)}"
        raise ShapeError(given, f"it holds 1 to {form.max_ndim}", "write .npy")


def _check_image(form: Format, kind: np.dtype[Any], shape: tuple[int, ...], alpha: bool) -> None:
    if len(shape) not in (2, 3):
        given = f"{form.name} cannot hold {len(shape)} axes, {_shown(shape)}"
        raise ShapeError(given, "an image is HxW or HxWxC", "write .npy")
    channels = channel_count(shape)
    if kind.name not in form.channels:
        raise DtypeError(f"{form.name} cannot hold {kind}", f"it holds {form.contents}", _way_out(kind, channels))
    if alpha and channels not in (2, 4):
        raise ShapeError(f"{channels} channels cannot end in alpha", "expected 2 or 4", "write .npy")
    if channels not in form.channels[kind.name]:
        what = f"alpha ({channels} channels)" if alpha else f"{kind} with {channels} channel{'s' * (channels != 1)}"
        raise ShapeError(f"{form.name} cannot hold {what}", f"it holds {form.contents}", _way_out(kind, channels))
    if max(shape[:2]) > form.max_side:
        given = f"{form.name} cannot hold {_shown(shape[:2])}"
        raise ShapeError(given, f"it holds at most {form.max_side} pixels a side", "write .png or .tiff")


def check_settings(format: str, settings: Mapping[str, int]) -> None:
    """Raise InputError for an encoder's setting that the format has no notion of; it would be ignored.

    >>> check_settings("png", {"compress_level": 9})
    >>> check_settings("jpg", {"compress_level": 9})
    Traceback (most recent call last):
        ...
    convcli.errors.InputError: jpg takes no compress level; png does; leave it out
    """
    for name in settings:
        if name not in lookup(format).settings:
            able = _listed((form.name for form in _TABLE if name in form.settings), "and")
            verb = "do" if " and " in able else "does"
            given = f"{format} takes no {name.replace('_', ' ')}"
            raise InputError(given, f"{able} {verb}", "leave it out")


def channel_count(shape: tuple[int, ...]) -> int:
    """Channels of an image's shape.

    >>> channel_count((480, 640)), channel_count((480, 640, 3))
    (1, 3)
    """
    return shape[2] if len(shape) == 3 else 1


def _way_out(kind: np.dtype[Any], channels: int) -> str:
    """Other formats that hold the same numbers; or uint8, where that is what an image format wants."""
    able = [name for name in ("png", "tiff") if holds(name, kind, channels)]
    named = _listed((f".{name}" for name in (*able, "npy")), "or")
    return f"write {named}" if kind == np.uint8 else f"{_RESCALE} {named}"


def output_dtype(dtype: DTypeLike, kind: Kind, format: str) -> np.dtype[Any] | None:
    """The number type to write where none was asked for; None means the computed floats as they are.

    dtype, kind: of the input. An integer input keeps its type where an image format holds it; floats, and integers
    that float32 holds exactly, become float32 there. Raises DtypeError where the format has neither.

    >>> output_dtype("uint8", "image", "png"), output_dtype("float64", "array", "tiff")
    (dtype('uint8'), dtype('float32'))
    >>> print(output_dtype("uint8", "image", "npy"))
    None
    """
    form, given = lookup(format), np.dtype(dtype)
    check_writable(form)
    if form.kind == "array":
        return None
    if given.kind in "iu" and given.name in form.channels:
        return given
    if "float32" in form.channels and (given.kind == "f" or np.can_cast(given, np.float32)):
        return np.dtype(np.float32)
    wanted, given = (f"the input {kind}", given) if given.kind != "b" else ("the result", np.dtype(np.float32))
    raise DtypeError(
        f"{wanted} is {given}, which {form.name} cannot hold", f"it holds {form.contents}", _way_out(given, 1)
    )


def unrecognised(name: str, look: str) -> InputError:
    """The error for a file whose suffix and content both say nothing."""
    bare = PurePath(name).suffix.lower()
    readable = " ".join(suffixes())
    return FileError(
        f"{name} has no suffix that is read" + (f" and looks like {look}" if look else ""),
        f"expected one of {readable}",
        did_you_mean(bare, suffixes()) if bare else "name the format with --input-format",
    )


def _shown(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "()"
