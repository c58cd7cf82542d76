"""The one table of formats: suffixes, what is read from each, and what each can hold."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import PurePath
from types import MappingProxyType

from convcli.errors import DtypeError, FileError, did_you_mean
from convcli.io.data import Kind
from convcli.options import DTYPES

NUMBERS = "biuf"  # numpy's kinds of real numbers: bool, signed, unsigned, floating
NONE: Mapping[str, int] = MappingProxyType({})  # settings of an encoder
_ANY = 2**31 - 1  # bytes, more than there ever are


@dataclass(frozen=True)
class Format:
    """One file format: its names, the number types it is read as, and what it holds without loss of bits.

    `channels` maps each number type that an image format holds to the channel counts it holds it with (2 and 4 end in
    alpha); it is empty for a format that is only read. Array formats name `kinds` of numbers and a largest `ndim`;
    those with `dtypes` hold no others, and a result keeps its input's there. Those without `reads` give whatever they
    were written with.
    """

    name: str
    suffixes: tuple[str, ...]
    kind: Kind = "image"
    reads: tuple[str, ...] = ()
    pillow: str = ""  # Pillow's name of the format
    codec: str = ""  # what Pillow must have been built with, as PIL.features names it
    channels: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    max_side: int = 2**31 - 1
    kinds: str = ""
    dtypes: tuple[str, ...] = ()
    max_ndim: int = 64
    separator: str = ""  # between the numbers of a text format
    extra: str = ""  # of convcli, which brings the package that the format takes
    beyond: Mapping[str, Sequence[int]] = field(default_factory=dict)  # what an image format reads with the next:
    beyond_extra: str = ""
    beyond_settings: tuple[str, ...] = ()  # of the encoder's settings those that Pillow has not and that extra has
    stacks: bool = False  # whether that extra reads and writes pages as a volume
    bare: bool = False  # the file says nothing of itself: neither shape nor type, and nothing to recognise it by
    needs_header: str = ""  # what the file must say besides its values
    settings: tuple[str, ...] = ()  # of its encoder: what `check_settings` lets pass
    metadata_limits: Mapping[str, int] = field(
        default_factory=dict
    )  # the fields of Metadata that it holds, and how many bytes of each
    frames: tuple[str, ...] = ()  # the number types that it holds several frames of
    palette: bool = False  # whether coloured frames are reduced to the colours of one, which `Written.dropped` tells
    gray: bool = True  # whether it has gray, which is written as RGB otherwise

    @property
    def writable(self) -> bool:
        """Whether `save` writes it; every format of the table is read."""
        return bool(self.channels or self.kinds)

    @property
    def contents(self) -> str:
        """What the format holds, in words.

        >>> lookup("png").contents
        'uint8 (1, 2, 3 or 4 channels), uint16 (1, 2, 3 or 4 channels) and bool (1 channel)'
        """
        if self.kind == "array":
            held = listed(self.dtypes, "and") if self.dtypes else "numbers"
            return f"{held} in up to {self.max_ndim} ax{'es' if self.max_ndim > 1 else 'is'}"
        return listed((f"{dtype} ({_counted(counts)})" for dtype, counts in self.channels.items()), "and")


def listed(words: Iterable[str], last: str) -> str:
    """One or more words, the last joined by "and" or "or"."""
    *most, end = words
    return f"{', '.join(most)} {last} {end}" if most else end


def _counted(counts: tuple[int, ...]) -> str:
    return f"{listed(map(str, counts), 'or')} channel{'s' if counts != (1,) else ''}"


_VOXELS = tuple(dtype for dtype in DTYPES if dtype != "float16")
_SAMPLES = ("int8", "int16", "int32", "float32", "float64")

# JPEG and GIF are the lossy formats that are written, and WebP where it is asked for.
_TABLE = (
    Format(
        "png",
        (".png",),
        reads=("uint8", "uint16"),
        pillow="PNG",
        codec="zlib",
        channels={"uint8": (1, 2, 3, 4), "uint16": (1, 2, 3, 4), "bool": (1,)},
        settings=("compress_level",),
        metadata_limits=dict.fromkeys(("icc", "density", "exif", "xmp", "comment", "text", "timing"), _ANY),
        frames=("uint8",),
        beyond={"uint16": (2, 3, 4)},
        beyond_extra="png16",
    ),
    Format(
        "jpg",
        (".jpg", ".jpeg", ".jpe", ".jfif"),
        reads=("uint8",),
        pillow="JPEG",
        codec="jpg",
        channels={"uint8": (1, 3)},
        max_side=65500,
        settings=("quality",),
        metadata_limits={"icc": 255 * 65519, "density": _ANY, "exif": 65527, "xmp": 65504, "comment": 65533},
    ),
    Format(
        "webp",
        (".webp",),
        reads=("uint8",),
        pillow="WEBP",
        codec="webp",
        channels={"uint8": (1, 2, 3, 4)},
        max_side=16383,
        settings=("quality",),
        metadata_limits=dict.fromkeys(("icc", "exif", "xmp", "timing"), _ANY),
        frames=("uint8",),
        gray=False,
    ),
    Format(
        "bmp",
        (".bmp", ".dib"),
        reads=("uint8",),
        pillow="BMP",
        channels={"uint8": (1, 3), "bool": (1,)},
        metadata_limits={"density": _ANY},
    ),
    Format(
        "gif",
        (".gif",),
        reads=("uint8",),
        pillow="GIF",
        channels={"uint8": (1, 2, 3, 4)},
        max_side=65535,
        metadata_limits={"comment": _ANY, "timing": _ANY},
        frames=("uint8",),
        palette=True,
    ),
    Format(
        "tiff",
        (".tiff", ".tif"),
        reads=("uint8", "uint16", "int32", "float32"),
        pillow="TIFF",
        codec="libtiff",
        channels={"uint8": (1, 2, 3, 4), "uint16": (1,), "int32": (1,), "float32": (1,), "bool": (1,)},
        metadata_limits=dict.fromkeys(("icc", "density", "exif", "xmp"), _ANY),
        frames=(*DTYPES, "bool"),
        beyond=dict.fromkeys(DTYPES, range(1, 65536)),
        beyond_extra="tiff",
        settings=("compress_level",),
        beyond_settings=("compress_level",),
        stacks=True,
    ),
    Format("ppm", (".ppm", ".pnm"), reads=("uint8",), pillow="PPM", channels={"uint8": (3,)}),
    Format("pgm", (".pgm",), reads=("uint8", "uint16"), pillow="PPM", channels={"uint8": (1,), "uint16": (1,)}),
    Format("pbm", (".pbm",), reads=("uint8",), pillow="PPM", channels={"bool": (1,)}),
    Format("pfm", (".pfm",), reads=("float32",), pillow="PPM", channels={"float32": (1,)}),
    Format("jp2", (".jp2", ".j2k", ".jpx", ".j2c"), reads=("uint8", "uint16"), pillow="JPEG2000", codec="jpg_2000"),
    Format("npy", (".npy",), "array", kinds=NUMBERS),
    Format("npz", (".npz",), "array", kinds=NUMBERS),
    Format("csv", (".csv",), "array", reads=("int64", "float64"), kinds=NUMBERS, max_ndim=2, separator=","),
    Format("tsv", (".tsv",), "array", reads=("int64", "float64"), kinds=NUMBERS, max_ndim=2, separator="\t"),
    Format("txt", (".txt",), "array", reads=("int64", "float64"), kinds=NUMBERS, max_ndim=2, separator=" "),
    Format("raw", (".raw", ".bin", ".dat"), "array", kinds=NUMBERS, dtypes=DTYPES, bare=True),
    *(
        Format(
            name,
            (f".{name}",),
            "array",
            reads=_VOXELS,
            kinds=NUMBERS,
            dtypes=_VOXELS,
            max_ndim=7,
            max_side=32767,
            extra="nifti",
        )
        for name in ("nii", "nii.gz")
    ),
    Format(
        "wav",
        (".wav", ".wave"),
        "array",
        reads=_SAMPLES,
        kinds=NUMBERS,
        dtypes=_SAMPLES,
        max_ndim=2,
        extra="wav",
        needs_header="a sample rate",
    ),
)
_BY_NAME = {form.name: form for form in _TABLE}
_BY_SUFFIX = {suffix: form for form in _TABLE for suffix in form.suffixes}


def all_formats() -> tuple[Format, ...]:
    """Every format that is read, in the order of the documentation; `writable` says whether it is written too.

    >>> [form.name for form in all_formats() if not form.writable]
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
    return _BY_SUFFIX.get(split_suffix(path)[1].lower())


