"""What was read from a file, and what was written to one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from convcli.errors import FileError, InputError
from convcli.options import DTYPES, Order

Kind = Literal["image", "array"]
Scope = Literal["", "samples", "colours", "size", "pages", "stack"]
"""What a part of a file's metadata is true of."""


class Header(Protocol):
    """What a file says besides its values, as the codecs of these `formats` write it again."""

    formats: ClassVar[tuple[str, ...]]

    def moved(self, starts: Sequence[float], strides: Sequence[int]) -> Self:
        """Return the header of a result whose sample i lies where start + i * stride lay.

        Raises InputError if it cannot say that.
        """


class Encoding(Protocol):
    """How a picture was encoded, for a codec of the same format to encode likewise."""

    @property
    def options(self) -> dict[str, Any]:
        """The options of Pillow's encoder."""

    @property
    def words(self) -> str:
        """What is alike, for a report."""


@dataclass(frozen=True)
class Timing:
    """How an animation plays: milliseconds of each frame, and how often (0: for ever)."""

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
    """A part of a file that files of one format alone hold, as it stands there.

    form: the format's name. kind: what the format calls it by. name: of the part in words.
    describes: what it is true of: "samples" as they are, which filtering changes; "colours" and
    number type; the "size" of the picture; the number of "pages" and their channels; a "stack", all
    of these but the samples; or "" if it is true whatever becomes of these. page: that has it.
    """

    form: str
    kind: bytes
    name: str
    content: bytes = b""
    describes: Scope = ""
    page: int = 0


@dataclass(frozen=True)
class Metadata:
    """What a picture's file says besides its samples, and what is empty where it says nothing.

    density: dots per inch along x and y. aspect: dots of the same unknown length along x and y,
    None for square pixels. exif: a block, without the name that JPEG puts before it. iptc: records
    of IPTC-IIM. photoshop: Photoshop's other image resources. comments: a JPEG's, GIF's or netpbm
    file's, or a PNG's texts of that name. text: other texts of a PNG. parts: what one format alone
    holds. unheld: names of what the file says besides, such as "JUMBF", which no field holds.
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
    """One array with what its file said about it.

    array: an image is (H, W) or (H, W, C) of uint8, uint16, int32 or float32, and (F, H, W, C)
    where it is of several `frames`; an array has any shape and any real type, and may be a
    read-only memory map. `alpha` says that the last channel is straight (not premultiplied) alpha.
    """

    array: NDArray[Any]
    kind: Kind
    format: str  # a name of the table of formats, such as "png" or "npy"
    name: str  # as given
    mode: str = ""  # Pillow's mode as found in the file; "" for arrays
    alpha: bool = False
    notes: tuple[str, ...] = ()  # what was done on loading, such as "EXIF orientation applied"
    warnings: tuple[str, ...] = ()  # what was left out on loading, and what would surprise
    damage: str = ""  # what is wrong with the file, where it was read as far as it goes
    frames: int = 1
    held: int = (
        1  # how many frames or pages the file has, of which one was read where `frames` is 1
    )
    metadata: Metadata = NO_METADATA
    decoding: int = 0  # bytes of memory that loading took at most, the array's own among them
    dims: int | None = (
        None  # how many of its first axes are spatial, where the format says so; the last is channels
    )
    header: Header | None = None
    encoding: Encoding | None = None

    @property
    def called(self) -> str:
        """The name in messages."""
        return "standard input" if self.name == "-" else self.name

    @property
    def all_warnings(self) -> tuple[str, ...]:
        """The damage, if it was read all the same, and the warnings."""
        if not self.damage:
            return self.warnings
        rest = "it is read as far as it goes, and what is missing is left blank"
        return (f"{self.called} is damaged: {self.damage}; {rest}", *self.warnings)


@dataclass(frozen=True)
class Written:
    """A result that was written: its place, format and bytes, what the format dropped, and
    warnings.
    """

    path: str
    format: str
    bytes: int
    dropped: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class RawLayout:
    """How numbers lie in a file without a header; shape and dtype are None if they are not given.

    order: C has the last axis next to each other, F the first. offset: bytes before the first
    number, on reading.
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
        """Make a layout from the command line's words; InputError for an unknown type.

        >>> RawLayout.of((2, 3), ">i2", "C", 0).dtype
        dtype('>i2')
        """
        return cls(shape, None if dtype is None else _number_type(dtype), order, offset)

    def moved(self, starts: Sequence[float], strides: Sequence[int]) -> RawLayout:
        """Return the layout as it is: it does not say where samples lie."""
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
        """Return the bytes of a whole file. Raises as `required`.

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
        return dtype.newbyteorder(
            ">" if self.dtype is not None and self.dtype.str[0] == ">" else "<"
        )


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
