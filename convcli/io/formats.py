"""The table of formats: names, signatures, supported dtypes and channels, and codecs.

A format is one row here and one `Codec` in a file of its own, which is imported when a file of that
format is read or written: listing the formats does not import Pillow. Other packages add rows
through the entry points `convcli.formats`.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.util import find_spec
from pathlib import PurePath
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from convcli.errors import DtypeError, FileError, did_you_mean
from convcli.io.data import Kind
from convcli.io.foreign import foreign_suffix
from convcli.options import DTYPES
from convcli.plugins import load_plugins

SEE_FORMATS = "see: convcli formats"
"""The remedy in messages that would otherwise list all formats."""
NUMBERS = "biuf"  # numpy's kinds of real numbers: bool, signed, unsigned, floating
NONE: Mapping[str, int] = MappingProxyType({})  # settings of an encoder
_ANY = 2**31 - 1  # bytes: no limit in practice


ANY_SIDE = 2**63 - 1
"""The longest side of an array, in samples: numpy's own limit."""


@dataclass(frozen=True)
class Extension:
    """What an extra adds to an image format: number types, settings, and stacks of pages.

    settings: of the encoder, those that need the extra. stacks: whether it reads and writes all
    pages as one volume, and writes every file that it reads.
    """

    extra: str
    channels: Mapping[str, Sequence[int]]
    settings: tuple[str, ...] = ()
    stacks: bool = False


@dataclass(frozen=True, eq=False)
class Format:
    """One file format: its names, how it is recognised, and what it holds without loss.

    codec: "module:class" of its `Codec`. signatures: patterns of first bytes, with a description of
    such a file; a format without any is recognised by its suffix. reads: the number types of arrays
    that are read from it; () for any. channels: the channel counts of an image format for each
    number type; with 2 and 4, the last channel is alpha. dtypes: the number types of an array
    format; () for any. frames: the number types that it can store several frames of. settings: of
    its encoder.
    """

    name: str
    suffixes: tuple[str, ...]
    codec: str
    kind: Kind = "array"
    signatures: Mapping[bytes, str] = field(default_factory=dict)
    reads: tuple[str, ...] = ()
    writable: bool = True
    channels: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    dtypes: tuple[str, ...] = ()
    max_ndim: int = 64
    max_side: int = 2**31 - 1
    frames: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    metadata_limits: Mapping[str, int] = field(default_factory=dict)
    """The fields of Metadata that it stores, with the bytes of each at most; of `aspect`, the
    largest ratio."""
    pillow: str = ""
    """Pillow's name of the format."""
    feature: str = ""
    """The library that Pillow must have been built with, by its name in PIL.features."""
    gray: bool = True
    """Whether it stores gray; otherwise gray is written as RGB."""
    separator: str = ""
    """The separator between the numbers of a text format."""
    store: bool = False
    """Whether it is a folder of chunks, which are read and written one by one, not a stream."""
    headerless: bool = False
    """Whether the file contains only values, whose shape and type must be given."""
    extra: str = ""
    """The extra of convcli that installs the package that the format needs."""
    extension: Extension | None = None
    note: str = ""
    """A remark in the list of formats about writing it."""
    package: str = ""
    """The package that registers it; "" for convcli's own."""

    def recognise(self, head: bytes) -> str:
        """Return a description of a file with these first bytes; "" if not of this format."""
        for pattern, words in self.signatures.items():
            if re.match(pattern, head, re.DOTALL):
                return words
        return ""

    def may_hold(self, seen: Format) -> bool:
        """Return whether a file with this format's suffix may have the content of another.

        A picture is decoded by its content, independently of its suffix.
        """
        return seen is self or (self.kind == "image" and seen.kind == "image")

    def keeps(self, dtype: DTypeLike, channels: int = 1) -> bool:
        """Return whether it stores a number type without loss, in an image of such channels.

        >>> lookup("png").keeps("uint16"), lookup("jpg").keeps("uint16")
        (True, False)
        """
        given = np.dtype(dtype)
        if not self.writable:
            return False
        if self.kind == "image":
            return channels in self.channels.get(given.name, ()) or self.extends(
                given, channels, installed=True
            )
        return given.name in self.dtypes if self.dtypes else given.kind in NUMBERS

    def extends(self, dtype: np.dtype[Any], channels: int, *, installed: bool = False) -> bool:
        """Return whether its extension has such samples; installed: and is installed."""
        if self.extension is None or channels not in self.extension.channels.get(dtype.name, ()):
            return False
        return not installed or has(self.extension.extra)

    @property
    def contents(self) -> str:
        """A description of the number types and channels, or axes, that the format holds.

        >>> lookup("png").contents
        'uint8 (1, 2, 3 or 4 channels), uint16 (1, 2, 3 or 4 channels) and bool (1 channel)'
        """
        if self.kind == "array":
            held = listed(self.dtypes, "and") if self.dtypes else "numbers"
            return f"{held} in up to {self.max_ndim} ax{'es' if self.max_ndim > 1 else 'is'}"
        samples = (f"{dtype} ({_counted(counts)})" for dtype, counts in self.channels.items())
        return listed(samples, "and")


