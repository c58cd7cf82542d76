"""What was read from a file, and what was written to one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from convcli.errors import FileError, InputError
from convcli.io.parts import Parts
from convcli.options import DTYPES, Order
from convcli.shapes.units import Measure, spacing_of

_INCH = 25.4  # millimetres
Kind = Literal["image", "array"]
Scope = Literal["", "samples", "colours", "size", "pages", "stack"]
"""What a part of a file's metadata describes; see `Part`."""


class Header(Protocol):
    """A file's header, which the codecs of these `formats` can write again."""

    formats: ClassVar[tuple[str, ...]]

    def moved(self, starts: Sequence[float], strides: Sequence[int], axes: Sequence[int]) -> Self:
        """Return the header of a result whose sample i is at the input's start + i * stride.

        axes: of the input that these are along.
        Raises InputError if the header cannot express that.
        """


class Encoding(Protocol):
    """How a picture was encoded, so that a codec of the same format can reproduce it."""

    @property
    def options(self) -> dict[str, Any]:
        """The options of Pillow's encoder."""

    @property
    def words(self) -> str:
        """A description of the encoding, for a report."""


@dataclass(frozen=True)
class Timing:
    """How an animation plays: milliseconds of each frame, and number of plays (0: endless)."""

    durations: tuple[float, ...]
    plays: int


class Text(NamedTuple):
    """A text of a PNG.

    language: as RFC 3066 names it, "" if unknown. translated: the keyword in that language.
    """

    keyword: str
    value: str
    language: str = ""
    translated: str = ""


class Part(NamedTuple):
    """A part of a file that only one format has, with its bytes unchanged.

    form: the format's name. kind: the part's identifier in the format. name: of the part in words.
    describes: what the part depends on: "samples", which filtering changes; "colours" and number
    type; the "size" of the picture; the number of "pages" and their channels; a "stack", all of
    these but the samples; or "" for none of them. page: that has the part.
    """

    form: str
    kind: bytes
    name: str
    content: bytes = b""
    describes: Scope = ""
    page: int = 0


@dataclass(frozen=True)
class Metadata:
    """A picture's metadata; fields that its file does not have are empty.

    density: dots per inch along x and y. aspect: dots of the same unknown length along x and y,
    None for square pixels. exif: a block, without the name that JPEG puts before it. iptc: records
    of IPTC-IIM. photoshop: Photoshop's other image resources. comments: a JPEG's, GIF's or netpbm
    file's, or a PNG's texts of that name. text: other texts of a PNG. parts: those that only one
    format has. unheld: names of metadata that no field stores, such as "JUMBF".
    """

    icc: bytes = b""
    density: tuple[float, float] | None = None
    aspect: tuple[float, float] | None = None
    exif: bytes = b""
    xmp: bytes = b""
    iptc: bytes = b""
    photoshop: bytes = b""
    comments: tuple[bytes, ...] = ()
    text: tuple[Text, ...] = ()
    timing: Timing | None = None
    parts: tuple[Part, ...] = ()
    unheld: tuple[str, ...] = ()


NO_METADATA = Metadata()