def split_suffix(path: str) -> tuple[str, str]:
    """The name of a file without its suffix, and the suffix, which may have two dots.

    >>> split_suffix("a/brain.nii.gz"), split_suffix("photo.v2.PNG")
    (('brain', '.nii.gz'), ('photo.v2', '.PNG'))
    """
    pure = PurePath(path)
    double = "".join(pure.suffixes[-2:])
    suffix = double if double.lower() in _BY_SUFFIX else pure.suffix
    return pure.name.removesuffix(suffix), suffix


def suffixes(*, writable: bool = False) -> tuple[str, ...]:
    """Every suffix that is read, or only those that are written.

    >>> ".jp2" in suffixes(), ".jp2" in suffixes(writable=True)
    (True, False)
    """
    return tuple(suffix for suffix, form in _BY_SUFFIX.items() if form.writable or not writable)


EXTRAS = {"nifti": "nibabel", "wav": "soundfile", "tiff": "tifffile", "png16": "imagecodecs"}
"""The package that each extra brings, which reads and writes."""


def has(extra: str) -> bool:
    """Whether an extra's package is there; it is not imported."""
    return find_spec(EXTRAS[extra]) is not None


def available(form: Format) -> bool:
    """Whether everything is there that the format needs.

    >>> from convcli.io.formats import lookup
    >>> available(lookup("npy"))
    True
    """
    if form.extra:
        return has(form.extra)
    if not form.codec:
        return True
    from PIL import features

    return bool(features.check(form.codec))


@contextmanager
def muted(logger_name: str) -> Iterator[None]:
    """Keep a package from telling stderr, through its logger, what it passes over or mends, until the block ends."""
    logger = logging.getLogger(logger_name)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def check_extra(form: Format, name: str) -> None:
    """Raise FileError, naming the extra, where the format of the file `name` takes one that is not installed."""
    if form.extra and not has(form.extra):
        given = f"{name} is of the format {form.name}"
        raise FileError(given, f"which takes the {EXTRAS[form.extra]} package", f"pip install 'convcli[{form.extra}]'")


def check_beyond(form: Format, given: str, does_not: str = "keep whole") -> None:
    """Raise DtypeError, naming the extra, where what was given takes one of the picture's that is not installed.

    does_not: what Pillow, in its place, cannot do with it.
    """
    if not has(form.beyond_extra):
        package, extra = EXTRAS[form.beyond_extra], form.beyond_extra
        expected = f"which Pillow does not {does_not} and the {package} package does"
        raise DtypeError(given, expected, f"pip install 'convcli[{extra}]'")