def listed(words: Iterable[str], last: str) -> str:
    """Join one or more words, the last by "and" or "or"."""
    *most, end = words
    return f"{', '.join(most)} {last} {end}" if most else end


def can(names: Iterable[str]) -> str:
    """Return a clause that names the formats which support what another does not.

    >>> can(["png"]), can(["png", "webp"])
    ('png does', 'png and webp do')
    """
    able = listed(names, "and")
    return f"{able} {'do' if ' and ' in able else 'does'}"


def _counted(counts: tuple[int, ...]) -> str:
    return f"{listed(map(str, counts), 'or')} channel{'s' if counts != (1,) else ''}"


_VOXELS = tuple(dtype for dtype in DTYPES if dtype != "float16")
_SAMPLES = ("int8", "int16", "int32", "float32", "float64")
_TEXT = "convcli.io.arrays.text:Text"

# The formats with lossy encoding are JPEG, GIF and, with --quality, WebP.
_TABLE = (
    Format(
        "png",
        (".png",),
        "convcli.io.images.png:Png",
        "image",
        {rb"\x89PNG\r\n\x1a\n": "a PNG image"},
        reads=("uint8", "uint16"),
        channels={"uint8": (1, 2, 3, 4), "uint16": (1, 2, 3, 4), "bool": (1,)},
        frames=("uint8",),
        settings=("compress_level",),
        metadata_limits=dict.fromkeys(
            (
                "icc",
                "density",
                "aspect",
                "exif",
                "xmp",
                "iptc",
                "photoshop",
                "comments",
                "text",
                "timing",
            ),
            _ANY,
        ),
        pillow="PNG",
        feature="zlib",
        extension=Extension("png16", {"uint16": (2, 3, 4)}),
    ),
    Format(
        "jpg",
        (".jpg", ".jpeg", ".jpe", ".jfif"),
        "convcli.io.images.jpeg:Jpeg",
        "image",
        {rb"\xff\xd8\xff": "a JPEG image"},
        reads=("uint8",),
        channels={"uint8": (1, 3)},
        max_side=65500,
        settings=("quality",),
        metadata_limits={
            **dict.fromkeys(("density", "xmp", "iptc", "photoshop"), _ANY),
            "aspect": 65535,
            "icc": 255 * 65519,
            "exif": 65527,
            "comments": 65533,
        },
        pillow="JPEG",
        feature="jpg",
    ),
    Format(
        "webp",
        (".webp",),
        "convcli.io.images.codec:WebP",
        "image",
        {rb"RIFF....WEBP": "a WebP image"},
        reads=("uint8",),
        channels={"uint8": (1, 2, 3, 4)},
        max_side=16383,
        frames=("uint8",),
        settings=("quality",),
        metadata_limits=dict.fromkeys(("icc", "exif", "xmp", "timing"), _ANY),
        pillow="WEBP",
        feature="webp",
        gray=False,
    ),
    Format(
        "bmp",
        (".bmp", ".dib"),
        "convcli.io.images.bmp:Bmp",
        "image",
        {rb"BM.{12}[\x0c\x10-\x40\x6c\x7c]\x00\x00\x00": "a BMP image"},
        reads=("uint8",),
        channels={"uint8": (1, 3), "bool": (1,)},
        metadata_limits={"icc": _ANY, "density": _ANY},
        pillow="BMP",
    ),
    Format(
        "gif",
        (".gif",),
        "convcli.io.images.gif:Gif",
        "image",
        {rb"GIF8[79]a": "a GIF image"},
        reads=("uint8",),
        channels={"uint8": (1, 2, 3, 4)},
        max_side=65535,
        frames=("uint8",),
        metadata_limits={**dict.fromkeys(("icc", "xmp", "comments", "timing"), _ANY), "aspect": 4},
        pillow="GIF",
        note="colours reduced to 256",
    ),
    Format(
        "tiff",
        (".tiff", ".tif"),
        "convcli.io.images.tiff:Tiff",
        "image",
        {rb"II\*\x00|MM\x00\*": "a TIFF image", rb"II\x2b\x00|MM\x00\x2b": "a BigTIFF image"},
        reads=("uint8", "uint16", "int32", "float32"),
        channels={
            "uint8": (1, 2, 3, 4),
            "uint16": (1,),
            "int32": (1,),
            "float32": (1,),
            "bool": (1,),
        },
        frames=(*DTYPES, "bool"),
        settings=("compress_level",),
        metadata_limits=dict.fromkeys(
            ("icc", "density", "aspect", "exif", "xmp", "iptc", "photoshop"), _ANY
        ),
        pillow="TIFF",
        feature="libtiff",
        extension=Extension(
            "tiff", dict.fromkeys(DTYPES, range(1, 65536)), ("compress_level",), stacks=True
        ),
    ),
    *(
        Format(
            name,
            suffixes,
            "convcli.io.images.netpbm:Netpbm",
            "image",
            {signature: f"a {name.upper()} image"},
            reads=tuple(dtype if dtype != "bool" else "uint8" for dtype in channels),
            channels=channels,
            metadata_limits={"comments": 2**19} if name != "pfm" else {},
            pillow="PPM",
        )
        for name, suffixes, signature, channels in (
            ("ppm", (".ppm", ".pnm"), rb"P[36]\s", {"uint8": (3,)}),
            ("pgm", (".pgm",), rb"P[25]\s", {"uint8": (1,), "uint16": (1,)}),
            ("pbm", (".pbm",), rb"P[14]\s", {"bool": (1,)}),
            ("pfm", (".pfm",), rb"Pf\s", {"float32": (1,)}),
        )
    ),
    Format(
        "jp2",
        (".jp2", ".j2k", ".jpx", ".j2c"),
        "convcli.io.images.jpeg2000:Jpeg2000",
        "image",
        {rb"\x00\x00\x00\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51": "a JPEG 2000 image"},
        reads=("uint8", "uint16", "uint32", "int8", "int16", "int32"),
        writable=False,
        pillow="JPEG2000",
        feature="jpg_2000",
    ),
    Format(
        "npy",
        (".npy",),
        "convcli.io.arrays.npy:Npy",
        signatures={rb"\x93NUMPY": "a .npy array"},
        max_side=ANY_SIDE,
    ),
    Format(
        "npz",
        (".npz",),
        "convcli.io.arrays.npy:Npz",
        signatures={rb"PK(\x03\x04|\x05\x06)": "a zip archive, as .npz is"},
        max_side=ANY_SIDE,
    ),
    *(
        Format(
            name,
            (f".{name}",),
            _TEXT,
            reads=("int64", "float64"),
            max_ndim=2,
            max_side=ANY_SIDE,
            separator=separator,
        )
        for name, separator in (("csv", ","), ("tsv", "\t"), ("txt", " "))
    ),
    Format(
        "raw",
        (".raw", ".bin", ".dat"),
        "convcli.io.arrays.raw:Raw",
        dtypes=DTYPES,
        max_side=ANY_SIDE,
        headerless=True,
    ),
    *(
        Format(
            name,
            (f".{name}",),
            f"convcli.io.arrays.nifti:{codec}",
            signatures=signatures,
            reads=_VOXELS,
            dtypes=_VOXELS,
            max_ndim=7,
            max_side=32767,
            extra="nifti",
        )
        for name, codec, signatures in (
            (
                "nii",
                "Nifti",
                {
                    rb"(\x5c\x01\x00\x00|\x00\x00\x01\x5c).{340}n\+1\x00": "a NIfTI volume",
                    rb"(\x1c\x02\x00\x00|\x00\x00\x02\x1c)n\+2\x00": "a NIfTI-2 volume",
                },
            ),
            ("nii.gz", "PackedNifti", {rb"\x1f\x8b": "gzip-compressed data, as .nii.gz is"}),
        )
    ),
    Format(
        "wav",
        (".wav", ".wave"),
        "convcli.io.arrays.wav:Wav",
        signatures={rb"(RIFF|RIFX|RF64)....WAVE": "a WAV recording"},
        reads=_SAMPLES,
        dtypes=_SAMPLES,
        max_ndim=2,
        extra="wav",
    ),
    Format(
        "zarr",
        (".zarr",),
        "convcli.io.arrays.zarr:Zarr",
        max_side=ANY_SIDE,
        settings=("compress_level",),
        extra="zarr",
        store=True,
    ),
)
_OWN = {name: form for form in _TABLE for name in (form.name, *form.suffixes)}
"""Convcli's own formats by name and by suffix."""


