"""What was read from a file, and what was written to one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, Self

from numpy.typing import NDArray

Kind = Literal["image", "array"]


class Header(Protocol):
    """What a file says besides its values, as the codecs of these `formats` write it again."""

    formats: ClassVar[tuple[str, ...]]

    def moved(self, starts: Sequence[float], strides: Sequence[int]) -> Self:
        """Return the header of a result whose sample i lies where start + i * stride lay.

        Raises InputError if it cannot say that.
        """


@dataclass(frozen=True)
class Timing:
    """How an animation plays: milliseconds of each frame, and how often (0: for ever)."""

    durations: tuple[float, ...]
    plays: int


@dataclass(frozen=True)
class Metadata:
    """What a picture's file says besides its samples, and what is empty where it says nothing.

    density: dots per inch along x and y. exif: a block, without the name that JPEG puts before it.
    comment: a JPEG's or a GIF's, or a PNG's text of that name. text: other texts of a PNG, by their
    keywords.
    """

    icc: bytes = b""
    density: tuple[float, float] | None = None
    exif: bytes = b""
    xmp: bytes = b""
    comment: bytes = b""
    text: tuple[tuple[str, str], ...] = ()
    timing: Timing | None = None


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
    damage: str = ""  # what is wrong with the file, where it was read as far as it goes
    frames: int = 1
    metadata: Metadata = NO_METADATA
    decoding: int = 0  # bytes of memory that loading took at most, the array's own among them
    dims: int | None = None  # how many of its first axes are spatial, where the format says so; the last is channels
    header: Header | None = None


@dataclass(frozen=True)
class Written:
    """A result that was written: its place, format and bytes, and what the format dropped."""

    path: str
    format: str
    bytes: int
    dropped: tuple[str, ...] = ()