@dataclass(frozen=True, eq=False)
class Data:
    """One array, and what its file declares about it.

    array: an image is (H, W) or (H, W, C) of uint8, uint16, int32 or float32, and (F, H, W, C)
    if it has several `frames`; an array has any shape and any real type, and may be a
    read-only memory map. `alpha` says that the last channel is straight (not premultiplied) alpha.
    """

    array: NDArray[Any]
    kind: Kind
    format: str  # a name of the table of formats, such as "png" or "npy"
    name: str  # as given
    mode: str = ""  # Pillow's mode as found in the file; "" for arrays
    alpha: bool = False
    notes: tuple[str, ...] = ()  # what was done on loading, such as "EXIF orientation applied"
    warnings: tuple[str, ...] = ()  # such as what was left out on loading
    damage: str = ""  # what is wrong with the file, if the undamaged part was read
    frames: int = 1
    held: int = 1  # number of frames or pages in the file; if `frames` is 1, one was read
    metadata: Metadata = NO_METADATA
    decoding: int = 0  # peak bytes of memory while loading, the array's own included
    dims: int | None = None  # number of spatial axes, which come first, if the format defines it
    header: Header | None = None
    spacing: tuple[Measure, ...] = ()  # distance of samples along each spatial axis, if known
    encoding: Encoding | None = None
    parts: Parts | None = (
        None  # reads the values of a store, of which `array` has no more than zeros
    )

    @property
    def distances(self) -> tuple[Measure, ...]:
        """The distance of samples along each spatial axis, a picture's by its density; or ()."""
        if self.spacing or self.metadata.density is None:
            return self.spacing
        x, y = self.metadata.density
        return spacing_of((_INCH / y, _INCH / x), ("mm", "mm")) if x > 0 and y > 0 else ()

    @property
    def called(self) -> str:
        """The name in messages."""
        return "standard input" if self.name == "-" else self.name

    @property
    def all_warnings(self) -> tuple[str, ...]:
        """The damage, if the file was read nevertheless, and the warnings."""
        if not self.damage:
            return self.warnings
        rest = "it is read as far as it goes, and what is missing is left blank"
        return (f"{self.called} is damaged: {self.damage}; {rest}", *self.warnings)


@dataclass(frozen=True)
class Written:
    """A result that was written: its path, format and size in bytes.

    dropped: descriptions of what the format could not store.
    """

    path: str
    format: str
    bytes: int
    dropped: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class RawLayout:
    """The layout of a file without a header; shape and dtype are None if they are not given.

    order: "C" if the last axis is contiguous, "F" if the first is. offset: bytes before the first
    number, for reading.
    """

    shape: tuple[int, ...] | None = None
    dtype: np.dtype[Any] | None = None
    order: Order = "C"
    offset: int = 0
    formats: ClassVar[tuple[str, ...]] = ("raw",)

    @classmethod
    def of(
        cls, shape: tuple[int, ...] | None, dtype: str | None, order: Order, offset: int
    ) -> RawLayout:
        """Make a layout from the command line's values; raise InputError for an unknown type.

        >>> RawLayout.of((2, 3), ">i2", "C", 0).dtype
        dtype('>i2')
        """
        return cls(shape, None if dtype is None else _number_type(dtype), order, offset)

    def moved(
        self, starts: Sequence[float], strides: Sequence[int], axes: Sequence[int]
    ) -> RawLayout:
        """Return the layout unchanged: it has no positions of samples."""
        return self

    def required(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Return the shape and the number type; raise FileError if they are not given."""
        if self.shape is None or self.dtype is None:
            given = f"{name} holds raw numbers without a header"
            raise FileError(
                given,
                "expected their shape and type",
                "give apply or batch --raw-shape and --raw-dtype",
            )
        return self.shape, self.dtype

    def size(self, name: str) -> int:
        """Return the size of a whole file in bytes. Raises like `required`.

        >>> RawLayout((2, 3), np.dtype(">i2"), offset=4).size("x.raw")
        16
        """
        shape, dtype = self.required(name)
        return self.offset + math.prod(shape) * dtype.itemsize

    def written(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Return a type in the byte order of this layout, little-endian if none is given.

        >>> RawLayout(dtype=np.dtype(">u2")).written(np.dtype(np.float32))
        dtype('>f4')
        """
        is_big = self.dtype is not None and self.dtype.str[0] == ">"
        return dtype.newbyteorder(">" if is_big else "<")


def _number_type(text: str) -> np.dtype[Any]:
    try:
        dtype = np.dtype(text)
    except (TypeError, ValueError, SyntaxError):
        dtype = np.dtype(object)
    if dtype.name not in DTYPES:
        raise InputError(
            f"--raw-dtype {text!r}", "expected a type of numbers, such as u2, float32 or '>i2'"
        )
    return dtype