@cache
def plugin_formats() -> tuple[Format, ...]:
    """Return the formats of other packages; entry points are loaded once."""
    found = load_plugins("convcli.formats", Format, _names, _OWN)
    return tuple(replace(form, package=package) for package, form in found)


def _names(form: Format) -> tuple[str, ...]:
    dotted = all(suffix.startswith(".") for suffix in form.suffixes)
    if form.kind not in ("image", "array") or not dotted:
        expected = "expected a kind of image or array, and suffixes that begin with a dot"
        raise ValueError(f"format {form.name}: {expected}")
    return form.name.lower(), *(suffix.lower() for suffix in form.suffixes)


def _named(key: str) -> Format | None:
    """Return the format of a name or a suffix, convcli's own before those of other packages."""
    if key in _OWN:
        return _OWN[key]
    return next((form for form in plugin_formats() if key in _names(form)), None)


def all_formats() -> tuple[Format, ...]:
    """Return all formats in the order of the documentation, those of other packages last.

    >>> [form.name for form in all_formats() if not form.writable]
    ['jp2']
    """
    return (*_TABLE, *plugin_formats())


def lookup(name: str) -> Format:
    """Return the format of a name or a suffix.

    Raises FileError, which suggests the nearest name, for an unknown one.

    >>> lookup("npy").kind, lookup(".jpeg").name
    ('array', 'jpg')
    """
    bare = name.lower().lstrip(".")
    form = _named(bare) or _named(f".{bare}")
    if form is None:
        known = [form.name for form in all_formats()]
        given = f"unknown format '{name}'"
        if row := foreign_suffix(f".{bare}"):
            raise FileError(given, f"convcli neither reads nor writes {row.words}", row.remedy)
        raise FileError(
            given, f"expected one of {', '.join(known)}", did_you_mean(bare, known) or SEE_FORMATS
        )
    return form


def by_suffix(path: str) -> Format | None:
    """Return the format of a path's suffix, in upper or lower case; None for an unknown suffix.

    >>> by_suffix("a/Photo.JPEG").name, by_suffix("noise")
    ('jpg', None)
    """
    suffix = split_suffix(path)[1].lower()
    return _named(suffix) if suffix else None


def split_suffix(path: str) -> tuple[str, str]:
    """Split a file name into stem and suffix; the suffix may have two dots, as in .nii.gz.

    >>> split_suffix("a/brain.nii.gz"), split_suffix("photo.v2.PNG")
    (('brain', '.nii.gz'), ('photo.v2', '.PNG'))
    """
    name = os.path.basename(path)  # noqa: PTH119 - a tenth of a path's time, for millions of them
    if name.count(".") == 1 and 0 < (dot := name.index(".")) < len(name) - 1:
        return name[:dot], name[dot:]
    pure = PurePath(path)
    suffix = pure.suffix
    double = "".join(pure.suffixes[-2:])
    if double.lower() in _OWN or (
        suffix.lower() not in _OWN and suffix != double and _named(double.lower())
    ):
        suffix = double
    return pure.name.removesuffix(suffix), suffix


def suffixes(*, writable: bool = False) -> tuple[str, ...]:
    """Return all suffixes that are read, or only those that are written.

    >>> ".jp2" in suffixes(), ".jp2" in suffixes(writable=True)
    (True, False)
    """
    return tuple(
        suffix
        for form in all_formats()
        if form.writable or not writable
        for suffix in form.suffixes
    )


def recognise(head: bytes, *, plugins: bool = False) -> tuple[Format, str] | None:
    r"""Return the format that matches first bytes, with its description; None if none does.

    plugins: search the formats of other packages instead of convcli's own.

    >>> form, words = recognise(b"\x93NUMPY")
    >>> form.name, words
    ('npy', 'a .npy array')
    """
    for form in plugin_formats() if plugins else _TABLE:
        if words := form.recognise(head):
            return form, words
    return None


EXTRAS = {
    "nifti": "nibabel",
    "wav": "soundfile",
    "tiff": "tifffile",
    "png16": "imagecodecs",
    "zarr": "zarr",
}
"""The package of each extra that reads and writes the format."""


_BESIDES = {"tiff": ("imagecodecs",)}
"""Further packages of an extra, which its own needs for compressed files."""


def packages(extra: str) -> str:
    """Return the packages of an extra, as arguments of pip.

    >>> packages("tiff"), packages("wav")
    ('tifffile imagecodecs', 'soundfile')
    """
    return " ".join((EXTRAS[extra], *_BESIDES.get(extra, ())))


def has(extra: str) -> bool:
    """Return whether an extra's package is installed, without importing it."""
    return find_spec(EXTRAS[extra]) is not None


def available(form: Format) -> bool:
    """Return whether all packages that the format needs are installed.

    >>> from convcli.io.formats import lookup
    >>> available(lookup("npy"))
    True
    """
    if form.extra:
        return has(form.extra)
    if not form.feature:
        return True
    from PIL import features

    return bool(features.check(form.feature))


@contextmanager
def muted(logger_name: str) -> Iterator[None]:
    """Disable a package's logger until the block ends, so that it writes nothing to stderr."""
    logger = logging.getLogger(logger_name)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def check_extra(form: Format, name: str) -> None:
    """Raise FileError if the format of a file needs an extra that is not installed."""
    if form.extra and not has(form.extra):
        given = f"{name} is of the format {form.name}"
        raise FileError(
            given,
            f"the {EXTRAS[form.extra]} package, which reads and writes it, is not installed",
            f"pip install {packages(form.extra)}",
        )


def check_extension(extension: Extension, given: str, does_not: str = "keep whole") -> None:
    """Raise DtypeError if a picture needs an extra that is not installed.

    does_not: a verb for what Pillow, without the extra, cannot do with the picture.
    """
    if not has(extension.extra):
        raise DtypeError(*missing_extension(extension, given, does_not))


def missing_extension(
    extension: Extension, given: str, does_not: str = "keep whole"
) -> tuple[str, str, str]:
    """Return the three parts of the message that an extension is not installed."""
    package = EXTRAS[extension.extra]
    expected = f"which Pillow does not {does_not} and the {package} package does"
    return given, expected, f"pip install {packages(extension.extra)}"
